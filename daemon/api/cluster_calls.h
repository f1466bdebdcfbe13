/* SPDX-License-Identifier: Apache-2.0
 * What /cluster/… asks of whoever makes this node a member: parsed requests go out, each is answered once.
 *
 * Control thread. The client may go away meanwhile: what was asked goes on.
 */
#ifndef POSTROAD_API_CLUSTER_CALLS_H
#define POSTROAD_API_CLUSTER_CALLS_H

#include "daemon/api/problem.h"

struct store_result;

enum cluster_verb {
	CLUSTER_MEMBERS, /* the table, who is here, what is under way */
	CLUSTER_INIT,    /* links, name, listen, force */
	CLUSTER_TOKEN,   /* voter_only, replace, ttl (seconds) */
	CLUSTER_TOKENS,
	CLUSTER_TOKEN_REVOKE, /* node: the token's id */
	CLUSTER_JOIN,         /* token (a secret), links, listen, voter_only, force */
	CLUSTER_LEAVE,
	CLUSTER_LEAVE_FORCED,  /* without the others, where this node cannot take part */
	CLUSTER_REMOVE,        /* node */
	CLUSTER_REMOVE_FORCED, /* does not wait for members that are absent */
	CLUSTER_CANCEL,
	CLUSTER_FORCE_QUORUM,
	CLUSTER_ROTATE_KEYS,
	CLUSTER_LOST, /* entries of this node that are not in the cluster's log */
	CLUSTER_LOST_FORGET
};

struct cluster_call {
	enum cluster_verb verb;
	json_t *body;     /* an object with keys of the verb and no others; of types that are not checked yet */
	const char *node; /* CLUSTER_REMOVE, CLUSTER_TOKEN_REVOKE */
	const char *author;
	/* As in struct store_write, of those that are one write to the log. */
	const char *idempotency_key;
	const uint8_t *request_hash;
	struct call *call; /* private to the api */
	unsigned tries;    /* private to who answers, as the next */
	int64_t since_ms;
	bool cleaned;
};

/* Exactly one of the four, once, at once or later; the struct is gone with it. json is stolen. */
void cluster_call_answer(struct cluster_call *q, int status, json_t *json);
void cluster_call_refuse(struct cluster_call *q, enum problem p, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* As other writes are answered: whatever became of it, but committed; or the error of store_propose(). */
void cluster_call_result(struct cluster_call *q, const struct store_result *r, const char *operation);
void cluster_call_not_proposed(struct cluster_call *q, int err);

#endif

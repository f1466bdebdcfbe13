/* SPDX-License-Identifier: Apache-2.0
 * The handshake by which a node becomes a member: one question to a member that the token names, one answer with all
 * that a member needs.
 *
 * A question may be asked again: a node that lost the answer, or asked another member, gets the same id as long as it
 * is the same instance, joining by the same token.
 */
#ifndef POSTROAD_CLUSTER_JOIN_H
#define POSTROAD_CLUSTER_JOIN_H

#include "cluster/members/change.h"
#include "daemon/cluster/join_message.h"
#include "daemon/cluster/peers.h"

/* ---- the node that joins ---- */

enum { JOIN_CALL_MS = 20000 /* for each address of the token: a write to the log happens in between */ };

struct join_options {
	struct str token;                     /* the text; copied, and wiped in the end */
	const struct join_question *question; /* encoded at once */
	struct str key_pem;                   /* of the request: the certificate must be for it; copied, wiped */
	double now;                           /* seconds since 1970, for the certificate and the token's end */
};
/* Once, never from within join_call(). answer NULL: why is a sentence, and status what a member said: 403, 404 = no;
 * 409 = not now, or not so; 400, 422 = not such a node; 0 = nobody could be reached or say. The answer's secrets are
 * wiped when this returns. */
typedef void join_done_fn(const struct join_answer *answer, int status, const char *why, void *arg);
/* Asks the addresses of the token in turn, until one gives an answer that fits: certificate by the token's authority,
 * for this key and the id; corosync's key that of the table. NULL: *ret_why (the caller frees), fn is not called. */
struct join_call *join_call(struct peers *p, const struct join_options *o, join_done_fn *fn, void *arg,
			    char **ret_why) MUST_CHECK;

/* ---- the member that is asked ---- */

struct join_asked;

struct join_env {
	void *arg;
	/* The table in force, borrowed; NULL = none here now. */
	const struct members *(*table)(void *arg);
	/* The authority, with its key; NULL or without: this node cannot. */
	const struct ca *(*authority)(void *arg);
	/* False: the key with this hash is not here. */
	bool (*corosync_key)(void *arg, const uint8_t hash[COROSYNC_KEY_HASH_LEN], uint8_t ret[COROSYNC_KEY_LEN]);
	/* The proof is right: decide, and answer by one of the three below, now or later. */
	void (*decide)(struct join_asked *a, void *arg);
};
/* Serves /join. *env is copied. */
void join_serve(struct peers *p, const struct join_env *env);

const struct join_question *join_asked_question(const struct join_asked *a);
/* The node takes the place of another one, and join_decide() wants the hash of a new key of corosync, which
 * join_env.corosync_key() must know from then on. */
bool join_asked_replaces(const struct join_asked *a, const struct members *t);
/* Something is wrong with the node, and its question says to pass over it: the answer tells. */
void join_asked_pass_over(struct join_asked *a, const char *text);
/* The table to be proposed, the caller's; anew from the newest one where that proposal was stale. A certificate is made
 * on the way. NULL: *why. */
struct members *join_decide(struct join_asked *a, const struct members *t, const struct members_view *view,
			    const uint8_t *new_key, struct members_refusal *why) MUST_CHECK;
/* That table is committed, at this position of this generation of the log. The three end the question. */
void join_accept(struct join_asked *a, const struct members *t, uint64_t generation, uint64_t position);
void join_refuse(struct join_asked *a, const struct members_refusal *why);
/* No quorum, or not known in time: the node asks again, elsewhere. */
void join_defer(struct join_asked *a, const char *why);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Calls from node to node: HTTP/1.1 over TLS 1.3 at cluster.listen, one POST on each connection, both ends judged by
 * the table of nodes (cluster/trust/channel.h).
 *
 * Control thread. Bodies are JSON where the status is 200 and a sentence for people where it is not. They may hold
 * secrets: they are wiped, and neither they nor their heads are logged.
 */
#ifndef POSTROAD_CLUSTER_PEERS_H
#define POSTROAD_CLUSTER_PEERS_H

#include "cluster/trust/channel.h"
#include "daemon/base/addr.h"
#include "daemon/net/loop.h"

enum {
	PEERS_CONNECTIONS_MAX = 64, /* that others opened; the oldest of those that proved nothing make room */
	PEERS_UNPROVEN_MAX = 8,     /* of these, from one IPv4 address or IPv6 /64 without a member's certificate */
	PEERS_CALLS_MAX = 64,       /* under way from here */
	PEERS_PATHS_MAX = 32,
	PEERS_LISTEN_MAX = 8,
	PEERS_ANSWER_MAX = 1024 * 1024, /* bytes of an answer's body */
	PEERS_HANDSHAKE_MS = 5000,
	PEERS_REQUEST_MS = 10000, /* from the handshake to a request's last byte … */
	PEERS_MIN_RATE = 65536,   /* … and a second more for each so many bytes of its body */
	PEERS_DECISION_MS = 60000 /* for peers_reply() */
};

struct peers;
struct peers_request;

struct peers *peers_new(struct loop *loop);
/* Accepts NULL. Calls under way are answered with status 0 from within; a request that is not replied to yet still is
 * to be, and its client sees an end. Not from within a callback of this. */
void peers_free(struct peers *p);

/* Who this node is and who is a member now. Called again when a certificate was renewed: connections under way go on
 * with the one before. c NULL, or its key empty: not a member; such a node can only call with a token's authority, and
 * takes no connection. c->member and c->arg are kept and asked again for each request. False: nothing has changed,
 * *ret_why is a sentence that the caller frees. */
bool peers_identity(struct peers *p, const struct channel_config *c, char **ret_why) MUST_CHECK;
/* Listens here and nowhere else from now on; addresses that stay are not closed. n = 0: nowhere. False: as before,
 * *ret_why as above. */
bool peers_listen(struct peers *p, const struct addr *list, size_t n, char **ret_why) MUST_CHECK;

/* ---- calling ---- */

/* Once, never from within peers_call(). status 0 = no answer, body is then a sentence that says why. The body is wiped
 * when this returns. */
typedef void peers_answer_fn(int status, struct str body, void *arg);
/* Appends the body, now that the connection stands: for what is proved to be of this connection alone. */
typedef void peers_compose_fn(const uint8_t binding[CHANNEL_BINDING_LEN], struct sbuf *body, void *arg);

struct peers_call_options {
	struct addr to;
	uint32_t id; /* who it must be; 0 = any member */
	const uint8_t
		*authority; /* [CA_FINGERPRINT_LEN] of a token: whoever it certified is believed; NULL = the table */
	bool anonymous;     /* show no certificate: it may be no good any more */
	const char *path;   /* "/…" */
	struct str body;    /* copied */
	peers_compose_fn *compose; /* instead of body; has the same arg as the answer */
	int64_t deadline_ms;       /* from now to the last byte of the answer */
};
/* 0: fn is called. -ENOTCONN: no identity and no authority; -EBUSY: too many are under way. */
int peers_call(struct peers *p, const struct peers_call_options *o, peers_answer_fn *fn, void *arg) MUST_CHECK;

/* ---- being called ---- */

/* Replies exactly once, at once or later. The request is gone with that. */
typedef void peers_serve_fn(struct peers_request *r, void *arg);
/* path: kept, not copied. strangers: also for those without a certificate. body_max: more gets 413 unread. */
void peers_serve(struct peers *p, const char *path, bool strangers, size_t body_max, peers_serve_fn *fn, void *arg);
/* Memory of a path's function, free()d behind it in peers_free(). At most PEERS_PATHS_MAX. */
void peers_own(struct peers *p, void *memory);
/* NULL = a stranger. */
const struct ca_identity *peers_request_from(const struct peers_request *r);
/* Where it comes from. */
const struct addr *peers_request_source(const struct peers_request *r);
/* Valid until the reply. */
struct str peers_request_body(const struct peers_request *r);
/* False: the client has gone. */
bool peers_request_binding(const struct peers_request *r, uint8_t ret[CHANNEL_BINDING_LEN]) MUST_CHECK;
/* The body is copied; whoever stopped being a member meanwhile gets 403 instead. */
void peers_reply(struct peers_request *r, int status, struct str body);

#endif

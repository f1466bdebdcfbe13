/* SPDX-License-Identifier: Apache-2.0
 * A member's next certificate: asked of a member that has the authority's key, named by the table of nodes before it is
 * given. A member that has that key itself needs nobody: ca_issue() and members_certificate().
 *
 * Bodies are PEM: the request, the certificate. Who it is for, the certificate of the call says.
 */
#ifndef POSTROAD_CLUSTER_RENEW_H
#define POSTROAD_CLUSTER_RENEW_H

#include "cluster/members/change.h"
#include "daemon/cluster/peers.h"

enum { RENEW_CALL_MS = 20000 };

/* ---- the member whose certificate ends ---- */

struct renew_options {
	struct addr to;
	uint32_t id;                     /* of whom is asked; 0 = any member */
	struct str request_pem, key_pem; /* of the next key; copied, the key is wiped */
	const struct ca *ca;             /* the cluster's; copied */
	const struct ca_identity *self;
	double now; /* seconds since 1970 */
};
/* Once, never from within renew_call(). certificate empty: why is a sentence; ask another member, or later. From here
 * on both certificates are good: keep the next one and its key on disk, then use it: peers_identity(). */
typedef void renew_done_fn(struct str certificate_pem, const char *why, void *arg);
/* 0, or as peers_call(). */
int renew_call(struct peers *p, const struct renew_options *o, renew_done_fn *fn, void *arg) MUST_CHECK;

/* ---- the member that is asked ---- */

struct renew_asked;

struct renew_env {
	void *arg;
	const struct members *(*table)(void *arg); /* as in struct join_env */
	const struct ca *(*authority)(void *arg);
	/* Decide, and answer by one of the three below, now or later. */
	void (*decide)(struct renew_asked *a, void *arg);
};
/* Serves /renew. *env is copied. */
void renew_serve(struct peers *p, const struct renew_env *env);

uint32_t renew_asked_id(const struct renew_asked *a);
/* The table to be proposed, the caller's; anew from the newest one where that proposal was stale. The certificate that
 * the node called with stays good, however often the answer is lost. now: log time. NULL: *why. */
struct members *renew_decide(struct renew_asked *a, const struct members *t, double now,
			     struct members_refusal *why) MUST_CHECK;
/* That table is committed. The three end the question. */
void renew_accept(struct renew_asked *a);
void renew_refuse(struct renew_asked *a, const struct members_refusal *why);
void renew_defer(struct renew_asked *a, const char *why);

#endif

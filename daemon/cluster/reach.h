/* SPDX-License-Identifier: Apache-2.0
 * Whether datagrams get from here to a machine that wants to join. It answers them itself while it asks; where it does
 * not, its kernel may say that nobody listens (ICMP, RFC 792 and RFC 4443 3.1 code 4). Kernels ration such errors, so
 * they are not what is counted on. Silence means that something in between swallows datagrams.
 */
#ifndef POSTROAD_CLUSTER_REACH_H
#define POSTROAD_CLUSTER_REACH_H

#include "cluster/members/preflight.h"
#include "daemon/net/loop.h"

enum { REACH_MS = 1500, REACH_SENDS = 4 };

struct reach_pair {
	struct addr from, to; /* `to` with its port */
	enum preflight_reach reached;
};
struct reach;
/* Once, never from within reach_start(): YES = a machine is there; NO = nobody answered, or there is no way. */
typedef void reach_done_fn(const struct reach_pair *pairs, size_t n, void *arg);
struct reach *reach_start(struct loop *l, const struct reach_pair *pairs, size_t n, reach_done_fn *fn, void *arg);
/* fn is not called any more. Accepts NULL. */
void reach_cancel(struct reach *r);

/* The other side: answers at each of these addresses, with their ports, until it is ended. One that is in use already
 * is left to whoever has it. An answer is never longer than what it answers, and never answered again. */
struct reach_answers;
struct reach_answers *reach_answer(struct loop *l, const struct addr *at, size_t n);
/* The ports are free again on return. Accepts NULL. */
void reach_answer_end(struct reach_answers *a);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Whether datagrams get from here to a machine on which nothing listens yet: its kernel says so (ICMP, RFC 792 and RFC
 * 4443 3.1 code 4), and silence means that something in between swallows them.
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

#endif

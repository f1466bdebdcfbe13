/* SPDX-License-Identifier: Apache-2.0
 * A planned move of a virtual address that cuts nothing: the address moves first, the flows stay where they are.
 *
 * The node that gives an address away keeps it on `lo`, where nobody on the network sees it, and goes on serving the
 * TCP connections it has. The node that takes the address passes their packets on to it. New connections are the
 * taker's. All state is in the kernel and carries a time after which the kernel drops it, so that nothing depends on
 * this process living; a restart finds all of it again. See flows/README.md for the order of a move and its limits.
 *
 * All functions need CAP_NET_ADMIN, return -1 with a sentence in *why, do not log, and may be called from one thread.
 * Addresses are IPv4 or IPv6, never mapped ones; ports of a `vip` or a `node` are ignored. A node's address has the
 * family of the virtual address, and lies in a network that both nodes are in.
 */
#ifndef POSTROAD_HA_FLOWS_H
#define POSTROAD_HA_FLOWS_H

#include <net/if.h>

#include "daemon/base/addr.h"

#define FLOWS_MAX 262144       /* connections that a node passes on, per family */
#define FLOWS_OPEN_MAX 60      /* seconds */
#define FLOWS_KEEP_MAX 86400   /* seconds */
#define FLOWS_KEPT_MAX 256     /* addresses that a node keeps */
#define FLOWS_TABLE "postroad" /* the nftables table, family netdev, that is ours alone */
#define FLOWS_METRIC 25252     /* the metric by which our addresses on `lo` are known, on every kernel since 4.18 */

/* A TCP connection of a node: both with port. */
struct flow {
	struct addr local, remote;
};

/* A connection whose packets are passed on to `node`, for `seconds` more. */
struct flow_passed {
	struct flow flow;
	struct addr node;
	unsigned seconds;
};

/* What moves: an address, away from `node`, and how long that node may need for its flows to end. */
struct flows_move {
	struct addr vip;
	struct addr node;
	unsigned seconds; /* 1 … FLOWS_KEEP_MAX */
};

struct flows_counts {
	size_t passed_on; /* connections whose packets go to another node */
	size_t open;      /* addresses that flows_open() is still in force for */
	size_t kept;      /* addresses kept on `lo` */
};

struct flows_why {
	char text[256];
};

/* ---- the node that gives an address away ---- */

/* Keeps the address on `lo` for that long, or for that long from now on. `own` is this node's address in the network of
 * the address: IPv4 questions (ARP) that arrive on its interface are answered for the interface's own addresses alone
 * from now on (arp_ignore, arp_announce), until nothing is kept. An address that is on `lo` by other hands is left as
 * it is. Call before the address leaves the interface. */
int flows_keep(const struct addr *vip, const struct addr *own, unsigned seconds, struct flows_why *why) MUST_CHECK;
/* No longer: connections that are left end without a word. Settings are put back with the last kept address. 0 also
 * when it was not kept. */
int flows_release(const struct addr *vip, struct flows_why *why) MUST_CHECK;
/* This node's connections to the address: those whose other side may still send something that counts, so also
 * half-open ones and half-closed ones. Returns how many, at most `max`; more than that is an error. */
int flows_established(const struct addr *vip, struct flow *out, size_t max, struct flows_why *why) MUST_CHECK;
/* What this node passes on for the address itself, having taken it from another one before: its successor must do the
 * same. Returns how many, at most `max`; more than that is an error. */
int flows_passed_on(const struct addr *vip, struct flow_passed *out, size_t max, struct flows_why *why) MUST_CHECK;

/* Sorts them by node, and gives all of a node the longest time that one of them has: what is over by then costs nothing
 * but its place. */
void flows_group(struct flow_passed *list, size_t n);
/* Of two struct flow, for qsort(3) and bsearch(3): by addresses and ports. */
int flows_compare(const void *a, const void *b);

/* ---- the node that takes it ---- */

/* For move->seconds (at most FLOWS_OPEN_MAX): whatever arrives for the address and belongs to no connection that began
 * here goes to move->node. This covers the connections that begin there between its last list and the moment at which
 * the network has learned of the move. Forgets what was passed on for the address before. Call once for a move, before
 * it. */
int flows_open(const struct flows_move *move, struct flows_why *why) MUST_CHECK;
/* Passes these connections on to move->node for move->seconds. May be called again with the same and with others; those
 * which began here since flows_open() are left alone. One that was another node's before is this node's now. Each of
 * `flows` is of move->vip. */
int flows_receive(const struct flows_move *move, const struct flow *flows, size_t n, struct flows_why *why) MUST_CHECK;
/* The interface by which packets to a node go; an error when it is behind a router or this node itself. */
int flows_way(const struct addr *node, char interface[IF_NAMESIZE], struct flows_why *why) MUST_CHECK;
/* That node is dead: its connections are no longer passed on, and clients learn by a reset. */
int flows_lost(const struct addr *node, struct flows_why *why) MUST_CHECK;

/* ---- both ---- */

int flows_counts(struct flows_counts *ret, struct flows_why *why) MUST_CHECK;
/* Takes away what has run out: settings when nothing is kept, the table when it is empty. Costs a listing of the table;
 * once a minute is often enough. */
int flows_tidy(struct flows_why *why) MUST_CHECK;
/* Undoes everything at once, running or not. */
int flows_clean_all(struct flows_why *why) MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Listening sockets: one per worker and address (SO_REUSEPORT, IP_FREEBIND), accepting in batches.
 */
#ifndef POSTROAD_NET_LISTENER_H
#define POSTROAD_NET_LISTENER_H

#include "daemon/base/addr.h"
#include "daemon/net/loop.h"

struct listener;

/* fd is the new connection, non-blocking and close-on-exec, TCP_NODELAY set; the callee owns it. */
typedef void listener_accept_fn(int fd, const struct addr *peer, void *arg);

/* Binds and listens. NULL = failed, *ret_errno says why. accept starts with listener_start(). */
struct listener *listener_open(struct loop *l, const struct addr *at, listener_accept_fn *fn, void *arg,
			       int *ret_errno) MUST_CHECK;
void listener_start(struct listener *li);
/* Takes what is already in the accept queue, then closes. */
void listener_close(struct listener *li);
const struct addr *listener_addr(const struct listener *li);
/* From any thread, without a loop: can this address be bound with SO_REUSEPORT? 0 or errno. For validation before
 * applying. */
int listener_probe(const struct addr *at);
/* Is this an address of this host? Asked of the kernel by binding to it. */
bool listener_is_local(const struct addr *a);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Connections that have been ended by us with a last word, until the peer has closed its side too.
 *
 * A close() while the peer still speaks is answered by the kernel with a reset, which may overtake the last word, and
 * which the peer takes for a failure. So our side is shut, what still comes is thrown away, and the rest follows when
 * the peer has seen the end, or after LINGER_MS (RFC 1122, section 4.2.2.13).
 */
#ifndef POSTROAD_NET_LINGER_H
#define POSTROAD_NET_LINGER_H

#include "daemon/net/loop.h"

enum {
	LINGER_MS = 2000, /* a peer that does not close has so long */
	LINGER_MAX = 1024 /* of one loop; beyond that a connection is closed at once */
};

struct lingers {
	/* private */
	struct loop *loop;
	struct list list;
	size_t n;
	loop_fn *empty;
	void *arg;
};

/* empty: called when the last one has gone, from the loop; NULL = nobody waits. */
void lingers_init(struct lingers *ls, struct loop *loop, loop_fn *empty, void *arg);
/* Takes over a non-blocking socket to which all has been written; -1 is nothing. Loop's thread. */
void lingers_add(struct lingers *ls, int fd);
size_t lingers_count(const struct lingers *ls);
/* Closes all of them now; empty is not called. */
void lingers_close_all(struct lingers *ls);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The beginning of a connection, read to its last byte and not one further, so that whoever takes the connection over
 * (a stream, TLS) finds it as if that had never been there.
 *
 * There is no deadline here: the owner's timer ends a peer that does not finish.
 */
#ifndef POSTROAD_NET_PREAMBLE_H
#define POSTROAD_NET_PREAMBLE_H

#include <event2/event_struct.h>
#include <stddef.h>

#include "daemon/net/loop.h"

enum preamble_verdict {
	PREAMBLE_MORE, /* no verdict yet: all bytes so far belong to it */
	PREAMBLE_DONE, /* *ret_len bytes are it */
	PREAMBLE_BAD,  /* it is none */
};

struct preamble_ops {
	/* Judges p[0..n), the first bytes of the connection. A longer p must not contradict a shorter one. */
	enum preamble_verdict (*judge)(const char *p, size_t n, size_t *ret_len, void *owner);
	/* It is complete, and p[0..n) are its bytes: only what follows is left in the socket. The owner has called
	 * preamble_end() when this returns. */
	void (*on_done)(const char *p, size_t n, void *owner);
	/* It is none or too long (err 0), the peer has left (ECONNRESET), or the connection failed (errno). Likewise.
	 */
	void (*on_failed)(int err, void *owner);
};

struct preamble {
	/* private */
	struct event rd;
	int fd;
	const struct preamble_ops *ops;
	void *owner;
	char *buf;
	size_t n, max;
};

/* Starts reading from fd, which stays the caller's; no more than max bytes are the beginning. */
void preamble_start(struct preamble *p, struct loop *l, int fd, size_t max, const struct preamble_ops *ops,
		    void *owner);
/* Stops reading and frees the bytes. No event comes afterwards. Idempotent. */
void preamble_end(struct preamble *p);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The seam between a stream and its TLS: stream.c moves bytes of the wire, stream_tls.c turns them into the peer's.
 */
#ifndef POSTROAD_NET_STREAM_PRIVATE_H
#define POSTROAD_NET_STREAM_PRIVATE_H

#include <sys/types.h>

#include "daemon/net/stream_tls.h"
#include "daemon/net/tls_private.h"

struct stream_tls {
	SSL *ssl;
	struct tls_link link;
	struct sbuf plain; /* put and not yet sealed: the turn is not over, or the handshake */
	char *raw;         /* implicit TLS: wire bytes that were read before the start; raw[raw_at..raw_n) are left */
	size_t raw_at, raw_n;
	char *why;
	int sock_errno; /* of the last read that failed for good */
	int end_errno;  /* with `ended`: 0 = the peer's end */
	size_t unasked; /* bytes that the peer made TLS itself answer while our queue was not empty */
	bool starttls, kick, done, more, ended, failed;
	bool dry; /* the kernel has no more until the poll set says so */
	bool sock_eof;
	bool end_due, end_sent; /* our close_notify */
};

/* ---- stream.c, for stream_tls.c ---- */

void stream_tell_gone(struct stream *st, int err);
/* Puts the descriptor into the poll set for reading, or takes it out. */
void stream_watch(struct stream *st, bool on);
/* Queues bytes of the wire. */
void stream_wire_add(struct stream *st, const void *p, size_t n);
/* Makes room for n more bytes of the wire. */
void stream_wire_reserve(struct stream *st, size_t n);

/* ---- stream_tls.c, for stream.c; all but the last two where st->tls is set ---- */

/* Poll event: true = it was the handshake's. */
bool stream_tls_readable(struct stream *st);
/* As recv(2); EPROTO and a text for a failure of TLS. */
ssize_t stream_tls_read(struct stream *st, char *buf, size_t room);
/* There is something to read of which the kernel does not know. */
bool stream_tls_more(const struct stream *st);
/* Gathers plaintext for stream_tls_seal(). */
void stream_tls_put(struct stream *st, const void *p, size_t n);
/* Turns what was gathered, and then p[0..n), into bytes of the wire; before the handshake is complete, gathers. */
void stream_tls_seal(struct stream *st, const void *p, size_t n);
/* Bytes gathered. */
size_t stream_tls_queued(const struct stream *st);
/* End of a turn: begins a handshake that is due. False: the owner has closed the stream. */
bool stream_tls_go(struct stream *st);
/* TLS was started inside on_data(), which left p[0..n). */
void stream_tls_left(struct stream *st, const char *p, size_t n);
/* Says close_notify behind everything written. */
void stream_tls_end(struct stream *st);
void stream_tls_free(struct stream *st);

#endif

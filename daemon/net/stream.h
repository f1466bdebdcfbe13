/* SPDX-License-Identifier: Apache-2.0
 * A TCP connection as a stream of bytes with a few typed events.
 *
 * Reading goes through one scratch buffer per loop: a session that is idle owns no buffer. The owner's on_data() gets
 * the bytes and says how many it used; the rest is kept (bounded by STREAM_KEEP_MAX) and offered again, together with
 * what comes next. Writing gathers: stream_put() queues and one writev per loop turn sends; stream_send() writes at
 * once and queues the rest. The owner watches stream_queued() and stops feeding above STREAM_HIGH_WATER; on_drained()
 * tells when it fell below. TLS (stream_tls.h) changes none of this.
 */
#ifndef POSTROAD_NET_STREAM_H
#define POSTROAD_NET_STREAM_H

#include "daemon/base/addr.h"
#include "daemon/base/str.h"
#include "daemon/net/loop.h"

#define STREAM_KEEP_MAX (32 * 1024)
#define STREAM_READ_SMALL (16 * 1024) /* a read's bound for lines, the default: bulk readers ask for more */
#define STREAM_HIGH_WATER (256 * 1024)

struct stream;

struct stream_ops {
	/* The connection stands (only for stream_connect). */
	void (*on_connected)(struct stream *st, void *owner);
	/* p[0..n) is there, in memory that others use after this; returns how many bytes were used, which an owner may
	 * overwrite. One that uses nothing of STREAM_KEEP_MAX bytes must pause. */
	size_t (*on_data)(struct stream *st, const char *p, size_t n, void *owner);
	/* What was queued above the high-water mark has been written, to the last byte. May be NULL. */
	void (*on_drained)(struct stream *st, void *owner);
	/* The peer closed its side (err 0, after its last bytes were offered) or the connection failed (errno). Once.
	 */
	void (*on_gone)(struct stream *st, int err, void *owner);
	/* TLS was started (stream_tls.h) and the handshake is complete: what comes now is protected. May be NULL. */
	void (*on_tls)(struct stream *st, void *owner);
};

struct stream {
	int fd; /* -1 = closed */
	/* private from here */
	struct loop *loop;
	const struct stream_ops *ops;
	void *owner;
	struct stream_io *io;   /* events; attached while the fd is open */
	struct stream_tls *tls; /* attached while TLS is on; out then holds what goes over the wire */
	char *keep;             /* bytes offered and not used */
	size_t keep_n;
	char *out; /* queued bytes: out[out_at..out_n) */
	size_t out_at, out_n, out_cap;
	uint64_t bytes_in, bytes_out;
	struct loop_flush flush, again;
	int connect_errno;
	bool bulk, connecting, paused, eof, want_drained, gone_told, offer_due, shut_due, offering, lacked;
};

/* Takes over an accepted, non-blocking fd and starts reading. */
void stream_open(struct stream *st, struct loop *l, int fd, const struct stream_ops *ops, void *owner);
/* Starts connecting; on_connected or on_gone follows, never from inside this call. source family 0 = any. */
void stream_connect(struct stream *st, struct loop *l, const struct addr *to, const struct addr *source,
		    const struct stream_ops *ops, void *owner);
/* The connect failed for want of a descriptor, memory or a port of this system's own: the peer has no part in it. It is
 * told in the log, at most once a minute. */
static inline bool stream_lacked(const struct stream *st)
{
	return st->lacked;
}
/* Flushes what can be flushed without waiting, closes, frees buffers. No event comes afterwards. Idempotent. */
void stream_close(struct stream *st);
/* As stream_close(), but the descriptor is the caller's from here on, for lingers_add(). -1: it was not open, or not
 * everything could be written at once; it is closed then. */
int stream_part(struct stream *st) MUST_CHECK;
/* Closes with a reset (SO_LINGER 0): the peer must not take what it has for whole. */
void stream_abort(struct stream *st);
bool stream_is_open(const struct stream *st);
/* Throws away what has come and was not read, so that a close does not turn into a reset that overtakes our last words.
 * Bounded. */
void stream_discard_input(struct stream *st);
/* Ends our side once the queue is empty; the peer's bytes go on coming. */
void stream_shutdown(struct stream *st);

/* Reads up to a whole scratch buffer at a time (true), or STREAM_READ_SMALL: what an owner leaves of a read is kept in
 * memory. */
void stream_read_bulk(struct stream *st, bool bulk);

/* Stops offering bytes; they stay in the kernel (and in the small keep buffer). */
void stream_pause(struct stream *st);
/* Offers kept bytes again (in the loop's next step, not from inside this call) and goes on reading. */
void stream_resume(struct stream *st);

/* The peer has closed its side and everything it sent was used. True while paused too, before on_gone() is told. */
bool stream_at_eof(const struct stream *st);

/* Offers kept bytes again in the next turn: for an owner that has done enough for this one and leaves the rest. */
void stream_yield(struct stream *st);

void stream_put(struct stream *st, const void *p, size_t n);
void stream_puts(struct stream *st, const char *s);
void stream_printf(struct stream *st, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Writes now what the kernel takes, behind anything queued; queues the rest. */
void stream_send(struct stream *st, const void *p, size_t n);
/* Bytes queued and not yet given to the kernel. */
size_t stream_queued(const struct stream *st);
/* Gives queued bytes to the kernel now, as far as it takes them. */
void stream_flush(struct stream *st);
/* Asks for on_drained() once the queue is empty. */
void stream_notify_drained(struct stream *st);

#endif

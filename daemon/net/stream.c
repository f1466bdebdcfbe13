/* SPDX-License-Identifier: Apache-2.0
 * A TCP connection as a stream of bytes with a few typed events.
 *
 * The hard thing is to own no memory while idle and to make few system calls: bytes are read into the loop's scratch
 * buffer and offered from there; only what the owner leaves is kept. Pausing is lazy: the descriptor leaves the poll
 * set only when bytes come while paused and the keep buffer is full, so the common short pause (waiting for a backend's
 * verdict) costs no system call.
 */
#include "daemon/net/stream_private.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "daemon/base/log.h"

#define TELL_AGAIN_MS 60000

struct stream_io {
	struct event rd;
	struct event *wr; /* made at the first write that would block */
	bool rd_on, wr_on;
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

/* ---- poll set ---- */

void stream_watch(struct stream *st, bool on)
{
	if (st->io->rd_on == on)
		return;
	st->io->rd_on = on;
	if (on)
		event_add(&st->io->rd, NULL);
	else
		event_del(&st->io->rd);
}

static void write_on(struct stream *st, bool on)
{
	if (st->io->wr_on == on)
		return;
	if (st->io->wr == NULL) {
		st->io->wr = xcalloc(1, sizeof(struct event));
		event_assign(st->io->wr, loop_base(st->loop), st->fd, EV_WRITE | EV_PERSIST, on_writable, st);
	}
	st->io->wr_on = on;
	if (on)
		event_add(st->io->wr, NULL);
	else
		event_del(st->io->wr);
}

/* ---- telling the owner ---- */

void stream_tell_gone(struct stream *st, int err)
{
	if (st->gone_told)
		return;
	st->gone_told = true;
	if (st->io != NULL)
		stream_watch(st, false);
	st->ops->on_gone(st, err, st->owner);
}

/* A login may have gone through it. */
static void free_wiped(char *p, size_t n)
{
	if (p != NULL)
		OPENSSL_cleanse(p, n);
	free(p);
}

static void keep_bytes(struct stream *st, const char *p, size_t n)
{
	char *copy = NULL;

	if (n > 0) {
		copy = xmalloc(n);
		memcpy(copy, p, n);
	}
	free_wiped(st->keep, st->keep_n);
	st->keep = copy;
	st->keep_n = n;
}

/* Offers p[0..n) and keeps what is left. The owner may close the stream meanwhile: its memory lives to the end of the
 * turn. */
static void offer(struct stream *st, const char *p, size_t n)
{
	bool plain = st->tls == NULL;

	st->offering = true;
	size_t used = st->ops->on_data(st, p, n, st->owner);
	ASSERT(used <= n);
	st->offering = false;
	if (st->fd < 0)
		return;
	if (plain && st->tls != NULL) {
		keep_bytes(st, NULL, 0);
		stream_tls_left(st, p + used, n - used);
		return;
	}
	if (used == 0 && n == st->keep_n)
		return;
	keep_bytes(st, p + used, n - used);
}

/* Called with the loop's scratch free: from a poll event or the end of a turn. */
static void offer_kept(struct stream *st)
{
	char *scratch = loop_scratch(st->loop);
	size_t n = st->keep_n;

	if (n > 0) {
		memcpy(scratch, st->keep, n);
		offer(st, scratch, n);
	}
	if (st->fd >= 0 && st->eof && !st->paused)
		stream_tell_gone(st, 0);
}

/* ---- reading ---- */

static ssize_t take_in(struct stream *st, char *buf, size_t room)
{
	if (st->tls != NULL)
		return stream_tls_read(st, buf, room);
	ssize_t n = recv(st->fd, buf, room, 0);
	if (n > 0)
		st->bytes_in += (uint64_t)n;
	return n;
}

/* TLS may hold bytes of which the poll set knows nothing. */
static void look_again(struct stream *st)
{
	if (st->fd >= 0 && st->tls != NULL && stream_tls_more(st))
		loop_flush_queue_later(st->loop, &st->again);
}

static void read_failed(struct stream *st)
{
	if (errno == EAGAIN || errno == EINTR)
		return;
	stream_tell_gone(st, errno);
}

/* While paused, bytes are taken into the keep buffer up to its bound: so that a reset or an end is noticed. */
static void read_while_paused(struct stream *st)
{
	if (st->keep_n >= STREAM_KEEP_MAX) {
		stream_watch(st, false);
		return;
	}
	char *scratch = loop_scratch(st->loop);
	size_t before = st->keep_n;
	ssize_t n = take_in(st, scratch + before, STREAM_KEEP_MAX - before);
	if (n < 0) {
		read_failed(st);
		return;
	}
	if (n == 0) {
		st->eof = true;
		stream_watch(st, false);
		return;
	}
	if (before > 0)
		memcpy(scratch, st->keep, before);
	keep_bytes(st, scratch, before + (size_t)n);
}

static void read_and_offer(struct stream *st)
{
	if (st->offer_due || st->keep_n >= LOOP_SCRATCH)
		return; /* resumed in this very turn: what is kept is offered first, at the turn's end */
	char *scratch = loop_scratch(st->loop);
	size_t before = st->keep_n, room = LOOP_SCRATCH - before;
	if (!st->bulk && room > STREAM_READ_SMALL)
		room = STREAM_READ_SMALL;
	ssize_t n = take_in(st, scratch + before, room);
	if (n < 0) {
		read_failed(st);
		return;
	}
	if (n == 0) {
		st->eof = true;
		stream_tell_gone(st, 0);
		return;
	}
	if (before > 0)
		memcpy(scratch, st->keep, before);
	offer(st, scratch, before + (size_t)n);
	look_again(st);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct stream *st = arg;

	UNUSED(fd);
	UNUSED(what);
	if (st->tls != NULL && stream_tls_readable(st))
		return;
	if (st->paused)
		read_while_paused(st);
	else
		read_and_offer(st);
}

void stream_read_bulk(struct stream *st, bool bulk)
{
	st->bulk = bulk;
}

void stream_pause(struct stream *st)
{
	st->paused = true;
}

void stream_resume(struct stream *st)
{
	if (!st->paused || st->fd < 0)
		return;
	st->paused = false;
	if (!st->eof)
		stream_watch(st, true);
	if (st->keep_n == 0 && !st->eof && (st->tls == NULL || !stream_tls_more(st)))
		return;
	st->offer_due = true;
	loop_flush_queue(st->loop, &st->flush);
}

bool stream_at_eof(const struct stream *st)
{
	return st->eof && st->keep_n == 0;
}

/* ---- writing ---- */

static void out_drop(struct stream *st, size_t n)
{
	st->out_at += n;
	if (st->out_at < st->out_n)
		return;
	free_wiped(st->out, st->out_n);
	st->out = NULL;
	st->out_at = st->out_n = st->out_cap = 0;
}

#define OUT_FIRST 512 /* bytes */

void stream_wire_reserve(struct stream *st, size_t n)
{
	if (st->out_n + n <= st->out_cap)
		return;
	size_t live = st->out_n - st->out_at, cap = st->out_cap < OUT_FIRST ? OUT_FIRST : st->out_cap;
	/* A reply or a command fits the first; what does not is content, and goes on. */
	while (cap < live + n)
		cap *= 4;
	char *bigger = xmalloc(cap);
	if (live > 0)
		memcpy(bigger, st->out + st->out_at, live);
	free_wiped(st->out, st->out_n);
	st->out = bigger;
	st->out_at = 0;
	st->out_n = live;
	st->out_cap = cap;
}

void stream_wire_add(struct stream *st, const void *p, size_t n)
{
	stream_wire_reserve(st, n);
	memcpy(st->out + st->out_n, p, n);
	st->out_n += n;
}

/* Both pieces in one call; the plainer call where there is one piece, as there mostly is. */
static ssize_t send_pieces(int fd, struct iovec first, struct iovec second)
{
	struct iovec both[2] = { first, second };
	struct msghdr msg = { .msg_iov = both, .msg_iovlen = 2 };

	if (first.iov_len > 0 && second.iov_len > 0)
		return sendmsg(fd, &msg, MSG_NOSIGNAL);
	if (first.iov_len == 0)
		first = second;
	return send(fd, first.iov_base, first.iov_len, MSG_NOSIGNAL);
}

/* Gives the queue and then p[0..n) to the kernel. Returns how many bytes of p were taken. */
static size_t write_out(struct stream *st, const void *p, size_t n)
{
	size_t queued = st->out_n - st->out_at;
	struct iovec queue = { queued > 0 ? st->out + st->out_at : NULL, queued }, piece = { (void *)(uintptr_t)p, n };
	ssize_t done = send_pieces(st->fd, queue, piece);

	if (done < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		/* What was not written is lost, so nothing may be written behind it (with ENOBUFS the connection would
		 * go on). The reader sees the end once it has read what came before: leave the telling to one place.
		 */
		shutdown(st->fd, SHUT_RDWR);
		out_drop(st, queued);
		return n;
	}
	st->bytes_out += (uint64_t)done;
	size_t of_queue = (size_t)done < queued ? (size_t)done : queued;
	if (queued > 0)
		out_drop(st, of_queue);
	return (size_t)done - of_queue;
}

static void after_write(struct stream *st)
{
	bool more = st->out_n > st->out_at;

	write_on(st, more);
	more = more || stream_queued(st) > 0; /* TLS: waits for the handshake */
	if (!more && st->shut_due) {
		st->shut_due = false;
		shutdown(st->fd, SHUT_WR);
	}
	if (more || !st->want_drained)
		return;
	st->want_drained = false;
	if (st->ops->on_drained != NULL)
		st->ops->on_drained(st, st->owner);
}

void stream_flush(struct stream *st)
{
	if (st->fd < 0 || st->connecting)
		return;
	if (st->tls != NULL)
		stream_tls_seal(st, NULL, 0);
	if (st->out_n == st->out_at)
		return;
	if (st->io->wr_on)
		return; /* the kernel's buffer is full: on_writable() goes on */
	write_out(st, NULL, 0);
	if (st->out_n > st->out_at)
		write_on(st, true);
	else if (st->want_drained || st->shut_due)
		loop_flush_queue(st->loop,
				 &st->flush); /* the owner is told from the end of the turn, not from in here */
}

void stream_put(struct stream *st, const void *p, size_t n)
{
	if (st->fd < 0 || n == 0)
		return;
	if (st->tls != NULL)
		stream_tls_put(st, p, n);
	else
		stream_wire_add(st, p, n);
	loop_flush_queue(st->loop, &st->flush);
}

void stream_puts(struct stream *st, const char *s)
{
	stream_put(st, s, strlen(s));
}

void stream_printf(struct stream *st, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ASSERT(n >= 0);
	stream_put(st, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

void stream_send(struct stream *st, const void *p, size_t n)
{
	if (st->fd < 0 || n == 0)
		return;
	if (st->tls != NULL) {
		stream_tls_seal(st, p, n);
		stream_flush(st);
		return;
	}
	size_t taken = st->connecting || st->io->wr_on ? 0 : write_out(st, p, n);
	if (taken == n)
		return;
	stream_wire_add(st, (const char *)p + taken, n - taken);
	if (!st->connecting)
		write_on(st, true);
}

size_t stream_queued(const struct stream *st)
{
	size_t n = st->out_n - st->out_at;

	return st->tls == NULL ? n : n + stream_tls_queued(st);
}

void stream_notify_drained(struct stream *st)
{
	st->want_drained = true;
	loop_flush_queue(st->loop, &st->flush);
}

/* ---- connecting ---- */

static void connect_finished(struct stream *st)
{
	int err = 0;
	socklen_t len = sizeof(err);

	st->connecting = false;
	getsockopt(st->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err != 0) {
		write_on(st, false);
		stream_tell_gone(st, err);
		return;
	}
	stream_watch(st, true);
	write_on(st, st->out_n > st->out_at);
	st->ops->on_connected(st, st->owner);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct stream *st = arg;

	UNUSED(fd);
	UNUSED(what);
	if (st->connecting) {
		connect_finished(st); /* the owner may already have closed it, or opened it anew */
		return;
	}
	if (st->out_n > st->out_at)
		write_out(st, NULL, 0);
	after_write(st);
}

/* End of a turn: send what was put, offer what was kept when reading resumed, tell a connect that failed at once. */
static void end_of_turn(void *arg)
{
	struct stream *st = arg;

	if (st->fd < 0 && !st->connecting)
		return;
	if (st->connecting && st->fd < 0) {
		st->connecting = false;
		stream_tell_gone(st, st->connect_errno);
		return;
	}
	stream_flush(st);
	if (st->tls != NULL && !stream_tls_go(st))
		return;
	if (st->out_n == st->out_at && !st->io->wr_on)
		after_write(st);
	if (st->fd < 0 || !st->offer_due)
		return;
	st->offer_due = false;
	if (!st->paused && !st->gone_told)
		offer_kept(st);
	stream_flush(st);
	look_again(st);
}

static void next_turn(void *arg)
{
	struct stream *st = arg;

	bool offers = st->fd >= 0 && !st->paused && !st->gone_told;
	if (offers && st->tls != NULL && !st->eof && stream_tls_more(st))
		read_and_offer(st);
	else if (offers && st->keep_n > 0)
		offer_kept(st);
	if (st->fd >= 0)
		stream_flush(st);
}

void stream_yield(struct stream *st)
{
	loop_flush_queue_later(st->loop, &st->again);
}

static void attach(struct stream *st, struct loop *l, int fd, const struct stream_ops *ops, void *owner)
{
	*st = (struct stream) { .fd = fd, .loop = l, .ops = ops, .owner = owner };
	loop_flush_init(&st->flush, end_of_turn, st);
	loop_flush_init(&st->again, next_turn, st);
	if (fd < 0)
		return;
	st->io = xcalloc(1, sizeof(*st->io));
	event_assign(&st->io->rd, loop_base(l), fd, EV_READ | EV_PERSIST, on_readable, st);
}

void stream_open(struct stream *st, struct loop *l, int fd, const struct stream_ops *ops, void *owner)
{
	attach(st, l, fd, ops, owner);
	stream_watch(st, true);
}

static int bind_source(int fd, const struct addr *to, const struct addr *source)
{
	int one = 1;

	if (source == NULL || source->sa.sa_family != to->sa.sa_family)
		return 0;
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	return bind(fd, &source->sa, addr_len(source)) < 0 ? errno : 0;
}

static int start_connect(int fd, const struct addr *to)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return connect(fd, &to->sa, addr_len(to)) < 0 && errno != EINPROGRESS ? errno : 0;
}

/* Nothing left for one more connection: descriptors, memory, or ports towards this address. */
static bool is_lack(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM || err == EADDRNOTAVAIL;
}

/* It lasts, as a rule; a line for each try would bury all others. */
static void tell_lack(struct loop *l, int err)
{
	static _Atomic int64_t told_ms; /* of all threads; 0 = never */
	int64_t now = loop_now_ms(l), told = atomic_load(&told_ms);

	if (told != 0 && now - told < TELL_AGAIN_MS)
		return;
	if (atomic_compare_exchange_strong(&told_ms, &told, now))
		log_msg(LOG_LEVEL_ERROR, "connect", "no new connection to servers: %s", strerror(err));
}

void stream_connect(struct stream *st, struct loop *l, const struct addr *to, const struct addr *source,
		    const struct stream_ops *ops, void *owner)
{
	int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err = fd < 0 ? errno : bind_source(fd, to, source);
	bool is_source = fd >= 0 && err != 0; /* one that this system does not have is no lack, but lasts */

	if (err == 0)
		err = start_connect(fd, to);
	if (err != 0 && fd >= 0) {
		close(fd);
		fd = -1;
	}
	attach(st, l, fd, ops, owner);
	st->connecting = true;
	st->connect_errno = err;
	st->lacked = !is_source && is_lack(err);
	if (st->lacked)
		tell_lack(l, err);
	if (err != 0)
		loop_flush_queue(l, &st->flush);
	else
		write_on(st, true);
}

/* ---- closing ---- */

/* Frees everything but the descriptor, which it returns. */
static int let_go(struct stream *st)
{
	int fd = st->fd;

	loop_flush_cancel(&st->flush);
	loop_flush_cancel(&st->again);
	st->connecting = false;
	if (fd < 0)
		return -1;
	stream_watch(st, false);
	if (st->io->wr != NULL) {
		write_on(st, false);
		free(st->io->wr);
	}
	free(st->io);
	st->io = NULL;
	st->fd = -1;
	if (st->tls != NULL)
		stream_tls_free(st);
	free_wiped(st->keep, st->keep_n);
	free_wiped(st->out, st->out_n);
	st->keep = st->out = NULL;
	st->keep_n = st->out_at = st->out_n = st->out_cap = 0;
	return fd;
}

static void release(struct stream *st)
{
	int fd = let_go(st);

	if (fd >= 0)
		close(fd);
}

static void say_the_last(struct stream *st)
{
	if (st->fd >= 0 && st->tls != NULL)
		stream_tls_end(st);
	if (st->fd >= 0 && !st->connecting)
		stream_flush(st);
}

void stream_close(struct stream *st)
{
	say_the_last(st);
	release(st);
}

int stream_part(struct stream *st)
{
	say_the_last(st);
	if (st->fd >= 0 && !st->connecting && stream_queued(st) == 0)
		return let_go(st);
	release(st);
	return -1;
}

void stream_discard_input(struct stream *st)
{
	if (st->fd < 0)
		return;
	/* The scratch buffer may hold bytes that a caller still looks at; MSG_TRUNC discards without a buffer (tcp(7)).
	 */
	for (int i = 0; i < 16; i++)
		if (recv(st->fd, NULL, LOOP_SCRATCH, MSG_TRUNC | MSG_DONTWAIT) <= 0)
			break;
}

void stream_shutdown(struct stream *st)
{
	if (st->fd < 0)
		return;
	if (st->tls != NULL)
		stream_tls_end(st);
	stream_flush(st);
	st->shut_due = stream_queued(st) > 0;
	if (!st->shut_due)
		shutdown(st->fd, SHUT_WR);
}

void stream_abort(struct stream *st)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (st->fd >= 0)
		setsockopt(st->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	release(st);
}

bool stream_is_open(const struct stream *st)
{
	return st->fd >= 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * TLS between a stream and its socket.
 *
 * The hard thing is OpenSSL's own idea of waiting. It is never made to wait for writing: what it writes goes into the
 * stream's queue of wire bytes, which the stream sends as it does for plaintext. And what it has read ahead the poll
 * set does not know of: stream_tls_more() says that there is more, and the stream comes back in the next turn. A read
 * that brought less than was asked for has emptied the kernel's buffer, so no second call asks it.
 */
#include "daemon/net/stream_private.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>

#define UNASKED_MAX (64 * 1024)
#define RECORD 16384       /* plaintext in one record */
#define RECORD_OVERHEAD 64 /* more than any cipher of ours adds */

/* ---- the socket as OpenSSL sees it ---- */

static int take_raw(struct stream_tls *t, char *buf, size_t n)
{
	size_t left = t->raw_n - t->raw_at, use = n < left ? n : left;

	memcpy(buf, t->raw + t->raw_at, use);
	t->raw_at += use;
	if (t->raw_at == t->raw_n) {
		free(t->raw);
		t->raw = NULL;
		t->raw_at = t->raw_n = 0;
	}
	return (int)use;
}

static int wire_read(BIO *bio, char *buf, int room)
{
	struct stream *st = BIO_get_data(bio);
	struct stream_tls *t = st->tls;

	BIO_clear_retry_flags(bio);
	if (t->raw_n > 0)
		return take_raw(t, buf, (size_t)room);
	if (t->dry) {
		BIO_set_retry_read(bio);
		return -1;
	}
	ssize_t n = recv(st->fd, buf, (size_t)room, 0);
	if (n > 0) {
		st->bytes_in += (uint64_t)n;
		t->dry = n < room;
		return (int)n;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		t->dry = true;
		BIO_set_retry_read(bio);
		return -1;
	}
	t->sock_eof = n == 0;
	t->sock_errno = n == 0 ? 0 : errno;
	return n == 0 ? 0 : -1;
}

static int wire_write(BIO *bio, const char *p, int n)
{
	BIO_clear_retry_flags(bio);
	stream_wire_add(BIO_get_data(bio), p, (size_t)n);
	return n;
}

static long wire_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	UNUSED(bio);
	UNUSED(num);
	UNUSED(ptr);
	return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *wire_method;

static void make_wire_method(void)
{
	wire_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
	ASSERT(wire_method != NULL);
	BIO_meth_set_read(wire_method, wire_read);
	BIO_meth_set_write(wire_method, wire_write);
	BIO_meth_set_ctrl(wire_method, wire_ctrl);
}

static BIO *wire_bio(struct stream *st)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_wire_method);
	BIO *bio = BIO_new(wire_method);
	ASSERT(bio != NULL);
	BIO_set_data(bio, st);
	BIO_set_init(bio, 1);
	return bio;
}

/* A login may be among it. */
static void forget_plain(struct stream_tls *t)
{
	if (t->plain.p != NULL)
		OPENSSL_cleanse(t->plain.p, t->plain.n);
	sbuf_fini(&t->plain);
}

/* ---- failures ---- */

/* Takes `why`. The first failure counts. */
static void fail(struct stream_tls *t, int err, char *why)
{
	if (t->why == NULL)
		t->why = why;
	else
		free(why);
	t->failed = t->ended = t->more = true;
	t->end_errno = err;
	forget_plain(t);
}

/* ---- handshake ---- */

static void handshake_failed(struct stream *st)
{
	struct stream_tls *t = st->tls;

	if (t->sock_errno != 0)
		fail(t, t->sock_errno, xstrdup(strerror(t->sock_errno)));
	else if (t->sock_eof)
		fail(t, EPROTO, xstrdup("closed during the handshake"));
	else
		fail(t, EPROTO, tls_handshake_error(t->ssl));
	ERR_clear_error();
	if (t->link.key != NULL)
		tls_client_forget(t->link.client, t->link.key);
	stream_flush(st); /* the alert */
	stream_tell_gone(st, t->end_errno);
}

static void handshake_done(struct stream *st)
{
	struct stream_tls *t = st->tls;

	t->done = true;
	if (t->link.client != NULL)
		tls_client_done(t->ssl);
	t->more = SSL_has_pending(t->ssl) || t->raw_n > 0;
	/* Our last words of the handshake go out with what the owner says first. */
	loop_flush_queue(st->loop, &st->flush);
	if (t->more)
		loop_flush_queue_later(st->loop, &st->again);
	if (st->ops->on_tls != NULL)
		st->ops->on_tls(st, st->owner);
}

static void handshake(struct stream *st)
{
	struct stream_tls *t = st->tls;

	ERR_clear_error();
	int rc = SSL_do_handshake(t->ssl);
	int err = SSL_get_error(t->ssl, rc);
	if (rc == 1)
		handshake_done(st);
	else if (err == SSL_ERROR_WANT_READ)
		stream_flush(st);
	else
		handshake_failed(st);
}

bool stream_tls_readable(struct stream *st)
{
	struct stream_tls *t = st->tls;

	t->dry = false;
	if (t->done || t->failed)
		return false;
	handshake(st);
	return true;
}

bool stream_tls_go(struct stream *st)
{
	struct stream_tls *t = st->tls;

	if (!t->kick)
		return true;
	t->kick = false;
	if (t->done || t->failed)
		return true;
	handshake(st);
	return st->fd >= 0 && st->tls == t;
}

/* ---- starting ---- */

/* Plaintext of the peer's that nobody has used, in the keep buffer or in the kernel. Inside on_data() the keep buffer
 * is part of what is offered; stream_tls_left() judges that. */
static bool plaintext_is_there(const struct stream *st)
{
	char byte;

	if (!st->offering && st->keep_n > 0)
		return true;
	return recv(st->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static bool may_start(const struct stream *st, enum stream_tls_when when)
{
	if (st->fd < 0 || st->connecting || st->tls != NULL || st->eof || st->gone_told)
		return false;
	return when == STREAM_TLS_IMPLICIT || !plaintext_is_there(st);
}

static struct stream_tls *attach(struct stream *st, enum stream_tls_when when)
{
	struct stream_tls *t = xcalloc(1, sizeof(*t));

	t->starttls = when == STREAM_TLS_STARTTLS;
	t->dry = true;
	if (!st->offering) {
		t->raw = st->keep;
		t->raw_n = st->keep_n;
		st->keep = NULL;
		st->keep_n = 0;
	}
	st->tls = t;
	stream_watch(st, true);
	return t;
}

static void begin(struct stream *st, SSL *ssl, bool kick)
{
	BIO *bio = wire_bio(st);

	SSL_set_bio(ssl, bio, bio);
	st->tls->ssl = ssl;
	st->tls->kick = kick;
	loop_flush_queue(st->loop, &st->flush);
}

bool stream_tls_server(struct stream *st, struct tls_server *ctx, enum stream_tls_when when)
{
	if (!may_start(st, when))
		return false;
	struct stream_tls *t = attach(st, when);
	begin(st, tls_server_ssl(ctx, &t->link), t->raw_n > 0);
	return true;
}

bool stream_tls_client(struct stream *st, struct tls_client *ctx, const struct addr *addr, const char *name,
		       enum stream_tls_when when)
{
	if (!may_start(st, when))
		return false;
	struct stream_tls *t = attach(st, when);
	begin(st, tls_client_ssl(ctx, addr, name, &t->link), true);
	return true;
}

bool stream_tls_own(struct stream *st, SSL *ssl, enum stream_tls_when when)
{
	if (!may_start(st, when)) {
		SSL_free(ssl);
		return false;
	}
	struct stream_tls *t = attach(st, when);
	SSL_clear_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE); /* the queue takes all of it at once: seal() */
	begin(st, ssl, SSL_is_server(ssl) == 0 || t->raw_n > 0);
	return true;
}

SSL *stream_tls_ssl(const struct stream *st)
{
	return st->tls == NULL ? NULL : st->tls->ssl;
}

void stream_tls_left(struct stream *st, const char *p, size_t n)
{
	struct stream_tls *t = st->tls;

	if (n == 0)
		return;
	if (t->starttls) {
		fail(t, EPROTO, xstrdup("plaintext behind the start of TLS"));
		stream_tell_gone(st, EPROTO);
		return;
	}
	t->raw = xmalloc(n);
	memcpy(t->raw, p, n);
	t->raw_n = n;
	t->kick = true;
	loop_flush_queue(st->loop, &st->flush);
}

/* ---- reading ---- */

bool stream_tls_more(const struct stream *st)
{
	return st->tls->done && st->tls->more;
}

/* A read brought nothing: waits, or the end for one of several reasons. */
static void read_ended(struct stream_tls *t, int err)
{
	if (err == SSL_ERROR_WANT_READ)
		return;
	if (t->sock_errno != 0)
		fail(t, t->sock_errno, xstrdup(strerror(t->sock_errno)));
	else if (err != SSL_ERROR_ZERO_RETURN && !t->sock_eof)
		fail(t, EPROTO, tls_error_text());
	t->ended = true;
	ERR_clear_error();
}

/* TLS answers some things by itself (key updates, refused renegotiation). A peer that asks on and on and reads nothing
 * would fill our memory with the answers. */
static void bound_answers(struct stream *st, size_t before)
{
	struct stream_tls *t = st->tls;
	size_t now = st->out_n - st->out_at;

	if (now == before)
		return;
	t->unasked = before == 0 ? 0 : t->unasked + (now - before);
	if (t->unasked > UNASKED_MAX)
		fail(t, EPROTO, xstrdup("asks without reading the answers"));
	loop_flush_queue(st->loop, &st->flush);
}

static ssize_t tell_end(struct stream_tls *t)
{
	t->more = false;
	errno = t->end_errno;
	return t->end_errno == 0 ? 0 : -1;
}

ssize_t stream_tls_read(struct stream *st, char *buf, size_t room)
{
	struct stream_tls *t = st->tls;
	size_t got = 0, n, before = st->out_n - st->out_at;

	if (t->ended)
		return tell_end(t);
	ERR_clear_error();
	t->more = false;
	while (got < room) {
		int rc = SSL_read_ex(t->ssl, buf + got, room - got, &n);
		if (rc != 1) {
			read_ended(t, SSL_get_error(t->ssl, rc));
			break;
		}
		got += n;
	}
	bound_answers(st, before);
	/* A message of TLS itself (a ticket) makes OpenSSL take a write buffer, and keep it while there is no write. */
	if (!t->ended && got < room)
		SSL_free_buffers(t->ssl);
	if (got == 0 && t->ended)
		return tell_end(t);
	t->more = t->ended || got == room;
	errno = EAGAIN;
	return got > 0 ? (ssize_t)got : -1;
}

/* ---- writing ---- */

void stream_tls_put(struct stream *st, const void *p, size_t n)
{
	if (n > 0 && !st->tls->failed && !st->tls->end_sent)
		sbuf_add(&st->tls->plain, p, n);
}

size_t stream_tls_queued(const struct stream *st)
{
	return st->tls->plain.n;
}

static void seal(struct stream *st, const void *p, size_t n)
{
	struct stream_tls *t = st->tls;
	size_t done;

	if (n == 0 || t->failed || t->end_sent)
		return;
	stream_wire_reserve(st, n + (n / RECORD + 1) * RECORD_OVERHEAD);
	ERR_clear_error();
	if (SSL_write_ex(t->ssl, p, n, &done) == 1)
		return;
	fail(t, EPROTO, tls_error_text());
	loop_flush_queue_later(st->loop, &st->again); /* told by the reader */
}

static void say_end(struct stream_tls *t)
{
	if (!t->end_due || t->end_sent || t->failed)
		return;
	t->end_sent = true;
	SSL_shutdown(t->ssl);
	ERR_clear_error();
}

void stream_tls_seal(struct stream *st, const void *p, size_t n)
{
	struct stream_tls *t = st->tls;

	if (!t->done || (t->plain.n > 0 && n > 0 && t->plain.n + n <= RECORD)) {
		stream_tls_put(st, p, n);
		n = 0;
	}
	if (!t->done)
		return;
	if (t->plain.n > 0) {
		seal(st, t->plain.p, t->plain.n);
		forget_plain(t);
	}
	seal(st, p, n);
	say_end(t);
}

/* ---- ending ---- */

void stream_tls_end(struct stream *st)
{
	st->tls->end_due = true;
	stream_tls_seal(st, NULL, 0);
}

void stream_tls_free(struct stream *st)
{
	struct stream_tls *t = st->tls;

	/* Without a close_notify both ways OpenSSL would call the session unfit for resumption; mail has its own ends.
	 */
	if (t->done && !t->failed)
		SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(t->ssl);
	ERR_clear_error();
	tls_link_fini(&t->link);
	forget_plain(t);
	free(t->raw);
	free(t->why);
	free(t);
	st->tls = NULL;
}

bool stream_tls_is_on(const struct stream *st)
{
	return st->tls != NULL && st->tls->done;
}

const char *stream_tls_error(const struct stream *st)
{
	return st->tls == NULL ? NULL : st->tls->why;
}

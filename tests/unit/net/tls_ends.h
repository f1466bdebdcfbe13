/* SPDX-License-Identifier: Apache-2.0
 * Two streams in one loop, a client's and a server's, over TCP on loopback.
 */
#ifndef POSTROAD_TESTS_UNIT_NET_TLS_ENDS_H
#define POSTROAD_TESTS_UNIT_NET_TLS_ENDS_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/net/stream_private.h"
#include "tests/unit/net/tls_made.h"

struct end {
	struct stream st;
	struct sbuf got;
	size_t most; /* bytes used per offer; 0 = all */
	bool pause_each;
	int tls, gone, gone_err, drained;
	char *why; /* copied at on_gone */
	/* STARTTLS inside on_data: starts when a line has come, and uses that much of it. */
	struct tls_server *start_server;
	struct tls_client *start_client;
	enum stream_tls_when when;
	int started; /* 1 = yes, -1 = refused */
};

struct ends {
	struct loop *l;
	struct end c, s;  /* client, server */
	struct addr addr; /* the server's, under which sessions are remembered */
};

static inline size_t ends_start(struct end *e, const char *p, size_t n)
{
	const char *lf = memchr(p, '\n', n);
	const struct addr none = { 0 };
	bool ok;

	if (lf == NULL)
		return 0;
	if (e->start_server != NULL)
		ok = stream_tls_server(&e->st, e->start_server, e->when);
	else
		ok = stream_tls_client(&e->st, e->start_client, &none, "mail.example", e->when);
	e->start_server = NULL;
	e->start_client = NULL;
	e->started = ok ? 1 : -1;
	sbuf_add(&e->got, p, (size_t)(lf + 1 - p));
	return (size_t)(lf + 1 - p);
}

static inline size_t ends_on_data(struct stream *st, const char *p, size_t n, void *owner)
{
	struct end *e = owner;
	size_t use = e->most != 0 && n > e->most ? e->most : n;

	if (e->start_server != NULL || e->start_client != NULL)
		return ends_start(e, p, n);
	sbuf_add(&e->got, p, use);
	if (e->pause_each || use < n)
		stream_pause(st);
	return use;
}

static inline void ends_on_drained(struct stream *st, void *owner)
{
	UNUSED(st);
	((struct end *)owner)->drained++;
}

static inline void ends_on_gone(struct stream *st, int err, void *owner)
{
	struct end *e = owner;
	const char *why = stream_tls_error(st);

	e->gone++;
	e->gone_err = err;
	e->why = why == NULL ? NULL : xstrdup(why);
}

static inline void ends_on_tls(struct stream *st, void *owner)
{
	assert_true(stream_tls_is_on(st));
	((struct end *)owner)->tls++;
}

static const struct stream_ops ends_ops = { NULL, ends_on_data, ends_on_drained, ends_on_gone, ends_on_tls };

/* A connected pair of non-blocking TCP sockets. */
static inline void ends_sockets(int fds[2])
{
	struct addr at;
	socklen_t len = sizeof(at);
	int li = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(addr_parse("127.0.0.1:1", 0, &at));
	addr_set_port(&at, 0);
	assert_int_equal(bind(li, &at.sa, addr_len(&at)), 0);
	assert_int_equal(listen(li, 1), 0);
	assert_int_equal(getsockname(li, &at.sa, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[0], &at.sa, addr_len(&at)), 0);
	fds[1] = accept4(li, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[1] >= 0);
	close(li);
	for (int i = 0; i < 2; i++)
		assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
}

static inline void ends_open(struct ends *p)
{
	int fds[2];

	*p = (struct ends) { .l = loop_new() };
	assert_true(addr_parse("192.0.2.1:25", 0, &p->addr));
	ends_sockets(fds);
	stream_open(&p->c.st, p->l, fds[0], &ends_ops, &p->c);
	stream_open(&p->s.st, p->l, fds[1], &ends_ops, &p->s);
}

static inline void ends_close(struct ends *p)
{
	stream_close(&p->c.st);
	stream_close(&p->s.st);
	sbuf_fini(&p->c.got);
	sbuf_fini(&p->s.got);
	free(p->c.why);
	free(p->s.why);
	loop_free(p->l);
}

/* Turns until the condition holds; the alarm in main() ends a wait for what never comes. A turn that may wait follows
 * one that does not: what was begun outside a turn can make the condition true before there is an event. */
#define ENDS_UNTIL(p, cond)                                                                                            \
	do                                                                                                             \
		for (bool ends_wait = false; !(cond); ends_wait = !ends_wait)                                          \
			loop_turn((p)->l, ends_wait);                                                                  \
	while (0)

static inline void ends_begin(struct ends *p, struct tls_server *server, struct tls_client *client, const char *name)
{
	ends_open(p);
	assert_true(stream_tls_server(&p->s.st, server, STREAM_TLS_IMPLICIT));
	assert_true(stream_tls_client(&p->c.st, client, &p->addr, name, STREAM_TLS_IMPLICIT));
}

static inline SSL *ends_ssl(struct end *e)
{
	return e->st.tls->ssl;
}

/* Both ends are through with the handshake, or one has failed and the other has heard. */
static inline bool ends_settled(const struct ends *p)
{
	return (p->c.tls > 0 || p->c.gone > 0) && (p->s.tls > 0 || p->s.gone > 0);
}

/* Sends a word either way, so that tickets have come too. */
static inline void ends_talk(struct ends *p)
{
	size_t c = p->c.got.n, s = p->s.got.n;

	stream_puts(&p->c.st, "ping");
	stream_puts(&p->s.st, "pong");
	ENDS_UNTIL(p, p->c.got.n >= c + 4 && p->s.got.n >= s + 4);
}

#endif

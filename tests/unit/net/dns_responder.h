/* SPDX-License-Identifier: Apache-2.0
 * A tiny DNS server on loopback and on the test's own loop: answers from a table that the test may change at any time.
 */
#ifndef POSTROAD_TESTS_DNS_RESPONDER_H
#define POSTROAD_TESTS_DNS_RESPONDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/addr.h"
#include "daemon/base/clock.h"
#include "daemon/base/str.h"
#include "daemon/net/loop.h"

enum { DNS_A = 1, DNS_AAAA = 28, DNS_SRV = 33 };

/* One record; or, with rcode != 0, the answer to the question is that code. A name without records is NXDOMAIN, a name
 * without records of the type is an empty answer. */
struct dns_record {
	const char *name;
	unsigned type;
	unsigned ttl;
	const char *value; /* address, or target of an SRV */
	unsigned priority, weight, port;
	unsigned rcode;
};

struct dns_responder {
	int fd;
	struct event *event;
	char servers[ADDR_TEXT_MAX]; /* for resolver_new() */
	const struct dns_record *records;
	size_t n_records;
	unsigned n_asked;
};

static inline void dns_put_u16(struct sbuf *b, unsigned v)
{
	sbuf_putc(b, (char)(v >> 8));
	sbuf_putc(b, (char)v);
}

static inline void dns_put_name(struct sbuf *b, const char *name)
{
	while (*name != '\0' && strcmp(name, ".") != 0) {
		size_t n = strcspn(name, ".");
		sbuf_putc(b, (char)n);
		sbuf_add(b, name, n);
		name += n + (name[n] == '.');
	}
	sbuf_putc(b, '\0');
}

static inline void dns_put_rdata(struct sbuf *b, const struct dns_record *r)
{
	struct sbuf data = { 0 };
	struct addr a;

	if (r->type == DNS_SRV) {
		dns_put_u16(&data, r->priority);
		dns_put_u16(&data, r->weight);
		dns_put_u16(&data, r->port);
		dns_put_name(&data, r->value);
	} else {
		assert_true(addr_parse_ip(r->value, &a));
		if (r->type == DNS_A)
			sbuf_add(&data, &a.in.sin_addr, 4);
		else
			sbuf_add(&data, &a.in6.sin6_addr, 16);
	}
	dns_put_u16(b, (unsigned)data.n);
	sbuf_add(b, data.p, data.n);
	sbuf_fini(&data);
}

/* The question's name as text; returns the length of the question section. */
static inline size_t dns_question(const uint8_t *p, size_t n, char *name, unsigned *type)
{
	size_t at = 12, out = 0;

	while (at < n && p[at] != 0) {
		assert_true(at + 1 + p[at] < n && out + p[at] + 2 < 256);
		memcpy(name + out, p + at + 1, p[at]);
		out += p[at];
		name[out++] = '.';
		at += 1 + p[at];
	}
	name[out > 0 ? out - 1 : 0] = '\0';
	assert_true(at + 5 <= n);
	*type = (unsigned)(p[at + 1] << 8 | p[at + 2]);
	return at + 5 - 12;
}

static inline void dns_answer(const struct dns_responder *d, const uint8_t *p, size_t n, struct sbuf *out)
{
	char name[256];
	unsigned type, count = 0, rcode = 3;
	size_t question = dns_question(p, n, name, &type);
	struct sbuf body = { 0 };

	for (size_t i = 0; i < d->n_records; i++) {
		const struct dns_record *r = &d->records[i];
		if (strcmp(r->name, name) != 0)
			continue;
		if (rcode == 3)
			rcode = 0;
		if (r->type != type)
			continue;
		if (r->rcode != 0) {
			rcode = r->rcode;
			continue;
		}
		count++;
		dns_put_u16(&body, 0xc00c);
		dns_put_u16(&body, r->type);
		dns_put_u16(&body, 1);
		dns_put_u16(&body, r->ttl >> 16);
		dns_put_u16(&body, r->ttl);
		dns_put_rdata(&body, r);
	}
	sbuf_add(out, p, 2);
	dns_put_u16(out, 0x8180 | rcode);
	dns_put_u16(out, 1);
	dns_put_u16(out, count);
	dns_put_u16(out, 0);
	dns_put_u16(out, 0);
	sbuf_add(out, p + 12, question);
	sbuf_add(out, body.p, body.n);
	sbuf_fini(&body);
}

static inline void dns_on_packet(evutil_socket_t fd, short what, void *arg)
{
	struct dns_responder *d = arg;
	struct sockaddr_storage from;
	socklen_t from_len = sizeof(from);
	uint8_t p[512];
	ssize_t n = recvfrom(fd, p, sizeof(p), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
	struct sbuf out = { 0 };

	UNUSED(what);
	if (n < 12)
		return;
	d->n_asked++;
	dns_answer(d, p, (size_t)n, &out);
	assert_int_equal(sendto(fd, out.p, out.n, 0, (struct sockaddr *)&from, from_len), out.n);
	sbuf_fini(&out);
}

static inline void dns_start(struct dns_responder *d, struct loop *l)
{
	struct addr at;
	socklen_t len = sizeof(at);

	*d = (struct dns_responder) { .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
	assert_true(addr_parse_ip("127.0.0.1", &at));
	assert_int_equal(bind(d->fd, &at.sa, addr_len(&at)), 0);
	assert_int_equal(getsockname(d->fd, &at.sa, &len), 0);
	addr_format(&at, d->servers);
	d->event = event_new(loop_base(l), d->fd, EV_READ | EV_PERSIST, dns_on_packet, d);
	event_add(d->event, NULL);
}

static inline void dns_stop(struct dns_responder *d)
{
	event_free(d->event);
	close(d->fd);
}

/* Turns the loop until the condition holds; fails after a time that is far beyond what it takes. */
#define AWAIT(l, cond)                                                                                                 \
	do {                                                                                                           \
		struct timer await_timer;                                                                              \
		int64_t await_by = clock_mono_ms() + 20000;                                                            \
		timer_init(&await_timer, await_nothing, NULL);                                                         \
		while (!(cond)) {                                                                                      \
			if (clock_mono_ms() > await_by)                                                                \
				fail_msg("%s:%d: never came: %s", __FILE__, __LINE__, #cond);                          \
			timer_set_in(l, &await_timer, 50);                                                             \
			loop_turn(l, true);                                                                            \
		}                                                                                                      \
		timer_stop(&await_timer);                                                                              \
	} while (0)

static inline void await_nothing(void *arg)
{
	UNUSED(arg);
}

#endif

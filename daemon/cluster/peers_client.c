/* SPDX-License-Identifier: Apache-2.0
 * Calling other nodes.
 *
 * The hard thing: in TLS 1.3 this end is done with the handshake before the other one has looked at our certificate, so
 * a refusal comes as an end of the connection where an answer was expected, and is told as what it is.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "daemon/cluster/peers_private.h"

#define CALL_MAGIC 0x50434c4cu

struct call {
	uint32_t magic;
	struct list link;
	struct peers *peers; /* NULL = ended */
	struct stream st;
	struct timer deadline;
	SSL_CTX *ctx;
	struct addr to;
	uint32_t id;
	int64_t deadline_ms;
	char *path, *body;
	size_t body_n;
	peers_compose_fn *compose;
	struct peers_inbox in;
	peers_answer_fn *fn;
	void *arg;
};

/* ---- its end ---- */

static void free_call(void *arg)
{
	struct call *c = arg;

	CHECK_OBJ(c, CALL_MAGIC);
	peers_inbox_fini(&c->in);
	if (c->body != NULL)
		OPENSSL_cleanse(c->body, c->body_n);
	free(c->body);
	free(c->path);
	SSL_CTX_free(c->ctx);
	FREE_OBJ(c);
}

static void finish(struct call *c, int status, struct str body)
{
	struct peers *p = c->peers;

	timer_stop(&c->deadline);
	stream_close(&c->st);
	list_remove(&c->link);
	c->peers = NULL;
	p->n_calls--;
	loop_defer(p->loop, free_call, c);
	c->fn(status, body, c->arg);
}

static void PRINTF_LIKE(2, 3) fail(struct call *c, const char *fmt, ...)
{
	char text[ADDR_TEXT_MAX];
	struct sbuf why = { 0 };
	va_list ap;

	sbuf_printf(&why, "%s: ", addr_format(&c->to, text));
	va_start(ap, fmt);
	sbuf_vprintf(&why, fmt, ap);
	va_end(ap);
	finish(c, 0, (struct str) { why.p, why.n });
	sbuf_fini(&why);
}

static void on_deadline(void *arg)
{
	struct call *c = arg;

	CHECK_OBJ(c, CALL_MAGIC);
	fail(c, "no answer within %.1f s", (double)c->deadline_ms / 1000);
}

static void on_gone(struct stream *st, int err, void *owner)
{
	struct call *c = owner;
	const char *tls = stream_tls_error(st);

	CHECK_OBJ(c, CALL_MAGIC);
	if (tls != NULL)
		fail(c, "TLS: %s", tls);
	else if (err != 0)
		fail(c, "%s", strerror(err));
	else
		fail(c, "closed the connection without an answer");
}

/* ---- the call ---- */

static void on_connected(struct stream *st, void *owner)
{
	struct call *c = owner;

	CHECK_OBJ(c, CALL_MAGIC);
	SSL *ssl = SSL_new(c->ctx);
	ASSERT(ssl != NULL);
	SSL_set_connect_state(ssl);
	if (!stream_tls_own(st, ssl, STREAM_TLS_IMPLICIT))
		fail(c, "the connection ended before TLS");
}

static bool compose(struct call *c)
{
	uint8_t binding[CHANNEL_BINDING_LEN];
	struct sbuf body = { 0 };

	if (c->compose == NULL)
		return true;
	if (!channel_binding(stream_tls_ssl(&c->st), binding))
		return false;
	c->compose(binding, &body, c->arg);
	c->body_n = body.n;
	c->body = sbuf_steal(&body);
	return true;
}

static void on_tls(struct stream *st, void *owner)
{
	struct call *c = owner;
	struct ca_identity who;
	struct sbuf head = { 0 };

	CHECK_OBJ(c, CALL_MAGIC);
	if (channel_peer(stream_tls_ssl(st), &who) != CHANNEL_NODE) {
		fail(c, "is no node of the cluster");
		return;
	}
	if (c->id != 0 && who.id != c->id) {
		fail(c, "is node %u (%s), not node %u", who.id, who.name, c->id);
		return;
	}
	if (!compose(c)) {
		fail(c, "the connection cannot be told from others");
		return;
	}
	http_head_put_request(&head, c->path, c->body_n);
	stream_put(st, head.p, head.n);
	stream_put(st, c->body, c->body_n);
	sbuf_fini(&head);
}

static bool fits(const struct http_head *h, void *arg)
{
	UNUSED(arg);
	return h->length <= PEERS_ANSWER_MAX;
}

static size_t on_data(struct stream *st, const char *bytes, size_t n, void *owner)
{
	struct call *c = owner;
	char *p = (char *)(uintptr_t)bytes;

	UNUSED(st);
	CHECK_OBJ(c, CALL_MAGIC);
	switch (peers_inbox_take(&c->in, p, n, http_head_answer, fits, NULL)) {
	case PEERS_INBOX_HEAD:
	case PEERS_INBOX_BODY:
		break;
	case PEERS_INBOX_BAD:
		fail(c, "what came is no answer of a node");
		break;
	case PEERS_INBOX_WHOLE:
		finish(c, c->in.parsed.status, (struct str) { c->in.body, c->in.body_n });
		break;
	}
	return n;
}

static const struct stream_ops ops = {
	.on_connected = on_connected, .on_data = on_data, .on_gone = on_gone, .on_tls = on_tls
};

static SSL_CTX *context_for(struct peers *p, const struct peers_call_options *o)
{
	char *why = NULL;

	if (o->authority == NULL) {
		SSL_CTX *ctx = o->anonymous ? p->anonymous : p->client;
		if (ctx != NULL)
			SSL_CTX_up_ref(ctx);
		return ctx;
	}
	SSL_CTX *ctx = channel_joiner(o->authority, &why);
	if (ctx == NULL)
		log_msg(LOG_LEVEL_ERROR, "cluster_call", "%s", why);
	free(why);
	return ctx;
}

int peers_call(struct peers *p, const struct peers_call_options *o, peers_answer_fn *fn, void *arg)
{
	struct call *c;

	CHECK_OBJ(p, PEERS_MAGIC);
	ASSERT(o->path[0] == '/' && strlen(o->path) < 256 && o->deadline_ms > 0);
	if (p->n_calls >= PEERS_CALLS_MAX)
		return -EBUSY;
	SSL_CTX *ctx = p->closing ? NULL : context_for(p, o);
	if (ctx == NULL)
		return -ENOTCONN;
	NEW_OBJ(c, CALL_MAGIC);
	c->peers = p;
	c->ctx = ctx;
	c->to = o->to;
	c->id = o->id;
	c->deadline_ms = o->deadline_ms;
	c->path = xstrdup(o->path);
	c->compose = o->compose;
	if (o->compose == NULL && o->body.n > 0) {
		c->body = xmalloc(o->body.n);
		memcpy(c->body, o->body.p, o->body.n);
		c->body_n = o->body.n;
	}
	c->fn = fn;
	c->arg = arg;
	timer_init(&c->deadline, on_deadline, c);
	timer_set_in(p->loop, &c->deadline, o->deadline_ms);
	list_append(&p->calls, &c->link);
	p->n_calls++;
	stream_connect(&c->st, p->loop, &c->to, &(struct addr) { 0 }, &ops, c);
	return 0;
}

void peers_client_end(struct peers *p)
{
	while (!list_empty(&p->calls))
		fail(LIST_FIRST(&p->calls, struct call, link), "this node stops");
}

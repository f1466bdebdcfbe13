/* SPDX-License-Identifier: Apache-2.0
 * Being called by other nodes: one request on each connection.
 *
 * The hard thing is that anybody can connect, and that who has proved nothing must not take the place of a member: such
 * connections are few from one source and the first to go, their handshakes are counted, and a body is read only when
 * its path, its sender and its length are right.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/hash.h"
#include "daemon/cluster/peers_private.h"

#define REQUEST_MAGIC 0x50525153u
#define ANSWER_MS 10000 /* until the client has taken the answer and gone, and as PEERS_MIN_RATE says */

enum state {
	HANDSHAKE,
	READING,
	DECIDING, /* the path's function has it */
	ANSWERED, /* until the client has it */
	LOST      /* DECIDING, the client is gone */
};

struct peers_request {
	uint32_t magic;
	struct list link;
	struct peers *peers; /* NULL: that is gone, only the reply is left */
	struct stream st;
	struct timer deadline;
	struct addr from;
	enum state state;
	bool is_member; /* as `who`; false before the handshake is over, and for strangers */
	struct ca_identity who;
	struct peers_inbox in;
	const struct peers_path *path;
	int refuse_status; /* by the judge of the head */
	const char *refuse_why;
};

/* ---- its end ---- */

static void free_request(void *arg)
{
	struct peers_request *r = arg;

	CHECK_OBJ(r, REQUEST_MAGIC);
	peers_inbox_fini(&r->in);
	FREE_OBJ(r);
}

/* No more events; the memory stays to the end of the turn. */
static void end(struct peers_request *r)
{
	struct peers *p = r->peers;

	timer_stop(&r->deadline);
	stream_close(&r->st);
	list_remove(&r->link);
	r->peers = NULL;
	if (p == NULL)
		return;
	p->n_requests--;
	loop_defer(p->loop, free_request, r);
}

/* The client is gone, and somebody has the request. */
static void lose(struct peers_request *r)
{
	r->state = LOST;
	timer_stop(&r->deadline);
	stream_close(&r->st);
}

static void on_gone(struct stream *st, int err, void *owner)
{
	struct peers_request *r = owner;

	UNUSED(st);
	CHECK_OBJ(r, REQUEST_MAGIC);
	if (r->state == HANDSHAKE && err != 0)
		log_msg(LOG_LEVEL_DEBUG, "cluster_peer", "a caller's handshake failed: %s",
			stream_tls_error(&r->st) != NULL ? stream_tls_error(&r->st) : strerror(err));
	if (r->state == DECIDING)
		lose(r);
	else
		end(r);
}

static void on_deadline(void *arg)
{
	struct peers_request *r = arg;

	CHECK_OBJ(r, REQUEST_MAGIC);
	if (r->state == DECIDING)
		lose(r);
	else
		end(r);
}

/* ---- answering ---- */

static void answer(struct peers_request *r, int status, struct str body)
{
	struct sbuf head = { 0 };

	http_head_put_answer(&head, status, body.n);
	stream_put(&r->st, head.p, head.n);
	stream_put(&r->st, body.p, body.n);
	stream_shutdown(&r->st);
	sbuf_fini(&head);
	r->state = ANSWERED;
	timer_set_in(r->peers->loop, &r->deadline, ANSWER_MS + (int64_t)body.n * 1000 / PEERS_MIN_RATE);
}

static void refuse(struct peers_request *r, int status, const char *why)
{
	answer(r, status, str_from(why));
}

static bool still_member(const struct peers_request *r)
{
	const struct peers *p = r->peers;

	return p->member != NULL && p->member(p->member_arg, &r->who);
}

void peers_reply(struct peers_request *r, int status, struct str body)
{
	CHECK_OBJ(r, REQUEST_MAGIC);
	ASSERT(r->state == DECIDING || r->state == LOST);
	ASSERT(body.n <= PEERS_ANSWER_MAX && status >= 200);
	if (r->peers == NULL)
		free_request(r);
	else if (r->state == LOST)
		end(r);
	else if (r->is_member && !still_member(r))
		refuse(r, 403, "This node is no member of the cluster any more");
	else
		answer(r, status, body);
}

/* ---- reading ---- */

static bool refused(struct peers_request *r, int status, const char *why)
{
	r->refuse_status = status;
	r->refuse_why = why;
	return false;
}

/* Of a head, before its body is read. */
static bool judge(const struct http_head *h, void *arg)
{
	struct peers_request *r = arg;
	const struct peers *p = r->peers;

	for (size_t i = 0; i < p->n_paths && r->path == NULL; i++)
		if (str_eq(h->path, str_from(p->paths[i].path)))
			r->path = &p->paths[i];
	if (r->is_member && !still_member(r))
		return refused(r, 403, "This node is no member of the cluster any more");
	/* Strangers do not learn which paths there are. */
	if (!r->is_member && (r->path == NULL || !r->path->strangers))
		return refused(r, 403, "This is for members of the cluster");
	if (r->path == NULL)
		return refused(r, 404, "This version does not know the call");
	if (h->length > r->path->body_max)
		return refused(r, 413, "The request is too long");
	return true;
}

static size_t on_data(struct stream *st, const char *bytes, size_t n, void *owner)
{
	struct peers_request *r = owner;
	char *p = (char *)(uintptr_t)bytes;

	UNUSED(st);
	CHECK_OBJ(r, REQUEST_MAGIC);
	if (r->state != READING) {
		OPENSSL_cleanse(p, n);
		return n;
	}
	switch (peers_inbox_take(&r->in, p, n, http_head_request, judge, r)) {
	case PEERS_INBOX_HEAD:
		break;
	case PEERS_INBOX_BODY:
		timer_set(r->peers->loop, &r->deadline, r->deadline.deadline + (int64_t)n * 1000 / PEERS_MIN_RATE);
		break;
	case PEERS_INBOX_BAD:
		refuse(r, r->refuse_status != 0 ? r->refuse_status : 400,
		       r->refuse_why != NULL ? r->refuse_why : "This is no call between nodes");
		break;
	case PEERS_INBOX_WHOLE:
		if (r->is_member && !still_member(r)) {
			refuse(r, 403, "This node is no member of the cluster any more");
			break;
		}
		r->state = DECIDING;
		timer_set_in(r->peers->loop, &r->deadline, PEERS_DECISION_MS);
		r->path->fn(r, r->path->arg);
		break;
	}
	return n;
}

/* ---- who calls ---- */

static unsigned prefix_of(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 ? 64 : 32;
}

static struct peers_source *source_of(struct peers *p, const struct addr *from)
{
	struct addr masked = *from;

	addr_mask(&masked, prefix_of(from));
	const void *bytes = masked.sa.sa_family == AF_INET6 ? (const void *)&masked.in6.sin6_addr
							    : (const void *)&masked.in.sin_addr;
	return &p->sources[hash_random(bytes, masked.sa.sa_family == AF_INET6 ? 8 : 4) % PEERS_SOURCES];
}

/* Whether this source may have another handshake now. */
static bool may_shake_hands(struct peers *p, const struct addr *from)
{
	struct peers_source *s = source_of(p, from);
	int64_t now = loop_now_ms(p->loop);

	s->spent -= (double)(now - s->at_ms) * PEERS_SOURCE_RATE / 1000;
	s->at_ms = now;
	if (s->spent < 0)
		s->spent = 0;
	if (s->spent + 1 > PEERS_SOURCE_BURST)
		return false;
	s->spent += 1;
	return true;
}

static void on_tls(struct stream *st, void *owner)
{
	struct peers_request *r = owner;
	enum channel_peer peer = channel_peer(stream_tls_ssl(st), &r->who);

	CHECK_OBJ(r, REQUEST_MAGIC);
	if (peer == CHANNEL_NOBODY) {
		end(r);
		return;
	}
	r->is_member = peer == CHANNEL_NODE;
	r->state = READING;
	timer_set_in(r->peers->loop, &r->deadline, PEERS_REQUEST_MS);
	if (r->is_member)
		source_of(r->peers, &r->from)->spent -= 1;
}

static const struct stream_ops ops = { .on_data = on_data, .on_gone = on_gone, .on_tls = on_tls };

/* ---- accepting ---- */

/* Proved nothing, and nobody is working on it. */
static bool may_go(const struct peers_request *r)
{
	return !r->is_member && r->state != DECIDING && r->state != LOST;
}

static unsigned n_unproven(struct peers *p, const struct addr *from)
{
	struct cidr there = { .base = *from, .bits = prefix_of(from) };
	const struct peers_request *r;
	struct list *tmp;
	unsigned n = 0;

	addr_mask(&there.base, there.bits);
	LIST_FOR_EACH(r, tmp, &p->requests, link)
		n += !r->is_member && cidr_match(&there, &r->from);
	return n;
}

static bool make_room(struct peers *p)
{
	struct peers_request *r;
	struct list *tmp;

	if (p->n_requests < PEERS_CONNECTIONS_MAX)
		return true;
	LIST_FOR_EACH(r, tmp, &p->requests, link) {
		if (!may_go(r))
			continue;
		end(r);
		return true;
	}
	return false;
}

void peers_accepted(int fd, const struct addr *from, void *arg)
{
	struct peers *p = arg;
	struct peers_request *r;

	CHECK_OBJ(p, PEERS_MAGIC);
	SSL *ssl = NULL;
	if (!p->closing && p->server != NULL && n_unproven(p, from) < PEERS_UNPROVEN_MAX && may_shake_hands(p, from) &&
	    make_room(p))
		ssl = SSL_new(p->server);
	if (ssl == NULL) {
		close(fd);
		return;
	}
	SSL_set_accept_state(ssl);
	NEW_OBJ(r, REQUEST_MAGIC);
	r->peers = p;
	r->from = *from;
	timer_init(&r->deadline, on_deadline, r);
	timer_set_in(p->loop, &r->deadline, PEERS_HANDSHAKE_MS);
	list_append(&p->requests, &r->link);
	p->n_requests++;
	stream_open(&r->st, p->loop, fd, &ops, r);
	if (!stream_tls_own(&r->st, ssl, STREAM_TLS_IMPLICIT))
		end(r);
}

void peers_server_end(struct peers *p)
{
	struct peers_request *r;
	struct list *tmp;

	LIST_FOR_EACH(r, tmp, &p->requests, link) {
		if (r->state != DECIDING && r->state != LOST) {
			end(r);
			continue;
		}
		lose(r);
		list_remove(&r->link);
		r->peers = NULL; /* the reply frees it */
	}
}

/* ---- of a request ---- */

const struct ca_identity *peers_request_from(const struct peers_request *r)
{
	CHECK_OBJ(r, REQUEST_MAGIC);
	return r->is_member ? &r->who : NULL;
}

const struct addr *peers_request_source(const struct peers_request *r)
{
	CHECK_OBJ(r, REQUEST_MAGIC);
	return &r->from;
}

struct str peers_request_body(const struct peers_request *r)
{
	CHECK_OBJ(r, REQUEST_MAGIC);
	return (struct str) { r->in.body, r->in.body_n };
}

bool peers_request_binding(const struct peers_request *r, uint8_t ret[CHANNEL_BINDING_LEN])
{
	CHECK_OBJ(r, REQUEST_MAGIC);
	return r->state == DECIDING && channel_binding(stream_tls_ssl(&r->st), ret);
}

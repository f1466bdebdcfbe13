/* SPDX-License-Identifier: Apache-2.0
 * Streams of server-sent events on a call (WHATWG HTML, "Server-sent events").
 *
 * A reader that does not keep up is dropped once so much waits for it: the stream is never the place where memory
 * grows. While a stream is open its connection is read from again (evhttp stops that while a request is handled), so
 * that a reader who goes away is noticed at once and not at the next heartbeat.
 */
#include <event2/buffer.h>

#include "daemon/api/api_private.h"

#define PUSH_MAGIC 0x50555348u
#define READ_AHEAD_MAX 4096

static const struct timeval write_timeout = { .tv_sec = 30 };

struct push *push_open(struct call *c)
{
	struct api *a = c->api;
	struct push *p;

	if (evhttp_request_get_command(c->req) == EVHTTP_REQ_HEAD) {
		call_empty(c, 200);
		return NULL;
	}
	if (a->n_streams >= API_STREAMS_MAX) {
		call_problem(c, PROBLEM_BUSY, NULL, "%d streams are open", API_STREAMS_MAX);
		return NULL;
	}
	NEW_OBJ(p, PUSH_MAGIC);
	p->call = c;
	c->push = p;
	list_append(&a->streams, &p->link);
	a->n_streams++;
	call_set_header(c, "Content-Type", "text/event-stream");
	call_set_header(c, "Cache-Control", "no-store");
	call_set_header(c, "X-Content-Type-Options", "nosniff");
	call_set_header(c, "Connection", "close");
	evhttp_send_reply_start(c->req, 200, "OK");
	/* Sends the header too: the reader knows that it is connected. */
	if (!push_send(p, ": open\n\n", 8))
		return NULL;
	struct bufferevent *bev = c->conn->bev;
	bufferevent_setwatermark(bev, EV_READ, 0, READ_AHEAD_MAX);
	bufferevent_set_timeouts(bev, NULL, &write_timeout);
	bufferevent_enable(bev, EV_READ);
	return p;
}

static void push_free(struct push *p)
{
	if (p->on_end != NULL)
		p->on_end(p);
	list_remove(&p->link);
	p->call->api->n_streams--;
	p->call->push = NULL;
	FREE_OBJ(p);
}

void push_end(struct push *p)
{
	CHECK_OBJ(p, PUSH_MAGIC);
	struct call *c = p->call;
	struct evhttp_request *req = c->req;

	push_free(p);
	call_free(c);
	evhttp_send_reply_end(req);
}

void push_gone(struct push *p)
{
	CHECK_OBJ(p, PUSH_MAGIC);
	struct call *c = p->call;

	push_free(p);
	call_free(c);
}

/* The connection is cut; evhttp then says that the client is gone, from the loop. */
static void drop(struct push *p)
{
	struct call *c = p->call;

	log_msg(LOG_LEVEL_NOTICE, "admin_stream_dropped", "%s reads too slowly", c->who.author);
	shutdown(c->conn->fd, SHUT_RDWR);
	push_free(p);
	c->dropped = true;
}

bool push_send(struct push *p, const char *text, size_t n)
{
	CHECK_OBJ(p, PUSH_MAGIC);
	struct evbuffer *waiting = bufferevent_get_output(p->call->conn->bev);

	if (evbuffer_get_length(waiting) + n > API_STREAM_QUEUE_MAX) {
		drop(p);
		return false;
	}
	struct evbuffer *b = evbuffer_new();
	ASSERT(b != NULL);
	evbuffer_add(b, text, n);
	evhttp_send_reply_chunk(p->call->req, b);
	evbuffer_free(b);
	return true;
}

void push_heartbeat_all(struct api *a)
{
	struct list *tmp;
	struct push *p;

	LIST_FOR_EACH(p, tmp, &a->streams, link)
		push_send(p, ":\n\n", 3);
}

void push_reauthorize(struct api *a)
{
	struct list *tmp;
	struct push *p;

	LIST_FOR_EACH(p, tmp, &a->streams, link) {
		struct identity who;
		if (!auth_identify(p->call, &who) || who.role < p->call->resource->role)
			push_end(p);
	}
}

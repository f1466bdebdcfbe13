/* SPDX-License-Identifier: Apache-2.0
 * Sessions of `mode: tcp` listeners: bytes through, nothing understood.
 *
 * Only the connect is retried on another server: after it, bytes may have been acted upon.
 */
#include "daemon/base/log.h"
#include "daemon/session/tcp.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/hash.h"
#include "daemon/net/stream.h"
#include "daemon/session/back.h"
#include "daemon/session/identity.h"
#include "daemon/session/session.h"

#define TCP_MAGIC 0x54435053u

struct tcp_session {
	uint32_t magic;
	struct list link;
	struct worker *w;
	struct snapshot *snapshot;
	const struct listener_view *lv;
	struct listener_runtime *run;
	struct client *counted;
	struct pool *pool;
	struct addr client, peer, local; /* as in struct arrival */
	uint64_t number;
	int64_t started_ms;
	struct stream front, back;
	bool front_open, back_open, connected, front_eof, back_eof, closing;
	struct timer timer;
	struct server *server;
	const struct server *tried[PICK_TRIED_MAX];
	unsigned n_tried;
};

static void seek(struct tcp_session *ts);

/* ---- the end ---- */

static void free_tcp(void *arg)
{
	struct tcp_session *ts = arg;

	FREE_OBJ(ts);
}

static void leave_server(struct tcp_session *ts)
{
	if (ts->server == NULL)
		return;
	server_slot_release(ts->server);
	pool_txn_end(ts->server);
	ts->server = NULL;
}

static void log_tcp(const struct tcp_session *ts, const char *why)
{
	struct logline l;
	char id[SESSION_ID_MAX];

	if (!log_enabled(LOG_LEVEL_INFO))
		return;
	log_begin(&l, LOG_LEVEL_INFO, "tcp");
	log_cstr(&l, "id", session_id_of(ts->w->engine, ts->number, id));
	log_cstr(&l, "listener", ts->lv->config->name);
	log_addr(&l, "client", &ts->client);
	if (!addr_eq(&ts->peer, &ts->client))
		log_addr(&l, "via", &ts->peer);
	log_cstr(&l, "pool", ts->pool->config->name);
	log_cstr(&l, "server", ts->server != NULL ? ts->server->name : NULL);
	log_int(&l, "in", (int64_t)ts->front.bytes_in);
	log_int(&l, "out", (int64_t)ts->front.bytes_out);
	log_cstr(&l, "reason", why);
	log_duration(&l, "took", (loop_now_ms(ts->w->loop) - ts->started_ms) * 1000);
	log_end(&l);
}

static void tcp_end(struct tcp_session *ts, const char *why)
{
	struct worker *w = ts->w;

	CHECK_OBJ(ts, TCP_MAGIC);
	if (ts->closing)
		return;
	ts->closing = true;
	log_tcp(ts, why);
	timer_stop(&ts->timer);
	metrics_add(w->m_bytes[0][0], ts->front.bytes_in);
	metrics_add(w->m_bytes[0][1], ts->front.bytes_out);
	stream_close(&ts->front);
	if (ts->back_open)
		stream_close(&ts->back);
	leave_server(ts);
	if (ts->counted != NULL)
		clients_leave(ts->run->clients, ts->counted, loop_now_ms(w->loop));
	atomic_fetch_sub_explicit(&ts->run->connections, 1, memory_order_relaxed);
	list_remove(&ts->link);
	w->n_sessions--;
	listener_runtime_unref(ts->run);
	snapshot_unref(ts->snapshot);
	loop_defer(w->loop, free_tcp, ts);
	if (w->n_sessions == 0 && w->stopping)
		engine_worker_empty(w->engine);
}

static void note_tried(struct tcp_session *ts)
{
	if (ts->n_tried < PICK_TRIED_MAX)
		ts->tried[ts->n_tried++] = ts->server;
}

/* Before any byte went through, another server may be tried. */
static void connect_failed(struct tcp_session *ts)
{
	bool blamed = !stream_lacked(&ts->back);

	stream_close(&ts->back);
	ts->back_open = false;
	if (blamed)
		server_report(ts->pool, ts->server, SERVER_SAW_FAULT, loop_now_ms(ts->w->loop));
	note_tried(ts);
	leave_server(ts);
	seek(ts);
}

static void on_timer(void *arg)
{
	struct tcp_session *ts = arg;

	CHECK_OBJ(ts, TCP_MAGIC);
	if (ts->back_open && !ts->connected)
		connect_failed(ts);
	else
		tcp_end(ts, "idle_timeout");
}

/* ---- bytes ---- */

static void keep_alive(struct tcp_session *ts)
{
	timer_set_in(ts->w->loop, &ts->timer, ts->lv->config->timeouts.idle_ms);
}

static size_t pass(struct tcp_session *ts, struct stream *from, struct stream *to, const char *p, size_t n)
{
	keep_alive(ts);
	stream_send(to, p, n);
	if (stream_queued(to) >= STREAM_HIGH_WATER) {
		stream_notify_drained(to);
		stream_pause(from);
	}
	return n;
}

static size_t on_front_data(struct stream *st, const char *p, size_t n, void *owner)
{
	struct tcp_session *ts = owner;

	CHECK_OBJ(ts, TCP_MAGIC);
	if (!ts->connected) {
		stream_pause(st);
		return 0;
	}
	return pass(ts, st, &ts->back, p, n);
}

static size_t on_back_data(struct stream *st, const char *p, size_t n, void *owner)
{
	struct tcp_session *ts = owner;

	CHECK_OBJ(ts, TCP_MAGIC);
	return pass(ts, st, &ts->front, p, n);
}

/* Both sides have ended: over once everything was handed on. The idle time bounds the wait. */
static void end_when_delivered(struct tcp_session *ts)
{
	if (!ts->front_eof || !ts->back_eof)
		return;
	if (stream_queued(&ts->front) == 0 && stream_queued(&ts->back) == 0) {
		tcp_end(ts, "closed");
		return;
	}
	/* Not for the one that is empty: it would be told at once, for ever. */
	if (stream_queued(&ts->front) > 0)
		stream_notify_drained(&ts->front);
	if (stream_queued(&ts->back) > 0)
		stream_notify_drained(&ts->back);
}

static void on_front_drained(struct stream *st, void *owner)
{
	struct tcp_session *ts = owner;

	UNUSED(st);
	stream_resume(&ts->back);
	end_when_delivered(ts);
}

static void on_back_drained(struct stream *st, void *owner)
{
	struct tcp_session *ts = owner;

	UNUSED(st);
	stream_resume(&ts->front);
	end_when_delivered(ts);
}

/* One side has ended; the other may still have something to say. */
static void half_closed(struct tcp_session *ts, struct stream *other)
{
	stream_shutdown(other);
	end_when_delivered(ts);
}

static void on_front_gone(struct stream *st, int err, void *owner)
{
	struct tcp_session *ts = owner;

	UNUSED(st);
	ts->front_eof = true;
	if (err != 0)
		tcp_end(ts, "client_gone");
	else if (ts->connected)
		half_closed(ts, &ts->back); /* answers may still come */
}

static void on_back_gone(struct stream *st, int err, void *owner)
{
	struct tcp_session *ts = owner;

	UNUSED(st);
	if (!ts->connected) {
		connect_failed(ts);
		return;
	}
	ts->back_eof = true;
	if (err != 0)
		tcp_end(ts, "server_gone");
	else
		half_closed(ts, &ts->front);
}

static void send_proxy_header(struct tcp_session *ts)
{
	enum identity_proxy version = ts->pool->config->identity.proxy;
	char id[SESSION_ID_MAX], header[PROXY_SEND_MAX];
	struct addr ends[2] = { ts->client, ts->local };
	socklen_t size = sizeof(ends[1]);

	if (version == IDENTITY_PROXY_NONE)
		return;
	if (ends[1].sa.sa_family == 0 && getsockname(ts->front.fd, &ends[1].sa, &size) != 0)
		memset(&ends[1], 0, sizeof(ends[1]));
	addr_unmap(&ends[1]);
	session_id_of(ts->w->engine, ts->number, id);
	stream_put(&ts->back, header, identity_proxy_plain(version, ends, id, header));
}

static void on_connected(struct stream *st, void *owner)
{
	struct tcp_session *ts = owner;

	UNUSED(st);
	ts->connected = true;
	send_proxy_header(ts);
	keep_alive(ts);
	server_report(ts->pool, ts->server, SERVER_SAW_SUCCESS, loop_now_ms(ts->w->loop));
	stream_resume(&ts->front);
	if (ts->front_eof)
		half_closed(ts, &ts->back);
}

static const struct stream_ops front_ops = { NULL, on_front_data, on_front_drained, on_front_gone, NULL };
static const struct stream_ops back_ops = { on_connected, on_back_data, on_back_drained, on_back_gone, NULL };

/* ---- a server ---- */

static uint64_t hash_client(const struct tcp_session *ts)
{
	struct addr a = ts->client;

	addr_set_port(&a, 0);
	return hash_stable(&a, addr_len(&a));
}

/* What holds its slots are connections that idle between messages: one is ended for whoever comes next, and this client
 * goes elsewhere. */
static void no_slot(struct tcp_session *ts)
{
	back_shed(ts->w, ts->server);
	engine_shed_idle(ts->w->engine, ts->w, ts->server);
	note_tried(ts);
	pool_txn_end(ts->server);
	ts->server = NULL;
	seek(ts);
}

static void seek(struct tcp_session *ts)
{
	const struct pool_config *cf = ts->pool->config;
	struct pick_query q = { .hash = hash_client(ts), .n_tried = ts->n_tried, .now_ms = loop_now_ms(ts->w->loop) };

	memcpy(q.tried, ts->tried, sizeof(q.tried));
	if (ts->n_tried >= cf->retry.attempts || pool_pick(ts->pool, &q, &ts->server) != PICK_OK) {
		tcp_end(ts, "no_server");
		return;
	}
	if (!server_slot_take(ts->server)) {
		no_slot(ts);
		return;
	}
	const struct addr *to = &ts->server->addr;
	ts->back_open = true;
	stream_connect(&ts->back, ts->w->loop, to, to->sa.sa_family == AF_INET6 ? &cf->source_v6 : &cf->source_v4,
		       &back_ops, ts);
	stream_read_bulk(&ts->back, true);
	timer_set_in(ts->w->loop, &ts->timer, cf->timeouts.connect_ms);
}

void tcp_accept(struct worker *w, const struct listener_view *lv, const struct arrival *a)
{
	struct envelope e = { .listener = lv->config->name, .client = &a->client };
	int route = policy_route(w->snapshot->policy, &e);
	struct tcp_session *ts;

	NEW_OBJ(ts, TCP_MAGIC);
	ts->w = w;
	ts->snapshot = snapshot_ref(w->snapshot);
	ts->lv = lv;
	ts->run = listener_runtime_ref(lv->run);
	ts->counted = a->counted;
	ts->client = a->client;
	ts->peer = a->peer;
	ts->local = a->local;
	ts->number = w->next_id++;
	ts->started_ms = loop_now_ms(w->loop);
	ts->pool = lv->pool;
	timer_init(&ts->timer, on_timer, ts);
	list_append(&w->tcp_sessions, &ts->link);
	w->n_sessions++;
	stream_open(&ts->front, w->loop, a->fd, &front_ops, ts);
	stream_read_bulk(&ts->front, true);
	if (route >= 0 && w->snapshot->route_pools[route] == NULL) {
		tcp_end(ts, "refused_by_route");
		return;
	}
	if (route >= 0)
		ts->pool = w->snapshot->route_pools[route];
	seek(ts);
}

/* ---- for the engine ---- */

void tcp_close_all(struct worker *w, const struct listener_runtime *run)
{
	struct tcp_session *ts;
	struct list *tmp;

	LIST_FOR_EACH(ts, tmp, &w->tcp_sessions, link)
		if (run == NULL || ts->run == run)
			tcp_end(ts, "service_stopped");
}

bool tcp_kill(struct worker *w, uint64_t number)
{
	struct tcp_session *ts;
	struct list *tmp;

	LIST_FOR_EACH(ts, tmp, &w->tcp_sessions, link) {
		if (ts->number != number)
			continue;
		tcp_end(ts, "killed");
		return true;
	}
	return false;
}

void tcp_each(struct worker *w, void (*fn)(const struct session_info *info, void *arg), void *arg)
{
	const struct tcp_session *ts;
	struct list *tmp;

	LIST_FOR_EACH(ts, tmp, &w->tcp_sessions, link) {
		struct session_info info = { .stage = "tcp",
					     .age_ms = loop_now_ms(w->loop) - ts->started_ms,
					     .bytes_in = ts->front.bytes_in,
					     .bytes_out = ts->front.bytes_out };
		char id[SESSION_ID_MAX];

		snprintf(info.id, sizeof(info.id), "%.80s", session_id_of(w->engine, ts->number, id));
		addr_format(&ts->client, info.client);
		snprintf(info.listener, sizeof(info.listener), "%.63s", ts->lv->config->name);
		if (ts->server != NULL)
			snprintf(info.backend, sizeof(info.backend), "%.62s/%.62s", ts->server->pool, ts->server->name);
		fn(&info, arg);
	}
}

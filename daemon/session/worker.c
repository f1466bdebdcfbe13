/* SPDX-License-Identifier: Apache-2.0
 * One worker: accepting, and what its listeners may offer.
 */
#include "daemon/session/worker.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/hash.h"
#include "daemon/session/proxied.h"
#include "daemon/session/session.h"
#include "daemon/session/tcp.h"
#include "daemon/session/txn.h"
#include "daemon/session/worker_private.h"

/* ---- listeners over configurations ---- */

_Static_assert(ARRAY_LEN(((struct listener_runtime *)0)->m_connections) >= ACCEPT_COUNT, "a series for each result");
_Static_assert(ARRAY_LEN(((struct listener_runtime *)0)->m_rejected) >= REJECT_COUNT, "a series for each reason");

struct listener_runtime *listener_runtime_new(const char *name)
{
	struct listener_runtime *r = xcalloc(1, sizeof(*r));

	r->name = xstrdup(name);
	r->clients = clients_new();
	r->txn_series = map_new();
	pthread_rwlock_init(&r->lock, NULL);
	r->refs = 1;
	for (size_t i = 0; i < ACCEPT_COUNT; i++)
		r->m_connections[i] =
			metrics_series(METRIC_CONNECTIONS_TOTAL, (const char *[]) { name, accept_result_names[i] });
	for (size_t i = 0; i < REJECT_COUNT; i++)
		r->m_rejected[i] =
			metrics_series(METRIC_REJECTED_TOTAL, (const char *[]) { name, reject_reason_names[i] });
	return r;
}

struct listener_runtime *listener_runtime_ref(struct listener_runtime *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

void listener_runtime_unref(struct listener_runtime *r)
{
	if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	map_free(r->txn_series, free);
	clients_free(r->clients);
	pthread_rwlock_destroy(&r->lock);
	free(r->name);
	free(r);
}

static struct txn_series *make_series(const char *listener, const char *pool)
{
	static const char *const results_of[CAUSE_COUNT] = {
#define CAUSE(ID, name, results) results,
#include "daemon/session/txn_cause.tbl.h"
#undef CAUSE
	};
	static const char letters[RESULT_COUNT] = { 'a', 't', 'p', 'n' };
	struct txn_series *ts = xcalloc(1, sizeof(*ts));

	for (size_t c = 0; c < CAUSE_COUNT; c++)
		for (size_t r = 0; r < RESULT_COUNT; r++)
			if (strchr(results_of[c], letters[r]) != NULL)
				ts->outcome[r][c] = metrics_series(
					METRIC_TRANSACTIONS_TOTAL,
					(const char *[]) { listener, pool, txn_result_names[r], txn_cause_names[c] });
	return ts;
}

struct txn_series *listener_runtime_series(struct listener_runtime *r, const char *pool)
{
	struct txn_series *ts;

	pthread_rwlock_rdlock(&r->lock);
	ts = map_get(r->txn_series, str_from(pool));
	pthread_rwlock_unlock(&r->lock);
	if (ts != NULL)
		return ts;
	pthread_rwlock_wrlock(&r->lock);
	ts = map_get(r->txn_series, str_from(pool));
	if (ts == NULL) {
		ts = make_series(r->name, pool);
		map_put(r->txn_series, str_from(pool), ts);
	}
	pthread_rwlock_unlock(&r->lock);
	return ts;
}

const struct listener_view *worker_listener(const struct worker *w, const struct listener_runtime *run)
{
	for (size_t i = 0; i < w->snapshot->n_listeners; i++)
		if (w->snapshot->listeners[i].run == run)
			return &w->snapshot->listeners[i];
	return NULL;
}

/* ---- what EHLO may offer ---- */

/* Extensions: what all pools have. Size: the largest over pools of the smallest within each. Pools never seen say
 * nothing. */
static void merge(struct offer *o, bool *any, bool *unlimited, const struct pool *p)
{
	struct pool_caps caps;

	pool_caps(p, &caps);
	if (!caps.known)
		return;
	o->exts = *any ? o->exts & caps.exts : caps.exts;
	*any = true;
	*unlimited = *unlimited || caps.size == 0;
	if (caps.size > o->size)
		o->size = caps.size;
}

static void work_out(struct offer *o, const struct listener_view *lv)
{
	uint64_t cap = lv->config->caps.message_size;
	bool any = false, unlimited = false;

	o->exts = 0;
	o->size = 0;
	for (size_t i = 0; i < lv->n_reach; i++)
		merge(o, &any, &unlimited, lv->reach[i]);
	o->known = any;
	if (!any || unlimited || o->size > cap)
		o->size = cap == UNLIMITED ? (unlimited || !any ? 0 : o->size) : cap;
}

const struct offer *worker_offer(struct worker *w, const struct listener_view *lv)
{
	struct offer *o = &w->offers[lv - w->snapshot->listeners];
	int64_t now = loop_now_ms(w->loop);

	if (now >= o->until_ms) {
		work_out(o, lv);
		o->until_ms = o->known ? now + 1000 : now; /* the first server seen counts at once */
	}
	return o;
}

/* ---- accepting ---- */

#define PROXIED_MAX 256 /* headers awaited by one worker while its listener is full */
#define GONE "421 4.3.2 service closed here\r\n"

/* A refusal before there is a session: said without waiting, and only if the kernel takes it at once. */
static void refuse(int fd, const struct listener_view *lv, enum accept_result why, const char *line)
{
	metrics_add(lv->run->m_connections[why], 1);
	if (lv->config->mode == LISTENER_SMTP) {
		ssize_t unused = send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
		UNUSED(unused);
	}
}

static void turn_away(int fd, const struct listener_view *lv, enum accept_result why, const char *line)
{
	refuse(fd, lv, why, line);
	close(fd);
}

static bool is_exempt(const struct listener_config *cf, const struct addr *peer)
{
	return cf->exempt.present && cidr_match_any(cf->exempt.v, cf->exempt.n, peer);
}

static void uncount(const struct listener_view *lv)
{
	atomic_fetch_sub_explicit(&lv->run->connections, 1, memory_order_relaxed);
}

/* What is left to check of a client that may connect; it is counted. */
static void take(struct worker *w, const struct listener_view *lv, struct arrival *a, bool is_full)
{
	const struct listener_config *cf = lv->config;
	enum client_verdict verdict = CLIENT_OK;
	bool exempt = is_exempt(cf, &a->client);

	if (is_full && !exempt) {
		uncount(lv);
		turn_away(a->fd, lv, ACCEPT_FULL, "421 4.7.0 too many connections\r\n");
		return;
	}
	if (!exempt)
		verdict = clients_enter(lv->run->clients, &a->client, &cf->caps, loop_now_ms(w->loop), &a->counted);
	if (verdict != CLIENT_OK) {
		uncount(lv);
		turn_away(a->fd, lv, verdict == CLIENT_TOO_MANY ? ACCEPT_CLIENT_FULL : ACCEPT_CLIENT_RATE,
			  "421 4.7.0 too many connections from your address\r\n");
		return;
	}
	metrics_add(lv->run->m_connections[ACCEPT_ACCEPTED], 1);
	if (cf->mode == LISTENER_SMTP)
		session_accept(w, lv, a);
	else
		tcp_accept(w, lv, a);
}

/* The listener went while a connection waited; its mode is not known any more, 421 harms no one. */
static void turn_away_gone(struct worker *w, int fd)
{
	ssize_t unused = send(fd, GONE, sizeof(GONE) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);

	UNUSED(unused);
	lingers_add(&w->lingers, fd);
}

/* It came before the network had learned that this node is left: it may have spoken already, and must not be reset. */
static void turn_away_drained(struct worker *w, const struct listener_view *lv, int fd)
{
	refuse(fd, lv, ACCEPT_DRAINING, "421 4.3.2 service shutting down, try again\r\n");
	lingers_add(&w->lingers, fd);
}

static bool is_turned_away(struct worker *w, const struct listener_view *lv, const struct arrival *a)
{
	if (w->draining)
		turn_away_drained(w, lv, a->fd);
	else if (!a->is_own && listener_refuses(lv->config, &a->client) != NULL)
		turn_away(a->fd, lv, ACCEPT_DENIED, "554 5.7.1 access denied\r\n");
	else
		return false;
	return true;
}

void worker_admit(struct worker *w, struct listener_runtime *run, struct arrival *a)
{
	const struct listener_view *lv = worker_listener(w, run);
	uint64_t n = atomic_load_explicit(&run->connections, memory_order_relaxed);

	if (lv == NULL) {
		atomic_fetch_sub_explicit(&run->connections, 1, memory_order_relaxed);
		turn_away_gone(w, a->fd);
	} else if (is_turned_away(w, lv, a)) {
		uncount(lv);
	} else {
		take(w, lv, a, n > lv->config->caps.connections);
	}
}

/* Whose it is, its header will tell: all checks wait for that, but there is a bound on those that wait. */
static void await_header(struct worker *w, const struct listener_view *lv, const struct arrival *a, bool is_full)
{
	if (is_full && w->n_proxied >= PROXIED_MAX) {
		uncount(lv);
		turn_away(a->fd, lv, ACCEPT_FULL, "421 4.7.0 too many connections\r\n");
		return;
	}
	proxied_await(w, lv, a->fd, &a->peer);
}

void worker_on_accept(int fd, const struct addr *peer, void *arg)
{
	struct worker_socket *sock = arg;
	struct worker *w = sock->w;
	const struct listener_view *lv = worker_listener(w, sock->run);
	struct arrival a = { .fd = fd, .peer = *peer, .client = *peer };

	CHECK_OBJ(w, WORKER_MAGIC);
	if (lv == NULL) {
		turn_away_gone(w, fd);
		return;
	}
	bool header_due = proxied_is_due(lv->config, peer) && !w->draining;
	if (!header_due && is_turned_away(w, lv, &a))
		return;
	bool is_full = atomic_fetch_add_explicit(&lv->run->connections, 1, memory_order_relaxed) >=
		       lv->config->caps.connections;
	if (header_due)
		await_header(w, lv, &a, is_full);
	else
		take(w, lv, &a, is_full);
}

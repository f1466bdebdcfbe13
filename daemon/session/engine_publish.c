/* SPDX-License-Identifier: Apache-2.0
 * Putting a configuration in force: sockets of new binds, the snapshot on its way to the workers.
 *
 * The hard thing is to do it under traffic: sockets of binds that stay must not be closed even for a moment, all new
 * ones must be held before anything is swapped, and a worker takes the new snapshot by message, so that no session ever
 * sees half of one.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/errors.h"
#include "daemon/base/hash.h"
#include "daemon/session/auth_failures.h"
#include "daemon/session/engine_private.h"
#include "daemon/session/hashing.h"
#include "daemon/session/users.h"
#include "daemon/session/proxied.h"
#include "daemon/session/session.h"
#include "daemon/session/tcp.h"
#include "daemon/session/back.h"
#include "daemon/session/worker_private.h"

#define HASHES_WAITING_MAX 32 /* for each hashing thread; at some 20 ms each, less than a second of waiting */
#define AUTH_FAILURES_KEPT 8192

/* ---- binds ---- */

static struct bind *find_bind(struct bind *v, size_t n, const struct addr *at)
{
	for (size_t i = 0; i < n; i++)
		if (addr_eq(&v[i].at, at))
			return &v[i];
	return NULL;
}

static void close_new_sockets(struct engine *e, struct bind *b)
{
	for (unsigned i = 0; i < e->n_workers; i++) {
		if (b->sockets[i] == NULL)
			continue;
		listener_close(b->sockets[i]->listener);
		free(b->sockets[i]);
	}
	free(b->sockets);
}

/* Opens a socket per worker. The workers start accepting only when they get the snapshot. */
static bool open_sockets(struct engine *e, struct bind *b, int *ret_errno)
{
	b->sockets = xcalloc(e->n_workers, sizeof(*b->sockets));
	for (unsigned i = 0; i < e->n_workers; i++) {
		struct worker_socket *sock = xcalloc(1, sizeof(*sock));
		sock->w = &e->workers[i];
		sock->at = b->at;
		sock->run = b->run;
		list_init(&sock->link);
		sock->listener = listener_open(e->workers[i].loop, &b->at, worker_on_accept, sock, ret_errno);
		if (sock->listener == NULL) {
			free(sock);
			close_new_sockets(e, b);
			return false;
		}
		b->sockets[i] = sock;
	}
	return true;
}

struct bind_list {
	struct bind *v;
	size_t n;
};

static void add_to(struct bind_list *list, const struct bind *b)
{
	list->v = xrealloc(list->v, (list->n + 1) * sizeof(*list->v));
	list->v[list->n++] = *b;
}

/* Opened before, or now. False: it cannot be. */
static bool add_bind(struct engine *e, struct bind_list *want, const struct listener_view *lv, size_t at,
		     struct errors *errors)
{
	const struct addr *a = &lv->config->bind[at];
	struct bind b = { .at = *a, .run = lv->run };
	struct bind *have = find_bind(e->binds, e->n_binds, a);
	char path[160], text[ADDR_TEXT_MAX];
	int err = 0;

	if (have != NULL) {
		b.sockets = have->sockets;
	} else if (!open_sockets(e, &b, &err)) {
		snprintf(path, sizeof(path), "/listeners/%.63s/bind/%zu", lv->config->name, at);
		errors_add(errors, path, addr_format(a, text), "an address this node may bind", NULL,
			   "cannot listen here: %s", strerror(err));
		return false;
	}
	add_to(want, &b);
	return true;
}

/* Where a listener cannot have all of its addresses, those it had before stay: its last good state. */
static void keep_binds(struct engine *e, struct bind_list *want, const struct listener_view *lv)
{
	for (size_t i = 0; i < e->n_binds; i++)
		if (e->binds[i].run == lv->run && find_bind(want->v, want->n, &e->binds[i].at) == NULL)
			add_to(want, &e->binds[i]);
}

/* Every bind of the snapshot with its sockets, old or new, as far as they can be had. Returns how many cannot. */
static size_t want_binds(struct engine *e, const struct snapshot *s, struct bind_list *want, struct errors *errors)
{
	size_t missing = 0;

	for (size_t i = 0; i < s->n_listeners; i++)
		for (size_t j = 0; j < s->listeners[i].config->n_bind; j++)
			missing += !add_bind(e, want, &s->listeners[i], j, errors);
	for (size_t i = 0; missing > 0 && i < s->n_listeners; i++) {
		const struct listener_view *lv = &s->listeners[i];
		bool whole = true;
		for (size_t j = 0; whole && j < lv->config->n_bind; j++)
			whole = find_bind(want->v, want->n, &lv->config->bind[j]) != NULL;
		if (!whole)
			keep_binds(e, want, lv);
	}
	return missing;
}

/* ---- the new snapshot in a worker ---- */

struct worker_bind {
	struct worker_socket *sock;
	struct listener_runtime *run;
	bool wanted;
};

struct update {
	struct snapshot *snapshot; /* referenced */
	struct worker_bind *binds;
	size_t n_binds;
};

static void update_sockets(struct worker *w, struct update *u)
{
	struct worker_socket *sock;
	struct list *tmp;

	for (size_t i = 0; i < u->n_binds; i++) {
		sock = u->binds[i].sock;
		sock->run = u->binds[i].run;
		if (!list_empty(&sock->link) || !u->binds[i].wanted)
			continue;
		list_append(&w->sockets, &sock->link);
		listener_start(sock->listener);
	}
	LIST_FOR_EACH(sock, tmp, &w->sockets, link) {
		bool wanted = false;
		for (size_t i = 0; i < u->n_binds && !wanted; i++)
			wanted = u->binds[i].sock == sock;
		if (wanted)
			continue;
		list_remove(&sock->link);
		listener_close(sock->listener); /* what waits in its queue is taken, and ends at its first edge */
		free(sock);
	}
}

static void end_removed_tcp(struct worker *w, const struct snapshot *old)
{
	for (size_t i = 0; old != NULL && i < old->n_listeners; i++)
		if (worker_listener(w, old->listeners[i].run) == NULL) {
			tcp_close_all(w, old->listeners[i].run);
			proxied_close_all(w, old->listeners[i].run);
		}
}

static void update_worker(struct worker *w, void *arg)
{
	struct update *u = arg;
	struct snapshot *old = w->snapshot;
	struct session *s;
	struct list *tmp;

	w->snapshot = u->snapshot;
	free(w->offers);
	w->offers = xcalloc(w->snapshot->n_listeners + 1, sizeof(*w->offers));
	update_sockets(w, u);
	LIST_FOR_EACH(s, tmp, &w->sessions, link)
		if (session_is_between(s) && !session_at_edge(s))
			continue; /* its listener is gone, and so is it */
	end_removed_tcp(w, old);
	back_idle_prune(w);
	snapshot_unref(old);
	free(u->binds);
	free(u);
}

static void send_update(struct engine *e, unsigned i, const struct bind_list *want)
{
	struct update *u = xcalloc(1, sizeof(*u));

	u->snapshot = snapshot_ref(e->snapshot);
	u->binds = xcalloc(want->n + 1, sizeof(*u->binds));
	u->n_binds = want->n;
	for (size_t j = 0; j < want->n; j++)
		u->binds[j] = (struct worker_bind) { want->v[j].sockets[i], want->v[j].run, true };
	engine_call(&e->workers[i], update_worker, u);
}

/* ---- publishing ---- */

static double read_connections(void *arg)
{
	const struct listener_runtime *r = arg;

	return (double)atomic_load_explicit(&r->connections, memory_order_relaxed);
}

static double read_limit(void *arg)
{
	const struct listener_runtime *r = arg;
	uint64_t cap = atomic_load_explicit(&r->cap, memory_order_relaxed);

	return cap == UNLIMITED ? INFINITY : (double)cap;
}

static struct listener_runtime *runtime_for(struct engine *e, const char *name)
{
	struct listener_runtime *r = map_get(e->runtimes, str_from(name));

	if (r != NULL)
		return r;
	r = listener_runtime_new(name);
	map_put(e->runtimes, str_from(name), r);
	metrics_read_with(metrics_series(METRIC_CONNECTIONS, (const char *[]) { name }), read_connections, r);
	metrics_read_with(metrics_series(METRIC_CONNECTIONS_LIMIT, (const char *[]) { name }), read_limit, r);
	return r;
}

static bool reaches(const struct route_config *rt, const char *listener)
{
	if (!rt->listener.present)
		return true;
	for (size_t i = 0; i < rt->listener.n; i++)
		if (strcmp(rt->listener.v[i], listener) == 0)
			return true;
	return false;
}

static void add_reach(struct listener_view *lv, struct map *seen, struct pool *p)
{
	struct str key = { (const char *)&p, sizeof(p) };

	if (p == NULL || map_put(seen, key, p) != NULL)
		return;
	lv->reach = xrealloc(lv->reach, (lv->n_reach + 1) * sizeof(struct pool *));
	lv->reach[lv->n_reach++] = p; /* the snapshot holds the reference */
}

static void work_out_reach(struct listener_view *lv, const struct snapshot *s)
{
	struct map *seen = map_new();

	add_reach(lv, seen, lv->pool);
	for (size_t i = 0; i < s->policy_config->n_routes; i++)
		if (reaches(&s->policy_config->routes[i], lv->config->name))
			add_reach(lv, seen, s->route_pools[i]);
	map_free(seen, NULL);
}

/* Every label set a listener can count under exists before its first session. */
static void prepare(struct engine *e, struct snapshot *s)
{
	for (size_t i = 0; i < s->n_listeners; i++) {
		struct listener_view *lv = &s->listeners[i];
		lv->run = listener_runtime_ref(runtime_for(e, lv->config->name));
		atomic_store_explicit(&lv->run->cap, lv->config->caps.connections, memory_order_relaxed);
		listener_runtime_series(lv->run, "");
		work_out_reach(lv, s);
		for (size_t j = 0; j < lv->n_reach; j++)
			listener_runtime_series(lv->run, lv->reach[j]->config->name);
	}
}

static void take_binds(struct engine *e, struct bind_list *want)
{
	for (size_t i = 0; i < e->n_binds; i++)
		if (find_bind(want->v, want->n, &e->binds[i].at) == NULL)
			free(e->binds[i].sockets); /* the sockets themselves are closed by their workers */
	free(e->binds);
	e->binds = want->v;
	e->n_binds = want->n;
}

static void put_in_force(struct engine *e, struct snapshot *s, struct errors *errors)
{
	struct bind_list want = { 0 };

	e->missing = e->listening ? want_binds(e, s, &want, errors) : 0;
	if (s != e->snapshot) {
		s->generation = e->snapshot != NULL ? e->snapshot->generation + 1 : 1;
		snapshot_unref(e->snapshot);
		e->snapshot = s;
	}
	for (unsigned i = 0; i < e->n_workers; i++)
		send_update(e, i, &want);
	take_binds(e, &want);
}

/* Threads and tables that only logins need; workers see them by the snapshot that comes after. */
static void prepare_logins(struct engine *e)
{
	unsigned threads = e->n_workers < 2 ? 1 : e->n_workers / 2;

	e->hashing = hashing_new(threads, threads * HASHES_WAITING_MAX);
	e->auth_failures = auth_failures_new(AUTH_FAILURES_KEPT);
}

static bool passes_logins_on(const struct snapshot *s)
{
	for (size_t i = 0; i < s->n_listeners; i++)
		if (s->listeners[i].config->auth.mode == LISTENER_AUTH_PASSTHROUGH)
			return true;
	return false;
}

struct hashing *engine_hashing(struct engine *e)
{
	return e->hashing;
}

struct auth_failures *engine_auth_failures(struct engine *e)
{
	return e->auth_failures;
}

bool engine_publish(struct engine *e, struct snapshot *s, struct errors *errors)
{
	CHECK_OBJ(e, ENGINE_MAGIC);
	prepare(e, s);
	if ((users_are_any(s->users) || passes_logins_on(s)) && e->hashing == NULL)
		prepare_logins(e);
	put_in_force(e, s, errors);
	return e->missing == 0;
}

bool engine_listen(struct engine *e, struct errors *errors)
{
	CHECK_OBJ(e, ENGINE_MAGIC);
	ASSERT(e->snapshot != NULL);
	e->listening = true;
	put_in_force(e, e->snapshot, errors);
	/* Who cannot be reached at all had better not look as if it served. */
	e->listening = e->n_binds > 0 || e->missing == 0;
	return e->listening;
}

static bool one_is_free(struct engine *e)
{
	const struct snapshot *s = e->snapshot;

	for (size_t i = 0; i < s->n_listeners; i++)
		for (size_t j = 0; j < s->listeners[i].config->n_bind; j++) {
			const struct addr *at = &s->listeners[i].config->bind[j];
			if (find_bind(e->binds, e->n_binds, at) == NULL && listener_probe(at) == 0)
				return true;
		}
	return false;
}

bool engine_try_again(struct engine *e, struct errors *errors)
{
	CHECK_OBJ(e, ENGINE_MAGIC);
	if (e->missing == 0 || !one_is_free(e))
		return e->missing == 0;
	put_in_force(e, e->snapshot, errors);
	return e->missing == 0;
}

size_t engine_missing(const struct engine *e)
{
	return e->missing;
}

bool engine_is_listening(const struct engine *e)
{
	return e->listening;
}

struct snapshot *engine_snapshot(struct engine *e)
{
	return e->snapshot;
}

bool engine_is_own_address(struct engine *e, const struct addr *a)
{
	for (size_t i = 0; i < e->n_binds; i++) {
		const struct addr *b = &e->binds[i].at;
		if (addr_eq(b, a))
			return true;
		if (addr_is_any(b) && addr_port(b) == addr_port(a) && listener_is_local(a))
			return true;
	}
	return false;
}

/* SPDX-License-Identifier: Apache-2.0
 * The engine: worker threads, what they share, draining and stopping.
 *
 * The hard thing is the end: sessions finish at transaction edges on their own threads, and the control thread must
 * know when the last one is gone without asking a lock of the message path; it asks by message, and asks again whenever
 * a worker has run empty.
 */
#include "daemon/session/engine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/watchdog.h"
#include "daemon/session/auth_failures.h"
#include "daemon/session/engine_private.h"
#include "daemon/session/front_auth.h"
#include "daemon/session/hashing.h"
#include "daemon/session/overload.h"
#include "daemon/net/handshakes.h"
#include "daemon/session/pressure.h"
#include "daemon/session/proxied.h"
#include "daemon/session/session.h"
#include "daemon/session/tcp.h"
#include "daemon/session/txn.h"

#define BEAT_MS 250

/* ---- calls into workers ---- */

static void run_call(void *arg)
{
	struct worker_call *c = arg;

	c->fn(c->w, c->arg);
	free(c);
}

void engine_call(struct worker *w, void (*fn)(struct worker *w, void *arg), void *arg)
{
	struct worker_call *c = xcalloc(1, sizeof(*c));

	*c = (struct worker_call) { w, fn, arg };
	loop_post(w->loop, run_call, c);
}

static void call_all(struct engine *e, void (*fn)(struct worker *w, void *arg), void *arg)
{
	for (unsigned i = 0; i < e->n_workers; i++)
		engine_call(&e->workers[i], fn, arg);
}

/* ---- threads ---- */

static void on_beat(void *arg)
{
	struct worker *w = arg;

	atomic_store_explicit(&w->beat_at_ms, loop_now_ms(w->loop), memory_order_relaxed);
	watchdog_beat();
	pressure_look(w);
	timer_set_in(w->loop, &w->beat, BEAT_MS);
}

static void on_lingers_over(void *arg)
{
	struct worker *w = arg;

	if (w->stopping && w->n_sessions == 0)
		engine_worker_empty(w->engine);
}

static double read_lag(void *arg)
{
	const struct worker *w = arg;

	return (double)loop_lag_us(w->loop);
}

static void *run_worker(void *arg)
{
	struct worker *w = arg;

	metrics_thread(w->index + 1);
	watchdog_enter(w->name);
	on_beat(w);
	loop_run(w->loop);
	watchdog_exit();
	return NULL;
}

static void worker_init(struct engine *e, struct worker *w, unsigned index)
{
	static const char *const sides[2] = { "client", "server" }, *const directions[2] = { "in", "out" };
	char text[16];

	w->magic = WORKER_MAGIC;
	w->engine = e;
	w->index = index;
	w->loop = loop_new();
	list_init(&w->sessions);
	list_init(&w->tcp_sessions);
	list_init(&w->proxied);
	list_init(&w->sockets);
	lingers_init(&w->lingers, w->loop, on_lingers_over, w);
	list_init(&w->backs);
	back_idle_init(w);
	/* Unique among nodes by the node's name, among restarts by the start time, among workers by the index. */
	w->next_id = (uint64_t)clock_wall() << 31 | (uint64_t)index << 24;
	for (int s = 0; s < 2; s++)
		for (int d = 0; d < 2; d++)
			w->m_bytes[s][d] =
				metrics_series(METRIC_BYTES_TOTAL, (const char *[]) { sides[s], directions[d] });
	w->m_message_bytes = metrics_series(METRIC_MESSAGE_BYTES, NULL);
	snprintf(text, sizeof(text), "%u", index);
	snprintf(w->name, sizeof(w->name), "worker %u", index);
	metrics_read_with(metrics_series(METRIC_WORKER_LAG_SECONDS, (const char *[]) { text }), read_lag, w);
	timer_init(&w->beat, on_beat, w);
	atomic_store(&w->beat_at_ms, clock_mono_ms());
}

static unsigned count_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0 || CPU_COUNT(&set) < 1)
		return 1;
	return (unsigned)CPU_COUNT(&set);
}

static void on_grace_over(void *arg);
static void check_stopped(void *arg);

struct engine *engine_new(struct loop *control, const struct engine_options *o)
{
	struct engine *e;

	NEW_OBJ(e, ENGINE_MAGIC);
	e->control = control;
	e->node = xstrdup(o->node);
	e->n_workers = o->workers > 0 ? o->workers : count_cpus();
	if (e->n_workers > METRIC_THREADS_MAX - 2)
		e->n_workers = METRIC_THREADS_MAX - 2;
	e->replay_cap = o->replay_memory;
	e->grace_ms = o->shutdown_grace_ms;
	e->runtimes = map_new();
	list_init(&e->traces);
	timer_init(&e->grace, on_grace_over, e);
	timer_init(&e->retry, check_stopped, e);
	handshakes_init();
	front_auth_init();
	e->workers = xcalloc(e->n_workers, sizeof(*e->workers));
	for (unsigned i = 0; i < e->n_workers; i++)
		worker_init(e, &e->workers[i], i);
	for (unsigned i = 0; i < e->n_workers; i++)
		if (pthread_create(&e->workers[i].thread, NULL, run_worker, &e->workers[i]) != 0)
			base_panic(__FILE__, __LINE__, "cannot start a worker thread");
	return e;
}

static void stop_worker(struct worker *w, void *arg)
{
	struct list *tmp;
	struct session *s;
	struct worker_socket *sock;

	UNUSED(arg);
	timer_stop(&w->beat);
	w->stopping = false; /* nobody waits for this worker to be empty any more */
	proxied_close_all(w, NULL);
	tcp_close_all(w, NULL);
	LIST_FOR_EACH(s, tmp, &w->sessions, link)
		session_close(s, CLOSE_GRACE_OVER);
	lingers_close_all(&w->lingers);
	back_fini(w);
	LIST_FOR_EACH(sock, tmp, &w->sockets, link) {
		list_remove(&sock->link);
		listener_close(sock->listener);
		free(sock);
	}
	loop_stop(w->loop);
}

static void free_engine(void *arg)
{
	struct engine *e = arg;

	free(e->workers);
	free(e->node);
	FREE_OBJ(e);
}

static void free_binds(struct engine *e)
{
	for (size_t i = 0; i < e->n_binds; i++)
		free(e->binds[i].sockets);
	free(e->binds);
	e->binds = NULL;
	e->n_binds = 0;
}

void engine_free(struct engine *e)
{
	CHECK_OBJ(e, ENGINE_MAGIC);
	for (unsigned i = 0; i < e->n_workers; i++) {
		engine_call(&e->workers[i], stop_worker, NULL);
		pthread_join(e->workers[i].thread, NULL);
	}
	if (e->hashing != NULL)
		hashing_free(e->hashing); /* its answers are messages to the loops, which still exist */
	auth_failures_free(e->auth_failures);
	for (unsigned i = 0; i < e->n_workers; i++) {
		snapshot_unref(e->workers[i].snapshot);
		free(e->workers[i].offers);
		loop_free(e->workers[i].loop);
	}
	timer_stop(&e->grace);
	timer_stop(&e->retry);
	snapshot_unref(e->snapshot);
	free_binds(e);
	map_free(e->runtimes, (void (*)(void *))listener_runtime_unref);
	/* Behind any message of the workers that is still on its way to the control loop. */
	loop_post(e->control, free_engine, e);
}

/* ---- services for workers ---- */

const char *engine_node(const struct engine *e)
{
	return e->node;
}

bool engine_replay_take(struct engine *e, size_t n)
{
	if (atomic_fetch_add_explicit(&e->replay_used, n, memory_order_relaxed) + n <= e->replay_cap)
		return true;
	atomic_fetch_sub_explicit(&e->replay_used, n, memory_order_relaxed);
	return false;
}

void engine_replay_give(struct engine *e, size_t n)
{
	if (n > 0)
		atomic_fetch_sub_explicit(&e->replay_used, n, memory_order_relaxed);
}

static void shed(struct worker *w, void *arg)
{
	struct server *s = arg;

	if (w->idle != NULL)
		back_shed(w, s);
	server_unref(s);
}

void engine_shed_idle(struct engine *e, struct worker *from, struct server *s)
{
	for (unsigned i = 0; i < e->n_workers; i++)
		if (&e->workers[i] != from)
			engine_call(&e->workers[i], shed, server_ref(s));
}

/* ---- draining and stopping ---- */

static void drain_worker(struct worker *w, void *arg)
{
	struct session *s;
	struct list *tmp;

	w->draining = arg != NULL;
	LIST_FOR_EACH(s, tmp, &w->sessions, link)
		if (session_is_between(s) && !session_at_edge(s))
			continue; /* it has ended */
}

void engine_set_draining(struct engine *e, bool draining)
{
	if (e->stopping)
		return; /* there is no way back from that */
	e->draining = draining;
	call_all(e, drain_worker, draining ? e : NULL);
}

bool engine_is_draining(const struct engine *e)
{
	return e->draining;
}

static void begin_stop(struct worker *w, void *arg)
{
	struct worker_socket *sock;
	struct list *tmp;

	w->stopping = true;
	proxied_close_all(w, NULL);
	drain_worker(w, w);
	LIST_FOR_EACH(sock, tmp, &w->sockets, link) {
		list_remove(&sock->link);
		listener_close(sock->listener);
		free(sock);
	}
	UNUSED(arg);
	engine_worker_empty(w->engine);
}

static void on_worker_empty(void *arg)
{
	check_stopped(arg);
}

void engine_worker_empty(struct engine *e)
{
	loop_post(e->control, on_worker_empty, e);
}

uint64_t engine_session_count(struct engine *e)
{
	size_t pos = 0;
	struct str key;
	void *value;
	uint64_t n = 0;

	while (map_next(e->runtimes, &pos, &key, &value))
		n += atomic_load_explicit(&((struct listener_runtime *)value)->connections, memory_order_relaxed);
	return n;
}

static void count_sessions(struct worker *w, void *arg);

struct stop_count {
	struct engine *e;
	_Atomic unsigned left;
	_Atomic size_t sessions;
};

static void finish_count(void *arg)
{
	struct stop_count *c = arg;
	struct engine *e = c->e;
	size_t n = c->sessions;

	free(c);
	if (n > 0 || e->done == NULL)
		return;
	loop_fn *done = e->done;
	e->done = NULL;
	timer_stop(&e->grace);
	done(e->done_arg);
}

static void count_sessions(struct worker *w, void *arg)
{
	struct stop_count *c = arg;

	atomic_fetch_add(&c->sessions, w->n_sessions + lingers_count(&w->lingers));
	if (atomic_fetch_sub(&c->left, 1) == 1)
		loop_post(c->e->control, finish_count, c);
}

/* Asks all workers how many sessions they have: one that reported empty may have had a detached one on another. */
static void check_stopped(void *arg)
{
	struct engine *e = arg;
	struct stop_count *c;

	if (!e->stopping || e->done == NULL)
		return;
	c = xcalloc(1, sizeof(*c));
	c->e = e;
	c->left = e->n_workers;
	call_all(e, count_sessions, c);
}

static void end_sessions(struct worker *w, void *arg)
{
	struct session *s;
	struct list *tmp;

	UNUSED(arg);
	tcp_close_all(w, NULL);
	LIST_FOR_EACH(s, tmp, &w->sessions, link)
		session_close(s, CLOSE_GRACE_OVER);
	lingers_close_all(&w->lingers);
	engine_worker_empty(w->engine);
}

static void on_grace_over(void *arg)
{
	struct engine *e = arg;

	call_all(e, end_sessions, NULL);
}

void engine_stop(struct engine *e, loop_fn *done, void *arg)
{
	CHECK_OBJ(e, ENGINE_MAGIC);
	e->stopping = e->draining = true;
	e->done = done;
	e->done_arg = arg;
	timer_set_in(e->control, &e->grace, e->grace_ms);
	call_all(e, begin_stop, NULL);
	/* The workers close the sockets: a configuration that comes from here on finds none, and opens none. */
	e->listening = false;
	free_binds(e);
}

void engine_stop_now(struct engine *e)
{
	CHECK_OBJ(e, ENGINE_MAGIC);
	if (e->done != NULL)
		timer_set_in(e->control, &e->grace, 0);
}

int64_t engine_worker_silence_ms(struct engine *e)
{
	int64_t worst = 0, now = clock_mono_ms();

	for (unsigned i = 0; i < e->n_workers; i++) {
		int64_t silent = now - atomic_load_explicit(&e->workers[i].beat_at_ms, memory_order_relaxed);
		if (silent > worst)
			worst = silent;
	}
	return worst;
}

/* The fuller one of two by their share of the cap. */
static void compare(struct engine_load *l, const struct listener_runtime *r)
{
	uint64_t cap = atomic_load_explicit(&r->cap, memory_order_relaxed);
	uint64_t n = atomic_load_explicit(&r->connections, memory_order_relaxed);

	if (cap == UNLIMITED || cap == 0)
		return;
	if (l->listener[0] != '\0' && (double)n / (double)cap <= (double)l->connections / (double)l->cap)
		return;
	snprintf(l->listener, sizeof(l->listener), "%s", r->name);
	l->connections = n;
	l->cap = cap;
}

void engine_load(struct engine *e, struct engine_load *ret)
{
	size_t pos = 0;
	struct str key;
	void *value;

	CHECK_OBJ(e, ENGINE_MAGIC);
	*ret = (struct engine_load) { 0 };
	for (unsigned i = 0; i < e->n_workers; i++) {
		int64_t lag = loop_lag_us(e->workers[i].loop) / 1000;
		if (lag > ret->lag_ms)
			ret->lag_ms = lag;
	}
	while (map_next(e->runtimes, &pos, &key, &value))
		compare(ret, value);
}

unsigned engine_workers(const struct engine *e)
{
	return e->n_workers;
}

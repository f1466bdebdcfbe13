/* SPDX-License-Identifier: Apache-2.0
 * What the control plane asks of live sessions: lists, kills, traces. Questions go to the workers as messages; answers
 * come back on the control loop.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/session/engine_private.h"
#include "daemon/session/session.h"
#include "daemon/session/tcp.h"
#include "daemon/session/txn.h"

/* ---- listing ---- */

struct gather {
	struct engine *e;
	pthread_mutex_t lock;
	struct session_info *list;
	size_t n, cap, total, limit;
	unsigned left;
	engine_sessions_fn *fn;
	void *arg;
};

static void gather_done(void *arg)
{
	struct gather *g = arg;

	g->fn(g->list, g->n, g->total, g->arg);
	pthread_mutex_destroy(&g->lock);
	free(g->list);
	free(g);
}

static void gather_add(const struct session_info *info, void *arg)
{
	struct gather *g = arg;

	g->total++;
	if (g->n == g->limit)
		return;
	if (g->n == g->cap) {
		g->cap = g->cap == 0 ? 64 : g->cap * 2;
		g->list = xrealloc(g->list, g->cap * sizeof(*g->list));
	}
	g->list[g->n++] = *info;
}

static void describe(const struct session *s, struct session_info *info)
{
	int64_t now_ms = loop_now_ms(s->w->loop);
	char id[SESSION_ID_MAX];

	*info = (struct session_info) { .age_ms = now_ms - s->started_ms,
					.bytes_in = s->front.st.bytes_in,
					.bytes_out = s->front.st.bytes_out,
					.transactions = s->n_txns,
					.traced = s->traced };
	snprintf(info->id, sizeof(info->id), "%s", session_id(s, id));
	addr_format(&s->client, info->client);
	snprintf(info->listener, sizeof(info->listener), "%.63s", s->lv->config->name);
	snprintf(info->helo, sizeof(info->helo), "%.255s", s->front.helo != NULL ? s->front.helo : "");
	snprintf(info->user, sizeof(info->user), "%.255s", s->front.user != NULL ? s->front.user : "");
	snprintf(info->stage, sizeof(info->stage), "%s", session_stage(s));
	if (s->txn == NULL)
		return;
	info->transaction_age_ms = now_ms - s->txn->started_us / 1000;
	if (s->txn->server != NULL)
		snprintf(info->backend, sizeof(info->backend), "%.62s/%.62s", s->txn->server->pool,
			 s->txn->server->name);
}

static void gather_worker(struct worker *w, void *arg)
{
	struct gather *g = arg;
	struct session_info info;
	const struct session *s;
	struct list *tmp;

	pthread_mutex_lock(&g->lock);
	LIST_FOR_EACH(s, tmp, &w->sessions, link) {
		describe(s, &info);
		gather_add(&info, g);
	}
	tcp_each(w, gather_add, g);
	bool last = --g->left == 0;
	pthread_mutex_unlock(&g->lock);
	if (last)
		loop_post(g->e->control, gather_done, g);
}

void engine_sessions(struct engine *e, size_t limit, engine_sessions_fn *fn, void *arg)
{
	struct gather *g = xcalloc(1, sizeof(*g));

	*g = (struct gather) { .e = e, .left = e->n_workers, .fn = fn, .arg = arg };
	g->limit = limit < ENGINE_SESSIONS_MAX ? limit : ENGINE_SESSIONS_MAX;
	pthread_mutex_init(&g->lock, NULL);
	for (unsigned i = 0; i < e->n_workers; i++)
		engine_call(&e->workers[i], gather_worker, g);
}

/* ---- finding one by its id ---- */

/* The number in "node-0123456789abc"; false = not one of this node's ids. */
static bool parse_id(const struct engine *e, const char *id, uint64_t *ret)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
	size_t n = strlen(e->node);
	uint64_t v = 0;

	if (strncmp(id, e->node, n) != 0 || id[n] != '-' || strlen(id + n + 1) != 13)
		return false;
	for (const char *p = id + n + 1; *p != '\0'; p++) {
		const char *d = strchr(digits, *p);
		if (d == NULL)
			return false;
		v = v << 5 | (uint64_t)(d - digits);
	}
	*ret = v;
	return true;
}

static struct session *find(struct worker *w, uint64_t number)
{
	struct session *s;
	struct list *tmp;

	LIST_FOR_EACH(s, tmp, &w->sessions, link)
		if (s->number == number)
			return s;
	return NULL;
}

/* ---- killing ---- */

struct kill_call {
	struct engine *e;
	uint64_t number;
	_Atomic unsigned left;
	_Atomic bool found;
	engine_kill_fn *fn;
	void *arg;
};

static void kill_done(void *arg)
{
	struct kill_call *k = arg;

	k->fn(k->found, k->arg);
	free(k);
}

static void kill_in_worker(struct worker *w, void *arg)
{
	struct kill_call *k = arg;
	struct session *s = find(w, k->number);

	if (s != NULL) {
		session_close(s, CLOSE_KILLED);
		atomic_store(&k->found, true);
	} else if (tcp_kill(w, k->number)) {
		atomic_store(&k->found, true);
	}
	if (atomic_fetch_sub(&k->left, 1) == 1)
		loop_post(k->e->control, kill_done, k);
}

void engine_session_kill(struct engine *e, const char *id, engine_kill_fn *fn, void *arg)
{
	struct kill_call *k = xcalloc(1, sizeof(*k));

	*k = (struct kill_call) { .e = e, .left = e->n_workers, .fn = fn, .arg = arg };
	if (!parse_id(e, id, &k->number)) {
		loop_post(e->control, kill_done, k);
		return;
	}
	for (unsigned i = 0; i < e->n_workers; i++)
		engine_call(&e->workers[i], kill_in_worker, k);
}

/* ---- tracing ----
 *
 * A trace belongs to the control thread, but the workers hold a pointer to it until all of them have looked. So it is
 * freed by whichever comes second: engine_trace_stop(), or trace_looked(), which runs once for each trace. Mail to a
 * worker is in order: its look comes before the end of this trace, and that before the look of the next one.
 */

struct engine_trace {
	struct list link; /* in e->traces, unless refused or stopped */
	struct engine *e;
	uint64_t number;
	_Atomic unsigned left; /* workers that have not looked yet */
	_Atomic bool found;
	const char *refusal; /* what to say where no worker found it */
	bool asked;          /* the workers know of it */
	bool looked, stopped;
	bool told; /* that it is over: nothing more is said */
	engine_trace_fn *fn;
	void *arg;
};

struct trace_line {
	struct engine *e;
	uint64_t number;
	char side;
	bool end;
	double wall;
	char text[];
};

static struct engine_trace *find_trace(struct engine *e, uint64_t number)
{
	struct engine_trace *t;
	struct list *tmp;

	LIST_FOR_EACH(t, tmp, &e->traces, link)
		if (t->number == number)
			return t;
	return NULL;
}

static void tell_line(void *arg)
{
	struct trace_line *line = arg;
	struct engine_trace *t = find_trace(line->e, line->number);

	if (t != NULL && !t->told) {
		t->told = line->end;
		t->fn(line->side, line->text, line->wall, line->end, true, t->arg); /* may stop it */
	}
	free(line);
}

void engine_trace_line(struct engine *e, uint64_t session, char side, const char *p, size_t n, bool end)
{
	size_t keep = n < 1024 ? n : 1024;
	struct trace_line *line = xmalloc(sizeof(*line) + keep + 1);

	*line = (struct trace_line) { .e = e, .number = session, .side = side, .end = end, .wall = clock_wall() };
	while (keep > 0 && (p[keep - 1] == '\n' || p[keep - 1] == '\r'))
		keep--;
	memcpy(line->text, p, keep);
	line->text[keep] = '\0';
	loop_post(e->control, tell_line, line);
}

static void trace_looked(void *arg)
{
	struct engine_trace *t = arg;

	t->looked = true;
	if (t->stopped) {
		free(t);
		return;
	}
	if (atomic_load(&t->found) || t->told)
		return;
	t->told = true;
	t->fn('i', t->refusal, clock_wall(), true, false, t->arg); /* may stop it: t is not ours any more */
}

static void trace_in_worker(struct worker *w, void *arg)
{
	struct engine_trace *t = arg;
	struct session *s = find(w, t->number);

	if (s != NULL) {
		s->traced = true;
		atomic_store(&t->found, true);
		session_trace(s, 'i', session_stage(s), strlen(session_stage(s)));
	}
	if (atomic_fetch_sub(&t->left, 1) == 1)
		loop_post(t->e->control, trace_looked, t);
}

struct engine_trace *engine_trace_start(struct engine *e, const char *id, engine_trace_fn *fn, void *arg)
{
	struct engine_trace *t = xcalloc(1, sizeof(*t));

	*t = (struct engine_trace) { .e = e, .left = e->n_workers, .refusal = "no such session", .fn = fn, .arg = arg };
	list_init(&t->link);
	bool known = parse_id(e, id, &t->number);
	bool busy = known && find_trace(e, t->number) != NULL;
	if (busy)
		t->refusal = "busy";
	if (!known || busy) {
		loop_post(e->control, trace_looked, t);
		return t;
	}
	t->asked = true;
	list_append(&e->traces, &t->link);
	for (unsigned i = 0; i < e->n_workers; i++)
		engine_call(&e->workers[i], trace_in_worker, t);
	return t;
}

static void untrace(struct worker *w, void *arg)
{
	const uint64_t *number = arg;
	struct session *s = find(w, *number);

	if (s != NULL)
		s->traced = false;
	free(arg);
}

void engine_trace_stop(struct engine_trace *t)
{
	struct engine *e = t->e;

	ASSERT(!t->stopped);
	t->stopped = true;
	list_remove(&t->link);
	for (unsigned i = 0; t->asked && i < e->n_workers; i++) {
		uint64_t *number = xmalloc(sizeof(*number));
		*number = t->number;
		engine_call(&e->workers[i], untrace, number);
	}
	if (t->looked)
		free(t);
}

/* SPDX-License-Identifier: Apache-2.0
 * The series of pools and servers. All label sets that can occur are made at once, at 0; gauges are read from the
 * servers at scrape time, so nothing here runs on the message path.
 */
#include <math.h>
#include <stdio.h>

#include "daemon/pool/registry.h"

/* ---- servers ---- */

static double read_up(void *arg)
{
	return server_is_usable(arg) ? 1 : 0;
}

static double read_txns(void *arg)
{
	struct server *s = arg;

	return atomic_load_explicit(&s->n_txns, memory_order_relaxed);
}

static double read_conns(void *arg)
{
	struct server *s = arg;

	return atomic_load_explicit(&s->n_conns, memory_order_relaxed);
}

static double read_idle(void *arg)
{
	struct server *s = arg;

	return atomic_load_explicit(&s->n_idle, memory_order_relaxed);
}

static double read_max(void *arg)
{
	struct server *s = arg;
	uint64_t max = atomic_load_explicit(&s->max_connections, memory_order_relaxed);

	return max == UNLIMITED ? (double)INFINITY : (double)max;
}

static double read_weight(void *arg)
{
	return server_weight(arg);
}

static const struct {
	enum metric metric;
	metrics_read_fn *read;
} plain[] = {
	{ METRIC_SERVER_UP, read_up },
	{ METRIC_SERVER_TRANSACTIONS, read_txns },
	{ METRIC_SERVER_CONNECTIONS, read_conns },
	{ METRIC_SERVER_IDLE_CONNECTIONS, read_idle },
	{ METRIC_SERVER_MAX_CONNECTIONS, read_max },
	{ METRIC_SERVER_WEIGHT, read_weight },
};
_Static_assert(ARRAY_LEN(plain) == ARRAY_LEN(((struct server_metrics *)0)->plain), "one series per row");

static double read_state(void *arg)
{
	const struct state_series *ss = arg;

	return server_state(ss->server) == ss->state ? 1 : 0;
}

static void create_replies(struct server *s)
{
	for (unsigned stage = 0; stage < STAGE_COUNT; stage++) {
		for (unsigned class = 2; class <= 5; class ++) {
			char text[2] = { (char)('0' + class), '\0' };
			const char *labels[] = { s->pool, s->name, reply_stage_names[stage], text };
			s->m_replies[stage][class - 2] = metrics_series(METRIC_REPLIES_TOTAL, labels);
		}
	}
}

/* Two servers of one name would share their series, and the end of one would end those of the other. */
static void retire_namesakes(struct server_private *sp)
{
	struct server_private *other;
	struct list *tmp;

	LIST_FOR_EACH(other, tmp, &sp->pool->servers, link)
		if (other != sp && strcmp(other->server->name, sp->server->name) == 0)
			server_metrics_retire(other);
}

void server_metrics_create(struct server_private *sp)
{
	struct server *s = sp->server;
	struct server_metrics *m = &sp->metrics;
	const char *labels[3] = { s->pool, s->name, NULL };

	if (m->live)
		return;
	m->live = true;
	retire_namesakes(sp);

	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		m->plain[i] = metrics_series(plain[i].metric, labels);
		metrics_read_with(m->plain[i], plain[i].read, s);
	}
	for (unsigned st = 0; st < SERVER_STATE_COUNT; st++) {
		labels[2] = server_state_names[st];
		m->state_args[st] = (struct state_series) { s, st };
		m->states[st] = metrics_series(METRIC_SERVER_STATE, labels);
		metrics_read_with(m->states[st], read_state, &m->state_args[st]);
		m->transitions[st] = metrics_series(METRIC_SERVER_TRANSITIONS_TOTAL, labels);
	}
	m->check_seconds = metrics_series(METRIC_SERVER_CHECK_SECONDS, labels);
	create_replies(s);
}

void server_metrics_retire(struct server_private *sp)
{
	struct server_metrics *m = &sp->metrics;

	if (!m->live)
		return;
	m->live = false;
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		metrics_retire(m->plain[i]);
	for (unsigned st = 0; st < SERVER_STATE_COUNT; st++) {
		metrics_retire(m->states[st]);
		metrics_retire(m->transitions[st]);
	}
	metrics_retire(m->check_seconds);
	for (unsigned stage = 0; stage < STAGE_COUNT; stage++)
		for (unsigned class = 0; class < 4; class ++)
			metrics_retire(sp->server->m_replies[stage][class]);
}

/* ---- pools ---- */

static double read_queue(void *arg)
{
	struct pool_shared *sh = arg;

	return atomic_load_explicit(&sh->n_waiting, memory_order_relaxed);
}

void pool_metrics_create(struct pool_shared *sh)
{
	static const char *const retry_results[] = { "failed", "succeeded" };
	static const char *const recipient_results[] = { "accepted", "tempfail", "permfail" };
	struct pool_series *ps = &sh->series;

	for (unsigned stage = 0; stage < STAGE_COUNT; stage++) {
		const char *labels[3] = { sh->name, reply_stage_names[stage], NULL };
		ps->reply_seconds[stage] = metrics_series(METRIC_REPLY_SECONDS, labels);
		for (size_t i = 0; i < ARRAY_LEN(retry_results); i++) {
			labels[2] = retry_results[i];
			ps->retries[stage][i] = metrics_series(METRIC_RETRIES_TOTAL, labels);
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(recipient_results); i++) {
		const char *labels[] = { sh->name, "", recipient_results[i] };
		ps->recipients[i] = metrics_series(METRIC_RECIPIENTS_TOTAL, labels);
	}
	const char *labels[] = { sh->name };
	sh->queue_series = metrics_series(METRIC_POOL_QUEUE, labels);
	metrics_read_with(sh->queue_series, read_queue, sh);
}

void pool_metrics_retire(struct pool_shared *sh)
{
	for (unsigned stage = 0; stage < STAGE_COUNT; stage++) {
		metrics_retire(sh->series.reply_seconds[stage]);
		metrics_retire(sh->series.retries[stage][0]);
		metrics_retire(sh->series.retries[stage][1]);
	}
	for (size_t i = 0; i < ARRAY_LEN(sh->series.recipients); i++)
		metrics_retire(sh->series.recipients[i]);
	metrics_retire(sh->queue_series);
}

/* SPDX-License-Identifier: Apache-2.0
 * What traffic says about a server: ejection after failures in a row, a hold for one that calls itself busy.
 *
 * The hard thing is not to eject a pool to death: the count of ejected servers is checked and raised under the pool's
 * lock (rare: only the failure that reaches the limit takes it), and the last usable server is never ejected. A success
 * does not end a hold: a server that refuses new connections goes on answering those it has.
 */
#include "daemon/pool/pool_private.h"

/* Longest ejection in units of the first one. */
#define EJECT_TIMES_MAX 10

/* ---- ejection ---- */

static bool may_eject(const struct pool *p, const struct server *s)
{
	unsigned ejected = 1, usable_besides = 0;

	for (size_t i = 0; i < p->n_servers; i++) {
		const struct server *other = p->servers[i];
		if (other == s)
			continue;
		if (server_state(other) == SERVER_EJECTED)
			ejected++;
		else if (server_is_usable(other))
			usable_besides++;
	}
	unsigned pct = p->config->outlier.max_ejected_pct;
	if (pct == 0 || usable_besides == 0)
		return false;
	/* The first one always may: in a small pool a share of it rounds to nothing. */
	return ejected == 1 || (uint64_t)ejected * 100 <= (uint64_t)p->n_servers * pct;
}

static void eject(struct pool *p, struct server *s, int64_t now_ms)
{
	struct pool_shared *sh = s->shared;

	pthread_mutex_lock(&sh->lock);
	enum server_state st = server_state(s);
	if (server_state_usable(st) && may_eject(p, s)) {
		uint32_t times = atomic_load(&s->eject_times);
		if (times < EJECT_TIMES_MAX)
			atomic_store(&s->eject_times, ++times);
		atomic_store(&s->ejected_until_ms, now_ms + p->config->outlier.eject_ms * times);
		atomic_store(&s->bad_streak, 0);
		server_word_update(s, 0, WORD_EJECTED);
	}
	pthread_mutex_unlock(&sh->lock);
}

/* ---- busy ---- */

void outlier_busy(struct server *s, const struct outlier_config *oc, int64_t now_ms)
{
	struct pool_shared *sh = s->shared;

	if (oc->busy_ms <= 0)
		return;
	pthread_mutex_lock(&sh->lock);
	/* Many transactions meet the same trouble at once: within a hold the next refusal is no new trouble. */
	if (!(atomic_load(&s->word) & WORD_BUSY)) {
		uint32_t times = atomic_fetch_add(&s->busy_times, 1);
		int64_t hold = times < 20 ? oc->busy_ms << times : oc->busy_max_ms;
		if (hold > oc->busy_max_ms && oc->busy_max_ms > 0)
			hold = oc->busy_max_ms;
		atomic_store(&s->busy_until_ms, now_ms + hold);
		server_word_update(s, 0, WORD_BUSY);
	}
	pthread_mutex_unlock(&sh->lock);
}

/* ---- reports ---- */

/* The common case: three relaxed loads and no store. */
static void on_success(struct server *s, const struct outlier_config *oc, int64_t now_ms)
{
	uint64_t word = atomic_load_explicit(&s->word, memory_order_relaxed);

	if (atomic_load_explicit(&s->bad_streak, memory_order_relaxed) != 0)
		atomic_store_explicit(&s->bad_streak, 0, memory_order_relaxed);
	if (!(word & WORD_BUSY) && atomic_load_explicit(&s->busy_times, memory_order_relaxed) != 0)
		atomic_store_explicit(&s->busy_times, 0, memory_order_relaxed);
	/* A server that has been well for as long as a first ejection lasts is forgiven its earlier ones. */
	if (!(word & WORD_EJECTED) && atomic_load_explicit(&s->eject_times, memory_order_relaxed) != 0 &&
	    now_ms >= atomic_load_explicit(&s->ejected_until_ms, memory_order_relaxed) + oc->eject_ms)
		atomic_store_explicit(&s->eject_times, 0, memory_order_relaxed);
}

static void on_fault(struct pool *p, struct server *s, int64_t now_ms)
{
	unsigned limit = p->config->outlier.consecutive;
	uint32_t streak = atomic_fetch_add_explicit(&s->bad_streak, 1, memory_order_relaxed) + 1;

	if (limit > 0 && streak >= limit)
		eject(p, s, now_ms);
}

void server_report(struct pool *p, struct server *s, enum server_verdict v, int64_t now_ms)
{
	CHECK_OBJ(p, POOL_MAGIC);
	CHECK_OBJ(s, SERVER_MAGIC);
	switch (v) {
	case SERVER_SAW_SUCCESS:
		on_success(s, &p->config->outlier, now_ms);
		break;
	case SERVER_SAW_FAULT:
		on_fault(p, s, now_ms);
		break;
	case SERVER_SAW_BUSY:
		outlier_busy(s, &p->config->outlier, now_ms);
		break;
	}
}

/* ---- the end of holds ---- */

int64_t outlier_expire(struct server *s, int64_t now_ms)
{
	const struct {
		uint64_t fact;
		_Atomic int64_t *until;
	} holds[] = { { WORD_EJECTED, &s->ejected_until_ms }, { WORD_BUSY, &s->busy_until_ms } };
	int64_t next = 0;

	for (size_t i = 0; i < ARRAY_LEN(holds); i++) {
		int64_t until = atomic_load(holds[i].until);
		if (!(atomic_load(&s->word) & holds[i].fact))
			continue;
		if (until <= now_ms)
			server_word_update(s, holds[i].fact, 0);
		else if (next == 0 || until < next)
			next = until;
	}
	return next;
}

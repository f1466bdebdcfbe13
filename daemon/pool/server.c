/* SPDX-License-Identifier: Apache-2.0
 * One address of a server: its life, its connection slots, what is learned about it.
 *
 * Everything here may be called from any worker. Counters are node-wide and each on its own cache line; the orders of
 * memory are as weak as their use allows, the reason stands at each.
 */
#include "daemon/pool/pool.h"

#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/pool/pool_private.h"
#include "daemon/pool/registry.h"

#define LATENCY_HALF_LIFE_MS 5000

/* ---- life ---- */

struct server *server_new(struct pool_shared *shared, const struct server_identity *id, struct loop *control)
{
	struct server *s = aligned_alloc(_Alignof(struct server), sizeof(*s));

	ASSERT(s != NULL);
	memset(s, 0, sizeof(*s));
	s->magic = SERVER_MAGIC;
	s->pool = xstrdup(shared->name);
	s->name = xstrdup(id->name);
	s->config_name = xstrdup(id->config_name);
	s->addr = *id->addr;
	s->shared = pool_shared_ref(shared);
	s->control = control;
	atomic_init(&s->max_connections, UNLIMITED);
	atomic_init(&s->refs, 1);
	return s;
}

struct server *server_ref(struct server *s)
{
	CHECK_OBJ(s, SERVER_MAGIC);
	/* Relaxed: whoever refs already holds one. */
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void server_unref(struct server *s)
{
	if (s == NULL)
		return;
	CHECK_OBJ(s, SERVER_MAGIC);
	/* Release what this thread did to it, acquire what the others did, before it is freed. */
	if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	ASSERT(s->priv == NULL);
	pool_shared_unref(s->shared);
	free(s->pool);
	free(s->name);
	free(s->config_name);
	FREE_OBJ(s);
}

/* ---- telling the control thread ---- */

static void on_notified(void *arg)
{
	struct server *s = arg;

	CHECK_OBJ(s, SERVER_MAGIC);
	/* Before looking: a change from here on posts again. */
	atomic_store(&s->notify_pending, false);
	if (s->priv != NULL)
		registry_server_changed(s->priv);
	server_unref(s);
}

void server_notify(struct server *s)
{
	if (s->control == NULL || atomic_exchange(&s->notify_pending, true))
		return;
	loop_post(s->control, on_notified, server_ref(s));
}

/* ---- connection slots ---- */

bool server_slot_take(struct server *s)
{
	uint64_t max = atomic_load_explicit(&s->max_connections, memory_order_relaxed);
	uint32_t n = atomic_load_explicit(&s->n_conns, memory_order_relaxed);

	/* Relaxed: the count guards nothing but itself. */
	do {
		if (n >= max)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&s->n_conns, &n, n + 1, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

void server_slot_release(struct server *s)
{
	CHECK_OBJ(s, SERVER_MAGIC);
	uint32_t before = atomic_fetch_sub_explicit(&s->n_conns, 1, memory_order_release);

	ASSERT(before > 0);
	server_freed(s);
}

void server_idle_available(struct server *s)
{
	CHECK_OBJ(s, SERVER_MAGIC);
	server_freed(s);
}

bool server_is_full(const struct server *s)
{
	return atomic_load_explicit(&s->n_conns, memory_order_relaxed) >=
		       atomic_load_explicit(&s->max_connections, memory_order_relaxed) &&
	       atomic_load_explicit(&s->n_idle, memory_order_relaxed) == 0;
}

/* ---- latency: peak EWMA ---- */

/* v halved for each half-life in dt, linear in between. */
static uint64_t decay(uint64_t v, int64_t dt_ms)
{
	if (dt_ms <= 0)
		return v;
	uint64_t halvings = (uint64_t)dt_ms / LATENCY_HALF_LIFE_MS;
	if (halvings >= 63)
		return 0;
	v >>= halvings;
	return v - v * ((uint64_t)dt_ms % LATENCY_HALF_LIFE_MS) / (2 * (uint64_t)LATENCY_HALF_LIFE_MS);
}

uint64_t server_latency_now(const struct server *s, int64_t now_ms)
{
	uint64_t v = atomic_load_explicit(&s->latency_us, memory_order_relaxed);
	int64_t at = atomic_load_explicit(&s->latency_at_ms, memory_order_relaxed);

	if (v == 0)
		return 0;
	v = decay(v, now_ms - at);
	return v > 0 ? v : 1;
}

/* Jumps to a peak at once, comes down by time. Two workers at the same moment may lose one sample: it is an average. */
void server_report_latency(struct server *s, int64_t us)
{
	CHECK_OBJ(s, SERVER_MAGIC);
	int64_t now = clock_mono_ms();
	uint64_t sample = us > 0 ? (uint64_t)us : 1;
	uint64_t old = atomic_load_explicit(&s->latency_us, memory_order_relaxed);
	int64_t at = atomic_load_explicit(&s->latency_at_ms, memory_order_relaxed);

	if (old > sample)
		sample += decay(old - sample, now - at);
	atomic_store_explicit(&s->latency_us, sample, memory_order_relaxed);
	atomic_store_explicit(&s->latency_at_ms, now, memory_order_relaxed);
}

/* ---- capabilities ---- */

void server_learn(struct server *s, unsigned exts, uint64_t size)
{
	CHECK_OBJ(s, SERVER_MAGIC);
	/* Looked at before stored: this is called for every connection and nearly never changes anything. */
	if (atomic_load_explicit(&s->caps, memory_order_relaxed) != exts)
		atomic_store_explicit(&s->caps, exts, memory_order_relaxed);
	if (atomic_load_explicit(&s->size, memory_order_relaxed) != size)
		atomic_store_explicit(&s->size, size, memory_order_relaxed);
	/* Release: who sees it known sees what is known. */
	if (!atomic_load_explicit(&s->caps_known, memory_order_relaxed))
		atomic_store_explicit(&s->caps_known, true, memory_order_release);
}

void server_xclient(struct server *s, bool denied)
{
	CHECK_OBJ(s, SERVER_MAGIC);
	/* Nearly always as it was. */
	if (atomic_load_explicit(&s->xclient_denied, memory_order_relaxed) == denied)
		return;
	atomic_store(&s->xclient_denied, denied);
	server_notify(s);
}

void server_learn_mechanisms(struct server *s, uint64_t mechanisms)
{
	CHECK_OBJ(s, SERVER_MAGIC);
	if (atomic_load_explicit(&s->mechanisms, memory_order_relaxed) != mechanisms)
		atomic_store_explicit(&s->mechanisms, mechanisms, memory_order_relaxed);
}

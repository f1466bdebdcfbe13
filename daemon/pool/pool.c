/* SPDX-License-Identifier: Apache-2.0
 * Views of a pool, and what all views of one pool name share.
 *
 * A view is immutable once pool_finish() was called; what moves (states, weights, counts) is in the servers. It keeps
 * alive the configuration it was made from, so a session that holds a view needs nothing else.
 */
#include "daemon/pool/pool.h"

#include <stdlib.h>

#include "daemon/pool/pool_private.h"

const char *const balance_names[BALANCE_COUNT] = {
	[BALANCE_ROUNDROBIN] = "roundrobin",
	[BALANCE_LEASTCONN] = "leastconn",
	[BALANCE_FIRST] = "first",
	[BALANCE_RANDOM] = "random",
	[BALANCE_LATENCY] = "latency",
	[BALANCE_SOURCE] = "source",
	[BALANCE_SENDER_DOMAIN] = "sender_domain",
	[BALANCE_RECIPIENT_DOMAIN] = "recipient_domain",
	[BALANCE_USER] = "user",
};

const char *const pool_chunking_names[POOL_CHUNKING_COUNT] = { "client", "always", "never" };

const char *const health_type_names[HEALTH_TYPE_COUNT] = {
	[HEALTH_SMTP] = "smtp",
	[HEALTH_TCP] = "tcp",
	[HEALTH_TLS] = "tls",
	[HEALTH_NONE] = "none",
};

const char *const reply_stage_names[STAGE_COUNT] = {
	[STAGE_CONNECT] = "connect", [STAGE_BANNER] = "banner", [STAGE_EHLO] = "ehlo", [STAGE_MAIL] = "mail",
	[STAGE_RCPT] = "rcpt",       [STAGE_DATA] = "data",     [STAGE_DOT] = "dot",
};

/* ---- shared by all views of a name ---- */

struct pool_shared *pool_shared_new(const char *name)
{
	struct pool_shared *sh = aligned_alloc(_Alignof(struct pool_shared), sizeof(*sh));

	ASSERT(sh != NULL);
	memset(sh, 0, sizeof(*sh));
	sh->magic = POOL_SHARED_MAGIC;
	sh->name = xstrdup(name);
	pthread_mutex_init(&sh->lock, NULL);
	list_init(&sh->waiters);
	atomic_init(&sh->refs, 1);
	return sh;
}

struct pool_shared *pool_shared_ref(struct pool_shared *sh)
{
	CHECK_OBJ(sh, POOL_SHARED_MAGIC);
	atomic_fetch_add_explicit(&sh->refs, 1, memory_order_relaxed);
	return sh;
}

void pool_shared_unref(struct pool_shared *sh)
{
	CHECK_OBJ(sh, POOL_SHARED_MAGIC);
	if (atomic_fetch_sub_explicit(&sh->refs, 1, memory_order_acq_rel) != 1)
		return;
	ASSERT(list_empty(&sh->waiters));
	pthread_mutex_destroy(&sh->lock);
	free(sh->name);
	FREE_OBJ(sh);
}

/* ---- making a view ---- */

struct pool *pool_new(const struct pool_config *config, struct pool_shared *shared, size_t n)
{
	struct pool *p;

	NEW_OBJ(p, POOL_MAGIC);
	p->config = config;
	p->shared = pool_shared_ref(shared);
	p->series = shared->series;
	p->servers = xcalloc(n + 1, sizeof(*p->servers));
	p->server_configs = xcalloc(n + 1, sizeof(*p->server_configs));
	p->priorities = xcalloc(n + 1, sizeof(*p->priorities));
	p->weights = xcalloc(n + 1, sizeof(*p->weights));
	p->order = xcalloc(n + 1, sizeof(*p->order));
	atomic_init(&p->refs, 1);
	return p;
}

void pool_add(struct pool *p, struct server *s, const struct server_config *sc, unsigned priority, unsigned weight)
{
	size_t i = p->n_servers++;

	ASSERT(i < POOL_SERVERS_MAX);
	p->servers[i] = server_ref(s);
	p->server_configs[i] = sc;
	p->priorities[i] = priority;
	p->weights[i] = weight;
}

/* Insertion keeps equal priorities as configured; views are small and made rarely. */
static void sort_order(struct pool *p)
{
	for (unsigned i = 0; i < p->n_servers; i++) {
		size_t at = i;
		for (; at > 0 && p->priorities[p->order[at - 1]] > p->priorities[i]; at--)
			p->order[at] = p->order[at - 1];
		p->order[at] = i;
	}
}

void pool_finish(struct pool *p)
{
	sort_order(p);
	if (balance_is_hash(p->config->balance))
		p->ring = ring_new(p);
}

struct pool *pool_ref(struct pool *p)
{
	CHECK_OBJ(p, POOL_MAGIC);
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

void pool_unref(struct pool *p)
{
	if (p == NULL)
		return;
	CHECK_OBJ(p, POOL_MAGIC);
	if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < p->n_servers; i++)
		server_unref(p->servers[i]);
	free(p->servers);
	free(p->server_configs);
	free(p->priorities);
	free(p->weights);
	free(p->order);
	ring_free(p->ring);
	pool_shared_unref(p->shared);
	if (p->owner_unref != NULL)
		p->owner_unref(p->owner);
	FREE_OBJ(p);
}

/* ---- what a view says ---- */

struct merge {
	struct pool_caps caps;
	bool any;
};

static void merge_caps(const struct pool *p, bool with_maint, struct merge *m)
{
	m->caps.exts = ~0u;
	m->caps.mechanisms = ~0ull;
	for (size_t i = 0; i < p->n_servers; i++) {
		const struct server *s = p->servers[i];
		/* Acquire: pairs with server_learn(). */
		if (!atomic_load_explicit(&s->caps_known, memory_order_acquire))
			continue;
		m->caps.known = true;
		if (!with_maint && server_state(s) == SERVER_MAINT)
			continue;
		m->any = true;
		m->caps.exts &= atomic_load_explicit(&s->caps, memory_order_relaxed);
		m->caps.mechanisms &= atomic_load_explicit(&s->mechanisms, memory_order_relaxed);
		uint64_t size = atomic_load_explicit(&s->size, memory_order_relaxed);
		if (size != 0 && (m->caps.size == 0 || size < m->caps.size))
			m->caps.size = size;
	}
}

/* Servers that were never seen have no say; when all that were are in maintenance, what they had still holds, or
 * extensions would vanish from the greeting for the time of it and senders that hold such mail would bounce it. */
void pool_caps(const struct pool *p, struct pool_caps *ret)
{
	CHECK_OBJ(p, POOL_MAGIC);
	struct merge m = { 0 };

	merge_caps(p, false, &m);
	if (m.caps.known && !m.any) {
		m = (struct merge) { 0 };
		merge_caps(p, true, &m);
	}
	if (!m.caps.known)
		m.caps.exts = 0;
	if (!m.any)
		m.caps.mechanisms = 0;
	m.caps.exts = (m.caps.exts & ~p->config->caps_off) | p->config->caps_force;
	*ret = m.caps;
}

unsigned pool_usable(const struct pool *p)
{
	CHECK_OBJ(p, POOL_MAGIC);
	unsigned n = 0;

	for (size_t i = 0; i < p->n_servers; i++)
		n += server_is_usable(p->servers[i]);
	return n;
}

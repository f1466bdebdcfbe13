/* SPDX-License-Identifier: Apache-2.0
 * The registry: which pools and servers there are, over all changes of the configuration.
 *
 * The hard thing is that nearly everything outlives something else: servers outlive configurations, views outlive
 * servers' places in the registry, checks outlive both. So the registry holds one reference on each thing it lists and
 * nothing else is owned by it; whoever else needs a thing holds its own.
 */
#include <stdlib.h>

#include "daemon/pool/registry.h"

#define TICK_MS 1000

/* ---- pools ---- */

struct reg_pool *registry_find_pool(struct registry *r, const char *pool)
{
	return map_get(r->by_name, str_from(pool));
}

static struct reg_pool *new_reg_pool(struct registry *r, const char *name)
{
	struct reg_pool *rp;

	NEW_OBJ(rp, REG_POOL_MAGIC);
	rp->registry = r;
	rp->shared = pool_shared_new(name);
	list_init(&rp->origins);
	list_init(&rp->servers);
	list_append(&r->pools, &rp->link);
	map_put(r->by_name, str_from(name), rp);
	pool_metrics_create(rp->shared);
	return rp;
}

static void drop_view(struct reg_pool *rp)
{
	pool_unref(rp->view);
	rp->view = NULL;
}

void reg_pool_changed(struct reg_pool *rp)
{
	struct registry *r = rp->registry;

	drop_view(rp);
	rp->changed = true;
	timer_set_in(r->loop, &r->changes, 0);
}

static void free_reg_pool(struct reg_pool *rp)
{
	ASSERT(list_empty(&rp->servers) && list_empty(&rp->origins));
	drop_view(rp);
	pool_metrics_retire(rp->shared);
	list_remove(&rp->link);
	map_remove(rp->registry->by_name, str_from(rp->shared->name));
	pool_shared_unref(rp->shared);
	FREE_OBJ(rp);
}

/* ---- origins ---- */

static void set_fixed_host(struct origin *o)
{
	if (o->hosts == NULL)
		o->hosts = xcalloc(1, sizeof(*o->hosts));
	o->hosts[0] = (struct resolver_host) { .addr = o->config->addr };
	o->n_hosts = 1;
	o->answered = true;
}

static struct origin *new_origin(struct reg_pool *rp, const struct server_config *sc)
{
	struct origin *o;

	NEW_OBJ(o, ORIGIN_MAGIC);
	o->pool = rp;
	o->config = sc;
	list_init(&o->link);
	return o;
}

static void free_origin(struct origin *o)
{
	discovery_stop(o);
	origin_drop_servers(o);
	list_remove(&o->link);
	free(o->hosts);
	free(o->hosts_of);
	FREE_OBJ(o);
}

static bool is_same_question(const struct server_config *a, const struct server_config *b)
{
	return strcmp(a->dns_name, b->dns_name) == 0 && a->port == b->port;
}

static void origin_take_config(struct origin *o, const struct server_config *sc)
{
	const struct server_config *before = o->config;

	o->config = sc;
	if (sc->source == SERVER_FROM_ADDRESS)
		set_fixed_host(o);
	else if (before == sc || !is_same_question(before, sc))
		/* What the old name stood for serves until the new one is answered for. */
		discovery_start(o);
	origin_sync(o);
}

static struct origin *find_origin(struct reg_pool *rp, const struct server_config *sc)
{
	struct origin *o;
	struct list *tmp;

	LIST_FOR_EACH(o, tmp, &rp->origins, link)
		if (strcmp(o->config->name, sc->name) == 0 && o->config->source == sc->source)
			return o;
	return NULL;
}

/* ---- taking over a configuration ---- */

static void end_overrides(struct reg_pool *rp, const struct pool_config *next)
{
	const struct pool_config *before = rp->config;

	for (size_t i = 0; i < next->n_servers; i++) {
		const struct server_config *sc = &next->servers[i];
		for (size_t k = 0; sc->weight_set && k < before->n_servers; k++) {
			const struct server_config *old = &before->servers[k];
			if (strcmp(old->name, sc->name) == 0 && (!old->weight_set || old->weight != sc->weight))
				registry_end_weight_override(rp, sc);
		}
	}
}

/* Frees origins that are not seen (all = any). */
static void drop_origins(struct reg_pool *rp, bool all)
{
	struct origin *o;
	struct list *tmp;

	LIST_FOR_EACH(o, tmp, &rp->origins, link)
		if (all || !o->seen)
			free_origin(o);
}

static void take_config(struct reg_pool *rp, const struct pool_config *pc)
{
	const struct pool_config *before = rp->config;
	struct server_private *sp;
	struct origin *o;
	struct list *tmp;

	if (before != NULL)
		end_overrides(rp, pc);
	rp->config = pc;
	rp->seen = true;
	LIST_FOR_EACH(o, tmp, &rp->origins, link)
		o->seen = false;
	for (size_t i = 0; i < pc->n_servers; i++) {
		o = find_origin(rp, &pc->servers[i]);
		if (o == NULL)
			o = new_origin(rp, &pc->servers[i]);
		o->seen = true;
		list_remove(&o->link);
		list_append(&rp->origins, &o->link);
		origin_take_config(o, &pc->servers[i]);
	}
	drop_origins(rp, false);
	LIST_FOR_EACH(sp, tmp, &rp->servers, link)
		health_reconfigure(sp, before);
	drop_view(rp);
}

static void drop_pool(struct reg_pool *rp)
{
	drop_origins(rp, true);
	rp->config = NULL;
	drop_view(rp);
}

void registry_apply(struct registry *r, const struct pool_config *const *pools, size_t n, void *owner,
		    void (*owner_ref)(void *), void (*owner_unref)(void *))
{
	CHECK_OBJ(r, REGISTRY_MAGIC);
	void *old_owner = r->owner;
	void (*old_unref)(void *) = r->owner_unref;
	struct reg_pool *rp;
	struct list *tmp;

	owner_ref(owner);
	r->owner = owner;
	r->owner_ref = owner_ref;
	r->owner_unref = owner_unref;
	LIST_FOR_EACH(rp, tmp, &r->pools, link)
		rp->seen = false;
	free(r->configured);
	r->configured = xcalloc(n, sizeof(*r->configured));
	r->n_configured = n;
	for (size_t i = 0; i < n; i++) {
		rp = registry_find_pool(r, pools[i]->name);
		if (rp == NULL)
			rp = new_reg_pool(r, pools[i]->name);
		r->configured[i] = rp;
		take_config(rp, pools[i]);
	}
	LIST_FOR_EACH(rp, tmp, &r->pools, link) {
		if (!rp->seen)
			drop_pool(rp);
		/* The caller makes new views anyway. */
		rp->changed = false;
	}
	r->applied = true;
	registry_check_first_round(r);
	if (old_unref != NULL)
		old_unref(old_owner);
}

struct pool *registry_view(struct registry *r, const char *pool)
{
	CHECK_OBJ(r, REGISTRY_MAGIC);
	struct reg_pool *rp = registry_find_pool(r, pool);

	if (rp == NULL || rp->config == NULL)
		return NULL;
	if (rp->view == NULL)
		rp->view = reg_pool_make_view(rp);
	return pool_ref(rp->view);
}

/* ---- the first round ---- */

/* The word of others decides it only where EHLO can be answered as well: they say nothing of capabilities. */
static bool is_undecided(const struct server_private *sp)
{
	bool unknown = (atomic_load(&sp->server->word) & WORD_HEALTH_MASK) == WORD_HEALTH_UNKNOWN;

	return sp->checking && sp->last_check_wall <= 0 &&
	       (unknown || (sp->borrowed && !atomic_load(&sp->server->caps_known)));
}

static bool is_pool_decided(struct reg_pool *rp)
{
	struct server_private *sp;
	struct origin *o;
	struct list *tmp;

	LIST_FOR_EACH(o, tmp, &rp->origins, link)
		if (!o->answered)
			return false;
	LIST_FOR_EACH(sp, tmp, &rp->servers, link)
		if (is_undecided(sp))
			return false;
	return true;
}

static bool is_first_round_over(struct registry *r)
{
	struct reg_pool *rp;
	struct list *tmp;

	LIST_FOR_EACH(rp, tmp, &r->pools, link)
		if (!is_pool_decided(rp))
			return false;
	return r->applied;
}

void registry_check_first_round(struct registry *r)
{
	if (!r->first_round_told)
		timer_set_in(r->loop, &r->changes, 0);
}

static void on_changes(void *arg)
{
	struct registry *r = arg;
	struct reg_pool *rp;
	struct list *tmp;

	CHECK_OBJ(r, REGISTRY_MAGIC);
	LIST_FOR_EACH(rp, tmp, &r->pools, link) {
		bool due = rp->changed && rp->config != NULL;
		rp->changed = false;
		if (due && r->hooks.on_servers_changed != NULL)
			r->hooks.on_servers_changed(rp->shared->name, r->hooks.arg);
	}
	if (r->first_round_told || !is_first_round_over(r))
		return;
	r->first_round_told = true;
	if (r->hooks.on_first_round != NULL)
		r->hooks.on_first_round(r->hooks.arg);
}

/* ---- the word of other nodes ---- */

unsigned registry_borrow(struct registry *r, registry_word_fn *fn, void *arg)
{
	CHECK_OBJ(r, REGISTRY_MAGIC);
	struct server_private *sp;
	struct list *in_pools, *tmp;
	struct reg_pool *rp;
	unsigned n = 0;

	LIST_FOR_EACH(rp, in_pools, &r->pools, link) {
		LIST_FOR_EACH(sp, tmp, &rp->servers, link) {
			if (!health_knows_nothing(sp) || !fn(sp->server, arg))
				continue;
			health_borrow(sp);
			n++;
		}
	}
	return n;
}

/* ---- each second ---- */

static void tick_pool(struct reg_pool *rp, int64_t now_ms)
{
	struct server_private *sp;
	struct list *tmp;

	LIST_FOR_EACH(sp, tmp, &rp->servers, link) {
		server_private_tick(sp);
		learned_note(rp->registry->learned, sp);
	}
	reg_pool_sweep(rp, now_ms);
	if (rp->config == NULL && list_empty(&rp->servers))
		free_reg_pool(rp);
}

static void on_tick(void *arg)
{
	struct registry *r = arg;
	struct reg_pool *rp;
	struct list *tmp;
	int64_t now = loop_now_ms(r->loop);

	CHECK_OBJ(r, REGISTRY_MAGIC);
	LIST_FOR_EACH(rp, tmp, &r->pools, link)
		tick_pool(rp, now);
	learned_write(r->learned, now, false);
	registry_check_first_round(r);
	timer_set_in(r->loop, &r->tick, TICK_MS);
}

/* ---- life ---- */

struct registry *registry_new(struct loop *l, const struct registry_hooks *hooks, const char *learned_file,
			      const char *dns_servers)
{
	struct resolver *resolver = resolver_new(l, dns_servers);
	struct registry *r;

	if (resolver == NULL)
		return NULL;
	NEW_OBJ(r, REGISTRY_MAGIC);
	r->loop = l;
	r->hooks = *hooks;
	r->resolver = resolver;
	list_init(&r->pools);
	r->by_name = map_new();
	list_init(&r->probes);
	r->overrides = map_new();
	r->learned = learned_open(learned_file);
	r->resolver_failures = metrics_series(METRIC_RESOLVER_FAILURES_TOTAL, NULL);
	timer_init(&r->tick, on_tick, r);
	timer_init(&r->changes, on_changes, r);
	timer_set_in(l, &r->tick, TICK_MS);
	return r;
}

static void free_pool_and_servers(struct reg_pool *rp)
{
	struct server_private *sp;
	struct list *tmp;

	drop_pool(rp);
	LIST_FOR_EACH(sp, tmp, &rp->servers, link)
		server_private_free(sp);
	free_reg_pool(rp);
}

void registry_free(struct registry *r)
{
	struct reg_pool *rp;
	struct list *tmp;

	if (r == NULL)
		return;
	CHECK_OBJ(r, REGISTRY_MAGIC);
	LIST_FOR_EACH(rp, tmp, &r->pools, link)
		free_pool_and_servers(rp);
	map_free(r->by_name, NULL);
	free(r->configured);
	probe_abort_all(&r->probes);
	resolver_free(r->resolver);
	learned_write(r->learned, loop_now_ms(r->loop), true);
	learned_close(r->learned);
	map_free(r->overrides, free);
	timer_stop(&r->tick);
	timer_stop(&r->changes);
	if (r->owner_unref != NULL)
		r->owner_unref(r->owner);
	FREE_OBJ(r);
}

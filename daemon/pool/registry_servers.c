/* SPDX-License-Identifier: Apache-2.0
 * Servers appear, go, come back and are forgotten; views are made of those that are there.
 *
 * A server is found again by pool, name and address, so that a reload or a name that resolves as before changes nothing
 * about it. One that is gone drains; the object stays with whoever still holds it, and its series stay in the metrics
 * for a while if it came from DNS, where addresses come and go.
 */
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/pool/registry.h"

#define SERIES_LINGER_MS (15 * 60 * 1000)

/* ---- appearing ---- */

static char *server_name(const struct origin *o, const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	if (o->config->source == SERVER_FROM_ADDRESS)
		return xstrdup(o->config->name);
	return xasprintf("%s@%s", o->config->name, addr_format(a, text));
}

static struct server_private *find_server(struct reg_pool *rp, const char *name, const struct addr *a)
{
	struct server_private *sp;
	struct list *tmp;

	LIST_FOR_EACH(sp, tmp, &rp->servers, link)
		if (strcmp(sp->server->name, name) == 0 && addr_eq(&sp->server->addr, a))
			return sp;
	return NULL;
}

static struct server_private *new_server(struct origin *o, const char *name, const struct addr *a)
{
	struct reg_pool *rp = o->pool;
	struct server_identity id = { .name = name, .config_name = o->config->name, .addr = a };
	struct server_private *sp;

	NEW_OBJ(sp, SERVER_PRIVATE_MAGIC);
	sp->pool = rp;
	sp->server = server_new(rp->shared, &id, rp->registry->loop);
	sp->server->priv = sp;
	sp->weight_override = -1;
	sp->told = SERVER_UNKNOWN;
	sp->from_dns = o->config->source != SERVER_FROM_ADDRESS;
	list_append(&rp->servers, &sp->link);
	learned_apply(rp->registry->learned, sp);
	return sp;
}

/* The heaviest record has the configured weight, the others their share of it. Weight 0 is "a very small chance" (RFC
 * 2782). */
static unsigned scaled_weight(const struct origin *o, const struct resolver_host *h)
{
	unsigned full = o->config->weight;

	if (o->config->source != SERVER_FROM_SRV || o->max_weight == 0)
		return full;
	unsigned w = (unsigned)(((uint64_t)full * h->weight + o->max_weight / 2) / o->max_weight);
	return w == 0 && full > 0 ? 1 : w;
}

static bool update(struct server_private *sp, struct origin *o, const struct resolver_host *h)
{
	unsigned weight = scaled_weight(o, h), priority = o->config->priority + h->priority;
	bool changed = sp->origin != o || sp->weight != weight || sp->priority != priority;
	uint64_t max = o->config->max_connections;

	server_metrics_create(sp);
	sp->origin = o;
	sp->weight = weight;
	sp->priority = priority;
	if (atomic_exchange(&sp->server->max_connections, max) < max)
		server_private_wake(sp);
	server_private_settle(sp);
	return changed;
}

/* ---- going ---- */

static void let_go(struct server_private *sp)
{
	sp->gone_config = *sp->origin->config;
	sp->gone_config.name = sp->server->config_name;
	sp->gone_config.dns_name = NULL;
	sp->gone_ms = loop_now_ms(sp->pool->registry->loop);
	sp->origin = NULL;
	server_private_settle(sp);
}

void origin_sync(struct origin *o)
{
	struct reg_pool *rp = o->pool;
	struct server_private *sp;
	struct list *tmp;
	bool changed = false;

	CHECK_OBJ(o, ORIGIN_MAGIC);
	for (size_t i = 0; i < o->n_hosts; i++) {
		char *name = server_name(o, &o->hosts[i].addr);
		sp = find_server(rp, name, &o->hosts[i].addr);
		if (sp == NULL)
			sp = new_server(o, name, &o->hosts[i].addr);
		free(name);
		changed |= update(sp, o, &o->hosts[i]);
		sp->seen = true;
	}
	LIST_FOR_EACH(sp, tmp, &rp->servers, link) {
		if (sp->origin == o && !sp->seen) {
			let_go(sp);
			changed = true;
		}
		sp->seen = false;
	}
	if (changed)
		reg_pool_changed(rp);
}

void origin_drop_servers(struct origin *o)
{
	o->n_hosts = 0;
	origin_sync(o);
}

bool server_private_is_forgotten(const struct server_private *sp)
{
	return sp->origin == NULL && atomic_load(&sp->server->n_txns) == 0;
}

void server_private_free(struct server_private *sp)
{
	CHECK_OBJ(sp, SERVER_PRIVATE_MAGIC);
	sp->origin = NULL;
	health_stop(sp);
	findings_end(sp);
	if (sp->hold.fn != NULL)
		timer_stop(&sp->hold);
	learned_note(sp->pool->registry->learned, sp);
	server_metrics_retire(sp);
	list_remove(&sp->link);
	sp->server->priv = NULL;
	server_unref(sp->server);
	FREE_OBJ(sp);
}

void reg_pool_sweep(struct reg_pool *rp, int64_t now_ms)
{
	struct server_private *sp;
	struct list *tmp;

	LIST_FOR_EACH(sp, tmp, &rp->servers, link)
		if (server_private_is_forgotten(sp) && (!sp->from_dns || now_ms - sp->gone_ms >= SERIES_LINGER_MS))
			server_private_free(sp);
}

/* ---- views ---- */

static void add_origin(struct pool *p, struct origin *o)
{
	for (size_t i = 0; i < o->n_hosts && p->n_servers < POOL_SERVERS_MAX; i++) {
		char *name = server_name(o, &o->hosts[i].addr);
		struct server_private *sp = find_server(o->pool, name, &o->hosts[i].addr);
		unsigned weight = sp->weight_override >= 0 ? (unsigned)sp->weight_override : sp->weight;
		free(name);
		pool_add(p, sp->server, o->config, sp->priority, weight);
	}
}

struct pool *reg_pool_make_view(struct reg_pool *rp)
{
	struct registry *r = rp->registry;
	struct origin *o;
	struct list *tmp;
	size_t n = 0;

	LIST_FOR_EACH(o, tmp, &rp->origins, link)
		n += o->n_hosts;
	if (n > POOL_SERVERS_MAX)
		log_msg(LOG_LEVEL_WARNING, "pool", "pool %s has %zu servers, the first %d are used", rp->shared->name,
			n, POOL_SERVERS_MAX);
	struct pool *p = pool_new(rp->config, rp->shared, n);
	LIST_FOR_EACH(o, tmp, &rp->origins, link)
		add_origin(p, o);
	r->owner_ref(r->owner);
	p->owner = r->owner;
	p->owner_unref = r->owner_unref;
	pool_finish(p);
	return p;
}

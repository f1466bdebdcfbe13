/* SPDX-License-Identifier: Apache-2.0
 * What the API shows of pools and servers. The hard part is to show no more: a server that is forgotten but whose
 * series linger is not.
 */
#include "daemon/base/clock.h"
#include "daemon/pool/registry.h"

static double hold_until(const struct server_private *sp, uint64_t fact, int64_t until_ms)
{
	if (!(atomic_load(&sp->server->word) & fact))
		return 0;
	return clock_wall() + (double)(until_ms - clock_mono_ms()) / 1000;
}

static void describe(const struct server_private *sp, struct server_info *info)
{
	const struct server *s = sp->server;

	*info = (struct server_info) {
		.server = s,
		.config = sp->origin != NULL ? sp->origin->config : &sp->gone_config,
		.state = server_state(s),
		.admin = sp->admin,
		.weight_override = sp->weight_override,
		.weight = server_weight(s),
		.priority = sp->priority,
		.last_check = sp->last_check,
		.last_check_wall = sp->last_check_wall,
		.last_change_wall = sp->last_change_wall,
		.last_check_us = sp->last_check_us,
		.ejected_until_wall = hold_until(sp, WORD_EJECTED, atomic_load(&s->ejected_until_ms)),
		.busy_until_wall = hold_until(sp, WORD_BUSY, atomic_load(&s->busy_until_ms)),
		.why = sp->why,
		.borrowed = sp->borrowed,
	};
}

void registry_each_server(struct registry *r, const char *pool, registry_server_fn *fn, void *arg)
{
	CHECK_OBJ(r, REGISTRY_MAGIC);
	struct reg_pool *rp = registry_find_pool(r, pool);
	struct server_private *sp;
	struct server_info info;
	struct list *tmp;

	if (rp == NULL)
		return;
	LIST_FOR_EACH(sp, tmp, &rp->servers, link) {
		if (server_private_is_forgotten(sp))
			continue;
		describe(sp, &info);
		fn(&info, arg);
	}
}

void registry_each_unresolved(struct registry *r, const char *pool, registry_unresolved_fn *fn, void *arg)
{
	CHECK_OBJ(r, REGISTRY_MAGIC);
	struct reg_pool *rp = registry_find_pool(r, pool);
	struct origin *o;
	struct list *tmp;

	if (rp == NULL)
		return;
	LIST_FOR_EACH(o, tmp, &rp->origins, link) {
		if (o->config->dns_name == NULL || o->n_hosts > 0)
			continue;
		fn(o->config->name, o->config->dns_name,
		   !o->answered      ? "it is being looked up"
		   : o->failure != 0 ? resolver_strerror(o->failure)
				     : "it has no address",
		   arg);
	}
}

void registry_each_pool(struct registry *r, registry_pool_fn *fn, void *arg)
{
	CHECK_OBJ(r, REGISTRY_MAGIC);

	for (size_t i = 0; i < r->n_configured; i++) {
		const struct reg_pool *rp = r->configured[i];
		fn(rp->config, atomic_load(&rp->shared->n_waiting), arg);
	}
}

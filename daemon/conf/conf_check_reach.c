/* SPDX-License-Identifier: Apache-2.0
 * Which pools mail from inbound listeners can come to: there a server that relays for this node is worth a warning.
 *
 * Every inbound listener meets every route, so a pool keeps one name and does not count the others.
 */
#include "daemon/conf/conf_check.h"

#include <stdlib.h>

static void lead(struct conf_checker *k, const struct listener_config *l, const char *pool)
{
	struct pool_config *p = pool != NULL ? map_get(k->pools, str_from(pool)) : NULL;
	static const char several[] = "inbound listeners";

	if (p == NULL || p->inbound == several)
		return;
	char *name = xasprintf("listener %s", l->name);
	if (p->inbound == NULL)
		p->inbound = arena_strdup(k->p->arena, name);
	else if (strcmp(p->inbound, name) != 0)
		p->inbound = several;
	free(name);
}

bool conf_check_meets(const struct route_config *r, const struct listener_config *l)
{
	if (!r->listener.present)
		return true;
	for (size_t i = 0; i < r->listener.n; i++)
		if (strcmp(r->listener.v[i], l->name) == 0)
			return true;
	return false;
}

void conf_check_reach(struct conf_checker *k)
{
	const struct policy_config *policy = &k->c->policy;

	for (size_t i = 0; i < k->c->n_listeners; i++) {
		const struct listener_config *l = &k->c->listeners[i];
		if (l->mode != LISTENER_SMTP || l->direction != DIRECTION_INBOUND)
			continue;
		lead(k, l, l->pool);
		for (size_t r = 0; r < policy->n_routes; r++)
			if (policy->routes[r].action == ROUTE_POOL && conf_check_meets(&policy->routes[r], l))
				lead(k, l, policy->routes[r].pool);
	}
}

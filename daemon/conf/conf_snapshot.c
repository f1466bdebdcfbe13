/* SPDX-License-Identifier: Apache-2.0
 * From a parsed configuration to the snapshot that workers read.
 *
 * A snapshot is made anew whenever a name resolves differently, so what is dear to build and does not change with that,
 * the policies, is built once and kept with the configuration.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "daemon/conf/conf_schema.h"
#include "daemon/session/users.h"

static void free_policies(struct conf *c)
{
	policy_free(c->route_policy);
	policy_free(c->accepted_policy);
	users_free(c->user_set);
}

/* Route i asks for listener i and the domains it accepts. */
static void describe_accepted(struct conf *c)
{
	struct route_config *routes = arena_alloc(c->arena, c->n_listeners * sizeof(*routes));

	for (size_t i = 0; i < c->n_listeners; i++) {
		const struct listener_config *l = &c->listeners[i];
		const char **name = arena_alloc(c->arena, sizeof(*name));
		*name = l->name;
		routes[i].name = l->name;
		routes[i].listener = (struct str_list) { .present = true, .v = name, .n = 1 };
		routes[i].action = ROUTE_DEFER; /* never looked at */
		if (l->direction == DIRECTION_INBOUND)
			routes[i].recipient_domain = l->accepted_domains;
	}
	c->accepted = (struct policy_config) {
		.routes = routes, .n_routes = c->n_listeners, .sets = c->policy.sets, .n_sets = c->policy.n_sets
	};
}

static void build_policies(struct conf *c)
{
	if (c->route_policy != NULL)
		return;
	describe_accepted(c);
	c->route_policy = policy_new(&c->policy);
	c->accepted_policy = policy_new(&c->accepted);
	c->user_set = users_new(c->users, c->n_users);
	c->free_policies = free_policies;
}

static void unref_owner(void *owner)
{
	conf_unref(owner);
}

struct snapshot *conf_snapshot(struct conf *c, struct registry *r, bool listens)
{
	struct snapshot *s;

	build_policies(c);
	NEW_OBJ(s, SNAPSHOT_MAGIC);
	atomic_init(&s->refs, 1);
	s->revision = c->revision;
	s->n_listeners = listens ? c->n_listeners : 0;
	s->listeners = xcalloc(s->n_listeners, sizeof(*s->listeners));
	for (size_t i = 0; i < s->n_listeners; i++) {
		s->listeners[i].config = &c->listeners[i];
		s->listeners[i].pool = registry_view(r, c->listeners[i].pool);
		ASSERT(s->listeners[i].pool != NULL);
	}
	s->policy_config = &c->policy;
	s->policy = c->route_policy;
	s->accepted = c->accepted_policy;
	s->users = c->user_set;
	s->route_pools = xcalloc(c->policy.n_routes, sizeof(struct pool *));
	for (size_t i = 0; i < c->policy.n_routes; i++)
		if (c->policy.routes[i].action == ROUTE_POOL)
			s->route_pools[i] = registry_view(r, c->policy.routes[i].pool);
	s->owner = conf_ref(c);
	s->owner_unref = unref_owner;
	return s;
}

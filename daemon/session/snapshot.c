/* SPDX-License-Identifier: Apache-2.0
 * The configuration in force: reference counting, and the names of its enumerations.
 */
#include "daemon/session/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/base/hash.h"
#include "daemon/session/worker.h"

const char *const listener_mode_names[LISTENER_MODE_COUNT] = { "smtp", "tcp" };
const char *const direction_names[DIRECTION_COUNT] = { "outbound", "inbound" };
const char *const mixed_recipients_names[MIXED_COUNT] = { "defer", "first", "reject" };
const char *const line_endings_names[LINE_ENDINGS_COUNT] = { "normalize", "reject" };
const char *const listener_tls_names[LISTENER_TLS_COUNT] = { "none", "starttls", "require", "implicit" };
const char *const listener_auth_names[LISTENER_AUTH_COUNT] = { "none", "offer", "require", "passthrough" };
const char *const add_received_names[ADD_RECEIVED_COUNT] = { "auto", "always", "never" };

const char *listener_refuses(const struct listener_config *cf, const struct addr *client)
{
	if (cf->deny.present && cidr_match_any(cf->deny.v, cf->deny.n, client))
		return "in deny";
	if (cf->allow.present && !cidr_match_any(cf->allow.v, cf->allow.n, client))
		return "not in allow";
	return NULL;
}

bool listener_accepts(const struct snapshot *s, const struct listener_config *cf, const struct envelope *e)
{
	bool has_domain = e->recipient.n > 0 && memchr(e->recipient.p, '@', e->recipient.n) != NULL;

	return !cf->accepted_domains.present || !has_domain || policy_route(s->accepted, e) >= 0;
}

const char *route_refusal(const struct route_config *rt)
{
	if (rt->text != NULL)
		return rt->text;
	return rt->action == ROUTE_REJECT ? "5.7.1 refused by policy" : "4.7.1 deferred by policy";
}

static uint64_t hash_of_client(const struct envelope *e)
{
	struct addr client = *e->client;

	addr_set_port(&client, 0);
	return hash_stable(&client, addr_len(&client));
}

uint64_t balance_hash(const struct pool_config *cf, const struct envelope *e)
{
	switch (cf->balance) {
	case BALANCE_SOURCE:
		return hash_of_client(e);
	case BALANCE_SENDER_DOMAIN:
		return hash_stable(e->sender_domain.p, e->sender_domain.n);
	case BALANCE_RECIPIENT_DOMAIN:
		return hash_stable(e->recipient_domain.p, e->recipient_domain.n);
	case BALANCE_USER:
		return e->user != NULL ? hash_stable(e->user, strlen(e->user)) : hash_of_client(e);
	default:
		return 0;
	}
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

static void free_snapshot(struct snapshot *s)
{
	for (size_t i = 0; i < s->n_listeners; i++) {
		if (s->listeners[i].pool != NULL)
			pool_unref(s->listeners[i].pool);
		free(s->listeners[i].reach);
		if (s->listeners[i].run != NULL)
			listener_runtime_unref(s->listeners[i].run);
	}
	for (size_t i = 0; s->route_pools != NULL && i < s->policy_config->n_routes; i++)
		if (s->route_pools[i] != NULL)
			pool_unref(s->route_pools[i]);
	free(s->listeners);
	free(s->route_pools);
	if (s->owner_unref != NULL)
		s->owner_unref(s->owner); /* last: policies and configurations lead into it */
	FREE_OBJ(s);
}

void snapshot_unref(struct snapshot *s)
{
	if (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
		free_snapshot(s);
}

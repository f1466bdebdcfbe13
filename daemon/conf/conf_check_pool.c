/* SPDX-License-Identifier: Apache-2.0
 * Checks of pools.
 */
#include "daemon/conf/conf_check.h"

#include <stdlib.h>

#define DOT_MIN_MS 600000 /* RFC 5321 4.5.3.2.6 */

static void check_settings(struct conf_checker *k, const struct pool_config *pool)
{
	const struct health_config *h = &pool->health;

	conf_check_at(k, "pools", pool->name, "capabilities", "force", NULL);
	if (pool->caps_off & pool->caps_force)
		conf_bad(k->p, NULL, NULL, NULL, "a capability cannot be both off and forced");
	conf_check_at(k, "pools", pool->name, "health", "rcpt_to", NULL);
	if (h->rcpt_to != NULL && h->mail_from == NULL)
		conf_bad(k->p, NULL, NULL, NULL, "\"rcpt_to\" needs \"mail_from\"");
	if (h->rcpt_to != NULL && h->rcpt_to[0] == '\0')
		conf_bad(k->p, NULL, NULL, NULL, "the null sender is no recipient");
	conf_check_at(k, "pools", pool->name, "health", "mail_from", NULL);
	if (h->mail_from != NULL && h->type != HEALTH_SMTP)
		conf_check_warn(k, "has no effect while the type of the checks is not \"smtp\"");
	conf_check_at(k, "pools", pool->name, "outlier", "busy_max", NULL);
	if (pool->outlier.busy_max_ms < pool->outlier.busy_ms)
		conf_bad(k->p, NULL, NULL, NULL, "\"busy_max\" is shorter than \"busy\"");
	conf_check_at(k, "pools", pool->name, "identity", "xclient", NULL);
	if (pool->identity.xclient & SMTP_XATTR_ADDR && !(pool->identity.xclient & SMTP_XATTR_NAME))
		conf_check_warn(k, "ADDR without NAME: Postfix joins each client's address with this balancer's own "
				   "name, and checks by name take every client for it; say NAME too");
	conf_check_at(k, "pools", pool->name, "timeouts", "dot", NULL);
	if (pool->timeouts.dot_ms < DOT_MIN_MS)
		conf_check_warn(
			k, "shorter than 10m: messages that a server has taken may be sent again (RFC 5321 4.5.3.2.6)");
}

/* The listener whose own address this is, on any node. */
static const struct conf_bind *own_bind(const struct conf_checker *k, const struct addr *a)
{
	for (size_t i = 0; i < k->p->n_binds; i++)
		if (addr_eq(&k->p->binds[i].addr, a))
			return &k->p->binds[i];
	return NULL;
}

static void check_server(struct conf_checker *k, const struct pool_config *pool, const struct server_config *s,
			 struct map *seen)
{
	char addr[ADDR_TEXT_MAX];

	if (s->source != SERVER_FROM_ADDRESS || s->addr.sa.sa_family == 0)
		return;
	conf_check_at(k, "pools", pool->name, "servers", s->name, "address", NULL);
	const struct conf_bind *own = own_bind(k, &s->addr);
	if (own != NULL)
		conf_check_warn(k, "is an address of our own, %s: connections to it are refused as a loop", own->path);
	const struct server_config *twin = map_put(seen, str_from(addr_format(&s->addr, addr)), (void *)(uintptr_t)s);
	if (twin != NULL)
		conf_check_warn(k, "is also the address of \"%s\"", twin->name);
}

static void check_servers(struct conf_checker *k, const struct pool_config *pool)
{
	struct map *seen = map_new();
	bool any_weight = false;

	for (size_t i = 0; i < pool->n_servers; i++) {
		check_server(k, pool, &pool->servers[i], seen);
		any_weight |= pool->servers[i].weight > 0;
	}
	map_free(seen, NULL);
	conf_check_at(k, "pools", pool->name, "servers", NULL);
	if (pool->n_servers == 0)
		conf_check_warn(k, "there is no server: mail for this pool is deferred");
	else if (!any_weight)
		conf_check_warn(k, "every server has weight 0: mail for this pool is deferred");
}

void conf_check_pools(struct conf_checker *k)
{
	for (size_t i = 0; i < k->c->n_pools; i++) {
		check_settings(k, &k->c->pools[i]);
		check_servers(k, &k->c->pools[i]);
	}
}

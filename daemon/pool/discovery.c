/* SPDX-License-Identifier: Apache-2.0
 * Names that stand for servers: looked up again when the TTL is over.
 *
 * A failed look-up is no news: the last set stays and the question is asked again. An answer that is known to be
 * incomplete adds addresses and takes none away. So trouble with DNS never takes a working server out. That holds for
 * one name: what another name stood for, before the configuration changed, serves only until the new one's first
 * answer, good or bad.
 */
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/pool/registry.h"

#define TTL_MIN_S 5
#define TTL_MAX_S 3600
#define RETRY_MS 5000
#define RETRY_MAX_MS 60000

static void look_up(struct origin *o);

/* ---- answers ---- */

static char *question(const struct origin *o)
{
	return xasprintf("%s %u", o->config->dns_name, (unsigned)o->config->port);
}

/* The configuration has changed since they were looked up. */
static bool hosts_are_of_another_name(const struct origin *o)
{
	char *now = question(o);
	bool differ = o->n_hosts > 0 && o->hosts_of != NULL && strcmp(o->hosts_of, now) != 0;

	free(now);
	return differ;
}

static bool has_host(const struct origin *o, const struct addr *a)
{
	for (size_t i = 0; i < o->n_hosts; i++)
		if (addr_eq(&o->hosts[i].addr, a))
			return true;
	return false;
}

static void add_host(struct origin *o, const struct resolver_host *h)
{
	if (o->n_hosts == ORIGIN_HOSTS_MAX || has_host(o, &h->addr))
		return;
	o->hosts = xrealloc(o->hosts, (o->n_hosts + 1) * sizeof(*o->hosts));
	o->hosts[o->n_hosts++] = *h;
}

/* The answer's hosts; behind them, of an incomplete answer, those known before. */
static void take_hosts(struct origin *o, const struct resolver_answer *answer)
{
	struct resolver_host *before = o->hosts;
	size_t n_before = o->n_hosts;
	bool is_of_this_name = !hosts_are_of_another_name(o);

	o->hosts = NULL;
	o->n_hosts = 0;
	o->max_weight = 0;
	for (size_t i = 0; i < answer->n_hosts; i++)
		add_host(o, &answer->hosts[i]);
	for (size_t i = 0; answer->partial && is_of_this_name && i < n_before; i++)
		add_host(o, &before[i]);
	for (size_t i = 0; i < o->n_hosts; i++)
		if (o->hosts[i].weight > o->max_weight)
			o->max_weight = o->hosts[i].weight;
	free(before);
	free(o->hosts_of);
	o->hosts_of = question(o);
}

static void on_success(struct origin *o, const struct resolver_answer *answer)
{
	unsigned ttl = answer->ttl < TTL_MIN_S ? TTL_MIN_S : answer->ttl > TTL_MAX_S ? TTL_MAX_S : answer->ttl;

	if (answer->n_hosts > ORIGIN_HOSTS_MAX)
		log_msg(LOG_LEVEL_WARNING, "resolve", "%s has %zu addresses, the first %d are used",
			o->config->dns_name, answer->n_hosts, ORIGIN_HOSTS_MAX);
	o->failures = 0;
	take_hosts(o, answer);
	origin_sync(o);
	timer_set_in(o->pool->registry->loop, &o->retry, (int64_t)ttl * 1000);
}

static void on_failure(struct origin *o, int status)
{
	int64_t wait = o->failures < 4 ? (int64_t)RETRY_MS << o->failures : RETRY_MAX_MS;

	o->failure = status;
	metrics_add(o->pool->registry->resolver_failures, 1);
	if (hosts_are_of_another_name(o))
		origin_drop_servers(o);
	/* The first of a row: later ones say nothing new. */
	if (o->failures++ == 0)
		log_msg(LOG_LEVEL_WARNING, "resolve", "%s: %s; %zu known addresses stay", o->config->dns_name,
			resolver_strerror(status), o->n_hosts);
	timer_set_in(o->pool->registry->loop, &o->retry, wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS);
}

static void on_answer(const struct resolver_answer *answer, void *arg)
{
	struct origin *o = arg;

	CHECK_OBJ(o, ORIGIN_MAGIC);
	o->query = NULL;
	o->answered = true;
	if (answer->status == 0 && answer->n_hosts > 0)
		on_success(o, answer);
	else
		on_failure(o, answer->status);
	registry_check_first_round(o->pool->registry);
}

/* ---- questions ---- */

static void on_retry(void *arg)
{
	struct origin *o = arg;

	CHECK_OBJ(o, ORIGIN_MAGIC);
	if (o->query == NULL)
		look_up(o);
}

static void look_up(struct origin *o)
{
	struct resolver *r = o->pool->registry->resolver;
	const struct server_config *sc = o->config;

	if (sc->source == SERVER_FROM_SRV)
		o->query = resolver_lookup_srv(r, sc->dns_name, on_answer, o);
	else
		o->query = resolver_lookup_host(r, sc->dns_name, sc->port, on_answer, o);
}

void discovery_start(struct origin *o)
{
	discovery_stop(o);
	timer_init(&o->retry, on_retry, o);
	o->failures = 0;
	look_up(o);
}

void discovery_stop(struct origin *o)
{
	if (o->query != NULL)
		resolver_cancel(o->query);
	o->query = NULL;
	if (o->retry.fn != NULL)
		timer_stop(&o->retry);
}

/* SPDX-License-Identifier: Apache-2.0
 * What the control thread does about the state of servers: administration, weights, slow start, and telling of
 * transitions.
 *
 * Facts change on any thread; the control thread hears of it by a message and compares what the word says with what it
 * last told. So a transition is told once, in order, with a reason, whoever made it; a state that came and went between
 * two messages is not told.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/pool/registry.h"

#define OVERRIDES_MAX 10000
#define WEIGHT_MAX 1000

/* ---- overrides ---- */

static struct str override_key(struct sbuf *b, const char *pool, const char *server)
{
	sbuf_printf(b, "%s/%s", pool, server);
	return (struct str) { b->p, b->n };
}

static struct override *find_override(struct registry *r, const char *pool, const char *server)
{
	struct sbuf b = { 0 };
	struct override *o = map_get(r->overrides, override_key(&b, pool, server));

	sbuf_fini(&b);
	return o;
}

static int put_override(struct registry *r, const char *pool, const char *server, struct override value)
{
	struct override *o = find_override(r, pool, server);
	struct sbuf b = { 0 };

	if (o == NULL) {
		if (map_count(r->overrides) >= OVERRIDES_MAX)
			return -ENOSPC;
		o = xcalloc(1, sizeof(*o));
		map_put(r->overrides, override_key(&b, pool, server), o);
	}
	*o = value;
	if (value.admin == SERVER_ADMIN_READY && value.weight < 0)
		free(map_remove(r->overrides, override_key((sbuf_reset(&b), &b), pool, server)));
	sbuf_fini(&b);
	return 0;
}

static struct override get_override(struct registry *r, const char *pool, const char *server)
{
	const struct override *o = find_override(r, pool, server);

	return o != NULL ? *o : (struct override) { .admin = SERVER_ADMIN_READY, .weight = -1 };
}

/* Settles all servers that carry the name; -ENOENT when nothing does. */
static int settle_named(struct registry *r, const char *pool, const char *server)
{
	struct reg_pool *rp = registry_find_pool(r, pool);
	struct server_private *sp;
	struct origin *o;
	struct list *tmp;
	int err = -ENOENT;

	if (rp == NULL)
		return -ENOENT;
	LIST_FOR_EACH(o, tmp, &rp->origins, link)
		if (strcmp(o->config->name, server) == 0)
			err = 0;
	LIST_FOR_EACH(sp, tmp, &rp->servers, link) {
		if (strcmp(sp->server->name, server) != 0 && strcmp(sp->server->config_name, server) != 0)
			continue;
		if (!server_private_is_forgotten(sp))
			err = 0;
		server_private_settle(sp);
	}
	return err;
}

int registry_set_admin(struct registry *r, const char *pool, const char *server, enum server_admin admin)
{
	CHECK_OBJ(r, REGISTRY_MAGIC);
	struct override o = get_override(r, pool, server);

	o.admin = admin;
	int err = put_override(r, pool, server, o);
	return err < 0 ? err : settle_named(r, pool, server);
}

int registry_set_weight(struct registry *r, const char *pool, const char *server, int weight)
{
	CHECK_OBJ(r, REGISTRY_MAGIC);
	struct override o = get_override(r, pool, server);
	struct reg_pool *rp = registry_find_pool(r, pool);

	o.weight = weight < 0 ? -1 : weight > WEIGHT_MAX ? WEIGHT_MAX : weight;
	int err = put_override(r, pool, server, o);
	if (err < 0)
		return err;
	/* A hash ring is made from weights, and belongs to a view. */
	if (rp != NULL && rp->config != NULL && balance_is_hash(rp->config->balance))
		reg_pool_changed(rp);
	return settle_named(r, pool, server);
}

static void end_override(struct reg_pool *rp, const char *server, struct override *o)
{
	const struct registry_hooks *h = &rp->registry->hooks;

	if (o == NULL || o->weight < 0)
		return;
	o->weight = -1;
	if (h->on_weight_override_ended != NULL)
		h->on_weight_override_ended(rp->shared->name, server, h->arg);
}

void registry_end_weight_override(struct reg_pool *rp, const struct server_config *sc)
{
	struct registry *r = rp->registry;
	struct sbuf prefix = { 0 };
	size_t pos = 0, skip = strlen(rp->shared->name) + 1;
	struct str key;
	void *value;

	end_override(rp, sc->name, find_override(r, rp->shared->name, sc->name));
	sbuf_printf(&prefix, "%s/%s@", rp->shared->name, sc->name);
	while (map_next(r->overrides, &pos, &key, &value)) {
		if (key.n < prefix.n || memcmp(key.p, prefix.p, prefix.n) != 0)
			continue;
		char *name = xstrndup(key.p + skip, key.n - skip);
		end_override(rp, name, value);
		free(name);
	}
	sbuf_fini(&prefix);
}

/* ---- weight and slow start ---- */

static bool is_starting(const struct server_private *sp)
{
	return (atomic_load(&sp->server->word) & WORD_STARTING) != 0;
}

/* From a tenth to the whole, linear; never 0, or it would get nothing to start with. */
static unsigned slow_weight(unsigned full, int64_t elapsed_ms, int64_t slow_start_ms)
{
	unsigned w = (unsigned)(full / 10.0 + full * 0.9 * (double)elapsed_ms / (double)slow_start_ms);

	return w == 0 && full > 0 ? 1 : w;
}

void server_private_apply_weight(struct server_private *sp)
{
	const struct pool_config *pc = sp->pool->config;
	unsigned weight = sp->weight_override >= 0 ? (unsigned)sp->weight_override : sp->weight;

	if (is_starting(sp)) {
		int64_t elapsed = loop_now_ms(sp->pool->registry->loop) - sp->started_ms;
		if (pc != NULL && elapsed < pc->slow_start_ms)
			weight = slow_weight(weight, elapsed, pc->slow_start_ms);
		else
			server_word_update(sp->server, WORD_STARTING, 0);
	}
	server_set_weight(sp->server, weight);
}

void server_private_slow_start(struct server_private *sp)
{
	if (sp->pool->config != NULL && sp->pool->config->slow_start_ms > 0) {
		sp->started_ms = loop_now_ms(sp->pool->registry->loop);
		server_word_update(sp->server, 0, WORD_STARTING);
	}
	server_private_apply_weight(sp);
}

void server_private_tick(struct server_private *sp)
{
	server_private_apply_weight(sp);
}

/* ---- administration ---- */

static void set_admin(struct server_private *sp, enum server_admin admin)
{
	enum server_admin before = sp->admin;
	bool wants_checks = sp->origin != NULL && admin != SERVER_ADMIN_MAINT;

	sp->admin = admin;
	server_word_update(sp->server, WORD_ADMIN_MASK, admin);
	if (!wants_checks) {
		sp->come_back = true;
		health_stop(sp);
	} else if (!sp->checking) {
		health_start(sp);
	} else if (before == SERVER_ADMIN_DRAIN && admin == SERVER_ADMIN_READY) {
		if ((atomic_load(&sp->server->word) & WORD_HEALTH_MASK) == WORD_HEALTH_UP)
			server_private_slow_start(sp);
	}
}

void server_private_settle(struct server_private *sp)
{
	struct registry *r = sp->pool->registry;
	const struct server *s = sp->server;
	struct override own = get_override(r, s->pool, s->name), all = get_override(r, s->pool, s->config_name);
	enum server_admin admin = own.admin > all.admin ? own.admin : all.admin;

	if (sp->origin == NULL && admin == SERVER_ADMIN_READY)
		admin = SERVER_ADMIN_DRAIN;
	sp->weight_override = own.weight >= 0 ? own.weight : all.weight;
	server_private_apply_weight(sp);
	set_admin(sp, admin);
}

/* ---- transitions ---- */

static const char *reason(const struct server_private *sp, enum server_state st)
{
	switch (st) {
	case SERVER_UNKNOWN:
		return sp->last_check[0] != '\0' && sp->checking ? "no good check yet" : "not checked yet";
	case SERVER_DOWN:
	case SERVER_UP:
		if (sp->borrowed)
			return "other nodes can use it; not checked here yet";
		return sp->last_check[0] != '\0' ? sp->last_check : "no checks";
	case SERVER_STARTING:
		return "slow start";
	case SERVER_BUSY:
		return "it answered 421 or 4.3.x";
	case SERVER_EJECTED:
		return "failures in a row in traffic";
	case SERVER_DRAIN:
		if (sp->origin != NULL)
			return "set by the administrator";
		return sp->from_dns ? "its address is gone from DNS" : "gone from the configuration";
	case SERVER_MAINT:
		return "set by the administrator";
	case SERVER_STATE_COUNT:
		break;
	}
	return "";
}

void server_private_wake(struct server_private *sp)
{
	struct server *s = sp->server;
	struct pool_shared *sh = s->shared;
	uint64_t max = atomic_load(&s->max_connections), used = atomic_load(&s->n_conns);

	for (uint64_t room = max > used ? max - used : 0; room > 0; room--) {
		server_freed(s);
		if (atomic_load(&sh->n_waiting) == 0)
			break;
	}
}

/* When the last usable server of a pool goes, the ejected ones are better than nothing. */
static void amnesty(struct reg_pool *rp)
{
	struct server_private *sp;
	struct list *tmp;

	LIST_FOR_EACH(sp, tmp, &rp->servers, link)
		if (server_is_usable(sp->server))
			return;
	LIST_FOR_EACH(sp, tmp, &rp->servers, link)
		server_word_update(sp->server, WORD_EJECTED, 0);
}

static void tell(struct server_private *sp, enum server_state st)
{
	const struct registry_hooks *h = &sp->pool->registry->hooks;
	enum server_state from = sp->told;

	sp->told = st;
	sp->last_change_wall = clock_wall();
	snprintf(sp->why, sizeof(sp->why), "%s", reason(sp, st));
	metrics_add(sp->metrics.transitions[st], 1);
	if (server_state_usable(st) && !server_state_usable(from))
		server_private_wake(sp);
	else if (!server_state_usable(st))
		amnesty(sp->pool);
	if (h->on_transition != NULL)
		h->on_transition(sp->server, from, st, sp->why, h->arg);
}

static void on_hold_over(void *arg)
{
	registry_server_changed(arg);
}

static const char xclient_denied[] =
	"it offers XCLIENT and refuses it (500 to 503, or 550 5.7.0): does it let this node speak for others?";

void registry_server_changed(struct server_private *sp)
{
	CHECK_OBJ(sp, SERVER_PRIVATE_MAGIC);
	struct loop *l = sp->pool->registry->loop;

	health_hold_ends(sp);
	int64_t next = outlier_expire(sp->server, loop_now_ms(l));
	enum server_state st = server_state(sp->server);

	if (sp->hold.fn == NULL)
		timer_init(&sp->hold, on_hold_over, sp);
	if (next > 0)
		timer_set(l, &sp->hold, next);
	else
		timer_stop(&sp->hold);
	if (st != sp->told)
		tell(sp, st);
	finding_set(sp, FINDING_XCLIENT,
		    sp->checking && atomic_load(&sp->server->xclient_denied) ? xclient_denied : NULL);
}

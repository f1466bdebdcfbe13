/* SPDX-License-Identifier: Apache-2.0
 * When servers are checked, and what a verdict changes.
 *
 * The first check decides alone (nothing is known that it could contradict); after it `rise` good ones in a row bring a
 * server up and `fall` bad ones take it down. Between two states the checks come at fast_interval. A server without
 * checks is up at once and is only asked for its capabilities. A busy answer is a sign of life, and a hold as if
 * traffic had met it; of a server that never gave another nothing is known once its hold is over. Until the first check
 * has ended, the word of other nodes may stand in for it.
 */
#include <stdio.h>

#include "daemon/base/clock.h"
#include "daemon/pool/registry.h"

/* ---- when ---- */

static unsigned word_health(const struct server *s)
{
	return atomic_load(&s->word) & WORD_HEALTH_MASK;
}

/* By own checks alone. */
static unsigned known_health(const struct server_private *sp)
{
	return sp->borrowed ? WORD_HEALTH_UNKNOWN : word_health(sp->server);
}

static int64_t interval(const struct server_private *sp)
{
	const struct health_config *h = &sp->pool->config->health;

	switch (known_health(sp)) {
	case WORD_HEALTH_UP:
		return sp->fails > 0 && h->type != HEALTH_NONE ? h->fast_interval_ms : h->interval_ms;
	case WORD_HEALTH_DOWN:
		return sp->passes > 0 ? h->fast_interval_ms : h->down_interval_ms;
	default:
		return h->fast_interval_ms;
	}
}

/* Plus or minus a tenth: checks of many servers and nodes must not fall into step. */
static int64_t with_jitter(int64_t ms)
{
	int64_t tenth = ms / 10;

	return tenth > 0 ? ms - tenth + (int64_t)(random_u64() % (uint64_t)(2 * tenth + 1)) : ms;
}

static void schedule(struct server_private *sp)
{
	timer_set_in(sp->pool->registry->loop, &sp->check, with_jitter(interval(sp)));
}

/* ---- what it changes ---- */

static void note_check(struct server_private *sp, const char *text, int64_t us)
{
	snprintf(sp->last_check, sizeof(sp->last_check), "%s", text);
	sp->last_check_wall = clock_wall();
	sp->last_check_us = us;
	metrics_set(sp->metrics.check_seconds, us);
}

static void come_up(struct server_private *sp)
{
	bool slow = sp->come_back || word_health(sp->server) == WORD_HEALTH_DOWN;

	sp->come_back = false;
	sp->fails = 0;
	server_set_health(sp->server, WORD_HEALTH_UP);
	if (slow)
		server_private_slow_start(sp);
}

static void on_alive(struct server_private *sp, bool busy)
{
	const struct health_config *h = &sp->pool->config->health;
	unsigned before = known_health(sp);

	sp->borrowed = false;
	sp->fails = 0;
	sp->passes++;
	sp->was_well |= !busy;
	/* Without holds there is no state between usable and not. */
	if (!sp->was_well && sp->pool->config->outlier.busy_ms <= 0) {
		if (before == WORD_HEALTH_UNKNOWN)
			server_set_health(sp->server, WORD_HEALTH_UNKNOWN);
		return;
	}
	if (before == WORD_HEALTH_UNKNOWN || (before == WORD_HEALTH_DOWN && sp->passes >= h->rise))
		come_up(sp);
}

static void on_dead(struct server_private *sp, bool at_once)
{
	const struct health_config *h = &sp->pool->config->health;

	sp->passes = 0;
	sp->fails++;
	if (at_once || known_health(sp) == WORD_HEALTH_UNKNOWN || sp->fails >= h->fall)
		server_set_health(sp->server, WORD_HEALTH_DOWN);
	sp->borrowed = false;
}

void health_verdict(struct server_private *sp, const struct probe_result *result)
{
	const struct pool_config *pc = sp->pool->config;
	struct registry *r = sp->pool->registry;

	note_check(sp, result->text, result->us);
	/* Without checks it only tells what happened. */
	if (pc->health.type != HEALTH_NONE && result->outcome != PROBE_NONE) {
		if (result->outcome == PROBE_FAIL)
			on_dead(sp, false);
		else
			on_alive(sp, result->outcome == PROBE_BUSY);
		if (result->outcome == PROBE_BUSY)
			outlier_busy(sp->server, &pc->outlier, loop_now_ms(r->loop));
	}
	schedule(sp);
	registry_check_first_round(r);
}

void health_hold_ends(struct server_private *sp)
{
	struct server *s = sp->server;
	bool over = atomic_load(&s->word) & WORD_BUSY &&
		    atomic_load(&s->busy_until_ms) <= loop_now_ms(sp->pool->registry->loop);

	/* Not by the end of the hold itself: for a moment it would be up. */
	if (over && sp->checking && !sp->was_well && word_health(s) == WORD_HEALTH_UP)
		server_set_health(s, WORD_HEALTH_UNKNOWN);
}

/* ---- the check itself ---- */

static bool would_loop(const struct server_private *sp)
{
	const struct registry_hooks *h = &sp->pool->registry->hooks;

	return h->is_own_address != NULL && h->is_own_address(&sp->server->addr, h->arg);
}

static void on_check_due(void *arg)
{
	struct server_private *sp = arg;

	CHECK_OBJ(sp, SERVER_PRIVATE_MAGIC);
	if (sp->probe != NULL)
		return;
	if (would_loop(sp)) {
		note_check(sp, "would loop to our own listener", 0);
		on_dead(sp, true);
		schedule(sp);
		registry_check_first_round(sp->pool->registry);
		return;
	}
	if (sp->pool->config->health.type == HEALTH_NONE) {
		sp->was_well = true; /* taken for granted */
		if (word_health(sp->server) != WORD_HEALTH_UP)
			come_up(sp);
	}
	sp->probe = probe_start(sp);
}

/* One that comes back from maintenance is not among them: others may not have noticed yet that it was away. */
bool health_knows_nothing(const struct server_private *sp)
{
	return sp->checking && !sp->come_back && sp->last_check_wall <= 0 &&
	       word_health(sp->server) == WORD_HEALTH_UNKNOWN;
}

void health_borrow(struct server_private *sp)
{
	sp->borrowed = true;
	server_set_health(sp->server, WORD_HEALTH_UP);
	registry_check_first_round(sp->pool->registry);
}

void health_start(struct server_private *sp)
{
	if (sp->checking)
		return;
	sp->checking = true;
	timer_init(&sp->check, on_check_due, sp);
	timer_set_in(sp->pool->registry->loop, &sp->check, 0);
}

void health_stop(struct server_private *sp)
{
	if (!sp->checking)
		return;
	sp->checking = false;
	timer_stop(&sp->check);
	if (sp->probe != NULL)
		probe_abort(sp->probe);
	sp->probe = NULL;
	sp->passes = sp->fails = 0;
	sp->was_well = sp->borrowed = false;
	findings_end(sp);
	server_set_health(sp->server, WORD_HEALTH_UNKNOWN);
}

void health_reconfigure(struct server_private *sp, const struct pool_config *before)
{
	struct loop *l = sp->pool->registry->loop;
	int64_t by = loop_now_ms(l) + with_jitter(interval(sp));

	if (!sp->checking)
		return;
	/* What kept it down may be what was just written anew. */
	if (known_health(sp) != WORD_HEALTH_UP)
		by = loop_now_ms(l);
	findings_reconfigure(sp, before);
	if (sp->probe != NULL) {
		/* It reads the configuration that is about to go. */
		probe_abort(sp->probe);
		sp->probe = NULL;
		by = loop_now_ms(l);
	}
	if (sp->check.deadline == 0 || sp->check.deadline > by)
		timer_set(l, &sp->check, by);
}

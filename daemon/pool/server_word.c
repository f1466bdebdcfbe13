/* SPDX-License-Identifier: Apache-2.0
 * The state of a server in one atomic word.
 *
 * The word holds facts of independent origin (what the administrator wants, what checks say, what traffic saw) beside
 * the effective weight, and the state is derived from them when asked for. A state kept as such would need to know what
 * to fall back to when a hold ends; facts do not. The upper half counts changes (the epoch), so that no
 * compare-and-swap mistakes an old word for the present one.
 */
#include "daemon/pool/pool_private.h"

const char *const server_state_names[SERVER_STATE_COUNT] = {
	[SERVER_UNKNOWN] = "unknown", [SERVER_UP] = "up",     [SERVER_STARTING] = "starting", [SERVER_BUSY] = "busy",
	[SERVER_EJECTED] = "ejected", [SERVER_DOWN] = "down", [SERVER_DRAIN] = "drain",       [SERVER_MAINT] = "maint",
};

const char *const server_admin_names[SERVER_ADMIN_COUNT] = {
	[SERVER_ADMIN_READY] = "ready",
	[SERVER_ADMIN_DRAIN] = "drain",
	[SERVER_ADMIN_MAINT] = "maint",
};

/* The strongest fact first. */
enum server_state server_word_state(uint64_t word)
{
	if ((word & WORD_ADMIN_MASK) == SERVER_ADMIN_MAINT)
		return SERVER_MAINT;
	if ((word & WORD_ADMIN_MASK) == SERVER_ADMIN_DRAIN)
		return SERVER_DRAIN;
	if ((word & WORD_HEALTH_MASK) == WORD_HEALTH_DOWN)
		return SERVER_DOWN;
	if ((word & WORD_HEALTH_MASK) == WORD_HEALTH_UNKNOWN)
		return SERVER_UNKNOWN;
	if (word & WORD_EJECTED)
		return SERVER_EJECTED;
	if (word & WORD_BUSY)
		return SERVER_BUSY;
	return word & WORD_STARTING ? SERVER_STARTING : SERVER_UP;
}

enum server_state server_state(const struct server *s)
{
	/* Relaxed: the word is all that is looked at, nothing is published through it. */
	return server_word_state(atomic_load_explicit(&s->word, memory_order_relaxed));
}

unsigned server_weight(const struct server *s)
{
	uint64_t word = atomic_load_explicit(&s->word, memory_order_relaxed);

	return (unsigned)((word & WORD_WEIGHT_MASK) >> WORD_WEIGHT_SHIFT);
}

bool server_state_usable(enum server_state st)
{
	return st == SERVER_UP || st == SERVER_STARTING || st == SERVER_BUSY;
}

bool server_is_usable(const struct server *s)
{
	return server_state_usable(server_state(s)) && server_weight(s) > 0;
}

void server_word_update(struct server *s, uint64_t clear, uint64_t set)
{
	uint64_t old = atomic_load_explicit(&s->word, memory_order_relaxed), next;

	do {
		next = (old & ~clear) | set;
		if (next == old)
			return;
		next += 1ull << WORD_EPOCH_SHIFT;
		/* Sequentially consistent: what pool_pick() counts in n_txns and what drains here must see one another.
		 */
	} while (!atomic_compare_exchange_weak(&s->word, &old, next));
	if ((old ^ next) & WORD_FACTS)
		server_notify(s);
}

void server_set_weight(struct server *s, unsigned effective)
{
	server_word_update(s, WORD_WEIGHT_MASK, (uint64_t)effective << WORD_WEIGHT_SHIFT);
}

void server_set_health(struct server *s, unsigned word_health)
{
	uint64_t clear = WORD_HEALTH_MASK;

	/* A server that checks found dead is no outlier any more: when it comes back it starts afresh. */
	if (word_health != WORD_HEALTH_UP)
		clear |= WORD_EJECTED | WORD_BUSY | WORD_STARTING;
	server_word_update(s, clear, word_health);
}

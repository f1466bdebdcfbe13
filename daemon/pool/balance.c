/* SPDX-License-Identifier: Apache-2.0
 * The balancing algorithms over a list of candidates (the consistent hash is in balance_hash.c).
 *
 * All compare node-wide counts, read once per pick; two workers that pick at the same moment may choose alike, which
 * evens out with the next pick and is cheaper than a lock.
 */
#include "daemon/base/hash.h"
#include "daemon/pool/pool_private.h"

static uint32_t next_turn(struct pool *p)
{
	/* Relaxed: only the number matters. */
	return atomic_fetch_add_explicit(&p->shared->turn, 1, memory_order_relaxed);
}

/* ---- weighted rotation ---- */

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b != 0) {
		uint64_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/* A step near total / golden ratio and coprime to total: it visits every slot once per round and never clusters. */
static uint64_t stride_for(uint64_t total)
{
	uint64_t step = total * 618 / 1000;

	if (step == 0)
		return 1;
	while (gcd(step, total) != 1)
		step++;
	return step;
}

size_t balance_rotate(const struct candidate *c, size_t n, uint32_t turn)
{
	uint64_t total = 0, unit = 0;

	for (size_t i = 0; i < n; i++) {
		total += c[i].weight;
		unit = gcd(unit, c[i].weight);
	}
	total /= unit;
	uint64_t slot = turn % total * stride_for(total) % total;
	for (size_t i = 0; i < n; i++) {
		uint64_t width = c[i].weight / unit;
		if (slot < width)
			return i;
		slot -= width;
	}
	return n - 1;
}

/* ---- by cost: the cheapest, ties in weighted rotation ---- */

/* cost / weight as a fraction, so that nothing is rounded. */
struct cost {
	uint64_t over;
	unsigned weight;
};

static int cost_cmp(struct cost a, struct cost b)
{
	__extension__ typedef unsigned __int128 wide;
	wide left = (wide)a.over * b.weight, right = (wide)b.over * a.weight;

	return left < right ? -1 : left > right;
}

static size_t cheapest(struct pool *p, const struct candidate *c, const struct cost *costs, size_t n)
{
	struct candidate ties[POOL_SERVERS_MAX];
	size_t at[POOL_SERVERS_MAX], n_ties = 0;

	for (size_t i = 0; i < n; i++) {
		int cmp = n_ties == 0 ? -1 : cost_cmp(costs[i], costs[at[0]]);
		if (cmp > 0)
			continue;
		if (cmp < 0)
			n_ties = 0;
		ties[n_ties] = c[i];
		at[n_ties++] = i;
	}
	return n_ties == 1 ? at[0] : at[balance_rotate(ties, n_ties, next_turn(p))];
}

static size_t leastconn(struct pool *p, const struct candidate *c, size_t n)
{
	struct cost costs[POOL_SERVERS_MAX];

	for (size_t i = 0; i < n; i++)
		costs[i] = (struct cost) { c[i].n_txns, c[i].weight };
	return cheapest(p, c, costs, n);
}

/* A server not measured yet is taken for as fast as the fastest: it gets its share, not everything. */
static size_t latency(struct pool *p, const struct pick_query *q, const struct candidate *c, size_t n)
{
	struct cost costs[POOL_SERVERS_MAX];
	uint64_t us[POOL_SERVERS_MAX], fastest = 0;

	for (size_t i = 0; i < n; i++) {
		us[i] = server_latency_now(c[i].server, q->now_ms);
		if (us[i] != 0 && (fastest == 0 || us[i] < fastest))
			fastest = us[i];
	}
	for (size_t i = 0; i < n; i++) {
		uint64_t each = us[i] != 0 ? us[i] : fastest > 0 ? fastest : 1;
		costs[i] = (struct cost) { each * (c[i].n_txns + 1ull), c[i].weight };
	}
	return cheapest(p, c, costs, n);
}

/* ---- random: the better of two ---- */

/* By weight, leaving out one index. */
static size_t draw(const struct candidate *c, size_t n, size_t without)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += i == without ? 0 : c[i].weight;
	uint64_t at = random_u64() % total;
	for (size_t i = 0; i < n; i++) {
		uint64_t width = i == without ? 0 : c[i].weight;
		if (at < width)
			return i;
		at -= width;
	}
	return n - 1;
}

static size_t best_of_two(const struct candidate *c, size_t n)
{
	size_t a = draw(c, n, n), b = draw(c, n, a);
	struct cost cost_a = { c[a].n_txns, c[a].weight }, cost_b = { c[b].n_txns, c[b].weight };

	return cost_cmp(cost_b, cost_a) < 0 ? b : a;
}

/* ---- which one ---- */

bool balance_is_hash(enum balance b)
{
	return b == BALANCE_SOURCE || b == BALANCE_SENDER_DOMAIN || b == BALANCE_RECIPIENT_DOMAIN || b == BALANCE_USER;
}

size_t balance_pick(struct pool *p, const struct pick_query *q, const struct candidate *c, size_t n)
{
	switch (p->config->balance) {
	case BALANCE_ROUNDROBIN:
		return balance_rotate(c, n, next_turn(p));
	case BALANCE_LEASTCONN:
		return leastconn(p, c, n);
	case BALANCE_FIRST:
		return 0;
	case BALANCE_RANDOM:
		return best_of_two(c, n);
	case BALANCE_LATENCY:
		return latency(p, q, c, n);
	case BALANCE_SOURCE:
	case BALANCE_SENDER_DOMAIN:
	case BALANCE_RECIPIENT_DOMAIN:
	case BALANCE_USER:
		return ring_pick(p, q, c, n);
	case BALANCE_COUNT:
		break;
	}
	base_panic(__FILE__, __LINE__, "unknown balance");
}

/* SPDX-License-Identifier: Apache-2.0
 * Consistent hash with bounded load.
 *
 * Each server owns points on a ring; a key belongs to the first point behind it. A server's points follow from its own
 * name and weight alone, so that all nodes agree and a server that comes or goes moves only the keys that it gains or
 * loses. Servers that are not candidates stay on the ring and are passed over: a flap moves their keys away and back,
 * and builds nothing.
 *
 * Bounded load: a server with more than 1.25 times its share of the open transactions is passed over too, or one large
 * sender would drown one server. Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads"
 * (2018).
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/hash.h"
#include "daemon/pool/pool_private.h"

#define POINTS_PER_UNIT 160
#define LOAD_FACTOR_PCT 125
#define NO_CANDIDATE UINT16_MAX

struct point {
	uint64_t at;
	unsigned index; /* in the view */
};

struct ring {
	size_t n;
	struct point points[];
};

/* The weight that 160 points stand for. A power of two, so that it stays what it is while weights come and go around
 * it: a unit that followed the mean would move keys between servers that did not change. */
static unsigned weight_unit(const struct pool *p)
{
	unsigned max = 1, unit = 1;

	for (size_t i = 0; i < p->n_servers; i++)
		if (p->weights[i] > max)
			max = p->weights[i];
	while (unit * 2 <= max)
		unit *= 2;
	return unit;
}

static size_t points_of(const struct pool *p, size_t i, unsigned unit)
{
	return ((size_t)POINTS_PER_UNIT * p->weights[i] + unit - 1) / unit;
}

static int point_cmp(const void *a, const void *b)
{
	const struct point *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

struct ring *ring_new(const struct pool *p)
{
	unsigned unit = weight_unit(p);
	size_t total = 0;

	for (size_t i = 0; i < p->n_servers; i++)
		total += points_of(p, i, unit);
	struct ring *r = xcalloc(1, sizeof(*r) + total * sizeof(r->points[0]));
	for (unsigned i = 0; i < p->n_servers; i++) {
		uint64_t name = hash_stable(p->servers[i]->name, strlen(p->servers[i]->name));
		for (size_t k = 0; k < points_of(p, i, unit); k++) {
			uint64_t seed[2] = { name, k };
			r->points[r->n++] = (struct point) { hash_stable(seed, sizeof(seed)), i };
		}
	}
	qsort(r->points, r->n, sizeof(r->points[0]), point_cmp);
	return r;
}

void ring_free(struct ring *r)
{
	free(r);
}

/* The first point at or behind the key; the ring closes at its end. */
static size_t locate(const struct ring *r, uint64_t key)
{
	size_t low = 0, high = r->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (r->points[mid].at < key)
			low = mid + 1;
		else
			high = mid;
	}
	return low == r->n ? 0 : low;
}

/* Would one more keep it within its share? The share is rounded up: somebody always has room. */
static bool has_room(const struct candidate *c, uint64_t open, uint64_t weights)
{
	uint64_t share = (open * LOAD_FACTOR_PCT * c->weight + weights * 100 - 1) / (weights * 100);

	return c->n_txns < share;
}

size_t ring_pick(const struct pool *p, const struct pick_query *q, const struct candidate *c, size_t n)
{
	const struct ring *r = p->ring;
	uint16_t by_index[POOL_SERVERS_MAX];
	uint64_t open = 1, weights = 0;

	memset(by_index, 0xff, sizeof(by_index));
	for (size_t i = 0; i < n; i++) {
		by_index[c[i].index] = (uint16_t)i;
		open += c[i].n_txns;
		weights += c[i].weight;
	}
	for (size_t step = 0, at = r->n > 0 ? locate(r, q->hash) : 0; step < r->n; step++, at = (at + 1) % r->n) {
		uint16_t i = by_index[r->points[at].index];
		if (i != NO_CANDIDATE && has_room(&c[i], open, weights))
			return i;
	}
	/* Only a weight raised from 0 since the view was made gets here: such a server has no points yet. */
	return 0;
}

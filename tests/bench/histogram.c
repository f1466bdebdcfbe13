/* SPDX-License-Identifier: Apache-2.0
 * A histogram of microseconds: 64 slots to each power of two.
 *
 * Sorting all samples would be exact, but the generator must not touch ever more memory while it measures.
 */
#include "tests/bench/histogram.h"

#include <math.h>

#define SUB_BITS 6
#define SUB (1u << SUB_BITS)

/* Values below 64 have a slot each; above, the top six bits behind the leading one choose it. */
static unsigned slot_of(uint64_t v)
{
	if (v < SUB)
		return (unsigned)v;
	unsigned shift = 63u - (unsigned)__builtin_clzll(v) - SUB_BITS;
	unsigned slot = (shift + 1) * SUB + (unsigned)((v >> shift) & (SUB - 1));

	return slot < HISTOGRAM_SLOTS ? slot : HISTOGRAM_SLOTS - 1;
}

static int64_t upper_edge(unsigned slot)
{
	if (slot < SUB)
		return slot;
	unsigned shift = slot / SUB - 1;

	return (int64_t)((((uint64_t)(slot % SUB) + SUB + 1) << shift) - 1);
}

void histogram_add(struct histogram *h, int64_t us)
{
	if (us < 0)
		us = 0;
	h->slots[slot_of((uint64_t)us)]++;
	h->count++;
	if (us > h->max)
		h->max = us;
}

int64_t histogram_quantile(const struct histogram *h, double fraction)
{
	uint64_t want = (uint64_t)ceil((double)h->count * fraction), seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_SLOTS && h->count > 0; i++) {
		seen += h->slots[i];
		if (seen >= want && seen > 0)
			return upper_edge(i) < h->max ? upper_edge(i) : h->max;
	}
	return h->max;
}

void histogram_print(const struct histogram *h, FILE *out)
{
	fprintf(out, "{\"count\": %lu, \"p50\": %ld, \"p90\": %ld, \"p99\": %ld, \"p999\": %ld, \"max\": %ld}",
		(unsigned long)h->count, (long)histogram_quantile(h, 0.5), (long)histogram_quantile(h, 0.9),
		(long)histogram_quantile(h, 0.99), (long)histogram_quantile(h, 0.999), (long)h->max);
}

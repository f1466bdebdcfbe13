/* SPDX-License-Identifier: Apache-2.0
 * What a node thinks of each server.
 *
 * The hard thing is room: thousands of servers do not fit into one report, so names travel as hashes, and of too many
 * servers those in trouble go first, since these are what anybody would ask about.
 */
#include <stdlib.h>

#include "cluster/report/report_private.h"
#include "daemon/base/hash.h"

uint64_t report_server_key(const char *pool, const char *server)
{
	struct sbuf b = { 0 };

	sbuf_puts(&b, pool);
	sbuf_putc(&b, '\0');
	sbuf_puts(&b, server);
	uint64_t key = hash_stable(b.p, b.n) & VERDICT_KEY_MASK;
	sbuf_fini(&b);
	return key;
}

void report_add_verdict(struct node_report *r, uint64_t key, enum report_verdict_state state, unsigned weight)
{
	if (r->n_verdicts == REPORT_VERDICTS_GIVEN_MAX) {
		r->partial = true;
		return;
	}
	if (r->n_verdicts == r->cap_verdicts) {
		r->cap_verdicts = r->cap_verdicts == 0 ? 64 : 2 * r->cap_verdicts;
		r->verdicts = xrealloc(r->verdicts, r->cap_verdicts * sizeof(*r->verdicts));
	}
	r->verdicts[r->n_verdicts++] = (struct report_verdict) {
		.key = key & VERDICT_KEY_MASK,
		.state = (uint16_t)state,
		.weight = (uint16_t)(weight < REPORT_WEIGHT_MAX ? weight : REPORT_WEIGHT_MAX),
	};
}

/* ---- order ---- */

static unsigned badness(unsigned state)
{
	static const uint8_t of[REPORT_VERDICT_COUNT] = {
		[REPORT_DOWN] = 7,    [REPORT_EJECTED] = 6, [REPORT_BUSY] = 5,    [REPORT_UNKNOWN] = 4,
		[REPORT_WARMING] = 3, [REPORT_MAINT] = 2,   [REPORT_DRAINED] = 1, [REPORT_UP] = 0,
	};

	return state < REPORT_VERDICT_COUNT ? of[state] : of[REPORT_UNKNOWN];
}

static int by_key(const void *a, const void *b)
{
	const struct report_verdict *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (int)badness(y->state) - (int)badness(x->state);
}

static int by_badness(const void *a, const void *b)
{
	const struct report_verdict *x = a, *y = b;
	int worse = (int)badness(y->state) - (int)badness(x->state);

	return worse != 0 ? worse : by_key(a, b);
}

/* Sorts by key; of two servers with one hash the worse one stays. */
static size_t sort_unique(struct report_verdict *list, size_t n)
{
	size_t kept = 0;

	if (n > 0)
		qsort(list, n, sizeof(*list), by_key);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || list[kept - 1].key != list[i].key)
			list[kept++] = list[i];
	return kept;
}

size_t verdicts_choose(struct report_verdict *list, size_t n, size_t max, bool *ret_all)
{
	n = sort_unique(list, n);
	*ret_all = n <= max;
	if (n <= max)
		return n;
	qsort(list, n, sizeof(*list), by_badness);
	return sort_unique(list, max);
}

const struct report_verdict *report_find_verdict(const struct node_report *r, uint64_t key)
{
	const struct report_verdict want = { .key = key & VERDICT_KEY_MASK };
	size_t low = 0, high = r->n_verdicts;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (r->verdicts[mid].key < want.key)
			low = mid + 1;
		else
			high = mid;
	}
	return low < r->n_verdicts && r->verdicts[low].key == want.key ? &r->verdicts[low] : NULL;
}

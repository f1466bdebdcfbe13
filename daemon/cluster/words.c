/* SPDX-License-Identifier: Apache-2.0
 * What other nodes say by calls of the table of nodes, and when that is enough.
 *
 * The hard thing: a node that comes back cannot tell one that was removed meanwhile from one that goes on. If all must
 * agree, one dead node keeps it out for ever; if one is enough, the removed one can make it forget everything. So what
 * cannot be taken back needs a majority, and the way to the others is believed of one when the others are silent.
 */
#include "daemon/cluster/words.h"

#include <openssl/evp.h>

#include "cluster/core/core.h"

bool cluster_newer(struct cluster_stamp a, struct cluster_stamp b)
{
	return a.generation != b.generation ? a.generation > b.generation : a.position > b.position;
}

/* ---- what was said ---- */

static int64_t last_ms(const struct word *x)
{
	return x->id == 0 ? INT64_MIN : x->at_ms > x->removed_ms ? x->at_ms : x->removed_ms;
}

static struct word *place(struct words *w, uint32_t id)
{
	struct word *oldest = &w->list[0];

	for (size_t i = 0; i < MEMBERS_MAX; i++) {
		if (w->list[i].id == id)
			return &w->list[i];
		if (last_ms(&w->list[i]) < last_ms(oldest))
			oldest = &w->list[i];
	}
	*oldest = (struct word) { .id = id, .at_ms = INT64_MIN / 2, .removed_ms = INT64_MIN / 2 };
	return oldest;
}

static bool is_same(const struct word *a, const struct word *b)
{
	return a->at.generation == b->at.generation && a->at.position == b->at.position &&
	       memcmp(a->hash, b->hash, sizeof(a->hash)) == 0;
}

void words_table(struct words *w, uint32_t id, struct cluster_stamp at, struct str document, bool quorate, int64_t now)
{
	struct word *x = place(w, id), before = *x;

	x->at = at;
	x->quorate = quorate;
	ASSERT(EVP_Digest(document.p, document.n, x->hash, NULL, EVP_sha256(), NULL) == 1);
	if (!is_same(x, &before) || now - before.at_ms >= WORDS_FRESH_MS)
		x->since_ms = now;
	x->at_ms = now;
}

void words_removed(struct words *w, uint32_t id, bool removed, int64_t now)
{
	struct word *x = place(w, id);

	x->removed = removed;
	x->removed_ms = now;
}

/* ---- what it is worth ---- */

static bool is_voter(const struct members *own, uint32_t self, uint32_t id)
{
	const struct members_node *m = id == self ? NULL : members_find(own, id);

	return m != NULL && m->votes > 0;
}

static size_t needed(const struct members *own, uint32_t self)
{
	const struct members_node *me = members_find(own, self);
	size_t others = 0;

	if (me == NULL || me->state != MEMBERS_MEMBER)
		return 1;
	for (size_t i = 0; i < own->n; i++)
		others += is_voter(own, self, own->list[i].id);
	return others / 2 + 1;
}

/* Each force is an hour later than the one before at least, also within an hour and where clocks are behind. */
static bool is_plausible(struct cluster_stamp at, const struct words_known *known)
{
	uint64_t hour = core_forced_hour(known->wall), before = known->at.generation >> CORE_FORCED_ID_BITS;
	uint64_t latest = (hour > before ? hour : before) + WORDS_AHEAD_FORCED;

	return at.generation >> CORE_FORCED_ID_BITS <= latest && at.position <= known->at.position + WORDS_AHEAD;
}

static const struct word *find(const struct words *w, uint32_t id)
{
	for (size_t i = 0; i < MEMBERS_MAX; i++)
		if (w->list[i].id == id)
			return &w->list[i];
	return NULL;
}

bool words_insists(const struct words *w, uint32_t id, int64_t now)
{
	const struct word *said = find(w, id);

	return said != NULL && now - said->at_ms < WORDS_FRESH_MS && now - said->since_ms >= WORDS_ALONE_MS;
}

enum words_verdict words_judge(const struct words *w, const struct members *own, uint32_t self, uint32_t id,
			       const struct words_known *known, int64_t now)
{
	const struct word *said = find(w, id);
	size_t same = 0, against = 0;

	if (said == NULL || !is_voter(own, self, id))
		return WORDS_NOT_YET;
	for (size_t i = 0; i < MEMBERS_MAX; i++) {
		const struct word *x = &w->list[i];
		if (x->id == 0 || !is_voter(own, self, x->id) || now - x->at_ms >= WORDS_FRESH_MS)
			continue;
		if (is_same(x, said))
			same++;
		else if (x->quorate)
			against++;
	}
	if (same >= needed(own, self))
		return WORDS_ENOUGH;
	bool alone = against == 0 && words_insists(w, id, now);
	return alone && is_plausible(said->at, known) ? WORDS_ONE : WORDS_NOT_YET;
}

size_t words_count_removed(const struct words *w, const struct members *own, uint32_t self, int64_t now)
{
	size_t removed = 0;

	for (size_t i = 0; i < MEMBERS_MAX; i++) {
		const struct word *x = &w->list[i];
		if (x->id != 0 && is_voter(own, self, x->id) && x->removed && now - x->removed_ms < WORDS_FRESH_MS)
			removed++;
	}
	return removed;
}

bool words_is_removed(const struct words *w, const struct members *own, uint32_t self, int64_t now)
{
	return words_count_removed(w, own, self, now) >= needed(own, self);
}

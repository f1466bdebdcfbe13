/* SPDX-License-Identifier: Apache-2.0
 * The log as it is in memory: what the disk holds up to a point, and a tail of entries behind it.
 *
 * The hard thing: memory runs ahead of the disk and may also turn back from it (another log was adopted and is not
 * written yet). stable_to is the last position where both agree; behind it only the tail counts, whatever the disk has.
 */
#include <stdlib.h>

#include "cluster/core/core_private.h"

enum { TAIL_BYTES_MAX = CORE_SUFFIX_MAX + 4 * CORE_DOCUMENT_MAX };

static void drop_tail(struct ledger *l, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		l->tail_bytes -= l->tail[i].bytes.n;
		sbuf_fini(&l->tail[i].bytes);
	}
	if (to < l->n_tail)
		memmove(&l->tail[from], &l->tail[to], (l->n_tail - to) * sizeof(*l->tail));
	l->n_tail -= to - from;
}

void ledger_fini(struct core *c)
{
	drop_tail(&c->ledger, 0, c->ledger.n_tail);
	free(c->ledger.tail);
	c->ledger.tail = NULL;
	ops_fini(&c->ledger.ops);
}

bool ledger_full(const struct core *c)
{
	return c->ledger.n_tail >= CORE_TAIL_MAX || c->ledger.tail_bytes >= TAIL_BYTES_MAX;
}

static const struct tail_entry *in_tail(const struct ledger *l, uint64_t position)
{
	for (size_t i = l->n_tail; i > 0 && l->tail[i - 1].entry.position >= position; i--)
		if (l->tail[i - 1].entry.position == position)
			return &l->tail[i - 1];
	return NULL;
}

const struct entry *ledger_entry(const struct core *c, uint64_t position)
{
	const struct tail_entry *t = in_tail(&c->ledger, position);

	if (t != NULL)
		return &t->entry;
	return position == 0 || position > c->ledger.stable_to ? NULL : c->env.entry(c->env.arg, position);
}

bool ledger_hash(const struct core *c, uint64_t position, uint8_t ret[ENTRY_HASH_LEN])
{
	if (position == c->ledger.last) {
		memcpy(ret, c->ledger.last_hash, ENTRY_HASH_LEN);
		return true;
	}
	if (position == 0) {
		memset(ret, 0, ENTRY_HASH_LEN);
		return true;
	}
	const struct entry *e = ledger_entry(c, position);
	if (e == NULL)
		return false;
	memcpy(ret, e->hash, ENTRY_HASH_LEN);
	return true;
}

uint64_t ledger_next(const struct core *c, uint64_t position)
{
	const struct ledger *l = &c->ledger;
	uint64_t on_disk = position > l->stable_to ? 0 : c->env.next_kept(c->env.arg, position);
	uint64_t in_memory = 0;

	for (size_t i = l->n_tail; i > 0 && l->tail[i - 1].entry.position >= position; i--)
		in_memory = l->tail[i - 1].entry.position;
	if (on_disk == 0 || on_disk > l->stable_to)
		return in_memory;
	return in_memory == 0 || on_disk < in_memory ? on_disk : in_memory;
}

/* ---- what follows from the entries ---- */

static void note_table(struct ledger *l, const struct entry *e)
{
	struct voters v;

	if (!voters_decode(e->document, &v))
		return; /* refused before it is ordered; one that is there all the same changes nothing, alike
			   everywhere */
	l->previous = l->newest;
	l->previous_at = l->newest_at;
	l->newest = v;
	l->newest_at = e->position;
}

static void note(struct ledger *l, const struct entry *e)
{
	l->last = e->position;
	memcpy(l->last_hash, e->hash, ENTRY_HASH_LEN);
	l->revision = e->revision;
	l->last_of_kind[e->kind] = e->position;
	if (e->kind == ENTRY_MEMBERSHIP)
		note_table(l, e);
	ops_note(&l->ops, e);
}

static void forget_all(struct ledger *l)
{
	l->last = l->revision = l->newest_at = l->previous_at = 0;
	memset(l->last_hash, 0, sizeof(l->last_hash));
	memset(l->last_of_kind, 0, sizeof(l->last_of_kind));
	l->newest.n = l->previous.n = 0;
}

static void note_all(struct core *c)
{
	forget_all(&c->ledger);
	for (uint64_t p = ledger_next(c, 1); p != 0; p = ledger_next(c, p + 1))
		note(&c->ledger, ledger_entry(c, p));
}

/* ---- changing it ---- */

void ledger_load(struct core *c)
{
	struct ledger *l = &c->ledger;
	uint64_t last = 0;

	drop_tail(l, 0, l->n_tail);
	for (uint64_t p = c->env.next_kept(c->env.arg, 1); p != 0; p = c->env.next_kept(c->env.arg, p + 1))
		last = p;
	l->disk_last = l->stable_to = last;
	l->whole = false;
	ops_cut(&l->ops, last);
	note_all(c);
	memcpy(c->writes.disk_hash, l->last_hash, ENTRY_HASH_LEN);
}

void ledger_append(struct core *c, struct str bytes)
{
	struct ledger *l = &c->ledger;

	if (l->n_tail == l->cap_tail) {
		l->cap_tail = l->cap_tail == 0 ? 16 : 2 * l->cap_tail;
		l->tail = xrealloc(l->tail, l->cap_tail * sizeof(*l->tail));
	}
	struct tail_entry *t = &l->tail[l->n_tail++];
	*t = (struct tail_entry) { 0 };
	sbuf_add(&t->bytes, bytes.p, bytes.n);
	l->tail_bytes += bytes.n;
	ASSERT(entry_decode((struct str) { t->bytes.p, t->bytes.n }, &t->entry));
	note(l, &t->entry);
}

void ledger_cut(struct core *c, uint64_t after)
{
	struct ledger *l = &c->ledger;
	size_t keep = l->n_tail;

	if (after >= l->last)
		return;
	while (keep > 0 && l->tail[keep - 1].entry.position > after)
		keep--;
	drop_tail(l, keep, l->n_tail);
	l->stable_to = after < l->stable_to ? after : l->stable_to;
	c->writes.valid_to = after < c->writes.valid_to ? after : c->writes.valid_to;
	ops_cut(&l->ops, after);
	note_all(c);
}

void ledger_clear(struct core *c, uint64_t agreed)
{
	struct ledger *l = &c->ledger;

	drop_tail(l, 0, l->n_tail);
	l->stable_to = c->writes.valid_to = 0;
	l->whole = true;
	l->agreed = agreed;
	ops_cut(&l->ops, 0);
	forget_all(l);
}

void ledger_trim(struct core *c)
{
	struct ledger *l = &c->ledger;
	size_t n = 0;

	while (n < l->n_tail && l->tail[n].entry.position <= l->stable_to && l->tail[n].entry.position <= c->applied)
		n++;
	if (n > 0)
		drop_tail(l, 0, n);
}

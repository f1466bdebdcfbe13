/* SPDX-License-Identifier: Apache-2.0
 * A disk as a store makes it: each write is there whole or not at all. Entries are shared between disks, so that a copy
 * of a disk costs little.
 */
#include <stdlib.h>

#include "cluster/core/le.h"
#include "cluster/sim/sim.h"

enum { META_ADOPTED = 12, META_COMMITTED = 20 };

static void unref(struct blob *b)
{
	if (--b->refs > 0)
		return;
	sbuf_fini(&b->bytes);
	free(b);
}

void disk_fini(struct disk *d)
{
	disk_cut(d, 0);
	sbuf_fini(&d->meta);
	sbuf_fini(&d->answers);
}

static void set(struct sbuf *to, struct str from)
{
	sbuf_reset(to);
	sbuf_add(to, from.p, from.n);
}

void disk_copy(struct disk *to, const struct disk *from)
{
	disk_fini(to);
	*to = *from;
	to->meta = to->answers = (struct sbuf) { 0 };
	set(&to->meta, (struct str) { from->meta.p, from->meta.n });
	set(&to->answers, (struct str) { from->answers.p, from->answers.n });
	for (size_t i = 0; i < to->n; i++)
		to->entries[i]->refs++;
}

void disk_add(struct disk *d, struct str bytes)
{
	struct blob *b = xcalloc(1, sizeof(*b));

	ASSERT(d->n < SIM_POSITIONS_MAX);
	b->refs = 1;
	sbuf_add(&b->bytes, bytes.p, bytes.n);
	ASSERT(entry_decode((struct str) { b->bytes.p, b->bytes.n }, &b->entry));
	d->entries[d->n++] = b;
}

void disk_cut(struct disk *d, size_t keep)
{
	while (d->n > keep)
		unref(d->entries[--d->n]);
}

void disk_compact(struct disk *d, uint64_t committed)
{
	size_t kept = 0;
	const struct entry *last[ENTRY_KIND_COUNT] = { 0 }, *table = NULL;

	for (size_t i = 0; i < d->n; i++) {
		const struct entry *e = &d->entries[i]->entry;
		if (e->position > committed)
			break;
		if (e->kind == ENTRY_MEMBERSHIP)
			table = last[e->kind];
		last[e->kind] = e;
	}
	for (size_t i = 0; i < d->n; i++) {
		const struct entry *e = &d->entries[i]->entry;
		if (e->position + 2 >= committed || e == last[e->kind] || e == table || i + 1 == d->n)
			d->entries[kept++] = d->entries[i];
		else
			unref(d->entries[i]);
	}
	d->n = kept;
}

void disk_apply(struct disk *d, const struct core_write *w)
{
	size_t keep = d->n;
	struct str left = w->entries;

	if (w->kind == CORE_WRITE_WHOLE) {
		keep = 0;
		set(&d->answers, w->answers);
	} else if (w->kind == CORE_WRITE_APPEND) {
		while (keep > 0 && d->entries[keep - 1]->entry.position > w->after)
			keep--;
	}
	disk_cut(d, keep);
	while (left.n > 0) {
		size_t n = (size_t)le_get((const uint8_t *)left.p, 4);
		uint64_t last = disk_last(d);
		disk_add(d, (struct str) { left.p + 4, n });
		/* A log with a gap in what was added to it does not open. */
		ASSERT(w->kind == CORE_WRITE_WHOLE || disk_last(d) == last + 1);
		left = (struct str) { left.p + 4 + n, left.n - 4 - n };
	}
	set(&d->meta, w->meta);
	d->damaged = false;
}

const struct entry *disk_entry(const struct disk *d, uint64_t position)
{
	for (size_t i = d->n; i > 0 && d->entries[i - 1]->entry.position >= position; i--)
		if (d->entries[i - 1]->entry.position == position)
			return &d->entries[i - 1]->entry;
	return NULL;
}

uint64_t disk_next(const struct disk *d, uint64_t position)
{
	uint64_t found = 0;

	for (size_t i = d->n; i > 0 && d->entries[i - 1]->entry.position >= position; i--)
		found = d->entries[i - 1]->entry.position;
	return found;
}

uint64_t disk_last(const struct disk *d)
{
	return d->n == 0 ? 0 : d->entries[d->n - 1]->entry.position;
}

uint64_t disk_adopted(const struct disk *d)
{
	return d->meta.n == 0 ? 0 : le_get((const uint8_t *)d->meta.p + META_ADOPTED, 8);
}

uint64_t disk_committed(const struct disk *d)
{
	return d->meta.n == 0 ? 0 : le_get((const uint8_t *)d->meta.p + META_COMMITTED, 8);
}

void pending_fini(struct pending_write *p)
{
	sbuf_fini(&p->meta);
	sbuf_fini(&p->entries);
	sbuf_fini(&p->answers);
	*p = (struct pending_write) { 0 };
}

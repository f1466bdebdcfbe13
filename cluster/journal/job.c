/* SPDX-License-Identifier: Apache-2.0
 * Writes: what is to be written is worked out on the control thread, written on another, and then becomes what is read.
 *
 * The hard thing is compaction. It comes with a write: a new file with what is still kept and the write behind it takes
 * the old one's place. Nothing that goes wrong with the new file may fail the write where the old file would do; and
 * the new one is complete and synced before it gets the name. What is copied is checked, so that damage is not carried
 * on under a fresh checksum.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster/core/le.h"
#include "cluster/journal/disk.h"
#include "daemon/base/log.h"

enum { CONFIGS_KEPT = STORE_HISTORY_MAX, TABLES_KEPT = 2, WRITE_HEAD = 16, BASE_HEAD = 4 };

struct piece { /* a record of the new file */
	uint32_t type;
	bool copied;            /* from the old file; else from the pool */
	size_t at, size;        /* in the pool */
	struct disk_entry from; /* of an entry */
	uint64_t offset;        /* once written: of its payload */
};

struct job {
	bool replace, must; /* must: else it is added to the old file where that fails */
	bool set_aside;
	bool save; /* who it is, too */
	struct identity identity;
	uint64_t start;
	struct piece *pieces;
	size_t n_pieces, cap_pieces;
	struct sbuf pool;
	struct sbuf record; /* the write; none: the pieces are all of it */
	struct disk_entry *added;
	size_t n_added; /* entries in the record: their offsets are in there */
	uint64_t cut;   /* UINT64_MAX = nothing */
	struct sbuf meta, answers;
	/* what came of it */
	int rc, failed; /* failed: why it was not replaced */
	bool replaced;
	int old_fd;
	uint64_t offset; /* of the record's payload */
	uint64_t size_before;
};

void job_free(struct job *j)
{
	free(j->pieces);
	free(j->added);
	sbuf_fini(&j->pool);
	sbuf_fini(&j->record);
	sbuf_fini(&j->meta);
	sbuf_fini(&j->answers);
	free(j);
}

/* ---- what is kept ---- */

static bool *choose_kept(const struct disk *d, uint64_t settled, uint64_t cut)
{
	unsigned left[ENTRY_KIND_COUNT] = {
		[ENTRY_CONFIG] = CONFIGS_KEPT, [ENTRY_RUNTIME] = 1, [ENTRY_MEMBERSHIP] = TABLES_KEPT
	};
	bool *kept = xcalloc(d->n + 1, sizeof(*kept));

	for (size_t i = d->n; i > 0; i--) {
		const struct disk_entry *e = &d->entries[i - 1];
		if (e->position > settled)
			kept[i - 1] = e->position <= cut;
		else if (left[e->kind] > 0)
			kept[i - 1] = left[e->kind]-- > 0;
	}
	return kept;
}

static uint64_t live_bytes(const struct disk *d, const struct disk_keep *keep)
{
	uint64_t live = keep->answers->bytes + d->answers.n;
	bool *kept = choose_kept(d, keep->settled, UINT64_MAX);

	for (size_t i = 0; i < d->n; i++)
		live += kept[i] ? d->entries[i].size : 0;
	free(kept);
	return live;
}

bool disk_will_replace(const struct disk *d, const struct core_write *w, const struct disk_keep *keep)
{
	if (d->replace || w->kind == CORE_WRITE_WHOLE || keep->now)
		return true;
	return d->journal.size >= d->compact_at && d->journal.size >= 2 * live_bytes(d, keep);
}

/* ---- making a job ---- */

static struct piece *add_piece(struct job *j, uint32_t type, struct str bytes)
{
	if (j->n_pieces == j->cap_pieces) {
		j->cap_pieces = j->cap_pieces == 0 ? 64 : 2 * j->cap_pieces;
		j->pieces = xrealloc(j->pieces, j->cap_pieces * sizeof(*j->pieces));
	}
	struct piece *p = &j->pieces[j->n_pieces++];
	*p = (struct piece) { .type = type, .at = j->pool.n, .size = bytes.n };
	sbuf_add(&j->pool, bytes.p, bytes.n);
	return p;
}

static struct disk_entry index_of(const struct entry *e, uint64_t offset, size_t size)
{
	struct disk_entry x = {
		.position = e->position, .revision = e->revision, .offset = offset, .size = size, .kind = e->kind
	};

	memcpy(x.hash, e->hash, ENTRY_HASH_LEN);
	return x;
}

/* The next of a list of entries; false at its end. It comes from the core: it can be decoded. */
static bool next_entry(struct str *left, struct str *ret_bytes, struct entry *ret)
{
	if (left->n == 0)
		return false;
	size_t n = (size_t)le_get((const uint8_t *)left->p, 4);
	*ret_bytes = (struct str) { left->p + 4, n };
	*left = (struct str) { left->p + 4 + n, left->n - 4 - n };
	ASSERT(entry_decode(*ret_bytes, ret));
	return true;
}

static void make_record(struct job *j, const struct core_write *w)
{
	uint8_t head[WRITE_HEAD] = { (uint8_t)w->kind };
	struct str left = w->entries, bytes;
	struct entry e;
	size_t n = 0;

	le_put(head + 4, w->meta.n, 4);
	le_put(head + 8, w->after, 8);
	sbuf_add(&j->record, head, sizeof(head));
	sbuf_add(&j->record, w->meta.p, w->meta.n);
	size_t base = j->record.n;
	sbuf_add(&j->record, w->entries.p, w->entries.n);
	while (next_entry(&left, &bytes, &e))
		n++;
	j->added = xcalloc(n + 1, sizeof(*j->added));
	for (left = w->entries; next_entry(&left, &bytes, &e);)
		j->added[j->n_added++] = index_of(&e, base + (size_t)(bytes.p - w->entries.p), bytes.n);
}

static void add_base(struct job *j, const struct disk *d, struct str meta, struct str answers)
{
	uint8_t bytes[IDENTITY_ENCODED], n[BASE_HEAD];
	struct sbuf base = { 0 };

	identity_encode(&d->identity, bytes);
	add_piece(j, RECORD_IDENTITY, (struct str) { (char *)bytes, sizeof(bytes) });
	le_put(n, meta.n, sizeof(n));
	sbuf_add(&base, n, sizeof(n));
	sbuf_add(&base, meta.p, meta.n);
	sbuf_add(&base, answers.p, answers.n);
	add_piece(j, RECORD_BASE, (struct str) { base.p, base.n });
	sbuf_fini(&base);
	sbuf_add(&j->answers, answers.p, answers.n);
}

/* Answers go first: an entry behind them carries its own. */
static void add_answers(struct job *j, const struct disk *d, const bool *kept, const struct disk_keep *keep)
{
	struct sbuf bytes = { 0 };
	struct answer *a;
	struct list *tmp;

	LIST_FOR_EACH(a, tmp, &keep->answers->all, link) {
		const struct disk_entry *e = disk_find(d, a->public.position);
		if (e != NULL && kept[e - d->entries])
			continue;
		sbuf_reset(&bytes);
		answer_encode(a, &bytes);
		add_piece(j, RECORD_ANSWER, (struct str) { bytes.p, bytes.n });
	}
	sbuf_fini(&bytes);
}

static void plan_compaction(struct job *j, const struct disk *d, const struct disk_keep *keep)
{
	bool *kept = choose_kept(d, keep->settled, j->cut);

	add_base(j, d, (struct str) { d->meta.p, d->meta.n }, keep->core_answers);
	add_answers(j, d, kept, keep);
	for (size_t i = 0; i < d->n; i++) {
		if (!kept[i])
			continue;
		struct piece *p = add_piece(j, RECORD_ENTRY, STR(""));
		p->copied = true;
		p->from = d->entries[i];
		j->start = p->from.position;
	}
	free(kept);
}

static void plan_whole(struct job *j, const struct disk *d, const struct core_write *w)
{
	struct str left = w->entries, bytes;
	struct entry e;

	add_base(j, d, w->meta, w->answers);
	while (next_entry(&left, &bytes, &e)) {
		add_piece(j, RECORD_ENTRY, bytes)->from = index_of(&e, 0, bytes.n);
		j->start = e.position;
	}
}

struct job *disk_job(struct disk *d, const struct core_write *w, const struct disk_keep *keep)
{
	struct job *j = xcalloc(1, sizeof(*j));

	j->old_fd = -1;
	j->size_before = d->journal.size;
	j->replace = disk_will_replace(d, w, keep);
	j->must = d->replace || w->kind == CORE_WRITE_WHOLE;
	j->set_aside = d->set_aside;
	j->save = d->save;
	j->identity = d->identity;
	d->save = false;
	j->cut = w->kind == CORE_WRITE_APPEND ? w->after : UINT64_MAX;
	sbuf_add(&j->meta, w->meta.p, w->meta.n);
	if (w->kind != CORE_WRITE_WHOLE)
		make_record(j, w);
	if (w->kind == CORE_WRITE_WHOLE)
		plan_whole(j, d, w);
	else if (j->replace)
		plan_compaction(j, d, keep);
	return j;
}

/* ---- on the thread ---- */

static int write_piece(struct disk *d, struct journal *next, struct job *j, struct piece *p)
{
	struct str payload = { p->size == 0 ? "" : j->pool.p + p->at, p->size };
	struct sbuf bytes = { 0 };
	struct entry e;
	int err = 0;

	if (p->copied) {
		err = journal_bytes(d->fd, sbuf_extend(&bytes, p->from.size), p->from.size, p->from.offset);
		payload = (struct str) { bytes.p, bytes.n };
		if (err == 0 && (!entry_decode(payload, &e) || memcmp(e.hash, p->from.hash, ENTRY_HASH_LEN) != 0))
			err = -EBADMSG;
	}
	if (err == 0)
		err = journal_add(next, p->type, payload, &p->offset);
	p->offset += JOURNAL_RECORD_LEN;
	sbuf_fini(&bytes);
	return err;
}

/* What is replaced because it is damaged, or of another life, may still tell somebody something. */
static void set_aside(const struct journal *j)
{
	char *name = xasprintf("%s.before", j->path);

	unlink(name);
	if (link(j->path, name) != 0)
		unlink(name);
	free(name);
}

static int replace(struct disk *d, struct job *j)
{
	struct journal next;
	int err = d->journal.broken;

	if (err == 0)
		err = journal_begin(&next, &d->journal, j->start);
	if (err != 0)
		return err;
	for (size_t i = 0; err == 0 && i < j->n_pieces; i++)
		err = write_piece(d, &next, j, &j->pieces[i]);
	if (err == 0 && j->record.n > 0)
		err = journal_add(&next, RECORD_WRITE, (struct str) { j->record.p, j->record.n }, &j->offset);
	if (err != 0) {
		journal_abort(&next);
		return err;
	}
	if (j->set_aside)
		set_aside(&d->journal);
	err = journal_commit(&next, &d->journal, &j->old_fd);
	j->replaced = err == 0;
	return err != 0 ? err : d->journal.broken;
}

void disk_run(struct disk *d, struct job *j)
{
	/* Not what the write rests on: where it fails it is tried again with the next one. */
	j->save = j->save && identity_save(d->dir_fd, &j->identity) != 0;
	if (j->replace) {
		j->failed = replace(d, j);
		if (j->failed == 0 || j->replaced || j->must) {
			j->rc = j->failed;
			j->offset += JOURNAL_RECORD_LEN;
			return;
		}
	}
	j->rc = journal_append(&d->journal, RECORD_WRITE, (struct str) { j->record.p, j->record.n }, &j->offset);
	j->offset += JOURNAL_RECORD_LEN;
}

/* ---- afterwards ---- */

static void log_compaction(struct disk *d, const struct job *j)
{
	if (!j->replace || j->must)
		return;
	if (!j->replaced) {
		/* On a full disk this would fail at every write; come back when the file has grown by a quarter. */
		d->compact_at = j->size_before + j->size_before / 4;
		log_msg(LOG_LEVEL_WARNING, "store_compaction_failed", "%s: %s", d->path, strerror(-j->failed));
		return;
	}
	d->compact_at = DISK_COMPACT_MIN;
	log_msg(LOG_LEVEL_INFO, "store_compacted", "%s: %llu bytes became %llu", d->path,
		(unsigned long long)j->size_before, (unsigned long long)d->journal.size);
}

static void push(struct disk *d, const struct disk_entry *x, uint64_t offset)
{
	if (d->n == d->cap) {
		d->cap = d->cap == 0 ? 64 : 2 * d->cap;
		d->entries = xrealloc(d->entries, d->cap * sizeof(*d->entries));
	}
	d->entries[d->n] = *x;
	d->entries[d->n++].offset = offset;
}

static void take_new_file(struct disk *d, struct job *j)
{
	d->n = 0;
	for (size_t i = 0; i < j->n_pieces; i++)
		if (j->pieces[i].type == RECORD_ENTRY)
			push(d, &j->pieces[i].from, j->pieces[i].offset);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = d->journal.fd;
	d->log_of = d->identity;
	d->damaged = d->replace = d->set_aside = false;
	sbuf_fini(&d->answers);
	d->answers = j->answers;
	j->answers = (struct sbuf) { 0 };
}

int disk_done(struct disk *d, struct job *j)
{
	int rc = j->rc;

	log_compaction(d, j);
	d->save = d->save || j->save;
	if (rc == 0) {
		if (j->replaced)
			take_new_file(d, j);
		else
			disk_cut(d, j->cut);
		for (size_t i = 0; i < j->n_added; i++)
			push(d, &j->added[i], j->offset + j->added[i].offset);
		sbuf_fini(&d->meta);
		d->meta = j->meta;
		j->meta = (struct sbuf) { 0 };
	}
	job_free(j);
	return rc;
}

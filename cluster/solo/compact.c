/* SPDX-License-Identifier: Apache-2.0
 * Compaction: a new journal with what is still kept takes the old one's place.
 *
 * The hard thing is that it runs behind a write that was already made and will be reported: nothing that goes wrong
 * here may touch the old file or fail that write. The new file is complete and synced before it gets the name.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/solo/store_private.h"
#include "daemon/base/log.h"

/* The kept entries in order of position: revisions merged with the newest of the other kinds. */
static size_t list_kept(struct store *s, struct held *kept[STORE_HISTORY_MAX + ENTRY_KIND_COUNT])
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_revisions; i++)
		kept[n++] = &s->revisions[i];
	for (int kind = ENTRY_RUNTIME; kind < ENTRY_KIND_COUNT; kind++) {
		struct held *h = &s->last[kind];
		if (h->entry.position == 0)
			continue;
		size_t at = n++;
		for (; at > 0 && kept[at - 1]->entry.position > h->entry.position; at--)
			kept[at] = kept[at - 1];
		kept[at] = h;
	}
	return n;
}

static bool is_kept(struct held *const *kept, size_t n, uint64_t position)
{
	for (size_t i = 0; i < n; i++)
		if (kept[i]->entry.position == position)
			return true;
	return false;
}

/* Answers go first: an entry behind them carries its own. */
static int add_answers(struct store *s, struct journal *next, struct held *const *kept, size_t n)
{
	struct sbuf bytes = { 0 };
	struct answer *a;
	struct list *tmp;
	uint64_t offset;
	int err = 0;

	LIST_FOR_EACH(a, tmp, &s->answers.all, link) {
		if (is_kept(kept, n, a->public.position))
			continue;
		sbuf_reset(&bytes);
		answer_encode(a, &bytes);
		err = journal_add(next, RECORD_ANSWER, (struct str) { bytes.p, bytes.n }, &offset);
		if (err != 0)
			break;
	}
	sbuf_fini(&bytes);
	return err;
}

/* Copies the records; reading checks them, so that damage is not carried on under a fresh checksum. */
static int add_entries(struct store *s, struct journal *next, struct held *const *kept, size_t n, uint64_t *offsets)
{
	struct sbuf bytes = { 0 };
	uint32_t type;
	int err = 0;

	for (size_t i = 0; err == 0 && i < n; i++) {
		err = journal_read(&s->journal, kept[i]->offset, &bytes, &type);
		if (err == 0)
			err = journal_add(next, type, (struct str) { bytes.p, bytes.n }, &offsets[i]);
	}
	sbuf_fini(&bytes);
	return err;
}

int store_compact(struct store *s)
{
	struct held *kept[STORE_HISTORY_MAX + ENTRY_KIND_COUNT];
	uint64_t offsets[ARRAY_LEN(kept)];
	size_t n = list_kept(s, kept);
	struct journal next;

	/* Up to the last entry there may be gaps in the new file, so the chain is whole only from there on. */
	int err = journal_begin(&next, &s->journal, s->position);
	if (err != 0)
		return err;
	err = add_answers(s, &next, kept, n);
	if (err == 0)
		err = add_entries(s, &next, kept, n, offsets);
	if (err != 0) {
		journal_abort(&next);
		return err;
	}
	err = journal_commit(&next, &s->journal);
	if (err != 0)
		return err;
	for (size_t i = 0; i < n; i++)
		kept[i]->offset = offsets[i];
	if (s->n_revisions > 0)
		s->last[ENTRY_CONFIG].offset = s->revisions[s->n_revisions - 1].offset;
	return 0;
}

static uint64_t live_bytes(const struct store *s)
{
	uint64_t live = s->answers.bytes;

	for (size_t i = 0; i < s->n_revisions; i++)
		live += s->revisions[i].size;
	for (int kind = ENTRY_RUNTIME; kind < ENTRY_KIND_COUNT; kind++)
		live += s->last[kind].size;
	return live;
}

void store_compact_if_due(struct store *s)
{
	uint64_t before = s->journal.size;

	if (before < s->compact_at || before < 2 * live_bytes(s))
		return;
	int err = store_compact(s);
	if (err != 0) {
		/* On a full disk this would fail at every write; come back when the file has grown by a quarter. */
		s->compact_at = before + before / 4;
		log_msg(LOG_LEVEL_WARNING, "store_compaction_failed", "%s: %s", s->journal.path, strerror(-err));
		return;
	}
	s->compact_at = STORE_COMPACT_MIN;
	log_msg(LOG_LEVEL_INFO, "store_compacted", "%s: %llu bytes became %llu", s->journal.path,
		(unsigned long long)before, (unsigned long long)s->journal.size);
}

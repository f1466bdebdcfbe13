/* SPDX-License-Identifier: Apache-2.0
 * What is in force: the newest entry of each kind, the last revisions, the answers under Idempotency-Keys.
 *
 * The hard thing: it is in memory because a quorum has it, which this node's disk need not be part of yet.
 */
#include <stdlib.h>

#include "cluster/store/store_private.h"

/* ---- entries in memory ---- */

struct held *held_new(const struct entry *from)
{
	struct held *h = xcalloc(1, sizeof(*h));
	struct entry e = *from;

	h->refs = 1;
	entry_encode(&e, &h->bytes);
	ASSERT(entry_decode((struct str) { h->bytes.p, h->bytes.n }, &h->entry));
	return h;
}

void held_unref(struct held *h)
{
	if (h == NULL || --h->refs > 0)
		return;
	sbuf_fini(&h->bytes);
	free(h);
}

/* Without the document, but under the hash of the whole. */
static struct held *head_of(const struct held *whole)
{
	struct entry e = whole->entry;

	e.document = (struct str) { "", 0 };
	struct held *head = held_new(&e);
	memcpy(head->entry.hash, whole->entry.hash, ENTRY_HASH_LEN);
	return head;
}

/* ---- what is in force ---- */

void applied_init(struct applied *a)
{
	*a = (struct applied) { 0 };
	answers_init(&a->answers);
}

void applied_fini(struct applied *a)
{
	for (int kind = 0; kind < ENTRY_KIND_COUNT; kind++)
		held_unref(a->last[kind]);
	for (size_t i = 0; i < a->n_revisions; i++)
		held_unref(a->revisions[i]);
	answers_fini(&a->answers);
	sbuf_fini(&a->scratch);
}

static void add_revision(struct applied *a, const struct held *h)
{
	if (a->n_revisions == STORE_HISTORY_MAX) {
		held_unref(a->revisions[0]);
		memmove(&a->revisions[0], &a->revisions[1], sizeof(a->revisions) - sizeof(a->revisions[0]));
		a->n_revisions--;
	}
	a->revisions[a->n_revisions++] = head_of(h);
}

static void remember_answer(struct applied *a, const struct entry *e)
{
	struct store_answer answer = {
		.position = e->position, .revision = e->revision, .kind = e->kind, .wall = e->wall
	};

	answers_expire(&a->answers, e->wall);
	if (e->idempotency_key[0] == '\0')
		return;
	memcpy(answer.request_hash, e->request_hash, ENTRY_HASH_LEN);
	answers_put(&a->answers, e->idempotency_key, &answer);
}

void applied_put(struct applied *a, struct held *h)
{
	const struct entry *e = &h->entry;

	if (e->kind == ENTRY_CONFIG)
		add_revision(a, h);
	a->position = e->position;
	a->revision = e->revision;
	remember_answer(a, e);
	held_unref(a->last[e->kind]);
	a->last[e->kind] = h;
}

uint64_t applied_load(struct store *s, uint64_t up_to)
{
	struct applied *a = &s->applied;
	struct entry e;

	for (uint64_t p = disk_next(&s->disk, 1); p != 0 && p <= up_to; p = disk_next(&s->disk, p + 1)) {
		if (!disk_read(&s->disk, p, &a->scratch, &e))
			return p;
		applied_put(a, held_new(&e));
	}
	return 0;
}

const struct entry *applied_entry(struct store *s, uint64_t position)
{
	struct applied *a = &s->applied;

	if (position == 0 || position > a->position)
		return NULL;
	for (int kind = ENTRY_CONFIG; kind < ENTRY_KIND_COUNT; kind++)
		if (a->last[kind] != NULL && a->last[kind]->entry.position == position)
			return &a->last[kind]->entry;
	return disk_read(&s->disk, position, &a->scratch, &a->found) ? &a->found : NULL;
}

/* ---- questions ---- */

const struct entry *store_last(const struct store *s, enum entry_kind kind)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return s->applied.last[kind] == NULL ? NULL : &s->applied.last[kind]->entry;
}

const struct entry *store_revision(struct store *s, uint64_t revision)
{
	const struct applied *a = &s->applied;

	CHECK_OBJ(s, STORE_MAGIC);
	for (size_t i = a->n_revisions; i > 0; i--)
		if (a->revisions[i - 1]->entry.revision == revision)
			return applied_entry(s, a->revisions[i - 1]->entry.position);
	return NULL;
}

size_t store_each_revision(struct store *s, store_revision_fn *fn, void *arg)
{
	const struct applied *a = &s->applied;

	CHECK_OBJ(s, STORE_MAGIC);
	for (size_t i = a->n_revisions; i > 0; i--)
		fn(&a->revisions[i - 1]->entry, arg);
	return a->n_revisions;
}

uint64_t store_revision_number(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return s->applied.revision;
}

uint64_t store_position(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return s->applied.position;
}

const uint8_t *store_hash(const struct store *s)
{
	const struct applied *a = &s->applied;

	CHECK_OBJ(s, STORE_MAGIC);
	for (int kind = ENTRY_CONFIG; kind < ENTRY_KIND_COUNT; kind++)
		if (a->last[kind] != NULL && a->last[kind]->entry.position == a->position)
			return a->last[kind]->entry.hash;
	return NULL;
}

const struct store_answer *store_answer_find(struct store *s, const char *key)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return answers_find(&s->applied.answers, key);
}

/* SPDX-License-Identifier: Apache-2.0
 * This node's writes, from the question to the one answer, and what became of those that were answered.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/store/store_private.h"
#include "daemon/base/hash.h"

void store_operation_new(char out[STORE_OPERATION_LEN + 1])
{
	uint8_t bytes[STORE_OPERATION_LEN / 2];

	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* ---- asking ---- */

static struct proposal *proposal_new(struct store *s, const char *operation, store_done_fn *fn, void *arg)
{
	struct proposal *p = xcalloc(1, sizeof(*p));

	p->operation = xstrdup(operation);
	p->fn = fn;
	p->arg = arg;
	list_append(&s->proposals, &p->link);
	return p;
}

/* A key that was used is known here before the log is asked: also one that only this node's file still names. */
static bool made_before(struct store *s, const struct store_write *w, store_done_fn *fn, void *arg)
{
	const struct store_answer *was = w->idempotency_key == NULL ? NULL : store_answer_find(s, w->idempotency_key);

	if (was == NULL)
		return false;
	struct proposal *p = proposal_new(s, w->operation == NULL ? "" : w->operation, fn, arg);
	note_add(s, &(struct note) {
			    .kind = NOTE_ANSWER, .proposal = p, .result = CORE_DUPLICATE, .position = was->position });
	return true;
}

int store_propose(struct store *s, const struct store_write *w, store_done_fn *fn, void *arg)
{
	char operation[STORE_OPERATION_LEN + 1];
	struct core_proposal c = { .kind = w->kind,
				   .expect_position = w->expect_position,
				   .operation = w->operation,
				   .author = w->author,
				   .comment = w->comment,
				   .idempotency_key = w->idempotency_key,
				   .request_hash = w->request_hash,
				   .wall = s->wall(),
				   .document = w->document,
				   .deadline_ms = s->now_ms + CORE_DEADLINE_MS };
	uint64_t ticket;

	CHECK_OBJ(s, STORE_MAGIC);
	if (w->idempotency_key != NULL && (w->idempotency_key[0] == '\0' || w->request_hash == NULL))
		return -EINVAL;
	if (w->document.n > CORE_DOCUMENT_MAX)
		return -EFBIG;
	store_wake(s);
	if (made_before(s, w, fn, arg))
		return 0;
	if (w->operation == NULL || w->operation[0] == '\0') {
		store_operation_new(operation);
		c.operation = operation;
	}
	int err = core_propose(s->core, &c, &ticket);
	if (err == 0)
		proposal_new(s, c.operation, fn, arg)->ticket = ticket;
	return err;
}

bool store_same_request(const struct store *s, const char *key, const uint8_t request_hash[ENTRY_HASH_LEN])
{
	CHECK_OBJ(s, STORE_MAGIC);
	return core_same_request(s->core, key, request_hash);
}

/* ---- answers ---- */

void propose_answered(struct store *s, uint64_t ticket, enum core_result result, uint64_t position)
{
	struct proposal *p;
	struct list *next;

	LIST_FOR_EACH(p, next, &s->proposals, link) {
		if (p->ticket != ticket)
			continue;
		p->ticket = 0;
		note_add(s,
			 &(struct note) { .kind = NOTE_ANSWER, .proposal = p, .result = result, .position = position });
		return;
	}
}

static void remember(struct store *s, const struct proposal *p, const struct note *n)
{
	struct operation *o = &s->operations[s->next_operation];

	if (p->operation[0] == '\0')
		return;
	s->next_operation = (s->next_operation + 1) % OPERATIONS_KEPT;
	free(o->id);
	*o = (struct operation) { .id = xstrdup(p->operation), .result = n->result, .position = n->position };
}

void propose_void(struct store *s, bool all)
{
	for (size_t i = 0; i < OPERATIONS_KEPT; i++) {
		struct operation *o = &s->operations[i];
		if (!all && o->result != CORE_COMMITTED)
			continue;
		free(o->id);
		*o = (struct operation) { 0 };
	}
}

static void answer(struct store *s, const struct note *n)
{
	struct proposal *p = n->proposal;
	struct store_result r = { .result = n->result, .position = n->position, .error = s->disk_error };

	if (n->result == CORE_FULL && r.error == 0)
		r.error = -ENOSPC; /* another node's disk; or this one's, which has room again */
	if (n->result == CORE_COMMITTED || n->result == CORE_DUPLICATE) {
		r.error = 0;
		r.entry = applied_entry(s, n->position);
		r.revision = r.entry == NULL ? 0 : r.entry->revision;
	}
	remember(s, p, n);
	list_remove(&p->link);
	free(p->operation);
	p->fn(&r, p->arg);
	free(p);
}

void propose_tell(struct store *s, const struct note *n)
{
	answer(s, n);
}

void propose_fini(struct store *s)
{
	while (!list_empty(&s->proposals)) {
		struct proposal *p = LIST_FIRST(&s->proposals, struct proposal, link);
		answer(s, &(struct note) { .proposal = p, .result = CORE_UNKNOWN });
	}
	for (size_t i = 0; i < OPERATIONS_KEPT; i++)
		free(s->operations[i].id);
}

/* ---- what became of an operation ---- */

static enum operation_state state_of(enum core_result result)
{
	switch (result) {
	case CORE_COMMITTED:
		return OPERATION_COMMITTED;
	case CORE_UNKNOWN:
		return OPERATION_UNKNOWN;
	default:
		return OPERATION_NOT_MADE;
	}
}

static struct store_operation find_own(struct store *s, const char *id)
{
	struct proposal *p;
	struct list *next;

	LIST_FOR_EACH(p, next, &s->proposals, link)
		if (strcmp(p->operation, id) == 0)
			return (struct store_operation) { .state = OPERATION_PENDING };
	for (size_t i = 0; i < OPERATIONS_KEPT; i++) {
		const struct operation *o = &s->operations[i];
		if (o->id != NULL && strcmp(o->id, id) == 0)
			return (struct store_operation) { .state = state_of(o->result), .position = o->position };
	}
	return (struct store_operation) { .state = OPERATION_UNHEARD };
}

struct store_operation store_operation_find(struct store *s, const char *operation)
{
	CHECK_OBJ(s, STORE_MAGIC);
	struct store_operation o = { .state = OPERATION_COMMITTED, .position = core_find(s->core, operation, NULL) };

	/* The core may know of an entry before it is in force here. */
	if (o.position == 0 || o.position > s->applied.position)
		o = find_own(s, operation);
	const struct entry *e = applied_entry(s, o.position);
	o.revision = e == NULL ? 0 : e->revision;
	return o;
}

/* SPDX-License-Identifier: Apache-2.0
 * Writes on their way to the store and back.
 *
 * The hard thing: a write is worked out against what is in force and proposed; until it is answered, another one would
 * be worked out against what is about to be replaced. So one is under way at a time on this node, others wait in order
 * and are looked at anew when it is their turn; with a writer on another node the store finds who was late, and that
 * one is looked at anew, too. Meanwhile the client may go away, or the whole api: the write goes on.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/api/api_private.h"

enum { AGAIN_MS = 50 };

/* A view that changes has none for a second; where the others are away the manual says what to do. */
#define NOTHING_CHANGED                                                                                                \
	"nothing was changed: try again; where `postroad cluster status` goes on saying so, bring the other nodes "    \
	"back, or drain on this one alone (--local)"

struct write {
	struct api *api;   /* NULL: it has ended */
	struct call *call; /* NULL: nobody waits for the answer */
	char operation[STORE_OPERATION_LEN + 1];
	int64_t started_us;
	struct write_then then;
};

/* ---- turns ---- */

static void cancel_waiting(struct call *c)
{
	list_remove(&c->waiting);
	call_free(c);
}

void write_wait(struct call *c)
{
	list_append(&c->api->waiting, &c->waiting);
	c->cancel = cancel_waiting;
}

bool write_turn(struct call *c)
{
	struct api *a = c->api;

	if (c->waits_since_ms == 0)
		c->waits_since_ms = loop_now_ms(a->env.loop);
	if (a->write == NULL)
		return true;
	write_wait(c);
	return false;
}

const char *write_operation(const struct api *a)
{
	return a->write == NULL ? NULL : a->write->operation;
}

static void waited_in_vain(struct call *c)
{
	if (c->was_late)
		/* What it was read with is still in force here, as far as was seen: no 412. */
		call_problem(c, PROBLEM_BUSY, NULL,
			     "nothing was changed: others wrote all the time, or a write of theirs is not decided yet");
	else
		call_problem(c, PROBLEM_NO_QUORUM, NULL,
			     "nothing was changed: the writes in front of it did not end in time");
}

void write_wake(void *arg)
{
	struct api *a = arg;

	CHECK_OBJ(a, API_MAGIC);
	while (a->write == NULL && !list_empty(&a->waiting)) {
		struct call *c = LIST_FIRST(&a->waiting, struct call, waiting);
		list_remove(&c->waiting);
		c->cancel = NULL;
		if (loop_now_ms(a->env.loop) - c->waits_since_ms > CORE_DEADLINE_MS)
			waited_in_vain(c);
		else
			c->resource->fn(c);
	}
}

/* ---- answers ---- */

static void answer_disk(struct call *c, int error)
{
	if (error == -ENOSPC || error == -EDQUOT)
		call_problem(c, PROBLEM_FULL_DISK, NULL, "%s", strerror(-error));
	else
		call_problem(c, PROBLEM_INTERNAL, NULL, "it could not be stored: %s", strerror(-error));
}

static void answer_unknown(struct call *c, const char *operation, int error)
{
	char *location = xasprintf("/api/v1/operations/%s", operation);

	call_set_header(c, "Location", location);
	call_json(c, 202,
		  json_pack("{s:s, s:s, s:s}", "operation", operation, "state", "unknown", "detail",
			    error != 0 ? "this node's disk failed: it may have been made, the operation tells"
				       : "no answer in time: it may be made yet, the operation tells"));
	free(location);
}

void write_answer(struct call *c, const struct store_result *r, const char *operation)
{
	switch (r->result) {
	case CORE_FULL:
		answer_disk(c, r->error);
		break;
	case CORE_NO_QUORUM:
		if (r->error != 0)
			answer_disk(c, r->error);
		else
			call_problem(c, PROBLEM_NO_QUORUM, NULL, NOTHING_CHANGED);
		break;
	case CORE_REFUSED:
		call_problem(c, PROBLEM_CONFLICT, NULL, "another change is under way");
		break;
	case CORE_DUPLICATE:
		if (!write_replayed(c))
			call_json(c, 200, json_pack("{s:I, s:b}", "revision", (json_int_t)r->revision, "replayed", 1));
		break;
	default:
		answer_unknown(c, operation, r->error);
		break;
	}
}

/* Somebody else was first: what they wrote may not be in force here yet. */
static void again_later(struct api *a, struct call *c)
{
	c->was_late = true;
	write_wait(c);
	timer_set_in(a->env.loop, &a->write_again, AGAIN_MS);
}

/* Whether then.arg was taken over. */
static bool finish(struct write *w, struct call *c, const struct store_result *r)
{
	struct api *a = w->api;

	if (r->result == CORE_COMMITTED) {
		metrics_observe(a->m_commit, (uint64_t)(clock_mono_us() - w->started_us));
		return w->then.committed(a, c, r, w->then.arg);
	}
	if (w->then.failed != NULL)
		return w->then.failed(a, c, r, w->then.arg);
	if (c != NULL && r->result == CORE_STALE)
		again_later(a, c);
	else if (c != NULL)
		write_answer(c, r, w->operation);
	return false;
}

/* Not at once: the store may be telling of several entries, and until the last one what is in force here is older than
 * what it holds. Who was late has set the timer, and waits longer. */
static void wake_soon(struct api *a)
{
	if (a->write_again.deadline == 0 && a->write == NULL)
		loop_flush_queue(a->env.loop, &a->write_next);
}

static void on_done(const struct store_result *r, void *arg)
{
	struct write *w = arg;
	struct api *a = w->api;
	struct call *c = w->call;
	bool taken = false;

	if (c != NULL)
		c->cancel = NULL;
	if (a == NULL && c != NULL)
		call_free(c);
	if (a != NULL) {
		CHECK_OBJ(a, API_MAGIC);
		a->write = NULL;
		a->proposed = NULL;
		taken = finish(w, c, r);
	}
	if (w->then.release != NULL && !taken)
		w->then.release(w->then.arg);
	free(w);
	if (a != NULL)
		wake_soon(a);
}

/* ---- proposing ---- */

/* The client is gone; its write goes on. */
static void cancel_write(struct call *c)
{
	struct write *w = c->arg;

	w->call = NULL;
	call_free(c);
}

void write_refuse(struct call *c, int err)
{
	int disk = store_disk_error(c->api->env.store);

	if (err == -ENOTCONN && disk != 0)
		answer_disk(c, disk);
	else if (err == -ENOTCONN)
		call_problem(c, PROBLEM_NO_QUORUM, NULL, NOTHING_CHANGED);
	else if (err == -EBUSY)
		call_problem(c, PROBLEM_BUSY, NULL, "too many writes are under way");
	else if (err == -EFBIG)
		call_problem(c, PROBLEM_TOO_LARGE, NULL, "the document would be larger than %d bytes",
			     CORE_DOCUMENT_MAX);
	else
		call_problem(c, PROBLEM_INTERNAL, NULL, "it could not be proposed: %s", strerror(-err));
}

void write_propose(struct api *a, struct call *c, struct store_write *sw, const struct write_then *then)
{
	const struct entry *last = store_last(a->env.store, sw->kind);
	struct write *w = xcalloc(1, sizeof(*w));
	struct write_key key;

	ASSERT(a->write == NULL);
	*w = (struct write) { .api = a, .call = c, .started_us = clock_mono_us(), .then = *then };
	store_operation_new(w->operation);
	sw->operation = w->operation;
	sw->expect_position = last == NULL ? 0 : last->position;
	if (sw->author == NULL) {
		sw->author = c->who.author;
		write_set_key(c, &key, sw);
	}
	int err = store_propose(a->env.store, sw, on_done, w);
	if (err != 0) {
		bool taken = false;
		a->proposed = NULL;
		if (then->failed != NULL)
			taken = then->failed(a, c, NULL, then->arg);
		else if (c != NULL)
			write_refuse(c, err);
		if (then->release != NULL && !taken)
			then->release(then->arg);
		free(w);
		return;
	}
	a->write = w;
	if (c != NULL) {
		c->arg = w;
		c->cancel = cancel_write;
	}
}

/* ---- what is in force ---- */

static bool on_confirmed(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	UNUSED(a);
	UNUSED(r);
	UNUSED(arg);
	if (c == NULL)
		return false;
	c->is_fresh = true;
	write_wait(c);
	return false;
}

/* Whatever became of that entry, the call's own write was never asked for: no "unknown". */
static bool on_not_confirmed(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	int disk = store_disk_error(a->env.store);

	UNUSED(arg);
	if (c == NULL)
		return false;
	if (r != NULL && r->result == CORE_STALE)
		again_later(a, c);
	else if (disk != 0)
		answer_disk(c, disk);
	else
		call_problem(c, PROBLEM_NO_QUORUM, NULL,
			     "nothing was changed: it could not be learned what is in force on the others");
	return false;
}

bool write_confirm(struct call *c)
{
	const struct entry *e = store_last(c->api->env.store, ENTRY_RUNTIME);

	if (c->is_fresh || call_flag(c, "dry_run") || store_identity(c->api->env.store).cluster == 0)
		return false;
	char *text = e == NULL ? xstrdup("{}") : xstrndup(e->document.p, e->document.n);
	/* With an author given it is not under the call's Idempotency-Key. */
	struct store_write sw = { .kind = ENTRY_RUNTIME,
				  .author = c->who.author,
				  .comment = "to be sure of what is in force",
				  .document = str_from(text) };
	write_propose(c->api, c, &sw, &(struct write_then) { .committed = on_confirmed, .failed = on_not_confirmed });
	free(text);
	return true;
}

void write_end_all(struct api *a)
{
	timer_stop(&a->write_again);
	timer_stop(&a->prune_again);
	loop_flush_cancel(&a->write_next);
	while (!list_empty(&a->waiting))
		cancel_waiting(LIST_FIRST(&a->waiting, struct call, waiting));
	if (a->write != NULL)
		a->write->api = NULL;
	a->write = NULL;
}

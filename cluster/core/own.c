/* SPDX-License-Identifier: Apache-2.0
 * This node's own proposals, until each is answered once.
 *
 * The hard thing is to say "not made" only where that is certain. A proposal that was sent may be in somebody's log
 * even if its view is gone: it is asked again in the next epoch, whose log then tells, or it ends as unknown.
 */
#include <errno.h>
#include <stdlib.h>

#include "cluster/core/core_private.h"

static void finish(struct core *c, struct own *o, enum core_result result, uint64_t position)
{
	uint64_t ticket = o->ticket;

	c->own_bytes -= o->bytes.n;
	list_remove(&o->link);
	sbuf_fini(&o->bytes);
	free(o->operation);
	free(o);
	c->n_own--;
	c->env.answer(c->env.arg, ticket, result, position);
}

void own_fini(struct core *c)
{
	while (!list_empty(&c->own)) {
		struct own *o = LIST_FIRST(&c->own, struct own, link);
		list_remove(&o->link);
		sbuf_fini(&o->bytes);
		free(o->operation);
		free(o);
	}
}

static void send(struct core *c, struct own *o)
{
	struct sbuf body = { 0 };

	o->only_here = (o->only_here || !o->sent_ever) && c->view.n == 1;
	o->sent = o->sent_ever = true;
	sbuf_add(&body, o->bytes.p, o->bytes.n);
	lanes_send(c, WIRE_PROPOSE, c->view.epoch, &body);
	order_own(c, o->ticket, (struct str) { o->bytes.p, o->bytes.n });
}

/* Held to what the log knows: what it holds is waited for, the rest is asked (again). */
void own_active(struct core *c)
{
	struct own *o;
	struct list *next;

	LIST_FOR_EACH(o, next, &c->own, link) {
		uint64_t at = ops_find(&c->ledger.ops, o->operation, NULL);
		if (at != 0 && at <= c->applied)
			finish(c, o, CORE_COMMITTED, at);
		else if (at == 0)
			send(c, o);
	}
}

void own_view_gone(struct core *c)
{
	struct own *o;
	struct list *next;

	LIST_FOR_EACH(o, next, &c->own, link) {
		o->sent = false;
		o->duplicate_of = 0;
		if (!o->sent_ever && (c->state == CORE_MINORITY || c->state == CORE_OFFLINE))
			finish(c, o, CORE_NO_QUORUM, 0);
	}
}

void own_tick(struct core *c)
{
	struct own *o;
	struct list *next;

	LIST_FOR_EACH(o, next, &c->own, link)
		if (c->now_ms >= o->deadline_ms)
			finish(c, o, o->sent_ever ? CORE_UNKNOWN : CORE_NO_QUORUM, 0);
}

static void settle_duplicate(struct core *c, struct own *o)
{
	uint64_t at = ops_find(&c->ledger.ops, o->operation, NULL);

	finish(c, o, at == o->duplicate_of ? CORE_COMMITTED : CORE_DUPLICATE, o->duplicate_of);
}

void own_answered(struct core *c, const struct wire_order *a)
{
	struct own *o;
	struct list *next;

	LIST_FOR_EACH(o, next, &c->own, link) {
		if (o->ticket != a->ticket)
			continue;
		o->duplicate_of = a->result == CORE_DUPLICATE ? a->position : 0;
		if (a->result != CORE_DUPLICATE)
			finish(c, o, a->result, 0);
		else if (a->position <= c->applied)
			settle_duplicate(c, o);
	}
}

void own_applied(struct core *c, const struct entry *e)
{
	struct own *o;
	struct list *next;

	LIST_FOR_EACH(o, next, &c->own, link)
		if (strcmp(o->operation, e->operation) == 0)
			finish(c, o, CORE_COMMITTED, e->position);
		else if (o->duplicate_of != 0 && o->duplicate_of <= e->position)
			finish(c, o, CORE_DUPLICATE, o->duplicate_of);
}

void own_withdraw(struct core *c, uint64_t after, enum core_result result)
{
	struct own *o;
	struct list *next;

	LIST_FOR_EACH(o, next, &c->own, link) {
		uint64_t at = ops_find(&c->ledger.ops, o->operation, NULL);
		if (o->only_here && (at > after || o->duplicate_of > after))
			finish(c, o, result, 0);
	}
}

/* ---- proposing ---- */

static const char *text_or_empty(const char *s)
{
	return s == NULL ? "" : s;
}

static int check(const struct core *c, const struct core_proposal *p, struct entry *e)
{
	struct voters table;

	if (c->state == CORE_OFFLINE || c->state == CORE_MINORITY)
		return -ENOTCONN;
	if (c->n_own == CORE_PROPOSALS_MAX || c->own_bytes + p->document.n > CORE_PROPOSED_MAX)
		return -EBUSY;
	if (p->document.n > CORE_DOCUMENT_MAX)
		return -EFBIG;
	if (!entry_fits(e) || e->operation[0] == '\0')
		return -EINVAL;
	if (p->kind == ENTRY_MEMBERSHIP && !voters_decode(p->document, &table))
		return -EINVAL;
	return 0;
}

int core_propose(struct core *c, const struct core_proposal *p, uint64_t *ret_ticket)
{
	CHECK_OBJ(c, CORE_MAGIC);
	struct entry e = { .position = p->expect_position,
			   .revision = c->ticket + 1,
			   .kind = p->kind,
			   .wall = p->wall,
			   .operation = text_or_empty(p->operation),
			   .author = text_or_empty(p->author),
			   .node = c->config.node,
			   .comment = text_or_empty(p->comment),
			   .idempotency_key = text_or_empty(p->idempotency_key),
			   .document = p->document };
	int err = check(c, p, &e);

	if (err != 0)
		return err;
	if (p->request_hash != NULL)
		memcpy(e.request_hash, p->request_hash, ENTRY_HASH_LEN);
	struct own *o = xcalloc(1, sizeof(*o));
	o->ticket = *ret_ticket = ++c->ticket;
	o->deadline_ms = p->deadline_ms;
	o->operation = xstrdup(e.operation);
	entry_encode(&e, &o->bytes);
	list_append(&c->own, &o->link);
	c->n_own++;
	c->own_bytes += o->bytes.n;
	writes_probe(c); /* somebody wants to write: no reason to wait for the next attempt's time */
	if (c->state == CORE_ACTIVE)
		send(c, o);
	return 0;
}

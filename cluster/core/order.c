/* SPDX-License-Identifier: Apache-2.0
 * Proposals get their places: by the donor's word alone.
 *
 * The hard thing: members of a view may lack a message that others have. If each gave places by counting what it saw,
 * one hole would make two logs of one epoch. So places come from one sender whose messages are numbered, with the hash
 * of the entry that must come out; who lacks the proposal or makes another entry of it knows that it does.
 */
#include <errno.h>
#include <stdlib.h>

#include "cluster/core/core_private.h"

enum { AHEAD_MAX = CORE_TAIL_MAX / 4 }; /* entries ordered that are not committed yet */

static void drop(struct core *c, struct proposal *p)
{
	list_remove(&p->link);
	sbuf_fini(&p->bytes);
	free(p);
	c->view.n_proposals--;
}

void order_clear(struct core *c)
{
	while (c->view.open && !list_empty(&c->view.proposals))
		drop(c, LIST_FIRST(&c->view.proposals, struct proposal, link));
}

static struct proposal *find(struct core *c, uint32_t proposer, uint64_t ticket)
{
	struct proposal *p;
	struct list *next;

	LIST_FOR_EACH(p, next, &c->view.proposals, link)
		if (p->proposer == proposer && p->entry.revision == ticket)
			return p;
	return NULL;
}

/* More than a member that keeps the rules can have open. */
static bool too_many(struct core *c, uint32_t proposer)
{
	struct proposal *p;
	struct list *next;
	size_t n = 0, bytes = 0;

	LIST_FOR_EACH(p, next, &c->view.proposals, link)
		if (p->proposer == proposer) {
			n++;
			bytes += p->bytes.n;
		}
	return n > 2 * CORE_PROPOSALS_MAX || bytes > 2 * CORE_PROPOSED_MAX;
}

static bool was_taken(const struct core *c, const struct proposal *p)
{
	const struct view *v = &c->view;

	return p->proposer == c->config.id && v->own_epoch == v->epoch && p->entry.revision <= v->own_taken;
}

static void take(struct core *c, uint32_t proposer, struct str body)
{
	struct proposal *p = xcalloc(1, sizeof(*p));

	p->proposer = proposer;
	sbuf_add(&p->bytes, body.p, body.n);
	list_append(&c->view.proposals, &p->link);
	c->view.n_proposals++;
	if (!entry_decode((struct str) { p->bytes.p, p->bytes.n }, &p->entry) || p->entry.operation[0] == '\0' ||
	    too_many(c, proposer)) {
		drop(c, p);
		core_lose_view(c, "a proposal cannot be taken");
		return;
	}
	if (find(c, proposer, p->entry.revision) != p || was_taken(c, p))
		drop(c, p); /* sent again within one view, or known before it came */
	order_pending(c);
}

void order_on_propose(struct core *c, struct member *m, struct str body)
{
	take(c, m->id, body);
}

/* Others hear the proposal before its place, as both are said by one sender. It saves the ring a round. */
void order_own(struct core *c, uint64_t ticket, struct str body)
{
	struct view *v = &c->view;

	if (!v->active || v->lost || v->donor != c->config.id)
		return;
	take(c, c->config.id, body);
	v->own_taken = ticket;
	v->own_epoch = v->epoch;
}

/* ---- what an entry becomes ---- */

/* Appends what the proposal is at this place. false: the result is not `hash` (where given), nothing changed. */
static bool append(struct core *c, const struct proposal *p, const uint8_t *hash, uint8_t ret_hash[ENTRY_HASH_LEN])
{
	struct ledger *l = &c->ledger;
	struct sbuf bytes = { 0 };
	struct entry e = p->entry;

	e.epoch = c->view.epoch;
	e.position = l->last + 1;
	e.revision = l->revision + (e.kind == ENTRY_CONFIG);
	memcpy(e.previous, l->last_hash, ENTRY_HASH_LEN);
	entry_encode(&e, &bytes);
	bool good = hash == NULL || memcmp(hash, e.hash, ENTRY_HASH_LEN) == 0;
	if (good)
		ledger_append(c, (struct str) { bytes.p, bytes.n });
	memcpy(ret_hash, e.hash, ENTRY_HASH_LEN);
	sbuf_fini(&bytes);
	return good;
}

/* ---- the donor ---- */

static bool able(const struct core *c, const struct member *m, uint64_t arg)
{
	UNUSED(arg);
	/* Of itself this node knows more than it last said. */
	return m->has_state && (m->id == c->config.id ? quorum_able(c) : (m->state.flags & WIRE_ABLE) != 0);
}

static bool in_sync(const struct core *c, const struct member *m, uint64_t base)
{
	return m->ack_epoch == c->view.epoch && m->ack >= base;
}

/* A vote is for members that have the log: one without would lower what a quorum has. */
static bool new_voters_synced(struct core *c, const struct voters *table)
{
	for (size_t i = 0; i < table->n; i++) {
		const struct voter *v = &table->list[i];
		int before = voters_index(&c->ledger.newest, v->id, v->instance);
		const struct member *m = core_member(c, v->id);
		if (v->votes == 0 || (before >= 0 && c->ledger.newest.list[before].votes > 0))
			continue;
		if (m == NULL || !m->has_state || m->state.instance != v->instance || !in_sync(c, m, c->view.base))
			return false;
	}
	return true;
}

static bool membership_allowed(struct core *c, const struct entry *e)
{
	struct voters table;

	return voters_decode(e->document, &table) && !table.forced && c->ledger.newest_at <= c->committed &&
	       new_voters_synced(c, &table) && quorum_of(c, &table, in_sync, c->view.base);
}

static enum core_result judge(struct core *c, const struct entry *e, uint64_t *ret_position)
{
	*ret_position = ops_find(&c->ledger.ops, e->operation, e->idempotency_key);
	if (*ret_position != 0)
		return CORE_DUPLICATE;
	if (!quorum_has(c, able, 0))
		return CORE_FULL;
	if (e->position != UINT64_MAX && e->position != c->ledger.last_of_kind[e->kind])
		return CORE_STALE;
	if (e->kind == ENTRY_MEMBERSHIP && !membership_allowed(c, e))
		return CORE_REFUSED;
	return CORE_COMMITTED;
}

static void place(struct core *c, struct proposal *p)
{
	struct wire_order o = { .proposer = p->proposer, .ticket = p->entry.revision };
	struct sbuf body = { 0 };

	o.result = judge(c, &p->entry, &o.position);
	bool yes = o.result == CORE_COMMITTED;
	if (yes) {
		append(c, p, NULL, o.hash);
		o.position = c->ledger.last;
		o.revision = c->ledger.revision;
	}
	drop(c, p);
	wire_order_encode(&o, &body);
	lanes_send(c, yes ? WIRE_ORDER : WIRE_ANSWER, c->view.epoch, &body);
}

/* Without a disk that works there is no quorum, and this one is just being tried. */
static bool awaits_disk(const struct core *c)
{
	return c->writes.failing && c->writes.busy && !quorum_has(c, able, 0);
}

void order_pending(struct core *c)
{
	struct view *v = &c->view;

	if (awaits_disk(c))
		return;
	while (v->active && !v->lost && v->donor == c->config.id && !list_empty(&v->proposals) &&
	       c->ledger.n_tail < AHEAD_MAX && !ledger_full(c)) {
		place(c, LIST_FIRST(&v->proposals, struct proposal, link));
		writes_kick(c);
	}
}

/* ---- the others ---- */

static void follow_order(struct core *c, const struct proposal *p, const struct wire_order *o)
{
	uint8_t made[ENTRY_HASH_LEN];

	if (p == NULL || o->position != c->ledger.last + 1) {
		core_lose_view(c, "an entry was ordered that does not follow, or whose proposal is missing");
		return;
	}
	if (!append(c, p, o->hash, made)) {
		core_event_text(c, CORE_EVENT_DIVERGED, "position %llu came out differently here",
				(unsigned long long)o->position);
		c->trusted = false;
		core_lose_view(c, "this node's log differs from the donor's");
		return;
	}
	if (ledger_full(c)) {
		c->behind = true;
		c->view.following = c->view.active = false;
		core_event_text(c, CORE_EVENT_BEHIND, "more is not durable here than is kept in memory");
		core_set_state(c);
	}
}

void order_on_order(struct core *c, struct member *m, uint64_t epoch, struct str body)
{
	struct wire_order o;

	if (m->id == c->config.id)
		return; /* said by this node: done before it was said */
	if (!wire_order_decode(body, &o)) {
		core_lose_view(c, "an order cannot be read");
		return;
	}
	struct proposal *p = find(c, o.proposer, o.ticket);
	if (c->view.following && epoch == c->view.epoch && m->id == c->view.donor)
		follow_order(c, p, &o);
	if (c->view.lost)
		return; /* the list is gone */
	if (p != NULL)
		drop(c, p);
	writes_kick(c);
	commit_advance(c);
}

void order_on_answer(struct core *c, struct member *m, uint64_t epoch, struct str body)
{
	struct wire_order o;

	if (!wire_order_decode(body, &o)) {
		core_lose_view(c, "an answer cannot be read");
		return;
	}
	struct proposal *p = m->id == c->config.id ? NULL : find(c, o.proposer, o.ticket);
	if (p != NULL)
		drop(c, p);
	if (c->view.following && epoch == c->view.epoch && m->id == c->view.donor && o.proposer == c->config.id)
		own_answered(c, &o);
}

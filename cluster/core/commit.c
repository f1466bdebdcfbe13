/* SPDX-License-Identifier: Apache-2.0
 * Acknowledgements counted, and what is committed applied.
 *
 * The hard thing is what an acknowledgement means: that the entry and the epoch are both on stable storage there.
 * Counted otherwise, a later quorum need not see the entry. Each node counts for itself; a commit needs no message of
 * its own.
 */
#include "cluster/core/core_private.h"

void commit_say_ack(struct core *c)
{
	struct wire_ack a = { .position = c->ledger.stable_to };
	struct sbuf body = { 0 };

	if (a.position < c->view.base || !ledger_hash(c, a.position, a.hash))
		return;
	wire_ack_encode(&a, &body);
	lanes_send(c, WIRE_ACK, c->view.epoch, &body);
}

static bool acked(const struct core *c, const struct member *m, uint64_t position)
{
	return m->ack_epoch == c->view.epoch && m->ack >= position;
}

/* The highest position that a quorum has. false: none that would be news. */
static bool highest(const struct core *c, uint64_t *ret)
{
	bool found = false;

	*ret = 0;
	for (size_t i = 0; i < c->view.n; i++) {
		const struct member *m = &c->view.members[i];
		uint64_t at = m->ack < c->ledger.last ? m->ack : c->ledger.last;
		if (m->ack_epoch != c->view.epoch || at < c->view.base || (found && at <= *ret))
			continue;
		if ((at > c->committed || !c->view.active) && quorum_has(c, acked, at)) {
			*ret = at;
			found = true;
		}
	}
	return found;
}

void commit_apply(struct core *c)
{
	while (c->view.following && c->applied < c->committed) {
		uint64_t p = ledger_next(c, c->applied + 1);
		if (p == 0 || p > c->committed)
			break;
		c->applied = p;
		c->env.apply(c->env.arg, ledger_entry(c, p));
		own_applied(c, ledger_entry(c, p));
	}
	ledger_trim(c);
}

void commit_advance(struct core *c)
{
	struct view *v = &c->view;
	uint64_t at;

	/* Again after each step: a table that is committed now may need fewer. */
	while (v->following && highest(c, &at)) {
		bool first = !v->active;
		v->active = true;
		c->committed = at > c->committed ? at : c->committed;
		commit_apply(c);
		if (first) {
			core_set_state(c);
			own_active(c);
		}
	}
	order_pending(c);
	writes_kick(c);
}

void commit_on_ack(struct core *c, struct member *m, uint64_t epoch, struct str body)
{
	uint8_t hash[ENTRY_HASH_LEN];
	struct wire_ack a;

	if (!wire_ack_decode(body, &a)) {
		core_lose_view(c, "an acknowledgement cannot be read");
		return;
	}
	if (PLANTED(PLANT_STALE_VIEW))
		epoch = c->view.epoch;
	if (epoch < m->ack_epoch || (epoch == m->ack_epoch && a.position <= m->ack))
		return;
	if (c->view.following && epoch == c->view.epoch && a.position <= c->ledger.last &&
	    ledger_hash(c, a.position, hash) && memcmp(hash, a.hash, sizeof(hash)) != 0 && !PLANTED(PLANT_STALE_VIEW)) {
		if (m->id != c->view.donor)
			return; /* it has another log: its word does not count, and it will see that itself */
		core_event_text(c, CORE_EVENT_DIVERGED, "position %llu differs from the donor's",
				(unsigned long long)a.position);
		c->trusted = false;
		core_lose_view(c, "this node's log differs from the donor's");
		return;
	}
	m->ack_epoch = epoch;
	m->ack = a.position;
	m->forgot = false;
	if (m->has_state) {
		struct wire_state *s = &m->state;
		s->promised = epoch > s->promised ? epoch : s->promised;
		s->adopted = epoch;
		s->last = a.position;
		quorum_witness(c, &(struct wire_witness) { m->id, s->instance, s->promised, epoch, a.position });
	}
	commit_advance(c);
}

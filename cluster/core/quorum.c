/* SPDX-License-Identifier: Apache-2.0
 * Who counts in a view, and whether those who do are a quorum by the tables of this node's log.
 *
 * The hard thing: a table may be half made, and a member may say less of itself than it once wrote. Either would let
 * two quorums miss each other.
 */
#include "cluster/core/core_private.h"

bool quorum_able(const struct core *c)
{
	return !c->writes.failing && !c->behind;
}

bool quorum_older(uint64_t adopted, uint64_t last, uint64_t than_adopted, uint64_t than_last)
{
	return adopted < than_adopted || (adopted == than_adopted && last < than_last);
}

static bool contradicts(const struct wire_witness *w, const struct member *m)
{
	return w->id == m->id && w->instance == m->state.instance &&
	       (m->state.promised < w->promised || quorum_older(m->state.adopted, m->state.last, w->adopted, w->last));
}

/* Whether somebody here knows that the member had more on stable storage than it says: an old copy of its disk. */
bool quorum_forgot(const struct core *c, const struct member *m)
{
	for (size_t i = 0; i < c->n_witness; i++)
		if (contradicts(&c->witness[i], m))
			return true;
	for (size_t i = 0; i < c->view.n; i++) {
		const struct member *other = &c->view.members[i];
		for (size_t k = 0; other != m && other->has_state && k < other->state.n_witness; k++)
			if (contradicts(&other->state.witness[k], m))
				return true;
	}
	return false;
}

/* Whether what it says is meant for this node at all. */
bool quorum_speaks(const struct core *c, const struct wire_state *s)
{
	return s->cluster == c->config.cluster && s->features_low <= CORE_FEATURES_HIGH &&
	       s->features_high >= CORE_FEATURES_LOW;
}

bool quorum_counts(const struct core *c, const struct member *m, uint64_t arg)
{
	UNUSED(arg);
	uint8_t need = WIRE_ABLE | WIRE_TRUSTED;

	if (PLANTED(PLANT_DAMAGED_VOTES))
		return m->has_state && (m->state.flags & WIRE_ABLE) && quorum_speaks(c, &m->state);
	return m->has_state && (m->state.flags & need) == need && quorum_speaks(c, &m->state) && !m->forgot;
}

/* Of two voters the one that is there and can write must have written; who has not spoken is taken to be able. */
static voters_set able_of(const struct core *c, const struct voters *v)
{
	voters_set able = 0;

	for (size_t i = 0; i < c->view.n; i++) {
		const struct member *m = &c->view.members[i];
		bool whole = ((m->state.flags & WIRE_TRUSTED) && !m->forgot) ||
			     (m->ack_epoch != 0 && m->ack_epoch == c->view.epoch);
		for (size_t k = 0; k < v->n; k++)
			if (v->list[k].id == m->id && (!m->has_state || (v->list[k].instance == m->state.instance &&
									 (m->state.flags & WIRE_ABLE) && whole)))
				able |= (voters_set)1 << k;
	}
	return able;
}

bool quorum_of(const struct core *c, const struct voters *v, quorum_fn *done, uint64_t arg)
{
	voters_set set = 0;

	for (size_t i = 0; i < c->view.n; i++) {
		const struct member *m = &c->view.members[i];
		int index = m->has_state ? voters_index(v, m->id, m->state.instance) : -1;
		if (index >= 0 && done(c, m, arg))
			set |= (voters_set)1 << index;
	}
	return voters_quorum(v, set, able_of(c, v));
}

/* A log without a table is a single node's, and only while nobody else is there. */
static bool is_alone(const struct core *c)
{
	return c->config.alone && c->ledger.newest.n == 0 && c->view.n == 1;
}

static bool votes_in(const struct core *c, const struct voters *v)
{
	int index = voters_index(v, c->config.id, c->config.instance);

	return index >= 0 && v->list[index].votes > 0;
}

/* The table before the newest counts, while it does: who is to go may hold the newest log. */
static const struct voters *table_before(const struct core *c)
{
	const struct ledger *l = &c->ledger;

	return l->newest_at <= c->committed || l->newest.forced || l->previous.n == 0 ? NULL : &l->previous;
}

bool quorum_has(const struct core *c, quorum_fn *done, uint64_t arg)
{
	const struct ledger *l = &c->ledger;

	if (is_alone(c))
		return done(c, &c->view.members[0], arg);
	if (l->newest.n == 0 || !quorum_of(c, &l->newest, done, arg))
		return false;
	/* A table that is not known to be committed rests on the one before it: both must agree. */
	const struct voters *before = table_before(c);
	return before == NULL || quorum_of(c, before, done, arg);
}

bool quorum_is_voter(const struct core *c)
{
	const struct voters *before = table_before(c);

	return is_alone(c) || votes_in(c, &c->ledger.newest) || (before != NULL && votes_in(c, before));
}

static bool is_better(const struct member *m, const struct member *than)
{
	const struct wire_state *s = &m->state, *t = &than->state;
	bool votes = s->flags & WIRE_VOTER, other_votes = t->flags & WIRE_VOTER;

	if (s->adopted != t->adopted || s->last != t->last)
		return quorum_older(t->adopted, t->last, s->adopted, s->last);
	return votes != other_votes ? votes : m->id < than->id;
}

/* The newest log among those that count; NULL = none. Who is no voter (any more) may have it and be the donor: it needs
 * the promises of those who are. */
const struct member *quorum_best(const struct core *c)
{
	const struct member *found = NULL;

	for (size_t i = 0; i < c->view.n; i++) {
		const struct member *m = &c->view.members[i];
		if (quorum_counts(c, m, 0) && (found == NULL || is_better(m, found)))
			found = m;
	}
	return found;
}

void quorum_witness(struct core *c, const struct wire_witness *w)
{
	struct wire_witness *to = NULL;

	for (size_t i = 0; i < c->n_witness; i++)
		if (c->witness[i].id == w->id)
			to = &c->witness[i];
	if (to == NULL && c->n_witness == CORE_MEMBERS_MAX) {
		/* Full of members that came and went: the oldest makes room. */
		memmove(&c->witness[0], &c->witness[1], sizeof(c->witness) - sizeof(c->witness[0]));
		c->n_witness--;
	}
	if (to == NULL) {
		to = &c->witness[c->n_witness++];
		*to = *w;
	}
	if (to->instance != w->instance)
		*to = *w;
	to->promised = w->promised > to->promised ? w->promised : to->promised;
	if (quorum_older(to->adopted, to->last, w->adopted, w->last)) {
		to->adopted = w->adopted;
		to->last = w->last;
	}
}

void quorum_witness_of(struct core *c, const struct member *m)
{
	quorum_witness(c, &(struct wire_witness) { .id = m->id,
						   .instance = m->state.instance,
						   .promised = m->state.promised,
						   .adopted = m->state.adopted,
						   .last = m->state.last });
}

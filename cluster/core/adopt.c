/* SPDX-License-Identifier: Apache-2.0
 * Bringing the members of a view to the donor's log.
 *
 * The hard thing: what a member has and the donor has not must go, but only that, and never unseen. Entries that both
 * have are found by their hashes (each covers all before it), so nothing is cut that need not be.
 */
#include <stdio.h>

#include "cluster/core/core_private.h"
#include "cluster/core/le.h"

/* ---- giving ---- */

static uint64_t generation(uint64_t epoch)
{
	return epoch >> 32;
}

/* Up to where a member's log is the donor's, as far as its state tells. false: nowhere for sure. */
static bool common_point(const struct core *c, const struct member *m, uint64_t *ret)
{
	uint8_t hash[ENTRY_HASH_LEN];
	const struct wire_state *s = &m->state;

	*ret = s->last;
	if (s->last <= c->ledger.last && ledger_hash(c, s->last, hash) && memcmp(hash, s->hash, sizeof(hash)) == 0)
		return true;
	*ret = s->committed < c->ledger.last ? s->committed : c->ledger.last;
	return generation(s->adopted) == generation(c->adopted);
}

static void add_entry(struct core *c, uint64_t position, struct wire_suffix *s, struct sbuf *out)
{
	struct entry e = *ledger_entry(c, position);
	size_t start = out->n;
	uint8_t n[4] = { 0 };

	sbuf_add(out, n, 4);
	entry_encode(&e, out);
	le_put((uint8_t *)out->p + start, out->n - start - 4, 4);
	s->n++;
}

/* All entries behind `after`, or false where one is not kept or they are too much. */
static bool collect(struct core *c, uint64_t after, struct wire_suffix *s, struct sbuf *out)
{
	for (uint64_t p = after + 1; p <= c->ledger.last; p++) {
		if (ledger_entry(c, p) == NULL || out->n > CORE_SUFFIX_MAX - CORE_DOCUMENT_MAX ||
		    s->n == CORE_TAIL_MAX / 2)
			return false;
		add_entry(c, p, s, out);
	}
	return true;
}

/* What is kept, and where that is too much the newest of it. The last committed of each kind is never left out: what
 * follows it may yet be cut off. */
static void collect_whole(struct core *c, struct wire_suffix *s, struct sbuf *out)
{
	const struct ledger *l = &c->ledger;
	uint64_t from = 1, last[ENTRY_KIND_COUNT] = { 0 };
	size_t bytes = 0, n = 0;

	for (uint64_t p = ledger_next(c, 1); p != 0; p = ledger_next(c, p + 1), n++) {
		const struct entry *e = ledger_entry(c, p);
		bytes += e->document.n + 1024;
		last[e->kind] = p <= c->committed ? p : last[e->kind];
	}
	while ((bytes > CORE_SUFFIX_MAX / 2 || n > CORE_TAIL_MAX / 2) && from <= c->committed) {
		from = ledger_next(c, from);
		bytes -= ledger_entry(c, from)->document.n + 1024;
		from++;
		n--;
	}
	for (uint64_t p = ledger_next(c, 1); p != 0; p = ledger_next(c, p + 1)) {
		bool newest = p == last[ENTRY_CONFIG] || p == last[ENTRY_RUNTIME] || p == last[ENTRY_MEMBERSHIP] ||
			      p == l->newest_at || p == l->previous_at;
		if (p >= from || newest)
			add_entry(c, p, s, out);
	}
}

static void send_suffix(struct core *c, bool whole, uint64_t after)
{
	struct wire_suffix s = { .after = after, .last = c->ledger.last, .committed = c->committed };
	struct sbuf entries = { 0 }, answers = { 0 }, body = { 0 };

	if (whole || !ledger_hash(c, after, s.hash) || !collect(c, after, &s, &entries)) {
		sbuf_reset(&entries);
		s = (struct wire_suffix) { .whole = true, .last = s.last, .committed = s.committed };
		collect_whole(c, &s, &entries);
		ops_encode(&c->ledger.ops, c->committed, &answers);
	}
	s.entries = (struct str) { entries.p, entries.n };
	s.answers = (struct str) { answers.p, answers.n };
	wire_suffix_encode(&s, &body);
	lanes_send(c, WIRE_SUFFIX, c->view.epoch, &body);
	sbuf_fini(&entries);
	sbuf_fini(&answers);
}

void adopt_cover(struct core *c, struct member *m)
{
	uint64_t after;
	bool whole = !common_point(c, m, &after);

	m->covered = true;
	send_suffix(c, whole, after);
}

static void cover_all(struct core *c)
{
	uint64_t from = c->ledger.last, after;
	bool whole = false;

	for (size_t i = 0; i < c->view.n; i++) {
		struct member *m = &c->view.members[i];
		if (!m->has_state || m->id == c->config.id)
			continue;
		m->covered = true;
		whole = !common_point(c, m, &after) || whole;
		from = after < from ? after : from;
	}
	if (c->view.n > 1)
		send_suffix(c, whole, from);
}

/* The first entry of a new generation is the table it was made for. */
static void add_forced_table(struct core *c)
{
	struct ledger *l = &c->ledger;
	struct sbuf bytes = { 0 };
	char operation[64];
	const struct entry *before = l->last == 0 ? NULL : ledger_entry(c, l->last);
	struct entry e = { .epoch = c->view.epoch,
			   .position = l->last + 1,
			   .revision = l->revision,
			   .kind = ENTRY_MEMBERSHIP,
			   .wall = before == NULL ? 0 : before->wall,
			   .operation = operation,
			   .author = "",
			   .node = c->config.node,
			   .comment = "quorum was forced",
			   .idempotency_key = "",
			   .document = { c->view.forced.p, c->view.forced.n } };

	snprintf(operation, sizeof(operation), "force-quorum-%llu", (unsigned long long)c->view.epoch);
	memcpy(e.previous, l->last_hash, ENTRY_HASH_LEN);
	entry_encode(&e, &bytes);
	ledger_append(c, (struct str) { bytes.p, bytes.n });
	sbuf_fini(&bytes);
	sbuf_fini(&c->view.forced);
}

static void follow(struct core *c, uint64_t epoch, uint32_t donor)
{
	struct view *v = &c->view;

	c->applied_generation = generation(epoch);
	v->epoch = epoch;
	v->donor = donor;
	v->base = c->ledger.last;
	v->following = true;
	v->active = v->minority = false;
	c->adopting = epoch;
	c->unjoined = false;
	core_set_state(c);
}

void adopt_elected(struct core *c)
{
	c->view.epoch = c->view.start_epoch;
	if (c->view.forced.n > 0)
		add_forced_table(c);
	follow(c, c->view.start_epoch, c->config.id);
	cover_all(c);
	writes_kick(c);
}

/* ---- taking ---- */

struct meeting {       /* of the own log and a suffix */
	bool found;    /* an entry that both have */
	uint64_t at;   /* the last such */
	bool gapless;  /* from there on */
	uint32_t skip; /* entries of the suffix up to there */
};

/* Looks at all entries: false = one cannot be read or is out of order. */
static bool meet(struct core *c, const struct wire_suffix *s, struct meeting *ret)
{
	uint8_t hash[ENTRY_HASH_LEN];
	struct str left = s->entries, bytes;
	struct entry e = { 0 };
	uint64_t position = s->after;
	uint32_t n = 0;

	*ret = (struct meeting) { .at = s->after, .gapless = true };
	ret->found = !s->whole && s->after <= c->ledger.last && ledger_hash(c, s->after, hash) &&
		     memcmp(hash, s->hash, sizeof(hash)) == 0;
	while (wire_next_entry(&left, &bytes, &e)) {
		n++;
		if (e.position <= position || (!s->whole && e.position != position + 1))
			return false;
		if (e.position <= c->ledger.last && ledger_hash(c, e.position, hash) &&
		    memcmp(hash, e.hash, sizeof(hash)) == 0)
			*ret = (struct meeting) { .found = true, .at = e.position, .gapless = true, .skip = n };
		else if (e.position != position + 1)
			ret->gapless = false;
		position = e.position;
	}
	return left.n == 0 && n == s->n && position == s->last;
}

/* Tells of each own entry that goes. */
static bool report_lost(struct core *c, uint64_t keep)
{
	bool applied = false;

	for (uint64_t p = ledger_next(c, keep + 1); p != 0; p = ledger_next(c, p + 1)) {
		applied = applied || p <= c->committed;
		c->env.lost_suffix(c->env.arg, ledger_entry(c, p), p <= c->committed);
	}
	return applied;
}

static void cut_own(struct core *c, const struct meeting *m, uint64_t epoch)
{
	bool same = generation(epoch) == generation(c->adopted);
	bool append = m->found && m->gapless;
	/* A log taken whole has no entry to compare: of one generation what was committed is part of it, or should be.
	 */
	uint64_t keep = append ? m->at : same && !c->unjoined ? c->committed : 0;

	if (m->found && m->at > keep)
		keep = m->at;
	if (report_lost(c, keep)) {
		if (same)
			core_event_text(c, CORE_EVENT_DIVERGED,
					"entries behind position %llu were applied here and "
					"are not in the cluster's log",
					(unsigned long long)keep);
		c->applied = 0;
		c->committed = c->committed < keep ? c->committed : keep;
		c->env.reset(c->env.arg);
	}
	if (append)
		ledger_cut(c, m->at);
	else
		ledger_clear(c, keep);
}

static bool take_suffix(struct core *c, const struct wire_suffix *s, uint64_t epoch)
{
	struct meeting m;
	struct str left = s->entries, bytes;
	struct entry e;

	if (!meet(c, s, &m))
		return false;
	if (!s->whole && !m.found) {
		/* It began no later than where this node's log should be the donor's: the next has to begin earlier. */
		c->unjoined = c->unjoined || s->after <= c->committed;
		return false;
	}
	cut_own(c, &m, epoch);
	if (s->whole && !ops_decode(&c->ledger.ops, s->answers))
		return false;
	for (uint32_t n = 1; wire_next_entry(&left, &bytes, &e); n++)
		if (c->ledger.whole || n > m.skip)
			ledger_append(c, bytes);
	return true;
}

void adopt_on_suffix(struct core *c, struct member *m, uint64_t epoch, struct str body)
{
	struct view *v = &c->view;
	struct wire_suffix s;
	uint64_t own = c->promised > c->promising ? c->promised : c->promising;

	if (m->id == c->config.id || !v->state_sent || c->behind || (v->following && v->epoch >= epoch))
		return;
	if (epoch < own || generation(epoch) < c->applied_generation ||
	    (epoch == own && (v->promise_to_epoch != epoch || v->promise_to != m->id))) {
		/* Promised to follow a later epoch: only a new view with a still later one takes this node in. */
		core_lose_view(c, "the epoch of this view is older than one promised");
		return;
	}
	if (!wire_suffix_decode(body, &s) || !take_suffix(c, &s, epoch)) {
		core_lose_view(c, "the donor's log cannot be joined to this node's");
		return;
	}
	c->committed = s.committed > c->committed ? s.committed : c->committed;
	follow(c, epoch, m->id);
	if (PLANTED(PLANT_ACK_BEFORE_ADOPTION)) {
		struct sbuf ack = { 0 };
		struct wire_ack a = { .position = c->ledger.last };
		memcpy(a.hash, c->ledger.last_hash, ENTRY_HASH_LEN);
		wire_ack_encode(&a, &ack);
		lanes_send(c, WIRE_ACK, epoch, &ack);
	}
	commit_apply(c);
	commit_advance(c);
	writes_kick(c);
}

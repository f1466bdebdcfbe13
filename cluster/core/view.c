/* SPDX-License-Identifier: Apache-2.0
 * From a new view to a donor: who has the newest log, and promises of a quorum to follow it in a new epoch.
 *
 * The hard thing is that nothing here may lean on all members having seen the same: the end of a view can have holes.
 * So the order of messages only makes it likely that one node asks; what makes it safe is that each promises an epoch
 * once, on stable storage, to one node whose log is not older than its own.
 */
#include <errno.h>

#include "cluster/core/core_private.h"

enum { WAIT_MS = 1000, RETRY_MS = 2000, RETRIES_DOUBLED = 5 };
enum {
	FORCED_SINCE = 1577836800, /* 2020 */
	FORCED_IDS = 1 << CORE_FORCED_ID_BITS,
	FORCED_TIME_SHIFT = 32 + CORE_FORCED_ID_BITS,
	FORCED_TIME_END = 1 << 20,
	FORCED_HOURS_MAX = FORCED_TIME_END / 2 /* 60 years; the rest is for what comes after a clock far ahead */
};

static bool promised(const struct core *c, const struct member *m, uint64_t arg)
{
	UNUSED(c);
	UNUSED(arg);
	return m->promised;
}

/* ---- asking ---- */

static uint64_t highest_promise(const struct core *c)
{
	uint64_t e = c->promised > c->promising ? c->promised : c->promising;

	e = c->view.start_epoch > e ? c->view.start_epoch : e;
	for (size_t i = 0; i < c->view.n; i++)
		if (c->view.members[i].has_state && c->view.members[i].state.promised > e)
			e = c->view.members[i].state.promised;
	return e;
}

static void send_start(struct core *c, uint64_t epoch)
{
	struct sbuf none = { 0 };

	c->view.started_ms = c->now_ms;
	c->view.starts += epoch != 0;
	c->view.start_epoch = epoch != 0 ? epoch : c->view.start_epoch;
	for (size_t i = 0; i < c->view.n; i++)
		c->view.members[i].promised = false;
	lanes_send(c, WIRE_START, epoch, &none);
}

static bool all_spoke(const struct core *c)
{
	for (size_t i = 0; i < c->view.n; i++)
		if (!c->view.members[i].has_state)
			return false;
	return true;
}

/* Longer each time: a disk that takes longer than this for a promise must catch up once. */
static uint64_t retry_ms(const struct view *v)
{
	return (uint64_t)RETRY_MS << (v->starts < RETRIES_DOUBLED ? v->starts - 1 : RETRIES_DOUBLED - 1);
}

/* All members are waited for, so that the newest log that is there is the one taken; but not for one that is stuck. */
static void evaluate(struct core *c)
{
	struct view *v = &c->view;

	if (!v->open || v->lost || !v->state_sent || v->following || v->forced.n > 0)
		return;
	if (v->start_epoch != 0 && c->now_ms - v->started_ms < retry_ms(v))
		return;
	bool all = all_spoke(c);
	if (!all && c->now_ms - v->since_ms < WAIT_MS)
		return;
	const struct member *m = quorum_best(c);
	if (m != NULL && m->id != c->config.id) {
		/* This node has promised its own epoch, and they refused it: they follow somebody in an older one. */
		if (all && v->start_epoch != 0 && v->promise_to == c->config.id)
			core_lose_view(c, "the others follow an epoch that is older than one promised");
		return;
	}
	if (m != NULL && quorum_has(c, quorum_counts, 0))
		send_start(c, highest_promise(c) + 1);
	else if (m != NULL && all && !v->minority)
		send_start(c, 0);
	else if (m == NULL && all)
		v->minority = true;
	core_set_state(c);
}

uint64_t core_forced_hour(double wall)
{
	double hours = (wall - FORCED_SINCE) / 3600;

	return hours > 0 && hours < FORCED_HOURS_MAX ? (uint64_t)hours : 0;
}

/* The first epoch of a new generation. Sides that do not hear of each other may both be forced, and all that is known
 * of epochs rests on none being used twice: so its number has a part of the id, below the hour, which lets the later
 * one win when they meet. A clock that is wrong costs only that, as the number is above all that were heard of. */
static uint64_t forced_epoch(const struct core *c, double wall)
{
	uint64_t time = (highest_promise(c) >> FORCED_TIME_SHIFT) + 1, hour = core_forced_hour(wall);

	if (PLANTED(PLANT_SAME_GENERATION))
		return ((highest_promise(c) >> 32) + 1) << 32;
	if (hour > time)
		time = hour;
	if (time >= FORCED_TIME_END)
		return 0;
	return time << FORCED_TIME_SHIFT | (uint64_t)(c->config.id % FORCED_IDS) << 32;
}

uint32_t core_newest(const struct core *c)
{
	const struct member *m = quorum_best(c);

	CHECK_OBJ(c, CORE_MAGIC);
	return m != NULL && all_spoke(c) ? m->id : 0;
}

int core_force_quorum(struct core *c, double wall)
{
	struct voters table = c->ledger.newest;
	size_t voting = 0;

	CHECK_OBJ(c, CORE_MAGIC);
	if (c->state != CORE_MINORITY || core_newest(c) != c->config.id || table.n == 0)
		return -EAGAIN;
	/* Until its START comes back nothing else shows that one is under way. */
	if (c->view.forced.n > 0)
		return 0;
	for (size_t i = table.n; i > 0; i--) {
		const struct member *other = core_member(c, table.list[i - 1].id);
		if (other == NULL || other->state.instance != table.list[i - 1].instance ||
		    !quorum_counts(c, other, 0)) {
			memmove(&table.list[i - 1], &table.list[i], (table.n - i) * sizeof(table.list[0]));
			table.n--;
		}
	}
	for (size_t i = 0; i < table.n; i++)
		voting += table.list[i].votes > 0;
	table.forced = true;
	table.tie_breaker = voting == 2 ? c->config.id : 0;
	if (voters_check(&table) != NULL)
		return -EAGAIN;
	uint64_t epoch = forced_epoch(c, wall);
	if (epoch == 0)
		return -EAGAIN;
	voters_encode(&table, &c->view.forced);
	send_start(c, epoch);
	return 0;
}

/* ---- the view's life ---- */

void view_say_state(struct core *c)
{
	struct sbuf body = { 0 };
	struct ledger *l = &c->ledger;
	struct wire_state s = { .cluster = c->config.cluster,
				.instance = c->config.instance,
				.features_low = CORE_FEATURES_LOW,
				.features_high = CORE_FEATURES_HIGH,
				.promised = c->promised,
				.adopted = c->adopted,
				.last = l->disk_last };

	if (!c->view.open || c->view.lost || !c->view.state_sent)
		return;
	s.committed = c->committed < l->stable_to ? c->committed : l->stable_to;
	s.committed = c->unjoined ? 0 : s.committed;
	s.flags = (uint8_t)((quorum_able(c) ? WIRE_ABLE : 0) | (c->trusted ? WIRE_TRUSTED : 0) |
			    (quorum_is_voter(c) ? WIRE_VOTER : 0));
	if (PLANTED(PLANT_DAMAGED_VOTES))
		s.flags |= WIRE_TRUSTED;
	memcpy(s.hash, c->writes.disk_hash, ENTRY_HASH_LEN);
	s.n_witness = c->n_witness;
	memcpy(s.witness, c->witness, c->n_witness * sizeof(s.witness[0]));
	wire_state_encode(&s, &body);
	lanes_send(c, WIRE_STATE, c->adopted, &body);
}

/* Nothing is under way: memory becomes what the disk holds, and that is told. */
void view_begin(struct core *c)
{
	struct ledger *l = &c->ledger;

	if (l->whole || l->stable_to != l->disk_last || l->last != l->disk_last) {
		/* What is known to be committed is known of the log in memory; of the disk's as far as both agree. */
		uint64_t agreed = l->whole ? l->agreed : l->stable_to;
		c->committed = c->committed < agreed ? c->committed : agreed;
		ledger_load(c);
	}
	c->promising = c->promised;
	c->adopting = 0;
	c->behind = false;
	c->view.state_sent = true;
	view_say_state(c);
	if (c->view.pending_start != 0)
		view_on_start(c, core_member(c, c->view.pending_from), c->view.pending_start);
	c->view.pending_start = 0;
	writes_kick(c);
}

void view_close(struct core *c)
{
	struct view *v = &c->view;

	for (size_t i = 0; i < v->n; i++) {
		joining_fini(&v->members[i].joining);
		sbuf_wipe(&v->members[i].soft);
		sbuf_fini(&v->members[i].soft);
	}
	order_clear(c);
	sbuf_fini(&v->forced);
	memset(v, 0, sizeof(*v));
	list_init(&v->proposals);
	lanes_reset(&c->lanes);
}

void view_tick(struct core *c)
{
	/* A forced generation that nobody followed in time is given up: the administrator may ask again. */
	if (c->view.forced.n > 0 && c->now_ms - c->view.started_ms >= RETRY_MS)
		sbuf_fini(&c->view.forced);
	evaluate(c);
}

/* ---- messages ---- */

void view_on_state(struct core *c, struct member *m, struct str body)
{
	struct wire_state s;
	bool first = !m->has_state;

	if (!wire_state_decode(body, &s)) {
		core_lose_view(c, "a member's state cannot be read");
		return;
	}
	m->state = s;
	m->has_state = true;
	if (!quorum_speaks(c, &s)) {
		core_event_text(c, CORE_EVENT_INCOMPATIBLE, "member %u: %s", m->id,
				s.cluster == c->config.cluster ? "another version" : "another cluster");
		evaluate(c);
		return;
	}
	for (size_t i = 0; i < c->view.n; i++) {
		struct member *other = &c->view.members[i];
		other->forgot = other->has_state && other->ack_epoch == 0 && quorum_forgot(c, other);
	}
	if (first && m->forgot)
		core_event_text(c, CORE_EVENT_UNTRUSTED,
				"member %u has forgotten what it had written: no vote until "
				"it has the log again",
				m->id);
	quorum_witness_of(c, m);
	/* Logs of one epoch do not differ: what is known of the other's to be committed is known of this one. */
	uint64_t common = s.committed < c->ledger.stable_to ? s.committed : c->ledger.stable_to;
	if (c->view.state_sent && !c->view.following && s.adopted == c->adopted && s.adopted != 0 &&
	    common > c->committed)
		c->committed = common;
	if (c->view.following && c->view.donor == c->config.id && !m->covered)
		adopt_cover(c, m);
	commit_advance(c);
	evaluate(c);
}

void view_say_promised(struct core *c)
{
	struct sbuf body = { 0 };

	wire_promise_encode(c->view.promise_to, &body);
	lanes_send(c, WIRE_PROMISED, c->promised, &body);
}

void view_on_start(struct core *c, struct member *m, uint64_t epoch)
{
	struct view *v = &c->view;
	const struct wire_state *s = &m->state;

	if (!v->state_sent) {
		v->pending_start = epoch;
		v->pending_from = m->id;
		return;
	}
	v->minority = epoch == 0 && !v->following;
	core_set_state(c);
	if (epoch == 0 || !m->has_state)
		return;
	/* What is followed now counts like what is on disk: it may be in a write that ends after this promise. */
	uint64_t adopted = v->following ? v->epoch : c->adopted;
	uint64_t last = v->following ? c->ledger.last : c->ledger.disk_last;
	bool newer = quorum_older(s->adopted, s->last, adopted, last);
	if (epoch <= c->promised || epoch <= c->promising || (newer && m->id != c->config.id)) {
		view_say_state(c); /* so that the asker knows better */
		return;
	}
	if (!c->trusted && !PLANTED(PLANT_DAMAGED_VOTES))
		return;
	/* And nothing more is acknowledged in an earlier epoch: who is asked to lead could not know of it. */
	v->following = v->active = false;
	core_set_state(c);
	c->promising = epoch;
	v->promise_to_epoch = epoch;
	v->promise_to = m->id;
	if (PLANTED(PLANT_PROMISE_UNPERSISTED)) {
		c->promised = epoch;
		view_say_promised(c);
	}
	writes_kick(c);
}

static bool forced_quorum(const struct core *c)
{
	struct voters table;

	ASSERT(voters_decode((struct str) { c->view.forced.p, c->view.forced.n }, &table));
	return quorum_of(c, &table, promised, 0);
}

void view_on_promised(struct core *c, struct member *m, uint64_t epoch, struct str body)
{
	uint32_t donor;
	struct view *v = &c->view;

	if (!wire_promise_decode(body, &donor)) {
		core_lose_view(c, "a promise cannot be read");
		return;
	}
	if (!m->has_state)
		return;
	bool counted = quorum_counts(c, m, 0);
	m->state.promised = epoch > m->state.promised ? epoch : m->state.promised;
	quorum_witness_of(c, m);
	if (PLANTED(PLANT_STALE_VIEW) && v->start_epoch != 0)
		epoch = v->start_epoch;
	if (donor != c->config.id || epoch != v->start_epoch || v->following || v->lost)
		return;
	m->promised = counted;
	if (v->forced.n > 0 ? forced_quorum(c) : quorum_has(c, promised, 0))
		adopt_elected(c);
}

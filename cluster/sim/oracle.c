/* SPDX-License-Identifier: Apache-2.0
 * What must hold, checked at each step against what the disks really held.
 *
 * The hard thing is to see a bug before luck hides it: a lost write is seen only if the wrong nodes die afterwards. So
 * an entry that is applied anywhere must at that moment have been on a quorum's stable storage, together with the
 * epoch.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cluster/sim/sim.h"

/* An epoch has one log: whoever has an entry of it at a position has the same. */
static void check_ordered(struct node *n, const struct entry *e)
{
	struct sim_ordered *o = &n->sim->ordered[e->position];

	for (unsigned i = 0; i < o->n; i++) {
		if (o->epoch[i] != e->epoch)
			continue;
		if (memcmp(o->hash[i], e->hash, ENTRY_HASH_LEN) != 0)
			sim_fail(n->sim, "node %u: epoch %llx has two entries at %llu", n->id,
				 (unsigned long long)e->epoch, (unsigned long long)e->position);
		return;
	}
	if (o->n == ARRAY_LEN(o->epoch))
		return;
	o->epoch[o->n] = e->epoch;
	memcpy(o->hash[o->n++], e->hash, ENTRY_HASH_LEN);
}

/* An epoch has one donor. */
static void check_donor(struct node *n, uint64_t epoch)
{
	uint32_t donor = n->core == NULL || core_epoch(n->core) != epoch ? 0 : core_donor(n->core);

	if (donor == 0 || epoch >= SIM_EPOCHS_MAX)
		return;
	uint32_t *first = &n->sim->donors[epoch];
	if (*first != 0 && *first != donor)
		sim_fail(n->sim, "epoch %llx was adopted from node %u and from node %u", (unsigned long long)epoch,
			 *first, donor);
	*first = donor;
}

/* What a disk says is committed is believed at the next start. */
static void check_committed(struct node *n, const struct entry *e)
{
	const struct sim_committed *c = &n->sim->committed[e->position];

	if (e->position <= disk_committed(&n->disk) && c->any && memcmp(c->hash, e->hash, ENTRY_HASH_LEN) != 0)
		sim_fail(n->sim, "node %u calls another entry at %llu committed than was applied", n->id,
			 (unsigned long long)e->position);
}

/* Notes what the node's disk holds after a write. */
void oracle_written(struct node *n)
{
	uint64_t epoch = disk_adopted(&n->disk);
	uint64_t last = disk_last(&n->disk);

	check_donor(n, epoch);
	for (size_t i = 0; i < n->disk.n; i++) {
		const struct entry *e = &n->disk.entries[i]->entry;
		struct written *w = &n->written[e->position];
		w->any = true;
		check_ordered(n, e);
		if (!n->sim->forcing)
			check_committed(n, e);
		w->epoch = epoch;
		memcpy(w->hash, e->hash, ENTRY_HASH_LEN);
	}
	/* What a fault took from it was acknowledged rightly. */
	for (uint64_t p = last + 1; !n->forgetful && p < SIM_POSITIONS_MAX; p++)
		n->written[p].any = false;
}

void oracle_started(struct node *n)
{
	n->applied = core_applied(n->core);
	memset(n->newest, 0, sizeof(n->newest));
	for (size_t i = 0; i < n->disk.n; i++) {
		const struct entry *e = &n->disk.entries[i]->entry;
		if (e->position <= n->applied)
			n->newest[e->kind] = e->position;
	}
}

void oracle_bounds(struct node *n)
{
	if (n->core == NULL)
		return;
	if (core_settled(n->core) > core_applied(n->core))
		sim_fail(n->sim, "node %u: %llu may be forgotten, and %llu is applied", n->id,
			 (unsigned long long)core_settled(n->core), (unsigned long long)core_applied(n->core));
	if (core_settled(n->core) > disk_last(&n->disk))
		sim_fail(n->sim, "node %u: %llu is settled, and not on its disk", n->id,
			 (unsigned long long)core_settled(n->core));
	if (core_in_memory(n->core) > CORE_TAIL_MAX)
		sim_fail(n->sim, "node %u: %zu entries are held in memory", n->id, core_in_memory(n->core));
}

static bool holds(const struct node *n, const struct entry *e, uint64_t epoch)
{
	const struct written *w = &n->written[e->position];

	return w->any && w->epoch >= epoch && memcmp(w->hash, e->hash, ENTRY_HASH_LEN) == 0;
}

static bool at_quorum(struct sim *s, const struct voters *v, const struct entry *e, uint64_t epoch)
{
	voters_set have = 0;

	for (size_t i = 0; i < s->n; i++) {
		for (size_t k = 0; k < v->n; k++)
			if (v->list[k].id == s->nodes[i].id && holds(&s->nodes[i], e, epoch))
				have |= (voters_set)1 << k;
	}
	/* Counted here, not by the code under test. */
	unsigned all = 0, sum = 0, n = 0;
	bool tie = false;
	for (size_t i = 0; i < v->n; i++) {
		n += v->list[i].votes > 0;
		all += v->list[i].votes;
		sum += have >> i & 1 ? v->list[i].votes : 0;
		tie = tie || (v->list[i].id == v->tie_breaker && (have >> i & 1));
	}
	return n == 2 ? tie || sum == all : 2 * sum > all;
}

/* The table in force at a position, by what is committed before it. */
static bool table_before(struct sim *s, uint64_t position, struct voters *ret)
{
	for (uint64_t p = position; p > 0; p--)
		if (s->committed[p].any && s->committed[p].kind == ENTRY_MEMBERSHIP)
			return voters_decode(s->committed[p].blob->entry.document, ret);
	return false;
}

const struct entry *oracle_table(struct sim *s, struct voters *ret)
{
	for (uint64_t p = s->highest; p > 0; p--)
		if (s->committed[p].any && s->committed[p].kind == ENTRY_MEMBERSHIP &&
		    voters_decode(s->committed[p].blob->entry.document, ret))
			return &s->committed[p].blob->entry;
	return NULL;
}

static unsigned op_of(struct sim *s, const struct entry *e)
{
	unsigned op = 0;

	if (sscanf(e->operation, "op-%u", &op) != 1 || op == 0 || op > s->n_ops)
		return 0;
	return op;
}

static void check_once(struct sim *s, unsigned op, const struct entry *e)
{
	struct sim_op *o = &s->ops[op - 1];

	if (o->applied_at != 0)
		sim_fail(s, "op-%u is at %llu and at %llu", op, (unsigned long long)o->applied_at,
			 (unsigned long long)e->position);
	if (o->denied)
		sim_fail(s, "op-%u was answered as not made and is at %llu", op, (unsigned long long)e->position);
	o->applied_at = e->position;
	for (size_t i = 0; o->key != 0 && i < s->n_ops; i++)
		if (i + 1 != op && s->ops[i].key == o->key && s->ops[i].applied_at != 0)
			sim_fail(s, "key %u was made twice, at %llu and %llu", o->key,
				 (unsigned long long)s->ops[i].applied_at, (unsigned long long)e->position);
}

static void first_applied(struct node *n, const struct entry *e)
{
	struct sim *s = n->sim;
	struct sim_committed *c = &s->committed[e->position];
	struct voters v;
	uint64_t epoch = core_epoch(n->core);

	bool known = table_before(s, e->position, &v);
	if (known && !at_quorum(s, &v, e, epoch))
		sim_fail(s, "node %u applied %llu, which no quorum has on stable storage", n->id,
			 (unsigned long long)e->position);
	if (e->kind == ENTRY_MEMBERSHIP && (!voters_decode(e->document, &v) || !at_quorum(s, &v, e, epoch)))
		sim_fail(s, "node %u applied the table at %llu, which no quorum of it has", n->id,
			 (unsigned long long)e->position);
	struct sbuf bytes = { 0 };
	struct entry copy = *e;
	entry_encode(&copy, &bytes);
	struct disk one = { 0 };
	disk_add(&one, (struct str) { bytes.p, bytes.n });
	sbuf_fini(&bytes);
	*c = (struct sim_committed) { .any = true, .kind = e->kind, .op = op_of(s, e), .blob = one.entries[0] };
	memcpy(c->hash, e->hash, ENTRY_HASH_LEN);
	if (c->op != 0)
		check_once(s, c->op, e);
}

/* Here nothing follows the voters. */
static void check_table(struct node *n, const struct entry *e)
{
	struct voters v;
	struct sbuf alone = { 0 };

	if (voters_decode(e->document, &v))
		voters_encode(&v, &alone);
	if (alone.n != e->document.n)
		sim_fail(n->sim, "node %u applied at %llu what is no table, or more than one", n->id,
			 (unsigned long long)e->position);
	sbuf_fini(&alone);
}

void oracle_apply(struct node *n, const struct entry *e)
{
	struct sim *s = n->sim;

	sim_trace(s, "node %u applies %llu: %s of epoch %llx", n->id, (unsigned long long)e->position, e->operation,
		  (unsigned long long)e->epoch);
	if (e->position <= n->applied)
		sim_fail(s, "node %u applied %llu behind %llu", n->id, (unsigned long long)e->position,
			 (unsigned long long)n->applied);
	n->applied = e->position;
	n->newest[e->kind] = e->position;
	s->highest = e->position > s->highest ? e->position : s->highest;
	if (e->kind == ENTRY_MEMBERSHIP)
		check_table(n, e);
	if (s->forcing)
		return;
	if (!s->committed[e->position].any)
		first_applied(n, e);
	else if (memcmp(s->committed[e->position].hash, e->hash, ENTRY_HASH_LEN) != 0)
		sim_fail(s, "node %u applied another entry at %llu than others", n->id,
			 (unsigned long long)e->position);
}

static void check_answer(struct sim *s, const struct sim_op *o, enum core_result result, uint64_t position)
{
	unsigned op = (unsigned)(o - s->ops) + 1;

	if (result == CORE_COMMITTED && (!s->committed[position].any || s->committed[position].op != op))
		sim_fail(s, "op-%u was answered as committed at %llu and is not there", op,
			 (unsigned long long)position);
	if (result == CORE_DUPLICATE &&
	    (!s->committed[position].any || s->committed[position].op == 0 || s->committed[position].op == op ||
	     s->ops[s->committed[position].op - 1].key != o->key || o->key == 0))
		sim_fail(s, "op-%u was answered as a duplicate of %llu and is none", op, (unsigned long long)position);
	if (o->denied && o->applied_at != 0)
		sim_fail(s, "op-%u is at %llu and was answered as not made", op, (unsigned long long)o->applied_at);
}

void oracle_answer(struct node *n, uint64_t ticket, enum core_result result, uint64_t position)
{
	struct sim *s = n->sim;

	for (size_t i = s->n_ops; i > 0; i--) {
		struct sim_op *o = &s->ops[i - 1];
		if (o->node != n->id || o->ticket != ticket || o->life != s->life[n->id - 1])
			continue;
		sim_trace(s, "node %u answers op-%zu: %d at %llu", n->id, i, result, (unsigned long long)position);
		if (o->answered)
			sim_fail(s, "op-%zu was answered twice", i);
		o->answered = true;
		o->result = result;
		o->answered_at = position;
		o->denied = result == CORE_STALE || result == CORE_REFUSED || result == CORE_NO_QUORUM ||
			    result == CORE_FULL;
		if (o->kind == ENTRY_MEMBERSHIP && result != CORE_UNKNOWN)
			s->membership_open--;
		if (!s->forcing)
			check_answer(s, o, result, position);
		return;
	}
	if (!s->forcing) /* whose tables are nobody's operations */
		sim_fail(s, "node %u answered ticket %llu, which nobody has", n->id, (unsigned long long)ticket);
}

/* All is healed and quiet: every node has everything. */
void oracle_end(struct sim *s)
{
	uint64_t last[ENTRY_KIND_COUNT] = { 0 };

	for (uint64_t p = 1; p <= s->highest; p++) {
		const struct sim_committed *c = &s->committed[p];
		if (!c->any)
			continue;
		if (c->op != 0 && s->ops[c->op - 1].expect != UINT64_MAX && s->ops[c->op - 1].expect != last[c->kind])
			sim_fail(s, "op-%u at %llu followed %llu and expected %llu", c->op, (unsigned long long)p,
				 (unsigned long long)last[c->kind], (unsigned long long)s->ops[c->op - 1].expect);
		last[c->kind] = p;
	}
	/* Positions may have been passed over, but never the newest of a kind. */
	for (size_t i = 0; i < s->n; i++)
		if (memcmp(s->nodes[i].newest, last, sizeof(last)) != 0)
			sim_fail(s, "node %u ends without the newest of a kind", s->nodes[i].id);
	for (size_t i = 0; i < s->n; i++)
		if (disk_entry(&s->nodes[i].disk, s->highest) == NULL || s->nodes[i].applied != s->highest)
			sim_fail(s, "node %u ends at %llu, the cluster at %llu", s->nodes[i].id,
				 (unsigned long long)s->nodes[i].applied, (unsigned long long)s->highest);
	for (size_t i = 0; i < s->n_ops; i++)
		if (s->ops[i].answered && s->ops[i].result == CORE_COMMITTED && s->ops[i].applied_at == 0)
			sim_fail(s, "op-%zu was acknowledged and is lost", i + 1);
}

/* SPDX-License-Identifier: Apache-2.0
 * What an administrator may do to a cluster in pieces: force a quorum on one side or on several, while others go on.
 *
 * The hard thing is to say what must hold when losing writes is the intention: after all have met there is one log, the
 * newest one of before with all it had, and every entry that went was told of where it went. It comes behind a
 * schedule that held, so that nothing here weakens what is asked of the rest.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cluster/sim/sim.h"

enum { SETTLE_ROUNDS = 120, MEET_ROUNDS_MAX = 4000, ATTEMPTS_MAX = 5 };

static void step(struct sim *s, unsigned round)
{
	for (size_t i = 0; i < 4 * s->n && s->failed[0] == '\0'; i++) {
		struct node *n = &s->nodes[sim_random(s, s->n)];
		net_order_one(s, n);
		net_deliver_one(s, n);
		node_disk_one(n);
		oracle_bounds(n);
	}
	if (round % 4 != 0)
		return;
	s->now_ms += 50;
	for (size_t i = 0; i < s->n && s->failed[0] == '\0'; i++) {
		core_tick(s->nodes[i].core, s->now_ms);
		if (s->nodes[i].wants_view && sim_random(s, 3) == 0)
			net_install(s, s->nodes[i].component);
	}
}

/* An entry of this node's table of voters as it is: what differs in a real one is behind the voters. */
static void write_table(struct sim *s, struct node *n)
{
	struct voters v = { 0 };
	struct sbuf document = { 0 };
	char operation[32];
	uint64_t ticket;

	for (size_t i = 0; i < n->disk.n; i++)
		if (n->disk.entries[i]->entry.kind == ENTRY_MEMBERSHIP)
			(void)!voters_decode(n->disk.entries[i]->entry.document, &v);
	if (v.n == 0 || s->highest + 64 > SIM_POSITIONS_MAX)
		return;
	v.forced = false;
	voters_encode(&v, &document);
	snprintf(operation, sizeof(operation), "table-%llu", (unsigned long long)++s->tables);
	struct core_proposal p = { .kind = ENTRY_MEMBERSHIP,
				   .expect_position = UINT64_MAX,
				   .operation = operation,
				   .wall = (double)s->now_ms / 1000,
				   .deadline_ms = s->now_ms + 1000,
				   .document = { document.p, document.n } };
	(void)!core_propose(n->core, &p, &ticket);
	sbuf_fini(&document);
}

/* All sides go on for themselves. Whoever has a quorum writes, tables too. */
static void settle(struct sim *s)
{
	for (unsigned round = 0; round < SETTLE_ROUNDS && s->failed[0] == '\0'; round++) {
		struct node *n = &s->nodes[sim_random(s, s->n)];
		step(s, round);
		if (round > SETTLE_ROUNDS / 2 || core_state(n->core) != CORE_ACTIVE)
			continue;
		if (sim_random(s, 12) == 0)
			client_write(s, n);
		else if (sim_random(s, 12) == 0)
			write_table(s, n);
	}
}

static void split_all(struct sim *s)
{
	unsigned parts = 2 + (unsigned)sim_random(s, 2);

	for (size_t i = 0; i < s->n; i++)
		s->nodes[i].component = (unsigned)sim_random(s, parts);
	for (unsigned c = 0; c < parts; c++)
		net_install(s, c);
}

/* Who may be forced is known to its core. A force that a lost message undid is asked for again: within a few, it
 * writes. */
static void force(struct sim *s, struct node *n)
{
	static const double day = 1.8e9; /* seconds since 1970 */
	double wall = sim_random(s, 4) == 0 ? 0 : day + 3600 * (double)sim_random(s, 3);
	bool forced = false;

	for (unsigned i = 0; i < ATTEMPTS_MAX && s->failed[0] == '\0'; i++) {
		if (core_force_quorum(n->core, wall) != 0 && !forced)
			return;
		/* Who is in a hurry asks again at once. */
		(void)!core_force_quorum(n->core, wall);
		if (!forced)
			sim_trace(s, "node %u is forced", n->id);
		forced = true;
		settle(s);
		if (core_state(n->core) == CORE_ACTIVE)
			return;
	}
	if (s->failed[0] == '\0')
		sim_fail(s, "not quiet: node %u was forced and takes no writes", n->id);
}

/* Each side without a quorum may be. */
static void force_some(struct sim *s)
{
	for (size_t i = 0; i < s->n && s->failed[0] == '\0'; i++)
		if (sim_random(s, 3) != 0)
			force(s, &s->nodes[i]);
}

static void restart_one(struct sim *s)
{
	struct node *n = &s->nodes[sim_random(s, s->n)];

	node_crash(n, sim_random(s, 2));
	node_start(n);
	net_install(s, n->component);
}

/* ---- the end ---- */

static const struct entry *newest(const struct disk *d)
{
	return d->n == 0 ? NULL : &d->entries[d->n - 1]->entry;
}

static bool same_entry(const struct entry *a, const struct entry *b)
{
	return a != NULL && b != NULL && memcmp(a->hash, b->hash, ENTRY_HASH_LEN) == 0;
}

/* Whether it is not of this log. Old entries may have been forgotten there. */
static bool is_gone(const struct disk *d, const struct entry *e)
{
	const struct entry *there = disk_entry(d, e->position);

	return there != NULL ? !same_entry(there, e) : e->position > disk_last(d);
}

static size_t best_of(const struct disk *disks, size_t n)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++) {
		uint64_t a = disk_adopted(&disks[i]), b = disk_adopted(&disks[best]);
		if (a > b || (a == b && disk_last(&disks[i]) > disk_last(&disks[best])))
			best = i;
	}
	return best;
}

/* How many generations there are on the disks, but for the first. */
static unsigned generations(const struct disk *disks, size_t n)
{
	unsigned found = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t g = disk_adopted(&disks[i]) >> 32;
		bool known = g == 0;
		for (size_t k = 0; k < i; k++)
			known = known || disk_adopted(&disks[k]) >> 32 == g;
		found += !known;
	}
	return found;
}

static bool is_one(const struct sim *s)
{
	const struct entry *last = newest(&s->nodes[0].disk);

	for (size_t i = 0; i < s->n; i++) {
		const struct node *n = &s->nodes[i];
		if (core_state(n->core) != CORE_ACTIVE || n->in.n > 0 || n->n_out > 0 || n->write.open ||
		    !same_entry(newest(&n->disk), last) || n->applied != last->position)
			return false;
	}
	return true;
}

static void become_one(struct sim *s)
{
	unsigned round = 0;

	do
		step(s, round);
	while (++round < MEET_ROUNDS_MAX && s->failed[0] == '\0' && (round < SETTLE_ROUNDS || !is_one(s)));
	if (round == MEET_ROUNDS_MAX && s->failed[0] == '\0')
		sim_fail(s, "not quiet %u rounds after forced quorums met", round);
}

static void check_node(struct sim *s, const struct node *n, const struct disk *before, const struct disk *now)
{
	for (size_t i = 0; i < n->disk.n; i++) {
		const struct entry *e = &n->disk.entries[i]->entry;
		if (is_gone(now, e))
			sim_fail(s, "node %u ends with another entry at %llu", n->id, (unsigned long long)e->position);
	}
	for (size_t i = 0; i < before->n; i++) {
		const struct entry *e = &before->entries[i]->entry;
		const struct written *told = &n->told[e->position];
		if (is_gone(now, e) && (!told->any || memcmp(told->hash, e->hash, ENTRY_HASH_LEN) != 0))
			sim_fail(s, "node %u lost the entry at %llu and did not tell", n->id,
				 (unsigned long long)e->position);
	}
}

/* All meet, and there is one log: the newest of before with all it had. */
static void meet(struct sim *s, struct disk *before)
{
	size_t best = best_of(before, s->n);
	unsigned forced = generations(before, s->n);

	s->by_fault[FAULT_FORCED] += forced > 0;
	s->by_fault[FAULT_FORCED_TWICE] += forced > 1;
	for (size_t i = 0; i < s->n; i++)
		s->nodes[i].component = 0;
	net_install(s, 0);
	become_one(s);
	const struct node *winner = &s->nodes[best];
	for (size_t i = 0; i < before[best].n && s->failed[0] == '\0'; i++)
		if (is_gone(&winner->disk, &before[best].entries[i]->entry))
			sim_fail(s, "node %u had the newest log and lost of it", winner->id);
	for (size_t i = 0; i < s->n && s->failed[0] == '\0'; i++)
		check_node(s, &s->nodes[i], &before[i], &winner->disk);
}

/* And it takes writes. */
static void write_one(struct sim *s)
{
	struct node *n = &s->nodes[sim_random(s, s->n)];
	uint64_t before = disk_last(&n->disk), ticket;
	struct core_proposal p = { .kind = ENTRY_CONFIG,
				   .expect_position = UINT64_MAX,
				   .operation = "of one cluster again",
				   .deadline_ms = s->now_ms + 60000 };

	if (core_propose(n->core, &p, &ticket) != 0)
		sim_fail(s, "node %u takes no write after forced quorums met", n->id);
	become_one(s);
	if (disk_last(&n->disk) != before + 1)
		sim_fail(s, "node %u: a write after forced quorums met was not made", n->id);
}

void forced_run(struct sim *s)
{
	struct disk *before = xcalloc(s->n, sizeof(*before));

	sim_trace(s, "quorums are forced");
	s->forcing = true;
	for (uint64_t rounds = 1 + sim_random(s, 3); rounds > 0 && s->failed[0] == '\0'; rounds--) {
		split_all(s);
		settle(s);
		force_some(s);
		if (sim_random(s, 3) == 0)
			restart_one(s);
		settle(s);
	}
	for (size_t i = 0; i < s->n; i++) {
		struct node *n = &s->nodes[i];
		memset(n->told, 0, sizeof(n->told));
		disk_copy(&before[i], &n->disk);
	}
	if (s->failed[0] == '\0')
		meet(s, before);
	if (s->failed[0] == '\0')
		write_one(s);
	for (size_t i = 0; i < s->n; i++)
		disk_fini(&before[i]);
	free(before);
}

/* SPDX-License-Identifier: Apache-2.0
 * What goes wrong, one thing at a time but several together: the network splits and heals, nodes crash, stop and
 * return, disks fill, lose their end or turn into an old copy of themselves.
 *
 * The hard thing is to ask no more than is promised. Losing what was durable on one node is survived; on two of three
 * it is not, by anybody. So only one node at a time is forgetful, and its votes are never the ones that are needed.
 */
#include <stdlib.h>

#include "cluster/sim/sim.h"

/* The others of the table are enough without this node, and nobody else is forgetful. */
static bool may_forget(struct sim *s, const struct node *n)
{
	struct voters v;
	size_t voting = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->nodes[i].forgetful)
			return false;
	const struct entry *table = s->membership_open > 0 || s->holding ? NULL : oracle_table(s, &v);
	if (table == NULL)
		return false;
	for (size_t i = 0; i < v.n; i++) {
		const struct node *other = &s->nodes[v.list[i].id - 1];
		voting += v.list[i].votes > 0;
		/* Who does not know yet that a table is committed may need the ones it removed. */
		if (other != n && disk_committed(&other->disk) < table->position)
			return false;
	}
	int at = voters_index(&v, n->id, n->instance);
	return at < 0 || voting > 2 || (voting == 2 && v.tie_breaker != 0 && v.tie_breaker != n->id);
}

static void split(struct sim *s)
{
	unsigned parts = 1 + (unsigned)sim_random(s, 3);

	for (size_t i = 0; i < s->n; i++)
		s->nodes[i].component = (unsigned)sim_random(s, parts);
	for (unsigned c = 0; c < parts; c++)
		if (sim_random(s, 4) != 0)
			net_install(s, c);
}

static void crash_or_start(struct sim *s, struct node *n)
{
	if (n->core == NULL) {
		node_start(n);
		if (sim_random(s, 4) != 0)
			net_install(s, n->component);
		return;
	}
	node_crash(n, sim_random(s, 2));
	if (sim_random(s, 2) == 0)
		net_install(s, n->component);
	/* A power cut of all is one fault too. */
	bool all = sim_random(s, 6) == 0;
	s->by_fault[all ? FAULT_POWER : FAULT_CRASH]++;
	for (size_t i = 0; all && i < s->n; i++)
		if (s->nodes[i].core != NULL)
			node_crash(&s->nodes[i], sim_random(s, 2));
}

/* A node returns at once, on the other side of a split from one it had just agreed with. */
static void change_sides(struct sim *s, struct node *n)
{
	const struct node *other = &s->nodes[sim_random(s, s->n)];

	/* Where it hurts: in a write. */
	for (size_t i = 0; !n->write.open && i < s->n; i++)
		n = s->nodes[i].write.open ? &s->nodes[i] : n;
	if (n->core == NULL || other == n)
		return;
	s->by_fault[FAULT_CHANGED_SIDES]++;
	unsigned away = 1 + other->component;
	bool all = sim_random(s, 2); /* a power cut that spares one */
	for (size_t i = 0; i < s->n; i++) {
		bool with_other = &s->nodes[i] == other || (&s->nodes[i] != n && sim_random(s, 4) == 0);
		s->nodes[i].component = with_other ? away : 0;
		if (!with_other && s->nodes[i].core != NULL && (all || &s->nodes[i] == n)) {
			node_crash(&s->nodes[i], false);
			node_start(&s->nodes[i]);
		}
	}
	net_install(s, 0);
	if (sim_random(s, 2) == 0)
		net_install(s, away);
}

static void crash_damaged(struct sim *s, struct node *n)
{
	if (!may_forget(s, n))
		return;
	if (n->core != NULL)
		node_crash(n, sim_random(s, 2));
	size_t lost = 1 + sim_random(s, 4);
	sim_trace(s, "node %u loses the end of its disk", n->id);
	s->by_fault[FAULT_DAMAGE]++;
	pending_fini(&n->maybe);
	disk_cut(&n->disk, lost < n->disk.n ? n->disk.n - lost : 0);
	n->disk.damaged = n->forgetful = true;
}

/* A new disk and a new instance under the old id. */
static void wipe(struct sim *s, struct node *n)
{
	if (!may_forget(s, n))
		return;
	if (n->core != NULL)
		node_crash(n, false);
	sim_trace(s, "node %u is set up anew", n->id);
	s->by_fault[FAULT_NEW_DISK]++;
	pending_fini(&n->maybe);
	disk_fini(&n->disk);
	n->disk = (struct disk) { 0 };
	n->instance += 1000;
	n->forgetful = true;
	n->has_snapshot = false;
}

/* Whoever knew what the node had written must be there when it returns, or nobody could tell: all have heard all. */
static bool all_heard(const struct sim *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (!node_runs(&s->nodes[i]) || s->nodes[i].component != s->nodes[0].component ||
		    s->nodes[i].ring != s->nodes[0].ring || s->nodes[i].in.n > 0 || s->nodes[i].n_out > 0)
			return false;
	return true;
}

/* It returns to some of them only: who heard and did not write, because its disk was full, is among them. */
static void return_to_some(struct sim *s, struct node *n)
{
	size_t keep = ((size_t)n->id + sim_random(s, s->n - 1)) % s->n; /* another one */

	for (size_t i = 0; i < s->n; i++) {
		struct node *other = &s->nodes[i];
		bool with = other == n || i == keep || sim_random(s, 2) == 0;
		other->component = with ? 0 : 1;
		other->full = false;
	}
	net_install(s, 0);
	net_install(s, 1);
}

/* One step of everybody; without disks only what is on its way arrives. Whether anything moved. */
static bool step_all(struct sim *s, bool disks)
{
	bool moved = false;

	for (size_t i = 0; i < s->n && s->failed[0] == '\0'; i++) {
		struct node *n = &s->nodes[i];
		moved |= net_order_one(s, n);
		moved |= net_deliver_one(s, n);
		if (disks && sim_random(s, 2) == 0)
			moved |= node_disk_one(n);
	}
	return moved;
}

/* All go on together for a while, with writes. */
static void together(struct sim *s)
{
	for (unsigned round = 0; round < 100 && s->failed[0] == '\0'; round++) {
		step_all(s, true);
		if (round % 8 == 0)
			client_write(s, &s->nodes[sim_random(s, s->n)]);
		s->now_ms += 5;
		for (size_t i = 0; round % 16 == 0 && i < s->n; i++)
			core_tick(s->nodes[i].core, s->now_ms);
	}
}

/* All that is wrong with a node and its links, but for what only a start ends. */
static void mend(struct node *n)
{
	n->full = n->breaks = false;
	n->paused_until = n->slow_until = n->deaf_until = n->mute_until = 0;
	/* Which is what an administrator does about a disk that fails. */
	if (n->broken && n->core != NULL)
		node_crash(n, false);
}

static void gather(struct sim *s, const struct node *n)
{
	for (size_t i = 0; i < s->n; i++) {
		struct node *other = &s->nodes[i];
		other->component = 0;
		mend(other);
		if (other->core == NULL)
			node_start(other);
	}
	net_install(s, 0);
	together(s);
	/* One hears of what it cannot write. */
	struct node *full = &s->nodes[sim_random(s, s->n)];
	full->full = full != n;
	together(s);
	for (unsigned i = 0; i < 10000 && step_all(s, false); i++)
		;
}

static void keep_copies(struct sim *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct node *n = &s->nodes[i];
		if (n->has_snapshot || n->disk.damaged || n->forgetful || n->disk.n == 0)
			continue;
		disk_copy(&n->snapshot, &n->disk);
		n->has_snapshot = true;
	}
}

static void snapshot(struct sim *s, struct node *n)
{
	if (!n->has_snapshot) {
		keep_copies(s);
		return;
	}
	if (!may_forget(s, n))
		return;
	gather(s, n);
	if (s->failed[0] != '\0' || !all_heard(s) || !may_forget(s, n))
		return;
	node_crash(n, false);
	sim_trace(s, "node %u returns with an old disk", n->id);
	s->by_fault[FAULT_OLD_DISK]++;
	disk_copy(&n->disk, &n->snapshot);
	n->has_snapshot = false;
	n->forgetful = s->holding = true;
	node_start(n);
	return_to_some(s, n);
}

static void pause_one(struct sim *s, struct node *n)
{
	n->paused_until = s->now_ms + 100 + sim_random(s, 15000);
	sim_trace(s, "node %u stops until %llu", n->id, (unsigned long long)n->paused_until);
	s->by_fault[FAULT_PAUSE]++;
	if (sim_random(s, 2) == 0) {
		/* Taken for dead: the others go on without it. */
		unsigned component = n->component;
		n->component = 100 + n->id;
		net_install(s, component);
		net_install(s, n->component);
	}
}

/* For a while it hears nothing, or is not heard; the others may notice, and go on without it, or not. */
static void one_way(struct sim *s, struct node *n)
{
	uint64_t *until = sim_random(s, 2) ? &n->deaf_until : &n->mute_until;

	*until = s->now_ms + 100 + sim_random(s, 6000);
	sim_trace(s, "node %u is %s", n->id, until == &n->deaf_until ? "deaf" : "mute");
	s->by_fault[FAULT_ONE_WAY]++;
	if (sim_random(s, 2) != 0)
		return;
	unsigned component = n->component;
	n->component = 100 + n->id;
	net_install(s, component);
	net_install(s, n->component);
	/* And back again, while it still is. */
	if (sim_random(s, 2) != 0)
		return;
	n->component = component;
	net_install(s, component);
}

static void lose_message(struct sim *s, struct node *n)
{
	if (n->core == NULL || n->n_out == 0)
		return;
	s->by_fault[FAULT_LOST_MESSAGE]++;
	sim_trace(s, "a message of node %u is lost", n->id);
	struct packet *p = n->out[0];
	memmove(&n->out[0], &n->out[1], --n->n_out * sizeof(n->out[0]));
	sbuf_fini(&p->bytes);
	free(p);
}

static void on_disk(struct sim *s, struct node *n)
{
	if (sim_random(s, 2) == 0) {
		s->by_fault[FAULT_FULL_DISK]++;
		n->full = !n->full;
	} else if (sim_random(s, 3) == 0) {
		s->by_fault[FAULT_SLOW_DISK]++;
		n->slow_until = s->now_ms + sim_random(s, 8000);
		sim_trace(s, "node %u's disk is slow until %llu", n->id, (unsigned long long)n->slow_until);
	} else if (sim_random(s, 3) == 0) {
		s->by_fault[FAULT_BROKEN_DISK]++;
		n->breaks = true;
	} else if (n->core != NULL && !n->write.open && core_settled(n->core) > 4) {
		sim_trace(s, "node %u forgets old entries", n->id);
		s->by_fault[FAULT_COMPACTION]++;
		sbuf_reset(&n->disk.answers);
		core_answers(n->core, &n->disk.answers);
		disk_compact(&n->disk, core_settled(n->core));
	}
}

void faults_one(struct sim *s)
{
	struct node *n = &s->nodes[sim_random(s, s->n)];

	if (s->holding)
		return;
	s->faults++;
	switch (sim_random(s, 21)) {
	case 20:
		one_way(s, n);
		break;
	case 0:
	case 1:
	case 2:
		s->by_fault[FAULT_SPLIT]++;
		split(s);
		break;
	case 3:
		if (n->core != NULL && sim_random(s, 2) == 0) {
			s->by_fault[FAULT_DISCONNECT]++;
			net_clear(n);
			core_disconnected(n->core);
		}
		net_install(s, n->component);
		break;
	case 4:
	case 5:
	case 6:
		crash_or_start(s, n);
		break;
	case 7:
		pause_one(s, n);
		break;
	case 8:
		crash_damaged(s, n);
		break;
	case 9:
		if (sim_random(s, 3) == 0)
			wipe(s, n);
		break;
	case 10:
		snapshot(s, n);
		break;
	case 11:
		lose_message(s, n);
		break;
	case 12:
	case 13:
		on_disk(s, n);
		break;
	case 14:
	case 15:
	case 16:
		change_sides(s, n);
		break;
	default: /* all together again */
		for (size_t i = 0; i < s->n; i++)
			s->nodes[i].component = 0;
		net_install(s, 0);
		break;
	}
}

void faults_heal(struct sim *s)
{
	bool whole = true; /* the ring never broke: what was lost before must show without a new one */

	sim_trace(s, "all heals");
	for (size_t i = 0; i < s->n; i++) {
		struct node *n = &s->nodes[i];
		mend(n);
		whole = whole && n->core != NULL && n->ring != 0 && n->ring == s->nodes[0].ring;
		n->component = 0;
		if (n->core == NULL)
			node_start(n);
	}
	if (!whole || sim_random(s, 4) == 0)
		net_install(s, 0);
	s->calm = true;
	s->holding = false;
}

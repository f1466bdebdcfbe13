/* SPDX-License-Identifier: Apache-2.0
 * One schedule: everything that happens follows from the seed alone.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/sim/sim.h"

enum { HEAL_ROUNDS_MAX = 4000 };

uint64_t sim_random(struct sim *s, uint64_t below)
{
	/* SplitMix64 */
	uint64_t z = s->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % below;
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (s->failed[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(s->failed, sizeof(s->failed), fmt, ap);
	va_end(ap);
	sim_trace(s, "FAILED: %s", s->failed);
}

void sim_trace(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->trace)
		return;
	printf("%7llu ", (unsigned long long)s->now_ms);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

/* ---- the beginning ---- */

static void first_entry(struct sim *s, size_t voters, struct sbuf *out)
{
	struct voters v = { .n = voters };
	struct sbuf document = { 0 };
	struct entry e = { .epoch = 1,
			   .position = 1,
			   .kind = ENTRY_MEMBERSHIP,
			   .operation = "init",
			   .author = "",
			   .node = "",
			   .comment = "",
			   .idempotency_key = "" };

	for (size_t i = 0; i < voters; i++) {
		v.list[i].id = v.list[i].instance = (uint32_t)i + 1;
		v.list[i].votes = 1;
		snprintf(v.list[i].name, sizeof(v.list[i].name), "n%zu", i + 1);
	}
	v.tie_breaker = 1 + (uint32_t)sim_random(s, voters);
	voters_encode(&v, &document);
	e.document = (struct str) { document.p, document.n };
	entry_encode(&e, out);
	sbuf_fini(&document);
}

static void begin(struct sim *s, size_t nodes)
{
	static const unsigned char sizes[] = { 3, 3, 3, 3, 3, 2, 2, 2, 4, 4, 5, 5, 5, 6, 7, 3 };
	struct sbuf first = { 0 };
	bool large = sim_random(s, 50) == 0;

	s->n = large ? 2 + sim_random(s, SIM_NODES_MAX - 1) : sizes[sim_random(s, sizeof(sizes))];
	s->n = nodes == 0 ? s->n : nodes;
	/* Some are members later, or never. */
	size_t voters = sim_random(s, 4) == 0 ? 1 + sim_random(s, s->n) : s->n;
	first_entry(s, voters, &first);
	for (size_t i = 0; i < s->n; i++) {
		struct node *n = &s->nodes[i];
		n->sim = s;
		n->id = (uint32_t)i + 1;
		n->instance = n->id;
		if (i < voters) {
			disk_add(&n->disk, (struct str) { first.p, first.n });
			oracle_written(n);
		}
		node_start(n);
	}
	sbuf_fini(&first);
	net_install(s, 0);
}

/* ---- the course ---- */

static void tick(struct sim *s, uint64_t ms)
{
	s->now_ms += ms;
	for (size_t i = 0; i < s->n && s->failed[0] == '\0'; i++) {
		struct node *n = &s->nodes[i];
		if (!node_runs(n))
			continue;
		s->inputs++;
		core_tick(n->core, s->now_ms);
		if (n->wants_view && !s->holding && sim_random(s, 3) == 0)
			net_install(s, n->component);
	}
}

static void remembers(struct sim *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct node *n = &s->nodes[i];
		/* Set up anew, it is no voter until a table names its new instance: nothing rests on it meanwhile. */
		if (!n->forgetful || n->core == NULL || core_state(n->core) != CORE_ACTIVE || !core_can_vote(n->core))
			continue;
		n->forgetful = n->instance != n->id;
		s->holding = false;
	}
}

static bool progress(struct sim *s)
{
	struct node *n = &s->nodes[sim_random(s, s->n)];

	bool moved;

	switch (sim_random(s, 4)) {
	case 0:
		moved = net_order_one(s, n);
		break;
	case 1:
		moved = node_disk_one(n);
		break;
	default:
		moved = net_deliver_one(s, n);
		break;
	}
	oracle_bounds(n);
	return moved;
}

static void round_of(struct sim *s, unsigned fault_of)
{
	for (size_t i = 0; i < 4 * s->n && s->failed[0] == '\0'; i++)
		progress(s);
	if (sim_random(s, 4) == 0)
		tick(s, 1 + sim_random(s, sim_random(s, 8) == 0 ? 3000 : 150));
	remembers(s);
	struct node *n = &s->nodes[sim_random(s, s->n)];
	if (sim_random(s, 5) == 0)
		client_write(s, n);
	else if (sim_random(s, 40) == 0)
		client_membership(s, n);
	if (!s->calm && sim_random(s, fault_of) == 0)
		faults_one(s);
}

static bool quiet(struct sim *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct node *n = &s->nodes[i];
		if (core_state(n->core) != CORE_ACTIVE || n->in.n > 0 || n->n_out > 0 || n->write.open ||
		    n->applied != s->highest || disk_last(&n->disk) != s->highest)
			return false;
	}
	for (size_t i = 0; i < s->n_ops; i++)
		if (!s->ops[i].answered && s->ops[i].life == s->life[s->ops[i].node - 1])
			return false;
	return true;
}

/* All together and healthy: everybody has everything after so many rounds, and writes are taken. */
static void end(struct sim *s)
{
	int rounds = 0;

	faults_heal(s);
	for (int last = 0; last < 2 && s->failed[0] == '\0'; last++) {
		for (; rounds < HEAL_ROUNDS_MAX && s->failed[0] == '\0' && (rounds % 400 == 0 || !quiet(s)); rounds++) {
			for (size_t i = 0; i < 4 * s->n && s->failed[0] == '\0'; i++)
				progress(s);
			if (rounds % 4 == 0)
				tick(s, 50);
		}
		if (rounds == HEAL_ROUNDS_MAX && s->failed[0] == '\0')
			sim_fail(s, "not quiet %d rounds after all healed", rounds);
		if (last == 0) {
			rounds = 0;
			client_write(s, &s->nodes[sim_random(s, s->n)]);
		}
	}
	if (s->failed[0] == '\0')
		oracle_end(s);
}

static void clear(struct sim *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct node *n = &s->nodes[i];
		core_free(n->core);
		pending_fini(&n->write);
		pending_fini(&n->maybe);
		net_clear(n);
		disk_fini(&n->disk);
		disk_fini(&n->snapshot);
	}
	for (uint64_t p = 0; p < SIM_POSITIONS_MAX; p++) {
		struct disk one = { .n = 1, .entries = { s->committed[p].blob } };
		if (s->committed[p].any)
			disk_fini(&one);
	}
}

char *sim_run(uint64_t seed, bool trace, struct sim *ret_counts)
{
	struct sim *s = xcalloc(1, sizeof(*s));

	s->seed = seed;
	s->random = seed * 0xd1342543de82ef95u + 1;
	s->trace = trace;
	s->next_index = 1;
	begin(s, ret_counts->n);
	unsigned rounds = 40 + (unsigned)sim_random(s, 200);
	unsigned fault_of = 3 + (unsigned)sim_random(s, 25);
	for (unsigned i = 0; i < rounds && s->failed[0] == '\0'; i++)
		round_of(s, fault_of);
	if (s->failed[0] == '\0')
		end(s);
	if (s->failed[0] == '\0' && sim_random(s, 3) == 0)
		forced_run(s);
	clear(s);
	char *failed = s->failed[0] == '\0' ? NULL : xstrdup(s->failed);
	ret_counts->inputs += s->inputs;
	ret_counts->view_changes += s->view_changes;
	ret_counts->faults += s->faults;
	ret_counts->n_ops += s->n_ops;
	ret_counts->sizes |= (uint64_t)1 << s->n;
	for (size_t i = 0; i < SIM_FAULTS; i++)
		ret_counts->by_fault[i] += s->by_fault[i];
	ret_counts->highest += s->highest;
	free(s);
	return failed;
}

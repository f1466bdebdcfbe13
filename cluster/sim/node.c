/* SPDX-License-Identifier: Apache-2.0
 * A node: the real core between a simulated disk and a simulated network.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/sim/sim.h"

bool node_runs(const struct node *n)
{
	return n->core != NULL && n->paused_until <= n->sim->now_ms;
}

static void on_persist(void *arg, const struct core_write *w, uint64_t token)
{
	struct node *n = arg;
	struct pending_write *p = &n->write;

	if (p->open)
		sim_fail(n->sim, "node %u: a second write while one is under way", n->id);
	pending_fini(p);
	p->open = true;
	p->token = token;
	p->write = *w;
	sbuf_add(&p->meta, w->meta.p, w->meta.n);
	sbuf_add(&p->entries, w->entries.p, w->entries.n);
	sbuf_add(&p->answers, w->answers.p, w->answers.n);
	p->write.meta = (struct str) { p->meta.p, p->meta.n };
	p->write.entries = (struct str) { p->entries.p, p->entries.n };
	p->write.answers = (struct str) { p->answers.p, p->answers.n };
}

static void keep_maybe(struct node *n)
{
	pending_fini(&n->maybe);
	n->maybe = n->write;
	n->write = (struct pending_write) { 0 };
}

static const struct entry *on_entry(void *arg, uint64_t position)
{
	return disk_entry(&((struct node *)arg)->disk, position);
}

static uint64_t on_next(void *arg, uint64_t position)
{
	return disk_next(&((struct node *)arg)->disk, position);
}

static void on_apply(void *arg, const struct entry *e)
{
	oracle_apply(arg, e);
}

static void on_reset(void *arg)
{
	struct node *n = arg;

	if (!n->sim->forcing)
		sim_fail(n->sim, "node %u: what was applied became void", n->id);
	n->applied = 0;
}

static void on_answer(void *arg, uint64_t ticket, enum core_result result, uint64_t position)
{
	oracle_answer(arg, ticket, result, position);
}

static void on_lost(void *arg, const struct entry *e, bool committed)
{
	struct node *n = arg;

	sim_trace(n->sim, "node %u: lost %s at %llu", n->id, e->operation, (unsigned long long)e->position);
	n->told[e->position].any = true;
	memcpy(n->told[e->position].hash, e->hash, ENTRY_HASH_LEN);
	if (committed && !n->sim->forcing)
		sim_fail(n->sim, "node %u: the committed entry at %llu was cut off", n->id,
			 (unsigned long long)e->position);
}

static void on_resync(void *arg)
{
	struct node *n = arg;

	n->wants_view = true;
}

static void on_event(void *arg, enum core_event event, const char *text)
{
	struct node *n = arg;

	sim_trace(n->sim, "node %u: %s", n->id, text);
	if (event == CORE_EVENT_DIVERGED)
		sim_fail(n->sim, "node %u: %s", n->id, text);
}

/* What a disk that failed holds shows now. */
static void end_broken(struct node *n)
{
	if (n->maybe.open && sim_random(n->sim, 2) == 0) {
		disk_apply(&n->disk, &n->maybe.write);
		oracle_written(n);
	}
	pending_fini(&n->maybe);
	n->breaks = n->broken = false;
}

void node_start(struct node *n)
{
	end_broken(n);
	struct core_env env = { .arg = n,
				.multicast = net_multicast,
				.persist = on_persist,
				.entry = on_entry,
				.next_kept = on_next,
				.apply = on_apply,
				.reset = on_reset,
				.answer = on_answer,
				.lost_suffix = on_lost,
				.resync = on_resync,
				.event = on_event };
	struct core_config config = { .id = n->id,
				      .instance = n->instance,
				      .damaged = n->disk.damaged,
				      .meta = { n->disk.meta.p, n->disk.meta.n },
				      .answers = { n->disk.answers.p, n->disk.answers.n } };

	snprintf(config.node, sizeof(config.node), "n%u", n->id);
	n->core = core_new(&config, &env);
	oracle_started(n);
	core_tick(n->core, n->sim->now_ms);
	sim_trace(n->sim, "node %u starts: last %llu, adopted %llx%s", n->id, (unsigned long long)disk_last(&n->disk),
		  (unsigned long long)disk_adopted(&n->disk), n->disk.damaged ? ", damaged" : "");
}

void node_crash(struct node *n, bool keep_write)
{
	sim_trace(n->sim, "node %u crashes%s", n->id, n->write.open ? " in a write" : "");
	core_free(n->core);
	n->core = NULL;
	n->sim->life[n->id - 1]++;
	n->sim->by_fault[FAULT_LOST_WRITE] += n->write.open && !keep_write;
	if (n->write.open && keep_write && !n->full && !n->broken) {
		disk_apply(&n->disk, &n->write.write);
		oracle_written(n);
	}
	pending_fini(&n->write);
	net_clear(n);
}

bool node_disk_waits(const struct node *n)
{
	return n->slow_until > n->sim->now_ms;
}

bool node_disk_one(struct node *n)
{
	if (!n->write.open || !node_runs(n) || node_disk_waits(n))
		return false;
	uint64_t token = n->write.token;
	int rc = n->broken || n->breaks ? -EIO : n->full ? -ENOSPC : 0;
	if (rc == 0) {
		disk_apply(&n->disk, &n->write.write);
		oracle_written(n);
	} else if (rc == -EIO && !n->broken) {
		sim_trace(n->sim, "node %u: a write fails, and may be there", n->id);
		keep_maybe(n);
		n->broken = true;
	}
	pending_fini(&n->write);
	n->sim->inputs++;
	core_persisted(n->core, token, rc);
	return true;
}

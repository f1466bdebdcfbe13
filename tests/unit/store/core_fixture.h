/* SPDX-License-Identifier: Apache-2.0
 * A few cores around one table: messages arrive at once and in order, disks are lists, and a test may hold any of it.
 */
#ifndef POSTROAD_TESTS_STORE_CORE_FIXTURE_H
#define POSTROAD_TESTS_STORE_CORE_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "cluster/core/core.h"
#include "cluster/core/le.h"
#include "cluster/core/voters.h"

enum { FIX_NODES = 3, FIX_ENTRIES = 64, FIX_PACKETS = 512 };

struct fix_entry {
	struct sbuf bytes;
	struct entry entry;
};

struct fix_packet {
	uint32_t sender;
	struct sbuf bytes;
};

struct fix_node {
	struct fix *fix;
	uint32_t id;
	struct core *core;
	/* disk */
	struct fix_entry disk[FIX_ENTRIES];
	size_t n_disk;
	struct sbuf meta;
	bool writing, held; /* held: writes do not end */
	int rc;             /* how they end */
	struct core_write write;
	struct sbuf w_meta, w_entries;
	uint64_t token;
	/* what came of it */
	uint64_t applied[FIX_ENTRIES], n_applied, n_lost, n_lost_committed, n_reset, n_resync, n_answers;
	enum core_result result;
	uint64_t position;
	uint64_t group;
};

struct fix {
	struct fix_node nodes[FIX_NODES];
	uint64_t now, ring;
	struct fix_packet packets[FIX_PACKETS]; /* ordered, not delivered yet */
	size_t n_packets, most_packets;
	size_t n_sent;
};

static int fix_multicast(void *arg, struct str bytes)
{
	struct fix_node *n = arg;
	struct fix *f = n->fix;

	ASSERT(f->n_packets < FIX_PACKETS && bytes.n <= CORE_MESSAGE_MAX);
	struct fix_packet *p = &f->packets[f->n_packets++];
	*p = (struct fix_packet) { .sender = n->id };
	sbuf_add(&p->bytes, bytes.p, bytes.n);
	f->most_packets = f->n_packets > f->most_packets ? f->n_packets : f->most_packets;
	f->n_sent++;
	return 0;
}

static void fix_persist(void *arg, const struct core_write *w, uint64_t token)
{
	struct fix_node *n = arg;

	ASSERT(!n->writing);
	n->writing = true;
	n->token = token;
	n->write = *w;
	sbuf_reset(&n->w_meta);
	sbuf_reset(&n->w_entries);
	sbuf_add(&n->w_meta, w->meta.p, w->meta.n);
	sbuf_add(&n->w_entries, w->entries.p, w->entries.n);
}

static void fix_disk_add(struct fix_node *n, struct str bytes)
{
	struct fix_entry *e = &n->disk[n->n_disk++];

	sbuf_reset(&e->bytes);
	sbuf_add(&e->bytes, bytes.p, bytes.n);
	ASSERT(entry_decode((struct str) { e->bytes.p, e->bytes.n }, &e->entry));
}

static void fix_disk_apply(struct fix_node *n)
{
	struct str left = { n->w_entries.p, n->w_entries.n };
	uint64_t after = n->write.kind == CORE_WRITE_META    ? UINT64_MAX
			 : n->write.kind == CORE_WRITE_WHOLE ? 0
							     : n->write.after;

	while (n->n_disk > 0 && n->disk[n->n_disk - 1].entry.position > after)
		n->n_disk--;
	while (left.n > 0) {
		size_t len = (size_t)le_get((const uint8_t *)left.p, 4);
		fix_disk_add(n, (struct str) { left.p + 4, len });
		left = (struct str) { left.p + 4 + len, left.n - 4 - len };
	}
	sbuf_reset(&n->meta);
	sbuf_add(&n->meta, n->w_meta.p, n->w_meta.n);
}

static const struct entry *fix_entry_at(void *arg, uint64_t position)
{
	struct fix_node *n = arg;

	for (size_t i = 0; i < n->n_disk; i++)
		if (n->disk[i].entry.position == position)
			return &n->disk[i].entry;
	return NULL;
}

static uint64_t fix_next_kept(void *arg, uint64_t position)
{
	struct fix_node *n = arg;

	for (size_t i = 0; i < n->n_disk; i++)
		if (n->disk[i].entry.position >= position)
			return n->disk[i].entry.position;
	return 0;
}

static void fix_apply(void *arg, const struct entry *e)
{
	struct fix_node *n = arg;

	n->applied[n->n_applied++] = e->position;
}

static void fix_reset(void *arg)
{
	((struct fix_node *)arg)->n_reset++;
}

static void fix_answer(void *arg, uint64_t ticket, enum core_result result, uint64_t position)
{
	struct fix_node *n = arg;

	UNUSED(ticket);
	n->n_answers++;
	n->result = result;
	n->position = position;
}

static void fix_lost(void *arg, const struct entry *e, bool committed)
{
	struct fix_node *n = arg;

	UNUSED(e);
	n->n_lost++;
	n->n_lost_committed += committed;
}

static void fix_resync(void *arg)
{
	((struct fix_node *)arg)->n_resync++;
}

static void fix_event(void *arg, enum core_event event, const char *text)
{
	UNUSED(arg);
	UNUSED(event);
	UNUSED(text);
}

static void fix_start(struct fix *f, uint32_t id, bool alone)
{
	struct fix_node *n = &f->nodes[id - 1];
	struct core_env env = { n,         fix_multicast, fix_persist, fix_entry_at, fix_next_kept, fix_apply,
				fix_reset, fix_answer,    fix_lost,    fix_resync,   fix_event };
	struct core_config config = { .id = id, .instance = id, .alone = alone, .meta = { n->meta.p, n->meta.n } };

	n->fix = f;
	n->id = id;
	n->writing = false;
	n->core = core_new(&config, &env);
	core_tick(n->core, f->now);
}

/* All disks begin with a table of these voters. */
static void fix_init(struct fix *f, size_t voters, uint32_t tie_breaker)
{
	struct voters v = { .n = voters, .tie_breaker = tie_breaker };
	struct sbuf document = { 0 }, bytes = { 0 };

	memset(f, 0, sizeof(*f));
	for (uint32_t i = 0; i < voters; i++)
		v.list[i] = (struct voter) { .id = i + 1, .instance = i + 1, .votes = 1 };
	voters_encode(&v, &document);
	struct entry e = { .epoch = 1,
			   .position = 1,
			   .kind = ENTRY_MEMBERSHIP,
			   .operation = "init",
			   .author = "",
			   .node = "",
			   .comment = "",
			   .idempotency_key = "",
			   .document = { document.p, document.n } };
	entry_encode(&e, &bytes);
	for (uint32_t i = 1; i <= voters; i++) {
		fix_disk_add(&f->nodes[i - 1], (struct str) { bytes.p, bytes.n });
		fix_start(f, i, false);
	}
	sbuf_fini(&document);
	sbuf_fini(&bytes);
}

static inline void fix_view(struct fix *f, uint64_t group, const uint32_t *ids, size_t n)
{
	f->ring++;
	for (size_t i = 0; i < n; i++)
		f->nodes[ids[i] - 1].group = group;
	for (size_t i = 0; i < n; i++)
		core_view(f->nodes[ids[i] - 1].core, (struct core_view_id) { f->ring, ids[0] }, ids, n);
}
/* A view that only the first of these has: the others are not there, or are played by the test. */
#define FIX_VIEW_OF(f, ...)                                                                                            \
	core_view((f)->nodes[0].core, (struct core_view_id) { ++(f)->ring, 1 }, (uint32_t[]) { __VA_ARGS__ },          \
		  sizeof((uint32_t[]) { __VA_ARGS__ }) / sizeof(uint32_t))
#define FIX_VIEW(f, group, ...)                                                                                        \
	fix_view(f, group, (uint32_t[]) { __VA_ARGS__ }, sizeof((uint32_t[]) { __VA_ARGS__ }) / sizeof(uint32_t))

static bool fix_step(struct fix *f)
{
	bool moved = false;

	for (size_t i = 0; i < FIX_NODES; i++) {
		struct fix_node *n = &f->nodes[i];
		if (n->core == NULL || !n->writing || n->held)
			continue;
		n->writing = false;
		if (n->rc == 0)
			fix_disk_apply(n);
		core_persisted(n->core, n->token, n->rc);
		moved = true;
	}
	if (f->n_packets == 0)
		return moved;
	struct fix_packet p = f->packets[0];
	memmove(&f->packets[0], &f->packets[1], --f->n_packets * sizeof(p));
	for (size_t i = 0; i < FIX_NODES; i++)
		if (f->nodes[i].core != NULL && f->nodes[i].group == f->nodes[p.sender - 1].group)
			core_deliver(f->nodes[i].core, p.sender, (struct str) { p.bytes.p, p.bytes.n });
	sbuf_fini(&p.bytes);
	return true;
}

static inline void fix_run(struct fix *f)
{
	while (fix_step(f))
		;
}

static inline void fix_wait(struct fix *f, uint64_t ms)
{
	for (uint64_t end = f->now + ms; f->now < end; f->now += 100) {
		for (size_t i = 0; i < FIX_NODES; i++)
			if (f->nodes[i].core != NULL)
				core_tick(f->nodes[i].core, f->now);
		fix_run(f);
	}
}

static inline int fix_write(struct fix *f, uint32_t id, const char *operation, struct str document)
{
	struct core_proposal p = { .kind = ENTRY_CONFIG,
				   .expect_position = UINT64_MAX,
				   .operation = operation,
				   .document = document,
				   .deadline_ms = f->now + CORE_DEADLINE_MS };
	uint64_t ticket;

	return core_propose(f->nodes[id - 1].core, &p, &ticket);
}

static void fix_stop(struct fix_node *n)
{
	core_free(n->core);
	n->core = NULL;
}

static void fix_fini(struct fix *f)
{
	for (size_t i = 0; i < FIX_NODES; i++) {
		struct fix_node *n = &f->nodes[i];
		fix_stop(n);
		for (size_t k = 0; k < FIX_ENTRIES; k++)
			sbuf_fini(&n->disk[k].bytes);
		sbuf_fini(&n->meta);
		sbuf_fini(&n->w_meta);
		sbuf_fini(&n->w_entries);
	}
	for (size_t i = 0; i < f->n_packets; i++)
		sbuf_fini(&f->packets[i].bytes);
}

#endif

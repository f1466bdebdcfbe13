/* SPDX-License-Identifier: Apache-2.0
 * What goes to stable storage: one write under way at a time, made from what is wanted when it begins.
 *
 * The hard thing is that wishes change while a write is under way. So there is no queue: each write is worked out anew
 * from the difference between memory and disk, and what its end means is noted when it begins.
 *
 * Meta: 0 version u8, trusted u8, witnesses u8, zero u8, 4 promised u64, adopted u64, committed u64, 28 the witnesses.
 */
#include <errno.h>

#include "cluster/core/core_private.h"
#include "cluster/core/le.h"

enum { META_VERSION = 1, META_FIXED = 28, RETRY_MS = 1000, BATCH_MAX = CORE_BOUND(8 << 20, 4 << 10) };

_Static_assert(META_FIXED + CORE_MEMBERS_MAX * WIRE_WITNESS_LEN <= CORE_META_MAX, "meta fits");

static void meta_encode(struct core *c, struct sbuf *out)
{
	uint8_t p[META_FIXED] = { META_VERSION };

	p[1] = c->trusted || c->writes.adopted != c->adopted;
	p[2] = (uint8_t)c->n_witness;
	le_put(p + 4, c->writes.promised, 8);
	le_put(p + 12, c->writes.adopted, 8);
	/* Known of the log in memory; the disk has that log up to the write's end. */
	uint64_t same_to = c->writes.kind == CORE_WRITE_META ? c->ledger.stable_to : c->writes.target;
	c->writes.committed = c->committed < same_to ? c->committed : same_to;
	le_put(p + 20, c->writes.committed, 8);
	sbuf_add(out, p, sizeof(p));
	for (size_t i = 0; i < c->n_witness; i++)
		wire_put_witness(out, &c->witness[i]);
}

bool writes_meta_decode(struct core *c, struct str meta)
{
	const uint8_t *p = (const uint8_t *)meta.p;

	if (meta.n < META_FIXED || p[0] != META_VERSION || p[1] > 1 || p[2] > CORE_MEMBERS_MAX || p[3] != 0 ||
	    meta.n != META_FIXED + p[2] * (size_t)WIRE_WITNESS_LEN)
		return false;
	c->trusted = p[1] == 1;
	c->n_witness = p[2];
	c->promised = le_get(p + 4, 8);
	c->adopted = le_get(p + 12, 8);
	c->committed = c->writes.committed_written = le_get(p + 20, 8);
	for (size_t i = 0; i < c->n_witness; i++)
		c->witness[i] = wire_get_witness(p + META_FIXED + i * WIRE_WITNESS_LEN);
	return true;
}

/* Adds the tail's entries that the disk lacks; whether all, unless a batch is enough. */
static void add_entries(struct core *c, bool all, struct sbuf *out)
{
	struct ledger *l = &c->ledger;
	struct writes *w = &c->writes;

	for (size_t i = 0; i < l->n_tail && (all || out->n < BATCH_MAX); i++) {
		const struct tail_entry *t = &l->tail[i];
		uint8_t n[4];
		if (!l->whole && t->entry.position <= l->stable_to)
			continue;
		le_put(n, t->bytes.n, 4);
		sbuf_add(out, n, 4);
		sbuf_add(out, t->bytes.p, t->bytes.n);
		w->target = t->entry.position;
		memcpy(w->target_hash, t->entry.hash, ENTRY_HASH_LEN);
	}
}

static void begin(struct core *c, enum core_write_kind kind)
{
	struct sbuf meta = { 0 }, entries = { 0 }, answers = { 0 };
	struct writes *w = &c->writes;
	struct ledger *l = &c->ledger;
	struct core_write out = { .kind = kind, .after = l->stable_to };

	w->kind = kind;
	w->target = kind == CORE_WRITE_META ? l->disk_last : l->stable_to;
	w->valid_to = UINT64_MAX;
	memcpy(w->target_hash, w->disk_hash, ENTRY_HASH_LEN);
	/* With entries to add theirs is the hash; without, memory ends where the disk will. */
	if (kind == CORE_WRITE_APPEND && l->last == l->stable_to)
		memcpy(w->target_hash, l->last_hash, ENTRY_HASH_LEN);
	if (kind != CORE_WRITE_META)
		add_entries(c, w->adopted != c->adopted, &entries);
	if (kind == CORE_WRITE_WHOLE)
		ops_encode(&l->ops, c->committed, &answers);
	meta_encode(c, &meta);
	out.meta = (struct str) { meta.p, meta.n };
	out.entries = (struct str) { entries.p, entries.n };
	out.answers = (struct str) { answers.p, answers.n };
	w->busy = true;
	w->token++;
	c->env.persist(c->env.arg, &out, w->token);
	sbuf_fini(&meta);
	sbuf_fini(&entries);
	sbuf_fini(&answers);
}

/* That a table is committed is written down at once: until a node knows, it needs those whom the table removed. */
static bool table_unwritten(const struct core *c)
{
	const struct ledger *l = &c->ledger;

	return l->newest_at <= c->committed && l->newest_at <= l->stable_to &&
	       c->writes.committed_written < l->newest_at;
}

static void begin_next(struct core *c, bool probe)
{
	struct writes *w = &c->writes;
	struct ledger *l = &c->ledger;
	bool adopt = c->adopting > c->adopted;

	if (w->busy)
		return;
	w->promised = c->promising > c->promised ? c->promising : c->promised;
	w->adopted = c->adopted;
	if (adopt && c->adopting >= w->promised) {
		w->promised = w->adopted = c->adopting;
		bool same = l->stable_to == l->disk_last && l->last == l->stable_to;
		begin(c, l->whole ? CORE_WRITE_WHOLE : same ? CORE_WRITE_META : CORE_WRITE_APPEND);
	} else if (w->promised > c->promised) {
		begin(c, CORE_WRITE_META);
	} else if (!adopt && l->last > l->stable_to && c->view.following) {
		begin(c, CORE_WRITE_APPEND);
	} else if (probe || (!c->trusted && !c->distrust_written) || table_unwritten(c)) {
		begin(c, CORE_WRITE_META);
	}
}

void writes_kick(struct core *c)
{
	if (!c->writes.failing)
		begin_next(c, false);
}

void writes_tick(struct core *c)
{
	if (c->now_ms >= c->writes.retry_ms)
		writes_probe(c);
}

void writes_probe(struct core *c)
{
	if (c->writes.failing)
		begin_next(c, true);
}

static void done(struct core *c)
{
	struct writes *w = &c->writes;
	struct ledger *l = &c->ledger;

	c->promised = w->promised > c->promised ? w->promised : c->promised;
	c->distrust_written = !c->trusted;
	w->committed_written = w->committed;
	if (w->adopted != c->adopted) {
		c->adopted = w->adopted;
		c->trusted = true;
	}
	if (w->kind != CORE_WRITE_META) {
		l->disk_last = w->target;
		l->stable_to = w->target < w->valid_to ? w->target : w->valid_to;
		l->whole = l->whole && w->valid_to == 0;
		memcpy(w->disk_hash, w->target_hash, ENTRY_HASH_LEN);
	}
	if (w->failing)
		core_event_text(c, CORE_EVENT_DISK, "the disk takes writes again");
	bool healed = w->failing;
	w->failing = false;
	if (healed)
		view_say_state(c);
}

/* There was no room: nothing of it is there. After anything else the next start may find it whole. */
static bool certainly_not_there(int rc)
{
	return rc == -ENOSPC || rc == -EDQUOT || rc == -EMSGSIZE;
}

/* In a view of one nobody else has what could not be written: where this disk has not either, it is not made. */
static void withdraw(struct core *c, int rc)
{
	if (c->view.n != 1 || !c->view.active || c->ledger.last == c->ledger.stable_to)
		return;
	own_withdraw(c, c->ledger.stable_to, certainly_not_there(rc) ? CORE_FULL : CORE_UNKNOWN);
	ledger_cut(c, c->ledger.stable_to);
}

static void failed(struct core *c, int rc)
{
	struct writes *w = &c->writes;

	w->retry_ms = c->now_ms + RETRY_MS;
	withdraw(c, rc);
	if (w->failing)
		return;
	w->failing = true;
	core_event_text(c, CORE_EVENT_DISK, "a write failed (%s): no vote until one works", strerror(-rc));
	view_say_state(c);
}

static void tell(struct core *c, uint64_t promised_before)
{
	if (c->promised > promised_before && c->promised == c->view.promise_to_epoch)
		view_say_promised(c);
	if (c->view.following && c->adopted == c->view.epoch)
		commit_say_ack(c);
}

void core_persisted(struct core *c, uint64_t token, int rc)
{
	uint64_t promised = c->promised;

	CHECK_OBJ(c, CORE_MAGIC);
	if (!c->writes.busy || token != c->writes.token)
		return;
	c->writes.busy = false;
	if (rc == 0)
		done(c);
	else
		failed(c, rc);
	if (c->view.open && !c->view.state_sent) {
		view_begin(c);
	} else if (c->behind && rc == 0) {
		c->behind = false;
		core_lose_view(c, "the disk works again, what was missed is to be fetched");
	} else if (rc == 0 && c->view.open && !c->view.lost) {
		tell(c, promised);
	}
	ledger_trim(c);
	writes_kick(c);
	if (rc != 0)
		order_pending(c); /* what waited for this attempt */
	lanes_flush(c);
}

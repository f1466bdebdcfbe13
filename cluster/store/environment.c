/* SPDX-License-Identifier: Apache-2.0
 * What the core asks for, and what it tells: each is kept for later, since the core must not be called from here.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cluster/store/store_private.h"
#include "daemon/base/log.h"

static int on_multicast(void *arg, struct str bytes)
{
	return group_multicast(arg, bytes);
}

static void set(struct sbuf *to, struct str *from)
{
	sbuf_reset(to);
	sbuf_add(to, from->p, from->n);
	*from = (struct str) { to->p, to->n };
}

static void on_persist(void *arg, const struct core_write *w, uint64_t token)
{
	struct store *s = arg;

	ASSERT(!s->wanted && !s->busy);
	s->write = *w;
	set(&s->meta, &s->write.meta);
	set(&s->entries, &s->write.entries);
	set(&s->answers, &s->write.answers);
	s->token = token;
	s->wanted = true;
}

static const struct entry *on_entry(void *arg, uint64_t position)
{
	static struct entry found; /* one thread */
	struct store *s = arg;

	if (disk_read(&s->disk, position, &s->disk.scratch, &found))
		return &found;
	/* The core counts on what it was told is kept. The next start sees the damage and knows what to do. */
	ASSERT(disk_find(&s->disk, position) == NULL);
	return NULL;
}

static uint64_t on_next_kept(void *arg, uint64_t position)
{
	return disk_next(&((struct store *)arg)->disk, position);
}

static void on_apply(void *arg, const struct entry *e)
{
	struct store *s = arg;

	if (e->position <= s->applied.position)
		return; /* in force since the store was opened */
	struct held *h = held_new(e);
	h->refs++;
	applied_put(&s->applied, h);
	if (e->kind == ENTRY_MEMBERSHIP)
		group_table(s, &h->entry);
	note_add(s, &(struct note) { .kind = NOTE_APPLIED, .held = h });
}

static void on_reset(void *arg)
{
	struct store *s = arg;

	applied_fini(&s->applied);
	applied_init(&s->applied);
	note_add(s, &(struct note) { .kind = NOTE_RESET });
}

static void on_answer(void *arg, uint64_t ticket, enum core_result result, uint64_t position)
{
	propose_answered(arg, ticket, result, position);
}

static void on_lost(void *arg, const struct entry *e, bool committed)
{
	note_add(arg, &(struct note) { .kind = NOTE_LOST, .held = held_new(e), .committed = committed });
}

static void on_resync(void *arg)
{
	group_resync(arg);
}

static void on_event(void *arg, enum core_event event, const char *text)
{
	log_msg(event == CORE_EVENT_STATE ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, "cluster", "%s", text);
	note_add(arg, &(struct note) { .kind = NOTE_EVENT, .event = event, .text = xstrdup(text) });
}

void store_make_core(struct store *s)
{
	const struct identity *i = &s->disk.identity;
	struct core_env env = { .arg = s,
				.multicast = on_multicast,
				.persist = on_persist,
				.entry = on_entry,
				.next_kept = on_next_kept,
				.apply = on_apply,
				.reset = on_reset,
				.answer = on_answer,
				.lost_suffix = on_lost,
				.resync = on_resync,
				.event = on_event };
	struct core_config config = { .id = i->id,
				      .instance = i->instance,
				      .cluster = i->cluster,
				      .damaged = s->disk.damaged,
				      .alone = !i->joined,
				      .meta = { s->disk.meta.p, s->disk.meta.n },
				      .answers = { s->disk.answers.p, s->disk.answers.n } };

	snprintf(config.node, sizeof(config.node), "%s", s->node);
	s->core = core_new(&config, &env);
	core_tick(s->core, s->now_ms);
}

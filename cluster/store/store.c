/* SPDX-License-Identifier: Apache-2.0
 * The store put together: the core between a disk, whose writes are made by a thread, and a group.
 *
 * The hard thing is who calls whom. The core may not be called from its own environment, and a caller's callback may
 * ask for the next thing; so all that comes out of the core is noted, and told when it has returned. One loop
 * (store_run) makes progress until only the disk, the network or time can bring more.
 */
#include "cluster/store.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cluster/core/voters.h"
#include "cluster/store/store_private.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

/* ---- telling ---- */

void note_add(struct store *s, const struct note *note)
{
	struct note *n = xcalloc(1, sizeof(*n));

	*n = *note;
	list_append(&s->notes, &n->link);
}

static void note_free(struct note *n)
{
	held_unref(n->held);
	free(n->text);
	free(n);
}

static void tell(struct store *s, const struct note *n)
{
	const struct store_hooks *h = &s->hooks;

	switch (n->kind) {
	case NOTE_APPLIED:
		if (h->applied != NULL)
			h->applied(&n->held->entry, h->arg);
		break;
	case NOTE_RESET:
		propose_void(s, false); /* here, behind the answers that came before it */
		if (h->reset != NULL)
			h->reset(h->arg);
		break;
	case NOTE_LOST:
		if (h->lost != NULL)
			h->lost(&n->held->entry, n->committed, h->arg);
		break;
	case NOTE_EVENT:
		if (h->event != NULL)
			h->event(n->event, n->text, h->arg);
		break;
	case NOTE_ANSWER:
		propose_tell(s, n);
		break;
	}
}

static bool tell_one(struct store *s)
{
	if (list_empty(&s->notes))
		return false;
	struct note *n = LIST_FIRST(&s->notes, struct note, link);
	list_remove(&n->link);
	tell(s, n);
	note_free(n);
	return true;
}

/* ---- progress ---- */

static void run_job(void *job, void *arg)
{
	disk_run(&((struct store *)arg)->disk, job);
}

static void written(struct store *s, struct job *job)
{
	int rc = disk_done(&s->disk, job);

	s->busy = false;
	s->took_ms = clock_mono_ms() - s->began_ms;
	if (rc != 0 && rc != s->disk_error)
		log_msg(LOG_LEVEL_ERROR, "store_failed", "%s: %s", s->disk.path, strerror(-rc));
	s->disk_error = rc;
	core_persisted(s->core, s->token, rc);
}

static bool begin_write(struct store *s)
{
	struct disk_keep keep = { .answers = &s->applied.answers, .now = s->compact_now };
	struct sbuf answers = { 0 };

	if (!s->wanted || s->writer == NULL)
		return false;
	keep.settled = core_settled(s->core);
	if (disk_will_replace(&s->disk, &s->write, &keep))
		core_answers(s->core, &answers);
	keep.core_answers = (struct str) { answers.p, answers.n };
	s->wanted = false;
	s->busy = true;
	s->began_ms = clock_mono_ms();
	writer_start(s->writer, disk_job(&s->disk, &s->write, &keep));
	sbuf_fini(&answers);
	return true;
}

static bool end_write(struct store *s)
{
	struct job *job = s->busy ? writer_take(s->writer) : NULL;

	if (job == NULL)
		return false;
	written(s, job);
	return true;
}

void store_run(struct store *s)
{
	if (s->running)
		return; /* a callback asks for more: the loop below sees it */
	s->running = true;
	while (end_write(s) || begin_write(s) || group_deliver_one(s) || tell_one(s))
		;
	s->running = false;
}

void store_wake(struct store *s)
{
	uint64_t one = 1;

	ASSERT(write(s->fd, &one, sizeof(one)) == (ssize_t)sizeof(one) || errno == EAGAIN);
}

int store_fd(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return s->fd;
}

void store_dispatch(struct store *s)
{
	uint64_t n;

	CHECK_OBJ(s, STORE_MAGIC);
	ASSERT(read(s->fd, &n, sizeof(n)) == (ssize_t)sizeof(n) || errno == EAGAIN);
	store_run(s);
}

void store_tick(struct store *s, uint64_t now_ms)
{
	CHECK_OBJ(s, STORE_MAGIC);
	s->now_ms = now_ms;
	if (s->wants_view && s->started)
		group_view_of_self(s);
	core_tick(s->core, now_ms);
	store_run(s);
}

bool store_is_idle(const struct store *s)
{
	return !s->busy && !s->wanted && list_empty(&s->packets) && list_empty(&s->notes) && list_empty(&s->proposals);
}

bool store_wait(struct store *s, int64_t ms)
{
	enum { TICK_MS = 250 };
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	int64_t end = clock_mono_ms() + ms, now;

	CHECK_OBJ(s, STORE_MAGIC);
	for (;;) {
		now = clock_mono_ms();
		if ((uint64_t)now > s->now_ms)
			store_tick(s, (uint64_t)now);
		store_dispatch(s);
		if (store_is_idle(s) || now >= end)
			return store_is_idle(s);
		(void)!poll(&p, 1, end - now < TICK_MS ? (int)(end - now) : TICK_MS);
	}
}

/* ---- life ---- */

static bool is_own_table(const struct store *s, uint64_t position)
{
	const struct identity *i = &s->disk.identity;
	struct sbuf bytes = { 0 };
	struct voters table;
	struct entry e;
	bool own = disk_read(&s->disk, position, &bytes, &e) && voters_decode(e.document, &table) && table.n == 1 &&
		   voters_index(&table, i->id, i->instance) == 0;

	sbuf_fini(&bytes);
	return own;
}

/* Whether an entry that is durable here is committed, since nobody else is asked: by the newest table, and by the one
 * before while the newest is not known to be committed. */
static bool decides_alone(const struct store *s)
{
	bool alone = !s->disk.identity.joined;
	unsigned tables = 0;

	for (size_t k = s->disk.n; k > 0 && tables < 2; k--) {
		const struct disk_entry *e = &s->disk.entries[k - 1];
		if (e->kind != ENTRY_MEMBERSHIP)
			continue;
		alone = (tables == 0 || alone) && is_own_table(s, e->position);
		if (e->position <= core_committed(s->core))
			break;
		tables++;
	}
	return alone;
}

static bool load(struct store *s, char **ret_why, char **ret_warning)
{
	if (!disk_load(&s->disk, &s->applied.answers, ret_why, ret_warning))
		return false;
	store_make_core(s);
	uint64_t bad = applied_load(s, decides_alone(s) && !s->disk.damaged ? UINT64_MAX : core_applied(s->core));
	if (bad != 0) {
		*ret_why = xasprintf("%s: the entry %llu at offset %llu cannot be read", s->disk.path,
				     (unsigned long long)bad, (unsigned long long)disk_find(&s->disk, bad)->offset);
		return false;
	}
	if (!s->disk.damaged)
		group_table(s, store_last(s, ENTRY_MEMBERSHIP));
	return true;
}

struct store *store_open(const char *dir, const char *node, char **ret_why, char **ret_warning)
{
	struct store *s;

	*ret_why = NULL;
	*ret_warning = NULL;
	NEW_OBJ(s, STORE_MAGIC);
	s->node = xstrdup(node);
	s->wall = clock_wall;
	s->now_ms = (uint64_t)clock_mono_ms();
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	list_init(&s->notes);
	list_init(&s->proposals);
	group_init(s);
	applied_init(&s->applied);
	if (!disk_open(&s->disk, dir, ret_why)) {
		/* said already */
	} else if (s->fd < 0) {
		*ret_why = xasprintf("%s: %s", dir, strerror(errno));
	} else if (load(s, ret_why, ret_warning)) {
		return s;
	}
	store_close(s);
	free(*ret_warning);
	*ret_warning = NULL;
	return NULL;
}

int store_start(struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	ASSERT(!s->started);
	/* A node that is alone can do without a file of its own: its log says the same, once it is written. */
	int err = s->disk.saved ? 0 : identity_save(s->disk.dir_fd, &s->disk.identity);
	s->disk.saved = s->disk.saved || err == 0;
	if (err != 0)
		log_msg(LOG_LEVEL_WARNING, "store_identity", "%s/%s: %s", s->disk.dir, IDENTITY_FILE, strerror(-err));
	s->writer = writer_new(run_job, s, s->fd);
	if (s->writer == NULL)
		return -errno;
	s->started = true;
	if (s->transport == NULL)
		group_view_of_self(s);
	store_wake(s);
	return 0;
}

/* What is durable by now is answered so. */
static void finish_write(struct store *s)
{
	struct job *job = writer_free(s->writer);

	s->writer = NULL;
	if (job != NULL)
		written(s, job);
}

void store_close(struct store *s)
{
	if (s == NULL)
		return;
	CHECK_OBJ(s, STORE_MAGIC);
	ASSERT(!s->running);
	s->running = true; /* what is called from here on changes nothing any more */
	finish_write(s);
	while (group_deliver_one(s) || tell_one(s))
		;
	if (s->core != NULL)
		propose_fini(s);
	core_free(s->core);
	group_fini(s);
	disk_close(&s->disk);
	applied_fini(&s->applied);
	sbuf_fini(&s->meta);
	sbuf_fini(&s->entries);
	sbuf_fini(&s->answers);
	if (s->fd >= 0)
		close(s->fd);
	free(s->node);
	FREE_OBJ(s);
}

void store_set_hooks(struct store *s, const struct store_hooks *hooks)
{
	CHECK_OBJ(s, STORE_MAGIC);
	s->hooks = *hooks;
}

enum core_state store_state(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return core_state(s->core);
}

int store_disk_error(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return s->disk_error;
}

int64_t store_disk_ms(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	int64_t lasts = s->busy ? clock_mono_ms() - s->began_ms : 0;

	return lasts > s->took_ms ? lasts : s->took_ms;
}

bool store_quorate(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	/* A disk that fails to sync is done with until the next start. */
	return core_state(s->core) == CORE_ACTIVE && (s->n_members > 1 || s->busy || s->disk.journal.broken == 0);
}

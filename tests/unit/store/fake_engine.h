/* SPDX-License-Identifier: Apache-2.0
 * A corosync that does as a test says, behind the table of the adapter, and an adapter over it.
 *
 * What tests set and read is locked, since the adapter's thread reads and sets it as well.
 */
#ifndef POSTROAD_TESTS_FAKE_ENGINE_H
#define POSTROAD_TESTS_FAKE_ENGINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cluster/corosync/corosync_private.h"
#include "cluster/corosync/frame.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

enum { FAKE_ID = 1, FAKE_PATIENCE_MS = 60000 };
enum fake_kind { FAKE_GROUP, FAKE_RING, FAKE_MESSAGE, FAKE_GONE };

struct fake_event {
	struct list link;
	enum fake_kind kind;
	struct ring_process list[4], sender;
	size_t n;
	bool nodes;
	struct ring_id ring;
	struct sbuf bytes;
};

struct fake {
	pthread_mutex_t lock;
	pthread_cond_t released;
	struct engine_events events;
	struct list queue;
	int fd;
	struct ring_process others[3]; /* in the group when this process joins */
	size_t n_others;
	struct ring_id ring;
	int open_rc, join_rc, multicast_rc;
	unsigned refuse; /* so many multicasts are refused with -EAGAIN */
	unsigned lose;   /* so many are taken and never come back, */
	unsigned spare;  /* behind so many that do */
	bool silent;     /* what is taken comes back when silent ends */
	bool hang;       /* calls do not return */
	unsigned opens, joins, closes, taken, hanging;
	bool freed;
	struct list held; /* what was taken while silent */
};

static struct fake fake;

static void fake_locked(bool take)
{
	if (take)
		pthread_mutex_lock(&fake.lock);
	else
		pthread_mutex_unlock(&fake.lock);
}

/* Sets a field while the adapter's thread may look at it. */
#define FAKE_SET(field, value) (fake_locked(true), fake.field = (value), fake_locked(false))

static unsigned fake_get(const unsigned *field)
{
	fake_locked(true);
	unsigned value = *field;
	fake_locked(false);
	return value;
}

static void fake_push(struct fake_event *e)
{
	uint64_t one = 1;

	list_append(&fake.queue, &e->link);
	assert_int_equal(write(fake.fd, &one, sizeof(one)), sizeof(one));
}

static struct fake_event *fake_event(enum fake_kind kind)
{
	struct fake_event *e = xcalloc(1, sizeof(*e));

	e->kind = kind;
	return e;
}

/* Each with the lock held. */
static void fake_group_is(const struct ring_process *list, size_t n, bool nodes)
{
	struct fake_event *e = fake_event(FAKE_GROUP);

	memcpy(e->list, list, n * sizeof(*list));
	e->n = n;
	e->nodes = nodes;
	fake_push(e);
}

static void fake_ring_is(uint64_t seq)
{
	struct fake_event *e = fake_event(FAKE_RING);

	e->ring = fake.ring = (struct ring_id) { seq, FAKE_ID };
	fake_push(e);
}

static struct fake_event *fake_message_of(struct ring_process sender, struct str head, struct str body)
{
	struct fake_event *e = fake_event(FAKE_MESSAGE);

	e->sender = sender;
	sbuf_add(&e->bytes, head.p, head.n);
	sbuf_add(&e->bytes, body.p, body.n);
	return e;
}

static struct ring_process fake_own(void)
{
	return (struct ring_process) { FAKE_ID, (uint32_t)getpid() };
}

static void fake_tagged(struct ring_process sender, uint32_t tag, const char *text)
{
	uint8_t head[FRAME_HEAD_LEN];

	frame_head(head, &(struct frame) { .kind = FRAME_DATA, .tag = tag, .number = 1 });
	fake_push(fake_message_of(sender, (struct str) { (char *)head, sizeof(head) }, str_from(text)));
}

static void fake_members(struct ring_process list[4], size_t *ret_n)
{
	list[0] = fake_own();
	memcpy(list + 1, fake.others, fake.n_others * sizeof(*list));
	*ret_n = fake.n_others + 1;
}

static void fake_drop(struct list *queue)
{
	while (!list_empty(queue)) {
		struct fake_event *e = LIST_FIRST(queue, struct fake_event, link);
		list_remove(&e->link);
		sbuf_fini(&e->bytes);
		free(e);
	}
}

/* ---- the table ---- */

static void fake_maybe_hang(void)
{
	fake.hanging++;
	while (fake.hang)
		pthread_cond_wait(&fake.released, &fake.lock);
	fake.hanging--;
}

static int fake_open(void *arg, const char *group, const struct engine_events *events, uint32_t *ret_id)
{
	UNUSED(arg);
	UNUSED(group);
	pthread_mutex_lock(&fake.lock);
	fake_maybe_hang();
	int rc = fake.open_rc;
	if (rc == 0) {
		fake.opens++;
		fake.events = *events;
		*ret_id = FAKE_ID;
	}
	pthread_mutex_unlock(&fake.lock);
	return rc;
}

static int fake_fd(void *arg)
{
	UNUSED(arg);
	return fake.fd;
}

static int fake_group(void *arg, struct ring_process list[RING_PROCESSES_MAX], size_t *ret_n)
{
	UNUSED(arg);
	pthread_mutex_lock(&fake.lock);
	memcpy(list, fake.others, fake.n_others * sizeof(*list));
	*ret_n = fake.n_others;
	pthread_mutex_unlock(&fake.lock);
	return 0;
}

static int fake_join(void *arg)
{
	struct ring_process list[4];
	size_t n;

	UNUSED(arg);
	pthread_mutex_lock(&fake.lock);
	fake_maybe_hang();
	fake.joins++;
	int rc = fake.join_rc;
	if (rc == 0) {
		fake_members(list, &n);
		fake_group_is(list, n, false);
		fake_ring_is(fake.ring.seq);
	}
	pthread_mutex_unlock(&fake.lock);
	return rc;
}

static int fake_multicast(void *arg, struct str head, struct str body)
{
	UNUSED(arg);
	pthread_mutex_lock(&fake.lock);
	fake_maybe_hang();
	int rc = fake.refuse > 0 ? -EAGAIN : fake.multicast_rc;
	if (fake.refuse > 0)
		fake.refuse--;
	if (rc == 0) {
		struct fake_event *e = fake_message_of(fake_own(), head, body);
		fake.taken++;
		if (fake.lose > 0 && fake.spare == 0) {
			fake.lose--;
			sbuf_fini(&e->bytes);
			free(e);
		} else if (fake.silent) {
			list_append(&fake.held, &e->link);
		} else {
			fake_push(e);
		}
		if (fake.spare > 0)
			fake.spare--;
	}
	pthread_mutex_unlock(&fake.lock);
	return rc;
}

static struct fake_event *fake_take(void)
{
	uint64_t count;

	pthread_mutex_lock(&fake.lock);
	fake_maybe_hang();
	struct fake_event *e = NULL;
	if (!list_empty(&fake.queue)) {
		e = LIST_FIRST(&fake.queue, struct fake_event, link);
		list_remove(&e->link);
	}
	if (list_empty(&fake.queue) && read(fake.fd, &count, sizeof(count)) < 0)
		assert_int_equal(errno, EAGAIN);
	pthread_mutex_unlock(&fake.lock);
	return e;
}

static int fake_dispatch(void *arg)
{
	struct fake_event *e = fake_take();
	const struct engine_events *to = &fake.events;
	int rc = 0;

	UNUSED(arg);
	if (e == NULL)
		return -EAGAIN;
	if (e->kind == FAKE_GROUP)
		to->group(to->arg, e->list, e->n, e->nodes);
	else if (e->kind == FAKE_RING)
		to->ring(to->arg, e->ring);
	else if (e->kind == FAKE_MESSAGE)
		to->deliver(to->arg, e->sender, (struct str) { e->bytes.p, e->bytes.n });
	else
		rc = -ENOTCONN;
	sbuf_fini(&e->bytes);
	free(e);
	return rc;
}

static int fake_measure(void *arg, uint32_t own, struct corosync_ring *ret)
{
	UNUSED(arg);
	*ret = (struct corosync_ring) { .token_us = own };
	return 0;
}

static void fake_close(void *arg)
{
	UNUSED(arg);
	pthread_mutex_lock(&fake.lock);
	fake_maybe_hang();
	fake.closes++;
	fake_drop(&fake.queue);
	fake_drop(&fake.held);
	pthread_mutex_unlock(&fake.lock);
}

static void fake_free(void *arg)
{
	UNUSED(arg);
	FAKE_SET(freed, true);
}

/* ---- an adapter over it, and what it told ---- */

struct told {
	struct corosync *c;
	struct sbuf text; /* V and the ids in order; M, the sender and the bytes; D */
	struct core_view_id view;
	uint64_t views;
};

static struct told told;
static bool fake_holds; /* the control thread takes no events */

static void on_view(void *arg, struct core_view_id view, const uint32_t *members, size_t n)
{
	UNUSED(arg);
	sbuf_puts(&told.text, "V");
	for (size_t i = 0; i < n; i++)
		sbuf_printf(&told.text, "%u", members[i]);
	sbuf_putc(&told.text, ' ');
	told.view = view;
	told.views++;
}

static void on_deliver(void *arg, uint32_t sender, struct str bytes)
{
	UNUSED(arg);
	sbuf_printf(&told.text, "M%u:%.*s ", sender, STR_ARG(bytes));
}

static void on_disconnected(void *arg)
{
	UNUSED(arg);
	sbuf_puts(&told.text, "D ");
}

/* Fast where a test waits, slow where it must not happen. */
static const struct pace fake_pace = { .idle = 20,
				       .hung = 100,
				       .probe = 60000,
				       .give_up = 600000,
				       .backlog = 600000,
				       .announce = 30,
				       .join = 2,
				       .retry_min = 2,
				       .retry_max = 20,
				       .second = 5,
				       .resync = 600000,
				       .measure = 10,
				       .stop = 200 };

static void fake_start(const struct pace *pace)
{
	const struct transport_events events = { NULL, on_view, on_deliver, on_disconnected };
	const struct corosync_options options = { .id = FAKE_ID };
	const struct engine engine = { .open = fake_open,
				       .fd = fake_fd,
				       .group = fake_group,
				       .join = fake_join,
				       .multicast = fake_multicast,
				       .dispatch = fake_dispatch,
				       .measure = fake_measure,
				       .close = fake_close,
				       .free = fake_free };
	char *why = NULL;

	told.c = corosync_start_with(&options, &events, &engine, pace, &why);
	assert_non_null(told.c);
}

static void fake_quiet(enum log_level level, const char *line, void *arg)
{
	UNUSED(level);
	UNUSED(line);
	UNUSED(arg);
}

static int fake_setup(void **state)
{
	UNUSED(state);
	log_capture(fake_quiet, NULL);
	memset(&fake, 0, sizeof(fake));
	memset(&told, 0, sizeof(told));
	fake_holds = false;
	pthread_mutex_init(&fake.lock, NULL);
	pthread_cond_init(&fake.released, NULL);
	list_init(&fake.queue);
	list_init(&fake.held);
	fake.fd = eventfd(0, EFD_NONBLOCK);
	fake.ring = (struct ring_id) { 4, FAKE_ID };
	return 0;
}

static int fake_teardown(void **state)
{
	UNUSED(state);
	corosync_stop(told.c);
	sbuf_fini(&told.text);
	fake_drop(&fake.queue);
	fake_drop(&fake.held);
	close(fake.fd);
	return 0;
}

/* Takes events until the condition holds. */
#define AWAIT(condition)                                                                                               \
	do {                                                                                                           \
		int64_t until_ = clock_mono_ms() + FAKE_PATIENCE_MS;                                                   \
		while (fake_turn(), fake_locked(true), !(condition)) {                                                 \
			fake_locked(false);                                                                            \
			if (clock_mono_ms() > until_)                                                                  \
				fail_msg("never: %s; told: %s", #condition, told.text.p);                              \
		}                                                                                                      \
		fake_locked(false);                                                                                    \
	} while (0)
static void fake_turn(void)
{
	struct pollfd p = { fake_holds ? -1 : corosync_fd(told.c), POLLIN, 0 };

	if (poll(&p, 1, 2) > 0)
		corosync_dispatch(told.c);
}

/* A member's message in the view that was told last. */
static void fake_data(struct ring_process sender, const char *text)
{
	fake_tagged(sender, (uint32_t)told.view.ring, text);
}

static bool was_told(const char *what)
{
	return told.text.p != NULL && strstr(told.text.p, what) != NULL;
}

static unsigned count_told(char kind)
{
	unsigned n = 0;

	for (size_t i = 0; i < told.text.n; i++)
		n += told.text.p[i] == kind && (i == 0 || told.text.p[i - 1] == ' ');
	return n;
}

static struct corosync_status status(void)
{
	struct corosync_status s;

	corosync_status(told.c, &s);
	return s;
}

static int multicast(const char *text)
{
	const struct transport *t = corosync_transport(told.c);

	return t->multicast(t->self, str_from(text));
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 * One event loop: libevent for readiness, our own wheel for timers, a mailbox for other threads.
 *
 * The hard thing is timers: a mail session moves its deadline with every command, and libevent's heap would pay for
 * each move. Here a move writes one field; the wheel looks at a timer when its slot comes up and puts it back if it was
 * moved meanwhile.
 */
#include "daemon/net/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/base/clock.h"

#define SLOT_MS 16
#define N_SLOTS 4096 /* a power of two; one round is 65 s, later deadlines go round more than once */
#define LOOP_MAGIC 0x4c4f4f50u

struct message {
	loop_fn *fn;
	void *arg;
};

struct messages {
	struct message *v;
	size_t n, cap;
};

struct loop {
	uint32_t magic;
	struct event_base *base;
	bool stopping;
	int64_t now_us;             /* 0 = stale: read the clock at the next question */
	struct list flushes, later; /* of this turn, of the next */
	struct messages deferred;
	char *scratch;

	int mail_fd;
	struct event mail_event;
	pthread_mutex_t mail_lock;
	struct messages mail; /* under mail_lock */

	struct list slots[N_SLOTS];
	uint64_t busy[N_SLOTS / 64]; /* a bit per slot that may hold timers */
	int64_t looked_at;           /* number of the newest slot that was swept */
	int64_t armed_for;           /* slot number the tick event waits for; 0 = not armed */
	struct event tick_event;

	_Atomic int64_t lag_us;
	_Atomic uint64_t turns;
};

/* ---- messages ---- */

static void messages_add(struct messages *m, loop_fn *fn, void *arg)
{
	if (m->n == m->cap) {
		m->cap = m->cap == 0 ? 16 : m->cap * 2;
		m->v = xrealloc(m->v, m->cap * sizeof(*m->v));
	}
	m->v[m->n++] = (struct message) { fn, arg };
}

/* Runs what is there now; what those calls add stays for the next time. */
static void messages_run(struct messages *m)
{
	struct messages now = *m;

	*m = (struct messages) { 0 };
	for (size_t i = 0; i < now.n; i++)
		now.v[i].fn(now.v[i].arg);
	free(now.v);
}

static void read_mail(struct loop *l)
{
	struct messages now;

	pthread_mutex_lock(&l->mail_lock);
	now = l->mail;
	l->mail = (struct messages) { 0 };
	pthread_mutex_unlock(&l->mail_lock);
	messages_run(&now);
}

static void on_mail(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;

	UNUSED(what);
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		base_panic(__FILE__, __LINE__, "eventfd");
	read_mail(arg);
}

void loop_post(struct loop *l, loop_fn *fn, void *arg)
{
	uint64_t one = 1;

	pthread_mutex_lock(&l->mail_lock);
	bool first = l->mail.n == 0;
	messages_add(&l->mail, fn, arg);
	pthread_mutex_unlock(&l->mail_lock);
	if (first && write(l->mail_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		base_panic(__FILE__, __LINE__, "eventfd");
}

/* ---- timers ---- */

static int64_t slot_of(int64_t ms)
{
	return ms / SLOT_MS;
}

/* The next slot after `from` that may hold timers, within one round; 0 = none. */
static int64_t next_busy(const struct loop *l, int64_t from)
{
	for (int64_t i = from + 1; i <= from + N_SLOTS;) {
		size_t at = (size_t)i & (N_SLOTS - 1);
		uint64_t word = l->busy[at / 64] >> (at % 64);
		if (word != 0)
			return i + __builtin_ctzll(word);
		i += 64 - (int64_t)(at % 64);
	}
	return 0;
}

static void arm_tick(struct loop *l, int64_t slot)
{
	int64_t ms = (slot + 1) * SLOT_MS - loop_now_ms(l); /* at the slot's end: never early */
	struct timeval tv;

	if (ms < 0)
		ms = 0;
	tv = (struct timeval) { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	l->armed_for = slot;
	event_add(&l->tick_event, &tv);
}

static void wheel_insert(struct loop *l, struct timer *t)
{
	int64_t slot = slot_of(t->deadline);

	if (slot <= l->looked_at)
		slot = l->looked_at + 1;
	if (slot >= l->looked_at + N_SLOTS)
		slot = l->looked_at + N_SLOTS - 1;
	size_t at = (size_t)slot & (N_SLOTS - 1);
	list_append(&l->slots[at], &t->link);
	l->busy[at / 64] |= 1ull << (at % 64);
	t->slot_at = slot;
	if (l->armed_for == 0 || slot < l->armed_for)
		arm_tick(l, slot);
}

void timer_init(struct timer *t, loop_fn *fn, void *arg)
{
	*t = (struct timer) { .fn = fn, .arg = arg };
	list_init(&t->link);
}

void timer_set(struct loop *l, struct timer *t, int64_t deadline)
{
	t->deadline = deadline > 0 ? deadline : 1;
	if (t->slot_at != 0 && slot_of(t->deadline) >= t->slot_at)
		return; /* looked at in time: the wheel will move it on */
	list_remove(&t->link);
	wheel_insert(l, t);
}

void timer_set_in(struct loop *l, struct timer *t, int64_t ms)
{
	timer_set(l, t, loop_now_ms(l) + ms);
}

void timer_stop(struct timer *t)
{
	list_remove(&t->link);
	t->slot_at = 0;
	t->deadline = 0;
}

/* Takes the timers of one slot: fires those due, moves those that were set later. */
static void sweep(struct loop *l, int64_t slot, int64_t now)
{
	size_t at = (size_t)slot & (N_SLOTS - 1);
	struct list due;

	l->busy[at / 64] &= ~(1ull << (at % 64));
	list_init(&due);
	while (!list_empty(&l->slots[at])) {
		struct timer *t = LIST_FIRST(&l->slots[at], struct timer, link);
		list_remove(&t->link);
		list_append(&due, &t->link);
	}
	/* Pops one by one: a callback may stop or free any other timer of the list. */
	while (!list_empty(&due)) {
		struct timer *t = LIST_FIRST(&due, struct timer, link);
		list_remove(&t->link);
		t->slot_at = 0;
		if (t->deadline > now) {
			wheel_insert(l, t);
			continue;
		}
		t->deadline = 0;
		t->fn(t->arg);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	int64_t now = loop_now_ms(l), due_at = (l->armed_for + 1) * SLOT_MS;

	UNUSED(fd);
	UNUSED(what);
	atomic_store_explicit(&l->lag_us, now > due_at ? (now - due_at) * 1000 : 0, memory_order_relaxed);
	l->armed_for = 0;
	int64_t last = slot_of(now) - 1;
	if (last - l->looked_at > N_SLOTS)
		l->looked_at = last - N_SLOTS; /* paused for over a round: each slot once is enough */
	for (int64_t slot = next_busy(l, l->looked_at); slot != 0 && slot <= last; slot = next_busy(l, l->looked_at)) {
		l->looked_at = slot;
		sweep(l, slot, now);
	}
	if (last > l->looked_at)
		l->looked_at = last;
	int64_t next = next_busy(l, l->looked_at);
	if (next != 0 && (l->armed_for == 0 || next < l->armed_for))
		arm_tick(l, next);
}

/* ---- the loop ---- */

struct loop *loop_new(void)
{
	struct event_config *cf = event_config_new();
	struct loop *l;

	NEW_OBJ(l, LOOP_MAGIC);
	/* Only this thread touches the base; other threads go through the mailbox. */
	event_config_set_flag(cf, EVENT_BASE_FLAG_NOLOCK);
	l->base = event_base_new_with_config(cf);
	event_config_free(cf);
	ASSERT(l->base != NULL);
	l->scratch = xmalloc(LOOP_SCRATCH);
	list_init(&l->flushes);
	list_init(&l->later);
	for (size_t i = 0; i < N_SLOTS; i++)
		list_init(&l->slots[i]);
	l->looked_at = slot_of(clock_mono_ms()) - 1;
	pthread_mutex_init(&l->mail_lock, NULL);
	l->mail_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT(l->mail_fd >= 0);
	event_assign(&l->mail_event, l->base, l->mail_fd, EV_READ | EV_PERSIST, on_mail, l);
	event_add(&l->mail_event, NULL);
	event_assign(&l->tick_event, l->base, -1, 0, on_tick, l);
	return l;
}

void loop_free(struct loop *l)
{
	CHECK_OBJ(l, LOOP_MAGIC);
	while (l->mail.n > 0 || l->deferred.n > 0) {
		read_mail(l);
		messages_run(&l->deferred);
	}
	event_del(&l->mail_event);
	event_del(&l->tick_event);
	event_base_free(l->base);
	close(l->mail_fd);
	pthread_mutex_destroy(&l->mail_lock);
	free(l->scratch);
	FREE_OBJ(l);
}

static void end_turn(struct loop *l)
{
	while (!list_empty(&l->flushes)) {
		struct loop_flush *f = LIST_FIRST(&l->flushes, struct loop_flush, link);
		list_remove(&f->link);
		f->fn(f->arg);
	}
	while (l->deferred.n > 0)
		messages_run(&l->deferred);
	l->now_us = 0;
	atomic_fetch_add_explicit(&l->turns, 1, memory_order_relaxed);
}

static void take_later(struct loop *l)
{
	while (!list_empty(&l->later)) {
		struct list *first = l->later.next;
		list_remove(first);
		list_append(&l->flushes, first);
	}
}

void loop_turn(struct loop *l, bool block)
{
	CHECK_OBJ(l, LOOP_MAGIC);
	end_turn(l); /* what was written outside a turn must not wait for an event */
	bool wait = block && list_empty(&l->later);
	event_base_loop(l->base, wait ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK);
	take_later(l);
	end_turn(l);
}

void loop_run(struct loop *l)
{
	l->stopping = false;
	while (!l->stopping)
		loop_turn(l, true);
}

void loop_stop(struct loop *l)
{
	l->stopping = true;
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

char *loop_scratch(struct loop *l)
{
	return l->scratch;
}

int64_t loop_now_us(struct loop *l)
{
	if (l->now_us == 0)
		l->now_us = clock_mono_us();
	return l->now_us;
}

int64_t loop_now_ms(struct loop *l)
{
	return loop_now_us(l) / 1000;
}

void loop_defer(struct loop *l, loop_fn *fn, void *arg)
{
	messages_add(&l->deferred, fn, arg);
}

void loop_flush_init(struct loop_flush *f, loop_fn *fn, void *arg)
{
	*f = (struct loop_flush) { .fn = fn, .arg = arg };
	list_init(&f->link);
}

void loop_flush_queue(struct loop *l, struct loop_flush *f)
{
	if (list_empty(&f->link))
		list_append(&l->flushes, &f->link);
}

void loop_flush_queue_later(struct loop *l, struct loop_flush *f)
{
	if (list_empty(&f->link))
		list_append(&l->later, &f->link);
}

void loop_flush_cancel(struct loop_flush *f)
{
	list_remove(&f->link);
}

int64_t loop_lag_us(const struct loop *l)
{
	return atomic_load_explicit(&l->lag_us, memory_order_relaxed);
}

uint64_t loop_turns(const struct loop *l)
{
	return atomic_load_explicit(&l->turns, memory_order_relaxed);
}

/* SPDX-License-Identifier: Apache-2.0
 * The border between the control thread and the thread that speaks to corosync.
 *
 * The hard thing is that the other thread may hang for ever in a library's call. So nothing is waited for here but the
 * lock, which is never held during a call; and what both share is counted, so that a thread that was left behind still
 * has it when its call returns.
 */
#include "cluster/corosync/corosync_private.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/watchdog.h"

#define BOUNDARY_MAGIC 0x424f554eu

struct boundary {
	uint32_t magic;
	pthread_mutex_t lock;
	pthread_cond_t ended_cond;
	unsigned refs; /* one of each thread */
	bool ended;
	int wake_fd, ready_fd;
	struct commands commands;
	bool starved; /* the thread found no room and wants to know when there is */
	struct queue events;
	struct list waiting;
	unsigned n_waiting;
	uint64_t generation; /* of the view that is open; 0 = none */
	int64_t calling_since;
	struct corosync_status status;
	int64_t waiting_since;
	struct thread_start start;
	pthread_t thread;
};

/* ---- descriptors ---- */

static void ring_bell(int fd)
{
	uint64_t one = 1;

	/* Only a counter that is full refuses, and then the bell rings already. */
	if (write(fd, &one, sizeof(one)) < 0)
		ASSERT(errno == EAGAIN);
}

static void silence(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		ASSERT(errno == EAGAIN);
}

/* ---- life ---- */

struct boundary *boundary_new(const struct thread_start *start)
{
	struct boundary *b;
	pthread_condattr_t attr;

	NEW_OBJ(b, BOUNDARY_MAGIC);
	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&b->ended_cond, &attr);
	pthread_condattr_destroy(&attr);
	queue_init(&b->events);
	list_init(&b->waiting);
	b->refs = 1;
	b->start = *start;
	b->start.boundary = b;
	b->status.why = "not connected yet";
	b->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	b->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return b;
}

/* Messages may hold keys. */
static void free_waiting(struct waiting *w)
{
	explicit_bzero(w->bytes, w->n);
	free(w);
}

static void drop_waiting(struct boundary *b)
{
	while (!list_empty(&b->waiting)) {
		struct waiting *w = LIST_FIRST(&b->waiting, struct waiting, link);
		list_remove(&w->link);
		free_waiting(w);
	}
	b->n_waiting = 0;
}

void boundary_unref(struct boundary *b)
{
	pthread_mutex_lock(&b->lock);
	bool last = --b->refs == 0;
	pthread_mutex_unlock(&b->lock);
	if (!last)
		return;
	drop_waiting(b);
	queue_fini(&b->events);
	if (b->wake_fd >= 0)
		close(b->wake_fd);
	if (b->ready_fd >= 0)
		close(b->ready_fd);
	if (b->start.engine.free != NULL)
		b->start.engine.free(b->start.engine.arg);
	pthread_cond_destroy(&b->ended_cond);
	pthread_mutex_destroy(&b->lock);
	FREE_OBJ(b);
}

static void *thread_main(void *arg)
{
	struct boundary *b = arg;

	CHECK_OBJ(b, BOUNDARY_MAGIC);
	thread_run(&b->start);
	pthread_mutex_lock(&b->lock);
	b->ended = true;
	pthread_cond_signal(&b->ended_cond);
	pthread_mutex_unlock(&b->lock);
	boundary_unref(b);
	return NULL;
}

/* The thread takes no signals: they are the main thread's. */
/* The thread takes no signals: they are the main thread's. */
int boundary_run(struct boundary *b)
{
	pthread_attr_t attr;
	sigset_t all, before;

	if (b->wake_fd < 0 || b->ready_fd < 0)
		return -EMFILE;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	b->refs++;
	int rc = pthread_create(&b->thread, &attr, thread_main, b);
	if (rc != 0)
		b->refs--;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -rc;
}

static struct timespec in_ms(int64_t ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

void boundary_stop(struct boundary *b)
{
	struct timespec until = in_ms(b->start.pace.stop);
	int rc = 0;

	pthread_mutex_lock(&b->lock);
	b->commands.stop = true;
	ring_bell(b->wake_fd);
	while (!b->ended && rc == 0)
		rc = pthread_cond_timedwait(&b->ended_cond, &b->lock, &until);
	bool ended = b->ended;
	pthread_mutex_unlock(&b->lock);
	if (ended)
		pthread_join(b->thread, NULL);
	else
		pthread_detach(b->thread);
	boundary_unref(b);
}

/* ---- the control thread's side ---- */

int boundary_send(struct boundary *b, uint64_t generation, struct str bytes)
{
	int rc = 0;

	pthread_mutex_lock(&b->lock);
	if (b->generation != generation || b->commands.resync || b->n_waiting >= WAITING_MAX) {
		rc = -EAGAIN;
	} else {
		struct waiting *w = xmalloc(sizeof(*w) + bytes.n);
		w->n = bytes.n;
		if (bytes.n > 0)
			memcpy(w->bytes, bytes.p, bytes.n);
		list_append(&b->waiting, &w->link);
		b->n_waiting++;
		ring_bell(b->wake_fd);
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

void boundary_resync(struct boundary *b, uint64_t generation)
{
	pthread_mutex_lock(&b->lock);
	/* What is asked about a view that has gone already is answered by the one that comes. */
	if (b->generation == generation) {
		b->commands.resync = true;
		ring_bell(b->wake_fd);
	}
	pthread_mutex_unlock(&b->lock);
}

int boundary_ready_fd(const struct boundary *b)
{
	return b->ready_fd;
}

struct queue_event *boundary_take(struct boundary *b)
{
	pthread_mutex_lock(&b->lock);
	struct queue_event *e = queue_take(&b->events);
	if (b->events.n == 0)
		silence(b->ready_fd);
	if (b->starved && b->events.n == 0) {
		b->starved = false;
		ring_bell(b->wake_fd);
	}
	pthread_mutex_unlock(&b->lock);
	return e;
}

static int64_t hung_since(const struct boundary *b, int64_t now)
{
	int64_t since = 0;

	if (b->waiting_since != 0 && now - b->waiting_since >= b->start.pace.hung)
		since = b->waiting_since;
	if (b->calling_since != 0 && now - b->calling_since >= b->start.pace.hung &&
	    (since == 0 || b->calling_since < since))
		since = b->calling_since;
	return since;
}

void boundary_ask(struct boundary *b, struct corosync_status *ret)
{
	pthread_mutex_lock(&b->lock);
	*ret = b->status;
	ret->hung_since_ms = hung_since(b, clock_mono_ms());
	ret->waiting = b->n_waiting;
	ret->events = (unsigned)b->events.n;
	pthread_mutex_unlock(&b->lock);
}

/* ---- the other thread's side ---- */

struct commands boundary_commands(struct boundary *b)
{
	pthread_mutex_lock(&b->lock);
	struct commands commands = b->commands;
	b->commands.resync = false;
	pthread_mutex_unlock(&b->lock);
	return commands;
}

int boundary_wake_fd(const struct boundary *b)
{
	return b->wake_fd;
}

void boundary_woken(struct boundary *b)
{
	silence(b->wake_fd);
}

bool boundary_room(struct boundary *b, bool empty)
{
	pthread_mutex_lock(&b->lock);
	bool room = empty ? b->events.n == 0 : !queue_full(&b->events);
	/* Room is told when all was taken: often enough, and it does not wake a thread for each event. */
	b->starved = !room;
	pthread_mutex_unlock(&b->lock);
	return room;
}

static void ready(struct boundary *b)
{
	if (b->events.n == 1)
		ring_bell(b->ready_fd);
}

void boundary_message(struct boundary *b, uint32_t sender, struct str bytes)
{
	pthread_mutex_lock(&b->lock);
	queue_message(&b->events, sender, bytes);
	ready(b);
	pthread_mutex_unlock(&b->lock);
}

void boundary_view(struct boundary *b, const struct ring_view *v)
{
	struct corosync_status *s = &b->status;

	pthread_mutex_lock(&b->lock);
	drop_waiting(b);
	s->view = v->id;
	s->n_members = v->n_now;
	for (size_t i = 0; i < v->n_now; i++)
		s->members[i] = v->now[i].id;
	b->generation = ++s->views;
	/* A resync that was asked for meanwhile was about the view before. */
	b->commands.resync = false;
	queue_view(&b->events, v->id, b->generation, s->members, s->n_members);
	ready(b);
	pthread_mutex_unlock(&b->lock);
}

void boundary_closed(struct boundary *b)
{
	pthread_mutex_lock(&b->lock);
	b->generation = 0;
	drop_waiting(b);
	pthread_mutex_unlock(&b->lock);
}

void boundary_disconnected(struct boundary *b)
{
	pthread_mutex_lock(&b->lock);
	b->generation = 0;
	b->status.n_members = 0;
	drop_waiting(b);
	queue_disconnected(&b->events);
	ready(b);
	pthread_mutex_unlock(&b->lock);
}

const struct waiting *boundary_next(struct boundary *b)
{
	pthread_mutex_lock(&b->lock);
	/* Only this thread takes it off, so it stays valid without the lock. */
	const struct waiting *w = list_empty(&b->waiting) ? NULL : LIST_FIRST(&b->waiting, struct waiting, link);
	pthread_mutex_unlock(&b->lock);
	return w;
}

void boundary_sent(struct boundary *b)
{
	pthread_mutex_lock(&b->lock);
	struct waiting *w = LIST_FIRST(&b->waiting, struct waiting, link);
	list_remove(&w->link);
	b->n_waiting--;
	pthread_mutex_unlock(&b->lock);
	free_waiting(w);
}

void boundary_calls(struct boundary *b)
{
	pthread_mutex_lock(&b->lock);
	b->calling_since = clock_mono_ms();
	pthread_mutex_unlock(&b->lock);
	watchdog_wait(); /* who stops corosync has stopped nothing here */
}

void boundary_returned(struct boundary *b)
{
	pthread_mutex_lock(&b->lock);
	b->calling_since = 0;
	pthread_mutex_unlock(&b->lock);
	watchdog_waited();
}

void boundary_status(struct boundary *b, const struct thread_status *t)
{
	struct corosync_status *s = &b->status;

	pthread_mutex_lock(&b->lock);
	s->connected = t->connected;
	s->why = t->why;
	s->id = t->id;
	s->ring = t->ring.seq;
	s->ring_lowest = t->ring.lowest;
	s->refused_since_ms = t->refused_since_ms;
	s->returned_ms = t->returned_ms;
	s->in_flight = t->in_flight;
	s->connections = t->connections;
	s->resyncs = t->resyncs;
	s->lost = t->lost;
	b->waiting_since = t->waiting_since_ms;
	pthread_mutex_unlock(&b->lock);
}

void boundary_measured(struct boundary *b, const struct corosync_ring *ring)
{
	pthread_mutex_lock(&b->lock);
	b->status.totem = *ring;
	b->status.totem.asked_ms = clock_mono_ms();
	pthread_mutex_unlock(&b->lock);
}

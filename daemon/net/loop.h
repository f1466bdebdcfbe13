/* SPDX-License-Identifier: Apache-2.0
 * One event loop: a thread's libevent base, its clock, timers, messages from other threads and deferred frees.
 *
 * Owned by one thread; only loop_post() may be called from another.
 */
#ifndef POSTROAD_NET_LOOP_H
#define POSTROAD_NET_LOOP_H

#include "daemon/base/list.h"

struct event_base;
struct loop;

struct loop *loop_new(void);
/* After the loop has ended. Messages not yet run are run now, so that what they own is freed. */
void loop_free(struct loop *l);
/* Runs until loop_stop(). */
void loop_run(struct loop *l);
/* From the loop's own thread, or as a posted message. */
void loop_stop(struct loop *l);
/* One turn: waits for events at most until the next timer (or not at all), runs callbacks, flushes, frees. Tests. */
void loop_turn(struct loop *l, bool block);

/* The libevent base, for evhttp and c-ares. */
struct event_base *loop_base(struct loop *l);

/* Monotonic time, read once per turn. */
int64_t loop_now_ms(struct loop *l);
int64_t loop_now_us(struct loop *l);

typedef void loop_fn(void *arg);
/* Runs fn(arg) on the loop's thread in its next turn, in order. From any thread. */
void loop_post(struct loop *l, loop_fn *fn, void *arg);
/* Runs fn(arg) at the end of this turn, after all callbacks: frees, so that a stale event finds a live object. */
void loop_defer(struct loop *l, loop_fn *fn, void *arg);
/* A hook that runs once at the end of every turn (flushing what the turn wrote). One item may be queued once at a time.
 */
struct loop_flush {
	struct list link; /* private */
	loop_fn *fn;
	void *arg;
};
void loop_flush_init(struct loop_flush *f, loop_fn *fn, void *arg);
void loop_flush_queue(struct loop *l, struct loop_flush *f);
/* The same, at the end of the next turn, which does not wait for events: so that others get their turn in between. */
void loop_flush_queue_later(struct loop *l, struct loop_flush *f);
void loop_flush_cancel(struct loop_flush *f);

/* A buffer of LOOP_SCRATCH bytes for one read at a time, valid until the callback returns. */
#define LOOP_SCRATCH (256 * 1024)
char *loop_scratch(struct loop *l);

/* How late the last timer tick came, in microseconds: the loop's lag. Readable from any thread. */
int64_t loop_lag_us(const struct loop *l);
/* The turn counter; readable from any thread (a watchdog sees a hung loop by it). */
uint64_t loop_turns(const struct loop *l);

/* ---- timers ---- */

/* A deadline that costs nothing to move: setting it writes a field; a wheel with 16 ms slots looks at it when its slot
 * comes up and puts it back if it was moved. Fires up to one slot late, never early. */
struct timer {
	struct list link; /* private */
	int64_t deadline; /* loop_now_ms() scale; 0 = off */
	int64_t slot_at;  /* private: when the wheel looks at it next; 0 = not in the wheel */
	loop_fn *fn;
	void *arg;
};

void timer_init(struct timer *t, loop_fn *fn, void *arg);
/* Fires once at `deadline`; a second call moves it. */
void timer_set(struct loop *l, struct timer *t, int64_t deadline);
void timer_set_in(struct loop *l, struct timer *t, int64_t ms);
/* Off. The struct may be freed after it. */
void timer_stop(struct timer *t);

#endif

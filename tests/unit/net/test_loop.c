/* SPDX-License-Identifier: Apache-2.0
 * Promises of the loop: timers fire once, never early, in any order of setting; messages and deferred calls run in
 * order.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/net/loop.h"

struct probe {
	struct loop *l;
	struct timer t;
	int64_t wanted, fired_at;
	int fired;
};

static void on_fire(void *arg)
{
	struct probe *p = arg;

	p->fired++;
	p->fired_at = clock_mono_ms();
}

static void probe_init(struct probe *p, struct loop *l)
{
	*p = (struct probe) { .l = l };
	timer_init(&p->t, on_fire, p);
}

static void set_in(struct probe *p, int64_t ms)
{
	p->wanted = clock_mono_ms() + ms;
	timer_set(p->l, &p->t, p->wanted);
}

static void timers_fire_once_and_never_early(void **state)
{
	static const int64_t delays[] = { 0, 1, 15, 16, 17, 40, 90 };
	struct probe p[ARRAY_LEN(delays)];
	struct loop *l = loop_new();

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
		probe_init(&p[i], l);
		set_in(&p[i], delays[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(delays); i++)
		while (p[i].fired == 0)
			loop_turn(l, true);
	for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
		assert_int_equal(p[i].fired, 1);
		assert_true(p[i].fired_at >= p[i].wanted);
	}
	loop_free(l);
}

static void a_moved_timer_fires_at_its_new_time_only(void **state)
{
	struct loop *l = loop_new();
	struct probe later, sooner, stopped;

	UNUSED(state);
	probe_init(&later, l);
	probe_init(&sooner, l);
	probe_init(&stopped, l);
	set_in(&later, 20);
	set_in(&later, 80);
	set_in(&sooner, 60000);
	set_in(&sooner, 30);
	set_in(&stopped, 20);
	timer_stop(&stopped.t);
	while (later.fired == 0 || sooner.fired == 0)
		loop_turn(l, true);
	assert_int_equal(later.fired, 1);
	assert_true(later.fired_at >= later.wanted);
	assert_int_equal(sooner.fired, 1);
	assert_true(sooner.fired_at < later.fired_at + 1);
	assert_int_equal(stopped.fired, 0);
	loop_free(l);
}

static struct probe *victim;

static void stop_the_other(void *arg)
{
	on_fire(arg);
	timer_stop(&victim->t);
}

static void a_timer_may_stop_another_that_is_due_in_the_same_slot(void **state)
{
	struct loop *l = loop_new();
	struct probe first, second;

	UNUSED(state);
	probe_init(&first, l);
	probe_init(&second, l);
	victim = &second;
	first.t.fn = stop_the_other;
	int64_t at = clock_mono_ms() + 20;
	timer_set(l, &first.t, at);
	timer_set(l, &second.t, at);
	while (first.fired == 0)
		loop_turn(l, true);
	struct probe after;
	probe_init(&after, l);
	set_in(&after, 40);
	while (after.fired == 0)
		loop_turn(l, true);
	assert_int_equal(second.fired, 0);
	loop_free(l);
}

struct order {
	struct loop *l;
	int seen[64], n;
};

static void note_and_stop_at(void *arg)
{
	struct order *o = arg;

	o->seen[o->n] = o->n;
	if (++o->n == 50)
		loop_stop(o->l);
}

static void *post_many(void *arg)
{
	struct order *o = arg;

	for (int i = 0; i < 50; i++)
		loop_post(o->l, note_and_stop_at, o);
	return NULL;
}

static void messages_of_another_thread_all_arrive(void **state)
{
	struct order o = { .l = loop_new() };
	pthread_t thread;

	UNUSED(state);
	pthread_create(&thread, NULL, post_many, &o);
	loop_run(o.l);
	pthread_join(thread, NULL);
	assert_int_equal(o.n, 50);
	loop_free(o.l);
}

static int deferred_ran;

static void run_deferred(void *arg)
{
	UNUSED(arg);
	deferred_ran++;
}

static void defer_from_message(void *arg)
{
	loop_defer(arg, run_deferred, NULL);
	assert_int_equal(deferred_ran, 0);
}

static void deferred_calls_run_at_the_end_of_the_turn(void **state)
{
	struct loop *l = loop_new();

	UNUSED(state);
	deferred_ran = 0;
	loop_post(l, defer_from_message, l);
	loop_turn(l, true);
	assert_int_equal(deferred_ran, 1);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_once_and_never_early),
		cmocka_unit_test(a_moved_timer_fires_at_its_new_time_only),
		cmocka_unit_test(a_timer_may_stop_another_that_is_due_in_the_same_slot),
		cmocka_unit_test(messages_of_another_thread_all_arrive),
		cmocka_unit_test(deferred_calls_run_at_the_end_of_the_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

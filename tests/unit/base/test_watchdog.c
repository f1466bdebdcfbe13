/* SPDX-License-Identifier: Apache-2.0
 * Promises of the watchdog: it names who is silent for too long, and nobody else, whatever the clock does.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/watchdog.h"

static int64_t now;

/* Rounds at their pace, for so long; the name that came first. */
static const char *rounds(int64_t ms)
{
	const char *name = NULL;
	int64_t silent = 0;

	for (int64_t i = 0; i < ms && name == NULL; i += WATCHDOG_ROUND_MS)
		name = watchdog_round(now += WATCHDOG_ROUND_MS, &silent);
	assert_true(name == NULL || silent >= WATCHDOG_LIMIT_MS);
	return name;
}

static int begin(void **state)
{
	UNUSED(state);
	now += 1000000;
	watchdog_enter("control");
	watchdog_beat();
	assert_null(rounds(WATCHDOG_ROUND_MS));
	return 0;
}

static int end(void **state)
{
	UNUSED(state);
	watchdog_exit();
	return 0;
}

static void who_is_silent_for_the_limit_is_named(void **state)
{
	UNUSED(state);
	assert_null(rounds(WATCHDOG_LIMIT_MS - WATCHDOG_ROUND_MS));
	assert_string_equal(rounds(WATCHDOG_ROUND_MS), "control");
}

static void one_beat_is_enough(void **state)
{
	UNUSED(state);
	for (int i = 0; i < 10; i++) {
		assert_null(rounds(WATCHDOG_LIMIT_MS - WATCHDOG_ROUND_MS));
		watchdog_beat();
		assert_null(rounds(WATCHDOG_ROUND_MS));
	}
}

static void a_process_that_was_stopped_as_a_whole_goes_on(void **state)
{
	UNUSED(state);
	assert_null(rounds(WATCHDOG_LIMIT_MS / 2));
	now += 3600 * 1000;
	assert_null(rounds(WATCHDOG_ROUND_MS));
	now += 3600 * 1000;
	assert_null(rounds(WATCHDOG_ROUND_MS));
	watchdog_beat();
	assert_null(rounds(WATCHDOG_LIMIT_MS - WATCHDOG_ROUND_MS));
}

static void a_watchdog_that_gets_little_time_still_counts(void **state)
{
	const char *name = NULL;
	int64_t silent = 0;
	int n = 0;

	UNUSED(state);
	for (; name == NULL && n < 100; n++)
		name = watchdog_round(now += 10 * WATCHDOG_GAP_MS, &silent);
	assert_string_equal(name, "control");
	assert_int_equal(n, WATCHDOG_LIMIT_MS / WATCHDOG_GAP_MS);
}

static void who_waits_for_others_may_wait(void **state)
{
	UNUSED(state);
	watchdog_wait();
	watchdog_wait();
	watchdog_waited();
	assert_null(rounds(20 * WATCHDOG_LIMIT_MS));
	watchdog_waited();
	assert_null(rounds(WATCHDOG_LIMIT_MS - WATCHDOG_ROUND_MS));
	assert_string_equal(rounds(2 * WATCHDOG_ROUND_MS), "control");
}

struct other {
	pthread_t thread;
	pthread_barrier_t entered, leave, left, end;
};

static void *run_other(void *arg)
{
	struct other *o = arg;

	watchdog_enter("other");
	pthread_barrier_wait(&o->entered);
	pthread_barrier_wait(&o->leave);
	watchdog_exit();
	pthread_barrier_wait(&o->left);
	pthread_barrier_wait(&o->end);
	return NULL;
}

static void the_silent_one_of_several_is_named_until_it_leaves(void **state)
{
	struct other o;

	UNUSED(state);
	pthread_barrier_init(&o.entered, NULL, 2);
	pthread_barrier_init(&o.leave, NULL, 2);
	pthread_barrier_init(&o.left, NULL, 2);
	pthread_barrier_init(&o.end, NULL, 2);
	assert_int_equal(pthread_create(&o.thread, NULL, run_other, &o), 0);
	pthread_barrier_wait(&o.entered);
	for (int64_t ms = 0; ms < WATCHDOG_LIMIT_MS - WATCHDOG_ROUND_MS; ms += WATCHDOG_ROUND_MS) {
		watchdog_beat();
		assert_null(rounds(WATCHDOG_ROUND_MS));
	}
	watchdog_beat();
	assert_string_equal(rounds(WATCHDOG_ROUND_MS), "other");
	pthread_barrier_wait(&o.leave);
	pthread_barrier_wait(&o.left);
	watchdog_beat();
	assert_null(rounds(WATCHDOG_LIMIT_MS - WATCHDOG_ROUND_MS));
	pthread_barrier_wait(&o.end);
	pthread_join(o.thread, NULL);
}

static void a_thread_that_is_not_watched_may_say_what_it_likes(void **state)
{
	UNUSED(state);
	watchdog_beat();
	watchdog_wait();
	watchdog_waited();
	watchdog_exit();
	assert_null(rounds(2 * WATCHDOG_LIMIT_MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_is_silent_for_the_limit_is_named, begin, end),
		cmocka_unit_test_setup_teardown(one_beat_is_enough, begin, end),
		cmocka_unit_test_setup_teardown(a_process_that_was_stopped_as_a_whole_goes_on, begin, end),
		cmocka_unit_test_setup_teardown(a_watchdog_that_gets_little_time_still_counts, begin, end),
		cmocka_unit_test_setup_teardown(who_waits_for_others_may_wait, begin, end),
		cmocka_unit_test_setup_teardown(the_silent_one_of_several_is_named_until_it_leaves, begin, end),
		cmocka_unit_test(a_thread_that_is_not_watched_may_say_what_it_likes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Promises about overload: it is said of what lasts, names what it is, and is not taken back soon.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/session/overload.h"

enum { LOOK_MS = 1000 };

static struct overload o;
static int64_t now;

static struct engine_load load(int64_t lag_ms, uint64_t connections)
{
	return (struct engine_load) { .lag_ms = lag_ms, .listener = "relay", .connections = connections, .cap = 100 };
}

/* Looks for so long; what the last one said. */
static const char *looks(int64_t ms, struct engine_load l)
{
	const char *why = NULL;

	for (int64_t i = 0; i < ms; i += LOOK_MS)
		why = overload_look(&o, &l, now += LOOK_MS);
	return why;
}

static int begin(void **state)
{
	UNUSED(state);
	memset(&o, 0, sizeof(o));
	now = 5;
	return 0;
}

static void what_is_short_is_not_said(void **state)
{
	UNUSED(state);
	for (int i = 0; i < 10; i++) {
		assert_null(looks(OVERLOAD_AFTER_MS, load(OVERLOAD_LAG_MS, 100)));
		assert_null(looks(LOOK_MS, load(OVERLOAD_LAG_MS - 1, 0)));
	}
}

static void a_late_worker_is_said(void **state)
{
	UNUSED(state);
	assert_null(looks(OVERLOAD_AFTER_MS, load(OVERLOAD_LAG_MS, 0)));
	assert_string_equal(looks(LOOK_MS, load(777, 0)), "a worker is late by 250 ms or more");
}

static void a_full_listener_is_said_by_name(void **state)
{
	UNUSED(state);
	assert_null(looks(2 * OVERLOAD_AFTER_MS, load(0, 99)));
	assert_null(looks(OVERLOAD_AFTER_MS, load(0, 100)));
	/* Somebody left, and somebody else is about to come: it is as full as before. */
	assert_string_equal(looks(LOOK_MS, load(0, 90)), "listener relay has its 100 connections");
}

static void a_listener_that_was_never_full_is_not(void **state)
{
	struct engine_load without = { .lag_ms = 0 };

	UNUSED(state);
	assert_null(looks(OVERLOAD_OVER_MS, load(0, 99)));
	assert_null(looks(OVERLOAD_OVER_MS, without));
}

static void it_is_over_when_long_nothing_was(void **state)
{
	UNUSED(state);
	assert_non_null(looks(2 * OVERLOAD_AFTER_MS, load(0, 100)));
	assert_non_null(looks(OVERLOAD_OVER_MS - LOOK_MS, load(0, 10)));
	assert_null(looks(LOOK_MS, load(0, 10)));
	assert_null(looks(OVERLOAD_AFTER_MS, load(0, 100)));
}

static void trouble_now_and_then_keeps_it(void **state)
{
	UNUSED(state);
	for (int i = 0; i < 5; i++) {
		assert_non_null(looks(2 * OVERLOAD_AFTER_MS, load(OVERLOAD_LAG_MS, 0)));
		assert_non_null(looks(OVERLOAD_OVER_MS - OVERLOAD_AFTER_MS, load(0, 0)));
	}
}

static void looks_far_apart_do_not_add_up(void **state)
{
	struct engine_load l = load(OVERLOAD_LAG_MS, 100);

	UNUSED(state);
	for (int i = 0; i < 20; i++)
		assert_null(overload_look(&o, &l, now += OVERLOAD_GAP_MS + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_is_short_is_not_said, begin),
		cmocka_unit_test_setup(a_late_worker_is_said, begin),
		cmocka_unit_test_setup(a_full_listener_is_said_by_name, begin),
		cmocka_unit_test_setup(a_listener_that_was_never_full_is_not, begin),
		cmocka_unit_test_setup(it_is_over_when_long_nothing_was, begin),
		cmocka_unit_test_setup(trouble_now_and_then_keeps_it, begin),
		cmocka_unit_test_setup(looks_far_apart_do_not_add_up, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Views, the builder, edit distance, lists, time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/base/list.h"
#include "daemon/base/str.h"

static void equality_looks_at_every_byte(void **state)
{
	UNUSED(state);
	static const struct {
		struct str a, b;
		bool eq, ieq;
	} cases[] = {
		{ { "", 0 }, { NULL, 0 }, true, true },
		{ { "abc", 3 }, { "abc", 3 }, true, true },
		{ { "abc", 3 }, { "aBC", 3 }, false, true },
		{ { "abc", 3 }, { "ab", 2 }, false, false },
		{ { "a\0b", 3 }, { "a\0c", 3 }, false, false }, /* a NUL ends nothing */
		{ { "a\0b", 3 }, { "A\0B", 3 }, false, true },
		{ { "@[", 2 }, { "`{", 2 }, false, false },             /* neighbours of the letters are no letters */
		{ { "\xc3\x84", 2 }, { "\xc3\xa4", 2 }, false, false }, /* ASCII only */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(str_eq(cases[i].a, cases[i].b), cases[i].eq);
		assert_int_equal(str_ieq(cases[i].a, cases[i].b), cases[i].ieq);
		assert_int_equal(str_ieq(cases[i].b, cases[i].a), cases[i].ieq);
	}
}

static void lower_case_is_ascii_only(void **state)
{
	UNUSED(state);
	char text[] = "AZaz@[`{09\xc3\x84";

	ascii_lower(text, sizeof(text) - 1);
	assert_string_equal(text, "azaz@[`{09\xc3\x84");
}

static void distance_is_levenshtein_capped(void **state)
{
	UNUSED(state);
	static const struct {
		const char *a, *b;
		unsigned cap, want;
	} cases[] = {
		{ "", "", 9, 0 },
		{ "abc", "", 9, 3 },
		{ "kitten", "sitting", 9, 3 },
		{ "timeout", "timeouts", 9, 1 },
		{ "kitten", "sitting", 2, 2 },
		{ "weigth", "weight", 9, 2 },
		{ "0123456789012345678901234567890123456789012345678901234567890123456789", "x", 5, 5 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(str_distance(cases[i].a, cases[i].b, cases[i].cap), cases[i].want);
		assert_int_equal(str_distance(cases[i].b, cases[i].a, cases[i].cap), cases[i].want);
	}
}

static void builder_is_terminated_after_every_step(void **state)
{
	UNUSED(state);
	struct sbuf b = { 0 };

	for (int i = 0; i < 300; i++) {
		sbuf_putc(&b, 'x');
		assert_int_equal(strlen(b.p), b.n);
	}
	sbuf_reset(&b);
	assert_string_equal(b.p, "");
	sbuf_printf(&b, "%d-%s", 42, "y");
	sbuf_puts(&b, "z");
	sbuf_add(&b, "\0q", 2);
	assert_int_equal(b.n, 7);
	assert_memory_equal(b.p, "42-yz\0q", 8);
	memset(sbuf_extend(&b, 500), '!', 500);
	assert_int_equal(b.n, 507);
	assert_string_equal(b.p + 504, "!!!");
	sbuf_fini(&b);
}

static void what_is_wiped_is_overwritten(void **state)
{
	UNUSED(state);
	struct sbuf b = { 0 };

	sbuf_wipe(&b);
	sbuf_puts(&b, "a secret that is long enough");
	char *memory = b.p;
	size_t cap = b.cap;
	sbuf_reset(&b);
	sbuf_puts(&b, "short");
	sbuf_wipe(&b);
	assert_int_equal(b.n, 0);
	assert_ptr_equal(b.p, memory);
	for (size_t i = 0; i < cap; i++)
		assert_int_equal(memory[i], 0);
	sbuf_fini(&b);
}

/* At every fill level around the capacity. */
static void builder_formats_across_its_capacity(void **state)
{
	UNUSED(state);
	for (size_t fill = 100; fill < 140; fill++) {
		struct sbuf b = { 0 };
		for (size_t i = 0; i < fill; i++)
			sbuf_putc(&b, '.');
		sbuf_printf(&b, "%s", "0123456789");
		assert_int_equal(b.n, fill + 10);
		assert_string_equal(b.p + fill, "0123456789");
		sbuf_fini(&b);
	}
}

static void stealing_leaves_an_empty_builder(void **state)
{
	UNUSED(state);
	struct sbuf b = { 0 };
	char *none = sbuf_steal(&b);

	assert_string_equal(none, "");
	sbuf_puts(&b, "text");
	char *text = sbuf_steal(&b);
	assert_string_equal(text, "text");
	assert_null(b.p);
	assert_int_equal(b.n, 0);
	free(none);
	free(text);
}

struct item {
	int value;
	struct list link;
};

static void a_list_survives_removal_of_the_current_item(void **state)
{
	UNUSED(state);
	struct list head, *tmp;
	struct item items[4], *it;
	int sum = 0;

	list_init(&head);
	assert_true(list_empty(&head));
	for (int i = 0; i < 4; i++) {
		items[i].value = 1 << i;
		list_append(&head, &items[i].link);
	}
	LIST_FOR_EACH(it, tmp, &head, link) {
		sum += it->value;
		if (it->value != 4)
			list_remove(&it->link);
	}
	assert_int_equal(sum, 15);
	assert_ptr_equal(LIST_FIRST(&head, struct item, link), &items[2]);
	assert_ptr_equal(LIST_LAST(&head, struct item, link), &items[2]);
	list_remove(&items[0].link); /* in no list: nothing happens */
	list_push(&head, &items[0].link);
	assert_ptr_equal(LIST_FIRST(&head, struct item, link), &items[0]);
}

static void times_are_written_as_the_rfcs_say(void **state)
{
	UNUSED(state);
	char out[40];

	assert_string_equal(clock_rfc3339(1795304327.5, out), "2026-11-21T23:38:47.500Z");
	assert_string_equal(clock_rfc3339(951782400, out), "2000-02-29T00:00:00.000Z");
	assert_string_equal(clock_rfc5322(1795304327.5, out), "Sat, 21 Nov 2026 23:38:47 +0000");
	assert_string_equal(clock_rfc5322(0, out), "Thu, 1 Jan 1970 00:00:00 +0000");
}

static void monotonic_time_does_not_go_back(void **state)
{
	UNUSED(state);
	int64_t us = clock_mono_us(), ms = clock_mono_ms();

	assert_true(ms >= us / 1000);
	assert_true(clock_mono_us() >= ms * 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equality_looks_at_every_byte),
		cmocka_unit_test(lower_case_is_ascii_only),
		cmocka_unit_test(distance_is_levenshtein_capped),
		cmocka_unit_test(builder_is_terminated_after_every_step),
		cmocka_unit_test(what_is_wiped_is_overwritten),
		cmocka_unit_test(builder_formats_across_its_capacity),
		cmocka_unit_test(stealing_leaves_an_empty_builder),
		cmocka_unit_test(a_list_survives_removal_of_the_current_item),
		cmocka_unit_test(times_are_written_as_the_rfcs_say),
		cmocka_unit_test(monotonic_time_does_not_go_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

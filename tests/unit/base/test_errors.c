/* SPDX-License-Identifier: Apache-2.0
 * The list of validation errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/base/errors.h"

static void errors_read_as_sentences(void **state)
{
	UNUSED(state);
	struct errors e = { 0 };

	errors_add(&e, "", NULL, NULL, NULL, "is %s", "empty");
	errors_add(&e, "/pools/a/weigth", "5", "a known name", "weight", "unknown key");
	char *text = errors_text(&e);
	assert_string_equal(text,
			    "(document): is empty\n"
			    "/pools/a/weigth: unknown key; found 5; allowed: a known name; did you mean \"weight\"?\n");
	free(text);
	errors_fini(&e);
	assert_int_equal(e.n, 0);
	assert_null(e.list);
}

static void strings_are_copied(void **state)
{
	UNUSED(state);
	struct errors e = { 0 };
	char path[] = "/a", found[] = "1";

	errors_add(&e, path, found, NULL, NULL, "wrong");
	path[1] = 'b';
	found[0] = '2';
	assert_string_equal(e.list[0].path, "/a");
	assert_string_equal(e.list[0].found, "1");
	errors_fini(&e);
}

static void what_was_found_is_cut_to_a_bounded_length(void **state)
{
	UNUSED(state);
	struct errors e = { 0 };
	char *found = xmalloc(100001);

	/* Two-byte characters, shifted by one: wherever the cut falls, one case cuts through a character. */
	for (int shift = 0; shift < 2; shift++) {
		found[0] = 'x';
		for (int i = 0; i < 49999; i++)
			memcpy(found + shift + 2 * i, "\xc3\xa4", 2);
		found[shift + 99998] = '\0';
		errors_add(&e, "/a", found, NULL, NULL, "too long");
		const char *kept = e.list[shift].found;
		size_t n = strlen(kept);
		assert_true(n <= ERRORS_FOUND_MAX + strlen("…"));
		assert_string_equal(kept + n - strlen("…"), "…");
		assert_int_equal((n - strlen("…") - (size_t)shift) % 2, 0);
	}
	free(found);
	errors_fini(&e);
}

static void beyond_the_limit_errors_are_only_counted(void **state)
{
	UNUSED(state);
	struct errors e = { 0 };

	for (int i = 0; i < ERRORS_MAX + 3; i++)
		errors_add(&e, "/x", NULL, NULL, NULL, "no %d", i);
	assert_int_equal(e.n, ERRORS_MAX);
	assert_int_equal(e.dropped, 3);
	char *text = errors_text(&e);
	assert_non_null(strstr(text, "\nand 3 more\n"));
	free(text);
	errors_fini(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_read_as_sentences),
		cmocka_unit_test(strings_are_copied),
		cmocka_unit_test(what_was_found_is_cut_to_a_bounded_length),
		cmocka_unit_test(beyond_the_limit_errors_are_only_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

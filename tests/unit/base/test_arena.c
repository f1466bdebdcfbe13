/* SPDX-License-Identifier: Apache-2.0
 * Arena: alignment, zeroes, large requests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "daemon/base/arena.h"

static void allocations_are_aligned_zeroed_and_apart(void **state)
{
	UNUSED(state);
	struct arena *a = arena_new(256);
	unsigned char *before = NULL;
	size_t before_size = 0;

	for (size_t size = 0; size < 600; size += 7) {
		unsigned char *p = arena_alloc(a, size);
		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(p[i], 0);
		for (size_t i = 0; i < before_size; i++)
			assert_int_equal(before[i], 0xee);
		memset(p, 0xee, size);
		before = p;
		before_size = size;
	}
	arena_free(a);
}

static void a_large_request_gets_its_own_block(void **state)
{
	UNUSED(state);
	struct arena *a = arena_new(64);
	size_t empty = arena_size(a);

	memset(arena_alloc(a, 100000), 1, 100000);
	assert_true(arena_size(a) >= empty + 100000);
	assert_true(arena_size(a) < empty + 101000);
	arena_free(a);
	arena_free(NULL);
}

static void strings_are_copied_and_terminated(void **state)
{
	UNUSED(state);
	struct arena *a = arena_new(64);
	char text[] = "hello";
	char *whole = arena_strdup(a, text), *part = arena_strndup(a, text, 4), *empty = arena_strndup(a, NULL, 0);

	text[0] = 'J';
	assert_string_equal(whole, "hello");
	assert_string_equal(part, "hell");
	assert_string_equal(empty, "");
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(allocations_are_aligned_zeroed_and_apart),
		cmocka_unit_test(a_large_request_gets_its_own_block),
		cmocka_unit_test(strings_are_copied_and_terminated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

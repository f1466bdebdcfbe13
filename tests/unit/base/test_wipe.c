/* SPDX-License-Identifier: Apache-2.0
 * A block that is given back holds nothing, whatever its length.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/base/wipe.h"

static void a_block_of_any_length_is_zeroed_to_its_end(void **state)
{
	(void)state;
	for (size_t n = 1; n < 5000; n = n * 3 + 1) {
		char *p = malloc(n);
		assert_non_null(p);
		memset(p, 'x', n);
		wipe_block(p);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		wipe_free(p);
	}
}

static void nothing_is_given_back_where_nothing_is(void **state)
{
	(void)state;
	wipe_block(NULL);
	wipe_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_of_any_length_is_zeroed_to_its_end),
		cmocka_unit_test(nothing_is_given_back_where_nothing_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

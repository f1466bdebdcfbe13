/* SPDX-License-Identifier: Apache-2.0
 * What a broken connection means for its server and for the client.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "daemon/session/txn.h"

static void a_lack_of_our_own_is_tempfailed_and_blamed_on_no_server(void **state)
{
	UNUSED(state);
	struct failure f;

	fail_policy(STAGE_CONNECT, BACK_LACK, NULL, &f);
	assert_false(f.blamed);
	assert_int_equal(f.code, 451);
	assert_string_equal(f.enhanced, "4.3.0");
	fail_policy(STAGE_CONNECT, BACK_REFUSED, NULL, &f);
	assert_true(f.blamed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lack_of_our_own_is_tempfailed_and_blamed_on_no_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

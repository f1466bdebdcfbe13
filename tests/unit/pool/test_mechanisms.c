/* SPDX-License-Identifier: Apache-2.0
 * Names of mechanisms as bits, and when our own login may be sent.
 */
#include "daemon/pool/mechanisms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/pool/pool.h"

static void a_name_keeps_its_bit_whatever_its_case(void **state)
{
	uint64_t plain = mechanisms_of(STR("PLAIN")), both = mechanisms_of(STR("login Plain"));

	UNUSED(state);
	assert_int_equal(__builtin_popcountll(plain), 1);
	assert_int_equal(both & plain, plain);
	assert_int_equal(__builtin_popcountll(both), 2);
	assert_int_equal(mechanisms_of(STR(" LOGIN  plain ")), both);
	assert_string_equal(mechanism_name((unsigned)__builtin_ctzll(plain)), "PLAIN");
}

static void what_is_no_name_is_skipped(void **state)
{
	UNUSED(state);
	assert_int_equal(mechanisms_of(STR("")), 0);
	assert_int_equal(mechanisms_of((struct str) { 0 }), 0);
	assert_int_equal(mechanisms_of(STR("A=B X\r\nY ABCDEFGHIJKLMNOPQRSTU")), 0);
	assert_int_not_equal(mechanisms_of(STR("ABCDEFGHIJKLMNOPQRST")), 0);
}

/* The last of them: it fills the table. */
static void beyond_the_table_names_go_unnoticed(void **state)
{
	char name[16];
	unsigned known = 0;

	UNUSED(state);
	uint64_t plain = mechanisms_of(STR("PLAIN"));
	for (unsigned i = 0; i < 2 * MECHANISMS_MAX; i++) {
		snprintf(name, sizeof(name), "X-FILL-%u", i);
		known += mechanisms_of(str_from(name)) != 0;
	}
	assert_in_range(known, 1, MECHANISMS_MAX);
	assert_int_equal(mechanisms_of(STR("X-NEVER-SEEN")), 0);
	assert_int_equal(mechanisms_of(STR("X-NEVER-SEEN PLAIN")), plain);
}

static void our_login_goes_where_nobody_can_read_it(void **state)
{
	struct pool_auth_config a = { .user = "u", .password = "p", .mechanism = SASL_PLAIN };
	unsigned both = SMTP_AUTH_PLAIN | SMTP_AUTH_LOGIN;
	struct addr far, near;

	UNUSED(state);
	assert_true(addr_parse_ip("192.0.2.1", &far) && addr_parse_ip("127.0.0.9", &near));
	assert_non_null(pool_auth_hindrance(&a, &far, false, both));
	assert_null(pool_auth_hindrance(&a, &far, true, both));
	assert_null(pool_auth_hindrance(&a, &near, false, both));
	assert_non_null(pool_auth_hindrance(&a, &near, false, SMTP_AUTH_LOGIN));
	assert_non_null(pool_auth_hindrance(&a, &far, true, 0));
	a.plaintext = true;
	assert_null(pool_auth_hindrance(&a, &far, false, both));
	a.mechanism = SASL_LOGIN;
	assert_null(pool_auth_hindrance(&a, &far, false, SMTP_AUTH_LOGIN));
	assert_non_null(pool_auth_hindrance(&a, &far, false, SMTP_AUTH_PLAIN));
}

static void logins_are_the_same_by_user_and_password(void **state)
{
	const struct pool_auth_config none = { 0 }, a = { .user = "u", .password = "p" },
				      other = { .user = "u", .password = "q" };

	UNUSED(state);
	assert_true(pool_auth_same(&none, &none));
	assert_true(pool_auth_same(&a, &a));
	assert_false(pool_auth_same(&a, &none));
	assert_false(pool_auth_same(&a, &other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_keeps_its_bit_whatever_its_case),
		cmocka_unit_test(what_is_no_name_is_skipped),
		cmocka_unit_test(our_login_goes_where_nobody_can_read_it),
		cmocka_unit_test(logins_are_the_same_by_user_and_password),
		cmocka_unit_test(beyond_the_table_names_go_unnoticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

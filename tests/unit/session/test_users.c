/* SPDX-License-Identifier: Apache-2.0
 * The users of a configuration: who is found from where, which secrets all have, and what a stranger is made of.
 */
#include "daemon/session/users.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define HASH "$5$rounds=1000$postroad$7jsBhEXqF9h0vev7sxE1G1Ry2N4zbQHwkEXw9oo8ZH6"
#define VERIFIER                                                                                                       \
	"SCRAM-SHA-256$8192:MDEyMzQ1Njc4OWFiY2RlZg==$/9srkpCZFdtWLXRAADOKgRnMQpl58WpEivSExJTOesY=:"                    \
	"0mIFhPwAtOwAvLSfKJk8lK+/BvPftYQ7ttxlepTn8Yc="

static struct addr address(const char *text)
{
	struct addr a;

	assert_true(addr_parse_ip(text, &a));
	return a;
}

static void a_user_is_found_from_where_he_may_log_in(void **state)
{
	struct cidr net;
	const char *why;
	struct addr near = address("192.0.2.7"), far = address("198.51.100.1");

	UNUSED(state);
	assert_true(cidr_parse("192.0.2.0/24", &net, &why));
	const struct user_config v[] = { { .name = "a", .password = HASH },
					 { .name = "b", .password = HASH, .allow = { true, &net, 1 } },
					 { .name = "c", .password = HASH, .allow = { .present = true } } };
	struct users *u = users_new(v, 3);
	assert_ptr_equal(users_find(u, "a", &far), &v[0]);
	assert_ptr_equal(users_find(u, "b", &near), &v[1]);
	assert_null(users_find(u, "b", &far));
	assert_null(users_find(u, "c", &near)); /* an empty list matches nobody */
	assert_null(users_find(u, "A", &near));
	assert_null(users_find(u, "", &near));
	users_free(u);
}

static void a_mechanism_needs_a_secret_of_every_user(void **state)
{
	const struct user_config both[] = { { .name = "a", .password = HASH, .scram_sha256 = VERIFIER },
					    { .name = "b", .password = HASH } };
	struct users *none = users_new(NULL, 0), *first = users_new(both, 1), *all = users_new(both, 2);

	UNUSED(state);
	assert_false(users_are_any(NULL) || users_are_any(none));
	assert_false(users_have_scram(none) || users_have_passwords(none));
	assert_true(users_have_scram(first) && users_have_passwords(first));
	assert_true(users_have_passwords(all));
	assert_false(users_have_scram(all));
	users_free(none);
	users_free(first);
	users_free(all);
}

static void a_stranger_costs_what_users_cost(void **state)
{
	const struct user_config v[] = { { .name = "a", .scram_sha256 = VERIFIER }, { .name = "b", .password = HASH } };
	struct users *u = users_new(v, 2);

	UNUSED(state);
	assert_string_equal(users_any_hash(u), HASH);
	assert_int_equal(users_iterations(u), 8192);
	users_free(u);
}

static void a_strangers_key_is_the_same_whatever_the_order(void **state)
{
	const struct user_config v[] = { { .name = "a", .scram_sha256 = VERIFIER }, { .name = "b", .password = HASH } };
	const struct user_config turned[] = { v[1], v[0] };
	struct users *u = users_new(v, 2), *t = users_new(turned, 2), *other = users_new(&v[1], 1);
	struct str a = users_unknown_key(u), b = users_unknown_key(t), c = users_unknown_key(other);

	UNUSED(state);
	assert_true(str_eq(a, b));
	assert_false(str_eq(a, c));
	users_free(u);
	users_free(t);
	users_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_user_is_found_from_where_he_may_log_in),
		cmocka_unit_test(a_mechanism_needs_a_secret_of_every_user),
		cmocka_unit_test(a_stranger_costs_what_users_cost),
		cmocka_unit_test(a_strangers_key_is_the_same_whatever_the_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

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

#define OTHER_HASH "$5$rounds=1000$saltsalt$BYq/8EpUqrvMy4s.x4X49ioUsXbYjYC878jXQ3e/Ou6"
/* Other iterations, and 12 bytes of salt. */
#define OTHER_VERIFIER                                                                                                 \
	"SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFi$/9srkpCZFdtWLXRAADOKgRnMQpl58WpEivSExJTOesY=:"                            \
	"0mIFhPwAtOwAvLSfKJk8lK+/BvPftYQ7ttxlepTn8Yc="

static void a_stranger_costs_what_users_cost(void **state)
{
	const struct user_config v[] = { { .name = "a", .scram_sha256 = VERIFIER }, { .name = "b", .password = HASH } };
	struct users *u = users_new(v, 2), *none = users_new(NULL, 0);
	unsigned iterations;
	size_t salt_len;

	UNUSED(state);
	assert_string_equal(users_any_hash(u), HASH);
	users_look(u, "x", &iterations, &salt_len);
	assert_int_equal(iterations, 8192);
	assert_int_equal(salt_len, 16);
	users_look(none, "x", &iterations, &salt_len);
	assert_int_equal(iterations, SCRAM_ITERATIONS_DEFAULT);
	assert_int_equal(salt_len, SCRAM_SALT_LEN);
	users_free(u);
	users_free(none);
}

/* Were all strangers alike, whoever differs from them would exist. */
static void strangers_are_as_mixed_as_users_are(void **state)
{
	const struct user_config v[] = { { .name = "a", .scram_sha256 = VERIFIER },
					 { .name = "b", .scram_sha256 = OTHER_VERIFIER } };
	const struct user_config turned[] = { v[1], v[0] };
	struct users *u = users_new(v, 2), *t = users_new(turned, 2);
	unsigned n_first = 0;

	UNUSED(state);
	for (int i = 0; i < 64; i++) {
		char *name = xasprintf("stranger%d", i);
		unsigned iterations, again;
		size_t salt_len, salt_len_again;
		users_look(u, name, &iterations, &salt_len);
		users_look(t, name, &again, &salt_len_again);
		assert_true(iterations == again && salt_len == salt_len_again);
		assert_true((iterations == 8192 && salt_len == 16) || (iterations == 4096 && salt_len == 12));
		n_first += iterations == 8192;
		free(name);
	}
	assert_in_range(n_first, 8, 56);
	users_free(u);
	users_free(t);
}

static bool same_key(const struct user_config *a, size_t n_a, const struct user_config *b, size_t n_b)
{
	struct users *x = users_new(a, n_a), *y = users_new(b, n_b);
	bool same = str_eq(users_unknown_key(x), users_unknown_key(y));

	users_free(x);
	users_free(y);
	return same;
}

static void a_strangers_key_is_the_same_whatever_the_order(void **state)
{
	const struct user_config v[] = { { .name = "a", .password = HASH, .scram_sha256 = VERIFIER },
					 { .name = "b", .password = OTHER_HASH } };
	const struct user_config turned[] = { v[1], v[0] };

	UNUSED(state);
	assert_true(same_key(v, 2, turned, 2));
	assert_true(same_key(v, 2, v, 1));
	assert_false(same_key(v, 2, &v[1], 1));
}

/* Whoever logs in by SCRAM can work out his verifier: with it alone nobody can tell strangers from users. */
static void no_user_can_work_out_the_strangers_key(void **state)
{
	const struct user_config v[] = { { .name = "a", .scram_sha256 = VERIFIER }, { .name = "b", .password = HASH } },
				 w[] = { { .name = "a", .scram_sha256 = OTHER_VERIFIER }, v[1] },
				 x[] = { v[0], { .name = "b", .scram_sha256 = VERIFIER } },
				 y[] = { v[0], { .name = "b", .scram_sha256 = OTHER_VERIFIER } };

	UNUSED(state);
	assert_true(same_key(v, 2, w, 2));  /* not made of a verifier where somebody has a hash */
	assert_false(same_key(x, 2, y, 2)); /* and otherwise of all of them */
	assert_false(same_key(x, 2, v, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_user_is_found_from_where_he_may_log_in),
		cmocka_unit_test(a_mechanism_needs_a_secret_of_every_user),
		cmocka_unit_test(a_stranger_costs_what_users_cost),
		cmocka_unit_test(strangers_are_as_mixed_as_users_are),
		cmocka_unit_test(a_strangers_key_is_the_same_whatever_the_order),
		cmocka_unit_test(no_user_can_work_out_the_strangers_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Remembered logins: for a while, for exactly one user, hash and password.
 */
#include "daemon/session/auth_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define T0 1000000

static bool has(struct auth_memory *m, const char *user, const char *hash, const char *password, int64_t now)
{
	struct auth_memory_key key;

	auth_memory_key(m, user, hash, password, &key);
	return auth_memory_has(m, &key, now);
}

static void add(struct auth_memory *m, const char *user, const char *hash, const char *password)
{
	struct auth_memory_key key;

	auth_memory_key(m, user, hash, password, &key);
	auth_memory_add(m, &key, T0);
}

static void a_success_is_remembered_for_its_time(void **state)
{
	struct auth_memory *m = auth_memory_new();

	UNUSED(state);
	assert_false(has(m, "tim", "$y$h", "p", T0));
	add(m, "tim", "$y$h", "p");
	assert_true(has(m, "tim", "$y$h", "p", T0));
	assert_true(has(m, "tim", "$y$h", "p", T0 + AUTH_MEMORY_MS - 1));
	assert_false(has(m, "tim", "$y$h", "p", T0 + AUTH_MEMORY_MS));
	auth_memory_free(m);
}

static void anything_else_is_not_remembered(void **state)
{
	struct auth_memory *m = auth_memory_new();

	UNUSED(state);
	add(m, "tim", "$y$h", "p");
	assert_false(has(m, "tom", "$y$h", "p", T0));
	assert_false(has(m, "tim", "$y$i", "p", T0)); /* the password was changed */
	assert_false(has(m, "tim", "$y$h", "q", T0));
	assert_false(has(m, "tim", "$y$h", "", T0));
	assert_false(has(m, "ti", "m$y$h", "p", T0));
	assert_false(has(m, "tim", "$y$", "hp", T0));
	auth_memory_free(m);
}

static void another_process_has_other_keys(void **state)
{
	struct auth_memory *a = auth_memory_new(), *b = auth_memory_new();
	struct auth_memory_key ka, kb;

	UNUSED(state);
	auth_memory_key(a, "tim", "h", "p", &ka);
	auth_memory_key(b, "tim", "h", "p", &kb);
	assert_memory_not_equal(ka.mac, kb.mac, sizeof(ka.mac));
	auth_memory_free(a);
	auth_memory_free(b);
}

static void the_newest_are_kept_when_there_are_too_many(void **state)
{
	struct auth_memory *m = auth_memory_new();
	char user[32];
	int kept = 0;

	UNUSED(state);
	for (int i = 0; i < 20000; i++) {
		snprintf(user, sizeof(user), "u%d", i);
		add(m, user, "h", "p");
		assert_true(has(m, user, "h", "p", T0));
	}
	for (int i = 0; i < 20000; i++) {
		snprintf(user, sizeof(user), "u%d", i);
		kept += has(m, user, "h", "p", T0);
	}
	assert_true(kept > 0 && kept <= 4096);
	auth_memory_free(m);
}

static void the_longest_strings_fit(void **state)
{
	struct auth_memory *m = auth_memory_new();
	char user[256], hash[161], password[256];

	UNUSED(state);
	memset(user, 'u', sizeof(user));
	memset(hash, 'h', sizeof(hash));
	memset(password, 'p', sizeof(password));
	user[255] = hash[160] = password[255] = '\0';
	add(m, user, hash, password);
	assert_true(has(m, user, hash, password, T0));
	auth_memory_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_success_is_remembered_for_its_time),
		cmocka_unit_test(anything_else_is_not_remembered),
		cmocka_unit_test(another_process_has_other_keys),
		cmocka_unit_test(the_newest_are_kept_when_there_are_too_many),
		cmocka_unit_test(the_longest_strings_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

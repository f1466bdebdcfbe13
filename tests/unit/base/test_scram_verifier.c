/* SPDX-License-Identifier: Apache-2.0
 * Verifiers for SCRAM-SHA-256: the user of RFC 7677 3, and every way a text can be none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/scram_verifier.h"

/* User "user", password "pencil", with the salt and the iterations of RFC 7677 3. */
#define PENCIL                                                                                                         \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"                    \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define KEYS "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static void the_users_keys_of_the_rfc_are_derived(void **state)
{
	struct scram_verifier v, derived = { 0 };
	char text[SCRAM_VERIFIER_TEXT_MAX];
	const char *why;

	UNUSED(state);
	assert_true(scram_verifier_parse(PENCIL, &v, &why));
	derived.iterations = v.iterations;
	derived.salt_len = v.salt_len;
	memcpy(derived.salt, v.salt, v.salt_len);
	assert_true(scram_verifier_derive(STR("pencil"), &derived));
	assert_string_equal(scram_verifier_format(&derived, text), PENCIL);
}

static void a_made_one_is_salted_and_reads_back(void **state)
{
	struct scram_verifier a, b, back;
	char text[SCRAM_VERIFIER_TEXT_MAX], again[SCRAM_VERIFIER_TEXT_MAX];
	const char *why;

	UNUSED(state);
	assert_true(scram_verifier_make(STR("pencil"), &a) && scram_verifier_make(STR("pencil"), &b));
	assert_memory_not_equal(a.salt, b.salt, SCRAM_SALT_LEN);
	assert_memory_not_equal(a.stored_key, b.stored_key, SCRAM_KEY_LEN);
	assert_true(a.iterations >= SCRAM_ITERATIONS_MIN && a.salt_len == SCRAM_SALT_LEN);
	assert_true(scram_verifier_parse(scram_verifier_format(&a, text), &back, &why));
	assert_string_equal(scram_verifier_format(&back, again), text);
}

static void the_longest_fits_its_text(void **state)
{
	struct scram_verifier v = { .iterations = SCRAM_ITERATIONS_MAX, .salt_len = SCRAM_SALT_MAX }, back;
	char text[SCRAM_VERIFIER_TEXT_MAX];
	const char *why;

	UNUSED(state);
	memset(v.salt, 0xff, sizeof(v.salt));
	assert_true(scram_verifier_parse(scram_verifier_format(&v, text), &back, &why));
	assert_int_equal(back.iterations, SCRAM_ITERATIONS_MAX);
	assert_memory_equal(back.salt, v.salt, SCRAM_SALT_MAX);
}

static void passwords_that_need_preparation_get_none(void **state)
{
	struct scram_verifier v;

	UNUSED(state);
	assert_false(scram_verifier_make(STR("p\xc3\xa4ncil"), &v));
	assert_false(scram_verifier_make(STR("pen\tcil"), &v));
	assert_false(scram_verifier_make(STR(""), &v));
}

static void other_texts_are_refused_with_a_reason(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "", "begin" },
		{ "hunter2", "begin" },
		{ "SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" KEYS, "begin" },
		{ "scram-sha-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" KEYS, "begin" },
		{ "SCRAM-SHA-256$", "form" },
		{ "SCRAM-SHA-256$4096", "form" },
		{ "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==", "form" },
		{ "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$AAAA", "form" },
		{ "SCRAM-SHA-256$4095:W22ZaJ0SNY7soEsUEjb6gQ==$" KEYS, "iterations" },
		{ "SCRAM-SHA-256$1000001:W22ZaJ0SNY7soEsUEjb6gQ==$" KEYS, "iterations" },
		{ "SCRAM-SHA-256$99999999999999999999:W22ZaJ0SNY7soEsUEjb6gQ==$" KEYS, "iterations" },
		{ "SCRAM-SHA-256$04096:W22ZaJ0SNY7soEsUEjb6gQ==$" KEYS, "iterations" },
		{ "SCRAM-SHA-256$-4096:W22ZaJ0SNY7soEsUEjb6gQ==$" KEYS, "iterations" },
		{ "SCRAM-SHA-256$:W22ZaJ0SNY7soEsUEjb6gQ==$" KEYS, "iterations" },
		{ "SCRAM-SHA-256$4096:$" KEYS, "salt" },
		{ "SCRAM-SHA-256$4096:AAAA$" KEYS, "salt" },
		{ "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ$" KEYS, "salt" },
		{ "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$AAAA:AAAA", "keys" },
		{ PENCIL "A", "keys" },
		{ PENCIL ":", "keys" },
		{ PENCIL "\n", "keys" },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scram_verifier v;
		const char *why = NULL;
		if (scram_verifier_parse(rows[i].text, &v, &why))
			fail_msg("accepted: %s", rows[i].text);
		if (strstr(why, rows[i].why) == NULL)
			fail_msg("%s: %s", rows[i].text, why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_users_keys_of_the_rfc_are_derived),
		cmocka_unit_test(a_made_one_is_salted_and_reads_back),
		cmocka_unit_test(the_longest_fits_its_text),
		cmocka_unit_test(passwords_that_need_preparation_get_none),
		cmocka_unit_test(other_texts_are_refused_with_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

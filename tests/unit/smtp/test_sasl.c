/* SPDX-License-Identifier: Apache-2.0
 * AUTH with PLAIN and LOGIN, and what all mechanisms share: bounds, cancelling, malformed lines.
 */
#include "tests/unit/smtp/sasl_fixture.h"

/* ---- names and arguments ---- */

static void mechanisms_are_found_whatever_their_case(void **state)
{
	enum sasl_mechanism m;

	UNUSED(state);
	assert_true(sasl_mechanism_find(STR("plain"), &m) && m == SASL_PLAIN);
	assert_true(sasl_mechanism_find(STR("Login"), &m) && m == SASL_LOGIN);
	assert_true(sasl_mechanism_find(STR("SCRAM-SHA-256"), &m) && m == SASL_SCRAM_SHA_256);
	assert_true(sasl_mechanism_find(STR("scram-sha-256-plus"), &m) && m == SASL_SCRAM_SHA_256_PLUS);
	assert_false(sasl_mechanism_find(STR("CRAM-MD5"), &m));
	assert_false(sasl_mechanism_find(STR(""), &m));
	assert_int_equal(sasl_mechanism_set(STR(" PLAIN  XOAUTH2 login ")), 1u << SASL_PLAIN | 1u << SASL_LOGIN);
	assert_int_equal(sasl_mechanism_set(STR("")), 0);
}

static void the_arguments_of_auth_are_one_or_two_words(void **state)
{
	struct str name, initial;

	UNUSED(state);
	assert_true(sasl_auth_parse(STR("PLAIN"), &name, &initial));
	assert_true(str_eq(name, STR("PLAIN")) && initial.p == NULL);
	assert_true(sasl_auth_parse(STR("PLAIN  ="), &name, &initial));
	assert_true(str_eq(initial, STR("=")));
	assert_true(sasl_auth_parse(STR(" LOGIN dXNlcg== "), &name, &initial));
	assert_true(str_eq(name, STR("LOGIN")) && str_eq(initial, STR("dXNlcg==")));
	assert_false(sasl_auth_parse(STR(""), &name, &initial));
	assert_false(sasl_auth_parse(STR("PLAIN a b"), &name, &initial));
}

/* ---- PLAIN ---- */

static void plain_with_an_initial_response_asks_for_a_check(void **state)
{
	struct sasl *s = exchange(SASL_PLAIN);

	UNUSED(state);
	assert_int_equal(say_bytes(s, true, "\0tim\0tanstaaf", 13), SASL_VERIFY_PASSWORD);
	assert_string_equal(sasl_user(s), "tim");
	assert_string_equal(sasl_password(s), "tanstaaf");
	assert_int_equal(sasl_password_verified(s, true), SASL_DONE);
	assert_string_equal(sasl_user(s), "tim");
	sasl_free(s);
}

static void plain_without_one_gets_an_empty_challenge(void **state)
{
	struct sasl *s = exchange(SASL_PLAIN);

	UNUSED(state);
	assert_int_equal(sasl_start(s, (struct str) { 0 }), SASL_CHALLENGE);
	assert_string_equal(sasl_challenge(s), "");
	assert_int_equal(say_bytes(s, false, "tim\0tim\0x", 9), SASL_VERIFY_PASSWORD);
	assert_int_equal(sasl_password_verified(s, false), SASL_REFUSED);
	sasl_free(s);
}

static void plain_is_judged_by_its_two_nuls(void **state)
{
#define ROW(text, step)                                                                                                \
	{                                                                                                              \
		text, sizeof(text) - 1, step                                                                           \
	}
	static const struct {
		const char *text;
		size_t n;
		enum sasl_step want;
	} rows[] = {
		ROW("\0u\0p", SASL_VERIFY_PASSWORD),
		ROW("u\0u\0p", SASL_VERIFY_PASSWORD),
		ROW("\0u\xc3\xa4\0p\xff", SASL_VERIFY_PASSWORD),
		ROW("v\0u\0p", SASL_REFUSED),
		ROW("U\0u\0p", SASL_REFUSED),
		ROW("\0u\0", SASL_REFUSED),
		ROW("", SASL_MALFORMED),
		ROW("u", SASL_MALFORMED),
		ROW("\0", SASL_MALFORMED),
		ROW("\0u", SASL_MALFORMED),
		ROW("u\0p", SASL_MALFORMED),
		ROW("\0\0", SASL_MALFORMED),
		ROW("\0\0p", SASL_MALFORMED),
		ROW("\0u\0p\0", SASL_MALFORMED),
		ROW("\0u\0p\0q", SASL_MALFORMED),
		ROW("\0\0\0\0", SASL_MALFORMED),
		ROW("\0u\n\0p", SASL_MALFORMED),
		ROW("\0u\x7f\0p", SASL_MALFORMED),
		ROW("\0u\xc2\x85\0p", SASL_MALFORMED),
		ROW("\0u\xff\0p", SASL_MALFORMED),
		ROW("\0u\0p\r\n", SASL_MALFORMED),
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sasl *a = exchange(SASL_PLAIN), *b = exchange(SASL_PLAIN);
		enum sasl_step step = say_bytes(a, true, rows[i].text, rows[i].n);
		if (step != rows[i].want)
			fail_msg("row %zu: %d", i, step);
		assert_int_equal(sasl_start(b, (struct str) { 0 }), SASL_CHALLENGE);
		assert_int_equal(say_bytes(b, false, rows[i].text, rows[i].n), rows[i].want);
		sasl_free(a);
		sasl_free(b);
	}
}

static void names_and_passwords_have_a_longest_length(void **state)
{
	char m[2 + 256 + 256];

	UNUSED(state);
	for (size_t user = 254; user <= 256; user++) {
		for (size_t password = 254; password <= 256; password++) {
			struct sasl *s = exchange(SASL_PLAIN);
			memset(m, 'x', sizeof(m));
			m[0] = m[1 + user] = '\0';
			bool fits = user <= SASL_USER_MAX && password <= PASSWORD_MAX;
			assert_int_equal(say_bytes(s, true, m, 2 + user + password),
					 fits ? SASL_VERIFY_PASSWORD : SASL_MALFORMED);
			if (fits)
				assert_int_equal(strlen(sasl_password(s)), password);
			sasl_free(s);
		}
	}
}

/* ---- LOGIN ---- */

static void login_asks_for_user_and_password(void **state)
{
	struct sasl *s = exchange(SASL_LOGIN);

	UNUSED(state);
	assert_int_equal(sasl_start(s, (struct str) { 0 }), SASL_CHALLENGE);
	assert_string_equal(sasl_challenge(s), "VXNlcm5hbWU6");
	assert_int_equal(say(s, "tim"), SASL_CHALLENGE);
	assert_string_equal(sasl_challenge(s), "UGFzc3dvcmQ6");
	assert_int_equal(say(s, "tanstaaf"), SASL_VERIFY_PASSWORD);
	assert_string_equal(sasl_user(s), "tim");
	assert_string_equal(sasl_password(s), "tanstaaf");
	assert_int_equal(sasl_password_verified(s, true), SASL_DONE);
	sasl_free(s);
}

static void login_takes_the_user_with_the_command(void **state)
{
	struct sasl *s = exchange(SASL_LOGIN);

	UNUSED(state);
	assert_int_equal(start(s, "tim"), SASL_CHALLENGE);
	assert_string_equal(sasl_challenge(s), "UGFzc3dvcmQ6");
	assert_int_equal(say(s, "p"), SASL_VERIFY_PASSWORD);
	assert_int_equal(sasl_password_verified(s, false), SASL_REFUSED);
	sasl_free(s);
}

static void login_refuses_what_is_no_name_and_no_password(void **state)
{
	static const char *const names[] = { "", "a\nb", "a\x7f", "\xff" };
	struct sasl *s;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		s = exchange(SASL_LOGIN);
		assert_int_equal(start(s, names[i]), SASL_MALFORMED);
		sasl_free(s);
	}
	s = exchange(SASL_LOGIN);
	assert_int_equal(start(s, "tim"), SASL_CHALLENGE);
	assert_int_equal(say(s, ""), SASL_REFUSED);
	sasl_free(s);
	s = exchange(SASL_LOGIN);
	assert_int_equal(start(s, "tim"), SASL_CHALLENGE);
	assert_int_equal(say_bytes(s, false, "a\0b", 3), SASL_MALFORMED);
	sasl_free(s);
}

/* ---- all mechanisms ---- */

static void a_star_cancels_where_an_answer_is_due(void **state)
{
	UNUSED(state);
	for (int m = 0; m < SASL_SCRAM_SHA_256_PLUS + 1; m++) {
		struct sasl *s = exchange((enum sasl_mechanism)m);
		assert_int_equal(sasl_start(s, (struct str) { 0 }), SASL_CHALLENGE);
		assert_int_equal(sasl_step(s, STR("*")), SASL_CANCELLED);
		sasl_free(s);
		s = exchange((enum sasl_mechanism)m);
		assert_int_equal(sasl_start(s, STR("*")), SASL_MALFORMED);
		sasl_free(s);
	}
}

static void lines_that_are_not_base64_are_malformed(void **state)
{
	static const char *const lines[] = {
		"=", "====", "A", "AA=A", "dGlt\t", " dGlt", "dGlt ", "**", "!", "AHQAcB=="
	};

	UNUSED(state);
	for (int m = 0; m < SASL_MECHANISM_COUNT; m++) {
		for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
			struct sasl *s = exchange((enum sasl_mechanism)m);
			assert_int_equal(sasl_start(s, (struct str) { 0 }), SASL_CHALLENGE);
			assert_int_equal(sasl_step(s, str_from(lines[i])), SASL_MALFORMED);
			sasl_free(s);
		}
	}
}

static void a_message_beyond_the_bound_is_malformed(void **state)
{
	char m[SASL_MESSAGE_MAX + 1];

	UNUSED(state);
	memset(m, 'n', sizeof(m));
	for (int i = 0; i < SASL_MECHANISM_COUNT; i++) {
		struct sasl *s = exchange((enum sasl_mechanism)i);
		assert_int_equal(say_bytes(s, true, m, sizeof(m)), SASL_MALFORMED);
		sasl_free(s);
	}
}

static void each_end_has_its_reply(void **state)
{
	struct smtp_refusal r;

	UNUSED(state);
	sasl_refusal(SASL_MALFORMED, &r);
	assert_true(r.code == 501 && strcmp(r.enhanced, "5.5.2") == 0 && r.text != NULL);
	sasl_refusal(SASL_CANCELLED, &r);
	assert_true(r.code == 501 && strcmp(r.enhanced, "5.7.0") == 0 && r.text != NULL);
	sasl_refusal(SASL_REFUSED, &r);
	assert_true(r.code == 535 && strcmp(r.enhanced, "5.7.8") == 0 && r.text != NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mechanisms_are_found_whatever_their_case),
		cmocka_unit_test(the_arguments_of_auth_are_one_or_two_words),
		cmocka_unit_test(plain_with_an_initial_response_asks_for_a_check),
		cmocka_unit_test(plain_without_one_gets_an_empty_challenge),
		cmocka_unit_test(plain_is_judged_by_its_two_nuls),
		cmocka_unit_test(names_and_passwords_have_a_longest_length),
		cmocka_unit_test(login_asks_for_user_and_password),
		cmocka_unit_test(login_takes_the_user_with_the_command),
		cmocka_unit_test(login_refuses_what_is_no_name_and_no_password),
		cmocka_unit_test(a_star_cancels_where_an_answer_is_due),
		cmocka_unit_test(lines_that_are_not_base64_are_malformed),
		cmocka_unit_test(a_message_beyond_the_bound_is_malformed),
		cmocka_unit_test(each_end_has_its_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Logins that pass by: whose name counts, and what a server's reply means.
 */
#include "tests/unit/smtp/sasl_fixture.h"

/* "user", "chef", "pencil", and a whole message of PLAIN and XOAUTH2 for "user". */
#define USER "dXNlcg=="
#define CHEF "Y2hlZg=="
#define PENCIL_64 "cGVuY2ls"
#define PLAIN_USER "AHVzZXIAcGVuY2ls"
#define PLAIN_CHEF "AGNoZWYAcGVuY2ls"
#define XOAUTH2_USER "dXNlcj11c2VyAWF1dGg9QmVhcmVyIHgBAQ=="
#define USERNAME "334 VXNlcm5hbWU6\r\n"
#define PASSWORD "334 UGFzc3dvcmQ6\r\n"

/* What the reply means, also when it comes byte by byte. */
static enum sasl_pass_step reply(struct sasl_pass *p, const char *text)
{
	struct smtp_reply r;
	size_t len;
	const char *why;

	for (size_t n = 0; n < strlen(text); n++)
		assert_int_equal(smtp_reply_parse(text, n, &r, &len, &why), SMTP_PARSE_MORE);
	assert_int_equal(smtp_reply_parse(text, strlen(text), &r, &len, &why), SMTP_PARSE_OK);
	return sasl_pass_reply(p, &r);
}

static struct sasl_pass begin(const char *mechanism, const char *initial)
{
	struct sasl_pass p;

	sasl_pass_init(&p, mechanism, initial != NULL ? str_from(initial) : (struct str) { 0 });
	return p;
}

static void say_line(struct sasl_pass *p, const char *line)
{
	sasl_pass_response(p, str_from(line));
}

static void the_first_response_names_the_user(void **state)
{
	struct sasl_pass p = begin("LOGIN", NULL);

	UNUSED(state);
	assert_int_equal(reply(&p, USERNAME), SASL_PASS_CHALLENGE);
	say_line(&p, USER);
	assert_int_equal(reply(&p, PASSWORD), SASL_PASS_CHALLENGE);
	say_line(&p, PENCIL_64);
	assert_int_equal(reply(&p, "235 welcome\r\n"), SASL_PASS_DONE);
	assert_string_equal(p.user, "user");
	p = begin("LOGIN", USER);
	assert_int_equal(reply(&p, PASSWORD), SASL_PASS_CHALLENGE);
	say_line(&p, PENCIL_64);
	assert_string_equal(p.user, "user");
	p = begin("PLAIN", PLAIN_USER);
	assert_string_equal(p.user, "user");
	p = begin("XOAUTH2", NULL);
	assert_int_equal(reply(&p, "334\r\n"), SASL_PASS_CHALLENGE);
	say_line(&p, XOAUTH2_USER);
	assert_string_equal(p.user, "user");
}

static void a_name_that_is_asked_for_again_takes_the_place_of_the_first(void **state)
{
	struct sasl_pass p = begin("LOGIN", CHEF);

	UNUSED(state);
	assert_int_equal(reply(&p, USERNAME), SASL_PASS_CHALLENGE);
	say_line(&p, USER);
	assert_string_equal(p.user, "user");
	assert_int_equal(reply(&p, PASSWORD), SASL_PASS_CHALLENGE);
	say_line(&p, PENCIL_64);
	assert_string_equal(p.user, "user");
	p = begin("PLAIN", PLAIN_CHEF);
	assert_int_equal(reply(&p, "334 Z28=\r\n"), SASL_PASS_CHALLENGE);
	say_line(&p, PLAIN_USER);
	assert_string_equal(p.user, "user");
	p = begin("SCRAM-SHA-256", "biwsbj1jaGVmLHI9YWJj");
	assert_string_equal(p.user, "chef");
	assert_int_equal(reply(&p, "334 \r\n"), SASL_PASS_CHALLENGE);
	say_line(&p, "biwsbj11c2VyLHI9YWJj");
	assert_string_equal(p.user, "user");
}

static void where_it_cannot_be_told_which_name_counted_there_is_none(void **state)
{
	struct sasl_pass p = begin("LOGIN", CHEF);

	UNUSED(state);
	assert_int_equal(reply(&p, "334 bmFtZT8=\r\n"), SASL_PASS_CHALLENGE); /* "name?" */
	say_line(&p, USER);
	assert_int_equal(reply(&p, "334 d29yZD8=\r\n"), SASL_PASS_CHALLENGE);
	say_line(&p, PENCIL_64);
	assert_string_equal(p.user, "");
}

/* A password is never taken for a name. */
static void what_is_said_behind_the_name_is_none(void **state)
{
	struct sasl_pass p = begin("LOGIN", USER);

	UNUSED(state);
	assert_int_equal(reply(&p, "334 \r\n"), SASL_PASS_CHALLENGE);
	say_line(&p, PENCIL_64);
	assert_string_equal(p.user, "user");
}

static void only_who_has_shown_nothing_can_cancel(void **state)
{
	static const struct {
		const char *mechanism, *initial, *challenge;
		enum sasl_pass_step want;
	} rows[] = {
		{ "LOGIN", NULL, USERNAME, SASL_PASS_CANCELLED },
		{ "LOGIN", USER, PASSWORD, SASL_PASS_CANCELLED },
		{ "PLAIN", NULL, "334\r\n", SASL_PASS_CANCELLED },
		{ "XOAUTH2", XOAUTH2_USER, "334 e30=\r\n", SASL_PASS_REFUSED },
		{ "CRAM-MD5", "eA==", "334 e30=\r\n", SASL_PASS_REFUSED },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sasl_pass p = begin(rows[i].mechanism, rows[i].initial);
		assert_int_equal(reply(&p, rows[i].challenge), SASL_PASS_CHALLENGE);
		say_line(&p, "*");
		assert_int_equal(reply(&p, "501 5.7.0 cancelled\r\n"), rows[i].want);
		assert_int_equal(reply(&p, "535 5.7.8 no\r\n"), rows[i].want);
		assert_int_equal(reply(&p, "334 \r\n"), SASL_PASS_BROKEN);
		assert_int_equal(reply(&p, "235 welcome\r\n"), SASL_PASS_BROKEN);
	}
}

static void replies_have_their_meanings(void **state)
{
	static const struct {
		const char *text;
		enum sasl_pass_step want;
	} rows[] = {
		{ "235 2.7.0 ok\r\n", SASL_PASS_DONE },    { "235-a\r\n235 b\r\n", SASL_PASS_DONE },
		{ "334 YQ==\r\n", SASL_PASS_CHALLENGE },   { "334-a\r\n334 b\r\n", SASL_PASS_BROKEN },
		{ "354 go on\r\n", SASL_PASS_BUSY },       { "421 4.3.2 going\r\n", SASL_PASS_BUSY },
		{ "454 4.7.0 later\r\n", SASL_PASS_BUSY }, { "535 5.7.8 no\r\n", SASL_PASS_REFUSED },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sasl_pass p = begin("PLAIN", PLAIN_USER);
		assert_int_equal(reply(&p, rows[i].text), rows[i].want);
	}
}

static void challenges_have_an_end(void **state)
{
	struct sasl_pass p = begin("GSSAPI", "eA==");

	UNUSED(state);
	for (int i = 0; i < SASL_PASS_CHALLENGES_MAX; i++) {
		assert_int_equal(reply(&p, "334 eA==\r\n"), SASL_PASS_CHALLENGE);
		say_line(&p, "eA==");
	}
	assert_int_equal(reply(&p, "334 eA==\r\n"), SASL_PASS_BROKEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_response_names_the_user),
		cmocka_unit_test(a_name_that_is_asked_for_again_takes_the_place_of_the_first),
		cmocka_unit_test(where_it_cannot_be_told_which_name_counted_there_is_none),
		cmocka_unit_test(what_is_said_behind_the_name_is_none),
		cmocka_unit_test(only_who_has_shown_nothing_can_cancel),
		cmocka_unit_test(replies_have_their_meanings),
		cmocka_unit_test(challenges_have_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

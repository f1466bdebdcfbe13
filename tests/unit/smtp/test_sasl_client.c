/* SPDX-License-Identifier: Apache-2.0
 * How we log in at a server: what is sent, and what its replies mean.
 */
#include "tests/unit/smtp/sasl_fixture.h"

static enum sasl_client_step answer(struct sasl_client *c, const char *text, struct sbuf *out)
{
	struct smtp_reply r;
	const char *why;
	size_t len;

	assert_int_equal(smtp_reply_parse(text, strlen(text), &r, &len, &why), SMTP_PARSE_OK);
	sbuf_reset(out);
	sbuf_puts(out, "");
	return sasl_client_reply(c, &r, out);
}

static void plain_sends_all_with_the_command(void **state)
{
	struct sasl_client c;
	struct sbuf out = { 0 };

	UNUSED(state);
	sasl_client_init(&c, SASL_PLAIN, STR("tim"), STR("tanstaaf"));
	sasl_client_start(&c, &out);
	assert_string_equal(out.p, "AUTH PLAIN AHRpbQB0YW5zdGFhZg==\r\n");
	assert_int_equal(answer(&c, "235 2.7.0 ok\r\n", &out), SASL_CLIENT_DONE);
	assert_string_equal(out.p, "");
	sbuf_fini(&out);
}

static void plain_that_is_too_long_for_the_command_waits(void **state)
{
	char long_text[255];
	struct sasl_client c;
	struct sbuf out = { 0 };

	UNUSED(state);
	memset(long_text, 'x', sizeof(long_text));
	sasl_client_init(&c, SASL_PLAIN, (struct str) { long_text, 255 }, (struct str) { long_text, 255 });
	sasl_client_start(&c, &out);
	assert_string_equal(out.p, "AUTH PLAIN\r\n");
	assert_int_equal(answer(&c, "334 \r\n", &out), SASL_CLIENT_SEND);
	assert_int_equal(out.n, BASE64_LEN(512) + 2);
	assert_int_equal(answer(&c, "334 \r\n", &out), SASL_CLIENT_BROKEN);
	sbuf_fini(&out);
}

static void login_sends_the_user_with_the_command(void **state)
{
	struct sasl_client c;
	struct sbuf out = { 0 };

	UNUSED(state);
	sasl_client_init(&c, SASL_LOGIN, STR("tim"), STR("tanstaaf"));
	sasl_client_start(&c, &out);
	assert_string_equal(out.p, "AUTH LOGIN dGlt\r\n");
	assert_int_equal(answer(&c, "334 UGFzc3dvcmQ6\r\n", &out), SASL_CLIENT_SEND);
	assert_string_equal(out.p, "dGFuc3RhYWY=\r\n");
	assert_int_equal(answer(&c, "235 ok\r\n", &out), SASL_CLIENT_DONE);
	sbuf_fini(&out);
}

static void login_tells_the_user_again_to_who_asks(void **state)
{
	struct sasl_client c;
	struct sbuf out = { 0 };

	UNUSED(state);
	sasl_client_init(&c, SASL_LOGIN, STR("tim"), STR("tanstaaf"));
	sasl_client_start(&c, &out);
	assert_int_equal(answer(&c, "334 dXNlciBuYW1lAA==\r\n", &out), SASL_CLIENT_SEND); /* "user name" NUL */
	assert_string_equal(out.p, "dGlt\r\n");
	assert_int_equal(answer(&c, "334 whatever\r\n", &out), SASL_CLIENT_SEND);
	assert_string_equal(out.p, "dGFuc3RhYWY=\r\n");
	assert_int_equal(answer(&c, "334 again?\r\n", &out), SASL_CLIENT_BROKEN);
	sbuf_fini(&out);
}

static void replies_are_told_apart(void **state)
{
	static const struct {
		const char *text;
		enum sasl_client_step want;
	} rows[] = {
		{ "235 2.7.0 ok\r\n", SASL_CLIENT_DONE },
		{ "235-a\r\n235 b\r\n", SASL_CLIENT_DONE },
		{ "454 4.7.0 later\r\n", SASL_CLIENT_LATER },
		{ "432 4.7.12 transition\r\n", SASL_CLIENT_LATER },
		{ "421 bye\r\n", SASL_CLIENT_LATER },
		{ "535 5.7.8 no\r\n", SASL_CLIENT_REFUSED },
		{ "504 5.5.4 unknown\r\n", SASL_CLIENT_REFUSED },
		{ "503 5.5.1 unknown\r\n", SASL_CLIENT_REFUSED },
		{ "354 go on\r\n", SASL_CLIENT_BROKEN },
	};
	struct sbuf out = { 0 };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sasl_client c;
		sasl_client_init(&c, SASL_PLAIN, STR("tim"), STR("tanstaaf"));
		sasl_client_start(&c, &out);
		assert_int_equal(answer(&c, rows[i].text, &out), rows[i].want);
		assert_string_equal(out.p, "");
	}
	sbuf_fini(&out);
}

/* What we say as a client, our own server's side understands. */
static void both_sides_agree(void **state)
{
	static const enum sasl_mechanism both[] = { SASL_PLAIN, SASL_LOGIN };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		struct sasl *s = exchange(both[i]);
		struct str name, initial;
		struct sasl_client c;
		struct sbuf out = { 0 };
		sasl_client_init(&c, both[i], STR("t\xc3\xadm"), STR("p\xc3\xa4ss"));
		sasl_client_start(&c, &out);
		assert_true(sasl_auth_parse((struct str) { out.p + 5, out.n - 7 }, &name, &initial));
		enum sasl_step step = sasl_start(s, initial);
		if (step == SASL_CHALLENGE) {
			char *text = xasprintf("334 %s\r\n", sasl_challenge(s));
			assert_int_equal(answer(&c, text, &out), SASL_CLIENT_SEND);
			step = sasl_step(s, (struct str) { out.p, out.n - 2 });
			free(text);
		}
		assert_int_equal(step, SASL_VERIFY_PASSWORD);
		assert_string_equal(sasl_user(s), "t\xc3\xadm");
		assert_string_equal(sasl_password(s), "p\xc3\xa4ss");
		sasl_free(s);
		sbuf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_sends_all_with_the_command),
		cmocka_unit_test(plain_that_is_too_long_for_the_command_waits),
		cmocka_unit_test(login_sends_the_user_with_the_command),
		cmocka_unit_test(login_tells_the_user_again_to_who_asks),
		cmocka_unit_test(replies_are_told_apart),
		cmocka_unit_test(both_sides_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

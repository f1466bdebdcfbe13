/* SPDX-License-Identifier: Apache-2.0
 * The name in the first response of a login that passes by: what is read, and that nothing else is.
 */
#include "tests/unit/smtp/sasl_fixture.h"

#include <stdlib.h>

/* The name in a message that is given in the clear. */
static const char *name_in(const char *mechanism, const char *message, size_t n, char out[SASL_USER_MAX + 1])
{
	char *text = malloc(BASE64_LEN(n) + 1);
	size_t len = base64_encode(message, n, text);
	bool found = sasl_name(str_from(mechanism), (struct str) { text, len }, out);

	assert_int_equal(found, out[0] != '\0');
	free(text);
	return out;
}

#define NAME_IN(mechanism, literal) name_in((mechanism), (literal), sizeof(literal) - 1, out)

static void each_mechanism_shows_its_name(void **state)
{
	char out[SASL_USER_MAX + 1];

	UNUSED(state);
	assert_string_equal(NAME_IN("PLAIN", "\0tim\0tanstaaf"), "tim");
	assert_string_equal(NAME_IN("plain", "other\0tim\0tanstaaf"), "tim");
	assert_string_equal(NAME_IN("LOGIN", "tim"), "tim");
	assert_string_equal(NAME_IN("SCRAM-SHA-256", "n,,n=tim,r=abc"), "tim");
	assert_string_equal(NAME_IN("SCRAM-SHA-1", "y,a=x,n=t=2Cm,r=abc"), "t=2Cm");
	assert_string_equal(NAME_IN("OAUTHBEARER", "n,a=tim@x.test,\1auth=Bearer t\1\1"), "tim@x.test");
	assert_string_equal(NAME_IN("XOAUTH2", "user=tim@x.test\1auth=Bearer t\1\1"), "tim@x.test");
}

static void what_shows_no_name_has_none(void **state)
{
	char out[SASL_USER_MAX + 1];

	UNUSED(state);
	assert_string_equal(NAME_IN("CRAM-MD5", "tim 0123"), "");
	assert_string_equal(NAME_IN("PLAIN", "tim"), "");
	assert_string_equal(NAME_IN("PLAIN", "\0\0tanstaaf"), "");
	assert_string_equal(NAME_IN("LOGIN", ""), "");
	assert_string_equal(NAME_IN("SCRAM-SHA-256", "n,,m=x,n=tim"), "");
	assert_string_equal(NAME_IN("OAUTHBEARER", "n,,\1auth=Bearer t\1\1"), "");
	assert_string_equal(NAME_IN("XOAUTH2", "auth=Bearer t\1\1"), "");
	assert_string_equal(NAME_IN("", "tim"), "");
}

static void a_name_that_could_spoil_a_log_is_none(void **state)
{
	char out[SASL_USER_MAX + 1];

	UNUSED(state);
	assert_string_equal(NAME_IN("LOGIN", "tim\r\n"), "");
	assert_string_equal(NAME_IN("LOGIN", "ti\0m"), "");
	assert_string_equal(NAME_IN("LOGIN", "\xff\xfe"), "");
	assert_string_equal(NAME_IN("LOGIN", "tim\x7f"), "");
}

static void what_is_not_base64_has_none(void **state)
{
	char out[SASL_USER_MAX + 1] = "x";

	UNUSED(state);
	assert_false(sasl_name(STR("LOGIN"), STR("dGlt*"), out));
	assert_string_equal(out, "");
	assert_false(sasl_name(STR("LOGIN"), STR("="), out));
	assert_false(sasl_name(STR("LOGIN"), STR(""), out));
}

static void a_long_response_shows_its_front_alone(void **state)
{
	char message[9000], out[SASL_USER_MAX + 1];

	UNUSED(state);
	memset(message, 'x', sizeof(message));
	memcpy(message, "user=tim\1", 9);
	assert_string_equal(name_in("XOAUTH2", message, sizeof(message), out), "tim");
	assert_string_equal(name_in("LOGIN", message, sizeof(message), out), "");
	memset(message, 'x', sizeof(message));
	memcpy(message + 760, "\0tim", 4); /* cut in the middle of a longer name, "timxx…" */
	assert_string_equal(name_in("PLAIN", message, sizeof(message), out), "");
	memcpy(message, "n,", 2);
	memcpy(message + 757, ",n=tim", 6);
	assert_string_equal(name_in("SCRAM-SHA-256", message, sizeof(message), out), "");
	memset(message, 'x', sizeof(message));
	assert_string_equal(name_in("LOGIN", message, 255, out), strndupa(message, 255));
	assert_string_equal(name_in("LOGIN", message, 256, out), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_mechanism_shows_its_name),         cmocka_unit_test(what_shows_no_name_has_none),
		cmocka_unit_test(a_name_that_could_spoil_a_log_is_none), cmocka_unit_test(what_is_not_base64_has_none),
		cmocka_unit_test(a_long_response_shows_its_front_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

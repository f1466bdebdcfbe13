/* SPDX-License-Identifier: Apache-2.0
 * xtext, there and back (RFC 3461 4).
 */
#include "daemon/smtp/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void what_was_encoded_is_decoded_again(void **state)
{
	struct sbuf coded = { 0 };
	char all[256], out[256];
	size_t n;

	UNUSED(state);
	for (unsigned i = 0; i < 256; i++)
		all[i] = (char)i;
	smtp_xtext_encode(&coded, (struct str) { all, sizeof(all) });
	assert_true(smtp_xtext_valid((struct str) { coded.p, coded.n }));
	assert_true(smtp_xtext_decode((struct str) { coded.p, coded.n }, out, sizeof(out), &n));
	assert_int_equal(n, sizeof(all));
	assert_memory_equal(out, all, sizeof(all));
	assert_false(smtp_xtext_decode((struct str) { coded.p, coded.n }, out, sizeof(out) - 1, &n));
	sbuf_fini(&coded);
}

static void only_what_needs_it_is_escaped(void **state)
{
	struct sbuf out = { 0 };

	UNUSED(state);
	smtp_xtext_encode(&out, STR("a.b[c] +=\r\n\x7f\xff~!"));
	assert_string_equal(out.p, "a.b[c]+20+2B+3D+0D+0A+7F+FF~!");
	sbuf_fini(&out);
}

static void malformed_xtext_is_not_decoded(void **state)
{
	static const char *const bad[] = { "+",    "a+",  "+4",  "+4g",  "+g4",  "+ 4",
					   "++41", "a b", "a=b", "a\tb", "\x80", "\x7f" };
	char out[8];
	size_t n;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *copy = xstrndup(bad[i], strlen(bad[i]));
		assert_false(smtp_xtext_decode((struct str) { copy, strlen(copy) }, out, sizeof(out), &n));
		assert_false(smtp_xtext_valid((struct str) { copy, strlen(copy) }));
		free(copy);
	}
}

static void digits_may_be_in_lower_case(void **state)
{
	char out[8];
	size_t n;

	UNUSED(state);
	assert_true(smtp_xtext_decode(STR("+c3+Bc"), out, sizeof(out), &n));
	assert_int_equal(n, 2);
	assert_memory_equal(out, "\xc3\xbc", 2);
	assert_true(smtp_xtext_decode(STR(""), out, 0, &n));
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_encoded_is_decoded_again),
		cmocka_unit_test(only_what_needs_it_is_escaped),
		cmocka_unit_test(malformed_xtext_is_not_decoded),
		cmocka_unit_test(digits_may_be_in_lower_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

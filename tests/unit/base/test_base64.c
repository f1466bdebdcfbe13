/* SPDX-License-Identifier: Apache-2.0
 * Base64: the vectors of RFC 4648 10, and that each value has one spelling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/base64.h"

static void the_vectors_of_the_rfc_go_both_ways(void **state)
{
	static const struct {
		const char *plain, *coded;
	} rows[] = { { "", "" },
		     { "f", "Zg==" },
		     { "fo", "Zm8=" },
		     { "foo", "Zm9v" },
		     { "foob", "Zm9vYg==" },
		     { "fooba", "Zm9vYmE=" },
		     { "foobar", "Zm9vYmFy" } };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t n = strlen(rows[i].plain), back;
		char out[16], plain[8];
		assert_int_equal(base64_encode(rows[i].plain, n, out), BASE64_LEN(n));
		assert_string_equal(out, rows[i].coded);
		assert_true(base64_decode(str_from(rows[i].coded), plain, sizeof(plain), &back));
		assert_int_equal(back, n);
		assert_memory_equal(plain, rows[i].plain, n);
	}
}

static void every_byte_survives_at_every_length(void **state)
{
	unsigned char in[256], back[256];
	char text[BASE64_LEN(256) + 1];
	size_t n;

	UNUSED(state);
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)i;
	for (size_t len = 0; len <= sizeof(in); len++) {
		struct str coded = { text, base64_encode(in, len, text) };
		assert_true(base64_decode(coded, back, len, &n));
		assert_int_equal(n, len);
		assert_memory_equal(back, in, len);
	}
}

static void other_spellings_are_refused(void **state)
{
	static const char *const bad[] = { "Z",    "Zg",       "Zg=",      "Z===",   "====", "=",      "Zh==",
					   "Zm9=", "Zg==Zg==", "Zm8=Zm8=", "Zm9v\n", "Zm9 ", " Zm9",   "Zm-v",
					   "Zm_v", "Zm9v====", "Z=9v",     "=m9v",   "Zm=v", "\x80m9v" };
	char out[16];
	size_t n;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (base64_decode(str_from(bad[i]), out, sizeof(out), &n))
			fail_msg("\"%s\" was accepted", bad[i]);
}

static void what_does_not_fit_is_refused(void **state)
{
	char out[3] = "ab";
	size_t n;

	UNUSED(state);
	assert_false(base64_decode(STR("Zm9v"), out, 2, &n));
	assert_true(base64_decode(STR("Zm8="), out, 2, &n));
	assert_int_equal(out[2], '\0');
	assert_false(base64_decode(STR("Zg=="), out, 0, &n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_vectors_of_the_rfc_go_both_ways),
		cmocka_unit_test(every_byte_survives_at_every_length),
		cmocka_unit_test(other_spellings_are_refused),
		cmocka_unit_test(what_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Tokens by which a balancer recognises itself.
 */
#include "daemon/smtp/looptoken.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Computed with another HMAC: key = HMAC-SHA-256("cluster secret", "postroad loop token\0"). */
#define TOKEN "pr1.0123456789abcdefe5cb83ef2d09a2a1"

static struct looptoken_key key_of(const char *secret)
{
	struct looptoken_key key;

	looptoken_key(secret, strlen(secret), &key);
	return key;
}

/* In memory of its own, so that a sanitizer sees a byte too many. */
static bool found(const struct looptoken_key *key, const char *text, size_t n)
{
	char *copy = xmalloc(n + 1);

	memcpy(copy, text, n);
	copy = xrealloc(copy, n > 0 ? n : 1);
	bool is = looptoken_find(key, (struct str) { copy, n });
	free(copy);
	return is;
}

static void a_token_is_what_it_is_said_to_be(void **state)
{
	struct looptoken_key key = key_of("cluster secret");
	char out[LOOPTOKEN_LEN + 1];

	UNUSED(state);
	looptoken_make(&key, 0x0123456789abcdefu, out);
	assert_string_equal(out, TOKEN);
	assert_int_equal(strlen(out), LOOPTOKEN_LEN);
}

static void a_token_is_found_wherever_it_stands(void **state)
{
	static const char *const rows[] = {
		TOKEN,
		"220 mx.test ESMTP " TOKEN "\r\n",
		"220-hello\r\n220-mx.test ESMTP " TOKEN " ready\r\n220 you\r\n",
		"220 pr1. pr1.pr1." TOKEN,
		"220 pr1.00000000000000000000000000000000 " TOKEN,
		"220 x" TOKEN "0",
	};
	struct looptoken_key key = key_of("cluster secret");

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_true(found(&key, rows[i], strlen(rows[i])));
}

static void a_token_of_others_is_nobody(void **state)
{
	struct looptoken_key key = key_of("cluster secret"), other = key_of("another"), random = { { 7 } };
	char out[LOOPTOKEN_LEN + 1];

	UNUSED(state);
	assert_false(found(&other, TOKEN, LOOPTOKEN_LEN));
	assert_false(found(&random, TOKEN, LOOPTOKEN_LEN));
	for (uint64_t nonce = 0; nonce < 100; nonce++) {
		looptoken_make(&other, nonce, out);
		assert_true(found(&other, out, LOOPTOKEN_LEN));
		assert_false(found(&key, out, LOOPTOKEN_LEN));
	}
}

static void a_token_with_any_other_digit_or_end_is_none(void **state)
{
	struct looptoken_key key = key_of("cluster secret");
	char text[] = TOKEN;

	UNUSED(state);
	for (size_t i = 0; i < LOOPTOKEN_LEN; i++) {
		assert_false(found(&key, TOKEN, i));
		text[i] ^= 1;
		assert_false(found(&key, text, LOOPTOKEN_LEN));
		text[i] ^= 1;
	}
	assert_true(found(&key, text, LOOPTOKEN_LEN));
}

static void tokens_of_one_maker_differ(void **state)
{
	struct looptoken_key key = key_of("cluster secret");
	char a[LOOPTOKEN_LEN + 1], b[LOOPTOKEN_LEN + 1];

	UNUSED(state);
	looptoken_make(&key, 1, a);
	looptoken_make(&key, 2, b);
	assert_memory_not_equal(a + 20, b + 20, 16);
	looptoken_make(&key, UINT64_MAX, b);
	assert_true(found(&key, b, LOOPTOKEN_LEN));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_is_what_it_is_said_to_be),
		cmocka_unit_test(a_token_is_found_wherever_it_stands),
		cmocka_unit_test(a_token_of_others_is_nobody),
		cmocka_unit_test(a_token_with_any_other_digit_or_end_is_none),
		cmocka_unit_test(tokens_of_one_maker_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

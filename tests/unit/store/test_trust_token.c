/* SPDX-License-Identifier: Apache-2.0
 * Join tokens: their text, and what a proof is worth.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "cluster/trust/token.h"

static const uint8_t authority[TOKEN_HASH_LEN] = { 7, 8, 9 }, binding[TOKEN_HASH_LEN] = { 1 };

static struct token made(unsigned n)
{
	struct token t;
	const char *const at[] = { "192.0.2.1:8426", "[2001:db8::1]:1", "10.0.0.1:65535" };

	assert_true(token_make(&t, authority, 1800000000));
	for (t.n = 0; t.n < n; t.n++)
		assert_true(addr_parse(at[t.n % 3], 0, &t.addresses[t.n]));
	return t;
}

static void a_token_comes_back_from_its_line(void **state)
{
	UNUSED(state);
	for (unsigned n = 1; n <= TOKEN_ADDRESSES_MAX; n++) {
		struct token t = made(n), back;
		char text[TOKEN_TEXT_MAX], spaced[TOKEN_TEXT_MAX + 8];
		const char *why;

		token_format(&t, text);
		assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"),
				 strlen(text));
		assert_true(snprintf(spaced, sizeof(spaced), " \r\n%s\n", text) > 0);
		assert_true(token_parse(str_from(spaced), &back, &why));
		assert_string_equal(back.id, t.id);
		assert_memory_equal(back.secret, t.secret, TOKEN_SECRET_LEN);
		assert_memory_equal(back.authority, authority, TOKEN_HASH_LEN);
		assert_true(back.expires == t.expires && back.n == n);
		for (unsigned i = 0; i < n; i++)
			assert_true(addr_eq(&back.addresses[i], &t.addresses[i]));
	}
}

static void a_token_cut_or_changed_anywhere_is_told_from_a_good_one(void **state)
{
	UNUSED(state);
	struct token t = made(2), back;
	char text[TOKEN_TEXT_MAX], other[2 * TOKEN_TEXT_MAX];
	const char *why = NULL;

	token_format(&t, text);
	size_t n = strlen(text), prefix = strlen(TOKEN_PREFIX);
	for (size_t i = 0; i < n; i++) {
		assert_false(token_parse((struct str) { text, i }, &back, &why));
		assert_non_null(why);
		if (i < prefix)
			continue;
		memcpy(other, text, n + 1);
		other[i] = other[i] == 'A' ? 'B' : 'A';
		assert_false(token_parse((struct str) { other, n }, &back, &why));
		assert_non_null(strstr(why, "copy the whole line"));
		for (size_t k = 0; k < sizeof(back.secret); k++)
			assert_int_equal(back.secret[k], 0);
	}
	memcpy(other, text, n);
	memcpy(other + n, text, n);
	assert_false(token_parse((struct str) { other, 2 * n }, &back, &why));
	assert_false(token_parse(STR("hello"), &back, &why));
	assert_non_null(strstr(why, "no join token"));
}

static void a_proof_holds_for_one_connection_and_one_request(void **state)
{
	UNUSED(state);
	struct token t = made(1), other = made(1);
	uint8_t stored[TOKEN_HASH_LEN], proof[TOKEN_HASH_LEN], elsewhere[TOKEN_HASH_LEN] = { 2 };

	token_stored(&t, stored);
	token_prove(&t, binding, STR("node n2"), proof);
	assert_true(token_check(stored, binding, STR("node n2"), proof));
	assert_false(token_check(stored, elsewhere, STR("node n2"), proof));
	assert_false(token_check(stored, binding, STR("node n3"), proof));
	for (unsigned i = 0; i < TOKEN_HASH_LEN; i++) {
		proof[i] ^= 1;
		assert_false(token_check(stored, binding, STR("node n2"), proof));
		proof[i] ^= 1;
	}
	token_prove(&other, binding, STR("node n2"), proof);
	assert_false(token_check(stored, binding, STR("node n2"), proof));
	/* Who reads what is stored cannot make a proof of it. */
	memcpy(other.secret, stored, sizeof(stored));
	token_prove(&other, binding, STR("node n2"), proof);
	assert_false(token_check(stored, binding, STR("node n2"), proof));
}

static void the_secret_of_two_tokens_is_not_the_same(void **state)
{
	UNUSED(state);
	struct token a = made(1), b = made(1);
	uint8_t x[TOKEN_HASH_LEN], y[TOKEN_HASH_LEN];

	assert_string_not_equal(a.id, b.id);
	assert_memory_not_equal(a.secret, b.secret, sizeof(a.secret));
	/* The id is part of it. */
	memcpy(b.secret, a.secret, sizeof(a.secret));
	token_stored(&a, x);
	token_stored(&b, y);
	assert_memory_not_equal(x, y, sizeof(x));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_comes_back_from_its_line),
		cmocka_unit_test(a_token_cut_or_changed_anywhere_is_told_from_a_good_one),
		cmocka_unit_test(a_proof_holds_for_one_connection_and_one_request),
		cmocka_unit_test(the_secret_of_two_tokens_is_not_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

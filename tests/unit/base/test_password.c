/* SPDX-License-Identifier: Apache-2.0
 * Password hashes: which are accepted, and that those accepted check what they should.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/password.h"

/* All of the password "x". */
static const char *const good[] = {
	"$y$j75$q8p61tM2KiBYQ31iNIO/u0$ZG46lYU3IeE4Hc6eVAG0kuk6BW8wihaQHaWJyLY1bx6",
	"$y$j9T$BmQVQ95xFhxkQjIz2BUim0$VgdBsypp8qFFniTWKsOv/6.UaXOCzR2ZZPjsoRQvvD.",
	"$gy$j9T$F9dNC0tnxaiyXNg6AopOt0$gQy7bC8Ur8DUbw9IvUKBS.P4gSRIsBqN1xAOHXsb8fD",
	("$6$ZolEV71MK7xXs8mC$oG17JOKhIV6hg37TuWlAzlaYPNUW/5WCydIoKU5x9c9e/igGNBvUferAi/"
	 "Hy7TaCMTghkK6fknQGVx9q8fbX01"),
	"$5$rounds=1000$UNtlfnh5le/MW.Tr$ndtfc2K3V83NqtWVFdsYGaVYqU.EGbPNhL58J7g2ao9",
	"$2b$04$Yc2ESyf0FS0i1O2ldeO3D.aOJkfcY1J/e9xUZxN7CKrvtHQLXu8Bi",
};

static void strong_hashes_are_accepted_and_check(void **state)
{
	struct password_scratch *s = password_scratch_new();
	const char *why;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		if (!password_hash_valid(good[i], &why))
			fail_msg("%s: %s", good[i], why);
		assert_int_equal(password_check(s, "x", good[i]), PASSWORD_GOOD);
		assert_int_equal(password_check(s, "y", good[i]), PASSWORD_BAD);
	}
	password_scratch_free(s);
}

static void a_hash_that_is_cut_or_longer_is_refused(void **state)
{
	const char *why = NULL;
	char text[PASSWORD_HASH_MAX + 2];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		size_t n = strlen(good[i]);
		for (size_t k = 0; k < n; k++) {
			memcpy(text, good[i], k);
			text[k] = '\0';
			if (password_hash_valid(text, &why))
				fail_msg("accepted: %s", text);
			assert_non_null(why);
		}
		memcpy(text, good[i], n);
		memcpy(text + n, "a", 2);
		assert_false(password_hash_valid(text, &why));
	}
}

static void other_texts_are_refused_with_a_reason(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "hunter2", "no hash" },
		{ "", "no hash" },
		{ "*", "no hash" },
		{ "!", "no hash" },
		{ "$1$abcdefgh$1234567890123456789012", "no hash" },
		{ "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "no hash" },
		{ "abJnggxhB/yWI", "no hash" },
		{ "$2b$04$Yc2ESyf0FS0i1O2ldeO3D.aOJkfcY1J/e9xUZxN7CKrvtHQLXu8B:", "damaged" },
		{ "$2b$03$Yc2ESyf0FS0i1O2ldeO3D.aOJkfcY1J/e9xUZxN7CKrvtHQLXu8Bi", "between 4 and 14" },
		{ "$2b$15$Yc2ESyf0FS0i1O2ldeO3D.aOJkfcY1J/e9xUZxN7CKrvtHQLXu8Bi", "between 4 and 14" },
		{ "$2b$99$Yc2ESyf0FS0i1O2ldeO3D.aOJkfcY1J/e9xUZxN7CKrvtHQLXu8Bi", "between 4 and 14" },
		{ "$5$rounds=999$UNtlfnh5le/MW.Tr$ndtfc2K3V83NqtWVFdsYGaVYqU.EGbPNhL58J7g2ao9", "rounds" },
		{ "$5$rounds=1000001$UNtlfnh5le/MW.Tr$ndtfc2K3V83NqtWVFdsYGaVYqU.EGbPNhL58J7g2ao9", "rounds" },
		{ "$5$rounds=99999999999999999999$UNtlfnh5$ndtfc2K3V83NqtWVFdsYGaVYqU.EGbPNhL58J7g2ao9", "rounds" },
		{ "$5$rounds=$UNtlfnh5le/MW.Tr$ndtfc2K3V83NqtWVFdsYGaVYqU.EGbPNhL58J7g2ao9", "damaged" },
		{ "$y$jFT$BmQVQ95xFhxkQjIz2BUim0$VgdBsypp8qFFniTWKsOv/6.UaXOCzR2ZZPjsoRQvvD.", "cost" },
		{ "$y$j$BmQVQ95xFhxkQjIz2BUim0$VgdBsypp8qFFniTWKsOv/6.UaXOCzR2ZZPjsoRQvvD.", "damaged" },
		{ "$y$j9T$$VgdBsypp8qFFniTWKsOv/6.UaXOCzR2ZZPjsoRQvvD.", "damaged" },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *why = NULL;
		if (password_hash_valid(rows[i].text, &why))
			fail_msg("accepted: %s", rows[i].text);
		if (strstr(why, rows[i].why) == NULL)
			fail_msg("%s: %s", rows[i].text, why);
	}
}

static void a_made_hash_is_valid_salted_and_right(void **state)
{
	char a[PASSWORD_HASH_MAX + 1], b[PASSWORD_HASH_MAX + 1];
	struct password_scratch *s = password_scratch_new();
	const char *why;

	UNUSED(state);
	assert_true(password_hash_make("correct horse", a) && password_hash_make("correct horse", b));
	assert_true(password_hash_valid(a, &why));
	assert_memory_equal(a, "$y$", 3);
	assert_string_not_equal(a, b);
	assert_int_equal(password_check(s, "correct horse", a), PASSWORD_GOOD);
	assert_int_equal(password_check(s, "correct horsf", a), PASSWORD_BAD);
	assert_int_equal(password_check(s, "", a), PASSWORD_BAD);
	password_scratch_free(s);
}

static void a_hash_nobody_can_compute_is_no_verdict(void **state)
{
	struct password_scratch *s = password_scratch_new();

	UNUSED(state);
	assert_int_equal(password_check(s, "x", "$zz$nonsense"), PASSWORD_FAILED);
	assert_int_equal(password_check(s, "x", "*0"), PASSWORD_FAILED);
	password_scratch_free(s);
}

static void passwords_are_bounded_and_without_control_characters(void **state)
{
	char text[PASSWORD_MAX + 1];
	const char *why;

	UNUSED(state);
	memset(text, 'a', sizeof(text));
	assert_true(password_valid((struct str) { text, PASSWORD_MAX }, &why));
	assert_false(password_valid((struct str) { text, PASSWORD_MAX + 1 }, &why));
	assert_non_null(strstr(why, "longer"));
	assert_false(password_valid(STR(""), &why));
	assert_non_null(strstr(why, "empty"));
	for (int c = 0; c < 256; c++) {
		char one = (char)c;
		assert_int_equal(password_valid((struct str) { &one, 1 }, &why), c >= ' ' && c != 0x7f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strong_hashes_are_accepted_and_check),
		cmocka_unit_test(a_hash_that_is_cut_or_longer_is_refused),
		cmocka_unit_test(other_texts_are_refused_with_a_reason),
		cmocka_unit_test(a_made_hash_is_valid_salted_and_right),
		cmocka_unit_test(a_hash_nobody_can_compute_is_no_verdict),
		cmocka_unit_test(passwords_are_bounded_and_without_control_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Replies whose lines are too long for a client: what they become.
 */
#include "daemon/smtp/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define WORDS "nine char nine char nine char nine char nine char " /* 50 */
#define WORDS_500 WORDS WORDS WORDS WORDS WORDS WORDS WORDS WORDS WORDS WORDS

/* Folds a copy without a byte behind it, so that a sanitizer sees each read too far. */
static struct sbuf fold(const char *text)
{
	size_t n = strlen(text);
	struct sbuf out = { 0 };
	char *copy = malloc(n);

	memcpy(copy, text, n);
	smtp_reply_fold((struct str) { copy, n }, &out);
	assert_int_equal(smtp_reply_is_long((struct str) { copy, n }), out.n != n || memcmp(out.p, text, n) != 0);
	assert_false(smtp_reply_is_long((struct str) { out.p, out.n }));
	free(copy);
	return out;
}

static void folds_to(const char *text, const char *want)
{
	struct sbuf out = fold(text);

	if (out.n != strlen(want) || memcmp(out.p, want, out.n) != 0)
		fail_msg("got %.*s", (int)out.n, out.p);
	sbuf_fini(&out);
}

static void lines_that_fit_stay_as_they_are(void **state)
{
	UNUSED(state);
	folds_to("250\r\n", "250\r\n");
	folds_to("250-a\r\n250 b\r\n", "250-a\r\n250 b\r\n");
	folds_to("250 " HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED "123456\r\n",
		 "250 " HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED "123456\r\n");
}

static void a_line_of_513_octets_becomes_two(void **state)
{
	UNUSED(state);
	folds_to("250 " HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED "1234567\r\n",
		 "250-" HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED "123456\r\n250 7\r\n");
}

static void each_line_has_the_enhanced_code(void **state)
{
	UNUSED(state);
	folds_to("550 5.7.26 " WORDS_500 "end\r\n",
		 "550-5.7.26 " WORDS WORDS WORDS WORDS WORDS WORDS WORDS WORDS WORDS
		 "nine char nine char nine char nine char nine char\r\n550 5.7.26 end\r\n");
}

static void an_enhanced_code_of_another_class_or_shape_is_text(void **state)
{
	UNUSED(state);
	folds_to("550 4.7.1 " WORDS_500 "end\r\n", "550-4.7.1 " WORDS WORDS WORDS WORDS WORDS WORDS WORDS WORDS WORDS
						   "nine char nine char nine char nine char nine char\r\n550 end\r\n");
	folds_to("550 5.7 " WORDS_500 "end.\r\n", "550-5.7 " WORDS WORDS WORDS WORDS WORDS WORDS WORDS WORDS WORDS
						  "nine char nine char nine char nine char nine char\r\n550 end.\r\n");
}

static void a_long_line_in_the_middle_leaves_the_last_one_last(void **state)
{
	UNUSED(state);
	folds_to("250-" HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED TEN "\r\n250 b\r\n",
		 "250-" HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED "012345\r\n250-6789\r\n250 b\r\n");
}

/* Two, three and four octets each, at each place where a line can end. */
static void characters_are_not_cut(void **state)
{
	static const char *const letters[] = { "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x93\xab" };
	char text[1100];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
		for (size_t shift = 0; shift < 4; shift++) {
			size_t n = 4 + shift;
			memcpy(text, "550 xxxx", n);
			while (n < 1000) {
				memcpy(text + n, letters[i], strlen(letters[i]));
				n += strlen(letters[i]);
			}
			memcpy(text + n, "\r\n", 3);
			struct sbuf out = fold(text);
			for (size_t at = 0; at + 6 < out.n; at++)
				if (out.p[at] == '\n')
					assert_int_equal((unsigned char)out.p[at + 5], (unsigned char)letters[i][0]);
			sbuf_fini(&out);
		}
	}
}

/* Every length, with and without spaces: nothing but the spaces where lines end is lost. */
static void the_text_is_all_there(void **state)
{
	static char text[8200];

	UNUSED(state);
	for (size_t n = 480; n < 2100; n++) {
		for (size_t step = 7; step < 2000; step *= 6) {
			memcpy(text, "451 4.3.0 ", 10);
			for (size_t i = 10; i < n; i++)
				text[i] = i % step == 0 ? ' ' : (char)('a' + i % 26);
			memcpy(text + n, "\r\n", 3);
			struct sbuf out = fold(text);
			size_t at = 10;
			struct str rest = { out.p, out.n };
			while (rest.n > 0) {
				size_t len = (size_t)((const char *)memchr(rest.p, '\n', rest.n) + 1 - rest.p);
				bool last = len == rest.n;
				assert_memory_equal(rest.p, last ? "451 4.3.0 " : "451-4.3.0 ", 10);
				assert_memory_equal(rest.p + 10, text + at, len - 12);
				at += len - 12;
				at += !last && text[at] == ' ';
				rest = (struct str) { rest.p + len, rest.n - len };
			}
			assert_int_equal(at, n);
			sbuf_fini(&out);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_that_fit_stay_as_they_are),
		cmocka_unit_test(a_line_of_513_octets_becomes_two),
		cmocka_unit_test(each_line_has_the_enhanced_code),
		cmocka_unit_test(an_enhanced_code_of_another_class_or_shape_is_text),
		cmocka_unit_test(a_long_line_in_the_middle_leaves_the_last_one_last),
		cmocka_unit_test(characters_are_not_cut),
		cmocka_unit_test(the_text_is_all_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Replies of servers, whole and byte by byte; capabilities from the reply to EHLO.
 */
#include "daemon/smtp/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define S(lit)                                                                                                         \
	{                                                                                                              \
		(lit), sizeof(lit) - 1                                                                                 \
	}

struct row {
	struct str in;
	unsigned code, lines;
	struct str last;
	unsigned enhanced[3];
};

static const struct row good[] = {
	{ S("220\r\n"), 220, 1, S(""), { 0 } },
	{ S("220 \r\n"), 220, 1, S(""), { 0 } },
	{ S("220 host ESMTP\r\n"), 220, 1, S("host ESMTP"), { 0 } },
	{ S("220-a\r\n220-\r\n220 b\r\n"), 220, 3, S("b"), { 0 } },
	{ S("220-a\r\n220\r\n"), 220, 2, S(""), { 0 } },
	{ S("250-234 text\r\n250 567-x\r\n"), 250, 2, S("567-x"), { 0 } },
	{ S("250 2.1.5 ok\r\n"), 250, 1, S("2.1.5 ok"), { 2, 1, 5 } },
	{ S("550-5.1.1 no\r\n550 5.7.123 such\r\n"), 550, 2, S("5.7.123 such"), { 5, 7, 123 } },
	{ S("451 4.3.0\r\n"), 451, 1, S("4.3.0"), { 4, 3, 0 } },
	{ S("451 5.3.0 contradicts\r\n"), 451, 1, S("5.3.0 contradicts"), { 0 } },
	{ S("250 2.1.5x\r\n"), 250, 1, S("2.1.5x"), { 0 } },
	{ S("250 2.1\r\n"), 250, 1, S("2.1"), { 0 } },
	{ S("250 2.1.\r\n"), 250, 1, S("2.1."), { 0 } },
	{ S("250 2.1.1234 x\r\n"), 250, 1, S("2.1.1234 x"), { 0 } },
	{ S("250 a\tb \xc3\xbc \xfc\r\n"), 250, 1, S("a\tb \xc3\xbc \xfc"), { 0 } },
	{ S("571 old style\r\n"), 571, 1, S("old style"), { 0 } },
	{ S("354 go\r\n"), 354, 1, S("go"), { 0 } },
};

static const struct str bad[] = {
	S("22X OK\r\n"),
	S("220OK\r\n"),
	S("200-x\r\n250 y\r\n"),
	S("250 a\rb\r\n"),
	S("250 a\r\r\n"),
	S("250 a\x01\r\n"),
	S("250 a\0b\r\n"),
	S("250 a\x7f\r\n"),
	S("250 \x1b[31m\r\n"),
	S("699 x\r\n"),
	S("100 x\r\n"),
	S("099 x\r\n"),
	S("250 a\n"),
	S("250\n"),
	S("\r\n"),
	S("\n"),
	S("25\r\n"),
	S("2\r\n"),
	S(" 250 a\r\n"),
	S("-250 a\r\n"),
	S("250_a\r\n"),
	S("2500\r\n"),
	S("250\t\r\n"),
	S("250-a\r\n\r\n"),
	S("250-a\r\n250\r\r\n"),
	S("250-a\r\n25\r\n"),
	S("HTTP/1.1 400\r\n"),
};

/* A copy of exactly n bytes, so that a sanitizer sees each read too far. */
static enum smtp_parse parse_exact(struct str in, size_t n, struct smtp_reply *ret, size_t *ret_len,
				   const char **ret_why)
{
	char *copy = malloc(n > 0 ? n : 1);

	memcpy(copy, in.p, n);
	enum smtp_parse got = smtp_reply_parse(copy, n, ret, ret_len, ret_why);
	free(copy);
	return got;
}

static void good_replies_are_read(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		const struct row *row = &good[i];
		struct smtp_reply r;
		size_t len = 0;
		const char *why = "";
		if (smtp_reply_parse(row->in.p, row->in.n, &r, &len, &why) != SMTP_PARSE_OK)
			fail_msg("%s: %s", row->in.p, why);
		assert_int_equal(len, row->in.n);
		assert_int_equal(r.code, row->code);
		assert_int_equal(r.lines, row->lines);
		assert_true(str_eq(r.last, row->last) && str_eq(r.text, row->in));
		assert_memory_equal(r.enhanced, row->enhanced, sizeof(r.enhanced));
	}
}

static void good_replies_need_their_last_byte_and_none_behind_it(void **state)
{
	struct smtp_reply r;
	size_t len;
	const char *why;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct str in = good[i].in;
		for (size_t n = 0; n < in.n; n++)
			if (parse_exact(in, n, &r, &len, &why) != SMTP_PARSE_MORE)
				fail_msg("%s: not MORE at %zu", in.p, n);
		char followed[200];
		memcpy(followed, in.p, in.n);
		memcpy(followed + in.n, "\r\nxxx\n", 6);
		assert_int_equal(smtp_reply_parse(followed, in.n + 6, &r, &len, &why), SMTP_PARSE_OK);
		assert_int_equal(len, in.n);
	}
}

static void bad_replies_are_refused_whole_and_at_the_latest_with_their_last_byte(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct smtp_reply r;
		size_t len, n = 0;
		const char *why = NULL;
		enum smtp_parse got = SMTP_PARSE_MORE;
		if (smtp_reply_parse(bad[i].p, bad[i].n, &r, &len, &why) != SMTP_PARSE_BAD || why == NULL)
			fail_msg("%s: not BAD", bad[i].p);
		while (n < bad[i].n && got == SMTP_PARSE_MORE)
			got = parse_exact(bad[i], ++n, &r, &len, &why);
		if (got != SMTP_PARSE_BAD)
			fail_msg("%s: not BAD byte by byte", bad[i].p);
		while (n < bad[i].n) /* once BAD, BAD for good */
			assert_int_equal(parse_exact(bad[i], ++n, &r, &len, &why), SMTP_PARSE_BAD);
	}
}

/* So that a peer that is no mail server, or a confused one, is known before a deadline says so. */
static void a_hopeless_reply_is_refused_before_its_end(void **state)
{
	static const struct str beginnings[] = {
		S("H"), S("6"), S("25x"), S("220O"), S("220-a\r\n250"), S("250 a\x01"), S("250 a\rb"), S("250-a\r\nx"),
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(beginnings); i++) {
		struct smtp_reply r;
		size_t len;
		const char *why;
		assert_int_equal(parse_exact(beginnings[i], beginnings[i].n, &r, &len, &why), SMTP_PARSE_BAD);
	}
}

static void length_and_lines_are_bounded(void **state)
{
	static char text[SMTP_REPLY_BYTES_MAX + 8];
	struct smtp_reply r;
	struct sbuf b = { 0 };
	size_t len;
	const char *why;

	UNUSED(state);
	memset(text, 'x', sizeof(text));
	memcpy(text, "250 ", 4);
	assert_int_equal(smtp_reply_parse(text, SMTP_REPLY_BYTES_MAX - 1, &r, &len, &why), SMTP_PARSE_MORE);
	assert_int_equal(smtp_reply_parse(text, SMTP_REPLY_BYTES_MAX, &r, &len, &why), SMTP_PARSE_BAD);
	memcpy(text + SMTP_REPLY_BYTES_MAX - 2, "\r\n", 2);
	assert_int_equal(smtp_reply_parse(text, SMTP_REPLY_BYTES_MAX, &r, &len, &why), SMTP_PARSE_OK);
	memcpy(text + SMTP_REPLY_BYTES_MAX - 2, "x\r\n", 3);
	assert_int_equal(smtp_reply_parse(text, SMTP_REPLY_BYTES_MAX + 1, &r, &len, &why), SMTP_PARSE_BAD);

	for (unsigned i = 1; i < SMTP_REPLY_LINES_MAX; i++)
		sbuf_puts(&b, "250-x\r\n");
	size_t before_last = b.n;
	sbuf_puts(&b, "250 x\r\n");
	assert_int_equal(smtp_reply_parse(b.p, b.n, &r, &len, &why), SMTP_PARSE_OK);
	assert_int_equal(r.lines, SMTP_REPLY_LINES_MAX);
	b.p[before_last + 3] = '-';
	assert_int_equal(smtp_reply_parse(b.p, b.n, &r, &len, &why), SMTP_PARSE_BAD);
	sbuf_fini(&b);
}

static void server_trouble_is_421_or_4_3_x(void **state)
{
	static const struct {
		struct str in;
		bool want;
	} rows[] = {
		{ S("421 bye\r\n"), true },         { S("421 4.7.0 bye\r\n"), true }, { S("451 4.3.2 x\r\n"), true },
		{ S("451 4.7.1 grey\r\n"), false }, { S("450 x\r\n"), false },        { S("554 5.3.4 x\r\n"), false },
		{ S("451 5.3.0 x\r\n"), false },    { S("250 2.3.0 x\r\n"), false },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct smtp_reply r;
		size_t len;
		const char *why;
		assert_int_equal(smtp_reply_parse(rows[i].in.p, rows[i].in.n, &r, &len, &why), SMTP_PARSE_OK);
		assert_int_equal(smtp_reply_is_server_trouble(&r), rows[i].want);
	}
}

/* ---- EHLO ---- */

static struct smtp_ehlo ehlo_of(const char *text)
{
	struct smtp_reply r;
	struct smtp_ehlo e;
	size_t len;
	const char *why;

	assert_int_equal(smtp_reply_parse(text, strlen(text), &r, &len, &why), SMTP_PARSE_OK);
	smtp_ehlo_parse(&r, &e);
	return e;
}

static void capabilities_are_read_and_unknown_ones_skipped(void **state)
{
	struct smtp_ehlo e =
		ehlo_of("250-mx.example greets you\r\n250-PIPELINING\r\n250-size 1000\r\n250-8bitmime\r\n"
			"250-X-WHAT ever\r\n250-XCLIENT NAME ADDR\r\n250-XFORWARD NAME\r\n250-SMTPUTF8X\r\n"
			"250-AUTH PLAIN LOGIN\r\n250 DSN\r\n");

	UNUSED(state);
	assert_int_equal(e.exts,
			 SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_AUTH | SMTP_EXT_DSN);
	assert_int_equal(e.size, 1000);
	assert_true(e.xclient != 0 && e.xforward != 0);
	assert_true(str_eq(e.hostname, STR("mx.example")));
}

static void every_extension_is_known_by_its_name(void **state)
{
	UNUSED(state);
	for (unsigned i = 0; i < SMTP_EXT_COUNT; i++) {
		char text[100];
		snprintf(text, sizeof(text), "250-h\r\n250 %s\r\n", smtp_ext_names[i]);
		assert_int_equal(ehlo_of(text).exts, 1u << i);
	}
}

static void the_first_line_names_the_host_and_nothing_else(void **state)
{
	UNUSED(state);
	struct smtp_ehlo e = ehlo_of("250 PIPELINING\r\n");
	assert_int_equal(e.exts, 0);
	assert_true(str_eq(e.hostname, STR("PIPELINING")));
	assert_int_equal(ehlo_of("250\r\n").hostname.n, 0);
	assert_int_equal(ehlo_of("250-\r\n250\r\n").exts, 0);
}

static void of_several_sizes_the_smallest_counts(void **state)
{
	UNUSED(state);
	assert_int_equal(ehlo_of("250-h\r\n250-SIZE 5\r\n250 SIZE 9\r\n").size, 5);
	assert_int_equal(ehlo_of("250-h\r\n250-SIZE 9\r\n250 SIZE 5\r\n").size, 5);
	assert_int_equal(ehlo_of("250-h\r\n250-SIZE 0\r\n250 SIZE 5\r\n").size, 5);
	assert_int_equal(ehlo_of("250-h\r\n250 SIZE\r\n").size, 0);
	assert_int_equal(ehlo_of("250-h\r\n250 SIZE 99999999999999999999\r\n").size, 0);
	assert_int_equal(ehlo_of("250-h\r\n250 SIZE x\r\n").exts, SMTP_EXT_SIZE);
	assert_int_equal(ehlo_of("250-h\r\n250 AUTH=PLAIN LOGIN\r\n").exts, SMTP_EXT_AUTH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_replies_are_read),
		cmocka_unit_test(good_replies_need_their_last_byte_and_none_behind_it),
		cmocka_unit_test(bad_replies_are_refused_whole_and_at_the_latest_with_their_last_byte),
		cmocka_unit_test(a_hopeless_reply_is_refused_before_its_end),
		cmocka_unit_test(length_and_lines_are_bounded),
		cmocka_unit_test(server_trouble_is_421_or_4_3_x),
		cmocka_unit_test(capabilities_are_read_and_unknown_ones_skipped),
		cmocka_unit_test(every_extension_is_known_by_its_name),
		cmocka_unit_test(the_first_line_names_the_host_and_nothing_else),
		cmocka_unit_test(of_several_sizes_the_smallest_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

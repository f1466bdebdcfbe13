/* SPDX-License-Identifier: Apache-2.0
 * Command lines: whole and byte by byte, and their verbs.
 */
#include "daemon/smtp/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define S(lit)                                                                                                         \
	{                                                                                                              \
		(lit), sizeof(lit) - 1                                                                                 \
	}
#define MAX 16

struct row {
	const char *name;
	struct str in;
	enum smtp_line_status want;
	size_t len;
	struct str line;
};

static const struct row rows[] = {
	{ "plain", S("NOOP\r\n"), SMTP_LINE_OK, 6, S("NOOP") },
	{ "empty", S("\r\n"), SMTP_LINE_OK, 2, S("") },
	{ "first of two", S("RSET\r\nQUIT\r\n"), SMTP_LINE_OK, 6, S("RSET") },
	{ "no ending", S("NOOP"), SMTP_LINE_MORE, 0, S("") },
	{ "nothing", S(""), SMTP_LINE_MORE, 0, S("") },
	{ "half an ending", S("NOOP\r"), SMTP_LINE_MORE, 0, S("") },
	{ "bare LF", S("NOOP\nQUIT\r\n"), SMTP_LINE_BARE_LF, 5, S("NOOP") },
	{ "LF alone", S("\n"), SMTP_LINE_BARE_LF, 1, S("") },
	{ "CR inside", S("NO\rOP\r\n"), SMTP_LINE_BAD_BYTE, 7, S("NO\rOP") },
	{ "CR before CRLF", S("NOOP\r\r\n"), SMTP_LINE_BAD_BYTE, 7, S("NOOP\r") },
	{ "NUL inside", S("NO\0P\r\n"), SMTP_LINE_BAD_BYTE, 6, S("NO\0P") },
	{ "as long as allowed", S("0123456789abcd\r\n"), SMTP_LINE_OK, 16, S("0123456789abcd") },
	{ "one byte longer", S("0123456789abcde\r\n"), SMTP_LINE_TOO_LONG, 17, S("") },
	{ "no ending in all that is allowed", S("0123456789abcdef"), SMTP_LINE_TOO_LONG, 16, S("") },
	{ "and more", S("0123456789abcdefgh"), SMTP_LINE_TOO_LONG, 18, S("") },
};

static void lines_get_their_verdict(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t len = 99;
		struct str line;
		enum smtp_line_status got = smtp_line(rows[i].in.p, rows[i].in.n, MAX, &len, &line);
		if (got != rows[i].want || len != rows[i].len || !str_eq(line, rows[i].line))
			fail_msg("%s: got %d, %zu bytes", rows[i].name, got, len);
	}
}

static void byte_by_byte_a_line_is_judged_at_its_last_byte_as_in_one(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].want == SMTP_LINE_MORE || rows[i].want == SMTP_LINE_TOO_LONG)
			continue;
		for (size_t n = 0; n <= rows[i].len; n++) {
			size_t len;
			struct str line;
			enum smtp_line_status got = smtp_line(rows[i].in.p, n, MAX, &len, &line);
			if (got != (n < rows[i].len ? SMTP_LINE_MORE : rows[i].want))
				fail_msg("%s: got %d at %zu bytes", rows[i].name, got, n);
		}
	}
}

static void a_long_line_is_given_up_as_soon_as_it_is_known_to_be(void **state)
{
	size_t len;
	struct str line;
	static const char in[] = "0123456789abcdefghij";

	UNUSED(state);
	for (size_t n = 0; n < MAX; n++)
		assert_int_equal(smtp_line(in, n, MAX, &len, &line), SMTP_LINE_MORE);
	assert_int_equal(smtp_line(in, MAX, MAX, &len, &line), SMTP_LINE_TOO_LONG);
	assert_int_equal(len, MAX);
}

struct command_row {
	struct str in;
	enum smtp_verb verb;
	struct str word, args;
};

static void lines_are_split_into_verb_and_arguments(void **state)
{
	static const struct command_row commands[] = {
		{ S("QUIT"), SMTP_QUIT, S("QUIT"), S("") },
		{ S("quit "), SMTP_QUIT, S("quit"), S("") },
		{ S("eHlO  client.example  "), SMTP_EHLO, S("eHlO"), S("client.example") },
		{ S("HELO\tx"), SMTP_HELO, S("HELO"), S("x") },
		{ S("MAIL FROM:<a@b> SIZE=1"), SMTP_MAIL, S("MAIL"), S("FROM:<a@b> SIZE=1") },
		{ S("STARTTLS now"), SMTP_STARTTLS, S("STARTTLS"), S("now") },
		{ S("MAILFROM:<a@b>"), SMTP_UNKNOWN, S("MAILFROM:<a@b>"), S("") },
		{ S("QUITX"), SMTP_UNKNOWN, S("QUITX"), S("") },
		{ S("QUI"), SMTP_UNKNOWN, S("QUI"), S("") },
		{ S("unknown"), SMTP_UNKNOWN, S("unknown"), S("") },
		{ S(""), SMTP_UNKNOWN, S(""), S("") },
		{ S(" NOOP"), SMTP_UNKNOWN, S(""), S("NOOP") },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		struct smtp_command c;
		smtp_command_parse(commands[i].in, &c);
		if (c.verb != commands[i].verb || !str_eq(c.word, commands[i].word) ||
		    !str_eq(c.args, commands[i].args))
			fail_msg("%s: verb %d", commands[i].in.p, c.verb);
	}
}

static void every_verb_is_known_by_its_name(void **state)
{
	UNUSED(state);
	for (unsigned v = SMTP_UNKNOWN + 1; v < SMTP_VERB_COUNT; v++) {
		struct smtp_command c;
		smtp_command_parse(str_from(smtp_verb_names[v]), &c);
		assert_int_equal(c.verb, v);
	}
	for (unsigned i = 0; i < SMTP_EXT_COUNT; i++)
		assert_non_null(smtp_ext_names[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_get_their_verdict),
		cmocka_unit_test(byte_by_byte_a_line_is_judged_at_its_last_byte_as_in_one),
		cmocka_unit_test(a_long_line_is_given_up_as_soon_as_it_is_known_to_be),
		cmocka_unit_test(lines_are_split_into_verb_and_arguments),
		cmocka_unit_test(every_verb_is_known_by_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

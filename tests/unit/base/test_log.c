/* SPDX-License-Identifier: Apache-2.0
 * Log lines: nobody's value can forge a key or a line, and a cut line still parses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"

static char last[4096];
static enum log_level last_level;
static int n_lines;

static void capture(enum log_level level, const char *line, void *arg)
{
	UNUSED(arg);
	snprintf(last, sizeof(last), "%s", line);
	last_level = level;
	n_lines++;
}

/* What follows `event=e `. */
static const char *line_with(struct str value)
{
	struct logline l;

	log_begin(&l, LOG_LEVEL_INFO, "e");
	log_str(&l, "k", value);
	log_end(&l);
	const char *p = strstr(last, "event=e");
	assert_non_null(p);
	return p[7] == '\0' ? "" : p + 8;
}

static void values_are_escaped(void **state)
{
	UNUSED(state);
	static const struct {
		struct str in;
		const char *want;
	} cases[] = {
		{ { "plain", 5 }, "k=plain" },
		{ { "", 0 }, "k=\"\"" },
		{ { NULL, 0 }, "" },
		{ { "a b", 3 }, "k=\"a b\"" },
		{ { "a=b", 3 }, "k=\"a=b\"" },
		{ { "a\"b", 3 }, "k=\"a\\\"b\"" },
		{ { "a\\b", 3 }, "k=\"a\\\\b\"" },
		{ { "a\nevent=forged", 14 }, "k=\"a\\x0aevent=forged\"" },
		{ { "a\r\0b", 4 }, "k=\"a\\x0d\\x00b\"" },
		{ { "\x1b[2J\x7f", 5 }, "k=\"\\x1b[2J\\x7f\"" },
		{ { "m\xc3\xbcller", 7 }, "k=m\xc3\xbcller" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(line_with(cases[i].in), cases[i].want);
}

static void no_byte_breaks_the_line(void **state)
{
	UNUSED(state);
	char all[256];

	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	const char *line = line_with((struct str) { all, sizeof(all) });
	for (const char *p = line; *p != '\0'; p++)
		assert_true((unsigned char)*p >= ' ' && *p != 0x7f);
	for (int i = 0; i < 256; i++) {
		line = line_with((struct str) { &all[i], 1 });
		assert_null(strchr(line, '\n'));
		assert_true(line[2] != '"' || line[strlen(line) - 1] == '"');
	}
}

/* After the event, each value is either bare or quoted whole; an escape is never cut. */
static void assert_parses(const char *p)
{
	while (*p != '\0') {
		p += strcspn(p, "= \"");
		assert_int_equal(*p, '=');
		p++;
		if (*p == '"') {
			for (p++; *p != '"'; p++) {
				assert_true(*p != '\0');
				if (*p == '\\')
					p += p[1] == 'x' ? 3 : 1;
			}
			p++;
		} else {
			p += strcspn(p, " \"");
		}
		assert_true(*p == '\0' || *p == ' ');
		p += *p == ' ';
	}
}

/* With values of every length around the line's capacity, of bytes that need one, two and four bytes in the log. */
static void a_line_too_long_is_cut_and_still_parses(void **state)
{
	UNUSED(state);
	static const char kinds[] = { 'a', '"', '\n', ' ' };
	char value[3000];

	for (size_t k = 0; k < sizeof(kinds); k++) {
		memset(value, kinds[k], sizeof(value));
		for (size_t n = 480; n < 2200; n++) {
			struct logline l;
			log_begin(&l, LOG_LEVEL_INFO, "e");
			log_str(&l, "first", (struct str) { value, n });
			log_str(&l, "second", STR("x y"));
			log_int(&l, "third", -5);
			log_end(&l);
			assert_true(l.n < sizeof(l.text));
			assert_parses(last);
		}
	}
	assert_non_null(strstr(last, "…\""));
}

static void many_keys_stop_at_the_end_of_the_line(void **state)
{
	UNUSED(state);
	struct logline l;

	log_begin(&l, LOG_LEVEL_INFO, "e");
	for (int i = 0; i < 2000; i++)
		log_int(&l, "key", i);
	log_end(&l);
	assert_true(strlen(last) < sizeof(l.text));
	assert_parses(last);
}

static void numbers_addresses_and_durations_are_written_plainly(void **state)
{
	UNUSED(state);
	struct logline l;
	struct addr a;

	assert_true(addr_parse("[2001:db8::1]:25", 0, &a));
	log_begin(&l, LOG_LEVEL_WARNING, "e");
	log_int(&l, "n", INT64_MIN);
	log_duration(&l, "d", 61234567);
	log_addr(&l, "a", &a);
	log_cstr(&l, "none", NULL);
	log_end(&l);
	assert_non_null(strstr(last, "event=e n=-9223372036854775808 d=61.234 a=[2001:db8::1]:25"));
	assert_int_equal(last[strlen(last) - 1], '5');
	assert_int_equal(last_level, LOG_LEVEL_WARNING);
}

static void a_message_is_one_escaped_value(void **state)
{
	UNUSED(state);
	log_msg(LOG_LEVEL_ERROR, "boom", "cannot open %s\nlevel=info", "x");
	assert_non_null(strstr(last, "event=boom msg=\"cannot open x\\x0alevel=info\""));
}

static void level_names_round_trip(void **state)
{
	UNUSED(state);
	for (int i = 0; i < LOG_LEVEL_COUNT; i++)
		assert_int_equal(log_level_from_name(log_level_names[i]), i);
	assert_int_equal(log_level_from_name("loud"), -1);
	assert_int_equal(log_level_from_name(""), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_escaped),
		cmocka_unit_test(no_byte_breaks_the_line),
		cmocka_unit_test(a_line_too_long_is_cut_and_still_parses),
		cmocka_unit_test(many_keys_stop_at_the_end_of_the_line),
		cmocka_unit_test(numbers_addresses_and_durations_are_written_plainly),
		cmocka_unit_test(a_message_is_one_escaped_value),
		cmocka_unit_test(level_names_round_trip),
	};

	log_capture(capture, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * What a server's EHLO offers beyond plain keywords: mechanisms, attributes, limits; and the limits we announce.
 */
#include "daemon/smtp/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* The capabilities of a reply with these lines behind its first. */
static struct smtp_ehlo ehlo_of(const char *lines)
{
	struct smtp_reply r;
	struct smtp_ehlo e;
	size_t len;
	const char *why;
	char *text = xasprintf("250-host.test\r\n%s\r\n", lines);

	assert_int_equal(smtp_reply_parse(text, strlen(text), &r, &len, &why), SMTP_PARSE_OK);
	smtp_ehlo_parse(&r, &e);
	free(text);
	e.hostname = (struct str) { NULL, 0 };
	return e;
}

static void mechanisms_are_known_by_their_names(void **state)
{
	UNUSED(state);
	for (unsigned i = 0; i < SMTP_AUTH_COUNT; i++) {
		char line[64];
		snprintf(line, sizeof(line), "250 AUTH X-WHAT %s", smtp_auth_names[i]);
		struct smtp_ehlo e = ehlo_of(line);
		assert_int_equal(e.auth, 1u << i);
		assert_int_equal(e.exts, SMTP_EXT_AUTH);
	}
}

static void mechanisms_of_all_lines_are_taken_together(void **state)
{
	UNUSED(state);
	assert_int_equal(ehlo_of("250-AUTH plain\r\n250 AUTH=LOGIN XOAUTH2").auth,
			 SMTP_AUTH_PLAIN | SMTP_AUTH_LOGIN | SMTP_AUTH_XOAUTH2);
	assert_int_equal(ehlo_of("250 AUTH SCRAM-SHA-256").auth, SMTP_AUTH_SCRAM_SHA_256);
	assert_int_equal(ehlo_of("250 AUTH").exts, SMTP_EXT_AUTH);
	assert_int_equal(ehlo_of("250 AUTH").auth, 0);
	assert_int_equal(ehlo_of("250 AUTH DIGEST-MD5 PLAINX").auth, 0);
	assert_int_equal(ehlo_of("250 X-AUTH PLAIN").auth, 0);
}

static void attributes_are_those_of_each_command(void **state)
{
	struct smtp_ehlo e =
		ehlo_of("250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT SOURCE\r\n"
			"250 XFORWARD name addr proto helo source port ident login");

	UNUSED(state);
	assert_int_equal(e.xclient, SMTP_XATTR_OFFERED | SMTP_XCLIENT_ATTRS);
	assert_int_equal(e.xforward, SMTP_XATTR_OFFERED | SMTP_XFORWARD_ATTRS);
	e = ehlo_of("250 XCLIENT ADDR");
	assert_int_equal(e.xclient, SMTP_XATTR_OFFERED | SMTP_XATTR_ADDR);
	assert_int_equal(e.xforward, 0);
	assert_int_equal(ehlo_of("250 XFORWARD").xforward, SMTP_XATTR_OFFERED);
	assert_int_equal(ehlo_of("250 XCLIENTS NAME").xclient, 0);
}

static void other_keywords_are_seen(void **state)
{
	UNUSED(state);
	struct smtp_ehlo e = ehlo_of("250-STARTTLS\r\n250-CHUNKING\r\n250 REQUIRETLS");
	assert_int_equal(e.exts, SMTP_EXT_STARTTLS | SMTP_EXT_CHUNKING);
	assert_true(e.requiretls);
	assert_false(ehlo_of("250 DSN").requiretls);
}

/* ---- limits ---- */

static void limits_are_read_and_the_smallest_counts(void **state)
{
	static const struct {
		const char *in;
		struct smtp_limits want;
	} rows[] = {
		{ "", { 0, 0, 0 } },
		{ "RCPTMAX=20 MAILMAX=5 RCPTDOMAINMAX=1", { 20, 5, 1 } },
		{ "rcptmax=20", { 20, 0, 0 } },
		{ "  MAILMAX=999999  FOO BAR=1 ", { 0, 999999, 0 } },
		{ "RCPTMAX=20 RCPTMAX=10 RCPTMAX=30", { 10, 0, 0 } },
		{ "RCPTMAX=0 MAILMAX=01 RCPTDOMAINMAX=1000000", { 0, 0, 0 } },
		{ "RCPTMAX= MAILMAX RCPTDOMAINMAX=-1", { 0, 0, 0 } },
		{ "RCPTMAX=5x MAILMAX==5 =5", { 0, 0, 0 } },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct smtp_limits l = { 0 };
		smtp_limits_read(str_from(rows[i].in), &l);
		assert_memory_equal(&l, &rows[i].want, sizeof(l));
	}
	struct smtp_ehlo e = ehlo_of("250-LIMITS RCPTMAX=20 MAILMAX=9\r\n250 LIMITS RCPTMAX=30 MAILMAX=8");
	assert_true(e.has_limits && e.limits.rcpt_max == 20 && e.limits.mail_max == 8);
	assert_true(ehlo_of("250 LIMITS").has_limits);
	assert_false(ehlo_of("250 SIZE 5").has_limits);
}

static void limits_are_written_where_there_are_some(void **state)
{
	static const struct {
		struct smtp_limits in;
		const char *want;
	} rows[] = {
		{ { 0, 0, 0 }, "" },
		{ { 1000, 0, 0 }, "LIMITS RCPTMAX=1000" },
		{ { 0, 20, 0 }, "LIMITS MAILMAX=20" },
		{ { 1000, 20, 1 }, "LIMITS RCPTMAX=1000 MAILMAX=20 RCPTDOMAINMAX=1" },
		{ { 999999, 999999, 999999 }, "LIMITS RCPTMAX=999999 MAILMAX=999999 RCPTDOMAINMAX=999999" },
		{ { 1000000, 4294967295u, 7 }, "LIMITS RCPTDOMAINMAX=7" },
	};
	char out[SMTP_LIMITS_MAX];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(smtp_limits_write(&rows[i].in, out), strlen(rows[i].want));
		assert_string_equal(out, rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mechanisms_are_known_by_their_names),
		cmocka_unit_test(mechanisms_of_all_lines_are_taken_together),
		cmocka_unit_test(attributes_are_those_of_each_command),
		cmocka_unit_test(other_keywords_are_seen),
		cmocka_unit_test(limits_are_read_and_the_smallest_counts),
		cmocka_unit_test(limits_are_written_where_there_are_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * MAIL and RCPT: what passes and with which parts, what is refused and how.
 */
#include "daemon/smtp/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ALL ((1u << SMTP_EXT_COUNT) - 1)
#define TEN "0123456789"
#define TOKEN "0123456789abcdef"
#define TOKEN_4 TOKEN "," TOKEN "," TOKEN "," TOKEN
#define LOCAL_64 TEN TEN TEN TEN TEN TEN "1234"
#define LABEL_63 TEN TEN TEN TEN TEN TEN "123"

/* ---- helpers ---- */

/* A copy without a byte behind it, so that a sanitizer sees each read too far. */
static struct str exact_copy(const char *text)
{
	size_t n = strlen(text);
	char *p = malloc(n > 0 ? n : 1);

	memcpy(p, text, n);
	return (struct str) { p, n };
}

static void exact_free(struct str s)
{
	free((void *)(uintptr_t)s.p);
}

static void assert_refused(const char *args, bool refused, const struct smtp_refusal *why, const char *want)
{
	char got[32] = "accepted";

	if (refused)
		snprintf(got, sizeof(got), "%u %s", why->code, why->enhanced);
	if (strcmp(got, want) != 0)
		fail_msg("%s: want %s, got %s", args, want, got);
	assert_true(!refused || why->text[0] != '\0');
}

static void mail_is(const char *args, unsigned exts, const char *want)
{
	struct smtp_mail m;
	struct smtp_refusal why = { 0 };
	struct str s = exact_copy(args);

	assert_refused(args, !smtp_mail_parse(s, exts, &m, &why), &why, want);
	exact_free(s);
}

static void rcpt_is(const char *args, unsigned exts, const char *want)
{
	struct smtp_rcpt r;
	struct smtp_refusal why = { 0 };
	struct str s = exact_copy(args);

	assert_refused(args, !smtp_rcpt_parse(s, exts, &r, &why), &why, want);
	exact_free(s);
}

/* ---- paths ---- */

struct path_row {
	const char *args, *mailbox, *raw, *local, *domain;
	bool utf8;
};

static const struct path_row paths[] = {
	{ "FROM:<a@b.example>", "a@b.example", "<a@b.example>", "a", "b.example", false },
	{ "from: <a@b>", "a@b", "<a@b>", "a", "b", false },
	{ "FROM:   <a@b>  ", "a@b", "<a@b>", "a", "b", false },
	{ "FROM:<>", "", "<>", "", "", false },
	{ "FROM:<a..b.@c>", "a..b.@c", "<a..b.@c>", "a..b.", "c", false },
	{ "FROM:<a+b=c/d@e_f.example.>", "a+b=c/d@e_f.example.", "<a+b=c/d@e_f.example.>", "a+b=c/d", "e_f.example.",
	  false },
	{ "FROM:<\"a b\\\"@\\>\"@c>", "\"a b\\\"@\\>\"@c", "<\"a b\\\"@\\>\"@c>", "\"a b\\\"@\\>\"", "c", false },
	{ "FROM:<\"\"@c>", "\"\"@c", "<\"\"@c>", "\"\"", "c", false },
	{ "FROM:<a@[192.0.2.1]>", "a@[192.0.2.1]", "<a@[192.0.2.1]>", "a", "[192.0.2.1]", false },
	{ "FROM:<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", "<a@[IPv6:2001:db8::1]>", "a", "[IPv6:2001:db8::1]",
	  false },
	{ "FROM:<@a,@b:user@c>", "user@c", ":user@c>", "user", "c", false },
	{ "FROM:<@[192.0.2.1]:user@c>", "user@c", ":user@c>", "user", "c", false },
	{ "FROM:<j\xc3\xb6rg@b\xc3\xbc"
	  "cher.example> SMTPUTF8",
	  "j\xc3\xb6rg@b\xc3\xbc"
	  "cher.example",
	  "<j\xc3\xb6rg@b\xc3\xbc"
	  "cher.example>",
	  "j\xc3\xb6rg",
	  "b\xc3\xbc"
	  "cher.example",
	  true },
	{ "FROM:<" LOCAL_64 "@" LABEL_63 ">", LOCAL_64 "@" LABEL_63, "<" LOCAL_64 "@" LABEL_63 ">", LOCAL_64, LABEL_63,
	  false },
};

static void paths_are_taken_apart(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		const struct path_row *row = &paths[i];
		struct str s = exact_copy(row->args);
		struct smtp_mail m;
		struct smtp_refusal why = { .text = "" };
		if (!smtp_mail_parse(s, ALL, &m, &why))
			fail_msg("%s: %u %s", row->args, why.code, why.text);
		if (!str_eq(m.path.mailbox, str_from(row->mailbox)) || !str_eq(m.path.raw, str_from(row->raw)) ||
		    !str_eq(m.path.local, str_from(row->local)) || !str_eq(m.path.domain, str_from(row->domain)))
			fail_msg("%s: got %.*s, %.*s, %.*s, %.*s", row->args, STR_ARG(m.path.mailbox),
				 STR_ARG(m.path.raw), STR_ARG(m.path.local), STR_ARG(m.path.domain));
		assert_int_equal(m.path.utf8, row->utf8);
		exact_free(s);
	}
}

static const char *const bad_paths[] = {
	"a@b",
	"",
	"<",
	"a@b>",
	"<a@b",
	"<a>",
	"<@b>",
	"<a@>",
	"<a@b>x",
	"<a@b>SIZE=1",
	"< a@b>",
	"<a@b >",
	"<a b@c>",
	"<a@b c>",
	"<a@@b>",
	"<a@b@c>",
	"<a@.b>",
	"<a@b..c>",
	"<a@b..>",
	"<a@->>",
	"<a@b/c>",
	"<a\\b@c>",
	"<a:b@c>",
	"<(a)@b>",
	"<a,b@c>",
	"<\"a@b>",
	"<\"a\"b@c>",
	"<\"a\\\"@b>",
	"<\"a\x01\"@b>",
	"<\"a\\\x01\"@b>",
	"<a\x7f@b>",
	"<a\x01@b>",
	"<a@[]>",
	"<a@[1>",
	"<a@[1]2>",
	"<a@[a\\b]>",
	"<a@[a b]>",
	"<@a:>",
	"<@a,b:c@d>",
	"<@:c@d>",
	"<@a,:c@d>",
	"<@a:@b:c@d>",
	"<@a>",
	"<\"postmaster\">",
	"<>>",
	"<<a@b>>",
	"<a@b\xff>",
	"<\xc3@b>",
	"<\xed\xa0\x80@b>",
	"<\xc0\xaf@b>",
	"<\xf4\x90\x80\x80@b>",
	"<\"\\\xc3\xbc\"@b>",
	"<" LOCAL_64 LOCAL_64 LOCAL_64 LOCAL_64 "@b>",
	"<a@1" LABEL_63 ">",
	"<a@" LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63 ".a>",
	"<a@b>\t\x01",
	"<a@b>,",
};

static void malformed_paths_are_refused_for_the_sender_and_the_recipient(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(bad_paths); i++) {
		char args[600];
		bool param = strstr(bad_paths[i], ">\t") != NULL; /* the path is fine, what follows is not */
		snprintf(args, sizeof(args), "FROM:%s", bad_paths[i]);
		mail_is(args, ALL, param ? "501 5.5.4" : "501 5.1.7");
		snprintf(args, sizeof(args), "TO:%s", bad_paths[i]);
		rcpt_is(args, ALL, param ? "501 5.5.4" : "501 5.1.3");
	}
}

/* Every proper prefix of a good command is refused, not read past its end: the copies have no byte to spare. */
static void every_prefix_of_a_command_is_refused(void **state)
{
	static const char in[] = "FROM:<@r.example:\"q q\"@[192.0.2.1]>";

	UNUSED(state);
	for (size_t n = 0; n < sizeof(in) - 1; n++) {
		char args[sizeof(in)] = "";
		memcpy(args, in, n);
		mail_is(args, ALL, n < 5 ? "501 5.5.4" : "501 5.1.7");
	}
	mail_is(in, ALL, "accepted");
}

static void postmaster_needs_no_domain_and_recipients_are_never_null(void **state)
{
	UNUSED(state);
	rcpt_is("TO:<Postmaster>", ALL, "accepted");
	rcpt_is("to:<POSTMASTER>", 0, "accepted");
	rcpt_is("TO:<@a:postmaster>", 0, "accepted");
	rcpt_is("TO:<hostmaster>", ALL, "501 5.1.3");
	rcpt_is("TO:<>", ALL, "501 5.1.3");
	mail_is("FROM:<postmaster>", ALL, "501 5.1.7");
}

static void the_keyword_must_be_there(void **state)
{
	UNUSED(state);
	mail_is("", ALL, "501 5.5.4");
	mail_is("FROM", ALL, "501 5.5.4");
	mail_is("<a@b>", ALL, "501 5.5.4");
	mail_is("TO:<a@b>", ALL, "501 5.5.4");
	rcpt_is("FROM:<a@b>", ALL, "501 5.5.4");
	rcpt_is("T0:<a@b>", ALL, "501 5.5.4");
}

static void addresses_above_ascii_need_smtputf8(void **state)
{
	UNUSED(state);
	mail_is("FROM:<\xc3\xbc@b> SMTPUTF8", ALL, "accepted");
	mail_is("FROM:<a@\xc3\xbc> BODY=8BITMIME SMTPUTF8", ALL, "accepted");
	mail_is("FROM:<\xc3\xbc@b>", ALL, "553 5.6.7");
	mail_is("FROM:<\xc3\xbc@b> SMTPUTF8", ALL & ~SMTP_EXT_SMTPUTF8, "555 5.5.4");
	mail_is("FROM:<\xc3\xbc@b>", 0, "553 5.6.7");
	rcpt_is("TO:<\xc3\xbc@b>", ALL, "accepted");
	rcpt_is("TO:<\xc3\xbc@b>", 0, "553 5.6.7");
}

/* ---- parameters ---- */

static void mail_parameters_are_read(void **state)
{
	static const char in[] =
		"FROM:<a@b> size=18446744073709551615  BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=x+2B1 AUTH=<>";
	struct smtp_mail m;
	struct smtp_refusal why;

	UNUSED(state);
	assert_true(smtp_mail_parse(str_from(in), ALL, &m, &why));
	assert_true(m.has_size && m.size == UINT64_MAX && m.smtputf8);
	assert_int_equal(m.body, SMTP_BODY_8BITMIME);
	assert_true(str_eq(m.ret, STR("hdrs")) && str_eq(m.envid, STR("x+2B1")) && str_eq(m.auth, STR("<>")));
	assert_true(str_eq(m.params, str_from(in + 11)));
	assert_true(smtp_mail_parse(STR("FROM:<a@b>"), ALL, &m, &why));
	assert_true(!m.has_size && !m.smtputf8 && m.body == SMTP_BODY_NONE && m.params.n == 0);
	assert_true(m.ret.p == NULL && m.envid.p == NULL && m.auth.p == NULL);
}

static void rcpt_parameters_are_read(void **state)
{
	struct smtp_rcpt r;
	struct smtp_refusal why;

	UNUSED(state);
	assert_true(smtp_rcpt_parse(STR("TO:<a@b> NOTIFY=success,DELAY ORCPT=rfc822;a+40b"), ALL, &r, &why));
	assert_true(str_eq(r.notify, STR("success,DELAY")) && str_eq(r.orcpt, STR("rfc822;a+40b")));
	assert_true(str_eq(r.params, STR("NOTIFY=success,DELAY ORCPT=rfc822;a+40b")));
}

struct param_row {
	const char *params;
	unsigned exts;
	const char *want;
};

static const struct param_row mail_rows[] = {
	{ "SIZE=0", ALL, "accepted" },
	{ "SIZE=18446744073709551616", ALL, "501 5.5.4" },
	{ "SIZE=99999999999999999999", ALL, "501 5.5.4" },
	{ "SIZE=", ALL, "501 5.5.4" },
	{ "SIZE", ALL, "501 5.5.4" },
	{ "SIZE=-1", ALL, "501 5.5.4" },
	{ "SIZE=1k", ALL, "501 5.5.4" },
	{ "SIZE=+1", ALL, "501 5.5.4" },
	{ "SIZE=1", ALL & ~SMTP_EXT_SIZE, "555 5.5.4" },
	{ "SIZE=1 size=1", ALL, "501 5.5.4" },
	{ "BODY=7BIT", ALL, "accepted" },
	{ "BODY=BINARYMIME", ALL, "555 5.5.4" },
	{ "BODY=9BIT", ALL, "501 5.5.4" },
	{ "BODY=8BITMIME", 0, "555 5.5.4" },
	{ "SMTPUTF8", ALL, "accepted" },
	{ "SMTPUTF8=", ALL, "501 5.5.4" },
	{ "SMTPUTF8=1", ALL, "501 5.5.4" },
	{ "SMTPUTF8 SMTPUTF8", ALL, "501 5.5.4" },
	{ "RET=FULL", ALL, "accepted" },
	{ "RET=SOME", ALL, "501 5.5.4" },
	{ "RET=FULL", ALL & ~SMTP_EXT_DSN, "555 5.5.4" },
	{ "ENVID=", ALL, "501 5.5.4" },
	{ "ENVID=a+b", ALL, "501 5.5.4" },
	{ "ENVID=a=b", ALL, "501 5.5.4" },
	{ "ENVID=" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN, ALL, "accepted" },
	{ "ENVID=" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "1", ALL, "501 5.5.4" },
	{ "AUTH=a+40b", ALL, "accepted" },
	{ "AUTH=", ALL, "501 5.5.4" },
	{ "AUTH=<>", ALL & ~SMTP_EXT_AUTH, "555 5.5.4" },
	{ "XHOPS=" TOKEN, ALL, "accepted" },
	{ "XHOPS=" TOKEN "," TOKEN, ALL, "accepted" },
	{ "XHOPS=" TOKEN_4 "," TOKEN_4, ALL, "accepted" },
	{ "XHOPS=" TOKEN_4 "," TOKEN_4 "," TOKEN, ALL, "501 5.5.4" },
	{ "XHOPS", ALL, "501 5.5.4" },
	{ "XHOPS=", ALL, "501 5.5.4" },
	{ "XHOPS=" TOKEN ",", ALL, "501 5.5.4" },
	{ "XHOPS=" TOKEN TOKEN, ALL, "501 5.5.4" },
	{ "XHOPS=" TOKEN ";" TOKEN, ALL, "501 5.5.4" },
	{ "XHOPS=0123456789ABCDEF", ALL, "501 5.5.4" },
	{ "XHOPS=0123456789abcdef0", ALL, "501 5.5.4" },
	{ "XHOPS=0123456789abcde", ALL, "501 5.5.4" },
	{ "XHOPS=" TOKEN, ALL & ~SMTP_EXT_XHOPS, "555 5.5.4" },
	{ "X-WHAT=1", ALL, "555 5.5.4" },
	{ "NOTIFY=NEVER", ALL, "555 5.5.4" },
	{ "=1", ALL, "501 5.5.4" },
	{ "S\x01=1", ALL, "501 5.5.4" },
	{ "SIZE=1\tBODY=7BIT", ALL, "501 5.5.4" },
};

static const struct param_row rcpt_rows[] = {
	{ "NOTIFY=NEVER", ALL, "accepted" },
	{ "NOTIFY=SUCCESS,FAILURE,DELAY", ALL, "accepted" },
	{ "NOTIFY=NEVER,DELAY", ALL, "501 5.5.4" },
	{ "NOTIFY=", ALL, "501 5.5.4" },
	{ "NOTIFY", ALL, "501 5.5.4" },
	{ "NOTIFY=DELAY,", ALL, "501 5.5.4" },
	{ "NOTIFY=,DELAY", ALL, "501 5.5.4" },
	{ "NOTIFY=NEVER NOTIFY=NEVER", ALL, "501 5.5.4" },
	{ "NOTIFY=NEVER", 0, "555 5.5.4" },
	{ "ORCPT=rfc822;a@b", ALL, "accepted" },
	{ "ORCPT=rfc822;", ALL, "501 5.5.4" },
	{ "ORCPT=;a", ALL, "501 5.5.4" },
	{ "ORCPT=rfc822", ALL, "501 5.5.4" },
	{ "ORCPT=rfc822;a+zz", ALL, "501 5.5.4" },
	{ "ORCPT=rfc822;\xc3\xbc@b", ALL, "501 5.5.4" },
	{ "ORCPT=utf-8;\xc3\xbc@b", ALL, "accepted" },
	{ "ORCPT=utf-8;\xc3@b", ALL, "501 5.5.4" },
	{ "ORCPT=utf-8;\xc3\xbc@b", ALL & ~SMTP_EXT_SMTPUTF8, "501 5.5.4" },
	{ "ORCPT=utf-8;\\x{FC}@b", ALL, "accepted" },
	{ "SIZE=1", ALL, "555 5.5.4" },
};

static void parameters_pass_or_are_refused_with_the_right_code(void **state)
{
	char args[700];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(mail_rows); i++) {
		snprintf(args, sizeof(args), "FROM:<a@b> %s", mail_rows[i].params);
		mail_is(args, mail_rows[i].exts, mail_rows[i].want);
	}
	for (size_t i = 0; i < ARRAY_LEN(rcpt_rows); i++) {
		snprintf(args, sizeof(args), "TO:<a@b> %s", rcpt_rows[i].params);
		rcpt_is(args, rcpt_rows[i].exts, rcpt_rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_taken_apart),
		cmocka_unit_test(malformed_paths_are_refused_for_the_sender_and_the_recipient),
		cmocka_unit_test(every_prefix_of_a_command_is_refused),
		cmocka_unit_test(postmaster_needs_no_domain_and_recipients_are_never_null),
		cmocka_unit_test(the_keyword_must_be_there),
		cmocka_unit_test(addresses_above_ascii_need_smtputf8),
		cmocka_unit_test(mail_parameters_are_read),
		cmocka_unit_test(rcpt_parameters_are_read),
		cmocka_unit_test(parameters_pass_or_are_refused_with_the_right_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

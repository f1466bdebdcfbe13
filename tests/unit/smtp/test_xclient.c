/* SPDX-License-Identifier: Apache-2.0
 * XCLIENT as a server reads it; XCLIENT and XFORWARD as a client writes them.
 */
#include "daemon/smtp/xclient.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static bool parse(const char *args, struct xclient *io, struct smtp_refusal *ret_why)
{
	char *copy = xstrndup(args, strlen(args)); /* of its own, so that a sanitizer sees a byte too many */
	bool good = xclient_parse((struct str) { copy, strlen(args) }, SMTP_XCLIENT_ATTRS, io, ret_why);

	free(copy);
	return good;
}

static struct xclient parsed(const char *args)
{
	struct xclient x = { 0 };
	struct smtp_refusal why;

	assert_true(parse(args, &x, &why));
	return x;
}

static void assert_ip(const struct addr *a, const char *want)
{
	char text[ADDR_TEXT_MAX];

	assert_string_equal(addr_format_ip(a, text), want);
}

/* ---- server ---- */

static void every_attribute_is_read(void **state)
{
	struct xclient x = parsed("NAME=mx_1.Example.test. ADDR=192.0.2.7 PORT=4711 PROTO=ESMTP HELO=[192.0.2.7] "
				  "LOGIN=j+C3+BCrgen+3D+2B DESTADDR=IPV6:2001:db8::25 DESTPORT=587");

	UNUSED(state);
	assert_int_equal(x.given, SMTP_XCLIENT_ATTRS);
	assert_int_equal(x.unavailable, 0);
	assert_string_equal(x.name, "mx_1.Example.test.");
	assert_ip(&x.addr, "192.0.2.7");
	assert_ip(&x.destaddr, "2001:db8::25");
	assert_int_equal(x.port, 4711);
	assert_int_equal(x.destport, 587);
	assert_true(x.esmtp);
	assert_string_equal(x.helo, "[192.0.2.7]");
	assert_string_equal(x.login, "j\xc3\xbcrgen=+");
}

static void case_does_not_matter_where_names_and_words_are(void **state)
{
	struct xclient x =
		parsed("nAmE=[unAvailable] addr=ipv6:::FFFF:192.0.2.7 proto=smtp helo=[TempUnavail]  login=Bob");

	UNUSED(state);
	assert_int_equal(x.given, SMTP_XATTR_ADDR | SMTP_XATTR_PROTO | SMTP_XATTR_LOGIN);
	assert_int_equal(x.unavailable, SMTP_XATTR_NAME | SMTP_XATTR_HELO);
	assert_int_equal(x.tempunavail, SMTP_XATTR_HELO);
	assert_ip(&x.addr, "192.0.2.7");
	assert_false(x.esmtp);
	assert_string_equal(x.login, "Bob");
}

static void brackets_may_be_escaped_like_anything(void **state)
{
	UNUSED(state);
	assert_int_equal(parsed("NAME=+5BUNAVAILABLE+5d").unavailable, SMTP_XATTR_NAME);
	assert_string_equal(parsed("HELO=+61+2eb").helo, "a.b");
}

static void later_commands_add_to_earlier_ones(void **state)
{
	struct xclient x = parsed("HELO=a.test LOGIN=bob PORT=5");
	struct smtp_refusal why;

	UNUSED(state);
	assert_true(parse("LOGIN=[UNAVAILABLE] NAME=n.test", &x, &why));
	assert_int_equal(x.given, SMTP_XATTR_HELO | SMTP_XATTR_PORT | SMTP_XATTR_NAME);
	assert_int_equal(x.unavailable, SMTP_XATTR_LOGIN);
	assert_string_equal(x.login, "");
	assert_true(parse("LOGIN=eve", &x, &why));
	assert_int_equal(x.unavailable, 0);
	assert_string_equal(x.login, "eve");
	assert_string_equal(x.helo, "a.test");
}

static void what_is_malformed_is_refused_and_changes_nothing(void **state)
{
	static const char *const rows[] = {
		"",
		"  ",
		"NAME",
		"=x",
		"NAME=",
		"FOO=x",
		"SOURCE=REMOTE",
		"NAME=a NAME=a",
		"NAME=a name=b",
		"NAME=a,b",
		"NAME=a..b",
		"NAME=a+20b",
		"NAME=a+0D+0AMAIL",
		"NAME=a+00",
		"NAME=a+",
		"NAME=a+4",
		"NAME=a+4G",
		"NAME=a=b",
		"NAME=\xc3\xbc",
		"NAME=+C3+BC.test",
		"ADDR=192.0.2",
		"ADDR=192.0.2.1+00",
		"ADDR=[192.0.2.1]",
		"ADDR=2001:db8::1",
		"ADDR=IPV6:192.0.2.1",
		"ADDR=IPV6:",
		"ADDR=IPV6:fe80::1%lo",
		"ADDR=0000000000000000000000000000000000000000000000000000000000000000000000000001",
		"PORT=0",
		"PORT=65536",
		"PORT=-1",
		"PORT=99999999999999999999999",
		"PROTO=LMTP",
		"PROTO=",
		"HELO=a+20b",
		"HELO=a(b",
		"LOGIN=a+20b",
		"LOGIN=a+0Ab",
		"LOGIN=+FF",
		"DESTADDR=x",
		"DESTPORT=x",
		"ADDR=1.2.3.4PORT=39074", /* as Dovecot once wrote it */
		"HELO=ok.test PORT=x",
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct xclient x = parsed("NAME=keep.test ADDR=192.0.2.9"), before = x;
		struct smtp_refusal why = { 0 };
		assert_false(parse(rows[i], &x, &why));
		assert_int_equal(why.code, 501);
		assert_string_equal(why.enhanced, "5.5.4");
		assert_non_null(why.text);
		assert_memory_equal(&x, &before, sizeof(x));
	}
}

static void what_was_not_announced_is_unknown(void **state)
{
	struct xclient x = { 0 };
	struct smtp_refusal why;

	UNUSED(state);
	assert_true(xclient_parse(STR("ADDR=192.0.2.1"), SMTP_XATTR_ADDR, &x, &why));
	assert_false(xclient_parse(STR("LOGIN=root"), SMTP_XATTR_ADDR, &x, &why));
	assert_false(xclient_parse(STR("ADDR=192.0.2.1"), 0, &x, &why));
	assert_false(xclient_parse(STR("SOURCE=LOCAL"), ~0u, &x, &why));
}

static void values_have_255_bytes_at_most(void **state)
{
	char args[5 + 256 + 1] = "HELO=";
	struct xclient x = { 0 };
	struct smtp_refusal why;

	UNUSED(state);
	memset(args + 5, 'a', 255);
	assert_true(parse(args, &x, &why));
	assert_int_equal(strlen(x.helo), 255);
	args[5 + 255] = 'a';
	assert_false(parse(args, &x, &why));
}

static void the_ends_are_what_was_said_over_what_is(void **state)
{
	static const struct {
		const char *args, *src, *dst;
	} rows[] = {
		{ "HELO=x.test", "192.0.2.1:1000", "192.0.2.2:25" },
		{ "ADDR=198.51.100.7", "198.51.100.7:0", "192.0.2.2:25" },
		{ "PORT=7 ADDR=198.51.100.7", "198.51.100.7:7", "192.0.2.2:25" },
		{ "ADDR=IPV6:2001:db8::7 PORT=7", "[2001:db8::7]:7", "192.0.2.2:25" },
		{ "PORT=7", "192.0.2.1:7", "192.0.2.2:25" },
		{ "PORT=[UNAVAILABLE]", "192.0.2.1:0", "192.0.2.2:25" },
		{ "DESTADDR=198.51.100.8 DESTPORT=8", "192.0.2.1:1000", "198.51.100.8:8" },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct xclient x = parsed(rows[i].args);
		struct addr src, dst;
		char text[ADDR_TEXT_MAX];
		assert_true(addr_parse("192.0.2.1:1000", 0, &src) && addr_parse("192.0.2.2:25", 0, &dst));
		xclient_ends(&x, &src, &dst);
		assert_string_equal(addr_format(&src, text), rows[i].src);
		assert_string_equal(addr_format(&dst, text), rows[i].dst);
	}
}

static void an_unavailable_address_is_in_no_network(void **state)
{
	struct xclient x = parsed("ADDR=[UNAVAILABLE] PORT=5");
	struct addr src, dst;
	struct cidr all;
	const char *why;

	UNUSED(state);
	assert_true(addr_parse("192.0.2.1:1000", 0, &src) && addr_parse("192.0.2.2:25", 0, &dst));
	xclient_ends(&x, &src, &dst);
	assert_int_equal(src.sa.sa_family, 0);
	assert_true(cidr_parse("0.0.0.0/0", &all, &why));
	assert_false(cidr_match(&all, &src));
}

static void what_is_announced_is_named(void **state)
{
	char out[XCLIENT_KEYWORD_MAX];

	UNUSED(state);
	assert_int_equal(xclient_announce(~0u, out),
			 strlen("XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"));
	assert_string_equal(out, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT");
	xclient_announce(SMTP_XATTR_ADDR | SMTP_XATTR_SOURCE, out);
	assert_string_equal(out, "XCLIENT ADDR");
}

/* ---- client ---- */

static struct xclient_client client_of(const char *src, const char *dst)
{
	struct xclient_client c = { .esmtp = true, .helo = STR("client.test"), .name = STR("ptr.test") };

	assert_true(src == NULL || addr_parse(src, 0, &c.src));
	assert_true(dst == NULL || addr_parse(dst, 0, &c.dst));
	return c;
}

static void assert_commands(unsigned attrs, const struct xclient_client *c, bool forward, const char *want)
{
	struct sbuf out = { 0 };
	unsigned lines = 0, count = forward ? xforward_commands(&out, attrs, c) : xclient_commands(&out, attrs, c);

	for (size_t i = 0; i < out.n; i++)
		lines += out.p[i] == '\n';
	assert_int_equal(count, lines);
	assert_string_equal(out.p != NULL ? out.p : "", want);
	sbuf_fini(&out);
}

static void commands_tell_what_is_wanted_and_no_more(void **state)
{
	struct xclient_client c = client_of("192.0.2.7:4711", "[2001:db8::25]:25");

	UNUSED(state);
	c.login = STR("bob");
	c.ident = STR("n1-42");
	assert_commands(
		~0u, &c, false,
		"XCLIENT PORT=4711 PROTO=ESMTP HELO=client.test LOGIN=bob DESTADDR=IPV6:2001:db8::25 DESTPORT=25 "
		"NAME=ptr.test ADDR=192.0.2.7\r\n");
	assert_commands(~0u, &c, true,
			"XFORWARD PORT=4711 PROTO=ESMTP HELO=client.test SOURCE=REMOTE IDENT=n1-42 NAME=ptr.test "
			"ADDR=192.0.2.7\r\n");
	assert_commands(SMTP_XATTR_ADDR | SMTP_XATTR_OFFERED, &c, false, "XCLIENT ADDR=192.0.2.7\r\n");
	assert_commands(SMTP_XATTR_LOGIN, &c, false, "XCLIENT LOGIN=bob\r\n");
	assert_commands(SMTP_XATTR_LOGIN, &c, true, "");
	assert_commands(SMTP_XATTR_SOURCE, &c, false, "");
	assert_commands(SMTP_XATTR_OFFERED, &c, false, "");
	c.local = true;
	c.esmtp = false;
	assert_commands(SMTP_XATTR_SOURCE | SMTP_XATTR_PROTO, &c, true, "XFORWARD PROTO=SMTP SOURCE=LOCAL\r\n");
}

static void what_is_not_known_is_unavailable(void **state)
{
	struct xclient_client c = { 0 };

	UNUSED(state);
	assert_commands(~0u, &c, false,
			"XCLIENT PORT=[UNAVAILABLE] PROTO=SMTP HELO=[UNAVAILABLE] DESTADDR=[UNAVAILABLE] "
			"DESTPORT=[UNAVAILABLE] NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]\r\n");
	c.name_tempfail = true;
	assert_commands(SMTP_XATTR_NAME, &c, false, "XCLIENT NAME=[TEMPUNAVAIL]\r\n");
	assert_true(addr_parse("[::ffff:192.0.2.7]:9", 0, &c.src));
	assert_commands(SMTP_XATTR_ADDR | SMTP_XATTR_PORT, &c, false, "XCLIENT PORT=9 ADDR=192.0.2.7\r\n");
}

/* CVE-2026-28753: the owner of an address decides what its name in DNS is. */
static void no_value_can_end_an_attribute_or_a_line(void **state)
{
	static const struct str evil[] = { STR("a.test ADDR=10.0.0.1"),
					   STR("a\r\nMAIL FROM:<x@y>"),
					   STR("a=b"),
					   STR("a+b"),
					   STR("\xc3\xbc.test"),
					   STR("a\tb"),
					   STR("a\0b"),
					   STR("."),
					   STR("a..b") };
	struct xclient_client c = client_of("192.0.2.7:4711", NULL);

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(evil); i++) {
		c.name = evil[i];
		assert_commands(SMTP_XATTR_NAME | SMTP_XATTR_ADDR, &c, false,
				"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7\r\n");
	}
	c.login = STR("a b\r\nc=d+\xc3\xbc\x7f");
	c.helo = STR("h x");
	assert_commands(SMTP_XATTR_LOGIN | SMTP_XATTR_HELO, &c, false,
			"XCLIENT HELO=h+20x LOGIN=a+20b+0D+0Ac+3Dd+2B+C3+BC+7F\r\n");
}

/* Whatever is told: lines within the limit, NAME and ADDR in the last, and a server reads what was meant. */
static void assert_understood(const struct xclient_client *c, unsigned want_lines)
{
	struct sbuf out = { 0 };
	struct xclient x = { 0 };
	struct smtp_refusal why;
	unsigned count = xclient_commands(&out, SMTP_XCLIENT_ATTRS, c), line = 0;
	size_t len;

	assert_int_equal(count, want_lines);
	for (struct str rest = { out.p, out.n }, text; rest.n > 0; rest = (struct str) { rest.p + len, rest.n - len }) {
		assert_int_equal(smtp_line(rest.p, rest.n, XCLIENT_LINE_MAX, &len, &text), SMTP_LINE_OK);
		bool last = ++line == count;
		assert_true((memmem(text.p, text.n, " NAME=", 6) != NULL) == last);
		assert_true((memmem(text.p, text.n, " ADDR=", 6) != NULL) == last);
		assert_memory_equal(text.p, "XCLIENT ", 8);
		assert_true(xclient_parse((struct str) { text.p + 8, text.n - 8 }, SMTP_XCLIENT_ATTRS, &x, &why));
	}
	assert_int_equal(line, count);
	assert_true(str_eq(str_from(x.name), c->name) && str_eq(str_from(x.helo), c->helo));
	assert_true(str_eq(str_from(x.login), c->login) && x.esmtp == c->esmtp && x.port == addr_port(&c->src));
	assert_true(addr_eq_ip(&x.addr, &c->src) && addr_eq_ip(&x.destaddr, &c->dst));
	sbuf_fini(&out);
}

static void long_values_are_spread_over_commands(void **state)
{
	struct xclient_client c = client_of("[2001:db8::7]:65535", "[2001:db8::25]:25");
	char name[255], plain[255], plus[160];

	UNUSED(state);
	memset(name, 'n', sizeof(name));
	for (size_t i = 60; i < sizeof(name); i += 60)
		name[i] = '.';
	memset(plain, 'h', sizeof(plain));
	memset(plus, '+', sizeof(plus));
	assert_understood(&c, 1);
	for (size_t n = 1; n <= sizeof(name); n++) {
		struct sbuf out = { 0 };
		c.name = (struct str) { name, name[n - 1] == '.' ? n - 1 : n };
		c.helo = (struct str) { plain, n };
		c.login = (struct str) { plain, n };
		unsigned lines = xclient_commands(&out, SMTP_XCLIENT_ATTRS, &c);
		sbuf_fini(&out);
		assert_understood(&c, lines);
	}
	assert_understood(&c, 3);
	c.helo = c.login = (struct str) { plus, sizeof(plus) };
	assert_understood(&c, 4);
}

static void what_no_line_can_hold_is_not_cut(void **state)
{
	struct xclient_client c = client_of("192.0.2.7:1", NULL);
	char plus[256];

	UNUSED(state);
	memset(plus, '+', sizeof(plus));
	c.helo = c.login = c.ident = (struct str) { plus, 255 };
	assert_commands(SMTP_XATTR_HELO | SMTP_XATTR_LOGIN, &c, false, "XCLIENT HELO=[UNAVAILABLE]\r\n");
	assert_commands(SMTP_XATTR_IDENT, &c, true, "");
	memset(plus, 'a', sizeof(plus));
	c.helo = c.login = c.name = (struct str) { plus, 256 };
	assert_commands(SMTP_XATTR_HELO | SMTP_XATTR_LOGIN | SMTP_XATTR_NAME, &c, false,
			"XCLIENT HELO=[UNAVAILABLE] NAME=[UNAVAILABLE]\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_attribute_is_read),
		cmocka_unit_test(case_does_not_matter_where_names_and_words_are),
		cmocka_unit_test(brackets_may_be_escaped_like_anything),
		cmocka_unit_test(later_commands_add_to_earlier_ones),
		cmocka_unit_test(what_is_malformed_is_refused_and_changes_nothing),
		cmocka_unit_test(what_was_not_announced_is_unknown),
		cmocka_unit_test(values_have_255_bytes_at_most),
		cmocka_unit_test(the_ends_are_what_was_said_over_what_is),
		cmocka_unit_test(an_unavailable_address_is_in_no_network),
		cmocka_unit_test(what_is_announced_is_named),
		cmocka_unit_test(commands_tell_what_is_wanted_and_no_more),
		cmocka_unit_test(what_is_not_known_is_unavailable),
		cmocka_unit_test(no_value_can_end_an_attribute_or_a_line),
		cmocka_unit_test(long_values_are_spread_over_commands),
		cmocka_unit_test(what_no_line_can_hold_is_not_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Addresses and networks, by table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/base/addr.h"

static void addresses_parse_and_print(void **state)
{
	UNUSED(state);
	static const struct {
		const char *in;
		unsigned default_port;
		const char *want; /* NULL = refused */
	} cases[] = {
		{ "192.0.2.1:25", 0, "192.0.2.1:25" },
		{ "192.0.2.1:25", 587, "192.0.2.1:25" },
		{ "192.0.2.1", 25, "192.0.2.1:25" },
		{ "[2001:db8::1]:25", 0, "[2001:db8::1]:25" },
		{ "[2001:db8::1]", 25, "[2001:db8::1]:25" },
		{ "2001:db8::1", 25, "[2001:db8::1]:25" },
		{ "2001:DB8:0:0::1", 25, "[2001:db8::1]:25" },
		{ "[::]:65535", 0, "[::]:65535" },
		{ "192.0.2.1", 0, NULL },
		{ "2001:db8::1", 0, NULL },
		{ "192.0.2.1:", 25, NULL },
		{ "192.0.2.1:0", 25, NULL },
		{ "192.0.2.1:65536", 25, NULL },
		{ "192.0.2.1:99999999999999999999", 25, NULL },
		{ "192.0.2.1:+25", 25, NULL },
		{ "192.0.2.1: 25", 25, NULL },
		{ "192.0.2.1:25 ", 25, NULL },
		{ "192.0.2.1:2x", 25, NULL },
		{ "192.0.2.256:25", 0, NULL },
		{ "192.0.2:25", 0, NULL },
		{ "192.0.2.01:25", 0, NULL },
		{ "[192.0.2.1]:25", 0, NULL },
		{ "[2001:db8::1]25", 0, NULL },
		{ "[2001:db8::1", 25, NULL },
		{ "[]:25", 0, NULL },
		{ ":25", 0, NULL },
		{ "", 25, NULL },
		{ "fe80::1%eth0", 25, NULL },
		{ "localhost:25", 0, NULL },
		{ "1111111111111111111111111111111111111111111111111111111111111111111111:25", 0, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct addr a;
		char text[ADDR_TEXT_MAX];
		bool ok = addr_parse(cases[i].in, cases[i].default_port, &a);
		if (ok != (cases[i].want != NULL))
			print_error("for \"%s\"\n", cases[i].in);
		assert_int_equal(ok, cases[i].want != NULL);
		if (ok)
			assert_string_equal(addr_format(&a, text), cases[i].want);
	}
}

static void a_refused_address_leaves_the_result_alone(void **state)
{
	UNUSED(state);
	struct addr a, b;

	assert_true(addr_parse("192.0.2.1:25", 0, &a));
	b = a;
	assert_false(addr_parse("192.0.2.9:x", 0, &a));
	assert_false(addr_parse_ip("192.0.2.9:25", &a));
	assert_true(addr_eq(&a, &b));
}

static void equality_knows_family_address_and_port(void **state)
{
	UNUSED(state);
	struct addr a, b, c, d;
	char text[ADDR_TEXT_MAX];

	assert_true(addr_parse("192.0.2.1:25", 0, &a) && addr_parse("192.0.2.1:26", 0, &b));
	assert_true(addr_parse("[::c000:201]:25", 0, &c) && addr_parse("192.0.2.2:25", 0, &d));
	assert_false(addr_eq(&a, &b));
	assert_true(addr_eq_ip(&a, &b));
	assert_false(addr_eq_ip(&a, &c));
	assert_false(addr_eq_ip(&a, &d));
	assert_string_equal(addr_format_ip(&a, text), "192.0.2.1");
	assert_int_equal(addr_len(&a), sizeof(struct sockaddr_in));
	assert_int_equal(addr_len(&c), sizeof(struct sockaddr_in6));
}

static void mapped_addresses_become_plain_ipv4(void **state)
{
	UNUSED(state);
	static const struct {
		const char *in, *want;
	} cases[] = {
		{ "[::ffff:192.0.2.1]:25", "192.0.2.1:25" },
		{ "[::192.0.2.1]:25", "[::192.0.2.1]:25" },
		{ "[2001:db8::1]:25", "[2001:db8::1]:25" },
		{ "192.0.2.1:25", "192.0.2.1:25" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct addr a;
		char text[ADDR_TEXT_MAX];
		assert_true(addr_parse(cases[i].in, 0, &a));
		addr_unmap(&a);
		assert_string_equal(addr_format(&a, text), cases[i].want);
	}
}

static void loopback_and_any_are_known(void **state)
{
	UNUSED(state);
	static const struct {
		const char *in;
		bool loopback, any;
	} cases[] = {
		{ "127.0.0.1", true, false }, { "127.255.0.9", true, false }, { "128.0.0.1", false, false },
		{ "::1", true, false },       { "::2", false, false },        { "0.0.0.0", false, true },
		{ "::", false, true },        { "0.0.0.1", false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct addr a;
		assert_true(addr_parse_ip(cases[i].in, &a));
		assert_int_equal(addr_is_loopback(&a), cases[i].loopback);
		assert_int_equal(addr_is_any(&a), cases[i].any);
	}
}

static void networks_parse_or_say_why_not(void **state)
{
	UNUSED(state);
	static const char no_address[] = "not an IP address or network", range[] = "the prefix length is out of range",
			  behind[] = "bits are set behind the prefix";
	static const struct {
		const char *in, *why;
	} cases[] = {
		{ "10.0.0.0/8", NULL },     { "0.0.0.0/0", NULL },        { "::/0", NULL },
		{ "192.0.2.1", NULL },      { "192.0.2.1/32", NULL },     { "2001:db8::/32", NULL },
		{ "2001:db8::1", NULL },    { "192.0.2.128/25", NULL },   { "10.0.0.1/8", behind },
		{ "0.0.0.1/0", behind },    { "2001:db8::1/32", behind }, { "192.0.2.129/25", behind },
		{ "10.0.0.0/33", range },   { "10.0.0.0/", range },       { "10.0.0.0/-1", range },
		{ "10.0.0.0/8x", range },   { "::/129", range },          { "10.0.0.0/8/8", range },
		{ "10.0.0/8", no_address }, { "/8", no_address },         { "", no_address },
		{ "net/8", no_address },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cidr c;
		const char *why = NULL;
		bool ok = cidr_parse(cases[i].in, &c, &why);
		assert_int_equal(ok, cases[i].why == NULL);
		if (!ok)
			assert_string_equal(why, cases[i].why);
	}
}

static void networks_match_at_every_prefix_length(void **state)
{
	UNUSED(state);
	static const struct {
		const char *net, *inside, *outside;
	} cases[] = {
		{ "10.0.0.0/8", "10.255.255.255", "11.0.0.0" },
		{ "192.0.2.128/25", "192.0.2.255", "192.0.2.127" },
		{ "192.0.2.4/30", "192.0.2.7", "192.0.2.8" },
		{ "192.0.2.1/32", "192.0.2.1", "192.0.2.0" },
		{ "0.0.0.0/0", "255.255.255.255", "::" },
		{ "::/0", "ffff::1", "0.0.0.0" },
		{ "2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::" },
		{ "::1/128", "::1", "::" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cidr c;
		struct addr in, out;
		const char *why;
		assert_true(cidr_parse(cases[i].net, &c, &why));
		assert_true(addr_parse_ip(cases[i].inside, &in) && addr_parse_ip(cases[i].outside, &out));
		assert_true(cidr_match(&c, &in));
		assert_false(cidr_match(&c, &out));
		assert_true(cidr_match_any(&c, 1, &in));
		assert_false(cidr_match_any(&c, 0, &in));
	}
}

static void masking_makes_clients_of_one_network_equal(void **state)
{
	UNUSED(state);
	struct addr a, b;
	char text[ADDR_TEXT_MAX];

	assert_true(addr_parse("[2001:db8:1:2:3::4]:25", 0, &a) && addr_parse("[2001:db8:1:2::]:99", 0, &b));
	addr_mask(&a, 64);
	addr_mask(&b, 64);
	assert_true(addr_eq(&a, &b));
	assert_string_equal(addr_format(&a, text), "[2001:db8:1:2::]:0");
	assert_true(addr_parse("192.0.2.77:25", 0, &a));
	addr_mask(&a, 0);
	assert_string_equal(addr_format(&a, text), "0.0.0.0:0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_parse_and_print),
		cmocka_unit_test(a_refused_address_leaves_the_result_alone),
		cmocka_unit_test(equality_knows_family_address_and_port),
		cmocka_unit_test(mapped_addresses_become_plain_ipv4),
		cmocka_unit_test(loopback_and_any_are_known),
		cmocka_unit_test(networks_parse_or_say_why_not),
		cmocka_unit_test(networks_match_at_every_prefix_length),
		cmocka_unit_test(masking_makes_clients_of_one_network_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

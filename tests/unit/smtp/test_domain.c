/* SPDX-License-Identifier: Apache-2.0
 * Folding of domains, and what a client may call itself.
 */
#include "daemon/smtp/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TEN "0123456789"
#define LABEL_63 TEN TEN TEN TEN TEN TEN "123"

struct row {
	const char *in, *want; /* NULL = not a domain */
};

static const struct row rows[] = {
	{ "Example.COM", "example.com" },
	{ "example.com.", "example.com" },
	{ "EXAMPLE.com..", NULL },
	{ "a_b.Example", "a_b.example" },
	{ "localhost", "localhost" },
	{ "1.2.3.4", "1.2.3.4" },
	{ "xn--BCHER-kva.example", "xn--bcher-kva.example" },
	{ "b\xc3\xbc"
	  "cher.example",
	  "xn--bcher-kva.example" },
	{ "B\xc3\x9c"
	  "CHER.Example.",
	  "xn--bcher-kva.example" },
	{ "bu\xcc\x88"
	  "cher.example",
	  "xn--bcher-kva.example" },                    /* u and a combining diaeresis */
	{ "fa\xc3\x9f.example", "xn--fa-hia.example" }, /* non-transitional: not fass */
	{ "b\xc3\xbc"
	  "cher\xe3\x80\x82"
	  "example",
	  "xn--bcher-kva.example" }, /* ideographic full stop */
	{ "a\xef\xbc\xa0"
	  "b.example",
	  NULL }, /* full-width @ */
	{ "[192.0.2.1]", "[192.0.2.1]" },
	{ "[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]" },
	{ "[192.0.2.1", NULL },
	{ "[]", NULL },
	{ "[a b]", NULL },
	{ "", NULL },
	{ ".", NULL },
	{ ".a", NULL },
	{ "a..b", NULL },
	{ "a b", NULL },
	{ "a@b", NULL },
	{ "a/b", NULL },
	{ "\xff.example", NULL },
	{ LABEL_63 ".example", LABEL_63 ".example" },
	{ "x" LABEL_63 ".example", NULL },
	{ LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63, LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63 },
	{ LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63 ".a", NULL },
};

static void domains_fold_to_lower_case_a_labels(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char out[SMTP_DOMAIN_MAX + 1] = "";
		bool folded = smtp_domain_fold(str_from(rows[i].in), out);
		if (folded != (rows[i].want != NULL) || (folded && strcmp(out, rows[i].want) != 0))
			fail_msg("%s: got %s", rows[i].in, folded ? out : "nothing");
	}
}

static void folding_twice_is_folding_once(void **state)
{
	char once[SMTP_DOMAIN_MAX + 1], twice[SMTP_DOMAIN_MAX + 1];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].want == NULL)
			continue;
		assert_true(smtp_domain_fold(str_from(rows[i].in), once));
		assert_true(smtp_domain_fold(str_from(once), twice));
		assert_string_equal(once, twice);
	}
}

static void a_domain_with_a_nul_is_none(void **state)
{
	char out[SMTP_DOMAIN_MAX + 1];

	UNUSED(state);
	assert_false(smtp_domain_fold(STR("a\0b"), out));
	assert_false(smtp_domain_fold(STR("\xc3\xbc\0b"), out));
}

static void names_in_helo_are_taken_leniently_but_for_what_a_header_would_have_to_escape(void **state)
{
	static const char *const good[] = { "mail.example.com",   "WIN_PC-1", "[192.0.2.1]",
					    "[IPv6:2001:db8::1]", "a.",       "::1" };
	static const char *const bad[] = { "",    "a b", "a\tb",  "a\x01", "(a)",      "a\"b",  "a<b>",
					   "a;b", "a,b", "a@b",   "a\\b",  "\xc3\xbc", "a\x7f", "[",
					   "[]",  "[a",  "[a(b]", "[a]b",  "a\r",      "a=b" };
	char long_name[SMTP_DOMAIN_MAX + 2];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!smtp_helo_valid(str_from(good[i])))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (smtp_helo_valid(str_from(bad[i])))
			fail_msg("accepted: %s", bad[i]);
	assert_false(smtp_helo_valid(STR("a\0b")));
	memset(long_name, 'a', sizeof(long_name));
	assert_true(smtp_helo_valid((struct str) { long_name, SMTP_DOMAIN_MAX }));
	assert_false(smtp_helo_valid((struct str) { long_name, SMTP_DOMAIN_MAX + 1 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(domains_fold_to_lower_case_a_labels),
		cmocka_unit_test(folding_twice_is_folding_once),
		cmocka_unit_test(a_domain_with_a_nul_is_none),
		cmocka_unit_test(names_in_helo_are_taken_leniently_but_for_what_a_header_would_have_to_escape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

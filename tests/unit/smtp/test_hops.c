/* SPDX-License-Identifier: Apache-2.0
 * Counting Received fields, and xtext.
 */
#include "daemon/smtp/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- hops ---- */

static const struct {
	const char *in;
	unsigned want;
} hops_rows[] = {
	{ "", 0 },
	{ "Received: a\r\n", 1 },
	{ "RECEIVED:a\r\nreceived : b\r\nReceived\t:\r\n\r\n", 3 },
	{ "Received: a\r\n\r\nReceived: b\r\n", 1 },
	{ "\r\nReceived: b\r\n", 0 },
	{ "\nReceived: b\n", 0 },
	{ "\n\nReceived: b\n", 0 },
	{ "R\nReceived: yes\nReceived\nReceived: yes\n", 2 },
	{ "Subject: Received: no\r\n Received: folded\r\nReceived: yes\r\n", 1 },
	{ "Received-SPF: no\r\nReceive: no\r\nReceivedd: no\r\nX-Received: no\r\n", 0 },
	{ "Received\r\n: no\r\nRec\r\nReceived x: no\r\n", 0 },
	{ "RecReceived: no\r\nR\r\n\r\nReceived: body\r\n", 0 },
	{ "\rReceived: no\r\nReceived: yes\r\n", 1 },
};

static void received_fields_of_the_header_are_counted_in_any_split(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(hops_rows); i++) {
		const char *in = hops_rows[i].in;
		size_t n = strlen(in);
		struct smtp_hops trickle = { 0 };
		for (size_t cut = 0; cut <= n; cut++) {
			struct smtp_hops h = { 0 };
			smtp_hops_feed(&h, in, cut);
			smtp_hops_feed(&h, in + cut, n - cut);
			if (h.count != hops_rows[i].want)
				fail_msg("%s cut at %zu: %u", in, cut, h.count);
		}
		for (size_t k = 0; k < n; k++)
			smtp_hops_feed(&trickle, in + k, 1);
		assert_int_equal(trickle.count, hops_rows[i].want);
	}
}

/* ---- xtext ---- */

static int hex(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

static void every_byte_survives_xtext(void **state)
{
	char all[256], back[256];
	struct sbuf b = { 0 };
	size_t n = 0;

	UNUSED(state);
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	smtp_xtext_encode(&b, (struct str) { all, sizeof(all) });
	assert_true(smtp_xtext_valid((struct str) { b.p, b.n }));
	for (size_t i = 0; i < b.n; i++) {
		assert_true(b.p[i] > ' ' && b.p[i] < 0x7f && b.p[i] != '=');
		assert_true(n < sizeof(back));
		back[n++] = b.p[i] == '+' ? (char)(hex(b.p[i + 1]) * 16 + hex(b.p[i + 2])) : b.p[i];
		i += b.p[i] == '+' ? 2 : 0;
	}
	assert_int_equal(n, sizeof(all));
	assert_memory_equal(all, back, sizeof(all));
	sbuf_fini(&b);
}

static void what_no_encoder_writes_is_not_xtext(void **state)
{
	static const char *const bad[] = { "+", "a+2", "a+2b", "+zz", "a=b", "a b", "\x7f", "\xc3\xbc", "+2G" };
	static const char *const good[] = { "", "abc", "+2B", "a+3Db", "<a@b>" };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (smtp_xtext_valid(str_from(bad[i])))
			fail_msg("accepted: %s", bad[i]);
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!smtp_xtext_valid(str_from(good[i])))
			fail_msg("refused: %s", good[i]);
	struct sbuf b = { 0 };
	smtp_xtext_encode(&b, STR("a+b=c d"));
	assert_string_equal(b.p, "a+2Bb+3Dc+20d");
	sbuf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(received_fields_of_the_header_are_counted_in_any_split),
		cmocka_unit_test(every_byte_survives_xtext),
		cmocka_unit_test(what_no_encoder_writes_is_not_xtext),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

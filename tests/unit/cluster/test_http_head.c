/* SPDX-License-Identifier: Apache-2.0
 * Promises of heads between nodes: whole or cut they mean the same, and what has two readings means nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/cluster/http_head.h"

static void what_is_written_is_read(void **state)
{
	struct sbuf out = { 0 };
	struct http_head h;

	UNUSED(state);
	http_head_put_request(&out, "/join", 1234);
	size_t n = out.n;
	sbuf_puts(&out, "body");
	assert_int_equal(http_head_request((struct str) { out.p, out.n }, &h), n);
	assert_true(str_eq(h.path, STR("/join")) && h.length == 1234);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(http_head_request((struct str) { out.p, i }, &h), 0);
	assert_int_equal(http_head_answer((struct str) { out.p, out.n }, &h), -1);
	sbuf_reset(&out);
	http_head_put_answer(&out, 503, 0);
	assert_int_equal(http_head_answer((struct str) { out.p, out.n }, &h), out.n);
	assert_true(h.status == 503 && h.length == 0);
	for (size_t i = 0; i < out.n; i++)
		assert_int_equal(http_head_answer((struct str) { out.p, i }, &h), 0);
	sbuf_fini(&out);
}

static void what_has_two_readings_means_nothing(void **state)
{
	static const char *const bad[] = {
		"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		"POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
		"POST x HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		"POST /a b HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		"POST / HTTP/1.1\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 1 \r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length : 1\r\n\r\n",
		"POST / HTTP/1.1\r\nA: b\r\n c: d\r\nContent-Length: 1\r\n\r\n",
		"POST / HTTP/1.1\r\nA: b\nContent-Length: 1\r\n\r\n",
		"POST / HTTP/1.1\r\nno colon\r\nContent-Length: 1\r\n\r\n",
	};
	struct http_head h;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (http_head_request(str_from(bad[i]), &h) != -1)
			fail_msg("taken: %s", bad[i]);
}

static void a_head_that_does_not_end_is_none(void **state)
{
	char text[HTTP_HEAD_MAX + 1];
	struct http_head h;

	UNUSED(state);
	memset(text, 'a', sizeof(text));
	memcpy(text, "POST / HTTP/1.1\r\nx: ", 20);
	assert_int_equal(http_head_request((struct str) { text, HTTP_HEAD_MAX - 1 }, &h), 0);
	assert_int_equal(http_head_request((struct str) { text, HTTP_HEAD_MAX }, &h), -1);
	assert_int_equal(http_head_request((struct str) { text, sizeof(text) }, &h), -1);
	/* Too many lines. */
	struct sbuf many = { 0 };
	sbuf_puts(&many, "POST / HTTP/1.1\r\n");
	for (int i = 0; i <= HTTP_HEAD_LINES_MAX; i++)
		sbuf_puts(&many, "a: b\r\n");
	sbuf_puts(&many, "Content-Length: 0\r\n\r\n");
	assert_int_equal(http_head_request((struct str) { many.p, many.n }, &h), -1);
	sbuf_fini(&many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(what_has_two_readings_means_nothing),
		cmocka_unit_test(a_head_that_does_not_end_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

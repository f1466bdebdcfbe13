/* SPDX-License-Identifier: Apache-2.0
 * Entries as bytes: there and back, and nothing else is taken for one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "cluster/core/entry.h"

static struct entry sample(void)
{
	struct entry e = { .epoch = 1,
			   .position = 0x0102030405060708,
			   .revision = 7,
			   .kind = ENTRY_CONFIG,
			   .wall = 1795304327.25,
			   .operation = "op-1",
			   .author = "local:0",
			   .node = "n1",
			   .comment = "",
			   .idempotency_key = "key",
			   .document = STR("{\"version\":1}") };

	memset(e.previous, 0xaa, sizeof(e.previous));
	memset(e.request_hash, 0xbb, sizeof(e.request_hash));
	return e;
}

static void an_entry_comes_back_as_it_was(void **state)
{
	UNUSED(state);
	struct entry e = sample(), back;
	struct sbuf b = { 0 };

	sbuf_puts(&b, "in front"); /* it appends */
	entry_encode(&e, &b);
	assert_true(entry_decode((struct str) { b.p + 8, b.n - 8 }, &back));
	assert_true(back.epoch == e.epoch && back.position == e.position && back.revision == e.revision);
	assert_true(back.kind == e.kind && back.wall == e.wall);
	assert_memory_equal(back.previous, e.previous, ENTRY_HASH_LEN);
	assert_memory_equal(back.hash, e.hash, ENTRY_HASH_LEN);
	assert_memory_equal(back.request_hash, e.request_hash, ENTRY_HASH_LEN);
	assert_string_equal(back.operation, e.operation);
	assert_string_equal(back.author, e.author);
	assert_string_equal(back.node, e.node);
	assert_string_equal(back.comment, e.comment);
	assert_string_equal(back.idempotency_key, e.idempotency_key);
	assert_true(str_eq(back.document, e.document));
	sbuf_fini(&b);
}

/* The format is on disks and, later, on wires: these bytes may only change together with the format's number. */
static void the_encoding_never_changes(void **state)
{
	UNUSED(state);
	static const uint8_t want[ENTRY_HASH_LEN] = { 0x5a, 0xac, 0x6b, 0x26, 0x8a, 0xa5, 0x30, 0x91, 0xfc, 0x81, 0x4e,
						      0xf2, 0x5d, 0x79, 0xe6, 0xe3, 0x90, 0x3b, 0x80, 0xfc, 0x97, 0x43,
						      0x6d, 0x15, 0xa3, 0xdf, 0xe4, 0x76, 0xf5, 0x12, 0xea, 0x3c };
	struct entry e = sample();
	struct sbuf b = { 0 };

	entry_encode(&e, &b);
	assert_memory_equal(e.hash, want, sizeof(want));
	assert_int_equal(b.n, 132 + 5 * 3 + 4 + 7 + 2 + 3 + 4 + 13);
	assert_memory_equal(b.p + 44, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
	sbuf_fini(&b);
}

static void every_field_is_under_the_hash(void **state)
{
	UNUSED(state);
	struct entry e = sample(), back;
	struct sbuf b = { 0 };

	entry_encode(&e, &b);
	for (size_t bit = 0; bit < b.n * 8; bit++) {
		b.p[bit / 8] = (char)(b.p[bit / 8] ^ 1 << bit % 8);
		assert_false(entry_decode((struct str) { b.p, b.n }, &back));
		b.p[bit / 8] = (char)(b.p[bit / 8] ^ 1 << bit % 8);
	}
	assert_true(entry_decode((struct str) { b.p, b.n }, &back));
	sbuf_fini(&b);
}

static void a_part_of_an_entry_is_none(void **state)
{
	UNUSED(state);
	struct entry e = sample(), back;
	struct sbuf b = { 0 };

	entry_encode(&e, &b);
	for (size_t n = 0; n < b.n; n++) {
		char *exact = xmalloc(n + 1); /* its own block, so that reading beyond it is seen */
		memcpy(exact, b.p, n);
		char *shrunk = xrealloc(exact, n == 0 ? 1 : n);
		assert_false(entry_decode((struct str) { shrunk, n }, &back));
		free(shrunk);
	}
	sbuf_putc(&b, '\0');
	assert_false(entry_decode((struct str) { b.p, b.n }, &back));
	sbuf_fini(&b);
}

static void what_does_not_fit_is_refused(void **state)
{
	UNUSED(state);
	char text[ENTRY_TEXT_MAX + 2];
	struct entry e = sample();

	memset(text, 'x', sizeof(text));
	text[ENTRY_TEXT_MAX] = '\0';
	e.comment = text;
	assert_true(entry_fits(&e));
	text[ENTRY_TEXT_MAX] = 'x';
	text[ENTRY_TEXT_MAX + 1] = '\0';
	assert_false(entry_fits(&e));
	e = sample();
	e.document.n = (size_t)ENTRY_DOCUMENT_MAX + 1;
	assert_false(entry_fits(&e));
	e = sample();
	e.kind = 0;
	assert_false(entry_fits(&e));
	e.kind = ENTRY_KIND_COUNT;
	assert_false(entry_fits(&e));
	e = sample();
	e.wall = NAN;
	assert_false(entry_fits(&e));
}

static void the_largest_texts_come_back(void **state)
{
	UNUSED(state);
	char text[ENTRY_TEXT_MAX + 1];
	struct entry e = sample(), back;
	struct sbuf b = { 0 };

	memset(text, 'x', sizeof(text));
	text[ENTRY_TEXT_MAX] = '\0';
	e.operation = e.author = e.node = e.comment = e.idempotency_key = text;
	e.document = STR("");
	entry_encode(&e, &b);
	assert_true(entry_decode((struct str) { b.p, b.n }, &back));
	assert_string_equal(back.idempotency_key, text);
	assert_int_equal(back.document.n, 0);
	sbuf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_comes_back_as_it_was), cmocka_unit_test(the_encoding_never_changes),
		cmocka_unit_test(every_field_is_under_the_hash), cmocka_unit_test(a_part_of_an_entry_is_none),
		cmocka_unit_test(what_does_not_fit_is_refused),  cmocka_unit_test(the_largest_texts_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

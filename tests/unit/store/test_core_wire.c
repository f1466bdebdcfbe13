/* SPDX-License-Identifier: Apache-2.0
 * Messages between nodes as bytes: there and back, and nothing else is taken for one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "cluster/core/core_private.h"

static struct wire_head head_of(enum wire_kind kind, size_t total)
{
	return (struct wire_head) { .kind = kind,
				    .flags = WIRE_FIRST | WIRE_LAST,
				    .view = { 0x0102030405060708, 9 },
				    .sender = 3,
				    .epoch = 0x1122334455667788,
				    .sequence = 77,
				    .total = (uint32_t)total };
}

static struct str frame(struct sbuf *out, struct str body)
{
	struct wire_head h = head_of(WIRE_ACK, body.n);

	wire_frame(out, &h, body);
	return (struct str) { out->p, out->n };
}

static void a_frame_comes_back_as_it_was(void **state)
{
	UNUSED(state);
	struct sbuf b = { 0 };
	struct wire_head h;
	struct str part;

	assert_true(wire_unframe(frame(&b, STR("body")), &h, &part));
	assert_true(h.kind == WIRE_ACK && h.flags == (WIRE_FIRST | WIRE_LAST) && h.view.ring == 0x0102030405060708);
	assert_true(h.view.lowest == 9 && h.sender == 3 && h.epoch == 0x1122334455667788 && h.sequence == 77);
	assert_true(str_eq(part, STR("body")));
	sbuf_fini(&b);
}

static void a_frame_cut_anywhere_is_none(void **state)
{
	UNUSED(state);
	struct sbuf b = { 0 };
	struct str whole = frame(&b, STR("body"));
	struct wire_head h;
	struct str part;

	for (size_t n = 0; n < whole.n; n++) {
		char *cut = xmalloc(n + 1); /* of its own, so that a read behind it is seen */
		memcpy(cut, whole.p, n);
		assert_false(wire_unframe((struct str) { cut, n }, &h, &part));
		free(cut);
	}
	sbuf_fini(&b);
}

static void a_frame_with_any_bit_flipped_is_none(void **state)
{
	UNUSED(state);
	struct sbuf b = { 0 };
	struct str whole = frame(&b, STR("body"));
	struct wire_head h;
	struct str part;

	for (size_t bit = 0; bit < 8 * whole.n; bit++) {
		b.p[bit / 8] ^= (char)(1 << bit % 8);
		assert_false(wire_unframe(whole, &h, &part));
		b.p[bit / 8] ^= (char)(1 << bit % 8);
	}
	assert_true(wire_unframe(whole, &h, &part));
	sbuf_fini(&b);
}

static void a_frame_that_says_what_cannot_be_is_none(void **state)
{
	UNUSED(state);
	struct sbuf b = { 0 };
	struct str part;
	struct wire_head back,
		wrong[] = { head_of(WIRE_ACK, 5),    head_of(WIRE_KIND_COUNT, 4),
			    head_of(0, 4),           head_of(WIRE_ACK, 4),
			    head_of(WIRE_SUFFIX, 3), head_of(WIRE_SUFFIX, 4u + wire_body_max(WIRE_SUFFIX)) };

	wrong[3].flags = WIRE_FIRST; /* short messages have one part */
	wrong[5].flags = WIRE_FIRST;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		wire_frame(&b, &wrong[i], STR("body"));
		assert_false(wire_unframe((struct str) { b.p, b.n }, &back, &part));
	}
	sbuf_fini(&b);
}

/* Each body whole, and at every other length. */
typedef bool decode_fn(struct str in);

static void check_lengths(const struct sbuf *b, decode_fn *decode)
{
	for (size_t n = 0; n <= b->n + 3; n++) {
		char *copy = xcalloc(1, n + 1);
		memcpy(copy, b->p, n < b->n ? n : b->n);
		assert_true(decode((struct str) { copy, n }) == (n == b->n));
		free(copy);
	}
}

static bool decodes_state(struct str in)
{
	struct wire_state s;

	return wire_state_decode(in, &s);
}

static bool decodes_ack(struct str in)
{
	struct wire_ack a;

	return wire_ack_decode(in, &a);
}

static bool decodes_order(struct str in)
{
	struct wire_order o;

	return wire_order_decode(in, &o);
}

static bool decodes_promise(struct str in)
{
	uint32_t donor;

	return wire_promise_decode(in, &donor);
}

static void bodies_have_one_length(void **state)
{
	UNUSED(state);
	struct sbuf b = { 0 };
	struct wire_state s = { .n_witness = 2 };

	wire_state_encode(&s, &b);
	check_lengths(&b, decodes_state);
	sbuf_reset(&b);
	wire_ack_encode(&(struct wire_ack) { .position = 5 }, &b);
	check_lengths(&b, decodes_ack);
	sbuf_reset(&b);
	wire_order_encode(&(struct wire_order) { .proposer = 5 }, &b);
	check_lengths(&b, decodes_order);
	sbuf_reset(&b);
	wire_promise_encode(7, &b);
	check_lengths(&b, decodes_promise);
	sbuf_fini(&b);
}

static void a_state_comes_back_as_it_was(void **state)
{
	UNUSED(state);
	struct sbuf b = { 0 };
	struct wire_state s = { .instance = 1,
				.features_low = 2,
				.features_high = 3,
				.flags = 4,
				.promised = 5,
				.adopted = 6,
				.last = 7,
				.committed = 8,
				.hash = { 9 },
				.n_witness = CORE_MEMBERS_MAX };
	static struct wire_state back;

	for (uint32_t i = 0; i < CORE_MEMBERS_MAX; i++)
		s.witness[i] = (struct wire_witness) { i, i + 1ull, i + 2ull, i + 3ull, i + 4ull };
	wire_state_encode(&s, &b);
	assert_true(wire_state_decode((struct str) { b.p, b.n }, &back));
	assert_true(back.instance == 1 && back.features_low == 2 && back.features_high == 3 && back.flags == 4);
	assert_true(back.promised == 5 && back.adopted == 6 && back.last == 7 && back.committed == 8);
	assert_memory_equal(back.hash, s.hash, sizeof(s.hash));
	for (uint32_t i = 0; i < CORE_MEMBERS_MAX; i++) {
		const struct wire_witness *w = &back.witness[i];
		assert_true(w->id == i && w->instance == i + 1 && w->promised == i + 2 && w->adopted == i + 3 &&
			    w->last == i + 4);
	}
	sbuf_fini(&b);
}

static void a_suffix_comes_back_and_its_entries_one_by_one(void **state)
{
	UNUSED(state);
	struct sbuf b = { 0 }, entries = { 0 };
	struct entry e = { .kind = ENTRY_CONFIG,
			   .position = 4,
			   .operation = "x",
			   .author = "",
			   .node = "",
			   .comment = "",
			   .idempotency_key = "" },
		     back;
	struct wire_suffix s = { .after = 3, .hash = { 1 }, .last = 4, .committed = 2, .n = 1 }, got;
	struct str bytes;

	sbuf_extend(&entries, 4);
	entry_encode(&e, &entries);
	entries.p[0] = (char)(entries.n - 4);
	entries.p[1] = (char)((entries.n - 4) >> 8);
	entries.p[2] = entries.p[3] = 0;
	s.entries = (struct str) { entries.p, entries.n };
	wire_suffix_encode(&s, &b);
	assert_true(wire_suffix_decode((struct str) { b.p, b.n }, &got));
	assert_true(!got.whole && got.after == 3 && got.last == 4 && got.committed == 2 && got.n == 1);
	assert_true(wire_next_entry(&got.entries, &bytes, &back) && back.position == 4);
	assert_false(wire_next_entry(&got.entries, &bytes, &back));
	assert_int_equal(got.entries.n, 0);
	/* Cut anywhere, it has no entry, or is none. */
	for (size_t n = 0; n < b.n; n++) {
		if (!wire_suffix_decode((struct str) { b.p, n }, &got))
			continue;
		assert_false(wire_next_entry(&got.entries, &bytes, &back));
	}
	sbuf_fini(&b);
	sbuf_fini(&entries);
}

/* ---- messages in parts ---- */

static enum joined join(struct joining *j, unsigned flags, uint32_t total, struct str part, struct str *ret)
{
	struct wire_head h = head_of(WIRE_PROPOSE, total);

	h.flags = flags;
	return joining_add(j, &h, part, ret);
}

static void parts_become_a_whole(void **state)
{
	UNUSED(state);
	struct joining j = { 0 };
	struct str whole;

	assert_int_equal(join(&j, WIRE_FIRST, 6, STR("ab"), &whole), JOINED_MORE);
	assert_int_equal(join(&j, 0, 6, STR("cd"), &whole), JOINED_MORE);
	assert_int_equal(join(&j, WIRE_LAST, 6, STR("ef"), &whole), JOINED_WHOLE);
	assert_true(str_eq(whole, STR("abcdef")));
	sbuf_reset(&j.body);
	assert_int_equal(join(&j, WIRE_FIRST | WIRE_LAST, 2, STR("gh"), &whole), JOINED_WHOLE);
	assert_true(str_eq(whole, STR("gh")));
	joining_fini(&j);
}

static void parts_that_do_not_fit_are_refused(void **state)
{
	UNUSED(state);
	struct joining j = { 0 };
	struct str whole;

	assert_int_equal(join(&j, 0, 6, STR("cd"), &whole), JOINED_BAD);
	assert_int_equal(join(&j, WIRE_FIRST, 6, STR("ab"), &whole), JOINED_MORE);
	assert_int_equal(join(&j, WIRE_FIRST, 6, STR("ab"), &whole), JOINED_BAD);
	assert_int_equal(join(&j, 0, 7, STR("cd"), &whole), JOINED_BAD);
	assert_int_equal(join(&j, 0, 6, STR(""), &whole), JOINED_BAD);
	assert_int_equal(join(&j, WIRE_LAST, 6, STR("cdefg"), &whole), JOINED_BAD);
	assert_int_equal(join(&j, WIRE_LAST, 6, STR("cde"), &whole), JOINED_BAD);
	joining_fini(&j);
}

/* ---- operations ---- */

static void operations_are_found_by_name_and_by_key_until_they_are_cut_or_a_day_old(void **state)
{
	UNUSED(state);
	struct ops o, copy;
	struct sbuf b = { 0 };
	struct entry e = { .position = 5, .operation = "a", .idempotency_key = "k", .wall = 1000 };

	ops_init(&o);
	ops_init(&copy);
	ops_note(&o, &e);
	e = (struct entry) { .position = 6, .operation = "b", .idempotency_key = "", .wall = 1001 };
	ops_note(&o, &e);
	assert_true(ops_find(&o, "a", NULL) == 5 && ops_find(&o, "b", "") == 6 && ops_find(&o, "c", "k") == 5);
	assert_true(ops_find(&o, "k", "a") == 0);
	ops_encode(&o, 5, &b);
	assert_true(ops_decode(&copy, (struct str) { b.p, b.n }));
	assert_true(ops_find(&copy, "a", NULL) == 5 && ops_find(&copy, "b", NULL) == 0);
	assert_false(ops_decode(&copy, (struct str) { b.p, b.n - 1 }));
	ops_cut(&o, 5);
	assert_true(ops_find(&o, "b", NULL) == 0 && ops_find(&o, "a", NULL) == 5);
	e.wall = 1000 + OPS_KEEP_SEC + 1;
	ops_note(&o, &e);
	assert_true(ops_find(&o, "a", "k") == 0 && ops_find(&o, "b", NULL) == 6);
	ops_fini(&o);
	ops_fini(&copy);
	sbuf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_comes_back_as_it_was),
		cmocka_unit_test(a_frame_cut_anywhere_is_none),
		cmocka_unit_test(a_frame_with_any_bit_flipped_is_none),
		cmocka_unit_test(a_frame_that_says_what_cannot_be_is_none),
		cmocka_unit_test(bodies_have_one_length),
		cmocka_unit_test(a_state_comes_back_as_it_was),
		cmocka_unit_test(a_suffix_comes_back_and_its_entries_one_by_one),
		cmocka_unit_test(parts_become_a_whole),
		cmocka_unit_test(parts_that_do_not_fit_are_refused),
		cmocka_unit_test(operations_are_found_by_name_and_by_key_until_they_are_cut_or_a_day_old),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

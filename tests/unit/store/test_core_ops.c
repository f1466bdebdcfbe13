/* SPDX-License-Identifier: Apache-2.0
 * Which operation and which key stands where: as bytes and back, for a day, and by whose request.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cluster/core/ops.h"

enum { HEAD = 8, RECORD = 48, OLD_RECORD = 32 };

static const uint8_t one[ENTRY_HASH_LEN] = { 1 }, other[ENTRY_HASH_LEN] = { 2 }, none[ENTRY_HASH_LEN];

static void note(struct ops *o, const char *operation, const char *key, const uint8_t *request, double wall)
{
	static uint64_t position;
	struct entry e = {
		.operation = operation, .idempotency_key = key, .position = ++position % 1000, .wall = wall
	};

	memcpy(e.request_hash, request, ENTRY_HASH_LEN);
	ops_note(o, &e);
}

static void a_key_is_of_one_request(void **state)
{
	struct ops o = { 0 };

	UNUSED(state);
	ops_init(&o);
	note(&o, "a", "k", one, 1);
	note(&o, "b", "unsaid", none, 1);
	assert_true(ops_same_request(&o, "k", one));
	assert_false(ops_same_request(&o, "k", other));
	assert_true(ops_same_request(&o, "unsaid", other)); /* nobody knows */
	assert_true(ops_same_request(&o, "never", other));
	ops_fini(&o);
}

static void what_is_kept_comes_back_with_its_requests(void **state)
{
	struct ops o = { 0 }, back = { 0 };
	struct sbuf bytes = { 0 };

	UNUSED(state);
	ops_init(&o);
	ops_init(&back);
	note(&o, "a", "k", one, 1);
	ops_encode(&o, UINT64_MAX, &bytes);
	assert_int_equal(bytes.n, HEAD + 2 * RECORD);
	assert_true(ops_decode(&back, (struct str) { bytes.p, bytes.n }));
	assert_int_equal(ops_find(&back, "a", NULL), ops_find(&o, "a", NULL));
	assert_int_equal(ops_find(&back, NULL, "k"), ops_find(&o, "a", NULL));
	assert_true(ops_same_request(&back, "k", one));
	assert_false(ops_same_request(&back, "k", other));
	for (size_t n = HEAD + 1; n < bytes.n; n++)
		if (n != HEAD + RECORD)
			assert_false(ops_decode(&back, (struct str) { bytes.p, n }));
	ops_fini(&o);
	ops_fini(&back);
	sbuf_fini(&bytes);
}

/* As files hold it that were written before requests were kept. */
static void what_was_kept_without_requests_is_still_read(void **state)
{
	struct ops o = { 0 }, back = { 0 };
	struct sbuf bytes = { 0 }, old = { 0 };

	UNUSED(state);
	ops_init(&o);
	ops_init(&back);
	note(&o, "a", "k", one, 1);
	ops_encode(&o, UINT64_MAX, &bytes);
	for (size_t at = HEAD; at < bytes.n; at += RECORD)
		sbuf_add(&old, bytes.p + at, OLD_RECORD);
	assert_true(ops_decode(&back, (struct str) { old.p, old.n }));
	assert_int_equal(ops_find(&back, NULL, "k"), ops_find(&o, NULL, "k"));
	assert_true(ops_same_request(&back, "k", other));
	assert_true(ops_decode(&back, STR("")));
	ops_fini(&o);
	ops_fini(&back);
	sbuf_fini(&bytes);
	sbuf_fini(&old);
}

static void what_may_yet_be_cut_off_is_not_written_apart_from_its_entry(void **state)
{
	struct ops o = { 0 }, back = { 0 };
	struct sbuf bytes = { 0 };

	UNUSED(state);
	ops_init(&o);
	ops_init(&back);
	note(&o, "a", "", none, 1);
	uint64_t at = ops_find(&o, "a", NULL);
	note(&o, "b", "", none, 1);
	ops_encode(&o, at, &bytes);
	assert_true(ops_decode(&back, (struct str) { bytes.p, bytes.n }));
	assert_true(ops_find(&back, "a", NULL) == at && ops_find(&back, "b", NULL) == 0);
	ops_cut(&o, at);
	assert_true(ops_find(&o, "a", NULL) == at && ops_find(&o, "b", NULL) == 0);
	ops_fini(&o);
	ops_fini(&back);
	sbuf_fini(&bytes);
}

static void after_a_day_a_name_may_be_used_again(void **state)
{
	struct ops o = { 0 };

	UNUSED(state);
	ops_init(&o);
	note(&o, "a", "k", one, 1);
	note(&o, "b", "", none, 1 + OPS_KEEP_SEC);
	assert_int_not_equal(ops_find(&o, NULL, "k"), 0);
	note(&o, "c", "", none, 2 + OPS_KEEP_SEC);
	assert_int_equal(ops_find(&o, "a", "k"), 0);
	note(&o, "d", "k", other, 3 + OPS_KEEP_SEC);
	assert_true(ops_same_request(&o, "k", other));
	ops_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_is_of_one_request),
		cmocka_unit_test(what_is_kept_comes_back_with_its_requests),
		cmocka_unit_test(what_was_kept_without_requests_is_still_read),
		cmocka_unit_test(what_may_yet_be_cut_off_is_not_written_apart_from_its_entry),
		cmocka_unit_test(after_a_day_a_name_may_be_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * The set of ticket keys: nodes that heard the same hold the same, whatever happened in between.
 */
#include "tests/unit/store/report_fixture.h"

static void make(struct ticket_keys *k, uint32_t maker, int mark, int64_t now_ms)
{
	uint8_t bytes[TICKET_KEY_LEN];

	memset(bytes, mark, sizeof(bytes));
	ticket_keys_made(k, maker, bytes, now_ms);
}

static void assert_marks(const struct ticket_keys *k, const char *marks)
{
	assert_int_equal(k->n, strlen(marks));
	for (size_t i = 0; i < k->n; i++)
		assert_int_equal(k->list[i].bytes[0], marks[i]);
}

/* As by a report from one to the other. */
static bool hear(struct ticket_keys *to, const struct ticket_keys *from, int64_t now_ms)
{
	struct ticket_keys sent;

	ticket_keys_send(from, &sent, now_ms);
	assert_true(sent.n <= TICKET_KEYS_SENT);
	return ticket_keys_merge(to, &sent, now_ms);
}

static void the_key_made_last_seals_and_four_are_kept(void **state)
{
	UNUSED(state);
	struct ticket_keys k = { 0 };

	for (int i = 0; i < 6; i++)
		make(&k, 1, 'a' + i, 0);
	assert_marks(&k, "fedc");
}

static void two_nodes_that_start_agree_on_one(void **state)
{
	UNUSED(state);
	struct ticket_keys a = { 0 }, b = { 0 };

	make(&a, 1, 'a', 0);
	make(&b, 2, 'b', 0);
	assert_true(hear(&a, &b, 0));
	assert_true(hear(&b, &a, 0));
	assert_marks(&a, "ab");
	assert_marks(&b, "ab");
	assert_false(hear(&a, &b, 0));
}

static void halves_that_rotated_apart_agree_and_open_what_either_sealed_last(void **state)
{
	UNUSED(state);
	struct ticket_keys a = { 0 }, b = { 0 };

	make(&a, 1, 'x', 0);
	hear(&b, &a, 0);
	make(&a, 1, 'a', 0);
	make(&b, 2, 'b', 0);
	make(&b, 2, 'c', 0);
	hear(&a, &b, 0);
	hear(&b, &a, 0);
	assert_marks(&a, "cabx");
	assert_marks(&b, "cabx");
}

static void any_order_of_hearing_ends_alike(void **state)
{
	UNUSED(state);
	static const int orders[3][3] = { { 0, 1, 2 }, { 2, 0, 1 }, { 1, 2, 0 } };
	struct ticket_keys of[3] = { 0 }, end[3] = { 0 };

	for (int i = 0; i < 3; i++)
		for (int k = 0; k <= i; k++)
			make(&of[i], (uint32_t)i + 1, 'a' + 3 * i + k, 0);
	for (int i = 0; i < 3; i++)
		for (int k = 0; k < 3; k++)
			hear(&end[i], &of[orders[i][k]], 0);
	for (int i = 1; i < 3; i++) {
		assert_int_equal(end[i].n, end[0].n);
		for (size_t k = 0; k < end[0].n; k++)
			assert_int_equal(end[i].list[k].bytes[0], end[0].list[k].bytes[0]);
	}
}

static void ages_travel_so_that_nobody_starts_them_anew(void **state)
{
	UNUSED(state);
	struct ticket_keys a = { 0 }, b = { 0 };

	make(&a, 1, 'a', 0);
	hear(&b, &a, 2000000);
	assert_false(ticket_keys_due(&b, true, 2400, 2000000));
	assert_true(ticket_keys_due(&b, true, 2400, 2400000));
	assert_true(ticket_keys_due(&a, true, 2400, 2400000));
}

static void who_makes_no_keys_steps_in_when_nobody_does(void **state)
{
	UNUSED(state);
	struct ticket_keys k = { 0 };

	assert_true(ticket_keys_due(&k, false, 2400, 0));
	make(&k, 1, 'a', 0);
	assert_false(ticket_keys_due(&k, false, 2400, 3599000));
	assert_true(ticket_keys_due(&k, false, 2400, 3600000));
}

static void at_the_last_serial_it_still_goes_on(void **state)
{
	UNUSED(state);
	struct ticket_keys k = { .n = 1, .list = { { .serial = TICKET_SERIAL_MAX, .maker = 2 } } };

	make(&k, 1, 'a', 0);
	assert_true(k.list[0].serial == TICKET_SERIAL_MAX && k.list[0].bytes[0] == 'a');
}

static void what_is_wiped_holds_nothing(void **state)
{
	UNUSED(state);
	struct ticket_keys k = { 0 };
	static const struct ticket_keys none;

	make(&k, 1, 'a', 5);
	ticket_keys_wipe(&k);
	assert_memory_equal(&k, &none, sizeof(k));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_key_made_last_seals_and_four_are_kept),
		cmocka_unit_test(two_nodes_that_start_agree_on_one),
		cmocka_unit_test(halves_that_rotated_apart_agree_and_open_what_either_sealed_last),
		cmocka_unit_test(any_order_of_hearing_ends_alike),
		cmocka_unit_test(ages_travel_so_that_nobody_starts_them_anew),
		cmocka_unit_test(who_makes_no_keys_steps_in_when_nobody_does),
		cmocka_unit_test(at_the_last_serial_it_still_goes_on),
		cmocka_unit_test(what_is_wiped_holds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

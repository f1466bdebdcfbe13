/* SPDX-License-Identifier: Apache-2.0
 * BDAT: its arguments, and what becomes of each chunk of a session.
 */
#include "daemon/smtp/bdat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- arguments ---- */

static void a_size_is_found_wherever_there_is_one(void **state)
{
	static const struct {
		const char *args;
		enum smtp_bdat_parse result;
		uint64_t size;
		bool last;
	} rows[] = {
		{ "0", SMTP_BDAT_OK, 0, false },
		{ "0 LAST", SMTP_BDAT_OK, 0, true },
		{ "5", SMTP_BDAT_OK, 5, false },
		{ "5 LAST", SMTP_BDAT_OK, 5, true },
		{ "5 last", SMTP_BDAT_OK, 5, true },
		{ "5 LaSt", SMTP_BDAT_OK, 5, true },
		{ "5  \tLAST", SMTP_BDAT_OK, 5, true },
		{ "007 LAST", SMTP_BDAT_OK, 7, true },
		{ "18446744073709551615 LAST", SMTP_BDAT_OK, UINT64_MAX, true },
		{ "5 FIRST", SMTP_BDAT_BAD, 5, false },
		{ "5 LAST LAST", SMTP_BDAT_BAD, 5, false },
		{ "5 LASTING", SMTP_BDAT_BAD, 5, false },
		{ "5 LAS", SMTP_BDAT_BAD, 5, false },
		{ "5 6", SMTP_BDAT_BAD, 5, false },
		{ "", SMTP_BDAT_LOST, 0, false },
		{ "LAST", SMTP_BDAT_LOST, 0, false },
		{ "LAST 5", SMTP_BDAT_LOST, 0, false },
		{ "18446744073709551616", SMTP_BDAT_LOST, 0, false },
		{ "99999999999999999999999 LAST", SMTP_BDAT_LOST, 0, false },
		{ "-1", SMTP_BDAT_LOST, 0, false },
		{ "+5", SMTP_BDAT_LOST, 0, false },
		{ "5LAST", SMTP_BDAT_LOST, 0, false },
		{ "0x5", SMTP_BDAT_LOST, 0, false },
		{ "5.0 LAST", SMTP_BDAT_LOST, 0, false },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct smtp_bdat b;
		enum smtp_bdat_parse result = smtp_bdat_parse(str_from(rows[i].args), &b);
		if (result != rows[i].result)
			fail_msg("\"%s\"", rows[i].args);
		if (result == SMTP_BDAT_LOST)
			continue;
		assert_true(b.size == rows[i].size);
		assert_int_equal(b.last, rows[i].last);
	}
}

/* ---- chunks ---- */

/* A whole chunk: begun, its octets taken in two steps, ended. */
static enum smtp_chunk_reply pass_chunk(struct smtp_chunks *c, const char *args, enum smtp_chunk_place place,
					enum smtp_chunk_step want)
{
	assert_int_equal(smtp_chunks_begin(c, str_from(args), place), want);
	assert_true(c->open && c->any);
	size_t first = c->left < 2 ? (size_t)c->left : 2, rest = (size_t)c->left - first;
	assert_int_equal(smtp_chunks_take(c, first), first);
	assert_int_equal(smtp_chunks_complete(c), rest == 0);
	assert_int_equal(smtp_chunks_take(c, rest + 100), rest); /* never a byte of the next command */
	assert_true(smtp_chunks_complete(c));
	enum smtp_chunk_reply reply = smtp_chunks_end(c);
	assert_false(c->open);
	return reply;
}

static void passes(struct smtp_chunks *c, const char *args, enum smtp_chunk_reply want)
{
	assert_int_equal(pass_chunk(c, args, SMTP_CHUNK_IN_PLACE, SMTP_CHUNK_TAKE), want);
}

static void is_dropped(struct smtp_chunks *c, const char *args, enum smtp_chunk_place place, unsigned code)
{
	assert_int_equal(pass_chunk(c, args, place, SMTP_CHUNK_DROP), SMTP_CHUNK_REPLY_WHY);
	assert_int_equal(c->why.code, code);
	assert_non_null(c->why.enhanced);
	assert_non_null(c->why.text);
}

static void chunks_up_to_last_are_content(void **state)
{
	struct smtp_chunks c = { 0 };

	UNUSED(state);
	passes(&c, "5", SMTP_CHUNK_REPLY_OK);
	passes(&c, "0", SMTP_CHUNK_REPLY_OK);
	passes(&c, "70000", SMTP_CHUNK_REPLY_OK);
	passes(&c, "0 LAST", SMTP_CHUNK_REPLY_FINAL);
	smtp_chunks_reset(&c);
	assert_false(c.any);
	passes(&c, "3 LAST", SMTP_CHUNK_REPLY_FINAL);
}

static void behind_last_no_chunk_is_content_until_the_next_transaction(void **state)
{
	struct smtp_chunks c = { 0 };

	UNUSED(state);
	passes(&c, "5 LAST", SMTP_CHUNK_REPLY_FINAL);
	is_dropped(&c, "5", SMTP_CHUNK_IN_PLACE, 503);
	smtp_chunks_reset(&c);
	passes(&c, "5 LAST", SMTP_CHUNK_REPLY_FINAL);
}

static void chunks_out_of_place_are_consumed(void **state)
{
	struct smtp_chunks c = { 0 };

	UNUSED(state);
	is_dropped(&c, "24 LAST", SMTP_CHUNK_NO_MAIL, 503);
	smtp_chunks_reset(&c);
	is_dropped(&c, "24 LAST", SMTP_CHUNK_NO_RCPT, 503);
	smtp_chunks_reset(&c);
	is_dropped(&c, "24", SMTP_CHUNK_NOBODY, 554);
}

static void a_message_with_a_hole_in_it_never_completes(void **state)
{
	struct smtp_chunks c = { 0 };

	UNUSED(state);
	is_dropped(&c, "5", SMTP_CHUNK_NO_RCPT, 503);
	is_dropped(&c, "5 LAST", SMTP_CHUNK_IN_PLACE, 503); /* RCPT came in between: the first five octets are gone */
	smtp_chunks_reset(&c);
	passes(&c, "5", SMTP_CHUNK_REPLY_OK);
	is_dropped(&c, "5 FIRST", SMTP_CHUNK_IN_PLACE, 501);
	is_dropped(&c, "5 LAST", SMTP_CHUNK_IN_PLACE, 503);
	is_dropped(&c, "0 LAST", SMTP_CHUNK_IN_PLACE, 503);
	smtp_chunks_reset(&c);
	passes(&c, "5 LAST", SMTP_CHUNK_REPLY_FINAL);
}

static void without_a_size_there_is_no_way_on(void **state)
{
	struct smtp_chunks c = { 0 };

	UNUSED(state);
	assert_int_equal(smtp_chunks_begin(&c, STR("LAST"), SMTP_CHUNK_IN_PLACE), SMTP_CHUNK_CLOSE);
	assert_int_equal(c.why.code, 501);
	assert_false(c.open);
	smtp_chunks_reset(&c);
	is_dropped(&c, "5", SMTP_CHUNK_NO_MAIL, 503);
	assert_int_equal(smtp_chunks_begin(&c, STR("99999999999999999999"), SMTP_CHUNK_IN_PLACE), SMTP_CHUNK_CLOSE);
	assert_int_equal(c.why.code, 501);
}

static void a_failure_in_a_chunk_is_its_reply_and_refuses_the_rest(void **state)
{
	static const struct smtp_refusal big = { 552, "5.3.4", "too big" }, late = { 451, "4.4.2", "lost" };
	struct smtp_chunks c = { 0 };

	UNUSED(state);
	assert_int_equal(smtp_chunks_begin(&c, STR("10"), SMTP_CHUNK_IN_PLACE), SMTP_CHUNK_TAKE);
	assert_int_equal(smtp_chunks_take(&c, 4), 4);
	smtp_chunks_fail(&c, &big);
	smtp_chunks_fail(&c, &late);
	assert_false(smtp_chunks_complete(&c));
	assert_int_equal(smtp_chunks_take(&c, 10), 6);
	assert_int_equal(smtp_chunks_end(&c), SMTP_CHUNK_REPLY_WHY);
	assert_int_equal(c.why.code, 552);
	is_dropped(&c, "3 LAST", SMTP_CHUNK_IN_PLACE, 503);
	is_dropped(&c, "3 LAST", SMTP_CHUNK_NO_MAIL, 503);
}

static void a_failure_between_chunks_refuses_the_next(void **state)
{
	static const struct smtp_refusal lost = { 451, "4.4.2", "lost" };
	struct smtp_chunks c = { 0 };

	UNUSED(state);
	passes(&c, "10", SMTP_CHUNK_REPLY_OK);
	smtp_chunks_fail(&c, &lost);
	is_dropped(&c, "3 LAST", SMTP_CHUNK_IN_PLACE, 503);
}

static void the_largest_size_is_counted_right(void **state)
{
	struct smtp_chunks c = { 0 };

	UNUSED(state);
	assert_int_equal(smtp_chunks_begin(&c, STR("18446744073709551615"), SMTP_CHUNK_IN_PLACE), SMTP_CHUNK_TAKE);
	assert_int_equal(smtp_chunks_take(&c, SIZE_MAX / 2), SIZE_MAX / 2);
	assert_true(c.left == UINT64_MAX - SIZE_MAX / 2);
	assert_false(smtp_chunks_complete(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_size_is_found_wherever_there_is_one),
		cmocka_unit_test(chunks_up_to_last_are_content),
		cmocka_unit_test(behind_last_no_chunk_is_content_until_the_next_transaction),
		cmocka_unit_test(chunks_out_of_place_are_consumed),
		cmocka_unit_test(a_message_with_a_hole_in_it_never_completes),
		cmocka_unit_test(without_a_size_there_is_no_way_on),
		cmocka_unit_test(a_failure_in_a_chunk_is_its_reply_and_refuses_the_rest),
		cmocka_unit_test(a_failure_between_chunks_refuses_the_next),
		cmocka_unit_test(the_largest_size_is_counted_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Whom a node believes of those that it once knew as members.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/cluster/words.h"
#include "tests/unit/store/core_fixture.h"
#include "tests/unit/store/members_fixture.h"

enum { SELF = 3, NOW = 1000000, HOUR = 3600 };

static const double WALL = 1.8e9; /* seconds since 1970 */
static const struct words_known known = { .at = { 0, 40 }, .wall = 1.8e9 };
static const struct cluster_stamp next = { 0, 50 };

static void tell(struct words *w, uint32_t id, struct cluster_stamp at, const char *text, int64_t now)
{
	words_table(w, id, at, str_from(text), true, now);
}

static enum words_verdict judge(const struct words *w, const struct members *own, uint32_t id, int64_t now)
{
	return words_judge(w, own, SELF, id, &known, now);
}

static void a_majority_of_the_others_must_say_that_it_was_removed(void **state)
{
	struct members *three = fixture_table(3, 1), *four = fixture_table(4, 1);
	struct words w = { 0 };

	UNUSED(state);
	assert_false(words_is_removed(&w, three, SELF, NOW));
	words_removed(&w, 2, true, NOW);
	assert_false(words_is_removed(&w, three, SELF, NOW));
	words_removed(&w, 1, false, NOW);
	words_removed(&w, 9, true, NOW); /* who is no voter says nothing */
	words_removed(&w, SELF, true, NOW);
	assert_false(words_is_removed(&w, three, SELF, NOW));
	words_removed(&w, 1, true, NOW);
	assert_true(words_is_removed(&w, three, SELF, NOW));
	/* One of three others may be gone too. */
	assert_true(words_is_removed(&w, four, SELF, NOW));
	assert_false(words_is_removed(&w, four, SELF, NOW + WORDS_FRESH_MS));
	members_free(three);
	members_free(four);
}

static void of_two_the_other_one_is_enough(void **state)
{
	struct members *two = fixture_table(2, 1);
	struct words w = { 0 };

	UNUSED(state);
	words_removed(&w, 1, true, NOW);
	assert_true(words_is_removed(&w, two, 2, NOW));
	tell(&w, 1, next, "table", NOW);
	assert_int_equal(words_judge(&w, two, 2, 1, &known, NOW), WORDS_ENOUGH);
	members_free(two);
}

static void who_joins_or_leaves_believes_one(void **state)
{
	struct members *own = fixture_table(3, 1);
	struct words w = { 0 };

	UNUSED(state);
	own->list[SELF - 1].votes = 0;
	words_removed(&w, 1, true, NOW);
	tell(&w, 1, next, "table", NOW);
	/* Without a vote after a forced quorum it is a member all the same. */
	assert_false(words_is_removed(&w, own, SELF, NOW));
	own->list[SELF - 1].state = MEMBERS_JOINING;
	assert_true(words_is_removed(&w, own, SELF, NOW));
	assert_int_equal(judge(&w, own, 1, NOW), WORDS_ENOUGH);
	own->list[SELF - 1].state = MEMBERS_LEAVING;
	assert_true(words_is_removed(&w, own, SELF, NOW));
	members_free(own);
}

static void a_table_is_taken_when_a_majority_of_the_others_tells_the_same(void **state)
{
	struct members *own = fixture_table(3, 1);
	struct words w = { 0 };

	UNUSED(state);
	assert_int_equal(judge(&w, own, 1, NOW), WORDS_NOT_YET);
	tell(&w, 1, next, "table", NOW);
	tell(&w, 2, next, "another", NOW);
	assert_int_equal(judge(&w, own, 1, NOW), WORDS_NOT_YET);
	tell(&w, 2, (struct cluster_stamp) { 0, 51 }, "table", NOW);
	assert_int_equal(judge(&w, own, 1, NOW), WORDS_NOT_YET);
	tell(&w, 2, next, "table", NOW);
	assert_int_equal(judge(&w, own, 1, NOW), WORDS_ENOUGH);
	assert_int_equal(judge(&w, own, 2, NOW), WORDS_ENOUGH);
	assert_int_equal(judge(&w, own, 1, NOW + WORDS_FRESH_MS), WORDS_NOT_YET);
	members_free(own);
}

/* Says the same each second, from NOW on. */
static void insist(struct words *w, uint32_t id, struct cluster_stamp at, int64_t ms)
{
	for (int64_t t = 0; t <= ms; t += 1000)
		tell(w, id, at, "table", NOW + t);
}

static void one_that_is_heard_alone_is_believed_after_a_while(void **state)
{
	struct members *own = fixture_table(3, 1);
	struct words w = { 0 };

	UNUSED(state);
	insist(&w, 2, next, WORDS_ALONE_MS - 1000);
	assert_int_equal(judge(&w, own, 2, NOW + WORDS_ALONE_MS - 1000), WORDS_NOT_YET);
	tell(&w, 2, next, "table", NOW + WORDS_ALONE_MS);
	assert_int_equal(judge(&w, own, 2, NOW + WORDS_ALONE_MS), WORDS_ONE);
	/* One that has no quorum may not know yet; one that has says the contrary. */
	words_table(&w, 1, known.at, STR("old"), false, NOW + WORDS_ALONE_MS);
	assert_int_equal(judge(&w, own, 2, NOW + WORDS_ALONE_MS), WORDS_ONE);
	words_table(&w, 1, known.at, STR("old"), true, NOW + WORDS_ALONE_MS);
	assert_int_equal(judge(&w, own, 2, NOW + WORDS_ALONE_MS), WORDS_NOT_YET);
	members_free(own);
}

static void a_pause_or_another_table_begins_anew(void **state)
{
	struct members *own = fixture_table(3, 1);
	struct words w = { 0 };
	int64_t later = NOW + WORDS_ALONE_MS;

	UNUSED(state);
	tell(&w, 2, next, "table", NOW);
	tell(&w, 2, next, "table", later);
	assert_int_equal(judge(&w, own, 2, later), WORDS_NOT_YET);
	insist(&w, 1, next, WORDS_ALONE_MS - 1000);
	tell(&w, 1, next, "another", later);
	assert_int_equal(judge(&w, own, 1, later + 4000), WORDS_NOT_YET);
	members_free(own);
}

/* As a node that is left of three makes it, whose clock says this. */
static uint64_t forced_generation(double wall)
{
	static struct fix f;

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 2);
	fix_run(&f);
	assert_int_equal(core_force_quorum(f.nodes[1].core, wall), 0);
	fix_run(&f);
	uint64_t epoch = core_epoch(f.nodes[1].core);
	fix_fini(&f);
	return epoch >> 32;
}

static void what_is_far_ahead_needs_a_majority(void **state)
{
	const struct cluster_stamp far[] = { { 0, known.at.position + WORDS_AHEAD + 1 },
					     { forced_generation(WALL + (WORDS_AHEAD_FORCED + 1) * HOUR), 50 },
					     { UINT32_MAX, 50 },
					     { 0, INT64_MAX } };
	struct members *own = fixture_table(3, 1);

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(far); i++) {
		struct words w = { 0 };
		insist(&w, 2, far[i], WORDS_ALONE_MS);
		assert_int_equal(judge(&w, own, 2, NOW + WORDS_ALONE_MS), WORDS_NOT_YET);
		tell(&w, 1, far[i], "table", NOW + WORDS_ALONE_MS);
		assert_int_equal(judge(&w, own, 2, NOW + WORDS_ALONE_MS), WORDS_ENOUGH);
	}
	members_free(own);
}

static enum words_verdict judge_forced(uint64_t generation, const struct words_known *k)
{
	struct members *own = fixture_table(3, 1);
	struct words w = { 0 };

	insist(&w, 2, (struct cluster_stamp) { generation, 50 }, WORDS_ALONE_MS);
	enum words_verdict v = words_judge(&w, own, SELF, 2, k, NOW + WORDS_ALONE_MS);
	members_free(own);
	return v;
}

static void a_forced_generation_is_measured_by_the_hour(void **state)
{
	uint64_t now = forced_generation(WALL), ahead = forced_generation(WALL + WORDS_AHEAD_FORCED * HOUR);
	struct words_known forced_before = { .at = { forced_generation(WALL - 1000 * HOUR), 40 }, .wall = WALL },
			   no_clock = { .at = { 0, 40 }, .wall = 0 }, neither = { .at = { now, 40 }, .wall = 0 };

	UNUSED(state);
	assert_int_equal(judge_forced(now, &known), WORDS_ONE);
	assert_int_equal(judge_forced(now, &forced_before), WORDS_ONE);
	assert_int_equal(judge_forced(ahead, &known), WORDS_ONE);
	/* Where the clock was not set, of who was forced or of who judges. */
	assert_int_equal(judge_forced(forced_generation(0), &known), WORDS_ONE);
	assert_int_equal(judge_forced(forced_generation(0), &no_clock), WORDS_ONE);
	assert_int_equal(judge_forced(ahead, &neither), WORDS_ONE);
	assert_int_equal(judge_forced(now, &no_clock), WORDS_NOT_YET);
}

static void more_nodes_than_there_is_place_for_are_heard(void **state)
{
	struct members *own = fixture_table(3, 1);
	struct words w = { 0 };

	UNUSED(state);
	for (uint32_t id = 100; id < 100 + 2 * MEMBERS_MAX; id++)
		tell(&w, id, next, "table", NOW);
	tell(&w, 1, next, "table", NOW + 1);
	words_removed(&w, 2, true, NOW + 1);
	tell(&w, 2, next, "table", NOW + 1);
	assert_int_equal(judge(&w, own, 1, NOW + 1), WORDS_ENOUGH);
	assert_int_equal(judge(&w, own, 100, NOW + 1), WORDS_NOT_YET);
	members_free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_majority_of_the_others_must_say_that_it_was_removed),
		cmocka_unit_test(of_two_the_other_one_is_enough),
		cmocka_unit_test(who_joins_or_leaves_believes_one),
		cmocka_unit_test(a_table_is_taken_when_a_majority_of_the_others_tells_the_same),
		cmocka_unit_test(one_that_is_heard_alone_is_believed_after_a_while),
		cmocka_unit_test(a_pause_or_another_table_begins_anew),
		cmocka_unit_test(what_is_far_ahead_needs_a_majority),
		cmocka_unit_test(a_forced_generation_is_measured_by_the_hour),
		cmocka_unit_test(more_nodes_than_there_is_place_for_are_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

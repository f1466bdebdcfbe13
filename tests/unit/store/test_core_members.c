/* SPDX-License-Identifier: Apache-2.0
 * What the replicated log promises when its members change, or come back with a damaged or an old store.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tests/unit/store/core_fixture.h"

static struct fix f;

static const double WALL = 1.8e9; /* seconds since 1970 */

static enum core_state state_of(uint32_t id)
{
	return core_state(f.nodes[id - 1].core);
}

static int clean(void **state)
{
	UNUSED(state);
	fix_fini(&f);
	return 0;
}

static void propose_table(uint32_t by, const char *operation, const struct voters *v)
{
	struct sbuf document = { 0 };
	uint64_t ticket;

	voters_encode(v, &document);
	struct core_proposal p = { .kind = ENTRY_MEMBERSHIP,
				   .expect_position = UINT64_MAX,
				   .operation = operation,
				   .document = { document.p, document.n },
				   .deadline_ms = f.now + 10000 };
	assert_int_equal(core_propose(f.nodes[by - 1].core, &p, &ticket), 0);
	sbuf_fini(&document);
}

static struct voters table_of(uint32_t n, uint32_t tie_breaker)
{
	struct voters v = { .n = n, .tie_breaker = tie_breaker };

	for (uint32_t i = 0; i < n; i++)
		v.list[i] = (struct voter) { .id = i + 1, .instance = i + 1, .votes = 1 };
	return v;
}

static void a_vote_is_given_to_a_member_that_has_the_log(void **state)
{
	UNUSED(state);
	struct voters v = table_of(3, 1);

	fix_init(&f, 2, 1);
	FIX_VIEW(&f, 1, 1, 2);
	fix_run(&f);
	propose_table(1, "absent", &v);
	fix_run(&f);
	assert_int_equal(f.nodes[0].result, CORE_REFUSED);
	fix_start(&f, 3, false);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(state_of(3), CORE_ACTIVE);
	propose_table(1, "there", &v);
	fix_run(&f);
	assert_int_equal(f.nodes[0].result, CORE_COMMITTED);
}

static void one_change_of_the_table_at_a_time(void **state)
{
	UNUSED(state);
	struct voters v = table_of(2, 1);

	fix_init(&f, 3, 1);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	f.nodes[1].held = f.nodes[2].held = true;
	propose_table(1, "first", &v);
	propose_table(1, "second", &v);
	fix_run(&f);
	assert_true(f.nodes[0].n_answers == 1 && f.nodes[0].result == CORE_REFUSED);
	f.nodes[1].held = f.nodes[2].held = false;
	fix_run(&f);
	assert_true(f.nodes[0].n_answers == 2 && f.nodes[0].result == CORE_COMMITTED);
}

/* It could not be committed, and nothing else behind it. */
static void a_table_whose_voters_are_not_there_is_refused(void **state)
{
	UNUSED(state);
	struct voters v = table_of(3, 3);

	v.list[1] = v.list[2];
	v.n = 2;
	fix_init(&f, 3, 1);
	FIX_VIEW(&f, 1, 1, 2);
	fix_run(&f);
	assert_int_equal(state_of(1), CORE_ACTIVE);
	propose_table(1, "of 1 and 3", &v);
	fix_run(&f);
	assert_true(f.nodes[0].n_answers == 1 && f.nodes[0].result == CORE_REFUSED);
	assert_int_equal(fix_write(&f, 1, "a", STR("")), 0);
	fix_run(&f);
	assert_true(f.nodes[0].n_answers == 2 && f.nodes[0].result == CORE_COMMITTED);
}

static void the_tie_breaker_moves_only_when_both_have_written(void **state)
{
	UNUSED(state);
	struct voters v = table_of(2, 2);

	fix_init(&f, 2, 1);
	FIX_VIEW(&f, 1, 1, 2);
	fix_run(&f);
	/* The new tie-breaker has the entry, the old one has not: neither may go on alone with it. */
	f.nodes[0].held = true;
	propose_table(1, "move", &v);
	fix_run(&f);
	assert_int_equal(f.nodes[1].n_disk, 2);
	FIX_VIEW(&f, 2, 2);
	fix_run(&f);
	assert_int_equal(state_of(2), CORE_MINORITY);
}

/* The third has no vote, and is all that is left of who saw the last write. */
static void quorum_is_forced_where_the_newest_log_is(void **state)
{
	UNUSED(state);
	fix_init(&f, 2, 1);
	fix_start(&f, 3, false);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	FIX_VIEW(&f, 2, 1, 3);
	fix_run(&f);
	assert_int_equal(fix_write(&f, 1, "a", STR("")), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[0].result, CORE_COMMITTED);
	FIX_VIEW(&f, 3, 2, 3);
	assert_int_equal(core_newest(f.nodes[1].core), 0); /* nobody has spoken */
	fix_run(&f);
	assert_int_equal(state_of(2), CORE_MINORITY);
	assert_int_equal(core_newest(f.nodes[1].core), 3);
	assert_int_equal(core_force_quorum(f.nodes[1].core, WALL), -EAGAIN);
	assert_int_equal(core_force_quorum(f.nodes[2].core, WALL), 0);
	fix_run(&f);
	assert_int_equal(state_of(2), CORE_ACTIVE);
}

static void a_forced_quorum_goes_on_and_the_other_side_learns_what_it_lost(void **state)
{
	UNUSED(state);
	fix_init(&f, 2, 1);
	FIX_VIEW(&f, 1, 1, 2);
	fix_run(&f);
	FIX_VIEW(&f, 1, 1);
	FIX_VIEW(&f, 2, 2);
	fix_run(&f);
	assert_int_equal(fix_write(&f, 1, "of the old side", STR("")), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[0].result, CORE_COMMITTED);
	assert_int_equal(core_force_quorum(f.nodes[0].core, WALL), -EAGAIN); /* it has one */
	assert_int_equal(core_force_quorum(f.nodes[1].core, WALL), 0);
	fix_run(&f);
	assert_int_equal(state_of(2), CORE_ACTIVE);
	assert_true(core_epoch(f.nodes[1].core) >> 32 > 0);
	assert_int_equal(fix_write(&f, 2, "of the new side", STR("")), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[1].result, CORE_COMMITTED);
	FIX_VIEW(&f, 1, 1, 2);
	fix_run(&f);
	assert_int_equal(state_of(1), CORE_ACTIVE);
	assert_true(f.nodes[0].n_lost_committed == 1 && f.nodes[0].n_reset == 1);
	assert_int_equal(core_find(f.nodes[0].core, "of the old side", NULL), 0);
	assert_int_equal(core_find(f.nodes[0].core, "of the new side", NULL), 3);
	assert_int_equal(f.nodes[1].n_lost, 0);
}

static void a_quorum_that_is_asked_for_twice_is_forced_once(void **state)
{
	const struct fix_node *n = &f.nodes[1];
	struct sbuf alone = { 0 };
	struct voters v;

	UNUSED(state);
	fix_init(&f, 2, 1);
	FIX_VIEW(&f, 2, 2);
	fix_run(&f);
	assert_int_equal(core_force_quorum(n->core, WALL), 0);
	/* Its START is not back. */
	assert_int_equal(state_of(2), CORE_MINORITY);
	assert_int_equal(core_force_quorum(n->core, WALL), 0);
	fix_run(&f);
	assert_int_equal(state_of(2), CORE_ACTIVE);
	assert_int_equal(core_epoch(n->core) >> 32 >> CORE_FORCED_ID_BITS, core_forced_hour(WALL));
	const struct entry *e = &n->disk[n->n_disk - 1].entry;
	assert_true(e->kind == ENTRY_MEMBERSHIP && voters_decode(e->document, &v) && v.forced);
	voters_encode(&v, &alone);
	assert_int_equal(e->document.n, alone.n);
	sbuf_fini(&alone);
}

/* Nodes 1 and 2 are forced at these times, not hearing of each other, and meet. The first has the longer log, and an
 * entry of the same position and number of nodes in its table as the second. */
static void force_two(double wall_1, double wall_2)
{
	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(fix_write(&f, 1, "of all", STR("")), 0);
	fix_run(&f);
	FIX_VIEW(&f, 1, 1);
	FIX_VIEW(&f, 2, 2);
	FIX_VIEW(&f, 3, 3);
	fix_wait(&f, 3000);
	assert_int_equal(core_force_quorum(f.nodes[0].core, wall_1), 0);
	assert_int_equal(core_force_quorum(f.nodes[1].core, wall_2), 0);
	fix_run(&f);
	assert_int_equal(fix_write(&f, 1, "of 1", STR("")), 0);
	assert_int_equal(fix_write(&f, 1, "more of 1", STR("")), 0);
	assert_int_equal(fix_write(&f, 2, "of 2", STR("")), 0);
	fix_run(&f);
	assert_true(state_of(1) == CORE_ACTIVE && state_of(2) == CORE_ACTIVE);
	assert_true(core_epoch(f.nodes[0].core) != core_epoch(f.nodes[1].core));
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_wait(&f, 3000);
}

static void check_two(uint32_t winner, size_t lost)
{
	const struct fix_node *loser = &f.nodes[2 - winner];

	for (uint32_t id = 1; id <= 3; id++) {
		assert_int_equal(state_of(id), CORE_ACTIVE);
		assert_int_equal(f.nodes[id - 1].n_resync, 0);
		assert_int_equal(core_find(f.nodes[id - 1].core, "of all", NULL), 2);
		assert_true((core_find(f.nodes[id - 1].core, "of 1", NULL) != 0) == (winner == 1));
		assert_true((core_find(f.nodes[id - 1].core, "of 2", NULL) != 0) == (winner == 2));
	}
	/* The forced table is one of them. */
	assert_true(loser->n_lost == lost && loser->n_lost_committed == lost && loser->n_reset == 1);
	assert_true(f.nodes[winner - 1].n_lost == 0 && f.nodes[winner - 1].n_reset == 0);
	fix_fini(&f);
}

static void of_two_forced_quorums_that_meet_the_later_goes_on_and_the_other_joins_it(void **state)
{
	UNUSED(state);
	force_two(WALL, WALL + 3600);
	check_two(2, 3);
	force_two(WALL + 3600, WALL);
	check_two(1, 2);
	force_two(WALL, WALL); /* nobody could say: the higher id */
	check_two(2, 3);
	force_two(0, 0); /* clocks that are not set */
	check_two(2, 3);
	force_two(WALL, 1e12); /* or nonsense */
	check_two(1, 2);
	force_two(WALL, -1e300);
	check_two(1, 2);
	fix_init(&f, 3, 0);
}

static void a_quorum_is_forced_above_every_generation_heard_of_whatever_the_clock_says(void **state)
{
	UNUSED(state);
	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2);
	FIX_VIEW(&f, 2, 3);
	fix_wait(&f, 3000);
	assert_int_equal(core_force_quorum(f.nodes[2].core, WALL + 1e6), 0);
	fix_run(&f);
	uint64_t before = core_epoch(f.nodes[2].core);
	struct voters all = table_of(3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	propose_table(3, "all again", &all);
	fix_run(&f);
	assert_int_equal(f.nodes[2].result, CORE_COMMITTED);
	FIX_VIEW(&f, 1, 1);
	fix_wait(&f, 3000);
	assert_int_equal(core_force_quorum(f.nodes[0].core, WALL), 0);
	fix_run(&f);
	assert_int_equal(state_of(1), CORE_ACTIVE);
	assert_true(core_epoch(f.nodes[0].core) >> 32 > before >> 32);
}

/* ---- damage ---- */

static void a_damaged_store_does_not_vote_until_it_has_the_log(void **state)
{
	UNUSED(state);
	struct core_env env = { &f.nodes[2], fix_multicast, fix_persist, fix_entry_at, fix_next_kept, fix_apply,
				fix_reset,   fix_answer,    fix_lost,    fix_resync,   fix_event };
	struct core_config config = { .id = 3, .instance = 3, .damaged = true };

	fix_init(&f, 3, 0);
	fix_stop(&f.nodes[2]);
	f.nodes[2].core = core_new(&config, &env);
	FIX_VIEW(&f, 1, 1, 3);
	FIX_VIEW(&f, 2, 2);
	fix_wait(&f, 3000);
	assert_int_equal(state_of(1), CORE_MINORITY);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_true(core_can_vote(f.nodes[2].core));
	FIX_VIEW(&f, 1, 1, 3);
	fix_run(&f);
	assert_int_equal(state_of(1), CORE_ACTIVE);
}

/* The store of a node as it was when only its first entry was there. */
static void turn_back(uint32_t id, const struct sbuf *meta)
{
	struct fix_node *n = &f.nodes[id - 1];

	fix_stop(n);
	n->n_disk = 1;
	sbuf_reset(&n->meta);
	sbuf_add(&n->meta, meta->p, meta->n);
	fix_start(&f, id, false);
}

/* The store's second entry. */
static void forget_second(struct fix_node *n)
{
	struct fix_entry second = n->disk[1];

	memmove(&n->disk[1], &n->disk[2], (n->n_disk - 2) * sizeof(second));
	n->disk[--n->n_disk] = second;
}

static void write_with_who_turned_back(bool others_forget)
{
	struct sbuf old = { 0 };

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2);
	FIX_VIEW(&f, 2, 3);
	fix_wait(&f, 3000);
	sbuf_add(&old, f.nodes[1].meta.p, f.nodes[1].meta.n);
	assert_int_equal(fix_write(&f, 1, "lost", STR("")), 0);
	assert_int_equal(fix_write(&f, 1, "lost, too", STR("")), 0);
	fix_run(&f);
	assert_int_equal(core_committed(f.nodes[0].core), 3);
	FIX_VIEW(&f, 1, 1);
	turn_back(2, &old);
	sbuf_fini(&old);
	for (int i = 0; i < 2; i++) {
		FIX_VIEW(&f, 2, 2, 3);
		fix_wait(&f, 3000);
		assert_int_equal(fix_write(&f, 3, i == 0 ? "kept" : "kept, too", STR("")), 0);
		fix_run(&f);
	}
	if (others_forget)
		forget_second(&f.nodes[2]);
	uint64_t resyncs = 0;
	for (int i = 0; i < 3; i++) {
		resyncs = f.nodes[0].n_resync;
		FIX_VIEW(&f, 1, 1, 2, 3);
		fix_wait(&f, 3000);
	}
	assert_int_equal(f.nodes[0].n_resync, resyncs); /* at rest */
	assert_int_equal(state_of(1), CORE_ACTIVE);
	assert_true(f.nodes[0].n_lost_committed == 2 && f.nodes[0].n_reset == 1);
	assert_true(core_find(f.nodes[0].core, "lost", NULL) == 0 && core_find(f.nodes[0].core, "kept", NULL) == 2);
	assert_int_equal(f.nodes[2].n_lost, 0);
}

/* Nobody can know it, and what the first had with it is lost. But that is told, and all go on. */
static void who_wrote_with_a_node_whose_disk_was_turned_back_unheard_joins_the_others_again(void **state)
{
	UNUSED(state);
	write_with_who_turned_back(false);
	fix_fini(&f);
	write_with_who_turned_back(true); /* and send what they keep, whole */
}

static void an_old_copy_of_a_disk_is_known_by_those_who_heard_more(void **state)
{
	UNUSED(state);
	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	struct sbuf old = { 0 };
	sbuf_add(&old, f.nodes[2].meta.p, f.nodes[2].meta.n);
	assert_int_equal(fix_write(&f, 1, "a", STR("")), 0);
	fix_run(&f);
	turn_back(3, &old);
	sbuf_fini(&old);
	FIX_VIEW(&f, 1, 2, 3);
	fix_wait(&f, 3000);
	assert_int_equal(state_of(2), CORE_MINORITY);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(state_of(3), CORE_ACTIVE);
	assert_int_equal(f.nodes[2].n_disk, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, clean)
	const struct CMUnitTest tests[] = {
		T(a_vote_is_given_to_a_member_that_has_the_log),
		T(one_change_of_the_table_at_a_time),
		T(a_table_whose_voters_are_not_there_is_refused),
		T(the_tie_breaker_moves_only_when_both_have_written),
		T(quorum_is_forced_where_the_newest_log_is),
		T(a_forced_quorum_goes_on_and_the_other_side_learns_what_it_lost),
		T(a_quorum_that_is_asked_for_twice_is_forced_once),
		T(of_two_forced_quorums_that_meet_the_later_goes_on_and_the_other_joins_it),
		T(a_quorum_is_forced_above_every_generation_heard_of_whatever_the_clock_says),
		T(a_damaged_store_does_not_vote_until_it_has_the_log),
		T(an_old_copy_of_a_disk_is_known_by_those_who_heard_more),
		T(who_wrote_with_a_node_whose_disk_was_turned_back_unheard_joins_the_others_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * What the replicated log promises, one promise at a time. The simulator mixes what goes wrong; here each rule is
 * alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tests/unit/store/core_fixture.h"

static struct fix f;

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

static void a_node_that_is_alone_commits_when_its_write_is_durable(void **state)
{
	UNUSED(state);
	memset(&f, 0, sizeof(f));
	fix_start(&f, 1, true);
	FIX_VIEW(&f, 1, 1);
	fix_run(&f);
	assert_int_equal(state_of(1), CORE_ACTIVE);
	f.nodes[0].held = true;
	assert_int_equal(fix_write(&f, 1, "a", STR("one")), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[0].n_applied, 0);
	f.nodes[0].held = false;
	fix_run(&f);
	assert_int_equal(f.nodes[0].n_applied, 1);
	assert_true(f.nodes[0].n_answers == 1 && f.nodes[0].result == CORE_COMMITTED && f.nodes[0].position == 1);
	/* And again after a restart, from what is on disk. */
	fix_stop(&f.nodes[0]);
	fix_start(&f, 1, true);
	FIX_VIEW(&f, 1, 1);
	fix_run(&f);
	assert_int_equal(core_find(f.nodes[0].core, "a", NULL), 1);
}

static void alone_a_write_that_fails_is_not_made_and_the_next_one_tries_the_disk(void **state)
{
	struct fix_node *n = &f.nodes[0];

	UNUSED(state);
	memset(&f, 0, sizeof(f));
	fix_start(&f, 1, true);
	FIX_VIEW(&f, 1, 1);
	fix_run(&f);
	n->rc = -ENOSPC;
	for (uint64_t i = 1; i <= 3; i++) { /* no time passes */
		assert_int_equal(fix_write(&f, 1, "a", STR("one")), 0);
		fix_run(&f);
		assert_true(n->n_answers == i && n->result == CORE_FULL);
	}
	n->rc = 0;
	assert_int_equal(fix_write(&f, 1, "b", STR("two")), 0);
	fix_run(&f);
	assert_true(n->n_answers == 4 && n->result == CORE_COMMITTED && n->position == 1);
	assert_true(n->n_applied == 1 && n->n_disk == 1);
	assert_int_equal(core_find(n->core, "a", NULL), 0);
}

/* A sync that failed says nothing of what the next start will find. */
static void alone_a_write_whose_sync_failed_is_unknown_and_not_said_to_be_not_made(void **state)
{
	struct fix_node *n = &f.nodes[0];

	UNUSED(state);
	memset(&f, 0, sizeof(f));
	fix_start(&f, 1, true);
	FIX_VIEW(&f, 1, 1);
	fix_run(&f);
	n->rc = -EIO;
	assert_int_equal(fix_write(&f, 1, "a", STR("one")), 0);
	fix_run(&f);
	assert_true(n->n_answers == 1 && n->result == CORE_UNKNOWN);
	/* What comes now is tried on no disk. */
	assert_int_equal(fix_write(&f, 1, "b", STR("two")), 0);
	fix_run(&f);
	assert_true(n->n_answers == 2 && n->result == CORE_FULL);
}

/* What is known to be committed in a view that is not settled is not applied yet: nothing of it may be forgotten. */
static void what_is_not_applied_is_not_settled(void **state)
{
	bool ahead = false;

	UNUSED(state);
	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	f.nodes[1].held = f.nodes[2].held = true;
	assert_int_equal(fix_write(&f, 1, "a", STR("")), 0);
	fix_run(&f);
	assert_true(f.nodes[0].n_disk == 2 && core_committed(f.nodes[0].core) == 1);
	f.nodes[0].group = 9; /* hears nothing of the others' acknowledgements */
	f.nodes[1].held = f.nodes[2].held = false;
	fix_run(&f);
	assert_int_equal(core_committed(f.nodes[1].core), 2);
	FIX_VIEW(&f, 1, 1, 2);
	do {
		struct core *c = f.nodes[0].core;
		ahead = ahead || core_committed(c) > core_applied(c);
		assert_true(core_settled(c) <= core_applied(c));
	} while (fix_step(&f));
	assert_true(ahead);
	assert_int_equal(core_settled(f.nodes[0].core), 2);
}

/* Whoever was there when it was proposed may have it. */
static void what_another_may_have_is_not_said_to_be_not_made(void **state)
{
	struct fix_node *n = &f.nodes[0];

	UNUSED(state);
	fix_init(&f, 2, 1);
	FIX_VIEW(&f, 1, 1, 2);
	fix_run(&f);
	n->held = f.nodes[1].held = true;
	assert_int_equal(fix_write(&f, 1, "a", STR("one")), 0);
	fix_run(&f);
	n->held = f.nodes[1].held = false;
	fix_stop(&f.nodes[1]);
	FIX_VIEW(&f, 1, 1);
	n->rc = -ENOSPC;
	fix_run(&f);
	assert_int_equal(n->n_answers, 0);
	fix_wait(&f, CORE_DEADLINE_MS + 1000);
	assert_true(n->n_answers == 1 && n->result == CORE_UNKNOWN);
}

static void a_log_becomes_a_clusters_while_nobody_else_is_there(void **state)
{
	UNUSED(state);
	memset(&f, 0, sizeof(f));
	fix_start(&f, 1, true);
	FIX_VIEW(&f, 1, 1);
	fix_run(&f);
	assert_int_equal(core_set_cluster(f.nodes[0].core, 7), 0);
	assert_int_equal(fix_write(&f, 1, "a", STR("one")), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[0].result, CORE_COMMITTED);
	FIX_VIEW_OF(&f, 1, 2);
	assert_int_equal(core_set_cluster(f.nodes[0].core, 8), -EBUSY);
}

static void a_log_without_a_table_does_not_lead_others(void **state)
{
	UNUSED(state);
	memset(&f, 0, sizeof(f));
	fix_start(&f, 1, true);
	fix_start(&f, 2, false);
	FIX_VIEW(&f, 1, 1, 2);
	fix_wait(&f, 5000);
	assert_int_equal(state_of(1), CORE_MINORITY);
	assert_int_equal(state_of(2), CORE_MINORITY);
	assert_int_equal(fix_write(&f, 1, "a", STR("")), -ENOTCONN);
}

static void an_entry_is_applied_once_a_quorum_has_it_and_not_before(void **state)
{
	UNUSED(state);
	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(state_of(3), CORE_ACTIVE);
	f.nodes[1].held = f.nodes[2].held = true;
	assert_int_equal(fix_write(&f, 3, "a", STR("one")), 0);
	fix_run(&f);
	for (int i = 0; i < 3; i++)
		assert_int_equal(f.nodes[i].n_applied, 1); /* the table */
	f.nodes[1].held = false;
	fix_run(&f);
	for (int i = 0; i < 3; i++)
		assert_int_equal(f.nodes[i].n_applied, 2); /* the third, too: its own disk need not have it */
	assert_int_equal(f.nodes[2].result, CORE_COMMITTED);
}

static void of_two_voters_both_write_while_both_are_there(void **state)
{
	UNUSED(state);
	fix_init(&f, 2, 1);
	FIX_VIEW(&f, 1, 1, 2);
	fix_run(&f);
	f.nodes[1].held = true;
	assert_int_equal(fix_write(&f, 1, "a", STR("")), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[0].n_answers, 0);
	f.nodes[1].held = false;
	fix_run(&f);
	assert_int_equal(f.nodes[0].result, CORE_COMMITTED);
}

static void of_two_voters_only_the_tie_breaker_writes_alone(void **state)
{
	UNUSED(state);
	fix_init(&f, 2, 2);
	FIX_VIEW(&f, 1, 1, 2);
	fix_run(&f);
	FIX_VIEW(&f, 1, 1);
	FIX_VIEW(&f, 2, 2);
	fix_run(&f);
	assert_int_equal(state_of(1), CORE_MINORITY);
	assert_int_equal(fix_write(&f, 1, "a", STR("")), -ENOTCONN);
	assert_int_equal(state_of(2), CORE_ACTIVE);
	assert_int_equal(fix_write(&f, 2, "b", STR("")), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[1].result, CORE_COMMITTED);
}

static void of_two_voters_one_with_a_full_disk_is_not_waited_for(void **state)
{
	UNUSED(state);
	fix_init(&f, 2, 1);
	FIX_VIEW(&f, 1, 1, 2);
	fix_run(&f);
	f.nodes[1].rc = -ENOSPC;
	assert_int_equal(fix_write(&f, 1, "a", STR("")), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[0].result, CORE_COMMITTED);
	assert_false(core_can_vote(f.nodes[1].core));
	assert_int_equal(f.nodes[1].n_applied, 2); /* from memory */
	f.nodes[1].rc = 0;
	fix_wait(&f, 3000);
	assert_true(core_can_vote(f.nodes[1].core));
	assert_int_equal(f.nodes[1].n_disk, 2);
}

static void a_write_that_too_few_can_keep_is_refused(void **state)
{
	UNUSED(state);
	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	f.nodes[1].rc = f.nodes[2].rc = -ENOSPC;
	assert_int_equal(fix_write(&f, 1, "a", STR("")), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[0].n_answers, 0); /* ordered before anybody knew */
	assert_int_equal(fix_write(&f, 1, "b", STR("")), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[0].n_answers, 1);
	assert_int_equal(f.nodes[0].result, CORE_FULL);
	f.nodes[1].rc = f.nodes[2].rc = 0;
	fix_wait(&f, 3000);
	assert_int_equal(f.nodes[0].n_answers, 2);
	assert_int_equal(f.nodes[0].result, CORE_COMMITTED);
}

/* It was made: that no disk takes a write now does not change that. */
static void a_repetition_is_known_also_where_nothing_can_be_written(void **state)
{
	UNUSED(state);
	uint64_t ticket;
	struct core_proposal p = { .kind = ENTRY_CONFIG,
				   .expect_position = UINT64_MAX,
				   .operation = "a",
				   .idempotency_key = "k",
				   .deadline_ms = CORE_DEADLINE_MS };

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(core_propose(f.nodes[0].core, &p, &ticket), 0);
	fix_run(&f);
	f.nodes[1].rc = f.nodes[2].rc = -ENOSPC;
	assert_int_equal(fix_write(&f, 1, "b", STR("")), 0);
	fix_run(&f);
	p.operation = "c";
	assert_int_equal(core_propose(f.nodes[0].core, &p, &ticket), 0);
	fix_run(&f);
	assert_true(f.nodes[0].result == CORE_DUPLICATE && f.nodes[0].position == 2);
}

static void a_proposal_that_was_sent_ends_as_unknown_at_its_deadline(void **state)
{
	UNUSED(state);
	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	f.nodes[1].held = f.nodes[2].held = true;
	assert_int_equal(fix_write(&f, 1, "a", STR("")), 0);
	fix_wait(&f, CORE_DEADLINE_MS - 100);
	assert_int_equal(f.nodes[0].n_answers, 0);
	fix_wait(&f, 200);
	assert_true(f.nodes[0].n_answers == 1 && f.nodes[0].result == CORE_UNKNOWN);
	/* It was made after all, and any node can tell. */
	f.nodes[1].held = false;
	fix_run(&f);
	assert_int_equal(core_find(f.nodes[2].core, "a", NULL), 2);
}

static void a_proposal_that_nobody_saw_is_certainly_not_made(void **state)
{
	UNUSED(state);
	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1);
	assert_int_equal(fix_write(&f, 1, "a", STR("")), 0); /* it may yet find a quorum */
	fix_run(&f);
	assert_int_equal(state_of(1), CORE_MINORITY);
	assert_true(f.nodes[0].n_answers == 1 && f.nodes[0].result == CORE_NO_QUORUM);
}

static void a_proposal_outlives_its_view(void **state)
{
	UNUSED(state);
	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	f.nodes[0].held = f.nodes[1].held = true;
	assert_int_equal(fix_write(&f, 3, "a", STR("")), 0);
	fix_run(&f);
	f.nodes[0].held = f.nodes[1].held = false;
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_true(f.nodes[2].n_answers == 1 && f.nodes[2].result == CORE_COMMITTED);
	assert_int_equal(f.nodes[2].n_applied, 2); /* once */
}

static void the_same_key_is_made_once_on_any_node(void **state)
{
	UNUSED(state);
	uint64_t ticket;
	struct core_proposal p = { .kind = ENTRY_CONFIG,
				   .expect_position = UINT64_MAX,
				   .operation = "a",
				   .idempotency_key = "k",
				   .deadline_ms = CORE_DEADLINE_MS };

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(core_propose(f.nodes[0].core, &p, &ticket), 0);
	fix_run(&f);
	p.operation = "b";
	assert_int_equal(core_propose(f.nodes[1].core, &p, &ticket), 0);
	fix_run(&f);
	assert_true(f.nodes[1].result == CORE_DUPLICATE && f.nodes[1].position == 2);
	assert_int_equal(f.nodes[1].n_applied, 2);
}

static void a_stale_writer_is_refused(void **state)
{
	UNUSED(state);
	uint64_t ticket;
	struct core_proposal p = { .kind = ENTRY_CONFIG, .expect_position = 0, .operation = "a", .deadline_ms = 10000 };

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(core_propose(f.nodes[0].core, &p, &ticket), 0);
	p.operation = "b";
	assert_int_equal(core_propose(f.nodes[1].core, &p, &ticket), 0);
	fix_run(&f);
	assert_true((f.nodes[0].result == CORE_COMMITTED) != (f.nodes[1].result == CORE_COMMITTED));
	assert_true(f.nodes[0].result == CORE_STALE || f.nodes[1].result == CORE_STALE);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, clean)
	const struct CMUnitTest tests[] = {
		T(a_node_that_is_alone_commits_when_its_write_is_durable),
		T(alone_a_write_that_fails_is_not_made_and_the_next_one_tries_the_disk),
		T(alone_a_write_whose_sync_failed_is_unknown_and_not_said_to_be_not_made),
		T(what_is_not_applied_is_not_settled),
		T(what_another_may_have_is_not_said_to_be_not_made),
		T(a_log_becomes_a_clusters_while_nobody_else_is_there),
		T(a_log_without_a_table_does_not_lead_others),
		T(an_entry_is_applied_once_a_quorum_has_it_and_not_before),
		T(of_two_voters_both_write_while_both_are_there),
		T(of_two_voters_only_the_tie_breaker_writes_alone),
		T(of_two_voters_one_with_a_full_disk_is_not_waited_for),
		T(a_write_that_too_few_can_keep_is_refused),
		T(a_repetition_is_known_also_where_nothing_can_be_written),
		T(a_proposal_that_was_sent_ends_as_unknown_at_its_deadline),
		T(a_proposal_that_nobody_saw_is_certainly_not_made),
		T(a_proposal_outlives_its_view),
		T(the_same_key_is_made_once_on_any_node),
		T(a_stale_writer_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

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

#include "cluster/core/wire.h"
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

/* ---- membership ---- */

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
	assert_int_equal(core_force_quorum(f.nodes[0].core), -EAGAIN); /* it has one */
	assert_int_equal(core_force_quorum(f.nodes[1].core), 0);
	fix_run(&f);
	assert_int_equal(state_of(2), CORE_ACTIVE);
	assert_int_equal(core_epoch(f.nodes[1].core) >> 32, 1);
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
	fix_stop(&f.nodes[2]);
	f.nodes[2].n_disk = 1;
	sbuf_reset(&f.nodes[2].meta);
	sbuf_add(&f.nodes[2].meta, old.p, old.n);
	sbuf_fini(&old);
	fix_start(&f, 3, false);
	FIX_VIEW(&f, 1, 2, 3);
	fix_wait(&f, 3000);
	assert_int_equal(state_of(2), CORE_MINORITY);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(state_of(3), CORE_ACTIVE);
	assert_int_equal(f.nodes[2].n_disk, 2);
}

/* ---- messages ---- */

static void a_missing_message_asks_for_another_view(void **state)
{
	UNUSED(state);
	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(fix_write(&f, 1, "a", STR("")), 0);
	sbuf_fini(&f.packets[0].bytes);
	memmove(&f.packets[0], &f.packets[1], --f.n_packets * sizeof(f.packets[0]));
	fix_wait(&f, 1100); /* the next sign of life shows it */
	for (int i = 0; i < 3; i++)
		assert_true(f.nodes[i].n_resync > 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(f.nodes[0].result, CORE_COMMITTED);
}

static void a_long_document_travels_in_pieces_of_which_few_are_under_way(void **state)
{
	UNUSED(state);
	size_t n = CORE_DOCUMENT_MAX;
	char *text = xcalloc(1, n + 1);

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	f.most_packets = 0;
	assert_int_equal(fix_write(&f, 1, "a", (struct str) { text, n + 1 }), -EFBIG);
	assert_int_equal(fix_write(&f, 1, "a", (struct str) { text, n }), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[0].result, CORE_COMMITTED);
	assert_true(f.most_packets <= CORE_IN_FLIGHT_MAX + 2);
	/* And to one that lacks it. */
	fix_stop(&f.nodes[2]);
	f.nodes[2].n_disk = 0;
	sbuf_reset(&f.nodes[2].meta);
	fix_start(&f, 3, false);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(f.nodes[2].n_disk, 2);
	free(text);
}

static void a_member_that_lacks_too_much_gets_the_newest_of_it(void **state)
{
	UNUSED(state);
	char operation[32];
	char *text = xcalloc(1, CORE_DOCUMENT_MAX);
	struct fix_node *last = &f.nodes[2];

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2);
	fix_run(&f);
	for (int i = 0; i < 9; i++) { /* 72 MiB */
		snprintf(operation, sizeof(operation), "op-%d", i);
		assert_int_equal(fix_write(&f, 1, operation, (struct str) { text, CORE_DOCUMENT_MAX }), 0);
		fix_run(&f);
	}
	free(text);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(state_of(3), CORE_ACTIVE);
	assert_int_equal(last->disk[0].entry.position, 1); /* the table */
	assert_true(last->n_disk > 2 && last->n_disk < 10);
	assert_int_equal(last->disk[last->n_disk - 1].entry.position, 10);
	assert_int_equal(core_find(last->core, "op-0", NULL), 2); /* not kept, and known all the same */
	assert_int_equal(fix_write(&f, 3, "more", STR("")), 0);
	fix_run(&f);
	assert_true(last->result == CORE_COMMITTED && last->position == 11);
	assert_int_equal(last->n_lost, 0);
}

static void the_newest_soft_state_is_known_and_goes_with_the_member(void **state)
{
	UNUSED(state);
	static char large[CORE_SOFT_MAX + 1];

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(core_soft(f.nodes[0].core, (struct str) { large, sizeof(large) }), -EFBIG);
	assert_int_equal(core_soft(f.nodes[0].core, STR("one")), 0);
	fix_wait(&f, 1100);
	assert_true(str_eq(core_soft_of(f.nodes[2].core, 1), STR("one")));
	assert_int_equal(core_soft(f.nodes[0].core, STR("two")), 0);
	fix_wait(&f, 1100);
	assert_true(str_eq(core_soft_of(f.nodes[2].core, 1), STR("two")));
	FIX_VIEW(&f, 2, 2, 3);
	assert_int_equal(core_soft_of(f.nodes[2].core, 1).n, 0);
}

static void more_than_can_be_kept_in_memory_is_said_and_fetched_later(void **state)
{
	UNUSED(state);
	char operation[32];

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	f.nodes[2].rc = -ENOSPC;
	char *text = xcalloc(1, CORE_DOCUMENT_MAX);
	for (int i = 0; i < 13; i++) { /* 104 MiB */
		snprintf(operation, sizeof(operation), "op-%d", i);
		assert_int_equal(fix_write(&f, 1, operation, (struct str) { text, CORE_DOCUMENT_MAX }), 0);
		fix_run(&f);
	}
	free(text);
	assert_int_equal(f.nodes[0].n_answers, 13);
	assert_int_equal(state_of(3), CORE_SYNC);
	assert_true(f.nodes[2].n_applied < 14 && f.nodes[2].n_resync == 0);
	f.nodes[2].rc = 0;
	fix_wait(&f, 2000);
	assert_int_equal(f.nodes[2].n_resync, 1);
}

/* ---- members played by the test ---- */

static uint32_t played[FIX_NODES + 1]; /* the number of each one's last message */

static void say(uint32_t member, enum wire_kind kind, uint64_t epoch, struct sbuf *body)
{
	struct sbuf frame = { 0 };
	struct wire_head h = { .kind = kind,
			       .flags = WIRE_FIRST | WIRE_LAST,
			       .view = { f.ring, 1 },
			       .sender = member,
			       .epoch = epoch,
			       .sequence = ++played[member],
			       .total = (uint32_t)body->n };

	wire_frame(&frame, &h, (struct str) { body->n == 0 ? "" : body->p, body->n });
	core_deliver(f.nodes[0].core, member, (struct str) { frame.p, frame.n });
	sbuf_fini(&frame);
	sbuf_fini(body);
}

static void say_state(uint32_t member, uint64_t cluster)
{
	struct sbuf b = { 0 };
	struct wire_state s = { .cluster = cluster,
				.instance = member,
				.features_low = CORE_FEATURES_LOW,
				.features_high = CORE_FEATURES_HIGH,
				.last = 1,
				.flags = WIRE_ABLE | WIRE_TRUSTED | WIRE_VOTER };

	memcpy(s.hash, f.nodes[0].disk[0].entry.hash, ENTRY_HASH_LEN);
	wire_state_encode(&s, &b);
	say(member, WIRE_STATE, 0, &b);
}

static void say_ack(uint32_t member, uint64_t epoch, const struct entry *e)
{
	struct sbuf b = { 0 };
	struct wire_ack a = { .position = e->position };

	memcpy(a.hash, e->hash, ENTRY_HASH_LEN);
	wire_ack_encode(&a, &b);
	say(member, WIRE_ACK, epoch, &b);
}

/* Node 1 follows member 2 in epoch 1. */
static void play_following(void)
{
	struct sbuf b = { 0 };
	struct wire_suffix s = { .after = 1, .last = 1 };

	memset(played, 0, sizeof(played));
	fix_init(&f, 3, 0);
	fix_stop(&f.nodes[1]);
	fix_stop(&f.nodes[2]);
	f.nodes[0].group = 1;
	FIX_VIEW_OF(&f, 1, 2, 3);
	fix_run(&f);
	say_state(2, 0);
	say(2, WIRE_START, 1, &b);
	fix_run(&f);
	memcpy(s.hash, f.nodes[0].disk[0].entry.hash, ENTRY_HASH_LEN);
	wire_suffix_encode(&s, &b);
	say(2, WIRE_SUFFIX, 1, &b);
	fix_run(&f);
	assert_true(core_donor(f.nodes[0].core) == 2 && core_epoch(f.nodes[0].core) == 1);
}

/* Member 2 proposes an entry and gives it its place, behind the first. */
static void play_order(void)
{
	struct sbuf b = { 0 }, whole = { 0 };
	struct entry e = { .position = UINT64_MAX,
			   .revision = 7,
			   .kind = ENTRY_CONFIG,
			   .operation = "x",
			   .author = "",
			   .node = "",
			   .comment = "",
			   .idempotency_key = "" };

	entry_encode(&e, &b);
	say(2, WIRE_PROPOSE, 1, &b);
	e.epoch = e.revision = 1;
	e.position = 2;
	memcpy(e.previous, f.nodes[0].disk[0].entry.hash, ENTRY_HASH_LEN);
	entry_encode(&e, &whole);
	struct wire_order o = { .proposer = 2, .ticket = 7, .position = 2, .revision = 1 };
	memcpy(o.hash, e.hash, ENTRY_HASH_LEN);
	wire_order_encode(&o, &b);
	say(2, WIRE_ORDER, 1, &b);
	sbuf_fini(&whole);
}

/* Whether node 1 has said something of this kind and epoch since the last look. */
static bool said(enum wire_kind kind, uint64_t epoch)
{
	struct wire_head h;
	struct str part;
	bool found = false;

	for (size_t i = 0; i < f.n_packets; i++) {
		assert_true(wire_unframe((struct str) { f.packets[i].bytes.p, f.packets[i].bytes.n }, &h, &part));
		found = found || (h.kind == kind && h.epoch == epoch);
	}
	return found;
}

static void end_write(struct fix_node *n)
{
	assert_true(n->writing);
	n->writing = false;
	fix_disk_apply(n);
	core_persisted(n->core, n->token, 0);
}

static void no_promise_is_given_to_a_log_that_lacks_what_is_being_written(void **state)
{
	UNUSED(state);
	struct sbuf none = { 0 };
	struct fix_node *n = &f.nodes[0];

	play_following();
	say_state(3, 0);
	say_ack(3, 1, &n->disk[0].entry); /* as new as node 1, but for what comes now */
	n->held = true;
	play_order();
	assert_true(n->writing);
	say(3, WIRE_START, 2, &none);
	end_write(n);
	assert_true(said(WIRE_ACK, 1));
	if (n->writing)
		end_write(n);
	assert_false(said(WIRE_PROMISED, 2));
}

static void a_member_of_another_cluster_is_not_heard(void **state)
{
	UNUSED(state);
	struct sbuf none = { 0 };

	play_following();
	say_state(3, 99);
	say(3, WIRE_START, 5, &none);
	fix_run(&f);
	assert_int_equal(core_donor(f.nodes[0].core), 2);
	play_order();
	fix_run(&f);
	say_ack(3, 1, &f.nodes[0].disk[1].entry);
	assert_int_equal(f.nodes[0].n_applied, 0); /* with member 3's it would be a quorum */
	say_ack(2, 1, &f.nodes[0].disk[1].entry);
	assert_int_equal(f.nodes[0].n_applied, 2);
}

static void a_member_of_another_version_is_not_heard_and_stops_nobody(void **state)
{
	UNUSED(state);
	static const char later[WIRE_HEAD_LEN] = { 0, 0, 0, 0, 99 };

	play_following();
	core_deliver(f.nodes[0].core, 3, (struct str) { later, sizeof(later) });
	assert_int_equal(f.nodes[0].n_resync, 0);
	assert_int_equal(core_donor(f.nodes[0].core), 2);
}

static void whoever_differs_from_the_donor_says_so_and_stops_voting(void **state)
{
	UNUSED(state);
	struct entry other = { .position = 1 };

	play_following();
	say_ack(2, 1, &other);
	assert_false(core_can_vote(f.nodes[0].core));
	assert_int_equal(f.nodes[0].n_resync, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, clean)
	const struct CMUnitTest tests[] = {
		T(a_node_that_is_alone_commits_when_its_write_is_durable),
		T(alone_a_write_that_fails_is_not_made_and_the_next_one_tries_the_disk),
		T(what_another_may_have_is_not_said_to_be_not_made),
		T(a_log_becomes_a_clusters_while_nobody_else_is_there),
		T(a_log_without_a_table_does_not_lead_others),
		T(an_entry_is_applied_once_a_quorum_has_it_and_not_before),
		T(of_two_voters_both_write_while_both_are_there),
		T(of_two_voters_only_the_tie_breaker_writes_alone),
		T(of_two_voters_one_with_a_full_disk_is_not_waited_for),
		T(a_write_that_too_few_can_keep_is_refused),
		T(a_proposal_that_was_sent_ends_as_unknown_at_its_deadline),
		T(a_proposal_that_nobody_saw_is_certainly_not_made),
		T(a_proposal_outlives_its_view),
		T(the_same_key_is_made_once_on_any_node),
		T(a_stale_writer_is_refused),
		T(a_vote_is_given_to_a_member_that_has_the_log),
		T(one_change_of_the_table_at_a_time),
		T(the_tie_breaker_moves_only_when_both_have_written),
		T(a_forced_quorum_goes_on_and_the_other_side_learns_what_it_lost),
		T(a_damaged_store_does_not_vote_until_it_has_the_log),
		T(an_old_copy_of_a_disk_is_known_by_those_who_heard_more),
		T(a_missing_message_asks_for_another_view),
		T(a_long_document_travels_in_pieces_of_which_few_are_under_way),
		T(a_member_that_lacks_too_much_gets_the_newest_of_it),
		T(the_newest_soft_state_is_known_and_goes_with_the_member),
		T(no_promise_is_given_to_a_log_that_lacks_what_is_being_written),
		T(a_member_of_another_cluster_is_not_heard),
		T(a_member_of_another_version_is_not_heard_and_stops_nobody),
		T(whoever_differs_from_the_donor_says_so_and_stops_voting),
		T(more_than_can_be_kept_in_memory_is_said_and_fetched_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

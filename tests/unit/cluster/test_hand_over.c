/* SPDX-License-Identifier: Apache-2.0
 * A tie-breaker that stops: the other voter becomes it, also where another entry came first. The store and the node
 * around it are played.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/cluster/cluster_private.h"
#include "tests/unit/store/members_fixture.h"

enum { PLAYS = 4 };

static struct cluster_node node;
static enum core_result plays[PLAYS]; /* what becomes of each proposal */
static unsigned proposed;
static struct timer answer;
static store_done_fn *fn;
static void *fn_arg;
static unsigned done_calls;

/* ---- played ---- */

struct store_identity store_identity(const struct store *s)
{
	UNUSED(s);
	return (struct store_identity) { .id = 1, .instance = 101, .cluster = 77 };
}

size_t store_members(const struct store *s, uint32_t ids[CORE_MEMBERS_MAX])
{
	UNUSED(s);
	ids[0] = 1;
	ids[1] = 2;
	return 2;
}

bool store_quorate(const struct store *s)
{
	UNUSED(s);
	return true;
}

void cluster_look(const struct cluster_node *n, struct cluster_view *ret)
{
	struct fixture_view v;

	fixture_all_here(&v, n->table, 1);
	memcpy(ret->seen, v.seen, sizeof(ret->seen));
	ret->view = v.view;
	ret->view.seen = ret->seen;
}

static void on_answer(void *arg)
{
	enum core_result result = plays[proposed - 1];

	UNUSED(arg);
	if (result == CORE_COMMITTED)
		node.table->tie_breaker = 2;
	fn(&(struct store_result) { .result = result }, fn_arg);
}

int cluster_propose(struct cluster_node *n, struct members *to, const struct cluster_proposal *p)
{
	assert_ptr_equal(n, &node);
	assert_int_equal(to->tie_breaker, 2);
	members_free(to);
	assert_true(proposed < PLAYS);
	proposed++;
	fn = p->fn;
	fn_arg = p->arg;
	timer_set_in(node.env.loop, &answer, 1);
	return 0;
}

static void on_done(void *arg)
{
	assert_ptr_equal(arg, &node);
	done_calls++;
}

/* ---- two voters, this one the tie-breaker ---- */

static void stop_node(enum core_result first, enum core_result second)
{
	struct members *t = fixture_table(2, 1);

	node = (struct cluster_node) {
		.magic = CLUSTER_NODE_MAGIC, .env = { .loop = loop_new() }, .table = t, .corosync = (void *)&node
	};
	plays[0] = first;
	plays[1] = second;
	proposed = done_calls = 0;
	timer_init(&answer, on_answer, NULL);
	cluster_node_hand_over(&node, on_done, &node);
	while (done_calls == 0)
		loop_turn(node.env.loop, true);
	timer_stop(&answer);
	members_free(t);
	loop_free(node.env.loop);
}

static void the_other_voter_is_the_tie_breaker_then(void **state)
{
	UNUSED(state);
	stop_node(CORE_COMMITTED, CORE_UNKNOWN);
	assert_int_equal(proposed, 1);
	assert_int_equal(done_calls, 1);
}

static void whose_proposal_came_late_asks_again(void **state)
{
	static const enum core_result late[] = { CORE_STALE, CORE_REFUSED, CORE_NO_QUORUM };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(late); i++) {
		stop_node(late[i], CORE_COMMITTED);
		assert_int_equal(proposed, 2);
		assert_int_equal(done_calls, 1);
	}
}

static void a_disk_that_is_full_is_not_waited_for(void **state)
{
	UNUSED(state);
	stop_node(CORE_FULL, CORE_COMMITTED);
	assert_int_equal(proposed, 1);
	assert_int_equal(done_calls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_other_voter_is_the_tie_breaker_then),
		cmocka_unit_test(whose_proposal_came_late_asks_again),
		cmocka_unit_test(a_disk_that_is_full_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

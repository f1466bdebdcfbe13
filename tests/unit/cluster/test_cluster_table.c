/* SPDX-License-Identifier: Apache-2.0
 * Which table of nodes is believed: the log's, or one that was heard or kept, also after a quorum was forced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/store.h"
#include "daemon/base/clock.h"
#include "daemon/cluster/cluster_private.h"
#include "tests/unit/store/members_fixture.h"

enum { SELF = 1, OPEN_MS = 5000 };

static char dir[64];
static struct cluster_node n;

static bool warns_table, warns_members, warns_keep;

static void warn(const char *key, const char *text, void *arg)
{
	UNUSED(arg);
	if (strcmp(key, "cluster_table") == 0)
		warns_table = text != NULL;
	else if (strcmp(key, "members") == 0)
		warns_members = text != NULL;
	else if (strcmp(key, "cluster_keep") == 0)
		warns_keep = text != NULL;
}

static int setup(void **state)
{
	UNUSED(state);
	snprintf(dir, sizeof(dir), "/tmp/postroad-table-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return 1;
	n = (struct cluster_node) { .magic = CLUSTER_NODE_MAGIC, .env.warn = warn };
	return !trust_files_open(&n.trust, dir);
}

static void forget(void)
{
	members_free(n.table);
	members_free(n.heard);
	n.table = n.heard = NULL;
	n.heard_alone = false;
}

static int teardown(void **state)
{
	UNUSED(state);
	forget();
	trust_files_forget(&n.trust);
	int rc = rmdir(n.trust.dir);
	trust_files_close(&n.trust);
	return rc != 0 || rmdir(dir) != 0;
}

/* The tables of a test differ by their next_id. */
static struct sbuf document(unsigned nodes, unsigned mark)
{
	struct members *t = fixture_table(nodes, 1);
	struct sbuf out = { 0 };

	t->next_id = mark;
	members_encode(t, &out);
	members_free(t);
	return out;
}

/* As forcing a quorum makes it: a head alone. */
static struct sbuf head(unsigned nodes, uint32_t voter)
{
	struct members *t = fixture_table(nodes, 1);
	struct sbuf out = { 0 };
	struct voters v;

	members_voters(t, &v);
	for (size_t i = 0; i < v.n; i++)
		if (v.list[i].id == voter)
			v.list[0] = v.list[i];
	v.n = 1;
	v.tie_breaker = 0;
	voters_encode(&v, &out);
	members_free(t);
	return out;
}

static void apply(uint64_t generation, uint64_t position, struct sbuf stolen)
{
	struct entry e = { .epoch = generation << 32 | 1,
			   .position = position,
			   .kind = ENTRY_MEMBERSHIP,
			   .document = { stolen.p, stolen.n } };

	cluster_node_applied(&n, &e);
	sbuf_fini(&stolen);
}

static void hear(uint64_t generation, uint64_t position, struct sbuf stolen)
{
	cluster_heard(&n, (struct cluster_stamp) { generation, position }, (struct str) { stolen.p, stolen.n });
	sbuf_fini(&stolen);
}

static void the_newer_of_two_is_believed(void **state)
{
	UNUSED(state);
	apply(0, 10, document(2, 10));
	hear(0, 9, document(2, 9));
	assert_int_equal(cluster_table(&n)->next_id, 10);
	hear(0, 12, document(2, 12));
	assert_int_equal(cluster_table(&n)->next_id, 12);
	apply(0, 11, document(2, 11));
	assert_int_equal(cluster_table(&n)->next_id, 12);
	apply(0, 13, document(2, 13));
	assert_int_equal(cluster_table(&n)->next_id, 13);
	assert_ptr_equal(cluster_table(&n), n.table);
}

static void after_a_forced_quorum_the_void_table_is_left(void **state)
{
	UNUSED(state);
	apply(0, 40, document(2, 40));
	apply(0, 50, document(2, 50));
	cluster_node_reset(&n);
	/* Until the log has one: how to reach the others. */
	assert_int_equal(cluster_table(&n)->next_id, 50);
	apply(0, 40, document(2, 40));
	assert_int_equal(cluster_table(&n)->next_id, 50);
	apply(1, 41, head(2, 2));
	assert_ptr_equal(cluster_table(&n), n.table);
	assert_true(n.table->bare);
	/* The rest is of the log's table, not of the void one. */
	assert_int_equal(n.table->next_id, 40);
	apply(1, 42, document(2, 42));
	assert_ptr_equal(cluster_table(&n), n.table);
	assert_int_equal(n.table->next_id, 42);
}

static void a_bare_table_alone_keeps_the_addresses_that_are_known(void **state)
{
	UNUSED(state);
	apply(0, 50, document(2, 50));
	cluster_node_reset(&n);
	apply(1, 41, head(2, 2));
	assert_ptr_equal(cluster_table(&n), n.table);
	assert_int_equal(n.table->n, 2);
	assert_int_not_equal(n.table->list[0].listen.sa.sa_family, 0);
}

static void what_cannot_be_read_is_replaced_by_the_table_that_comes_next(void **state)
{
	struct sbuf twice = head(2, 2), once = head(2, 2);

	UNUSED(state);
	sbuf_add(&twice, once.p, once.n);
	sbuf_fini(&once);
	apply(0, 40, document(2, 40));
	apply(1, 41, twice);
	assert_true(warns_members);
	/* A proposal names the position of the newest. */
	assert_true(n.position == 41 && n.generation == 1);
	assert_true(n.table->bare && n.table->list[0].votes == 0 && n.table->list[1].votes == 1);
	assert_int_equal(n.table->next_id, 40);
	apply(1, 42, document(2, 42));
	assert_false(warns_members);
	assert_int_equal(n.position, 42);
}

static void a_table_of_a_newer_format_is_not_replaced(void **state)
{
	struct sbuf newer = document(2, 41);
	char *needs = memmem(newer.p, newer.n, "\"needs\":1", 9);

	UNUSED(state);
	assert_non_null(needs);
	needs[8] = '9';
	apply(0, 40, document(2, 40));
	apply(0, 41, newer);
	assert_true(warns_members);
	assert_int_equal(n.position, 40);
	assert_int_equal(n.table->next_id, 40);
	apply(0, 42, document(2, 42));
}

static void a_void_table_by_a_call_is_not_taken(void **state)
{
	UNUSED(state);
	apply(0, 40, document(2, 40));
	apply(1, 41, head(2, 2));
	apply(1, 42, document(2, 42));
	hear(0, 50, document(2, 50));
	assert_ptr_equal(cluster_table(&n), n.table);
	hear(1, 43, document(2, 43));
	assert_int_equal(cluster_table(&n)->next_id, 43);
}

static void a_void_table_gives_way_to_one_by_a_call(void **state)
{
	UNUSED(state);
	apply(0, 50, document(2, 50));
	hear(1, 42, document(2, 42));
	assert_int_equal(cluster_table(&n)->next_id, 42);
	apply(0, 51, document(2, 51));
	assert_int_equal(cluster_table(&n)->next_id, 42);
}

static void start_again(void)
{
	cluster_keep(&n);
	forget();
	n.position = n.generation = 0;
	n.heard_at = (struct cluster_stamp) { 0 };
	cluster_recall(&n);
}

static void what_is_kept_is_the_newest_while_older_ones_are_told(void **state)
{
	UNUSED(state);
	hear(0, 60, document(3, 60));
	apply(0, 10, document(2, 10));
	apply(0, 11, document(2, 11));
	start_again();
	assert_int_equal(cluster_table(&n)->next_id, 60);
	apply(0, 11, document(2, 11));
	assert_int_equal(cluster_table(&n)->next_id, 60);
	apply(0, 61, document(3, 61));
	start_again();
	assert_int_equal(cluster_table(&n)->next_id, 61);
}

static void what_could_not_be_kept_is_tried_again_and_not_at_once(void **state)
{
	char *beside = xasprintf("%s/table.new", n.trust.dir);

	UNUSED(state);
	assert_int_equal(mkdir(beside, 0700), 0);
	apply(0, 10, document(2, 10));
	cluster_keep(&n);
	assert_true(n.unkept);
	assert_true(warns_keep);
	assert_int_equal(rmdir(beside), 0);
	free(beside);
	cluster_keep(&n);
	assert_true(n.unkept);
	n.keep_again_ms = clock_mono_ms();
	start_again();
	assert_false(n.unkept);
	assert_false(warns_keep);
	assert_int_equal(cluster_table(&n)->next_id, 10);
}

static void a_void_table_that_was_kept_gives_way_at_a_start(void **state)
{
	UNUSED(state);
	apply(0, 50, document(2, 50));
	start_again();
	assert_int_equal(cluster_table(&n)->next_id, 50);
	apply(1, 42, document(2, 42));
	assert_ptr_equal(cluster_table(&n), n.table);
	start_again();
	hear(0, 50, document(2, 50));
	assert_int_equal(cluster_table(&n)->next_id, 42);
}

/* Two generations can have one number, where nobody heard of the first. */
static void in_sync_the_logs_table_is_believed(void **state)
{
	char *why = NULL, *warning = NULL;
	struct store *s = store_open(dir, "n1", &why, &warning);

	UNUSED(state);
	assert_non_null(s);
	n.env.store = s;
	apply(1, 50, document(2, 50));
	cluster_node_reset(&n);
	apply(1, 42, document(2, 42));
	cluster_settle(&n);
	assert_int_equal(cluster_table(&n)->next_id, 50);
	assert_int_equal(store_start(s), 0);
	assert_true(store_wait(s, OPEN_MS));
	assert_true(store_quorate(s));
	cluster_settle(&n);
	assert_ptr_equal(cluster_table(&n), n.table);
	start_again();
	assert_int_equal(cluster_table(&n)->next_id, 42);
	store_close(s);
	for (const char *const *f = (const char *const[]) { "store.log", "store.lock", "identity", NULL }; *f != NULL;
	     f++) {
		char *path = xasprintf("%s/%s", dir, *f);
		unlink(path);
		free(path);
	}
}

/* ---- what others say ---- */

static void tell_at(uint32_t id, struct cluster_stamp at, struct sbuf stolen)
{
	struct cluster_word w = { .id = id, .at = at, .document = { stolen.p, stolen.n }, .quorate = true };

	cluster_told(&n, &w);
	sbuf_fini(&stolen);
}

static void tell(uint32_t id, uint64_t position, struct sbuf stolen)
{
	tell_at(id, (struct cluster_stamp) { .position = position }, stolen);
}

/* A member of three, number 1 with the instance of the fixture, whose log is at 40. */
static void with_store(void)
{
	char *why = NULL, *warning = NULL;

	n.env.store = store_open(dir, "n1", &why, &warning);
	assert_non_null(n.env.store);
	assert_int_equal(store_join(n.env.store, SELF, 77, 101), 0);
	apply(0, 40, document(3, 40));
	cluster_keep(&n);
}

static void without_store(void)
{
	static const char *const names[] = { "store.log", "store.log.before", "store.lock", "identity" };

	store_close(n.env.store);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = xasprintf("%s/%s", dir, names[i]);
		unlink(path);
		free(path);
	}
}

static void one_of_two_others_neither_removes_this_node_nor_names_its_members(void **state)
{
	UNUSED(state);
	with_store();
	tell(2, 50, document(3, 50));
	assert_int_equal(cluster_table(&n)->next_id, 40);
	/* Corosync is not started by an old file while a newer one may exist. */
	assert_false(n.asked);
	cluster_told_removed(&n, 2, true);
	assert_false(n.purging);
	tell(3, 50, document(3, 50));
	assert_int_equal(cluster_table(&n)->next_id, 50);
	assert_true(n.asked);
	assert_false(n.heard_alone);
	cluster_told_removed(&n, 3, true);
	assert_true(n.purging);
	without_store();
}

/* Its table is that of fixture_table(), but for what says that this node goes. */
static void insist_at(uint32_t id, struct cluster_stamp at, bool leaving)
{
	struct members *t = fixture_table(3, 1);
	struct sbuf out = { 0 };

	t->next_id = (uint32_t)at.position;
	if (leaving) {
		t->list[0].state = MEMBERS_LEAVING;
		t->list[0].votes = 0;
		t->tie_breaker = 2;
		t->change = (struct members_change) { .kind = MEMBERS_LEAVE,
						      .node = SELF,
						      .generation = t->generation + 1 };
		t->list[0].until = t->last_generation = t->generation + 1;
	}
	assert_null(members_check(t));
	members_encode(t, &out);
	members_free(t);
	for (unsigned i = 0; i < 2; i++) {
		struct sbuf copy = { 0 };
		sbuf_add(&copy, out.p, out.n);
		tell_at(id, at, copy);
		for (size_t k = 0; k < MEMBERS_MAX; k++)
			n.words.list[k].since_ms -= WORDS_ALONE_MS;
	}
	sbuf_fini(&out);
}

static void insist(uint32_t id, uint64_t position, bool leaving)
{
	insist_at(id, (struct cluster_stamp) { .position = position }, leaving);
}

static void one_alone_names_the_way_but_does_not_let_this_node_go(void **state)
{
	UNUSED(state);
	with_store();
	insist(2, 50, true);
	assert_int_equal(cluster_table(&n)->next_id, 40);
	insist(2, 51, false);
	assert_int_equal(cluster_table(&n)->next_id, 51);
	assert_true(n.heard_alone);
	/* Nor by a second step: after a start, or by the voters it had named. */
	start_again();
	assert_int_equal(cluster_table(&n)->next_id, 40);
	apply(0, 40, document(3, 40));
	insist(2, 51, false);
	cluster_told_removed(&n, 2, true);
	assert_false(n.purging);
	assert_true(cluster_said_removed(&n));
	without_store();
}

static void one_alone_is_believed_of_a_quorum_that_was_forced(void **state)
{
	uint64_t hour = core_forced_hour(clock_wall());

	UNUSED(state);
	with_store();
	assert_true(hour > 0);
	insist_at(2, (struct cluster_stamp) { hour << CORE_FORCED_ID_BITS | 2, 45 }, false);
	assert_int_equal(cluster_table(&n)->next_id, 45);
	assert_true(n.heard_alone);
	assert_false(warns_table);
	without_store();
}

static void what_is_told_and_not_believed_is_warned_of(void **state)
{
	const uint64_t far = 40 + WORDS_AHEAD + 1;

	UNUSED(state);
	with_store();
	tell(2, far, document(3, 50));
	assert_false(warns_table);
	insist(2, far, false);
	assert_int_equal(cluster_table(&n)->next_id, 40);
	assert_true(warns_table);
	cluster_doubt_over(&n);
	assert_true(warns_table);
	n.doubted_ms -= CLUSTER_DOUBTED_MS;
	cluster_doubt_over(&n);
	assert_false(warns_table);
	without_store();
}

static void what_a_majority_says_takes_the_place_of_what_one_alone_said(void **state)
{
	UNUSED(state);
	with_store();
	insist(2, 60, false);
	assert_int_equal(cluster_table(&n)->next_id, 60);
	tell(2, 50, document(3, 50));
	assert_int_equal(cluster_table(&n)->next_id, 60);
	tell(3, 50, document(3, 50));
	assert_int_equal(cluster_table(&n)->next_id, 50);
	assert_false(n.heard_alone);
	without_store();
}

/* A table in which a node joins, with a change of this generation. */
static struct sbuf joining(uint32_t node, uint64_t generation)
{
	struct members *t = fixture_table(3, 1);
	struct members_node *m = &t->list[t->n++];
	struct sbuf out = { 0 };

	*m = fixture_node(4, 1);
	m->id = node;
	m->state = MEMBERS_JOINING;
	m->from = t->last_generation = generation;
	t->next_id = node + 1;
	t->change = (struct members_change) { .kind = MEMBERS_JOIN, .node = node, .generation = generation };
	assert_null(members_check(t));
	members_encode(t, &out);
	members_free(t);
	return out;
}

static bool is_old(void)
{
	struct cluster_view v;

	cluster_look(&n, &v);
	return v.view.change_age >= MEMBERS_JOIN_SEC;
}

/* Whatever the clocks of the others say. */
static void a_change_has_the_age_since_it_was_seen_here(void **state)
{
	UNUSED(state);
	with_store();
	n.env.view = report_view_new();
	apply(0, 41, joining(4, 6));
	assert_false(is_old());
	n.changes_since_ms -= (int64_t)MEMBERS_JOIN_SEC * 1000;
	assert_true(is_old());
	apply(0, 42, joining(4, 7)); /* another key */
	assert_true(is_old());
	apply(0, 43, joining(5, 8));
	assert_false(is_old());
	n.changes_since_ms -= (int64_t)MEMBERS_JOIN_SEC * 1000;
	apply(0, 44, document(3, 44));
	apply(0, 45, joining(5, 9));
	assert_false(is_old());
	report_view_free(n.env.view);
	without_store();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_newer_of_two_is_believed, setup, teardown),
		cmocka_unit_test_setup_teardown(after_a_forced_quorum_the_void_table_is_left, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bare_table_alone_keeps_the_addresses_that_are_known, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_replaced_by_the_table_that_comes_next, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_table_of_a_newer_format_is_not_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(a_void_table_by_a_call_is_not_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(a_void_table_gives_way_to_one_by_a_call, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_kept_is_the_newest_while_older_ones_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(what_could_not_be_kept_is_tried_again_and_not_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_void_table_that_was_kept_gives_way_at_a_start, setup, teardown),
		cmocka_unit_test_setup_teardown(in_sync_the_logs_table_is_believed, setup, teardown),
		cmocka_unit_test_setup_teardown(one_of_two_others_neither_removes_this_node_nor_names_its_members,
						setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_majority_says_takes_the_place_of_what_one_alone_said, setup,
						teardown),
		cmocka_unit_test_setup_teardown(one_alone_names_the_way_but_does_not_let_this_node_go, setup, teardown),
		cmocka_unit_test_setup_teardown(one_alone_is_believed_of_a_quorum_that_was_forced, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_told_and_not_believed_is_warned_of, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_has_the_age_since_it_was_seen_here, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

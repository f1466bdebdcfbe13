/* SPDX-License-Identifier: Apache-2.0
 * What a node does by the table: a next key of corosync that nobody has any more does not hold a change up for ever.
 * The store and the node around it are played.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/cluster/cluster_private.h"
#include "tests/unit/store/members_fixture.h"

static char dir[64];
static struct cluster_node node;
static struct fixture_view here;
static struct members *proposed;
static unsigned fetched, asked;

/* ---- played ---- */

const struct members *cluster_table(const struct cluster_node *n)
{
	return n->table;
}

void cluster_look(const struct cluster_node *n, struct cluster_view *ret)
{
	UNUSED(n);
	memcpy(ret->seen, here.seen, sizeof(ret->seen));
	ret->view = here.view;
	ret->view.seen = ret->seen;
}

int cluster_propose(struct cluster_node *n, struct members *to, const struct cluster_proposal *p)
{
	UNUSED(n);
	UNUSED(p);
	assert_null(proposed);
	proposed = to;
	return 0;
}

void cluster_fetch_key(struct cluster_node *n, const uint8_t hash[MEMBERS_HASH_LEN])
{
	assert_memory_equal(hash, n->table->change.key, MEMBERS_HASH_LEN);
	fetched++;
}

void corosync_status(struct corosync *c, struct corosync_status *ret)
{
	UNUSED(c);
	*ret = (struct corosync_status) { .connected = true, .id = here.view.self };
}

struct store_identity store_identity(const struct store *s)
{
	UNUSED(s);
	return (struct store_identity) { .id = here.view.self, .instance = 100 + here.view.self, .cluster = 77 };
}

void cluster_warn(struct cluster_node *n, const char *key, const char *fmt, ...)
{
	UNUSED(n);
	UNUSED(key);
	UNUSED(fmt);
}

void cluster_warn_over(struct cluster_node *n, const char *key)
{
	UNUSED(n);
	UNUSED(key);
}

void cluster_ask(struct cluster_node *n)
{
	UNUSED(n);
	asked++;
}

void cluster_fetch_authority(struct cluster_node *n)
{
	UNUSED(n);
}

bool cluster_end(struct cluster_node *n)
{
	UNUSED(n);
	return true;
}

void own_certificate_tend(struct cluster_node *n, int64_t now)
{
	UNUSED(n);
	UNUSED(now);
}

static bool no_ha(void *ha, struct ha_message *m, ha_answer_fn *fn, void *arg)
{
	UNUSED(ha);
	UNUSED(m);
	UNUSED(fn);
	UNUSED(arg);
	return false;
}

/* ---- three nodes, and a new key under way ---- */

static int begin(void **state)
{
	struct members *t = fixture_table(3, 1);
	struct members_refusal why;
	uint8_t hash[MEMBERS_HASH_LEN];
	char *text = NULL;

	UNUSED(state);
	snprintf(dir, sizeof(dir), "/tmp/postroad-drive-XXXXXX");
	node = (struct cluster_node) { .magic = CLUSTER_NODE_MAGIC,
				       .env.ha_request = no_ha,
				       .corosync = (void *)&node };
	node.files.installed = t->generation;
	if (mkdtemp(dir) == NULL || !trust_files_open(&node.trust, dir) || !trust_files_make_key(&node.trust, hash))
		return 1;
	node.trust.ca = ca_make("mail", clock_wall(), &text);
	fixture_all_here(&here, t, 1);
	node.table = members_rotate(t, &here.view, hash, &why);
	members_free(t);
	fetched = asked = 0;
	return node.table == NULL || node.trust.ca == NULL;
}

static int end(void **state)
{
	UNUSED(state);
	members_free(node.table);
	members_free(proposed);
	proposed = NULL;
	trust_files_forget(&node.trust);
	int rc = rmdir(node.trust.dir);
	trust_files_close(&node.trust);
	return rc != 0 || rmdir(dir) != 0;
}

static void lose_keys(void)
{
	static const uint8_t none[MEMBERS_HASH_LEN];

	assert_true(trust_files_keep_keys(&node.trust, none, none, clock_wall() + TRUST_KEY_YOUNG_SEC + 1));
}

static void nobody_has_had_it_for_long(void)
{
	node.files.key_lost_ms = clock_mono_ms() - CLUSTER_KEY_LOST_MS;
}

static void a_key_that_is_lost_is_asked_for_and_then_another_one(void **state)
{
	uint8_t key[COROSYNC_KEY_LEN];

	UNUSED(state);
	lose_keys();
	cluster_drive(&node);
	assert_int_equal(fetched, 1);
	assert_null(proposed);
	nobody_has_had_it_for_long();
	cluster_drive(&node);
	assert_non_null(proposed);
	assert_int_equal(proposed->change.kind, MEMBERS_ROTATE);
	assert_int_equal(proposed->change.generation, node.table->change.generation + 1);
	assert_memory_not_equal(proposed->change.key, node.table->change.key, MEMBERS_HASH_LEN);
	assert_true(trust_files_read_key(&node.trust, proposed->change.key, key));
}

static void a_key_that_is_here_stays(void **state)
{
	UNUSED(state);
	nobody_has_had_it_for_long();
	cluster_drive(&node);
	assert_null(proposed);
	assert_int_equal(node.files.key_lost_ms, 0);
}

static void only_who_coordinates_makes_another_one(void **state)
{
	UNUSED(state);
	lose_keys();
	here.view.self = 2;
	nobody_has_had_it_for_long();
	cluster_drive(&node);
	assert_null(proposed);
	here.view.self = 1;
	here.view.quorate = false;
	nobody_has_had_it_for_long();
	cluster_drive(&node);
	assert_null(proposed);
}

/* It may have been removed by a quorum that was forced, and the change then waits for ever. */
static void who_is_away_is_asked_also_while_a_change_waits_for_it(void **state)
{
	UNUSED(state);
	node.asked = true;
	node.asked_ms = clock_mono_ms() - CLUSTER_ASK_SELDOM_MS;
	cluster_drive(&node);
	assert_int_equal(asked, 0);
	fixture_gone(&here, 3);
	cluster_drive(&node);
	assert_int_equal(asked, 1);
}

/* A remove is not in a log that it does not get. */
static void who_cannot_take_part_still_asks_whether_it_was_removed(void **state)
{
	UNUSED(state);
	node.corosync = NULL;
	here.view.quorate = false;
	node.asked_ms = clock_mono_ms() - CLUSTER_ASK_MS;
	lose_keys();
	cluster_drive(&node);
	assert_int_equal(asked, 1);
	assert_int_equal(fetched, 0);
	assert_null(proposed);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_key_that_is_lost_is_asked_for_and_then_another_one),
		T(a_key_that_is_here_stays),
		T(only_who_coordinates_makes_another_one),
		T(who_is_away_is_asked_also_while_a_change_waits_for_it),
		T(who_cannot_take_part_still_asks_whether_it_was_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

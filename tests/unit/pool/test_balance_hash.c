/* SPDX-License-Identifier: Apache-2.0
 * The consistent hash: keys stay where they are, and no server takes more than its share and a quarter.
 */
#include "tests/unit/pool/view_fixture.h"

enum { N_KEYS = 4000 };

static struct pick_query query_of(unsigned key)
{
	return (struct pick_query) { .hash = hash_stable(&key, sizeof(key)) };
}

static void map_keys(struct view *v, size_t *where)
{
	for (unsigned key = 0; key < N_KEYS; key++) {
		struct pick_query q = query_of(key);
		where[key] = view_pick_and_end(v, &q);
	}
}

static void a_key_always_finds_the_same_server(void **state)
{
	UNUSED(state);
	static size_t first[N_KEYS], again[N_KEYS];
	struct view v;

	view_init(&v, BALANCE_SOURCE, 5);
	view_make(&v);
	map_keys(&v, first);
	view_make(&v); /* another view of the same servers */
	map_keys(&v, again);
	assert_memory_equal(first, again, sizeof(first));
	view_fini(&v);
}

static void assert_only_keys_of(const size_t *before, const size_t *after, size_t server)
{
	unsigned moved = 0;

	for (unsigned key = 0; key < N_KEYS; key++) {
		if (before[key] == server) {
			assert_int_not_equal(after[key], server);
			moved++;
		} else {
			assert_int_equal(after[key], before[key]);
		}
	}
	assert_int_not_equal(moved, 0);
}

static void only_the_keys_of_a_server_that_goes_down_move_and_they_come_back(void **state)
{
	UNUSED(state);
	static size_t before[N_KEYS], after[N_KEYS];
	struct view v;

	view_init(&v, BALANCE_SENDER_DOMAIN, 5);
	view_make(&v);
	map_keys(&v, before);
	server_set_health(v.servers[2], WORD_HEALTH_DOWN);
	map_keys(&v, after);
	assert_only_keys_of(before, after, 2);
	server_set_health(v.servers[2], WORD_HEALTH_UP);
	map_keys(&v, after);
	assert_memory_equal(before, after, sizeof(before));
	view_fini(&v);
}

static void only_the_keys_of_a_server_that_leaves_the_configuration_move(void **state)
{
	UNUSED(state);
	static size_t before[N_KEYS], after[N_KEYS];
	struct view v;

	view_init(&v, BALANCE_RECIPIENT_DOMAIN, 5);
	v.weights[0] = 250; /* unequal weights must not shift the others' points */
	view_make(&v);
	map_keys(&v, before);
	server_unref(v.servers[4]);
	v.n = 4;
	view_make(&v);
	map_keys(&v, after);
	assert_only_keys_of(before, after, 4);
	view_fini(&v);
}

static void keys_spread_by_weight(void **state)
{
	UNUSED(state);
	static size_t where[N_KEYS];
	unsigned counts[VIEW_MAX] = { 0 };
	struct view v;

	view_init(&v, BALANCE_SOURCE, 3);
	v.weights[0] = 200;
	view_make(&v);
	map_keys(&v, where);
	for (unsigned key = 0; key < N_KEYS; key++)
		counts[where[key]]++;
	/* Half and two quarters, give or take what 160 points leave uneven. */
	assert_in_range(counts[0], N_KEYS * 40 / 100, N_KEYS * 60 / 100);
	assert_in_range(counts[1], N_KEYS * 17 / 100, N_KEYS * 33 / 100);
	view_fini(&v);
}

static void one_heavy_key_spills_over_at_a_quarter_above_the_share(void **state)
{
	UNUSED(state);
	struct pick_query q = query_of(7);
	struct view v;

	view_init(&v, BALANCE_SOURCE, 4);
	view_make(&v);
	size_t home = view_pick_and_end(&v, &q);
	for (unsigned i = 0; i < 400; i++)
		view_pick(&v, &q);
	for (size_t i = 0; i < v.n; i++)
		assert_in_range(atomic_load(&v.servers[i]->n_txns), 0, 125);
	assert_int_equal(atomic_load(&v.servers[home]->n_txns), 125);
	view_end_all(&v);
	assert_int_equal(view_pick_and_end(&v, &q), home);
	view_fini(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_always_finds_the_same_server),
		cmocka_unit_test(only_the_keys_of_a_server_that_goes_down_move_and_they_come_back),
		cmocka_unit_test(only_the_keys_of_a_server_that_leaves_the_configuration_move),
		cmocka_unit_test(keys_spread_by_weight),
		cmocka_unit_test(one_heavy_key_spills_over_at_a_quarter_above_the_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

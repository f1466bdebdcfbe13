/* SPDX-License-Identifier: Apache-2.0
 * What reports of traffic do to a server, and the bounds of it.
 */
#include "tests/unit/pool/view_fixture.h"

static void report(struct view *v, size_t i, enum server_verdict verdict, unsigned times, int64_t now_ms)
{
	while (times-- > 0)
		server_report(v->pool, v->servers[i], verdict, now_ms);
}

static void assert_state(const struct view *v, size_t i, enum server_state want)
{
	assert_string_equal(server_state_names[server_state(v->servers[i])], server_state_names[want]);
}

static void failures_in_a_row_eject_and_a_success_between_does_not(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 2);
	view_make(&v);
	report(&v, 0, SERVER_SAW_FAULT, 2, 0);
	report(&v, 0, SERVER_SAW_SUCCESS, 1, 0);
	report(&v, 0, SERVER_SAW_FAULT, 2, 0);
	assert_state(&v, 0, SERVER_UP);
	report(&v, 0, SERVER_SAW_FAULT, 1, 0);
	assert_state(&v, 0, SERVER_EJECTED);
	view_fini(&v);
}

static void an_ejection_ends_and_the_next_one_lasts_longer_up_to_a_bound(void **state)
{
	UNUSED(state);
	int64_t now = 0;
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 2);
	view_make(&v);
	for (unsigned i = 1; i <= 12; i++) {
		int64_t want = now + 1000 * (i < 10 ? i : 10);
		report(&v, 0, SERVER_SAW_FAULT, 3, now);
		assert_int_equal(outlier_expire(v.servers[0], now), want);
		assert_int_equal(outlier_expire(v.servers[0], want - 1), want);
		assert_state(&v, 0, SERVER_EJECTED);
		assert_int_equal(outlier_expire(v.servers[0], want), 0);
		assert_state(&v, 0, SERVER_UP);
		now = want;
	}
	report(&v, 0, SERVER_SAW_SUCCESS, 1, now + 999); /* not well for long enough */
	assert_int_equal(atomic_load(&v.servers[0]->eject_times), 10);
	report(&v, 0, SERVER_SAW_SUCCESS, 1, now + 1000);
	assert_int_equal(atomic_load(&v.servers[0]->eject_times), 0);
	view_fini(&v);
}

static void never_more_than_the_share_is_ejected(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 5);
	view_make(&v);
	for (size_t i = 0; i < v.n; i++)
		report(&v, i, SERVER_SAW_FAULT, 10, 0);
	assert_state(&v, 0, SERVER_EJECTED);
	assert_state(&v, 1, SERVER_EJECTED); /* two of five: a third would be over half */
	for (size_t i = 2; i < v.n; i++)
		assert_state(&v, i, SERVER_UP);
	view_fini(&v);
}

static void one_may_be_ejected_where_the_share_rounds_to_none_but_never_the_last(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 3);
	v.config.outlier.max_ejected_pct = 10;
	view_make(&v);
	server_set_health(v.servers[2], WORD_HEALTH_DOWN);
	report(&v, 0, SERVER_SAW_FAULT, 3, 0);
	assert_state(&v, 0, SERVER_EJECTED);
	report(&v, 1, SERVER_SAW_FAULT, 30, 0);
	assert_state(&v, 1, SERVER_UP);
	view_fini(&v);

	view_init(&v, BALANCE_ROUNDROBIN, 1);
	view_make(&v);
	report(&v, 0, SERVER_SAW_FAULT, 30, 0);
	assert_state(&v, 0, SERVER_UP);
	view_fini(&v);
}

static void zero_turns_ejection_off(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 2);
	v.config.outlier.consecutive = 0;
	view_make(&v);
	report(&v, 0, SERVER_SAW_FAULT, 100, 0);
	assert_state(&v, 0, SERVER_UP);
	v.config.outlier.consecutive = 3;
	v.config.outlier.max_ejected_pct = 0;
	report(&v, 0, SERVER_SAW_FAULT, 100, 0);
	assert_state(&v, 0, SERVER_UP);
	view_fini(&v);
}

static void a_busy_hold_doubles_from_one_trouble_to_the_next_up_to_its_maximum(void **state)
{
	UNUSED(state);
	const int64_t holds[] = { 1000, 2000, 4000, 4000 };
	int64_t now = 0;
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 1);
	view_make(&v);
	for (size_t i = 0; i < ARRAY_LEN(holds); i++) {
		report(&v, 0, SERVER_SAW_BUSY, 50, now); /* one trouble, seen by many */
		assert_state(&v, 0, SERVER_BUSY);
		assert_int_equal(outlier_expire(v.servers[0], now), now + holds[i]);
		report(&v, 0, SERVER_SAW_SUCCESS, 1, now); /* an old connection goes on well */
		assert_state(&v, 0, SERVER_BUSY);
		now += holds[i];
		assert_int_equal(outlier_expire(v.servers[0], now), 0);
		assert_state(&v, 0, SERVER_UP);
	}
	report(&v, 0, SERVER_SAW_SUCCESS, 1, now);
	report(&v, 0, SERVER_SAW_BUSY, 1, now);
	assert_int_equal(outlier_expire(v.servers[0], now), now + 1000);
	view_fini(&v);
}

static void a_server_found_dead_by_checks_starts_afresh_when_it_comes_back(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 2);
	view_make(&v);
	report(&v, 0, SERVER_SAW_FAULT, 3, 0);
	report(&v, 0, SERVER_SAW_BUSY, 1, 0);
	server_set_health(v.servers[0], WORD_HEALTH_DOWN);
	assert_state(&v, 0, SERVER_DOWN);
	server_set_health(v.servers[0], WORD_HEALTH_UP);
	assert_state(&v, 0, SERVER_UP);
	view_fini(&v);
}

static void the_strongest_fact_is_the_state(void **state)
{
	UNUSED(state);
	const struct {
		uint64_t fact;
		enum server_state want;
	} rows[] = {
		{ WORD_HEALTH_UP, SERVER_UP },
		{ WORD_HEALTH_UP | WORD_STARTING, SERVER_STARTING },
		{ WORD_HEALTH_UP | WORD_STARTING | WORD_BUSY, SERVER_BUSY },
		{ WORD_HEALTH_UP | WORD_BUSY | WORD_EJECTED, SERVER_EJECTED },
		{ WORD_HEALTH_UNKNOWN | WORD_BUSY, SERVER_UNKNOWN },
		{ WORD_HEALTH_DOWN | WORD_EJECTED, SERVER_DOWN },
		{ WORD_HEALTH_DOWN | SERVER_ADMIN_DRAIN, SERVER_DRAIN },
		{ WORD_HEALTH_UP | WORD_EJECTED | SERVER_ADMIN_MAINT, SERVER_MAINT },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(server_state_names[server_word_state(rows[i].fact)],
				    server_state_names[rows[i].want]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failures_in_a_row_eject_and_a_success_between_does_not),
		cmocka_unit_test(an_ejection_ends_and_the_next_one_lasts_longer_up_to_a_bound),
		cmocka_unit_test(never_more_than_the_share_is_ejected),
		cmocka_unit_test(one_may_be_ejected_where_the_share_rounds_to_none_but_never_the_last),
		cmocka_unit_test(zero_turns_ejection_off),
		cmocka_unit_test(a_busy_hold_doubles_from_one_trouble_to_the_next_up_to_its_maximum),
		cmocka_unit_test(a_server_found_dead_by_checks_starts_afresh_when_it_comes_back),
		cmocka_unit_test(the_strongest_fact_is_the_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

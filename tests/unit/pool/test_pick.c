/* SPDX-License-Identifier: Apache-2.0
 * Who is a candidate, and which of the candidates the algorithms take.
 */
#include "tests/unit/pool/view_fixture.h"

#include <pthread.h>
#include <sched.h>

static const struct pick_query any;

static void count_picks(struct view *v, unsigned n, unsigned *counts)
{
	memset(counts, 0, VIEW_MAX * sizeof(*counts));
	for (unsigned i = 0; i < n; i++)
		counts[view_pick_and_end(v, &any)]++;
}

/* ---- algorithms ---- */

static void roundrobin_gives_each_server_exactly_its_weight(void **state)
{
	UNUSED(state);
	unsigned counts[VIEW_MAX];
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 3);
	v.weights[0] = 300;
	v.weights[1] = 200;
	v.weights[2] = 50;
	view_make(&v);
	for (unsigned round = 0; round < 5; round++) {
		count_picks(&v, 11, counts); /* 550 reduced by their common 50 */
		assert_int_equal(counts[0], 6);
		assert_int_equal(counts[1], 4);
		assert_int_equal(counts[2], 1);
	}
	view_fini(&v);
}

static void roundrobin_mixes_servers_instead_of_exhausting_one_after_the_other(void **state)
{
	UNUSED(state);
	size_t longest = 0, run = 0, before = SIZE_MAX;
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 2);
	v.weights[1] = 97; /* no common divisor: a round of 197 */
	view_make(&v);
	for (unsigned i = 0; i < 197; i++) {
		size_t at = view_pick_and_end(&v, &any);
		run = at == before ? run + 1 : 1;
		longest = run > longest ? run : longest;
		before = at;
	}
	assert_in_range(longest, 1, 3);
	view_fini(&v);
}

static void leastconn_evens_out_open_transactions_over_weight(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_LEASTCONN, 3);
	v.weights[0] = 400;
	v.weights[1] = 200;
	view_make(&v);
	for (unsigned i = 0; i < 70; i++)
		view_pick(&v, &any);
	assert_int_equal(atomic_load(&v.servers[0]->n_txns), 40);
	assert_int_equal(atomic_load(&v.servers[1]->n_txns), 20);
	assert_int_equal(atomic_load(&v.servers[2]->n_txns), 10);
	view_end_all(&v);
	view_fini(&v);
}

static void leastconn_rotates_when_all_are_idle(void **state)
{
	UNUSED(state);
	unsigned counts[VIEW_MAX];
	struct view v;

	view_init(&v, BALANCE_LEASTCONN, 4);
	view_make(&v);
	count_picks(&v, 400, counts);
	for (size_t i = 0; i < v.n; i++)
		assert_int_equal(counts[i], 100);
	view_fini(&v);
}

static void first_fills_servers_in_the_order_of_the_configuration(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_FIRST, 3);
	view_make(&v);
	for (size_t i = 0; i < v.n; i++)
		atomic_store(&v.servers[i]->max_connections, 1);
	for (size_t i = 0; i < v.n; i++) {
		assert_int_equal(view_pick(&v, &any), i);
		assert_true(server_slot_take(v.servers[i]));
	}
	struct server *s;
	assert_int_equal(pool_pick(v.pool, &any, &s), PICK_FULL);
	view_end_all(&v);
	view_fini(&v);
}

static void random_respects_weights_and_avoids_the_loaded_one(void **state)
{
	UNUSED(state);
	unsigned counts[VIEW_MAX];
	struct view v;

	view_init(&v, BALANCE_RANDOM, 3);
	v.weights[0] = 300;
	view_make(&v);
	count_picks(&v, 10000, counts);
	/* 3/5 of first draws; 6 standard deviations are 294. */
	assert_in_range(counts[0], 5700, 6300);
	assert_in_range(counts[1], 1700, 2300);
	atomic_store(&v.servers[0]->n_txns, 1000);
	count_picks(&v, 1000, counts);
	assert_int_equal(counts[0], 0); /* it loses every comparison */
	atomic_store(&v.servers[0]->n_txns, 0);
	view_fini(&v);
}

static void set_latency(struct server *s, uint64_t us, int64_t at_ms)
{
	atomic_store(&s->latency_us, us);
	atomic_store(&s->latency_at_ms, at_ms);
}

static void latency_prefers_the_fast_server_until_its_queue_costs_more(void **state)
{
	UNUSED(state);
	struct pick_query q = { .now_ms = 1000 };
	struct view v;

	view_init(&v, BALANCE_LATENCY, 2);
	view_make(&v);
	set_latency(v.servers[0], 10000, 1000);
	set_latency(v.servers[1], 35000, 1000);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(view_pick(&v, &q), 0);
	assert_int_equal(view_pick(&v, &q), 1); /* 40 ms against 35 */
	view_end_all(&v);
	view_fini(&v);
}

static void latency_decays_so_that_a_server_once_slow_is_tried_again(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_LATENCY, 1);
	view_make(&v);
	set_latency(v.servers[0], 1000000, 1000);
	assert_int_equal(server_latency_now(v.servers[0], 1000), 1000000);
	assert_int_equal(server_latency_now(v.servers[0], 6000), 500000);
	assert_int_equal(server_latency_now(v.servers[0], 8500), 375000);
	assert_int_equal(server_latency_now(v.servers[0], 11000), 250000);
	assert_int_equal(server_latency_now(v.servers[0], 10000000), 1); /* measured, however long ago */
	view_fini(&v);
}

static void latency_of_a_server_never_measured_is_that_of_the_fastest(void **state)
{
	UNUSED(state);
	struct pick_query q = { .now_ms = 1000 };
	unsigned counts[VIEW_MAX] = { 0 };
	struct view v;

	view_init(&v, BALANCE_LATENCY, 2);
	view_make(&v);
	set_latency(v.servers[0], 20000, 1000);
	for (unsigned i = 0; i < 100; i++)
		counts[view_pick(&v, &q)]++;
	assert_int_equal(counts[0], 50);
	view_end_all(&v);
	view_fini(&v);
}

static void a_reported_peak_counts_at_once(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_LATENCY, 1);
	view_make(&v);
	server_report_latency(v.servers[0], 1000);
	assert_int_equal(atomic_load(&v.servers[0]->latency_us), 1000);
	server_report_latency(v.servers[0], 50000);
	assert_int_equal(atomic_load(&v.servers[0]->latency_us), 50000);
	server_report_latency(v.servers[0], 1000);
	assert_in_range(atomic_load(&v.servers[0]->latency_us), 1000, 50000);
	view_fini(&v);
}

/* ---- candidates ---- */

static void only_usable_servers_with_weight_are_picked(void **state)
{
	UNUSED(state);
	unsigned counts[VIEW_MAX];
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 7);
	v.weights[6] = 0;
	view_make(&v);
	server_set_health(v.servers[0], WORD_HEALTH_DOWN);
	server_set_health(v.servers[1], WORD_HEALTH_UNKNOWN);
	server_word_update(v.servers[2], WORD_ADMIN_MASK, SERVER_ADMIN_DRAIN);
	server_word_update(v.servers[3], WORD_ADMIN_MASK, SERVER_ADMIN_MAINT);
	server_word_update(v.servers[4], 0, WORD_EJECTED);
	assert_int_equal(pool_usable(v.pool), 1);
	count_picks(&v, 50, counts);
	assert_int_equal(counts[5], 50);
	server_set_health(v.servers[5], WORD_HEALTH_DOWN);
	struct server *s;
	assert_int_equal(pool_pick(v.pool, &any, &s), PICK_NONE);
	view_fini(&v);
}

static void the_next_priority_group_is_added_not_switched_to(void **state)
{
	UNUSED(state);
	unsigned counts[VIEW_MAX];
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 4);
	v.priorities[0] = v.priorities[1] = 5; /* the reserve stands first in the configuration */
	v.config.priority_activation = 2;
	view_make(&v);
	count_picks(&v, 40, counts);
	assert_int_equal(counts[0] + counts[1], 0);
	server_set_health(v.servers[3], WORD_HEALTH_DOWN);
	count_picks(&v, 30, counts);
	assert_int_equal(counts[0], 10);
	assert_int_equal(counts[1], 10);
	assert_int_equal(counts[2], 10);
	view_fini(&v);
}

static void a_tried_server_opens_the_next_group(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 2);
	v.priorities[1] = 2;
	view_make(&v);
	struct pick_query q = { .tried = { v.servers[0] }, .n_tried = 1 };
	assert_int_equal(view_pick_and_end(&v, &q), 1);
	q.tried[q.n_tried++] = v.servers[1];
	struct server *s;
	assert_int_equal(pool_pick(v.pool, &q, &s), PICK_NONE);
	view_fini(&v);
}

static void a_full_group_does_not_open_the_next(void **state)
{
	UNUSED(state);
	struct server *s;
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 2);
	v.priorities[1] = 2;
	view_make(&v);
	atomic_store(&v.servers[0]->max_connections, 0);
	assert_int_equal(pool_pick(v.pool, &any, &s), PICK_FULL);
	atomic_store(&v.servers[0]->n_idle, 1); /* one that can be lent */
	assert_int_equal(view_pick_and_end(&v, &any), 0);
	view_fini(&v);
}

static void busy_servers_are_used_when_nothing_else_is_and_in_the_order_their_holds_end(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 3);
	view_make(&v);
	for (size_t i = 0; i < 2; i++)
		outlier_busy(v.servers[i], &v.config.outlier, i == 0 ? 500 : 400);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(view_pick_and_end(&v, &any), 2);
	server_set_health(v.servers[2], WORD_HEALTH_DOWN);
	assert_int_equal(view_pick_and_end(&v, &any), 1);
	assert_int_equal(pool_usable(v.pool), 2);
	view_fini(&v);
}

static void a_busy_server_at_its_cap_does_not_hide_one_with_room(void **state)
{
	UNUSED(state);
	struct server *s;
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 2);
	view_make(&v);
	for (size_t i = 0; i < 2; i++)
		outlier_busy(v.servers[i], &v.config.outlier, (int64_t)i);
	atomic_store(&v.servers[0]->max_connections, 0);
	assert_int_equal(view_pick_and_end(&v, &any), 1);
	atomic_store(&v.servers[1]->max_connections, 0);
	assert_int_equal(pool_pick(v.pool, &any, &s), PICK_FULL);
	view_fini(&v);
}

static void what_mail_asks_decides_who_can_take_it(void **state)
{
	UNUSED(state);
	struct pick_query q = { .need_exts = SMTP_EXT_SMTPUTF8 };
	struct server *s;
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 2);
	view_make(&v);
	server_learn(v.servers[0], SMTP_EXT_8BITMIME, 1000);
	server_learn(v.servers[1], SMTP_EXT_8BITMIME, 2000);
	assert_int_equal(pool_pick(v.pool, &q, &s), PICK_INCAPABLE);
	server_learn(v.servers[1], SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8, 2000);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(view_pick_and_end(&v, &q), 1);
	q = (struct pick_query) { .need_size = 1500 };
	assert_int_equal(view_pick_and_end(&v, &q), 1);
	q.need_size = 2001;
	assert_int_equal(pool_pick(v.pool, &q, &s), PICK_TOO_BIG);
	server_learn(v.servers[0], SMTP_EXT_8BITMIME, 0); /* no limit */
	assert_int_equal(view_pick_and_end(&v, &q), 0);
	view_fini(&v);
}

static void capabilities_turned_off_do_not_count_and_forced_ones_are_not_sent(void **state)
{
	UNUSED(state);
	struct pick_query q = { .need_exts = SMTP_EXT_SMTPUTF8 };
	struct server *s;
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 1);
	v.config.caps_off = SMTP_EXT_SMTPUTF8;
	view_make(&v);
	server_learn(v.servers[0], SMTP_EXT_SMTPUTF8, 0);
	assert_int_equal(pool_pick(v.pool, &q, &s), PICK_INCAPABLE);
	v.config.caps_off = 0;
	v.config.caps_force = SMTP_EXT_DSN;
	q.need_exts = SMTP_EXT_DSN;
	assert_int_equal(pool_pick(v.pool, &q, &s), PICK_INCAPABLE);
	server_learn(v.servers[0], SMTP_EXT_DSN, 0);
	assert_int_equal(view_pick_and_end(&v, &q), 0);
	view_fini(&v);
}

/* ---- threads ---- */

enum { N_PICKERS = 4, N_DRAINS = 300 };

struct pickers {
	struct view *v;
	_Atomic bool stop, closed; /* closed: drained, and seen without a transaction */
	_Atomic unsigned intruders, picks;
};

static void *pick_on(void *arg)
{
	struct pickers *pk = arg;
	struct server *s;

	while (!atomic_load(&pk->stop)) {
		if (pool_pick(pk->v->pool, &any, &s) != PICK_OK)
			continue;
		if (atomic_load(&pk->closed))
			atomic_fetch_add(&pk->intruders, 1);
		atomic_fetch_add(&pk->picks, 1);
		pool_txn_end(s);
	}
	return NULL;
}

static void a_drained_server_seen_without_transactions_gets_none(void **state)
{
	UNUSED(state);
	pthread_t threads[N_PICKERS];
	struct pickers pk = { 0 };
	struct view v;

	view_init(&v, BALANCE_LEASTCONN, 1);
	view_make(&v);
	pk.v = &v;
	for (size_t i = 0; i < N_PICKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, pick_on, &pk), 0);
	for (unsigned i = 0; i < N_DRAINS; i++) {
		unsigned before = atomic_load(&pk.picks);
		while (atomic_load(&pk.picks) == before)
			sched_yield();
		server_word_update(v.servers[0], WORD_ADMIN_MASK, SERVER_ADMIN_DRAIN);
		while (atomic_load(&v.servers[0]->n_txns) > 0)
			sched_yield();
		atomic_store(&pk.closed, true);
		sched_yield();
		atomic_store(&pk.closed, false);
		server_word_update(v.servers[0], WORD_ADMIN_MASK, SERVER_ADMIN_READY);
	}
	atomic_store(&pk.stop, true);
	for (size_t i = 0; i < N_PICKERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&pk.intruders), 0);
	assert_int_equal(atomic_load(&v.servers[0]->n_txns), 0);
	view_fini(&v);
}

/* ---- what a view says ---- */

static void caps_are_what_all_servers_outside_maint_have(void **state)
{
	UNUSED(state);
	struct pool_caps caps;
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 3);
	view_make(&v);
	pool_caps(v.pool, &caps);
	assert_false(caps.known);
	assert_int_equal(caps.exts, 0);
	server_learn(v.servers[0], SMTP_EXT_8BITMIME | SMTP_EXT_DSN, 0);
	server_learn(v.servers[1], SMTP_EXT_8BITMIME, 5000);
	pool_caps(v.pool, &caps); /* the third was never seen and has no say */
	assert_true(caps.known);
	assert_int_equal(caps.exts, SMTP_EXT_8BITMIME);
	assert_int_equal(caps.size, 5000);
	server_set_health(v.servers[1], WORD_HEALTH_DOWN); /* kept over flaps */
	pool_caps(v.pool, &caps);
	assert_int_equal(caps.exts, SMTP_EXT_8BITMIME);
	server_word_update(v.servers[1], WORD_ADMIN_MASK, SERVER_ADMIN_MAINT);
	pool_caps(v.pool, &caps);
	assert_int_equal(caps.exts, SMTP_EXT_8BITMIME | SMTP_EXT_DSN);
	assert_int_equal(caps.size, 0);
	server_word_update(v.servers[0], WORD_ADMIN_MASK, SERVER_ADMIN_MAINT);
	pool_caps(v.pool, &caps); /* all in maintenance: nothing vanishes */
	assert_int_equal(caps.exts, SMTP_EXT_8BITMIME);
	view_fini(&v);
}

static void caps_off_and_force_apply_to_the_pool(void **state)
{
	UNUSED(state);
	struct pool_caps caps;
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 1);
	v.config.caps_off = SMTP_EXT_DSN;
	v.config.caps_force = SMTP_EXT_SMTPUTF8;
	view_make(&v);
	server_learn(v.servers[0], SMTP_EXT_DSN | SMTP_EXT_8BITMIME, 0);
	pool_caps(v.pool, &caps);
	assert_int_equal(caps.exts, SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8);
	view_fini(&v);
}

struct explained {
	unsigned n, in;
	const char *why[VIEW_MAX];
};

static void on_candidate(const struct server *s, bool usable, const char *why, void *arg)
{
	struct explained *e = arg;

	UNUSED(s);
	e->in += usable;
	e->why[e->n++] = why;
}

static void explain_names_each_server_and_agrees_with_the_pick(void **state)
{
	UNUSED(state);
	struct explained e = { 0 };
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 4);
	v.priorities[3] = 9;
	view_make(&v);
	server_set_health(v.servers[1], WORD_HEALTH_DOWN);
	outlier_busy(v.servers[2], &v.config.outlier, 0);
	pool_explain(v.pool, &any, on_candidate, &e);
	assert_int_equal(e.n, 4);
	assert_int_equal(e.in, 1);
	assert_string_equal(e.why[0], "up");
	assert_string_equal(e.why[1], "down");
	assert_string_equal(e.why[2], "busy: used last");
	assert_string_equal(e.why[3], "its priority group is not needed");
	assert_int_equal(view_pick_and_end(&v, &any), 0);
	view_fini(&v);
}

static void the_server_with_a_connection_is_preferred_even_when_full(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_FIRST, 3);
	view_make(&v);
	struct pick_query q = { .prefer = v.servers[2] };
	assert_int_equal(view_pick_and_end(&v, &q), 2);
	atomic_store(&v.servers[2]->max_connections, 1);
	assert_true(server_slot_take(v.servers[2]));
	assert_int_equal(view_pick_and_end(&v, &q), 2);
	q.skip_full = true;
	assert_int_equal(view_pick_and_end(&v, &q), 2);
	server_slot_release(v.servers[2]);
	view_fini(&v);
}

static void a_preferred_server_that_cannot_be_used_is_not(void **state)
{
	UNUSED(state);
	struct view v;

	view_init(&v, BALANCE_FIRST, 2);
	view_make(&v);
	struct pick_query q = { .prefer = v.servers[1], .n_tried = 1, .tried = { v.servers[1] } };
	assert_int_equal(view_pick_and_end(&v, &q), 0);
	q.n_tried = 0;
	server_set_health(v.servers[1], WORD_HEALTH_DOWN);
	assert_int_equal(view_pick_and_end(&v, &q), 0);
	server_set_health(v.servers[1], WORD_HEALTH_UP);
	server_learn(v.servers[1], 0, 0);
	q.need_exts = SMTP_EXT_DSN;
	assert_int_equal(view_pick_and_end(&v, &q), 0);
	view_fini(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roundrobin_gives_each_server_exactly_its_weight),
		cmocka_unit_test(roundrobin_mixes_servers_instead_of_exhausting_one_after_the_other),
		cmocka_unit_test(leastconn_evens_out_open_transactions_over_weight),
		cmocka_unit_test(leastconn_rotates_when_all_are_idle),
		cmocka_unit_test(first_fills_servers_in_the_order_of_the_configuration),
		cmocka_unit_test(random_respects_weights_and_avoids_the_loaded_one),
		cmocka_unit_test(latency_prefers_the_fast_server_until_its_queue_costs_more),
		cmocka_unit_test(latency_decays_so_that_a_server_once_slow_is_tried_again),
		cmocka_unit_test(latency_of_a_server_never_measured_is_that_of_the_fastest),
		cmocka_unit_test(a_reported_peak_counts_at_once),
		cmocka_unit_test(only_usable_servers_with_weight_are_picked),
		cmocka_unit_test(the_next_priority_group_is_added_not_switched_to),
		cmocka_unit_test(a_tried_server_opens_the_next_group),
		cmocka_unit_test(a_full_group_does_not_open_the_next),
		cmocka_unit_test(busy_servers_are_used_when_nothing_else_is_and_in_the_order_their_holds_end),
		cmocka_unit_test(a_busy_server_at_its_cap_does_not_hide_one_with_room),
		cmocka_unit_test(what_mail_asks_decides_who_can_take_it),
		cmocka_unit_test(capabilities_turned_off_do_not_count_and_forced_ones_are_not_sent),
		cmocka_unit_test(caps_are_what_all_servers_outside_maint_have),
		cmocka_unit_test(caps_off_and_force_apply_to_the_pool),
		cmocka_unit_test(a_drained_server_seen_without_transactions_gets_none),
		cmocka_unit_test(the_server_with_a_connection_is_preferred_even_when_full),
		cmocka_unit_test(a_preferred_server_that_cannot_be_used_is_not),
		cmocka_unit_test(explain_names_each_server_and_agrees_with_the_pick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Slots and the queue for them: order, cancellation, and no wake-up lost between threads.
 */
#include "tests/unit/pool/view_fixture.h"

#include <pthread.h>

struct woken {
	char order[16];
	size_t n;
};

struct sleeper {
	struct pool_waiter w;
	struct woken *log;
	char name;
};

static void on_woken(void *arg)
{
	struct sleeper *sl = arg;

	sl->log->order[sl->log->n++] = sl->name;
}

struct scene {
	struct view v;
	struct loop *loop;
	struct woken log;
	struct sleeper sleepers[6];
};

/* One server with one slot, which is taken; sleepers "A", "B", … */
static void scene_init(struct scene *sc)
{
	memset(sc, 0, sizeof(*sc));
	view_init(&sc->v, BALANCE_ROUNDROBIN, 1);
	view_make(&sc->v);
	atomic_store(&sc->v.servers[0]->max_connections, 1);
	assert_true(server_slot_take(sc->v.servers[0]));
	sc->loop = loop_new();
	for (size_t i = 0; i < ARRAY_LEN(sc->sleepers); i++) {
		struct sleeper *sl = &sc->sleepers[i];
		*sl = (struct sleeper) { .log = &sc->log, .name = (char)('A' + i) };
		sl->w = (struct pool_waiter) { .loop = sc->loop, .fn = on_woken, .arg = sl };
	}
}

static void scene_fini(struct scene *sc)
{
	loop_free(sc->loop);
	view_fini(&sc->v);
}

static void release(struct scene *sc)
{
	server_slot_release(sc->v.servers[0]);
}

static void take(struct scene *sc)
{
	assert_true(server_slot_take(sc->v.servers[0]));
}

/* Waits as after a pick that found nothing. */
static void wait_after_pick(struct scene *sc, size_t i)
{
	pool_wait_mark(sc->v.pool);
	assert_true(pool_wait(sc->v.pool, &sc->sleepers[i].w));
}

static void queue_up(struct scene *sc, size_t n)
{
	for (size_t i = 0; i < n; i++)
		wait_after_pick(sc, i);
	assert_int_equal(pool_waiting(sc->v.pool), n);
}

static void a_released_slot_wakes_one_waiter_in_order_of_arrival(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_init(&sc);
	queue_up(&sc, 3);
	for (size_t i = 1; i <= 3; i++) {
		release(&sc);
		take(&sc);
		loop_turn(sc.loop, false);
		assert_int_equal(sc.log.n, i);
	}
	assert_string_equal(sc.log.order, "ABC");
	assert_int_equal(pool_waiting(sc.v.pool), 0);
	scene_fini(&sc);
}

static void an_idle_connection_wakes_a_waiter_as_well(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_init(&sc);
	queue_up(&sc, 1);
	atomic_fetch_add(&sc.v.servers[0]->n_idle, 1);
	server_idle_available(sc.v.servers[0]);
	loop_turn(sc.loop, false);
	assert_string_equal(sc.log.order, "A");
	scene_fini(&sc);
}

static void a_waiter_that_leaves_is_passed_over(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_init(&sc);
	queue_up(&sc, 3);
	pool_wait_cancel(&sc.sleepers[0].w);
	assert_int_equal(pool_waiting(sc.v.pool), 2);
	release(&sc);
	loop_turn(sc.loop, false);
	assert_string_equal(sc.log.order, "B");
	pool_wait_cancel(&sc.sleepers[2].w);
	pool_wait_cancel(&sc.sleepers[2].w); /* it has left already */
	scene_fini(&sc);
}

static void a_wake_up_on_its_way_to_a_waiter_that_leaves_goes_to_the_next(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_init(&sc);
	queue_up(&sc, 2);
	release(&sc);
	pool_wait_cancel(&sc.sleepers[0].w);
	for (int i = 0; i < 3; i++)
		loop_turn(sc.loop, false);
	assert_string_equal(sc.log.order, "B");
	assert_int_equal(pool_waiting(sc.v.pool), 0);
	scene_fini(&sc);
}

static void a_full_queue_takes_nobody(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_init(&sc);
	sc.v.config.queue = 2;
	queue_up(&sc, 2);
	assert_false(pool_wait(sc.v.pool, &sc.sleepers[2].w));
	pool_wait_cancel(&sc.sleepers[0].w);
	assert_true(pool_wait(sc.v.pool, &sc.sleepers[2].w));
	pool_wait_cancel(&sc.sleepers[1].w);
	pool_wait_cancel(&sc.sleepers[2].w);
	scene_fini(&sc);
}

/* Sleepers of clients that have so many transactions. */
static void set_loads(struct scene *sc, const pool_load *loads)
{
	for (size_t i = 0; i < ARRAY_LEN(sc->sleepers); i++)
		sc->sleepers[i].w.load = &loads[i];
}

static void who_holds_fewest_is_woken_first(void **state)
{
	UNUSED(state);
	pool_load loads[6] = { 9, 3, 1, 3 };
	struct scene sc;

	scene_init(&sc);
	set_loads(&sc, loads);
	queue_up(&sc, 4);
	for (size_t i = 1; i <= 4; i++) {
		release(&sc);
		take(&sc);
		loop_turn(sc.loop, false);
		assert_int_equal(sc.log.n, i);
	}
	assert_string_equal(sc.log.order, "CBDA");
	scene_fini(&sc);
}

static void what_a_client_holds_counts_at_the_moment_of_waking(void **state)
{
	UNUSED(state);
	pool_load loads[6] = { 1, 2 };
	struct scene sc;

	scene_init(&sc);
	set_loads(&sc, loads);
	queue_up(&sc, 2);
	atomic_store(&loads[0], 5);
	release(&sc);
	loop_turn(sc.loop, false);
	assert_string_equal(sc.log.order, "B");
	pool_wait_cancel(&sc.sleepers[0].w);
	scene_fini(&sc);
}

static void a_full_queue_takes_one_of_a_client_with_less_for_the_last_of_one_with_most(void **state)
{
	UNUSED(state);
	pool_load loads[6] = { 4, 7, 7, 4, 2 };
	struct scene sc;

	scene_init(&sc);
	set_loads(&sc, loads);
	sc.v.config.queue = 3;
	queue_up(&sc, 3);
	wait_after_pick(&sc, 3); /* D for C, as B came before it */
	loop_turn(sc.loop, false);
	assert_string_equal(sc.log.order, "C");
	assert_true(sc.sleepers[2].w.evicted);
	assert_int_equal(pool_waiting(sc.v.pool), 3);
	wait_after_pick(&sc, 4); /* E for B */
	loop_turn(sc.loop, false);
	assert_string_equal(sc.log.order, "CB");
	release(&sc);
	loop_turn(sc.loop, false);
	assert_string_equal(sc.log.order, "CBE");
	assert_false(sc.sleepers[4].w.evicted);
	pool_wait_cancel(&sc.sleepers[0].w);
	pool_wait_cancel(&sc.sleepers[3].w);
	scene_fini(&sc);
}

static void a_full_queue_takes_none_of_a_client_with_as_much(void **state)
{
	UNUSED(state);
	pool_load loads[6] = { 4, 4, 4 };
	struct scene sc;

	scene_init(&sc);
	set_loads(&sc, loads);
	sc.v.config.queue = 2;
	queue_up(&sc, 2);
	assert_false(pool_wait(sc.v.pool, &sc.sleepers[2].w));
	pool_wait_cancel(&sc.sleepers[0].w);
	pool_wait_cancel(&sc.sleepers[1].w);
	scene_fini(&sc);
}

static void a_wake_up_passed_on_goes_to_each_once_whatever_they_hold(void **state)
{
	UNUSED(state);
	pool_load loads[6] = { 2, 1, 3 };
	struct scene sc;

	scene_init(&sc);
	set_loads(&sc, loads);
	queue_up(&sc, 3);
	release(&sc); /* nobody can use it */
	for (size_t i = 0; i < 6; i++) {
		size_t n = sc.log.n;
		loop_turn(sc.loop, false);
		if (sc.log.n > n)
			wait_after_pick(&sc, (size_t)(sc.log.order[n] - 'A'));
	}
	assert_string_equal(sc.log.order, "BAC");
	for (size_t i = 0; i < 3; i++)
		pool_wait_cancel(&sc.sleepers[i].w);
	scene_fini(&sc);
}

static void one_woken_in_vain_keeps_its_place(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_init(&sc);
	queue_up(&sc, 2);
	release(&sc);
	loop_turn(sc.loop, false);
	take(&sc); /* somebody was faster */
	wait_after_pick(&sc, 0);
	release(&sc);
	loop_turn(sc.loop, false);
	assert_string_equal(sc.log.order, "AA");
	pool_wait_cancel(&sc.sleepers[1].w);
	scene_fini(&sc);
}

static void a_wake_up_that_the_first_cannot_use_goes_down_the_queue_once(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_init(&sc);
	queue_up(&sc, 3);
	release(&sc); /* and nobody takes the slot: each of them finds that it is not for him */
	for (size_t i = 0; i < 3; i++) {
		loop_turn(sc.loop, false);
		assert_int_equal(sc.log.n, i + 1);
		wait_after_pick(&sc, i);
	}
	for (size_t i = 0; i < 3; i++)
		loop_turn(sc.loop, false);
	assert_string_equal(sc.log.order, "ABC");
	assert_int_equal(pool_waiting(sc.v.pool), 3);
	for (size_t i = 0; i < 3; i++)
		pool_wait_cancel(&sc.sleepers[i].w);
	scene_fini(&sc);
}

static void what_is_released_between_the_pick_and_the_waiting_is_not_missed(void **state)
{
	UNUSED(state);
	struct scene sc;
	struct server *s;

	scene_init(&sc);
	assert_int_equal(pool_pick(sc.v.pool, &(struct pick_query) { 0 }, &s), PICK_FULL);
	release(&sc);
	assert_true(pool_wait(sc.v.pool, &sc.sleepers[0].w));
	loop_turn(sc.loop, false);
	assert_string_equal(sc.log.order, "A");
	scene_fini(&sc);
}

static void room_that_was_there_before_the_pick_wakes_nobody(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_init(&sc);
	release(&sc); /* there is room, but not for this one: a reserve, or a server that cannot do what it needs */
	wait_after_pick(&sc, 0);
	for (size_t i = 0; i < 3; i++)
		loop_turn(sc.loop, false);
	assert_int_equal(sc.log.n, 0);
	pool_wait_cancel(&sc.sleepers[0].w);
	scene_fini(&sc);
}

/* ---- threads ---- */

enum { N_THREADS = 4, N_TAKES = 50000, N_SLOTS = 3 };

struct contest {
	struct server *server;
	_Atomic uint32_t held, most;
};

static void *take_and_release(void *arg)
{
	struct contest *c = arg;

	for (unsigned done = 0; done < N_TAKES;) {
		if (!server_slot_take(c->server))
			continue;
		uint32_t held = atomic_fetch_add(&c->held, 1) + 1, most = atomic_load(&c->most);
		while (held > most && !atomic_compare_exchange_weak(&c->most, &most, held))
			;
		atomic_fetch_sub(&c->held, 1);
		server_slot_release(c->server);
		done++;
	}
	return NULL;
}

static void slots_never_exceed_the_maximum_under_four_threads(void **state)
{
	UNUSED(state);
	pthread_t threads[N_THREADS];
	struct contest c = { 0 };
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 1);
	view_make(&v);
	c.server = v.servers[0];
	atomic_store(&c.server->max_connections, N_SLOTS);
	for (size_t i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_release, &c), 0);
	for (size_t i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_in_range(atomic_load(&c.most), 1, N_SLOTS);
	assert_int_equal(atomic_load(&c.server->n_conns), 0);
	view_fini(&v);
}

/* Each worker is a loop with sessions that want the one slot in turn, over and over: a lost wake-up leaves them waiting
 * for ever. */
enum { N_SESSIONS = 4, N_ROUNDS = 2000 };

struct worker;
struct session {
	struct worker *worker;
	struct pool_waiter w;
	unsigned rounds;
};
struct worker {
	struct loop *loop;
	struct view *v;
	struct session sessions[N_SESSIONS];
	unsigned n_done;
};

static void try_slot(void *arg);

static void use_slot(void *arg)
{
	struct session *se = arg;
	struct worker *wk = se->worker;

	server_slot_release(wk->v->servers[0]);
	se->w.ticket = 0;
	if (++se->rounds < N_ROUNDS)
		loop_post(wk->loop, try_slot, se);
	else if (++wk->n_done == N_SESSIONS)
		loop_stop(wk->loop);
}

static void try_slot(void *arg)
{
	struct session *se = arg;
	struct worker *wk = se->worker;

	pool_wait_mark(wk->v->pool);
	if (server_slot_take(wk->v->servers[0]))
		loop_post(wk->loop, use_slot, se);
	else
		assert_true(pool_wait(wk->v->pool, &se->w));
}

static void *run_worker(void *arg)
{
	struct worker *wk = arg;

	for (size_t i = 0; i < N_SESSIONS; i++) {
		struct session *se = &wk->sessions[i];
		se->worker = wk;
		se->w = (struct pool_waiter) { .loop = wk->loop, .fn = try_slot, .arg = se };
		loop_post(wk->loop, try_slot, se);
	}
	loop_run(wk->loop);
	return NULL;
}

static void no_wake_up_is_lost_between_workers(void **state)
{
	UNUSED(state);
	static struct worker workers[N_THREADS];
	pthread_t threads[N_THREADS];
	struct view v;

	view_init(&v, BALANCE_ROUNDROBIN, 1);
	view_make(&v);
	atomic_store(&v.servers[0]->max_connections, 1);
	for (size_t i = 0; i < N_THREADS; i++) {
		workers[i] = (struct worker) { .loop = loop_new(), .v = &v };
		assert_int_equal(pthread_create(&threads[i], NULL, run_worker, &workers[i]), 0);
	}
	for (size_t i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < N_THREADS; i++)
		loop_free(workers[i].loop);
	assert_int_equal(pool_waiting(v.pool), 0);
	assert_int_equal(atomic_load(&v.servers[0]->n_conns), 0);
	view_fini(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_released_slot_wakes_one_waiter_in_order_of_arrival),
		cmocka_unit_test(an_idle_connection_wakes_a_waiter_as_well),
		cmocka_unit_test(a_waiter_that_leaves_is_passed_over),
		cmocka_unit_test(a_wake_up_on_its_way_to_a_waiter_that_leaves_goes_to_the_next),
		cmocka_unit_test(a_full_queue_takes_nobody),
		cmocka_unit_test(who_holds_fewest_is_woken_first),
		cmocka_unit_test(what_a_client_holds_counts_at_the_moment_of_waking),
		cmocka_unit_test(a_full_queue_takes_one_of_a_client_with_less_for_the_last_of_one_with_most),
		cmocka_unit_test(a_full_queue_takes_none_of_a_client_with_as_much),
		cmocka_unit_test(a_wake_up_passed_on_goes_to_each_once_whatever_they_hold),
		cmocka_unit_test(one_woken_in_vain_keeps_its_place),
		cmocka_unit_test(a_wake_up_that_the_first_cannot_use_goes_down_the_queue_once),
		cmocka_unit_test(what_is_released_between_the_pick_and_the_waiting_is_not_missed),
		cmocka_unit_test(room_that_was_there_before_the_pick_wakes_nobody),
		cmocka_unit_test(slots_never_exceed_the_maximum_under_four_threads),
		cmocka_unit_test(no_wake_up_is_lost_between_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

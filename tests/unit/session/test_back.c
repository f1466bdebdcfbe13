/* SPDX-License-Identifier: Apache-2.0
 * The deadline of a server that takes content: progress moves it, and nothing else.
 */
#include <stdlib.h>
#include <unistd.h>

#include "daemon/session/back.h"
#include "tests/unit/session/quiet_stream.h"

/* A connection in its content, over a pair of sockets. */
struct server_end {
	struct loop *l;
	struct worker w;
	struct pool_config config;
	struct pool pool;
	struct back b;
	int peer;
};

static void open_end(struct server_end *e)
{
	memset(e, 0, sizeof(*e));
	e->l = e->w.loop = loop_new();
	e->config.timeouts.block_ms = 60000;
	e->pool.config = &e->config;
	e->b.w = &e->w;
	e->b.pool = &e->pool;
	e->b.body_open = true;
	timer_init(&e->b.timer, quiet_timer, e);
	e->peer = quiet_stream_open(&e->b.st, e->l, e);
}

static void close_end(struct server_end *e)
{
	timer_stop(&e->b.timer);
	stream_close(&e->b.st);
	close(e->peer);
	loop_free(e->l);
}

static void clock_moves_on(struct loop *l)
{
	int64_t before = loop_now_ms(l);

	while (loop_now_ms(l) < before + 2)
		loop_turn(l, false);
}

/* More than the kernel takes. */
static void fill(struct server_end *e)
{
	static const char block[65536];

	while (stream_queued(&e->b.st) == 0)
		stream_send(&e->b.st, block, sizeof(block));
}

static void more_from_the_client_does_not_move_it(void **state)
{
	struct server_end e;

	UNUSED(state);
	open_end(&e);
	fill(&e);
	back_body_progress(&e.b);
	int64_t deadline = e.b.timer.deadline;
	assert_true(deadline > 0);
	for (int i = 0; i < 5; i++) {
		clock_moves_on(e.l);
		stream_put(&e.b.st, "x", 1);
		back_body_progress(&e.b);
		assert_int_equal(e.b.timer.deadline, deadline);
	}
	close_end(&e);
}

static void bytes_that_left_move_it_and_an_empty_queue_ends_it(void **state)
{
	struct server_end e;
	char buf[65536];

	UNUSED(state);
	open_end(&e);
	fill(&e);
	back_body_progress(&e.b);
	int64_t deadline = e.b.timer.deadline;
	uint64_t out = e.b.st.bytes_out;
	clock_moves_on(e.l);
	while (e.b.st.bytes_out == out) {
		assert_true(read(e.peer, buf, sizeof(buf)) > 0);
		loop_turn(e.l, false);
	}
	fill(&e);
	back_body_progress(&e.b);
	assert_true(e.b.timer.deadline > deadline);
	while (stream_queued(&e.b.st) > 0) {
		while (read(e.peer, buf, sizeof(buf)) > 0)
			;
		loop_turn(e.l, false);
	}
	back_body_progress(&e.b);
	assert_int_equal(e.b.timer.deadline, 0);
	close_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_from_the_client_does_not_move_it),
		cmocka_unit_test(bytes_that_left_move_it_and_an_empty_queue_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

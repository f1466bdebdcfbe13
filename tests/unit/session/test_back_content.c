/* SPDX-License-Identifier: Apache-2.0
 * Content to a server by BDAT: what leaves is the content, in chunks that are worth it, with bounded dues.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/hash.h"
#include "daemon/session/back_content.h"
#include "daemon/session/back_private.h"
#include "tests/unit/session/quiet_stream.h"

#define CHUNK_MIN (16 * 1024)
#define DUES_MAX 8

/* A connection that is ready for content, over a pair of sockets, and what its server has read. */
struct server_end {
	struct loop *l;
	struct worker w;
	struct pool_config config;
	struct pool pool;
	struct server server;
	struct back b;
	int peer;
	struct sbuf got;
};

static void open_end(struct server_end *e, unsigned exts)
{
	memset(e, 0, sizeof(*e));
	e->l = e->w.loop = loop_new();
	e->config.timeouts.block_ms = 60000;
	e->config.timeouts.data_ms = 60000;
	e->pool.config = &e->config;
	e->b.w = &e->w;
	e->b.pool = &e->pool;
	e->b.server = &e->server;
	e->b.state = BACK_READY;
	e->b.exts = SMTP_EXT_CHUNKING | exts;
	timer_init(&e->b.timer, quiet_timer, e);
	e->peer = quiet_stream_open(&e->b.st, e->l, e);
	back_content_chunked(&e->b);
}

static void close_end(struct server_end *e)
{
	timer_stop(&e->b.timer);
	stream_close(&e->b.st);
	close(e->peer);
	loop_free(e->l);
	sbuf_fini(&e->got);
	sbuf_fini(&e->b.gathered);
}

static void read_all(struct server_end *e)
{
	static char buf[65536];
	ssize_t n;

	do {
		while ((n = read(e->peer, buf, sizeof(buf))) > 0)
			sbuf_add(&e->got, buf, (size_t)n);
		loop_turn(e->l, false);
	} while (stream_queued(&e->b.st) > 0);
	while ((n = read(e->peer, buf, sizeof(buf))) > 0)
		sbuf_add(&e->got, buf, (size_t)n);
}

static void answer(struct server_end *e)
{
	struct smtp_reply ok = { .code = 250, .lines = 1, .text = STR("250 ok\r\n"), .last = STR("ok") };

	back_due_reply(&e->b, &ok);
}

/* ---- what left ---- */

static void append(const char *p, size_t n, void *arg)
{
	sbuf_add(arg, p, n);
}

/* The content of the chunks in e->got; all are as large as promised, and the last one is the last. */
static void content_of(const struct server_end *e, struct sbuf *out)
{
	size_t at = 0;
	bool last = false;

	while (at < e->got.n) {
		size_t size;
		int len = 0;
		assert_false(last);
		assert_int_equal(sscanf(e->got.p + at, "BDAT %zu%n", &size, &len), 1);
		at += (size_t)len;
		last = strncmp(e->got.p + at, " LAST\r\n", 7) == 0;
		assert_true(last || strncmp(e->got.p + at, "\r\n", 2) == 0);
		assert_true(last || size >= CHUNK_MIN);
		at += last ? 7 : 2;
		assert_true(at + size <= e->got.n);
		sbuf_add(out, e->got.p + at, size);
		at += size;
	}
	assert_true(last);
}

static void some_content(struct sbuf *out, size_t size)
{
	static const char *const lines[] = {
		".\r\n", "..\r\n", "\r\n", ".x\r\n", "a line of some words\r\n", "x.\r\n"
	};

	while (out->n < size)
		sbuf_puts(out, lines[random_u64() % ARRAY_LEN(lines)]);
}

static void send_in_pieces(struct server_end *e, const struct sbuf *wire)
{
	bool pipelining = e->b.exts & SMTP_EXT_PIPELINING;
	size_t n;

	for (size_t at = 0; at < wire->n; at += n) {
		size_t most = random_u64() % 3 == 0 ? 50000 : 20;
		n = 1 + random_u64() % most;
		n = n < wire->n - at ? n : wire->n - at;
		while (!back_content_takes(&e->b) && e->b.due_n > 0) {
			read_all(e);
			answer(e);
			back_content_push(&e->b);
		}
		back_content_put(&e->b, wire->p + at, n);
		back_content_push(&e->b);
		assert_true(e->b.due_n <= (pipelining ? DUES_MAX : 1));
	}
	while (!back_content_may_end(&e->b)) {
		read_all(e);
		answer(e);
	}
	back_content_end(&e->b);
	assert_int_equal(back_due(&e->b)->kind, DUE_DOT);
	read_all(e);
}

static void chunks_are_the_content_however_it_comes(void **state)
{
	UNUSED(state);
	for (unsigned round = 0; round < 60; round++) {
		struct sbuf content = { 0 }, wire = { 0 }, got = { 0 };
		struct server_end e;
		struct smtp_eod stuff;
		open_end(&e, round % 2 ? SMTP_EXT_PIPELINING : 0);
		some_content(&content, round < 4 ? 0 : random_u64() % 400000);
		smtp_eod_init_pair(&stuff, true, SMTP_BY_BDAT, SMTP_BY_DATA);
		assert_int_equal(smtp_eod_feed(&stuff, content.p, content.n, append, &wire), content.n);
		send_in_pieces(&e, &wire);
		content_of(&e, &got);
		assert_int_equal(got.n, content.n);
		if (got.n > 0)
			assert_memory_equal(got.p, content.p, got.n);
		answer(&e);
		assert_false(e.b.body_open);
		close_end(&e);
		sbuf_fini(&content);
		sbuf_fini(&wire);
		sbuf_fini(&got);
	}
}

/* ---- bounds ---- */

static char block[1000];

static void without_replies_no_more_is_taken(void **state)
{
	UNUSED(state);
	for (unsigned pipelining = 0; pipelining < 2; pipelining++) {
		struct server_end e;
		unsigned puts = 0;
		open_end(&e, pipelining ? SMTP_EXT_PIPELINING : 0);
		for (; back_content_takes(&e.b); puts++) {
			assert_true(puts < 1000);
			back_content_put(&e.b, block, sizeof(block));
			back_content_push(&e.b);
			read_all(&e);
		}
		assert_int_equal(e.b.due_n, pipelining ? DUES_MAX : 1);
		assert_true(e.b.gathered.n >= CHUNK_MIN && e.b.gathered.n < CHUNK_MIN + sizeof(block));
		assert_false(back_content_may_end(&e.b));
		answer(&e);
		back_content_push(&e.b);
		assert_int_equal(e.b.gathered.n, 0);
		assert_true(back_content_takes(&e.b));
		close_end(&e);
	}
}

static void a_drip_makes_no_chunk(void **state)
{
	struct server_end e;

	UNUSED(state);
	open_end(&e, SMTP_EXT_PIPELINING);
	for (unsigned i = 0; i < CHUNK_MIN - 1; i++) {
		back_content_put(&e.b, "x", 1);
		back_content_push(&e.b);
	}
	assert_int_equal(e.b.due_n, 0);
	assert_int_equal(stream_queued(&e.b.st), 0);
	back_content_put(&e.b, "x", 1);
	back_content_push(&e.b);
	assert_int_equal(e.b.due_n, 1);
	close_end(&e);
}

/* ---- time ---- */

static void clock_moves_on(struct loop *l)
{
	int64_t before = loop_now_ms(l);

	while (loop_now_ms(l) < before + 2)
		loop_turn(l, false);
}

static void only_a_server_that_reads_gets_more_time(void **state)
{
	static char large[65536], buf[65536];
	struct server_end e;

	UNUSED(state);
	open_end(&e, SMTP_EXT_PIPELINING);
	while (back_content_takes(&e.b) || e.b.due_n == 0) {
		back_content_put(&e.b, large, sizeof(large));
		back_content_push(&e.b);
	}
	loop_turn(e.l, false);
	assert_true(stream_queued(&e.b.st) > 0);
	(void)back_took_content(&e.b); /* what the kernel took */
	int64_t deadline = e.b.timer.deadline;
	uint64_t out = e.b.st.bytes_out;
	clock_moves_on(e.l);
	assert_false(back_took_content(&e.b));
	assert_int_equal(e.b.timer.deadline, deadline);
	while (e.b.st.bytes_out == out) {
		assert_true(read(e.peer, buf, sizeof(buf)) > 0);
		loop_turn(e.l, false);
	}
	assert_true(back_took_content(&e.b));
	assert_true(e.b.timer.deadline > deadline);
	assert_false(back_took_content(&e.b));
	close_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks_are_the_content_however_it_comes),
		cmocka_unit_test(without_replies_no_more_is_taken),
		cmocka_unit_test(a_drip_makes_no_chunk),
		cmocka_unit_test(only_a_server_that_reads_gets_more_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

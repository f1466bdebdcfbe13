/* SPDX-License-Identifier: Apache-2.0
 * Promises of a stream: bytes arrive whole and in order whatever the owner leaves, pausing loses nothing, an end is
 * told once and after the last byte.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/net/stream.h"

/* The library's send(2), which can be made to fail; taken instead of libc's because it is in the program itself. */
static int send_error;

ssize_t send(int fd, const void *p, size_t n, int flags)
{
	if (send_error == 0)
		return sendto(fd, p, n, flags, NULL, 0);
	errno = send_error;
	send_error = 0;
	return -1;
}

struct end {
	struct stream st;
	struct sbuf got;
	size_t most; /* bytes used per offer; 0 = all */
	bool pause_each;
	int gone, gone_err, drained, connected;
};

static void on_connected(struct stream *st, void *owner)
{
	struct end *e = owner;

	UNUSED(st);
	e->connected++;
}

static size_t on_data(struct stream *st, const char *p, size_t n, void *owner)
{
	struct end *e = owner;
	size_t use = e->most != 0 && n > e->most ? e->most : n;

	sbuf_add(&e->got, p, use);
	if (e->pause_each || use < n)
		stream_pause(st);
	return use;
}

static void on_drained(struct stream *st, void *owner)
{
	struct end *e = owner;

	UNUSED(st);
	e->drained++;
}

static void on_gone(struct stream *st, int err, void *owner)
{
	struct end *e = owner;

	UNUSED(st);
	e->gone++;
	e->gone_err = err;
}

static const struct stream_ops ops = { on_connected, on_data, on_drained, on_gone };

struct pair {
	struct loop *l;
	struct end e;
	int peer;
};

static void pair_open(struct pair *p)
{
	int fds[2];

	*p = (struct pair) { .l = loop_new() };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	p->peer = fds[1];
	stream_open(&p->e.st, p->l, fds[0], &ops, &p->e);
}

static void pair_close(struct pair *p)
{
	stream_close(&p->e.st);
	if (p->peer >= 0)
		close(p->peer);
	sbuf_fini(&p->e.got);
	loop_free(p->l);
}

static void what_the_owner_leaves_is_offered_again(void **state)
{
	struct pair p;

	UNUSED(state);
	pair_open(&p);
	p.e.most = 3;
	assert_int_equal(write(p.peer, "abcdefghij", 10), 10);
	while (p.e.got.n < 10) {
		loop_turn(p.l, p.e.got.n == 0);
		stream_resume(&p.e.st);
	}
	assert_string_equal(p.e.got.p, "abcdefghij");
	pair_close(&p);
}

static void the_end_is_told_once_after_the_last_byte(void **state)
{
	struct pair p;

	UNUSED(state);
	pair_open(&p);
	p.e.most = 4;
	assert_int_equal(write(p.peer, "abcdefgh", 8), 8);
	close(p.peer);
	p.peer = -1;
	while (p.e.gone == 0) {
		loop_turn(p.l, false);
		assert_true(p.e.gone == 0 || p.e.got.n == 8);
		stream_resume(&p.e.st);
	}
	loop_turn(p.l, false);
	assert_int_equal(p.e.gone, 1);
	assert_int_equal(p.e.gone_err, 0);
	assert_string_equal(p.e.got.p, "abcdefgh");
	pair_close(&p);
}

static void a_paused_stream_holds_bytes_back_and_bounds_them(void **state)
{
	char block[4096];
	struct pair p;
	size_t sent = 0;

	UNUSED(state);
	memset(block, 'x', sizeof(block));
	pair_open(&p);
	stream_pause(&p.e.st);
	for (int i = 0; i < 200; i++) {
		ssize_t n = write(p.peer, block, sizeof(block));
		sent += n > 0 ? (size_t)n : 0;
		loop_turn(p.l, false);
	}
	assert_int_equal(p.e.got.n, 0);
	assert_true(p.e.st.keep_n <= STREAM_KEEP_MAX);
	stream_resume(&p.e.st);
	while (p.e.got.n < sent)
		loop_turn(p.l, true);
	assert_int_equal(p.e.got.n, sent);
	pair_close(&p);
}

static void gathered_writes_arrive_in_order(void **state)
{
	char buf[64];
	struct pair p;

	UNUSED(state);
	pair_open(&p);
	stream_puts(&p.e.st, "one ");
	stream_printf(&p.e.st, "%s ", "two");
	stream_send(&p.e.st, "three ", 6);
	stream_puts(&p.e.st, "four");
	loop_turn(p.l, false);
	ssize_t n = read(p.peer, buf, sizeof(buf));
	assert_int_equal(n, 18);
	assert_memory_equal(buf, "one two three four", 18);
	pair_close(&p);
}

static void a_full_kernel_buffer_queues_and_drains(void **state)
{
	enum { TOTAL = 4 * 1024 * 1024 };
	char *big = xmalloc(TOTAL), *buf = xmalloc(TOTAL);
	struct pair p;
	size_t got = 0;

	UNUSED(state);
	for (size_t i = 0; i < TOTAL; i++)
		big[i] = (char)(i * 31 >> 3);
	pair_open(&p);
	stream_send(&p.e.st, big, TOTAL);
	assert_true(stream_queued(&p.e.st) > 0);
	stream_notify_drained(&p.e.st);
	while (got < TOTAL) {
		ssize_t n = read(p.peer, buf + got, TOTAL - got);
		if (n > 0)
			got += (size_t)n;
		loop_turn(p.l, false);
	}
	assert_memory_equal(big, buf, TOTAL);
	while (p.e.drained == 0)
		loop_turn(p.l, false);
	assert_int_equal(p.e.drained, 1);
	assert_int_equal(stream_queued(&p.e.st), 0);
	pair_close(&p);
	free(big);
	free(buf);
}

/* A kernel short of memory says ENOBUFS or ENOMEM and the connection goes on: a gap in the bytes would not be noticed.
 */
static void what_could_not_be_written_leaves_no_gap(void **state)
{
	static const int errors[] = { ENOBUFS, ENOMEM, EPIPE };
	char buf[64];
	struct pair p;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		pair_open(&p);
		stream_send(&p.e.st, "one ", 4);
		assert_int_equal(write(p.peer, "said before", 11), 11);
		send_error = errors[i];
		stream_send(&p.e.st, "two ", 4);
		stream_send(&p.e.st, "three ", 6);
		stream_puts(&p.e.st, "four");
		while (p.e.gone == 0)
			loop_turn(p.l, true);
		assert_string_equal(p.e.got.p, "said before");
		assert_int_equal(read(p.peer, buf, sizeof(buf)), 4);
		assert_int_equal(read(p.peer, buf, sizeof(buf)), 0);
		pair_close(&p);
	}
}

static void a_refused_connect_is_told_later_and_once(void **state)
{
	struct loop *l = loop_new();
	struct end e = { 0 };
	struct addr to;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(to);

	UNUSED(state);
	/* A port that is taken but not listened on: nobody else can start to. */
	assert_true(addr_parse("127.0.0.1:1", 0, &to));
	addr_set_port(&to, 0);
	assert_int_equal(bind(fd, &to.sa, addr_len(&to)), 0);
	assert_int_equal(getsockname(fd, &to.sa, &len), 0);
	stream_connect(&e.st, l, &to, NULL, &ops, &e);
	assert_int_equal(e.gone, 0);
	while (e.gone == 0)
		loop_turn(l, true);
	assert_int_equal(e.gone, 1);
	assert_int_equal(e.gone_err, ECONNREFUSED);
	assert_int_equal(e.connected, 0);
	stream_close(&e.st);
	close(fd);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_owner_leaves_is_offered_again),
		cmocka_unit_test(the_end_is_told_once_after_the_last_byte),
		cmocka_unit_test(a_paused_stream_holds_bytes_back_and_bounds_them),
		cmocka_unit_test(gathered_writes_arrive_in_order),
		cmocka_unit_test(a_full_kernel_buffer_queues_and_drains),
		cmocka_unit_test(what_could_not_be_written_leaves_no_gap),
		cmocka_unit_test(a_refused_connect_is_told_later_and_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

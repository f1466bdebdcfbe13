/* SPDX-License-Identifier: Apache-2.0
 * The beginning of a connection: taken to its last byte, and nothing behind it.
 */
#include "daemon/net/preamble.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX 16

/* A beginning is what stands before "!", letters only. */
struct end {
	struct loop *l;
	struct preamble p;
	int fd, peer;
	char got[MAX + 1];
	int err;
	bool done, failed;
};

static enum preamble_verdict judge(const char *p, size_t n, size_t *ret_len, void *owner)
{
	UNUSED(owner);
	for (size_t i = 0; i < n; i++) {
		*ret_len = i + 1;
		if (p[i] == '!')
			return PREAMBLE_DONE;
		if (p[i] < 'a' || p[i] > 'z')
			return PREAMBLE_BAD;
	}
	return PREAMBLE_MORE;
}

static void on_done(const char *p, size_t n, void *owner)
{
	struct end *e = owner;

	memcpy(e->got, p, n);
	e->done = true;
	preamble_end(&e->p);
}

static void on_failed(int err, void *owner)
{
	struct end *e = owner;

	e->err = err;
	e->failed = true;
	preamble_end(&e->p);
}

static const struct preamble_ops ops = { judge, on_done, on_failed };

static void open_end(struct end *e)
{
	int fds[2];

	memset(e, 0, sizeof(*e));
	e->l = loop_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	e->fd = fds[0];
	e->peer = fds[1];
	preamble_start(&e->p, e->l, e->fd, MAX, &ops, e);
}

static void close_end(struct end *e)
{
	preamble_end(&e->p);
	close(e->fd);
	if (e->peer >= 0)
		close(e->peer);
	loop_free(e->l);
}

static void say(struct end *e, const char *text)
{
	assert_int_equal(send(e->peer, text, strlen(text), 0), strlen(text));
	loop_turn(e->l, true);
}

static void what_follows_stays_in_the_socket(void **state)
{
	struct end e;
	char rest[8];

	UNUSED(state);
	open_end(&e);
	say(&e, "abc!def");
	assert_true(e.done);
	assert_string_equal(e.got, "abc!");
	assert_int_equal(recv(e.fd, rest, sizeof(rest), MSG_DONTWAIT), 3);
	assert_memory_equal(rest, "def", 3);
	close_end(&e);
}

static void it_may_come_byte_by_byte(void **state)
{
	struct end e;
	char rest[8];

	UNUSED(state);
	open_end(&e);
	say(&e, "a");
	say(&e, "b");
	assert_false(e.done || e.failed);
	/* Nothing of what was seen is left, or the loop would never sleep. */
	assert_int_equal(recv(e.fd, rest, sizeof(rest), MSG_DONTWAIT), -1);
	say(&e, "!");
	assert_true(e.done);
	assert_string_equal(e.got, "ab!");
	assert_int_equal(recv(e.fd, rest, sizeof(rest), MSG_DONTWAIT), -1);
	close_end(&e);
}

static void none_too_long_and_left_are_failures(void **state)
{
	struct end e;

	UNUSED(state);
	open_end(&e);
	say(&e, "a1");
	assert_true(e.failed && e.err == 0);
	close_end(&e);

	open_end(&e);
	say(&e, "abcdefghijklmno");
	assert_false(e.failed);
	say(&e, "pq!");
	assert_true(e.failed && !e.done && e.err == 0);
	close_end(&e);

	open_end(&e);
	say(&e, "abc");
	close(e.peer);
	e.peer = -1;
	loop_turn(e.l, true);
	assert_true(e.failed);
	assert_int_equal(e.err, ECONNRESET);
	close_end(&e);
}

/* Stands in for TCP's urgent data: a mark that arrives between the two looks takes a byte out of the stream. */
static enum preamble_verdict judge_and_steal(const char *p, size_t n, size_t *ret_len, void *owner)
{
	const struct end *e = owner;
	char byte;

	assert_int_equal(recv(e->fd, &byte, 1, MSG_DONTWAIT), 1);
	return judge(p, n, ret_len, owner);
}

static void bytes_that_vanish_are_a_failure(void **state)
{
	static const struct preamble_ops stealing = { judge_and_steal, on_done, on_failed };
	static const char *const texts[] = { "abc!", "abc" };
	struct end e;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		open_end(&e);
		preamble_end(&e.p);
		preamble_start(&e.p, e.l, e.fd, MAX, &stealing, &e);
		say(&e, texts[i]);
		assert_true(e.failed && !e.done);
		assert_int_equal(e.err, ECONNRESET);
		close_end(&e);
	}
}

static void no_event_comes_behind_its_end(void **state)
{
	struct end e;

	UNUSED(state);
	open_end(&e);
	preamble_end(&e.p);
	preamble_end(&e.p);
	assert_int_equal(send(e.peer, "abc!", 4, 0), 4);
	loop_turn(e.l, false);
	assert_false(e.done || e.failed);
	close_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_follows_stays_in_the_socket),
		cmocka_unit_test(it_may_come_byte_by_byte),
		cmocka_unit_test(none_too_long_and_left_are_failures),
		cmocka_unit_test(bytes_that_vanish_are_a_failure),
		cmocka_unit_test(no_event_comes_behind_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

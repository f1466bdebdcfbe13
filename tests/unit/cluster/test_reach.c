/* SPDX-License-Identifier: Apache-2.0
 * Whether datagrams get to a machine: one that answers, or refuses, is there; one that is silent or has no way is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "daemon/cluster/reach.h"

static struct loop *loop;
static struct reach_pair told[PREFLIGHT_LINKS_MAX];
static size_t n_told;
static unsigned calls;

static void on_done(const struct reach_pair *pairs, size_t n, void *arg)
{
	assert_ptr_equal(arg, &loop);
	calls++;
	n_told = n;
	memcpy(told, pairs, n * sizeof(*pairs));
}

/* A port of 127.0.0.1 at which somebody listens and says nothing. */
static int silent_port(struct addr *ret)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(ret->in);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0);
	*ret = (struct addr) { 0 };
	assert_int_equal(getsockname(fd, &ret->sa, &len), 0);
	return fd;
}

static struct addr loopback(void)
{
	struct addr a;

	assert_true(addr_parse_ip("127.0.0.1", &a));
	return a;
}

static void ask(const struct reach_pair *pairs, size_t n)
{
	calls = 0;
	loop = loop_new();
	assert_non_null(reach_start(loop, pairs, n, on_done, &loop));
	assert_int_equal(calls, 0);
	while (calls == 0)
		loop_turn(loop, true);
	assert_int_equal(calls, 1);
	assert_int_equal(n_told, n);
	loop_free(loop);
}

static void a_machine_that_refuses_is_there_and_one_that_is_silent_is_not(void **state)
{
	UNUSED(state);
	struct reach_pair pairs[2] = { { .from = loopback() }, { .from = loopback() } };
	int closed = silent_port(&pairs[0].to), silent = silent_port(&pairs[1].to);

	close(closed);
	ask(pairs, 2);
	assert_int_equal(told[0].reached, PREFLIGHT_YES);
	assert_int_equal(told[1].reached, PREFLIGHT_NO);
	close(silent);
}

static void a_machine_that_answers_is_there(void **state)
{
	UNUSED(state);
	struct reach_pair pairs[2] = { { .from = loopback() }, { .from = loopback() } };

	for (size_t i = 0; i < 2; i++)
		close(silent_port(&pairs[i].to));
	struct addr at[2] = { pairs[0].to, pairs[1].to };
	loop = loop_new();
	struct reach_answers *a = reach_answer(loop, at, 2);
	/* Not the kernel's refusal: somebody has the port. */
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_not_equal(bind(fd, &at[0].sa, sizeof(at[0].in)), 0);
	calls = 0;
	assert_non_null(reach_start(loop, pairs, 2, on_done, &loop));
	while (calls == 0)
		loop_turn(loop, true);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(told[i].reached, PREFLIGHT_YES);
	reach_answer_end(a);
	assert_int_equal(bind(fd, &at[0].sa, sizeof(at[0].in)), 0);
	close(fd);
	reach_answer_end(NULL);
	loop_free(loop);
}

/* Neither to what is no question, nor to an answer: two that answer each other would never end. */
static void only_a_question_is_answered(void **state)
{
	UNUSED(state);
	static const char *const sent[] = { "", "x", "postroad reach !", "postroad reach ?x", "postroad reach ?" };
	struct addr at;
	char got[64];

	close(silent_port(&at));
	loop = loop_new();
	struct reach_answers *a = reach_answer(loop, &at, 1);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fd, &at.sa, sizeof(at.in)), 0);
	for (size_t i = 0; i < 5; i++)
		assert_true(send(fd, sent[i], strlen(sent[i]) + 1, 0) > 0);
	ssize_t n;
	while ((n = recv(fd, got, sizeof(got), 0)) < 0) /* the last one, and its answer is the first */
		loop_turn(loop, true);
	assert_int_equal(n, sizeof("postroad reach !"));
	assert_memory_equal(got, "postroad reach !", (size_t)n);
	assert_true(recv(fd, got, sizeof(got), 0) < 0);
	close(fd);
	reach_answer_end(a);
	loop_free(loop);
}

static void an_address_that_is_not_ours_reaches_nobody(void **state)
{
	UNUSED(state);
	struct reach_pair pair = { .to = loopback() };

	assert_true(addr_parse_ip("192.0.2.1", &pair.from));
	addr_set_port(&pair.to, 9);
	ask(&pair, 1);
	assert_int_equal(told[0].reached, PREFLIGHT_NO);
}

static void nobody_is_told_of_what_was_cancelled(void **state)
{
	UNUSED(state);
	struct reach_pair pair = { .from = loopback() };
	int fd = silent_port(&pair.to);

	calls = 0;
	loop = loop_new();
	struct reach *r = reach_start(loop, &pair, 1, on_done, &loop);
	loop_turn(loop, true);
	reach_cancel(r);
	loop_free(loop);
	reach_cancel(NULL);
	assert_int_equal(calls, 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_that_refuses_is_there_and_one_that_is_silent_is_not),
		cmocka_unit_test(a_machine_that_answers_is_there),
		cmocka_unit_test(only_a_question_is_answered),
		cmocka_unit_test(an_address_that_is_not_ours_reaches_nobody),
		cmocka_unit_test(nobody_is_told_of_what_was_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

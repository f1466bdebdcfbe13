/* SPDX-License-Identifier: Apache-2.0
 * Listening sockets when no descriptor is left.
 */
#include "daemon/net/listener.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/log.h"

static void count_line(enum log_level level, const char *line, void *arg)
{
	unsigned *n = arg;

	UNUSED(level);
	*n += strstr(line, "event=accept") != NULL;
}

static void on_accept(int fd, const struct addr *peer, void *arg)
{
	unsigned *n = arg;

	UNUSED(peer);
	++*n;
	close(fd);
}

/* A port that nobody has, held by a socket of the group that does not listen. */
static int hold_port(struct addr *ret)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret);

	assert_true(addr_parse_ip("127.0.0.1", ret));
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, &ret->sa, addr_len(ret)), 0);
	assert_int_equal(getsockname(fd, &ret->sa, &len), 0);
	return fd;
}

/* Lets no more descriptors be opened; what was allowed before. */
static struct rlimit exhaust(void)
{
	struct rlimit before, none;
	int next = dup(0);

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return before;
}

static void a_lack_of_descriptors_is_told_once_and_not_at_each_try(void **state)
{
	UNUSED(state);
	struct loop *l = loop_new();
	unsigned n_lines = 0, n_accepted = 0;
	struct addr at = { 0 };
	int err = 0, held = hold_port(&at);
	struct listener *li = listener_open(l, &at, on_accept, &n_accepted, &err);

	assert_non_null(li);
	listener_start(li);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, &at.sa, addr_len(&at)), 0);
	log_capture(count_line, &n_lines);
	struct rlimit before = exhaust();
	for (int i = 0; i < 8; i++)
		loop_turn(l, true); /* each ends with a try, or with the timer before one */
	setrlimit(RLIMIT_NOFILE, &before);
	log_capture(NULL, NULL);
	assert_int_equal(n_accepted, 0);
	assert_int_equal(n_lines, 1);
	while (n_accepted == 0)
		loop_turn(l, true);
	listener_close(li);
	close(client);
	close(held);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lack_of_descriptors_is_told_once_and_not_at_each_try),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

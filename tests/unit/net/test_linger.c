/* SPDX-License-Identifier: Apache-2.0
 * Connections that were ended with a last word: it arrives, and no reset does.
 */
#include "daemon/net/linger.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
	struct loop *l;
	struct lingers ls;
	int fd, peer; /* two ends of a TCP connection */
	unsigned empty;
};

static void on_empty(void *arg)
{
	((struct world *)arg)->empty++;
}

/* Resets are TCP's own: a socketpair would not show them. */
static void connect_ends(struct world *w)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&at, n), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
	w->peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(w->peer, (struct sockaddr *)&at, n), 0);
	w->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(w->fd >= 0);
	close(listener);
}

static void begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->l = loop_new();
	lingers_init(&w->ls, w->l, on_empty, w);
	connect_ends(w);
}

static void finish(struct world *w)
{
	lingers_close_all(&w->ls);
	close(w->peer);
	loop_free(w->l);
}

static void whoever_speaks_afterwards_hears_the_end_and_no_reset(void **state)
{
	struct world w;
	char got[8];

	UNUSED(state);
	begin(&w);
	assert_int_equal(send(w.fd, "421", 3, 0), 3);
	lingers_add(&w.ls, w.fd);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send(w.peer, "MAIL\r\n", 6, MSG_NOSIGNAL), 6);
		loop_turn(w.l, true);
	}
	assert_int_equal(recv(w.peer, got, sizeof(got), 0), 3);
	assert_int_equal(recv(w.peer, got, sizeof(got), 0), 0);
	assert_int_equal(lingers_count(&w.ls), 1);
	finish(&w);
}

static void it_is_over_when_the_peer_closes(void **state)
{
	struct world w;

	UNUSED(state);
	begin(&w);
	lingers_add(&w.ls, w.fd);
	assert_int_equal(shutdown(w.peer, SHUT_WR), 0);
	while (w.empty == 0)
		loop_turn(w.l, true);
	assert_int_equal(lingers_count(&w.ls), 0);
	assert_int_equal(w.empty, 1);
	finish(&w);
}

static void a_peer_that_never_closes_has_its_time(void **state)
{
	struct world w;

	UNUSED(state);
	begin(&w);
	lingers_add(&w.ls, w.fd);
	while (w.empty == 0)
		loop_turn(w.l, true);
	assert_int_equal(lingers_count(&w.ls), 0);
	finish(&w);
}

static void beyond_the_bound_they_are_closed_at_once(void **state)
{
	struct world w;
	char c;

	UNUSED(state);
	begin(&w);
	w.ls.n = LINGER_MAX;
	lingers_add(&w.ls, w.fd);
	assert_int_equal(recv(w.peer, &c, 1, 0), 0);
	assert_int_equal(send(w.peer, "x", 1, MSG_NOSIGNAL), 1);
	/* That was answered by a reset. */
	assert_int_equal(send(w.peer, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	w.ls.n = 0;
	finish(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whoever_speaks_afterwards_hears_the_end_and_no_reset),
		cmocka_unit_test(it_is_over_when_the_peer_closes),
		cmocka_unit_test(a_peer_that_never_closes_has_its_time),
		cmocka_unit_test(beyond_the_bound_they_are_closed_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * postroadd's side of the socket, against a postroad-ha that the test plays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cluster/vip/ha_client.h"
#include "tests/unit/vip/ha_fixture.h"

struct scene {
	char dir[64], path[96];
	int listener, peer;
	struct ha_client *client;
	int64_t now;
	int connected, disconnected, reports, answers;
	uint32_t ticket;
	struct ha_message *in; /* what the peer took last */
};

static void on_connected(bool yes, const char *why, void *arg)
{
	struct scene *s = arg;

	assert_int_equal(why == NULL, yes);
	s->connected += yes;
	s->disconnected += !yes;
}

static void on_report(const struct ha_report *r, void *arg)
{
	UNUSED(r);
	((struct scene *)arg)->reports++;
}

static void on_answer(const struct ha_message *m, void *arg)
{
	struct scene *s = arg;

	s->answers++;
	s->ticket = m->outcome.ticket;
}

static void listen_again(struct scene *s)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	memcpy(at.sun_path, s->path, strlen(s->path));
	unlink(s->path);
	s->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_return_code(bind(s->listener, (struct sockaddr *)&at, sizeof(at)), errno);
	assert_return_code(listen(s->listener, 1), errno);
}

static int set_up(void **state)
{
	struct scene *s = xcalloc(1, sizeof(*s));
	struct ha_client_events events = {
		.arg = s, .connected = on_connected, .report = on_report, .answer = on_answer
	};

	snprintf(s->dir, sizeof(s->dir), "/tmp/ha-client-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->path, sizeof(s->path), "%s/" HA_SOCKET_NAME, s->dir);
	s->now = 1000;
	s->peer = s->listener = -1;
	s->in = xcalloc(1, sizeof(*s->in));
	s->client = ha_client_new(s->dir, "n1", &events);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *s = *state;

	ha_client_free(s->client);
	close(s->peer);
	close(s->listener);
	unlink(s->path);
	rmdir(s->dir);
	free(s->in);
	free(s);
	return 0;
}

/* What the client sent next; HA_REQUEST_END = nothing. */
static enum ha_type take(struct scene *s)
{
	static char bytes[HA_MESSAGE_MAX];
	ssize_t n = recv(s->peer, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n <= 0)
		return HA_REQUEST_END;
	assert_null(ha_decode((struct str) { bytes, (size_t)n }, s->in));
	return s->in->type;
}

static void say(struct scene *s, struct ha_message *m)
{
	struct sbuf bytes = { 0 };

	assert_null(ha_encode(m, &bytes));
	assert_int_equal(send(s->peer, bytes.p, bytes.n, 0), bytes.n);
	sbuf_fini(&bytes);
	free(m);
	ha_client_dispatch(s->client, s->now);
}

/* The client comes; its greeting is taken and answered. */
static void greet(struct scene *s)
{
	ha_client_tick(s->client, s->now);
	s->peer = accept(s->listener, NULL, NULL);
	assert_true(s->peer >= 0);
	assert_int_equal(take(s), HA_HELLO);
	assert_string_equal(s->in->hello.node, "n1");
	say(s, message_of(HA_WELCOME));
	assert_int_equal(take(s), HA_BEAT);
}

static void set_states(struct scene *s)
{
	struct ha_message *table = message_of(HA_TABLE), *health = message_of(HA_HEALTH);

	assert_null(ha_client_set_table(s->client, &table->table));
	assert_null(ha_client_set_health(s->client, &health->health));
	free(table);
	free(health);
}

static void it_connects_when_there_is_somebody(void **state)
{
	struct scene *s = *state;

	assert_int_equal(ha_client_tick(s->client, s->now), s->now + HA_CLIENT_RETRY_MS);
	assert_int_equal(ha_client_fd(s->client), -1);
	listen_again(s);
	ha_client_tick(s->client, s->now + 1); /* not before its time */
	assert_int_equal(ha_client_fd(s->client), -1);
	s->now += HA_CLIENT_RETRY_MS;
	greet(s);
	assert_true(s->connected == 1 && ha_client_fd(s->client) >= 0);
}

static void it_says_table_and_then_health_after_the_greeting(void **state)
{
	struct scene *s = *state;

	set_states(s);
	listen_again(s);
	greet(s);
	assert_int_equal(take(s), HA_TABLE);
	assert_int_equal(s->in->table.generation, 7);
	assert_int_equal(take(s), HA_HEALTH);
	assert_int_equal(take(s), HA_REQUEST_END);
}

static void it_says_all_again_after_a_restart(void **state)
{
	struct scene *s = *state;

	set_states(s);
	listen_again(s);
	greet(s);
	close(s->listener);
	close(s->peer);
	ha_client_dispatch(s->client, s->now);
	assert_int_equal(s->disconnected, 1);
	assert_int_equal(ha_client_fd(s->client), -1);
	listen_again(s);
	s->now += HA_CLIENT_RETRY_MS;
	greet(s);
	assert_int_equal(take(s), HA_TABLE);
	assert_int_equal(take(s), HA_HEALTH);
	assert_int_equal(s->connected, 2);
}

static void health_is_said_again_each_second_and_when_a_report_denies_it(void **state)
{
	struct scene *s = *state;
	int64_t age;

	set_states(s);
	listen_again(s);
	greet(s);
	while (take(s) != HA_REQUEST_END)
		;
	assert_null(ha_client_report(s->client, s->now, &age));
	say(s, message_of(HA_REPORT)); /* out-a is up there too */
	assert_int_equal(take(s), HA_REQUEST_END);
	struct ha_message *denied = message_of(HA_REPORT);
	denied->report.vips[0].up = false;
	say(s, denied);
	assert_int_equal(take(s), HA_HEALTH);
	assert_int_equal(s->reports, 2);
	s->now += HA_CLIENT_HEALTH_MS;
	ha_client_tick(s->client, s->now);
	assert_int_equal(take(s), HA_HEALTH);
	assert_non_null(ha_client_report(s->client, s->now, &age));
	assert_int_equal(age, HA_CLIENT_HEALTH_MS);
}

static void it_beats_only_when_told(void **state)
{
	struct scene *s = *state;

	listen_again(s);
	greet(s);
	for (int i = 0; i < 10; i++)
		ha_client_tick(s->client, s->now += 100);
	assert_int_equal(take(s), HA_REQUEST_END);
	ha_client_beat(s->client);
	assert_int_equal(take(s), HA_BEAT);
}

static void requests_are_answered_by_ticket(void **state)
{
	struct scene *s = *state;
	struct ha_message *m = message_of(HA_COROSYNC);

	assert_non_null(ha_client_request(s->client, m)); /* nobody is there */
	listen_again(s);
	greet(s);
	assert_null(ha_client_request(s->client, m));
	assert_int_equal(take(s), HA_COROSYNC);
	assert_int_equal(s->in->corosync.key_len, HA_KEY_MIN);
	m->corosync.key_len = 0;
	assert_non_null(ha_client_request(s->client, m)); /* it breaks a rule */
	assert_int_equal(take(s), HA_REQUEST_END);
	say(s, message_of(HA_DONE));
	assert_true(s->answers == 1 && s->ticket == 3);
	free(m);
}

static void what_does_not_fit_the_socket_waits_in_order(void **state)
{
	struct scene *s = *state;
	struct ha_message *m = message_of(HA_FLOWS_TAKE);
	uint32_t sent = 0, got = 0;

	listen_again(s);
	greet(s);
	m->flows.n = HA_FLOWS_MAX;
	for (size_t i = 1; i < HA_FLOWS_MAX; i++)
		m->flows.list[i] = m->flows.list[0];
	for (sent = 0; sent < 100; sent++) {
		m->flows.ticket = sent + 1;
		assert_null(ha_client_request(s->client, m));
	}
	for (int turns = 0; got < sent && turns < 1000; turns++) {
		while (take(s) == HA_FLOWS_TAKE)
			assert_int_equal(s->in->flows.ticket, ++got);
		ha_client_tick(s->client, s->now);
	}
	assert_int_equal(got, sent);
	free(m);
}

static void a_table_that_breaks_a_rule_changes_nothing(void **state)
{
	struct scene *s = *state;
	struct ha_message *m = message_of(HA_TABLE);

	set_states(s);
	m->table.generation = 8;
	m->table.vips[0].vrid = 0;
	assert_non_null(ha_client_set_table(s->client, &m->table));
	free(m);
	listen_again(s);
	greet(s);
	assert_int_equal(take(s), HA_TABLE);
	assert_int_equal(s->in->table.generation, 7);
}

static void bytes_that_are_no_message_end_the_connection(void **state)
{
	struct scene *s = *state;

	listen_again(s);
	greet(s);
	assert_int_equal(send(s->peer, "what?", 5, 0), 5);
	ha_client_dispatch(s->client, s->now);
	assert_int_equal(ha_client_fd(s->client), -1);
	assert_int_equal(s->disconnected, 1);
}

static void one_that_does_not_greet_is_left(void **state)
{
	struct scene *s = *state;

	listen_again(s);
	ha_client_tick(s->client, s->now);
	assert_true(ha_client_fd(s->client) >= 0);
	ha_client_tick(s->client, s->now + 10 * HA_CLIENT_RETRY_MS);
	assert_int_equal(ha_client_fd(s->client), -1);
	assert_int_equal(s->disconnected, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_connects_when_there_is_somebody),
		TEST(it_says_table_and_then_health_after_the_greeting),
		TEST(it_says_all_again_after_a_restart),
		TEST(health_is_said_again_each_second_and_when_a_report_denies_it),
		TEST(it_beats_only_when_told),
		TEST(requests_are_answered_by_ticket),
		TEST(what_does_not_fit_the_socket_waits_in_order),
		TEST(a_table_that_breaks_a_rule_changes_nothing),
		TEST(bytes_that_are_no_message_end_the_connection),
		TEST(one_that_does_not_greet_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

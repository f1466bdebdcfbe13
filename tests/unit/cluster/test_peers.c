/* SPDX-License-Identifier: Apache-2.0
 * Promises of calls between nodes: members reach members, strangers only what is for strangers, who was removed
 * nothing; and whoever is slow, silent or too long costs nobody else.
 */
#include "tests/unit/cluster/peers_fixture.h"

#include <openssl/ssl.h>
#include <stdio.h>

#include "daemon/net/stream_tls.h"

static struct ca *ca;
static struct loop *loop;
static struct node one, two;

static void echo(struct peers_request *r, void *arg)
{
	struct node *n = arg;

	n->served++;
	peers_reply(r, 200, peers_request_body(r));
}

static void hold(struct peers_request *r, void *arg)
{
	((struct node *)arg)->held = r;
}

static void tell_who(struct peers_request *r, void *arg)
{
	const struct ca_identity *who = peers_request_from(r);
	char text[32] = "stranger";

	UNUSED(arg);
	if (who != NULL)
		snprintf(text, sizeof(text), "node %u", who->id);
	peers_reply(r, 200, str_from(text));
}

static uint8_t bound[2][CHANNEL_BINDING_LEN]; /* the server's, the caller's */

static void bind_here(struct peers_request *r, void *arg)
{
	UNUSED(arg);
	assert_true(peers_request_binding(r, bound[0]));
	peers_reply(r, 200, peers_request_body(r));
}

static void bind_there(const uint8_t binding[CHANNEL_BINDING_LEN], struct sbuf *body, void *arg)
{
	UNUSED(arg);
	memcpy(bound[1], binding, CHANNEL_BINDING_LEN);
	sbuf_puts(body, "proof");
}

static int set_up(void **state)
{
	UNUSED(state);
	loop = loop_new();
	ca = authority("mail");
	node_init(&one, loop, ca, 1);
	node_init(&two, loop, ca, 2);
	peers_serve(one.peers, "/echo", false, 300000, echo, &one);
	peers_serve(one.peers, "/who", true, 64, tell_who, &one);
	peers_serve(one.peers, "/hold", true, 64, hold, &one);
	peers_serve(one.peers, "/bind", true, 64, bind_here, &one);
	return 0;
}

static int tear_down(void **state)
{
	UNUSED(state);
	node_fini(&one);
	node_fini(&two);
	loop_turn(loop, false);
	loop_free(loop);
	ca_free(ca);
	return 0;
}

/* ---- who reaches whom ---- */

static void a_member_calls_a_member(void **state)
{
	struct peers_call_options o = options_to(&one, "/echo", STR("{\"a\":1}"));
	struct answer a = { 0 };

	UNUSED(state);
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body.p, "{\"a\":1}");
	answer_reset(&a);
	o = options_to(&one, "/who", STR(""));
	o.id = 0;
	call_and_wait(&two, &o, &a);
	assert_string_equal(a.body.p, "node 2");
	answer_reset(&a);
}

static void long_bodies_arrive_whole(void **state)
{
	struct sbuf body = { 0 };
	struct answer a = { 0 };

	UNUSED(state);
	for (unsigned i = 0; body.n < 290000; i++)
		sbuf_printf(&body, "%u,", i);
	struct peers_call_options o = options_to(&one, "/echo", (struct str) { body.p, body.n });
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body.p, body.p);
	answer_reset(&a);
	sbuf_fini(&body);
}

static void another_node_than_expected_gets_nothing(void **state)
{
	struct peers_call_options o = options_to(&one, "/echo", STR("secret"));
	struct answer a = { 0 };

	UNUSED(state);
	o.id = 7;
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 0);
	assert_non_null(strstr(a.body.p, "is node 1 (n), not node 7"));
	assert_int_equal(one.served, 0);
	answer_reset(&a);
}

static void who_was_removed_is_refused_in_the_handshake(void **state)
{
	struct peers_call_options o = options_to(&one, "/who", STR(""));
	struct answer a = { 0 };

	UNUSED(state);
	one.refuses = 2;
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 0);
	answer_reset(&a);
	/* Without a certificate it is a stranger like any other, and still believes members alone. */
	o.anonymous = true;
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body.p, "stranger");
	answer_reset(&a);
	two.refuses = 1;
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 0);
	assert_non_null(strstr(a.body.p, "certificate"));
	answer_reset(&a);
}

static void who_was_removed_meanwhile_does_not_get_the_answer(void **state)
{
	struct peers_call_options o = options_to(&one, "/hold", STR(""));
	struct answer a = { 0 };

	UNUSED(state);
	assert_int_equal(peers_call(two.peers, &o, on_answer, &a), 0);
	TURN_UNTIL(loop, one.held != NULL);
	one.refuses = 2;
	peers_reply(one.held, 200, STR("a key"));
	TURN_UNTIL(loop, a.came);
	assert_int_equal(a.status, 403);
	assert_null(strstr(a.body.p, "a key"));
	answer_reset(&a);
}

static void a_stranger_reaches_what_is_for_strangers(void **state)
{
	uint8_t fingerprint[CA_FINGERPRINT_LEN];
	struct peers_call_options o = options_to(&one, "/who", STR(""));
	struct answer a = { 0 };
	struct node new;

	UNUSED(state);
	node_init(&new, loop, NULL, 0);
	assert_int_equal(peers_call(new.peers, &o, on_answer, &a), -ENOTCONN);
	ca_fingerprint(ca, fingerprint);
	o.authority = fingerprint;
	call_and_wait(&new, &o, &a);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body.p, "stranger");
	answer_reset(&a);
	o.path = "/echo";
	call_and_wait(&new, &o, &a);
	assert_int_equal(a.status, 403);
	answer_reset(&a);
	o.path = "/nowhere";
	call_and_wait(&new, &o, &a);
	assert_int_equal(a.status, 403);
	answer_reset(&a);
	fingerprint[0] ^= 1;
	call_and_wait(&new, &o, &a);
	assert_int_equal(a.status, 0);
	answer_reset(&a);
	assert_int_equal(one.served, 0);
	node_fini(&new);
}

static void members_are_told_what_is_wrong(void **state)
{
	struct peers_call_options o = options_to(&one, "/nowhere", STR(""));
	char body[65] = { 0 };
	struct answer a = { 0 };

	UNUSED(state);
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 404);
	answer_reset(&a);
	memset(body, 'x', sizeof(body));
	o = options_to(&one, "/who", (struct str) { body, sizeof(body) });
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 413);
	answer_reset(&a);
}

static void both_ends_have_the_same_binding_and_each_connection_another(void **state)
{
	struct peers_call_options o = options_to(&one, "/bind", STR(""));
	struct answer a = { 0 };
	uint8_t before[CHANNEL_BINDING_LEN];

	UNUSED(state);
	o.compose = bind_there;
	call_and_wait(&two, &o, &a);
	assert_string_equal(a.body.p, "proof");
	assert_memory_equal(bound[0], bound[1], sizeof(bound[0]));
	memcpy(before, bound[0], sizeof(before));
	answer_reset(&a);
	call_and_wait(&two, &o, &a);
	assert_memory_equal(bound[0], bound[1], sizeof(bound[0]));
	assert_memory_not_equal(before, bound[0], sizeof(before));
	answer_reset(&a);
}

static void a_renewed_certificate_is_used_and_a_lost_one_is_not(void **state)
{
	struct peers_call_options o = options_to(&one, "/who", STR(""));
	struct answer a = { 0 };
	struct node renewed;
	char *why = NULL;

	UNUSED(state);
	node_init(&renewed, loop, ca, 9);
	assert_true(peers_identity(two.peers, &renewed.config, &why));
	call_and_wait(&two, &o, &a);
	assert_string_equal(a.body.p, "node 9");
	answer_reset(&a);
	assert_true(peers_identity(two.peers, NULL, &why));
	assert_int_equal(peers_call(two.peers, &o, on_answer, &a), -ENOTCONN);
	/* A node without one takes no connection either. */
	o = options_to(&two, "/who", STR(""));
	call_and_wait(&one, &o, &a);
	assert_int_equal(a.status, 0);
	answer_reset(&a);
	node_fini(&renewed);
}

/* ---- waiting ---- */

static void a_call_ends_at_its_deadline(void **state)
{
	struct peers_call_options o = options_to(&one, "/hold", STR(""));
	struct answer a = { 0 };

	UNUSED(state);
	o.deadline_ms = 200;
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 0);
	assert_non_null(strstr(a.body.p, "no answer within 0.2 s"));
	answer_reset(&a);
	/* The reply comes too late, or the request never: neither harms. */
	TURN_UNTIL(loop, one.held != NULL);
	peers_reply(one.held, 200, STR("late"));
}

static void nobody_there_is_said_so(void **state)
{
	struct peers_call_options o = options_to(&one, "/who", STR(""));
	struct answer a = { 0 };
	char *why = NULL;

	UNUSED(state);
	assert_true(peers_listen(one.peers, NULL, 0, &why));
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 0);
	assert_non_null(strstr(a.body.p, "refused"));
	answer_reset(&a);
}

static void addresses_come_and_go_and_those_that_stay_are_not_closed(void **state)
{
	struct peers_call_options o = options_to(&one, "/hold", STR(""));
	struct addr other = free_port(), list[3] = { one.at, other, other };
	struct answer a = { 0 };
	char *why = NULL;

	UNUSED(state);
	/* Connected and not accepted yet: it waits in the queue of the one that stays. */
	assert_int_equal(peers_call(two.peers, &o, on_answer, &a), 0);
	assert_true(peers_listen(one.peers, list, 2, &why));
	TURN_UNTIL(loop, one.held != NULL);
	peers_reply(one.held, 200, STR("here"));
	TURN_UNTIL(loop, a.came);
	assert_int_equal(a.status, 200);
	answer_reset(&a);
	/* What is refused changes nothing. */
	assert_false(peers_listen(one.peers, list, 3, &why));
	assert_non_null(strstr(why, "twice"));
	free(why);
	o = options_to(&one, "/who", STR(""));
	for (int i = 0; i < 2; i++) {
		o.to = i == 0 ? one.at : other;
		call_and_wait(&two, &o, &a);
		assert_int_equal(a.status, 200);
		answer_reset(&a);
	}
	assert_true(peers_listen(one.peers, &other, 1, &why));
	o.to = one.at;
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 0);
	answer_reset(&a);
}

static void the_end_answers_calls_and_outlives_no_request(void **state)
{
	struct peers_call_options o = options_to(&one, "/hold", STR(""));
	struct answer a = { 0 }, b = { 0 };

	UNUSED(state);
	assert_int_equal(peers_call(two.peers, &o, on_answer, &a), 0);
	TURN_UNTIL(loop, one.held != NULL);
	assert_int_equal(peers_call(two.peers, &o, on_answer, &b), 0);
	peers_free(two.peers);
	two.peers = NULL;
	assert_true(a.came && b.came && a.status == 0 && b.status == 0);
	peers_free(one.peers);
	one.peers = NULL;
	peers_reply(one.held, 200, STR("nobody hears it"));
	answer_reset(&a);
	answer_reset(&b);
}

/* ---- by hand ---- */

struct hand {
	struct stream st;
	struct sbuf got;
	bool on, gone;
};

static size_t hand_data(struct stream *st, const char *p, size_t n, void *owner)
{
	UNUSED(st);
	sbuf_add(&((struct hand *)owner)->got, p, n);
	return n;
}

static void hand_gone(struct stream *st, int err, void *owner)
{
	UNUSED(st);
	UNUSED(err);
	((struct hand *)owner)->gone = true;
}

static void hand_tls(struct stream *st, void *owner)
{
	UNUSED(st);
	((struct hand *)owner)->on = true;
}

static void hand_connected(struct stream *st, void *owner)
{
	UNUSED(st);
	UNUSED(owner);
}

static const struct stream_ops hand_ops = { hand_connected, hand_data, NULL, hand_gone, hand_tls };

/* A plain connection to a node. */
static void hand_connect(struct hand *h, const struct node *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*h = (struct hand) { 0 };
	assert_int_equal(connect(fd, &to->at.sa, addr_len(&to->at)), 0);
	assert_int_equal(evutil_make_socket_nonblocking(fd), 0);
	stream_open(&h->st, loop, fd, &hand_ops, h);
}

static void hand_shake(struct hand *h, const struct node *as)
{
	char *why = NULL;
	SSL_CTX *ctx = channel_client(&as->config, &why);
	SSL *ssl = SSL_new(ctx);

	SSL_CTX_free(ctx);
	SSL_set_connect_state(ssl);
	assert_true(stream_tls_own(&h->st, ssl, STREAM_TLS_IMPLICIT));
	TURN_UNTIL(loop, h->on);
}

static void hand_fini(struct hand *h)
{
	stream_close(&h->st);
	sbuf_fini(&h->got);
}

static void who_was_removed_is_refused_on_an_open_connection(void **state)
{
	struct hand h;

	UNUSED(state);
	hand_connect(&h, &one);
	hand_shake(&h, &two);
	stream_puts(&h.st, "POST /echo HTTP/1.1\r\nContent-Le");
	for (int i = 0; i < 20; i++)
		loop_turn(loop, false);
	one.refuses = 2;
	stream_puts(&h.st, "ngth: 1\r\n\r\nx");
	TURN_UNTIL(loop, h.gone);
	assert_memory_equal(h.got.p, "HTTP/1.1 403 ", 13);
	assert_int_equal(one.served, 0);
	hand_fini(&h);
}

static void expect_refusal(const char *request, const char *status)
{
	struct hand h;

	hand_connect(&h, &one);
	hand_shake(&h, &two);
	stream_puts(&h.st, request);
	TURN_UNTIL(loop, h.gone);
	assert_true(h.got.n > 13);
	assert_memory_equal(h.got.p + 9, status, 3);
	hand_fini(&h);
}

static void what_has_two_readings_is_no_call(void **state)
{
	UNUSED(state);
	expect_refusal("GET /who HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "400");
	expect_refusal("POST /who HTTP/1.1\r\n\r\n", "400");
	expect_refusal("POST /who HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "400");
	expect_refusal("POST /who HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0", "400");
	expect_refusal("POST /echo HTTP/1.1\r\nContent-Length: 1\r\n\r\nxPOST /echo HTTP/1.1\r\n", "400");
	assert_int_equal(one.served, 0);
}

static void silent_connections_take_nobodys_place(void **state)
{
	struct peers_call_options o = options_to(&one, "/who", STR(""));
	struct hand silent[PEERS_UNPROVEN_MAX + 4];
	struct answer a = { 0 };
	unsigned open = 0;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(silent); i++)
		hand_connect(&silent[i], &one);
	/* Those beyond the bound are closed at once, the others wait for their deadline. */
	TURN_UNTIL(loop, silent[ARRAY_LEN(silent) - 1].gone);
	for (size_t i = 0; i < ARRAY_LEN(silent); i++)
		open += !silent[i].gone;
	assert_int_equal(open, PEERS_UNPROVEN_MAX);
	/* One goes, and there is a place. */
	hand_fini(&silent[0]);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, false);
	call_and_wait(&two, &o, &a);
	assert_int_equal(a.status, 200);
	answer_reset(&a);
	/* Each of the others ends by itself. */
	for (size_t i = 1; i < ARRAY_LEN(silent); i++) {
		TURN_UNTIL(loop, silent[i].gone);
		hand_fini(&silent[i]);
	}
}

static void a_source_that_shakes_hands_for_nothing_is_held_back(void **state)
{
	struct peers_call_options o = options_to(&one, "/who", STR(""));
	uint8_t fingerprint[CA_FINGERPRINT_LEN];
	struct answer a = { 0 };
	struct node new;
	unsigned met = 0;

	UNUSED(state);
	node_init(&new, loop, NULL, 0);
	ca_fingerprint(ca, fingerprint);
	o.authority = fingerprint;
	for (bool answered = true; answered; met++) {
		assert_true(met < 2000);
		call_and_wait(&new, &o, &a);
		answered = a.status == 200;
		answer_reset(&a);
	}
	assert_true(met > 16);
	node_fini(&new);
}

/* A member's handshakes are not counted against it. */
static void a_member_may_call_as_often_as_it_likes(void **state)
{
	struct peers_call_options o = options_to(&one, "/who", STR(""));
	struct answer a = { 0 };

	UNUSED(state);
	for (int i = 0; i < 150; i++) {
		call_and_wait(&two, &o, &a);
		assert_int_equal(a.status, 200);
		answer_reset(&a);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_member_calls_a_member),
		TEST(long_bodies_arrive_whole),
		TEST(another_node_than_expected_gets_nothing),
		TEST(who_was_removed_is_refused_in_the_handshake),
		TEST(who_was_removed_meanwhile_does_not_get_the_answer),
		TEST(a_stranger_reaches_what_is_for_strangers),
		TEST(members_are_told_what_is_wrong),
		TEST(both_ends_have_the_same_binding_and_each_connection_another),
		TEST(a_renewed_certificate_is_used_and_a_lost_one_is_not),
		TEST(a_call_ends_at_its_deadline),
		TEST(nobody_there_is_said_so),
		TEST(addresses_come_and_go_and_those_that_stay_are_not_closed),
		TEST(the_end_answers_calls_and_outlives_no_request),
		TEST(who_was_removed_is_refused_on_an_open_connection),
		TEST(what_has_two_readings_is_no_call),
		TEST(silent_connections_take_nobodys_place),
		TEST(a_source_that_shakes_hands_for_nothing_is_held_back),
		TEST(a_member_may_call_as_often_as_it_likes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

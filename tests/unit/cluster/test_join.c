/* SPDX-License-Identifier: Apache-2.0
 * Promises of joining: a token lets one node in, once; who lost the answer gets the same one again; nothing that was
 * changed on the way is taken.
 */
#include "tests/unit/cluster/peers_fixture.h"

#include <stdio.h>

#include "daemon/cluster/join.h"

static struct loop *loop;
static struct ca *ca;
static struct node one, new;
static struct members *table;
static struct token token;
static uint8_t key[COROSYNC_KEY_LEN], next_key[COROSYNC_KEY_LEN];
static struct join_question question;
static struct sbuf key_pem;
static char text[TOKEN_TEXT_MAX];
static double now;
static enum { AT_ONCE, LATER, NO_QUORUM, LOSES } manner;
static struct join_asked *waiting;
static unsigned decided;

/* ---- the member that is asked ---- */

static bool by_table(void *arg, const struct ca_identity *peer)
{
	UNUSED(arg);
	return members_certified(table, peer->id, peer->fingerprint);
}

static const struct members *the_table(void *arg)
{
	UNUSED(arg);
	return table;
}

static const struct ca *the_authority(void *arg)
{
	UNUSED(arg);
	return ca;
}

static bool the_key(void *arg, const uint8_t hash[COROSYNC_KEY_HASH_LEN], uint8_t ret[COROSYNC_KEY_LEN])
{
	const uint8_t *keys[] = { key, next_key };

	UNUSED(arg);
	for (size_t i = 0; i < 2; i++) {
		if (!corosync_key_is((struct str) { (const char *)keys[i], COROSYNC_KEY_LEN }, hash))
			continue;
		memcpy(ret, keys[i], COROSYNC_KEY_LEN);
		return true;
	}
	return false;
}

static void decide(struct join_asked *a, void *arg)
{
	struct members_seen seen[1] = { { .id = 1, .instance = 11, .present = true, .synced = true } };
	struct members_view view = { .self = 1, .quorate = true, .now = now, .n = 1, .seen = seen };
	struct members_refusal why;
	uint8_t hash[COROSYNC_KEY_HASH_LEN];

	UNUSED(arg);
	decided++;
	if (manner == LATER) {
		waiting = a;
		return;
	}
	if (manner == NO_QUORUM) {
		join_defer(a, "no quorum");
		return;
	}
	corosync_key_hash(next_key, hash);
	struct members *to = join_decide(a, table, &view, hash, &why);
	if (to == NULL) {
		join_refuse(a, &why);
		return;
	}
	members_free(table);
	table = to;
	if (manner == LOSES) {
		join_defer(a, "lost");
	} else {
		join_asked_pass_over(a, "a firewall");
		join_accept(a, table, 3, 77);
	}
}

/* ---- both ---- */

static void add_token(const char *replaces)
{
	struct members_token t = { .expires = (double)token.expires };
	struct members_refusal why;

	memcpy(t.id, token.id, sizeof(t.id));
	snprintf(t.replaces, sizeof(t.replaces), "%s", replaces);
	token_stored(&token, t.stored);
	struct members *to = members_token_add(table, &t, now, &why);
	assert_non_null(to);
	members_free(table);
	table = to;
}

static void make_table(void)
{
	struct members_node n = { .name = "one",
				  .instance = 11,
				  .n_links = 1,
				  .listen = one.at,
				  .features_low = MEMBERS_FEATURES_LOW,
				  .features_high = MEMBERS_FEATURES_HIGH };
	struct members_refusal why;
	uint8_t hash[COROSYNC_KEY_HASH_LEN];

	assert_true(addr_parse_ip("192.0.2.1", &n.links[0]));
	memcpy(n.certificate, one.who.fingerprint, sizeof(n.certificate));
	corosync_key_hash(key, hash);
	table = members_init("mail", 42, &n, hash, now, &why);
	assert_non_null(table);
}

static void make_question(void)
{
	struct members_node *n = &question.node;
	struct sbuf request = { 0 };

	question = (struct join_question) { .version = "1.2.3" };
	snprintf(n->name, sizeof(n->name), "two");
	n->instance = 0xfedcba9876543210;
	n->n_links = 1;
	n->listen = new.at;
	n->features_low = MEMBERS_FEATURES_LOW;
	n->features_high = MEMBERS_FEATURES_HIGH;
	assert_true(addr_parse_ip("2001:db8::2", &n->links[0]));
	assert_true(addr_parse_ip("192.0.2.2", &n->links[0]));
	assert_true(ca_request_make(&key_pem, &request));
	question.certificate_request = sbuf_steal(&request);
}

static int set_up(void **state)
{
	uint8_t fingerprint[CA_FINGERPRINT_LEN];
	const struct join_env env = { NULL, the_table, the_authority, the_key, decide };

	UNUSED(state);
	now = (double)time(NULL);
	manner = AT_ONCE;
	waiting = NULL;
	decided = 0;
	loop = loop_new();
	ca = authority("mail");
	node_init(&one, loop, ca, 1);
	node_init(&new, loop, NULL, 0);
	one.config.member = by_table;
	char *why = NULL;
	assert_true(peers_identity(one.peers, &one.config, &why));
	assert_true(corosync_key_make(key) && corosync_key_make(next_key));
	make_table();
	ca_fingerprint(ca, fingerprint);
	assert_true(token_make(&token, fingerprint, (uint64_t)now + 3600));
	token.addresses[0] = one.at;
	token.n = 1;
	token_format(&token, text);
	add_token("");
	make_question();
	join_serve(one.peers, &env);
	return 0;
}

static int tear_down(void **state)
{
	UNUSED(state);
	node_fini(&one);
	node_fini(&new);
	loop_turn(loop, false);
	loop_free(loop);
	ca_free(ca);
	members_free(table);
	join_question_fini(&question);
	sbuf_fini(&key_pem);
	return 0;
}

struct result {
	bool passed_over; /* as the member said */
	bool came, ok, denied;
	uint32_t id;
	uint64_t generation, position;
	char *certificate, *why;
	uint8_t key[COROSYNC_KEY_LEN];
};

static void on_joined(const struct join_answer *a, int status, const char *why, void *arg)
{
	struct result *r = arg;

	assert_false(r->came);
	r->came = true;
	r->ok = a != NULL;
	r->denied = status != 0 && status != 200;
	r->why = why == NULL ? NULL : xstrdup(why);
	if (a == NULL)
		return;
	r->id = a->id;
	r->generation = a->generation;
	r->position = a->position;
	r->passed_over = json_array_size(a->passed_over) == 1 &&
			 strcmp(json_string_value(json_array_get(a->passed_over, 0)), "a firewall") == 0;
	r->certificate = xstrdup(a->certificate);
	memcpy(r->key, a->key, sizeof(r->key));
}

static void result_fini(struct result *r)
{
	free(r->certificate);
	free(r->why);
	*r = (struct result) { 0 };
}

static void begin(struct result *r)
{
	struct join_options o = { str_from(text), &question, { key_pem.p, key_pem.n }, now };
	char *why = NULL;

	assert_non_null(join_call(new.peers, &o, on_joined, r, &why));
}

static void join(struct result *r)
{
	begin(r);
	TURN_UNTIL(loop, r->came);
}

/* ---- promises ---- */

static void hello(struct peers_request *r, void *arg)
{
	UNUSED(arg);
	peers_reply(r, 200, str_from(peers_request_from(r)->name));
}

static void a_node_joins_and_is_a_member_from_then_on(void **state)
{
	struct peers_call_options o = options_to(&one, "/hello", STR(""));
	struct answer a = { 0 };
	struct result r = { 0 };
	char *why = NULL;

	UNUSED(state);
	peers_serve(one.peers, "/hello", false, 0, hello, NULL);
	join(&r);
	assert_true(r.ok);
	assert_int_equal(r.id, 2);
	assert_int_equal(r.generation, 3);
	assert_int_equal(r.position, 77);
	assert_true(r.passed_over);
	assert_memory_equal(r.key, key, sizeof(key));
	assert_int_equal(members_find(table, 2)->instance, 0xfedcba9876543210);
	struct channel_config c = { ca, str_from(r.certificate), { key_pem.p, key_pem.n }, by_table, NULL };
	assert_true(peers_identity(new.peers, &c, &why));
	call_and_wait(&new, &o, &a);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body.p, "two");
	answer_reset(&a);
	result_fini(&r);
}

static void who_lost_the_answer_gets_the_same_id_again(void **state)
{
	struct result r = { 0 };

	UNUSED(state);
	manner = LOSES;
	join(&r);
	assert_false(r.ok || r.denied);
	result_fini(&r);
	manner = AT_ONCE;
	for (int i = 0; i < 2; i++) {
		join(&r);
		assert_true(r.ok);
		assert_int_equal(r.id, 2);
		assert_int_equal(table->n, 2);
		result_fini(&r);
	}
	/* Another one may not. */
	question.node.instance++;
	join(&r);
	assert_true(!r.ok && r.denied);
	/* … neither while that join is under way nor afterwards. */
	table->list[1].state = MEMBERS_MEMBER;
	table->list[1].votes = 1;
	table->tie_breaker = 1;
	table->change = (struct members_change) { 0 };
	result_fini(&r);
	join(&r);
	assert_true(!r.ok && r.denied);
	assert_non_null(strstr(r.why, "was used by node 2"));
	assert_int_equal(table->n, 2);
	result_fini(&r);
}

static void a_wrong_secret_is_refused_and_nobody_decides(void **state)
{
	struct result r = { 0 };

	UNUSED(state);
	token.secret[0] ^= 1;
	token_format(&token, text);
	join(&r);
	assert_true(!r.ok && r.denied);
	result_fini(&r);
	token.secret[0] ^= 1;
	memcpy(token.id, "0123456789abcdef", 17);
	token_format(&token, text);
	join(&r);
	assert_true(!r.ok && r.denied);
	result_fini(&r);
	assert_int_equal(decided, 0);
	assert_int_equal(table->n, 1);
}

static void another_authority_than_the_tokens_is_not_believed(void **state)
{
	struct result r = { 0 };

	UNUSED(state);
	token.authority[5] ^= 1;
	token_format(&token, text);
	join(&r);
	assert_true(!r.ok && !r.denied);
	assert_non_null(strstr(r.why, "certificate"));
	assert_int_equal(decided, 0);
	result_fini(&r);
}

static void a_token_that_has_expired_is_not_even_asked_with(void **state)
{
	struct join_options o = { str_from(text), &question, { key_pem.p, key_pem.n }, now + 4000 };
	char *why = NULL;

	UNUSED(state);
	assert_null(join_call(new.peers, &o, on_joined, NULL, &why));
	assert_non_null(strstr(why, "expired"));
	free(why);
	o.token = STR("postroad1.nonsense");
	assert_null(join_call(new.peers, &o, on_joined, NULL, &why));
	free(why);
}

/* A proof is of one question on one connection. */
static void change(const uint8_t binding[CHANNEL_BINDING_LEN], struct sbuf *body, void *arg)
{
	struct sbuf asked = { 0 };
	uint8_t proof[TOKEN_HASH_LEN], other[CHANNEL_BINDING_LEN] = { 1 };
	bool of_other_connection = ((struct answer *)arg)->status == -1;

	join_question_encode(&question, &asked);
	token_prove(&token, of_other_connection ? other : binding, (struct str) { asked.p, asked.n }, proof);
	if (!of_other_connection)
		*strstr(asked.p, "192.0.2.2") = '2';
	join_envelope_encode(token.id, proof, (struct str) { asked.p, asked.n }, body);
	sbuf_fini(&asked);
}

static void a_changed_question_and_a_proof_of_elsewhere_are_refused(void **state)
{
	struct peers_call_options o = options_to(&one, "/join", STR(""));

	UNUSED(state);
	o.compose = change;
	o.authority = token.authority;
	for (int i = 0; i < 2; i++) {
		struct answer a = { .status = i - 1 };
		call_and_wait(&new, &o, &a);
		assert_int_equal(a.status, 403);
		answer_reset(&a);
	}
	assert_int_equal(decided, 0);
}

static void the_next_address_is_asked_where_one_cannot_say(void **state)
{
	struct result r = { 0 };

	UNUSED(state);
	token.addresses[1] = token.addresses[0];
	token.addresses[0] = free_port();
	token.n = 2;
	token_format(&token, text);
	join(&r);
	assert_true(r.ok);
	result_fini(&r);
	token.addresses[0] = token.addresses[1];
	token_format(&token, text);
	manner = NO_QUORUM;
	decided = 0;
	join(&r);
	assert_true(!r.ok && !r.denied);
	assert_int_equal(decided, 2);
	assert_non_null(strstr(r.why, "no quorum"));
	result_fini(&r);
}

static void an_answer_with_another_key_is_not_taken(void **state)
{
	struct result r = { 0 };

	UNUSED(state);
	manner = LATER;
	begin(&r);
	TURN_UNTIL(loop, waiting != NULL);
	struct members_seen seen[1] = { { .id = 1, .instance = 11, .present = true, .synced = true } };
	struct members_view view = { .self = 1, .quorate = true, .now = now, .n = 1, .seen = seen };
	struct members_refusal why;
	struct members *to = join_decide(waiting, table, &view, NULL, &why), *wrong = members_copy(to);
	assert_non_null(to);
	/* A table that the certificate is not of. */
	wrong->list[1].certificate[0] ^= 1;
	join_accept(waiting, wrong, 0, 1);
	TURN_UNTIL(loop, r.came);
	assert_true(!r.ok && r.denied);
	assert_non_null(strstr(r.why, "certificate"));
	members_free(to);
	members_free(wrong);
	result_fini(&r);
}

static void who_replaces_another_gets_the_new_key(void **state)
{
	struct result r = { 0 };

	UNUSED(state);
	join(&r);
	assert_true(r.ok);
	result_fini(&r);
	/* It is a member and gone. */
	table->list[1].state = MEMBERS_MEMBER;
	table->list[1].votes = 0;
	table->generation = table->change.generation;
	table->change = (struct members_change) { 0 };
	uint8_t fingerprint[CA_FINGERPRINT_LEN];
	ca_fingerprint(ca, fingerprint);
	assert_true(token_make(&token, fingerprint, (uint64_t)now + 3600));
	token.addresses[0] = one.at;
	token.n = 1;
	token_format(&token, text);
	add_token("two");
	question.node.instance = 5;
	assert_true(addr_parse_ip("192.0.2.3", &question.node.links[0]));
	addr_set_port(&question.node.listen, 1);
	join(&r);
	assert_string_equal(r.why == NULL ? "" : r.why, "");
	assert_int_equal(r.id, 3);
	assert_memory_equal(r.key, next_key, sizeof(key));
	result_fini(&r);
}

static void the_end_comes_while_the_log_is_written(void **state)
{
	struct result r = { 0 };

	UNUSED(state);
	manner = LATER;
	begin(&r);
	TURN_UNTIL(loop, waiting != NULL);
	peers_free(one.peers);
	one.peers = NULL;
	TURN_UNTIL(loop, r.came);
	assert_true(!r.ok && !r.denied);
	join_accept(waiting, table, 0, 1);
	result_fini(&r);
}

/* ---- as values ---- */

static void a_question_comes_out_as_it_went_in(void **state)
{
	struct sbuf out = { 0 }, again = { 0 };
	struct join_question q;
	const char *why = NULL;

	UNUSED(state);
	question.force = question.node.voter_only = true;
	question.node.n_links = 2;
	assert_true(addr_parse_ip("2001:db8::2", &question.node.links[1]));
	question.clock = 1795349719.25;
	question.mtu[0] = 1500;
	question.mtu[1] = 65536;
	join_question_encode(&question, &out);
	assert_true(join_question_parse((struct str) { out.p, out.n }, &q, &why));
	join_question_encode(&q, &again);
	assert_string_equal(out.p, again.p);
	assert_true(q.clock == question.clock && q.mtu[0] == 1500 && q.mtu[1] == 65536);
	assert_true(q.force && q.node.voter_only && q.node.instance == question.node.instance);
	/* Cut anywhere it is none. */
	for (size_t n = 0; n < out.n; n++) {
		struct join_question cut;
		assert_false(join_question_parse((struct str) { out.p, n }, &cut, &why));
		assert_non_null(why);
	}
	join_question_fini(&q);
	sbuf_fini(&out);
	sbuf_fini(&again);
}

static void what_is_out_of_range_is_no_question(void **state)
{
	static const struct {
		const char *from, *to;
	} changes[] = {
		{ "\"format\":1", "\"format\":2" },
		{ "\"node\":\"two\"", "\"node\":\"-x\"" },
		{ "\"node\":\"two\"", "\"node\":12345" },
		{ "192.0.2.2", "192.0.2." },
		{ "fedcba98", "fedcba9G" },
		{ "\"force\":false", "\"force\":12345" },
		{ "\"version\":\"1.2.3\"", "\"versiom\":\"1.2.3\"" },
	};
	struct sbuf out = { 0 };
	const char *why = NULL;

	UNUSED(state);
	join_question_encode(&question, &out);
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		char *p = xstrdup(out.p), *at = strstr(p, changes[i].from);
		struct join_question q;
		assert_non_null(at);
		memcpy(at, changes[i].to, strlen(changes[i].to));
		memmove(at + strlen(changes[i].to), at + strlen(changes[i].from),
			strlen(at + strlen(changes[i].from)) + 1);
		assert_false(join_question_parse(str_from(p), &q, &why));
		free(p);
	}
	sbuf_fini(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_node_joins_and_is_a_member_from_then_on),
		TEST(who_lost_the_answer_gets_the_same_id_again),
		TEST(a_wrong_secret_is_refused_and_nobody_decides),
		TEST(another_authority_than_the_tokens_is_not_believed),
		TEST(a_token_that_has_expired_is_not_even_asked_with),
		TEST(a_changed_question_and_a_proof_of_elsewhere_are_refused),
		TEST(the_next_address_is_asked_where_one_cannot_say),
		TEST(an_answer_with_another_key_is_not_taken),
		TEST(who_replaces_another_gets_the_new_key),
		TEST(the_end_comes_while_the_log_is_written),
		TEST(a_question_comes_out_as_it_went_in),
		TEST(what_is_out_of_range_is_no_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

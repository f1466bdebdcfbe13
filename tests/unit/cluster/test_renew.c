/* SPDX-License-Identifier: Apache-2.0
 * Promises of renewals: the next certificate is for who asked and for nobody else; however many answers are lost, the
 * node can still ask; who was removed gets none.
 */
#include "tests/unit/cluster/peers_fixture.h"

#include <stdio.h>

#include "daemon/cluster/renew.h"

static struct loop *loop;
static struct ca *ca;
static struct node one, two;
static struct members *table;
static struct sbuf key, request;
static enum { AT_ONCE, LATER, LOSES } manner;
static struct renew_asked *waiting;
static bool can_issue;

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
	return can_issue ? ca : NULL;
}

static void decide(struct renew_asked *a, void *arg)
{
	struct members_refusal why;

	UNUSED(arg);
	assert_int_equal(renew_asked_id(a), 2);
	if (manner == LATER) {
		waiting = a;
		return;
	}
	struct members *to = renew_decide(a, table, (double)time(NULL), &why);
	if (to == NULL) {
		renew_refuse(a, &why);
		return;
	}
	members_free(table);
	table = to;
	if (manner == LOSES)
		renew_defer(a, "lost");
	else
		renew_accept(a);
}

static void add_member(struct node *n, const char *name)
{
	struct members_node *m = &table->list[table->n++];

	*m = (struct members_node) { .id = table->next_id++, .instance = 22, .votes = 1, .state = MEMBERS_MEMBER };
	snprintf(m->name, sizeof(m->name), "%s", name);
	memcpy(m->certificate, n->who.fingerprint, sizeof(m->certificate));
}

static int set_up(void **state)
{
	const struct renew_env env = { NULL, the_table, the_authority, decide };
	struct members_node first = {
		.name = "one", .instance = 11, .features_low = 1, .features_high = 1, .n_links = 1
	};
	struct members_refusal refusal;
	uint8_t hash[MEMBERS_HASH_LEN] = { 1 };
	char *why = NULL;

	UNUSED(state);
	manner = AT_ONCE;
	can_issue = true;
	loop = loop_new();
	ca = authority("mail");
	node_init(&one, loop, ca, 1);
	node_init(&two, loop, ca, 2);
	first.listen = one.at;
	assert_true(addr_parse_ip("192.0.2.1", &first.links[0]));
	memcpy(first.certificate, one.who.fingerprint, sizeof(first.certificate));
	table = members_init("mail", 42, &first, hash, (double)time(NULL), &refusal);
	add_member(&two, "n");
	/* As members_check() wants two of them. */
	table->list[1].n_links = 1;
	assert_true(addr_parse_ip("192.0.2.2", &table->list[1].links[0]));
	table->list[1].listen = two.at;
	table->list[1].features_low = table->list[1].features_high = 1;
	table->list[1].from = table->generation;
	table->list[1].joined = table->list[0].joined;
	table->tie_breaker = 1;
	assert_null(members_check(table));
	one.config.member = two.config.member = by_table;
	assert_true(peers_identity(one.peers, &one.config, &why) && peers_identity(two.peers, &two.config, &why));
	assert_true(ca_request_make(&key, &request));
	renew_serve(one.peers, &env);
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
	members_free(table);
	sbuf_fini(&key);
	sbuf_fini(&request);
	return 0;
}

struct result {
	bool came;
	struct sbuf pem;
	char why[256];
};

static void on_renewed(struct str pem, const char *why, void *arg)
{
	struct result *r = arg;

	assert_false(r->came);
	r->came = true;
	if (pem.n > 0)
		sbuf_add(&r->pem, pem.p, pem.n);
	snprintf(r->why, sizeof(r->why), "%s", why == NULL ? "" : why);
}

static void begin(struct result *r)
{
	struct renew_options o = { .to = one.at,
				   .id = 1,
				   .request_pem = { request.p, request.n },
				   .key_pem = { key.p, key.n },
				   .ca = ca,
				   .self = &two.who,
				   .now = (double)time(NULL) };

	sbuf_fini(&r->pem);
	*r = (struct result) { 0 };
	assert_int_equal(renew_call(two.peers, &o, on_renewed, r), 0);
}

static void renew(struct result *r)
{
	begin(r);
	TURN_UNTIL(loop, r->came);
}

static void the_next_certificate_is_good_and_so_is_the_present_one(void **state)
{
	struct result r = { 0 };
	char *why = NULL;

	UNUSED(state);
	renew(&r);
	assert_string_equal(r.why, "");
	assert_true(members_certified(table, 2, two.who.fingerprint));
	struct channel_config c = { ca, { r.pem.p, r.pem.n }, { key.p, key.n }, by_table, NULL };
	assert_true(peers_identity(two.peers, &c, &why));
	/* With the next one, and from it to one more. */
	struct result again = { 0 };
	renew(&again);
	assert_string_equal(again.why, "");
	assert_false(members_certified(table, 2, two.who.fingerprint));
	sbuf_fini(&again.pem);
	sbuf_fini(&r.pem);
}

static void who_loses_every_answer_can_still_ask(void **state)
{
	struct result r = { 0 };

	UNUSED(state);
	manner = LOSES;
	for (int i = 0; i < 3; i++) {
		renew(&r);
		assert_int_equal(r.pem.n, 0);
		assert_string_equal(r.why, "lost");
	}
	manner = AT_ONCE;
	renew(&r);
	assert_string_equal(r.why, "");
	sbuf_fini(&r.pem);
}

static void who_was_removed_meanwhile_gets_none(void **state)
{
	struct members_refusal why;
	struct result r = { 0 };

	UNUSED(state);
	manner = LATER;
	begin(&r);
	TURN_UNTIL(loop, waiting != NULL);
	memset(table->list[1].certificate, 9, MEMBERS_HASH_LEN);
	assert_null(renew_decide(waiting, table, (double)time(NULL), &why));
	assert_int_equal(why.code, MEMBERS_DENIED);
	renew_refuse(waiting, &why);
	TURN_UNTIL(loop, r.came);
	assert_int_equal(r.pem.n, 0);
	assert_non_null(strstr(r.why, "no member"));
}

static void a_certificate_for_another_key_is_not_taken(void **state)
{
	struct sbuf other = { 0 }, unused = { 0 };
	struct result r = { 0 };

	UNUSED(state);
	assert_true(ca_request_make(&other, &unused));
	sbuf_fini(&key);
	key = other;
	renew(&r);
	assert_int_equal(r.pem.n, 0);
	assert_non_null(strstr(r.why, "another key"));
	sbuf_fini(&unused);
}

static void what_is_no_request_is_refused_and_nothing_changes(void **state)
{
	struct result r = { 0 };

	UNUSED(state);
	sbuf_reset(&request);
	sbuf_puts(&request, "-----BEGIN CERTIFICATE REQUEST-----\n");
	renew(&r);
	assert_int_equal(r.pem.n, 0);
	assert_true(members_certified(table, 2, two.who.fingerprint));
	can_issue = false;
	renew(&r);
	assert_non_null(strstr(r.why, "cannot give certificates"));
}

static void the_end_comes_while_the_log_is_written(void **state)
{
	struct result r = { 0 };

	UNUSED(state);
	manner = LATER;
	waiting = NULL;
	begin(&r);
	TURN_UNTIL(loop, waiting != NULL);
	peers_free(one.peers);
	one.peers = NULL;
	TURN_UNTIL(loop, r.came);
	assert_int_equal(r.pem.n, 0);
	renew_defer(waiting, "too late");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_next_certificate_is_good_and_so_is_the_present_one),
		TEST(who_loses_every_answer_can_still_ask),
		TEST(who_was_removed_meanwhile_gets_none),
		TEST(a_certificate_for_another_key_is_not_taken),
		TEST(what_is_no_request_is_refused_and_nothing_changes),
		TEST(the_end_comes_while_the_log_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

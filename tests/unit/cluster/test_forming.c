/* SPDX-License-Identifier: Apache-2.0
 * Requests that change who is a member are writes as all others: under an operation and an Idempotency-Key, and what
 * could not be known in time is not said to have failed. Tokens are listed and revoked. The store, the API and the node
 * around it are played.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/cluster/cluster_private.h"
#include "tests/unit/store/members_fixture.h"

static struct cluster_node node;
static struct fixture_view here;
static bool quorate;
static int propose_err;
static struct members *proposed;
static store_done_fn *fn;
static void *fn_arg;
static char operation[STORE_OPERATION_LEN + 1];
static const char *key;

/* How the request was answered. */
static unsigned answers;
static json_t *answer; /* of 200 */
static int refused;    /* enum problem */
static char why_refused[512];
static enum core_result result;            /* given to the API as it came */
static char told[STORE_OPERATION_LEN + 1]; /* … with this operation */
static int not_proposed;

/* ---- played ---- */

void cluster_call_answer(struct cluster_call *q, int status, json_t *json)
{
	UNUSED(q);
	assert_int_equal(status, 200);
	answers++;
	answer = json;
}

void cluster_call_refuse(struct cluster_call *q, enum problem p, const char *fmt, ...)
{
	va_list ap;

	UNUSED(q);
	va_start(ap, fmt);
	vsnprintf(why_refused, sizeof(why_refused), fmt, ap);
	va_end(ap);
	answers++;
	refused = (int)p;
}

void cluster_call_result(struct cluster_call *q, const struct store_result *r, const char *id)
{
	UNUSED(q);
	answers++;
	result = r->result;
	snprintf(told, sizeof(told), "%s", id);
}

void cluster_call_not_proposed(struct cluster_call *q, int err)
{
	UNUSED(q);
	answers++;
	not_proposed = err;
}

const struct members *cluster_table(const struct cluster_node *n)
{
	return n->table;
}

bool cluster_said_removed(const struct cluster_node *n)
{
	UNUSED(n);
	return false;
}

bool cluster_lacks_table(const struct cluster_node *n)
{
	return n->table == NULL;
}

void cluster_look(const struct cluster_node *n, struct cluster_view *ret)
{
	UNUSED(n);
	memcpy(ret->seen, here.seen, sizeof(ret->seen));
	ret->view = here.view;
	ret->view.seen = ret->seen;
}

int cluster_propose(struct cluster_node *n, struct members *to, const struct cluster_proposal *p)
{
	UNUSED(n);
	members_free(proposed);
	proposed = to;
	fn = p->fn;
	fn_arg = p->arg;
	key = p->idempotency_key;
	snprintf(operation, sizeof(operation), "%s", p->operation);
	return propose_err;
}

struct store_identity store_identity(const struct store *s)
{
	UNUSED(s);
	return (struct store_identity) { .id = 1, .instance = 101, .cluster = 77 };
}

bool store_quorate(const struct store *s)
{
	UNUSED(s);
	return quorate;
}

int store_force_quorum(struct store *s)
{
	UNUSED(s);
	return -EAGAIN;
}

static enum core_state state_now;
static uint32_t newest;

enum core_state store_state(const struct store *s)
{
	UNUSED(s);
	return state_now;
}

uint32_t store_newest(const struct store *s)
{
	UNUSED(s);
	return newest;
}

void store_operation_new(char out[STORE_OPERATION_LEN + 1])
{
	static unsigned count;

	snprintf(out, STORE_OPERATION_LEN + 1, "%032u", ++count);
}

json_t *cluster_node_status(const struct cluster_node *n)
{
	UNUSED(n);
	return json_object();
}

void lost_list(struct cluster_node *n, struct cluster_call *q)
{
	UNUSED(n);
	UNUSED(q);
}

void lost_forget(struct cluster_node *n, struct cluster_call *q)
{
	UNUSED(n);
	UNUSED(q);
}

void forming_init(struct cluster_node *n, struct cluster_call *q)
{
	UNUSED(n);
	UNUSED(q);
}

static bool ha_there;
static unsigned checked, purged, joins;
static ha_answer_fn *ha_answers;

bool cluster_ha_verb(struct cluster_node *n, enum ha_corosync_verb verb, uint64_t generation, ha_answer_fn *done)
{
	assert_true((verb == HA_COROSYNC_CHECK || verb == HA_COROSYNC_PURGE) && generation == 0);
	if (!ha_there)
		return false;
	n->ha_busy = true;
	ha_answers = done;
	checked += verb == HA_COROSYNC_CHECK;
	purged += verb == HA_COROSYNC_PURGE;
	return true;
}

static void ha_says(enum ha_type type, const char *text)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));
	ha_answer_fn *done = ha_answers;

	ha_answers = NULL;
	m->type = type;
	snprintf(m->outcome.text, sizeof(m->outcome.text), "%s", text);
	done(m, &node);
	free(m);
}

void forming_join(struct cluster_node *n, struct cluster_call *q)
{
	joins += forming_clean(n, q);
}

/* ---- a member of three ---- */

static char name[] = "n1";
static const struct node_config config = { .node = name };

static int begin(void **state)
{
	char *why = NULL;

	UNUSED(state);
	node = (struct cluster_node) { .magic = CLUSTER_NODE_MAGIC, .env = { .loop = loop_new(), .config = &config } };
	list_init(&node.waiting);
	timer_init(&node.tick, NULL, NULL);
	node.trust.ca = ca_make("mail", clock_wall(), &why);
	node.table = fixture_table(3, 1);
	fixture_all_here(&here, node.table, 1);
	quorate = true;
	answers = 0;
	refused = not_proposed = propose_err = 0;
	result = CORE_COMMITTED;
	told[0] = operation[0] = '\0';
	ha_there = true;
	ha_answers = NULL;
	checked = purged = joins = 0;
	return node.trust.ca == NULL;
}

static int end(void **state)
{
	UNUSED(state);
	timer_stop(&node.tick);
	json_decref(answer);
	answer = NULL;
	members_free(proposed);
	proposed = NULL;
	members_free(node.table);
	ca_free(node.trust.ca);
	loop_free(node.env.loop);
	return 0;
}

static void ask(struct cluster_call *q, enum cluster_verb verb, const char *of)
{
	static json_t *body;

	json_decref(body);
	body = json_object();
	*q = (struct cluster_call) { .verb = verb, .body = body, .node = of, .author = "a", .idempotency_key = "k1" };
	cluster_node_call(&node, q);
}

static void becomes(enum core_result r)
{
	if (r == CORE_COMMITTED) {
		members_free(node.table);
		node.table = proposed;
		proposed = NULL;
	}
	fn(&(struct store_result) { .result = r }, fn_arg);
}

static void a_write_has_an_operation_and_the_callers_key(void **state)
{
	struct cluster_call q;

	UNUSED(state);
	ask(&q, CLUSTER_TOKEN, "");
	assert_string_equal(key, "k1");
	assert_int_equal(strlen(operation), STORE_OPERATION_LEN);
	becomes(CORE_COMMITTED);
	assert_int_equal(answers, 1);
	assert_memory_equal(json_string_value(json_object_get(answer, "token")), TOKEN_PREFIX, strlen(TOKEN_PREFIX));
	assert_string_equal(json_string_value(json_object_get(answer, "token_id")), node.table->tokens[0].id);
}

static void what_is_not_known_in_time_is_told_with_its_operation(void **state)
{
	static const enum core_result results[] = { CORE_UNKNOWN, CORE_FULL, CORE_NO_QUORUM };
	struct cluster_call q;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(results); i++) {
		answers = 0;
		told[0] = '\0';
		ask(&q, CLUSTER_LEAVE, "");
		becomes(results[i]);
		assert_int_equal(answers, 1);
		assert_int_equal(result, results[i]);
		assert_string_equal(told, operation);
	}
}

static void a_token_that_was_made_before_is_not_answered_with_another_ones_text(void **state)
{
	struct cluster_call q;

	UNUSED(state);
	ask(&q, CLUSTER_TOKEN, "");
	becomes(CORE_DUPLICATE);
	assert_int_equal(answers, 1);
	assert_int_equal(result, CORE_DUPLICATE);
	assert_null(answer);
}

static void what_cannot_be_proposed_is_told_as_of_other_writes(void **state)
{
	struct cluster_call q;

	UNUSED(state);
	propose_err = -EBUSY;
	ask(&q, CLUSTER_LEAVE, "");
	assert_int_equal(answers, 1);
	assert_int_equal(not_proposed, -EBUSY);
	propose_err = 0;
	quorate = false;
	ask(&q, CLUSTER_LEAVE, "");
	assert_int_equal(answers, 2);
	assert_int_equal(not_proposed, -ENOTCONN);
}

static void tokens_are_listed_without_what_they_are_proved_by(void **state)
{
	struct cluster_call q;

	UNUSED(state);
	ask(&q, CLUSTER_TOKEN, "");
	becomes(CORE_COMMITTED);
	json_decref(answer);
	quorate = false;
	ask(&q, CLUSTER_TOKENS, "");
	json_t *list = json_object_get(answer, "tokens"), *one = json_object_get(list, node.table->tokens[0].id);
	assert_int_equal(json_object_size(list), 1);
	assert_int_equal(json_object_size(one), 3);
	assert_true(json_is_false(json_object_get(one, "voter_only")));
	assert_true(json_is_null(json_object_get(one, "replaces")));
	assert_non_null(strchr(json_string_value(json_object_get(one, "expires")), 'T'));
}

static void a_token_is_revoked_unless_it_was_used(void **state)
{
	struct cluster_call q;
	char id[MEMBERS_TOKEN_ID_MAX + 1];

	UNUSED(state);
	ask(&q, CLUSTER_TOKEN, "");
	becomes(CORE_COMMITTED);
	json_decref(answer);
	snprintf(id, sizeof(id), "%s", node.table->tokens[0].id);
	ask(&q, CLUSTER_TOKEN_REVOKE, "none");
	assert_int_equal(refused, PROBLEM_NOT_FOUND);
	node.table->tokens[0].used_by = 3;
	ask(&q, CLUSTER_TOKEN_REVOKE, id);
	assert_int_equal(refused, PROBLEM_CONFLICT);
	ask(&q, CLUSTER_TOKENS, "");
	assert_int_equal(json_object_size(json_object_get(answer, "tokens")), 0);
	json_decref(answer);
	node.table->tokens[0].used_by = 0;
	answers = 0;
	ask(&q, CLUSTER_TOKEN_REVOKE, id);
	becomes(CORE_COMMITTED);
	assert_int_equal(answers, 1);
	assert_int_equal(node.table->n_tokens, 0);
}

/* Both are started by one command, in any order. */
static void a_join_waits_a_moment_for_postroad_ha(void **state)
{
	struct cluster_call q;

	UNUSED(state);
	ha_there = false;
	ask(&q, CLUSTER_JOIN, "");
	assert_true(answers == 0 && joins == 0);
	ha_there = true;
	while (ha_answers == NULL)
		loop_turn(node.env.loop, true);
	ha_says(HA_DONE, "");
	ha_says(HA_DONE, "");
	assert_true(answers == 0 && joins == 1 && purged == 1 && list_empty(&node.waiting));
	ha_there = false;
	ask(&q, CLUSTER_JOIN, "");
	q.since_ms = 1; /* long ago */
	while (answers == 0)
		loop_turn(node.env.loop, true);
	assert_int_equal(refused, PROBLEM_CONFLICT);
	assert_int_equal(joins, 1);
}

static void who_waits_is_told_when_the_node_stops(void **state)
{
	struct cluster_call q;

	UNUSED(state);
	ha_there = false;
	ask(&q, CLUSTER_JOIN, "");
	forming_wait_stop(&node);
	assert_true(answers == 1 && joins == 0);
	assert_int_equal(refused, PROBLEM_INTERNAL);
}

/* A node whose corosync cannot be started would be a member that writes nothing and cannot leave. */
static void who_cannot_run_corosync_does_not_become_a_member(void **state)
{
	struct cluster_call q, other;

	UNUSED(state);
	ask(&q, CLUSTER_JOIN, "");
	assert_true(checked == 1 && purged == 0 && joins == 0 && answers == 0);
	ask(&other, CLUSTER_JOIN, "");
	assert_true(answers == 1 && checked == 1); /* one at a time */
	ha_says(HA_ERROR, "there is no user postroad");
	assert_true(answers == 2 && joins == 0 && purged == 0);
	assert_int_equal(refused, PROBLEM_CONFLICT);
	assert_non_null(strstr(why_refused, "there is no user postroad"));
	assert_false(node.forming);
	ask(&q, CLUSTER_JOIN, "");
	ha_says(HA_DONE, "");
	assert_true(purged == 1 && joins == 0 && node.forming);
	ha_says(HA_DONE, "");
	assert_true(joins == 1 && !node.forming && answers == 2);
}

static void corosync_that_cannot_be_put_away_is_told(void **state)
{
	struct cluster_call q;

	UNUSED(state);
	ask(&q, CLUSTER_JOIN, "");
	ha_says(HA_DONE, "");
	ha_says(HA_ERROR, "Unit postroad-corosync.service not loaded.");
	assert_true(answers == 1 && joins == 0);
	assert_non_null(strstr(why_refused, "not loaded"));
}

static void an_answer_that_does_not_come_is_asked_for_again_for_a_while(void **state)
{
	struct cluster_call q;

	UNUSED(state);
	ask(&q, CLUSTER_JOIN, "");
	ha_answers(NULL, &node);
	ha_answers = NULL;
	assert_true(answers == 0 && !list_empty(&node.waiting) && !node.forming);
	while (ha_answers == NULL)
		loop_turn(node.env.loop, true);
	q.since_ms = 1; /* long ago */
	ha_answers(NULL, &node);
	assert_int_equal(answers, 1);
	assert_int_equal(refused, PROBLEM_CONFLICT);
}

static void an_answer_that_comes_after_the_stop_is_nobodys(void **state)
{
	struct cluster_call q;

	UNUSED(state);
	ask(&q, CLUSTER_JOIN, "");
	forming_wait_stop(&node);
	assert_int_equal(answers, 1);
	assert_int_equal(refused, PROBLEM_INTERNAL);
	ha_answers(NULL, &node);
	assert_true(answers == 1 && joins == 0 && !node.ha_busy);
}

static void what_postroad_ha_does_already_is_waited_for(void **state)
{
	struct cluster_call q;

	UNUSED(state);
	node.ha_busy = true; /* a purge of the cluster before */
	ask(&q, CLUSTER_JOIN, "");
	assert_true(checked == 0 && answers == 0);
	node.ha_busy = false;
	while (ha_answers == NULL)
		loop_turn(node.env.loop, true);
	assert_true(checked == 1 && answers == 0);
	forming_wait_stop(&node);
}

static void a_quorum_that_cannot_be_forced_is_refused_with_what_to_do(void **state)
{
	static const struct {
		enum core_state state;
		uint32_t newest;
		const char *says;
	} row[] = {
		{ CORE_ACTIVE, 1, "has a quorum already" },
		{ CORE_OFFLINE, 0, "Corosync does not run here" },
		{ CORE_SYNC, 0, "try again" },
		{ CORE_MINORITY, 2, "Run it on n2" },
		{ CORE_MINORITY, 9, "Run it on node 9" },
		{ CORE_MINORITY, 0, "Not all nodes in the view have spoken" },
		{ CORE_MINORITY, 1, "has a vote" },
	};
	struct cluster_call q;

	UNUSED(state);
	quorate = false;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		state_now = row[i].state;
		newest = row[i].newest;
		ask(&q, CLUSTER_FORCE_QUORUM, "");
		assert_int_equal(answers, i + 1);
		assert_int_equal(refused, PROBLEM_CONFLICT);
		if (strstr(why_refused, row[i].says) == NULL)
			fail_msg("row %zu: %s", i, why_refused);
	}
}

static void who_cannot_take_part_leaves_by_force_alone(void **state)
{
	char why[] = "state_dir/trust/ca.pem: No such file or directory";
	struct cluster_call q;

	UNUSED(state);
	quorate = false;
	node.cannot = why;
	ask(&q, CLUSTER_LEAVE, "");
	assert_int_equal(refused, PROBLEM_CONFLICT);
	assert_non_null(strstr(why_refused, "ca.pem"));
	assert_non_null(strstr(why_refused, "leave --force"));
	assert_false(node.purging);
	ask(&q, CLUSTER_LEAVE_FORCED, "");
	assert_int_equal(answers, 2);
	assert_true(node.purging);
}

/* The others would keep a member that is gone. */
static void who_can_take_part_is_not_alone_by_force(void **state)
{
	struct cluster_call q;

	UNUSED(state);
	quorate = false;
	ask(&q, CLUSTER_LEAVE_FORCED, "");
	assert_int_equal(not_proposed, -ENOTCONN);
	assert_false(node.purging);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_write_has_an_operation_and_the_callers_key),
		T(what_is_not_known_in_time_is_told_with_its_operation),
		T(a_token_that_was_made_before_is_not_answered_with_another_ones_text),
		T(what_cannot_be_proposed_is_told_as_of_other_writes),
		T(tokens_are_listed_without_what_they_are_proved_by),
		T(a_token_is_revoked_unless_it_was_used),
		T(a_join_waits_a_moment_for_postroad_ha),
		T(who_waits_is_told_when_the_node_stops),
		T(who_cannot_run_corosync_does_not_become_a_member),
		T(corosync_that_cannot_be_put_away_is_told),
		T(an_answer_that_does_not_come_is_asked_for_again_for_a_while),
		T(an_answer_that_comes_after_the_stop_is_nobodys),
		T(what_postroad_ha_does_already_is_waited_for),
		T(a_quorum_that_cannot_be_forced_is_refused_with_what_to_do),
		T(who_cannot_take_part_leaves_by_force_alone),
		T(who_can_take_part_is_not_alone_by_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

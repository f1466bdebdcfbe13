/* SPDX-License-Identifier: Apache-2.0
 * Whom a member asks whether it was removed: all others without a quorum, and with one those that are away, which may
 * have decided without it. The calls and the node around them are played.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/cluster/cluster_private.h"
#include "tests/unit/store/members_fixture.h"

enum { SELF = 1, CALLS_MAX = 16 };

static struct cluster_node node;
static bool quorate;
static uint32_t in_view[CORE_MEMBERS_MAX];
static size_t n_in_view;
static struct call {
	char path[16];
	uint32_t id;
	bool anonymous;
	peers_answer_fn *fn;
	void *arg;
} calls[CALLS_MAX];
static size_t n_calls;
static uint32_t removed_by;

/* ---- played ---- */

int peers_call(struct peers *p, const struct peers_call_options *o, peers_answer_fn *fn, void *arg)
{
	struct call *c = &calls[n_calls++];

	UNUSED(p);
	assert_true(n_calls <= CALLS_MAX);
	*c = (struct call) { .id = o->id, .anonymous = o->anonymous, .fn = fn, .arg = arg };
	snprintf(c->path, sizeof(c->path), "%s", o->path);
	return 0;
}

void peers_serve(struct peers *p, const char *path, bool strangers, size_t body_max, peers_serve_fn *fn, void *arg)
{
	UNUSED(p);
	UNUSED(path);
	UNUSED(strangers);
	UNUSED(body_max);
	UNUSED(fn);
	UNUSED(arg);
}

const struct ca_identity *peers_request_from(const struct peers_request *r)
{
	UNUSED(r);
	return NULL;
}

struct str peers_request_body(const struct peers_request *r)
{
	UNUSED(r);
	return STR("");
}

void peers_reply(struct peers_request *r, int status, struct str body)
{
	UNUSED(r);
	UNUSED(status);
	UNUSED(body);
}

bool store_quorate(const struct store *s)
{
	UNUSED(s);
	return quorate;
}

size_t store_members(const struct store *s, uint32_t ids[CORE_MEMBERS_MAX])
{
	UNUSED(s);
	memcpy(ids, in_view, n_in_view * sizeof(*ids));
	return n_in_view;
}

struct store_identity store_identity(const struct store *s)
{
	UNUSED(s);
	return (struct store_identity) { .id = SELF, .instance = 100 + SELF, .cluster = 77 };
}

const struct members *cluster_table(const struct cluster_node *n)
{
	return n->table;
}

struct members_seen cluster_own(const struct cluster_node *n)
{
	UNUSED(n);
	return (struct members_seen) { .id = SELF, .instance = 100 + SELF };
}

void cluster_look(const struct cluster_node *n, struct cluster_view *ret)
{
	UNUSED(n);
	memset(ret, 0, sizeof(*ret));
}

void cluster_called(struct cluster_node *n, const struct members_seen *s)
{
	UNUSED(n);
	UNUSED(s);
}

void cluster_told(struct cluster_node *n, const struct cluster_word *w)
{
	UNUSED(n);
	UNUSED(w);
}

void cluster_told_removed(struct cluster_node *n, uint32_t id, bool removed)
{
	UNUSED(n);
	removed_by = removed ? id : 0;
}

void forming_serve_join(struct cluster_node *n)
{
	UNUSED(n);
}

void own_certificate_serve(struct cluster_node *n)
{
	UNUSED(n);
}

/* ---- a member of three ---- */

static int begin(void **state)
{
	UNUSED(state);
	node = (struct cluster_node) { .magic = CLUSTER_NODE_MAGIC, .table = fixture_table(3, 1) };
	n_calls = 0;
	removed_by = 0;
	return 0;
}

static int end(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < n_calls; i++)
		if (calls[i].fn != NULL)
			calls[i].fn(0, STR("no answer"), calls[i].arg);
	members_free(node.table);
	return 0;
}

static void view_of(size_t n, bool writes)
{
	quorate = writes;
	n_in_view = n;
	for (size_t i = 0; i < n; i++)
		in_view[i] = (uint32_t)i + 1;
}

static bool is_asked(const char *path, uint32_t id)
{
	bool asked = false;

	for (size_t i = 0; i < n_calls; i++)
		asked |= calls[i].id == id && strcmp(calls[i].path, path) == 0;
	return asked;
}

static void answer(const char *path, uint32_t id, struct str body)
{
	for (size_t i = 0; i < n_calls; i++)
		if (calls[i].id == id && strcmp(calls[i].path, path) == 0 && calls[i].fn != NULL) {
			calls[i].fn(200, body, calls[i].arg);
			calls[i].fn = NULL;
		}
}

static void without_a_quorum_all_are_asked(void **state)
{
	UNUSED(state);
	view_of(2, false);
	cluster_ask(&node);
	assert_true(is_asked("/removed", 2) && is_asked("/removed", 3));
	assert_true(is_asked("/generation", 2) && is_asked("/generation", 3));
	assert_false(is_asked("/removed", SELF));
}

/* The tie-breaker of two writes alone, and was removed by a quorum that was forced. */
static void with_one_it_is_asked_of_those_that_are_away(void **state)
{
	UNUSED(state);
	view_of(2, true);
	cluster_ask(&node);
	assert_true(is_asked("/removed", 3));
	assert_false(is_asked("/removed", 2));
	for (size_t i = 0; i < n_calls; i++)
		assert_int_equal(calls[i].anonymous, strcmp(calls[i].path, "/removed") == 0);
	answer("/removed", 3, STR("{\"removed\": true}"));
	assert_int_equal(removed_by, 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(without_a_quorum_all_are_asked),
		T(with_one_it_is_asked_of_those_that_are_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * A node that has left its cluster has its configuration in its own log in the end, however often the disk does not
 * take it, and says so meanwhile. The store, the API and the files are played.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "daemon/main/left.c"

static struct node node;
static struct conf conf;
static struct store_identity identity;
static int propose_err;
static unsigned proposals, unkept;
static enum entry_kind kind;
static store_done_fn *done_fn;
static char warned[512];

/* ---- played ---- */

int storage_propose(struct node *n, enum entry_kind k, json_t *document, bool kept, store_done_fn *fn)
{
	assert_ptr_equal(n, &node);
	assert_true(document != NULL && kept);
	proposals++;
	kind = k;
	done_fn = fn;
	return propose_err;
}

const struct entry *store_last(const struct store *s, enum entry_kind k)
{
	UNUSED(s);
	UNUSED(k);
	return NULL;
}

struct store_identity store_identity(const struct store *s)
{
	UNUSED(s);
	return identity;
}

int document_keep(const struct node_config *n, json_t *document, json_t *runtime)
{
	UNUSED(n);
	assert_true(document != NULL && runtime != NULL);
	return 0;
}

void document_unkeep(const struct node_config *n)
{
	UNUSED(n);
	unkept++;
}

json_t *api_own_runtime(struct api *a)
{
	UNUSED(a);
	return json_object();
}

void api_warn(struct api *a, const char *key, const char *text)
{
	UNUSED(a);
	assert_string_equal(key, "cluster_left");
	snprintf(warned, sizeof(warned), "%s", text != NULL ? text : "");
}

void membership_look(struct node *n)
{
	assert_false(n->leaves);
}

/* ---- a node that has left ---- */

static int begin(void **state)
{
	UNUSED(state);
	conf.document = json_object();
	node = (struct node) { .magic = NODE_MAGIC, .conf = &conf, .api = (void *)&node };
	identity = (struct store_identity) { .id = 1 };
	propose_err = 0;
	proposals = unkept = 0;
	warned[0] = '\0';
	return left_keep(&node);
}

static int end(void **state)
{
	UNUSED(state);
	left_fini(&node);
	json_decref(conf.document);
	return 0;
}

static void ends(enum core_result result, int error)
{
	done_fn(&(struct store_result) { .result = result, .error = error }, &node);
}

static void later(void)
{
	assert_true(node.left_at_ms > 0);
	node.left_at_ms = 1;
	left_look(&node);
}

static void is_done(void)
{
	assert_true(!node.leaves && node.left == NULL && unkept == 1);
	assert_string_equal(warned, "");
}

static void the_run_time_state_comes_first(void **state)
{
	UNUSED(state);
	left_write(&node);
	assert_int_equal(kind, ENTRY_RUNTIME);
	ends(CORE_COMMITTED, 0);
	assert_int_equal(kind, ENTRY_CONFIG);
	assert_true(node.leaves && unkept == 0);
	ends(CORE_COMMITTED, 0);
	is_done();
	left_look(&node);
	assert_int_equal(proposals, 2);
}

static void what_a_full_disk_did_not_take_is_tried_again(void **state)
{
	UNUSED(state);
	left_write(&node);
	ends(CORE_FULL, -ENOSPC);
	assert_non_null(strstr(warned, strerror(ENOSPC)));
	assert_true(node.leaves && unkept == 0);
	left_look(&node); /* with a pause */
	assert_int_equal(proposals, 1);
	later();
	assert_true(proposals == 2 && kind == ENTRY_RUNTIME);
	ends(CORE_COMMITTED, 0);
	ends(CORE_FULL, -ENOSPC);
	later();
	assert_true(proposals == 4 && kind == ENTRY_CONFIG);
	ends(CORE_COMMITTED, 0);
	is_done();
}

static void a_write_that_came_late_is_the_one_that_counts(void **state)
{
	UNUSED(state);
	left_write(&node);
	ends(CORE_UNKNOWN, 0);
	assert_null(strstr(warned, strerror(0)));
	later();
	ends(CORE_STALE, 0);
	ends(CORE_UNKNOWN, 0);
	later();
	ends(CORE_STALE, 0);
	is_done();
}

static void what_is_not_even_asked_is_tried_again(void **state)
{
	UNUSED(state);
	propose_err = -ENOTCONN;
	left_write(&node);
	assert_non_null(strstr(warned, strerror(ENOTCONN)));
	propose_err = 0;
	later();
	left_look(&node); /* not twice at once */
	assert_int_equal(proposals, 2);
}

static void another_cluster_gets_none_of_it(void **state)
{
	UNUSED(state);
	left_write(&node);
	ends(CORE_FULL, -ENOSPC);
	identity.joined = true;
	later();
	assert_int_equal(proposals, 1);
	is_done();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(the_run_time_state_comes_first),
		T(what_a_full_disk_did_not_take_is_tried_again),
		T(a_write_that_came_late_is_the_one_that_counts),
		T(what_is_not_even_asked_is_tried_again),
		T(another_cluster_gets_none_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

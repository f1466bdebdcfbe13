/* SPDX-License-Identifier: Apache-2.0
 * Entries that the cluster's log lacks: kept whole, listed without what may be secret.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/cluster/cluster_private.h"
#include "tests/unit/store/members_fixture.h"

enum { WAIT_MS = 5000 };

static char dir[64], path[96], warned[32];
static struct node_config config = { .state_dir = dir };
static struct cluster_node n;

static void warn(const char *key, const char *text, void *arg)
{
	UNUSED(arg);
	snprintf(warned, sizeof(warned), "%s", text == NULL ? "" : key);
}

static int setup(void **state)
{
	UNUSED(state);
	snprintf(dir, sizeof(dir), "/tmp/postroad-lost-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/lost.jsonl", dir);
	n = (struct cluster_node) { .magic = CLUSTER_NODE_MAGIC, .env = { .config = &config, .warn = warn } };
	return !trust_files_open(&n.trust, dir);
}

static int teardown(void **state)
{
	UNUSED(state);
	unlink(path);
	trust_files_forget(&n.trust);
	int rc = rmdir(n.trust.dir);
	trust_files_close(&n.trust);
	return rc != 0 || rmdir(dir) != 0;
}

static void lose(uint64_t position, const char *comment, const char *document)
{
	struct entry e = { .position = position,
			   .kind = ENTRY_CONFIG,
			   .author = "root",
			   .node = "n1",
			   .comment = comment,
			   .document = str_from(document) };

	cluster_node_lost(&n, &e, true);
}

static void entries_are_listed_in_order_without_their_documents(void **state)
{
	size_t all;
	bool whole;

	UNUSED(state);
	lose(7, "", "{\"password\": \"one\", \"position\": 99, \"document\": {\"comment\": \"x\"}}");
	/* A text that looks like the key it is cut at. */
	lose(8, "a,\"document\":\"b", "{\"password\": \"two\"}");
	lose(9, "", "no JSON");
	assert_string_equal(warned, "lost");
	lost_keep(&n);
	assert_false(n.lost_unkept);
	json_t *list = lost_entries(&n, &all, &whole);
	assert_int_equal(all, 3);
	assert_int_equal(json_array_size(list), 3);
	for (size_t i = 0; i < 3; i++) {
		json_t *o = json_array_get(list, i);
		assert_int_equal(json_integer_value(json_object_get(o, "position")), 7 + i);
		assert_true(json_is_true(json_object_get(o, "in_force")));
		assert_null(json_object_get(o, "document"));
	}
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "comment")),
			    "a,\"document\":\"b");
	json_decref(list);
}

static void a_line_of_another_is_counted_and_shows_nothing(void **state)
{
	size_t all;
	bool whole;
	FILE *f = fopen(path, "w");

	UNUSED(state);
	assert_non_null(f);
	fputs("{\"password\":\"x\"}\n[1,\"document\":2\n\n", f);
	fclose(f);
	lose(7, "", "{}");
	json_t *list = lost_entries(&n, &all, &whole);
	assert_int_equal(all, 4);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(json_object_size(json_array_get(list, i)), 0);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 3), "position")), 7);
	json_decref(list);
}

static void the_documents_are_in_the_file(void **state)
{
	char text[512];

	UNUSED(state);
	lose(7, "", "{\"password\":\"one\"}");
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_non_null(strstr(text, "\"document\":{\"password\":\"one\"}}\n"));
}

static void what_is_not_on_disk_is_tried_again_and_not_at_once(void **state)
{
	UNUSED(state);
	/* Nothing is synced through a link. */
	assert_int_equal(symlink("elsewhere", path), 0);
	n.lost_unkept = true;
	lost_keep(&n);
	assert_true(n.lost_unkept);
	assert_int_equal(unlink(path), 0);
	lost_keep(&n);
	assert_true(n.lost_unkept);
	n.lost_again_ms = clock_mono_ms();
	lost_keep(&n);
	assert_false(n.lost_unkept);
}

static void of_a_long_file_the_beginning_is_read(void **state)
{
	enum { LINES = 6, LINE_LEN = 1 << 20 };
	static char document[LINE_LEN];
	size_t all;
	bool whole;

	UNUSED(state);
	snprintf(document, sizeof(document), "{\"a\":\"%0*d\"}", LINE_LEN - 16, 0);
	lose(1, "", document);
	json_decref(lost_entries(&n, &all, &whole));
	assert_int_equal(all, 1);
	assert_true(whole);
	for (unsigned i = 2; i <= LINES; i++)
		lose(i, "", document);
	json_t *list = lost_entries(&n, &all, &whole);
	assert_false(whole);
	assert_in_range(all, 2, LINES - 1);
	assert_int_equal(json_array_size(list), all);
	for (size_t i = 0; i < all; i++)
		assert_int_equal(json_integer_value(json_object_get(json_array_get(list, i), "position")), i + 1);
	json_decref(list);
}

/* ---- a member that writes while nobody else is there ---- */

static void on_applied(const struct entry *e, void *arg)
{
	UNUSED(arg);
	lost_note(&n, e);
}

static void open_store(void)
{
	struct store_hooks hooks = { .applied = on_applied };
	char *why = NULL, *warning = NULL;

	n.env.store = store_open(dir, "n1", &why, &warning);
	assert_non_null(n.env.store);
	store_set_hooks(n.env.store, &hooks);
	assert_int_equal(store_start(n.env.store), 0);
	assert_true(store_wait(n.env.store, WAIT_MS));
}

static void with_store(void)
{
	n.env.loop = loop_new();
	timer_init(&n.tick, NULL, NULL);
	open_store();
}

/* Another process: what was not kept is not known to it. */
static void start_again(void)
{
	store_close(n.env.store);
	n.alone_from = n.alone_kept = 0;
	n.lost_again_ms = 0;
	lost_recall(&n);
	open_store();
}

static void without_store(void)
{
	static const char *const names[] = { "store.log", "store.lock", "identity" };

	timer_stop(&n.tick);
	store_close(n.env.store);
	loop_free(n.env.loop);
	members_free(n.table);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *file = xasprintf("%s/%s", dir, names[i]);
		unlink(file);
		free(file);
	}
}

static void on_written(const struct store_result *r, void *arg)
{
	UNUSED(arg);
	assert_int_equal(r->result, CORE_COMMITTED);
}

static void put(enum entry_kind kind, const char *comment)
{
	struct store_write w = { .kind = kind,
				 .author = "root",
				 .comment = comment,
				 .document = STR("{\"a\": 1}"),
				 .expect_position = UINT64_MAX };

	assert_int_equal(store_propose(n.env.store, &w, on_written, NULL), 0);
	assert_true(store_wait(n.env.store, WAIT_MS));
}

static void what_was_written_alone_is_listed_when_the_cluster_went_on_without_it(void **state)
{
	static const char *const comments[] = { "one", "two", "drain" };
	size_t all;
	bool whole;

	UNUSED(state);
	with_store();
	put(ENTRY_CONFIG, "before");
	n.corosync = (void *)&n;
	n.table = fixture_table(2, 1);
	put(ENTRY_CONFIG, "one");
	put(ENTRY_RUNTIME, "drain");
	put(ENTRY_CONFIG, "two");
	lost_alone(&n);
	assert_string_equal(warned, "lost");
	json_t *list = lost_entries(&n, &all, &whole);
	assert_int_equal(all, 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(json_string_value(json_object_get(json_array_get(list, i), "comment")),
				    comments[i]);
	json_decref(list);
	/* Again, as the store was busy. */
	lost_alone(&n);
	json_decref(lost_entries(&n, &all, &whole));
	assert_int_equal(all, 3);
	n.corosync = NULL;
	without_store();
}

static void what_was_written_alone_is_listed_after_a_start(void **state)
{
	static const char *const comments[] = { "one", "two", "three", "drain" };
	size_t all;
	bool whole;

	UNUSED(state);
	with_store();
	put(ENTRY_CONFIG, "before");
	n.corosync = (void *)&n;
	n.table = fixture_table(2, 1);
	put(ENTRY_CONFIG, "one");
	put(ENTRY_RUNTIME, "drain");
	put(ENTRY_CONFIG, "two");
	start_again();
	put(ENTRY_CONFIG, "three");
	start_again();
	lost_alone(&n);
	json_t *list = lost_entries(&n, &all, &whole);
	assert_int_equal(all, ARRAY_LEN(comments));
	for (size_t i = 0; i < ARRAY_LEN(comments); i++)
		assert_string_equal(json_string_value(json_object_get(json_array_get(list, i), "comment")),
				    comments[i]);
	json_decref(list);
	/* Once, also for the start after that. */
	start_again();
	assert_int_equal(n.alone_from, 0);
	n.corosync = NULL;
	without_store();
}

static void what_others_have_is_no_longer_marked(void **state)
{
	UNUSED(state);
	with_store();
	n.corosync = (void *)&n;
	put(ENTRY_CONFIG, "one");
	start_again();
	assert_int_not_equal(n.alone_from, 0);
	cluster_node_reset(&n);
	lost_keep(&n);
	start_again();
	assert_int_equal(n.alone_from, 0);
	n.corosync = NULL;
	without_store();
}

static void a_mark_that_could_not_be_kept_is_tried_again(void **state)
{
	char *beside = xasprintf("%s/alone.new", n.trust.dir);

	UNUSED(state);
	with_store();
	n.corosync = (void *)&n;
	assert_int_equal(mkdir(beside, 0700), 0);
	put(ENTRY_CONFIG, "one");
	assert_int_equal(rmdir(beside), 0);
	free(beside);
	uint64_t from = n.alone_from;
	n.lost_again_ms = clock_mono_ms();
	lost_keep(&n);
	start_again();
	assert_int_not_equal(from, 0);
	assert_int_equal(n.alone_from, from);
	n.corosync = NULL;
	without_store();
}

static void of_a_cluster_of_one_nothing_is_lost(void **state)
{
	UNUSED(state);
	with_store();
	n.corosync = (void *)&n;
	n.table = fixture_table(1, 1);
	put(ENTRY_CONFIG, "one");
	lost_alone(&n);
	assert_int_not_equal(access(path, F_OK), 0);
	n.corosync = NULL;
	without_store();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(entries_are_listed_in_order_without_their_documents, setup, teardown),
		cmocka_unit_test_setup_teardown(a_line_of_another_is_counted_and_shows_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_documents_are_in_the_file, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_on_disk_is_tried_again_and_not_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(of_a_long_file_the_beginning_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_written_alone_is_listed_after_a_start, setup, teardown),
		cmocka_unit_test_setup_teardown(what_others_have_is_no_longer_marked, setup, teardown),
		cmocka_unit_test_setup_teardown(a_mark_that_could_not_be_kept_is_tried_again, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_written_alone_is_listed_when_the_cluster_went_on_without_it,
						setup, teardown),
		cmocka_unit_test_setup_teardown(of_a_cluster_of_one_nothing_is_lost, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

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
#include <unistd.h>

#include "daemon/cluster/cluster_private.h"

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
	return 0;
}

static int teardown(void **state)
{
	UNUSED(state);
	unlink(path);
	return rmdir(dir);
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

	UNUSED(state);
	lose(7, "", "{\"password\": \"one\", \"position\": 99, \"document\": {\"comment\": \"x\"}}");
	/* A text that looks like the key it is cut at. */
	lose(8, "a,\"document\":\"b", "{\"password\": \"two\"}");
	lose(9, "", "no JSON");
	assert_string_equal(warned, "lost");
	lost_keep(&n);
	assert_false(n.lost_unkept);
	json_t *list = lost_entries(&n, &all);
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
	FILE *f = fopen(path, "w");

	UNUSED(state);
	assert_non_null(f);
	fputs("{\"password\":\"x\"}\n[1,\"document\":2\n\n", f);
	fclose(f);
	lose(7, "", "{}");
	json_t *list = lost_entries(&n, &all);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(entries_are_listed_in_order_without_their_documents, setup, teardown),
		cmocka_unit_test_setup_teardown(a_line_of_another_is_counted_and_shows_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_documents_are_in_the_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

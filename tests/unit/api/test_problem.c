/* SPDX-License-Identifier: Apache-2.0
 * Problem documents, and the table of resources they often answer for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/api/api_private.h"

static const char *text_at(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void a_problem_has_the_members_of_rfc_9457(void **state)
{
	json_t *o = problem_json(PROBLEM_NOT_FOUND, "no pool", "/api/v1/pools/x", NULL);

	(void)state;
	assert_string_equal(text_at(o, "type"), "urn:postroad:problem:not-found");
	assert_int_equal(json_integer_value(json_object_get(o, "status")), 404);
	assert_string_equal(text_at(o, "detail"), "no pool");
	assert_string_equal(text_at(o, "instance"), "/api/v1/pools/x");
	assert_true(strlen(text_at(o, "title")) > 0);
	assert_null(json_object_get(o, "errors"));
	json_decref(o);
}

static void errors_carry_what_is_known_and_nothing_else(void **state)
{
	struct errors errors = { 0 };

	(void)state;
	errors_add(&errors, "/pools/a/balence", "\"first\"", NULL, "balance", "unknown key");
	errors_add(&errors, "", NULL, NULL, NULL, "odd");
	json_t *o = problem_json(PROBLEM_INVALID, "d", NULL, &errors);
	json_t *list = json_object_get(o, "errors"), *first = json_array_get(list, 0),
	       *second = json_array_get(list, 1);
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text_at(first, "path"), "/pools/a/balence");
	assert_string_equal(text_at(first, "found"), "\"first\"");
	assert_string_equal(text_at(first, "suggestion"), "balance");
	assert_null(json_object_get(first, "allowed"));
	assert_string_equal(text_at(second, "path"), "");
	assert_int_equal(json_object_size(second), 2);
	assert_null(json_object_get(o, "instance"));
	json_decref(o);
	errors_fini(&errors);
}

static void bytes_that_are_no_utf8_do_not_spoil_a_problem(void **state)
{
	json_t *o = problem_json(PROBLEM_BAD_REQUEST, "bad \xff name", "/ok", NULL);

	(void)state;
	assert_non_null(text_at(o, "detail"));
	assert_string_equal(text_at(o, "instance"), "/ok");
	json_decref(o);
}

static void problem_names_are_unique(void **state)
{
	(void)state;
	for (int i = 0; i < PROBLEM_COUNT; i++) {
		assert_in_range(problem_rows[i].status, 400, 599);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(problem_rows[i].name, problem_rows[j].name);
	}
}

/* ---- resources ---- */

static const struct resource *find(enum evhttp_cmd_type method, const char *text, char *allow)
{
	static struct path p;
	const char *params[PATH_PARAMS_MAX];

	assert_true(path_parse(str_from(text), &p));
	return resource_find(method, &p, params, allow, 96);
}

static void resources_are_found_by_method_and_path(void **state)
{
	char allow[96];

	(void)state;
	assert_ptr_equal(find(EVHTTP_REQ_GET, "/", allow)->fn, res_root_page);
	assert_ptr_equal(find(EVHTTP_REQ_HEAD, "/api/v1/config", allow)->fn, res_config_get);
	assert_ptr_equal(find(EVHTTP_REQ_GET, "/api/v1/config/pools/a", allow)->fn, res_object_get);
	assert_ptr_equal(find(EVHTTP_REQ_GET, "/api/v1/config/revisions/3", allow)->fn, res_config_revision);
	assert_null(find(EVHTTP_REQ_GET, "/api/v1/config/pools", allow));
	assert_string_equal(allow, "");
	assert_null(find(EVHTTP_REQ_PUT, "/api/v1/config/revisions/3", allow));
	assert_string_equal(allow, "GET, HEAD");
	assert_null(find(EVHTTP_REQ_DELETE, "/api/v1/config", allow));
	assert_string_equal(allow, "GET, HEAD, PUT, PATCH");
}

/* resource_find() takes the rows of a pattern to stand together. */
static void rows_of_a_pattern_stand_together(void **state)
{
	(void)state;
	for (size_t i = 0; i < resource_count; i++)
		for (size_t j = i + 2; j < resource_count; j++)
			if (strcmp(resources[i].pattern, resources[j].pattern) == 0)
				assert_string_equal(resources[j - 1].pattern, resources[j].pattern);
}

static void what_changes_something_needs_more_than_a_viewer(void **state)
{
	(void)state;
	for (size_t i = 0; i < resource_count; i++) {
		const struct resource *r = &resources[i];
		if (r->method != EVHTTP_REQ_GET && r->fn != res_explain_post)
			assert_true(r->role >= ROLE_OPERATOR);
		if (strncmp(r->pattern, "/api/v1/config", 14) == 0 && r->method != EVHTTP_REQ_GET)
			assert_int_equal(r->role, ROLE_ADMIN);
		if (strncmp(r->pattern, "/api/", 5) == 0)
			assert_true(r->role >= ROLE_VIEWER);
		assert_true(strlen(r->summary) > 0);
	}
}

static const struct api node = { .etag_key = { { 1, 2, 3 } } };

static void object_tags_depend_on_content_alone(void **state)
{
	json_t *a = json_pack("{s:i, s:s}", "x", 1, "y", "z"), *b = json_pack("{s:s, s:i}", "y", "z", "x", 1);
	char first[64], second[64];

	(void)state;
	etag_of_object(&node, a, first);
	etag_of_object(&node, b, second);
	assert_string_equal(first, second);
	assert_int_equal(etag_compare(first, second, false), ETAG_MATCHES);
	json_object_set_new(b, "x", json_integer(2));
	etag_of_object(&node, b, second);
	assert_string_not_equal(first, second);
	json_decref(a);
	json_decref(b);
}

static void tags_say_nothing_without_the_key(void **state)
{
	static const struct api other = { .etag_key = { { 1, 2, 4 } } };
	uint8_t hash[ENTRY_HASH_LEN] = { 1 };
	json_t *o = json_pack("{s:s}", "password", "guess");
	char a[64], b[64];

	(void)state;
	etag_of_object(&node, o, a);
	etag_of_object(&other, o, b);
	assert_string_not_equal(a, b);
	etag_of_entry(&node, 1, hash, a);
	etag_of_entry(&other, 1, hash, b);
	assert_string_not_equal(a, b);
	json_decref(o);
}

static void revision_tags_depend_on_revision_and_log(void **state)
{
	uint8_t one[ENTRY_HASH_LEN] = { 1 }, two[ENTRY_HASH_LEN] = { 2 };
	char a[64], b[64];

	(void)state;
	etag_of_entry(&node, 1, one, a);
	etag_of_entry(&node, 2, one, b);
	assert_string_not_equal(a, b);
	etag_of_entry(&node, 1, two, b);
	assert_string_not_equal(a, b);
	assert_int_equal(etag_compare(a, a, false), ETAG_MATCHES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_problem_has_the_members_of_rfc_9457),
		cmocka_unit_test(errors_carry_what_is_known_and_nothing_else),
		cmocka_unit_test(bytes_that_are_no_utf8_do_not_spoil_a_problem),
		cmocka_unit_test(problem_names_are_unique),
		cmocka_unit_test(resources_are_found_by_method_and_path),
		cmocka_unit_test(rows_of_a_pattern_stand_together),
		cmocka_unit_test(what_changes_something_needs_more_than_a_viewer),
		cmocka_unit_test(object_tags_depend_on_content_alone),
		cmocka_unit_test(tags_say_nothing_without_the_key),
		cmocka_unit_test(revision_tags_depend_on_revision_and_log),
	};

	return cmocka_run_group_tests_name("api problems and resources", tests, NULL, NULL);
}

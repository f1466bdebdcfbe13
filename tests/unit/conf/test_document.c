/* SPDX-License-Identifier: Apache-2.0
 * Documents: merge patch, effective view, secrets, differences.
 */
#include "tests/unit/conf/conf_test.h"
#include "tests/unit/conf/typed_equal.h"

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* ---- merge patch ---- */

static void merge_patch_does_what_the_rfc_shows(void **state)
{
	/* RFC 7396 appendix A */
	static const struct {
		const char *target, *patch, *result;
	} vectors[] = {
		{ "{'a':'b'}", "{'a':'c'}", "{'a':'c'}" },
		{ "{'a':'b'}", "{'b':'c'}", "{'a':'b','b':'c'}" },
		{ "{'a':'b'}", "{'a':null}", "{}" },
		{ "{'a':'b','b':'c'}", "{'a':null}", "{'b':'c'}" },
		{ "{'a':['b']}", "{'a':'c'}", "{'a':'c'}" },
		{ "{'a':'c'}", "{'a':['b']}", "{'a':['b']}" },
		{ "{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}" },
		{ "{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}" },
		{ "['a','b']", "['c','d']", "['c','d']" },
		{ "{'a':'b'}", "['c']", "['c']" },
		{ "{'a':'foo'}", "null", "null" },
		{ "{'a':'foo'}", "'bar'", "'bar'" },
		{ "{'e':null}", "{'a':1}", "{'e':null,'a':1}" },
		{ "[1,2]", "{'a':'b','c':null}", "{'a':'b'}" },
		{ "{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}" },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		json_t *target = json_of(vectors[i].target), *patch = json_of(vectors[i].patch);
		json_t *result = conf_merge_patch(target, patch);
		assert_json(result, vectors[i].result);
		assert_json(target, vectors[i].target);
		json_decref(result);
		json_decref(patch);
		json_decref(target);
	}
}

static void what_a_merge_patch_left_alone_is_a_copy(void **state)
{
	json_t *target = json_of("{'a': {'b': 1}}"), *patch = json_of("{'c': 2}");
	json_t *result = conf_merge_patch(target, patch);

	UNUSED(state);
	json_object_set_new(json_object_get(result, "a"), "b", json_integer(9));
	assert_json(target, "{'a': {'b': 1}}");
	json_decref(result);
	json_decref(patch);
	json_decref(target);
}

/* ---- effective ---- */

static const char *const documents[] = {
	"{}",
	"{'comment': 'x', 'listeners': {'l': {'hostname': {'nodes': {'n1': 'a.example', 'n2': 'b.example'}}, 'allow': "
	"[],"
	" 'caps': {'comment': 'c', 'connections': 'unlimited'}}, 'gone': null}}",
	"{'pools': {'p': {'health': {'mail_from': '<>'}, 'source': ['192.0.2.1'], 'servers': {'s': {'weight': 5},"
	" 'd': {'address': 'dns:a.example:25'}}}}}",
	"{'domain_sets': {'d': {'a.example': true, 'b.example': null}}, 'routes': [{'name': 'a', 'pool': 'p',"
	" 'when': {'sender_domain': ['@d'], 'client': []}}, {'name': 'b', 'action': 'reject'}]}",
	"{'listeners': {'l': {'mode': 'tcp', 'hostname': null, 'caps': {'connections': 5}, 'timeouts': {'idle': "
	"'1h'}}}}",
	"{'tokens': {'t': {'role': 'viewer', 'sha256': '" HASH_A "'}}}",
	"{'users': {'u': {'password': '" CRYPT_HASH "'}, 'v': {'scram_sha256': '" SCRAM_VERIFIER "', 'allow': []}}}",
};

static void effective_is_a_fixpoint_with_the_same_meaning(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
		json_t *written = document_with(documents[i]);
		json_t *once = conf_effective(written, &test_env), *twice = conf_effective(once, &test_env);
		struct conf *a = parse_ok(written), *b = parse_ok(once);
		const char *difference = typed_difference(&conf_document_object, a, b);
		assert_true(json_equal(once, twice));
		if (difference != NULL)
			fail_msg("%s changed \"%s\"", documents[i], difference);
		conf_unref(a);
		conf_unref(b);
		json_decref(written);
		json_decref(once);
		json_decref(twice);
	}
}

static void the_comparison_itself_sees_each_change(void **state)
{
	static const struct {
		const char *patch, *field;
	} changes[] = {
		{ "{'listeners': {'l': {'bind': ['127.0.0.1:1']}}}", "bind" },
		{ "{'listeners': {'l': {'allow': []}}}", "allow" },
		{ "{'listeners': {'l': {'caps': {'connection_rate': '1/s'}}}}", "connection_rate" },
		{ "{'listeners': {'l': {'hostname': 'x'}}}", "hostname" },
		{ "{'pools': {'p': {'source': '192.0.2.1'}}}", "source" },
		{ "{'pools': {'p': {'servers': {'s': {'address': 'dns:a:25'}}}}}", "address" },
		{ "{'pools': {'q': {}}}", "pools" },
		{ "{'domain_sets': {'d': {}}}", "domain_sets" },
		{ "{'routes': [{'name': 'a', 'pool': 'p'}]}", "routes" },
	};
	struct conf *base = parse_with("{}");

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		struct conf *c = parse_with(changes[i].patch);
		assert_string_equal(typed_difference(&conf_document_object, base, c), changes[i].field);
		conf_unref(c);
	}
	conf_unref(base);
}

static void effective_writes_every_default_out(void **state)
{
	json_t *written = document_with("{'listeners': {'l': {'comment': 'x'}}}");
	json_t *v = conf_effective(written, &test_env);
	json_t *l = json_object_get(json_object_get(v, "listeners"), "l");

	UNUSED(state);
	for (size_t i = 0; i < conf_listener_object.n_fields; i++)
		if (json_object_get(l, conf_listener_object.fields[i].name) == NULL)
			fail_msg("no \"%s\"", conf_listener_object.fields[i].name);
	assert_json(json_object_get(l, "timeouts"), "{'idle': '5m', 'command': '1m', 'tls': '30s', 'body': '3m'}");
	assert_json(json_object_get(l, "hostname"), "'mx.example.net'");
	assert_json(json_object_get(l, "comment"), "'x'");
	assert_json(json_object_get(l, "allow"), "null");
	assert_json(json_object_get(v, "routes"), "[]");
	assert_json(json_object_get(v, "version"), "1");
	assert_null(json_object_get(json_object_get(json_object_get(written, "listeners"), "l"), "timeouts"));
	json_decref(v);
	json_decref(written);
}

static void effective_leaves_what_does_not_fit(void **state)
{
	static const char *const odd[] = { "[1]", "'x'", "5" };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		json_t *v = json_of(odd[i]), *e = conf_effective(v, &test_env);
		assert_true(json_equal(v, e));
		json_decref(v);
		json_decref(e);
	}
	json_t *v = json_of("{'listeners': 5, 'routes': {}, 'pools': {'p': []}, 'x': {'y': null}}");
	json_t *e = conf_effective(v, &test_env);
	assert_json(e, "{'version': 1, 'listeners': 5, 'pools': {'p': []}, 'domain_sets': {}, 'routes': {}, "
		       "'vips': {}, 'certificates': {}, 'users': {}, 'tokens': {}, 'x': {'y': null}}");
	json_decref(v);
	json_decref(e);
}

/* ---- secrets ---- */

#define TOKENS                                                                                                         \
	"{'tokens': {'a': {'role': 'admin', 'sha256': '" HASH_A "'}, 'b': {'role': 'viewer', 'sha256': '" HASH_B "'}}" \
	"}"

static void secrets_are_masked_and_come_back(void **state)
{
	json_t *stored = json_of(TOKENS), *shown = conf_mask(stored);
	struct errors errors = { 0 };

	UNUSED(state);
	assert_json(shown, "{'tokens': {'a': {'role': 'admin', 'sha256': '<secret>'}, 'b': {'role': 'viewer', "
			   "'sha256': '<secret>'}}}");
	assert_json(stored, TOKENS);
	json_t *back = conf_unmask(shown, stored, &errors);
	assert_int_equal(errors.n, 0);
	assert_json(back, TOKENS);
	json_decref(back);
	json_decref(shown);
	json_decref(stored);
}

static void hashes_of_users_are_secrets(void **state)
{
	static const char text[] = "{'users': {'a': {'password': '" CRYPT_HASH "', 'scram_sha256': '" SCRAM_VERIFIER
				   "', 'allow': ['::1']}, 'b': {'password': '" CRYPT_HASH "', 'scram_sha256': null}}}";
	json_t *stored = json_of(text), *shown = conf_mask(stored), *none = json_object();
	struct errors errors = { 0 };

	UNUSED(state);
	assert_json(shown, "{'users': {'a': {'password': '<secret>', 'scram_sha256': '<secret>', 'allow': ['::1']}, "
			   "'b': {'password': '<secret>', 'scram_sha256': null}}}");
	json_t *back = conf_unmask(shown, stored, &errors), *diff = conf_diff(none, stored);
	assert_int_equal(errors.n, 0);
	assert_json(back, text);
	char *changes = json_dumps(diff, 0);
	assert_null(strstr(changes, "$y$"));
	assert_null(strstr(changes, "SCRAM-SHA-256$"));
	assert_non_null(strstr(changes, "<secret>"));
	free(changes);
	json_decref(back);
	json_decref(diff);
	json_decref(none);
	json_decref(shown);
	json_decref(stored);
}

static void a_masked_secret_without_a_stored_one_is_an_error(void **state)
{
	json_t *stored = json_of(TOKENS);
	json_t *next =
		json_of("{'tokens': {'new': {'role': 'admin', 'sha256': '<secret>'}, 'b': {'sha256': '" HASH_A "'}}}");
	struct errors errors = { 0 };
	json_t *out = conf_unmask(next, stored, &errors);

	UNUSED(state);
	assert_int_equal(errors.n, 1);
	assert_string_equal(errors.list[0].path, "/tokens/new/sha256");
	assert_json(json_object_get(json_object_get(out, "tokens"), "b"), "{'sha256': '" HASH_A "'}");
	errors_fini(&errors);
	json_decref(out);
	out = conf_unmask(next, NULL, &errors);
	assert_int_equal(errors.n, 1);
	errors_fini(&errors);
	json_decref(out);
	json_decref(next);
	json_decref(stored);
}

static void a_masked_document_is_not_valid_itself(void **state)
{
	UNUSED(state);
	assert_refused("{'tokens': {'a': {'role': 'admin', 'sha256': '<secret>'}}}", "/tokens/a/sha256",
		       "not a SHA-256");
}

/* ---- differences ---- */

static void assert_diff(const char *from_text, const char *to_text, const char *want)
{
	json_t *from = json_of(from_text), *to = json_of(to_text), *diff = conf_diff(from, to);

	assert_json(diff, want);
	json_decref(from);
	json_decref(to);
	json_decref(diff);
}

static void equal_documents_do_not_differ(void **state)
{
	UNUSED(state);
	assert_diff(BASE_DOCUMENT, BASE_DOCUMENT, "[]");
	assert_diff("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", "[]");
}

static void a_difference_names_the_smallest_part(void **state)
{
	UNUSED(state);
	assert_diff(
		"{'pools': {'p': {'queue': 1}, 'q': {}}}", "{'pools': {'p': {'queue': 2, 'helo': 'x'}, 'r~/': {}}}",
		"[{'op': 'replace', 'path': '/pools/p/queue', 'from': 1, 'to': 2}, {'op': 'add', 'path': "
		"'/pools/p/helo', 'to': 'x'},"
		" {'op': 'remove', 'path': '/pools/q', 'from': {}}, {'op': 'add', 'path': '/pools/r~0~1', 'to': {}}]");
	assert_diff("{'listeners': {'l': {'allow': ['a', 'b']}}}", "{'listeners': {'l': {'allow': ['b']}}}",
		    "[{'op': 'replace', 'path': '/listeners/l/allow', 'from': ['a', 'b'], 'to': ['b']}]");
}

static void a_difference_masks_secrets(void **state)
{
	UNUSED(state);
	assert_diff("{'tokens': {'a': {'sha256': '" HASH_A "'}, 'b': {'sha256': '" HASH_A "'}}}",
		    "{'tokens': {'a': {'sha256': '" HASH_B "'}, 'c': {'sha256': '" HASH_A "'}}}",
		    "[{'op': 'replace', 'path': '/tokens/a/sha256', 'from': '<secret>', 'to': '<secret>'},"
		    " {'op': 'remove', 'path': '/tokens/b', 'from': {'sha256': '<secret>'}},"
		    " {'op': 'add', 'path': '/tokens/c', 'to': {'sha256': '<secret>'}}]");
	assert_diff("{'tokens': {'a': {'sha256': '" HASH_A "'}}}", "{'tokens': 5}",
		    "[{'op': 'replace', 'path': '/tokens', 'from': {'a': {'sha256': '<secret>'}}, 'to': 5}]");
}

#define R(name) "{'name': '" name "', 'pool': 'p'}"

static void an_inserted_route_is_one_difference(void **state)
{
	UNUSED(state);
	assert_diff("{'routes': [" R("a") ", " R("b") "]}", "{'routes': [" R("x") ", " R("a") ", " R("b") "]}",
		    "[{'op': 'add', 'path': '/routes/x', 'to': " R("x") "}]");
	assert_diff("{'routes': [" R("x") ", " R("a") ", " R("b") "]}", "{'routes': [" R("a") ", " R("b") "]}",
		    "[{'op': 'remove', 'path': '/routes/x', 'from': " R("x") "}]");
}

static void a_moved_route_is_one_difference(void **state)
{
	UNUSED(state);
	assert_diff("{'routes': [" R("a") ", " R("b") ", " R("c") ", " R("d") "]}",
		    "{'routes': [" R("d") ", " R("a") ", " R("b") ", " R("c") "]}",
		    "[{'op': 'move', 'path': '/routes/d', 'from': 3, 'to': 0}]");
	assert_diff("{'routes': [" R("a") ", " R("b") ", " R("c") "]}",
		    "{'routes': [" R("b") ", " R("c") ", {'name': 'a', 'pool': 'q'}]}",
		    "[{'op': 'move', 'path': '/routes/a', 'from': 0, 'to': 2},"
		    " {'op': 'replace', 'path': '/routes/a/pool', 'from': 'p', 'to': 'q'}]");
	assert_diff(
		"{'routes': [" R("a") ", " R("b") "]}", "{'routes': [" R("b") ", " R("n") ", " R("a") "]}",
		"[{'op': 'move', 'path': '/routes/b', 'from': 1, 'to': 0}, {'op': 'add', 'path': '/routes/n', 'to': " R(
			"n") "}]");
}

static void routes_without_names_are_compared_whole(void **state)
{
	UNUSED(state);
	assert_diff("{'routes': [1]}", "{'routes': [2]}",
		    "[{'op': 'replace', 'path': '/routes', 'from': [1], 'to': [2]}]");
	assert_diff("{'routes': [" R("a") ", " R("a") "]}", "{'routes': []}",
		    "[{'op': 'replace', 'path': '/routes', 'from': [" R("a") ", " R("a") "], 'to': []}]");
}

/* ---- sections and names ---- */

static void sections_are_listed(void **state)
{
	static const char *const want[] = { "listeners", "pools",        "domain_sets", "routes",
					    "vips",      "certificates", "users",       "tokens" };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_string_equal(conf_section(i), want[i]);
		assert_int_equal(conf_section_is_list(want[i]), i == 3);
	}
	assert_null(conf_section(ARRAY_LEN(want)));
	assert_false(conf_section_is_list("nothing"));
}

static void names_are_bounded(void **state)
{
	char longest[65];

	UNUSED(state);
	memset(longest, 'a', 64);
	longest[64] = '\0';
	assert_false(conf_name_valid(longest));
	longest[63] = '\0';
	assert_true(conf_name_valid(longest));
	assert_true(conf_name_valid("0_.-Z"));
	assert_false(conf_name_valid(""));
	assert_false(conf_name_valid(".a"));
	assert_false(conf_name_valid("a b"));
	assert_false(conf_name_valid("\u00e4"));
	assert_false(conf_name_valid("comment"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merge_patch_does_what_the_rfc_shows),
		cmocka_unit_test(what_a_merge_patch_left_alone_is_a_copy),
		cmocka_unit_test(effective_is_a_fixpoint_with_the_same_meaning),
		cmocka_unit_test(the_comparison_itself_sees_each_change),
		cmocka_unit_test(effective_writes_every_default_out),
		cmocka_unit_test(effective_leaves_what_does_not_fit),
		cmocka_unit_test(secrets_are_masked_and_come_back),
		cmocka_unit_test(hashes_of_users_are_secrets),
		cmocka_unit_test(a_masked_secret_without_a_stored_one_is_an_error),
		cmocka_unit_test(a_masked_document_is_not_valid_itself),
		cmocka_unit_test(equal_documents_do_not_differ),
		cmocka_unit_test(a_difference_names_the_smallest_part),
		cmocka_unit_test(a_difference_masks_secrets),
		cmocka_unit_test(an_inserted_route_is_one_difference),
		cmocka_unit_test(a_moved_route_is_one_difference),
		cmocka_unit_test(routes_without_names_are_compared_whole),
		cmocka_unit_test(sections_are_listed),
		cmocka_unit_test(names_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * What a request names: target, path, query, entity tags, tokens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/api/path.h"

/* A copy that ends where the heap block ends, so that reading beyond it is seen by the sanitizer. */
static struct str exact(const char *text, char **ret_free)
{
	size_t n = strlen(text);

	*ret_free = malloc(n == 0 ? 1 : n);
	assert_non_null(*ret_free);
	memcpy(*ret_free, text, n);
	return (struct str) { *ret_free, n };
}

/* The segments joined by '|', or NULL when refused. */
static const char *parse(const char *text)
{
	static char out[PATH_BYTES_MAX];
	static struct path p;
	char *copy;
	struct str raw = exact(text, &copy);
	bool ok = path_parse(raw, &p);

	free(copy);
	if (!ok)
		return NULL;
	out[0] = '\0';
	for (size_t i = 0; i < p.n; i++)
		snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%s", i == 0 ? "" : "|", p.segments[i]);
	return out;
}

static void paths_are_split_and_decoded(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "/", "" },
		{ "/a", "a" },
		{ "/a/b", "a|b" },
		{ "/a/", "a|" },
		{ "//", "|" },
		{ "/%61%2Fb/c", "a/b|c" },
		{ "/a+b", "a+b" },
		{ "/mta2@10.0.0.12:25", "mta2@10.0.0.12:25" },
		{ "/%C3%A9", "\xC3\xA9" },
		{ "", NULL },
		{ "a", NULL },
		{ "/%", NULL },
		{ "/%4", NULL },
		{ "/%4g", NULL },
		{ "/%00", NULL },
		{ "/%0a", NULL },
		{ "/%7f", NULL },
		{ "/1/2/3/4/5/6/7/8/9/10/11/12", "1|2|3|4|5|6|7|8|9|10|11|12" },
		{ "/1/2/3/4/5/6/7/8/9/10/11/12/13", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *got = parse(rows[i].in);
		if (rows[i].want == NULL)
			assert_null(got);
		else
			assert_string_equal(got, rows[i].want);
	}
}

static void a_path_up_to_the_bound_fits_and_one_more_byte_does_not(void **state)
{
	char text[PATH_BYTES_MAX + 1];
	struct path p;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[0] = '/';
	assert_true(path_parse((struct str) { text, PATH_BYTES_MAX - 1 }, &p));
	assert_int_equal(strlen(p.segments[0]), PATH_BYTES_MAX - 2);
	assert_false(path_parse((struct str) { text, PATH_BYTES_MAX }, &p));
}

/* Every prefix of a target is handled within its bytes. */
static void prefixes_never_read_beyond(void **state)
{
	static const char whole[] = "http://host/api%2f/v1?a=%41&b+c=d&e#f";

	(void)state;
	for (size_t n = 0; n < sizeof(whole); n++) {
		char *copy = malloc(n == 0 ? 1 : n);
		struct str path, query;
		struct path p;
		struct query q;
		assert_non_null(copy);
		memcpy(copy, whole, n);
		if (path_target_split((struct str) { copy, n }, &path, &query)) {
			(void)!path_parse(path, &p);
			(void)!query_parse(query, &q);
		}
		free(copy);
	}
}

static void targets_are_split(void **state)
{
	static const struct {
		const char *in, *path, *query;
	} rows[] = {
		{ "/a?b=c", "/a", "b=c" },     { "/a?", "/a", "" },
		{ "/a", "/a", NULL },          { "http://h/a?b", "/a", "b" },
		{ "HTTPS://h:1/", "/", NULL }, { "http://h", NULL, NULL },
		{ "*", NULL, NULL },           { "", NULL, NULL },
		{ "/a#b", NULL, NULL },        { "/a?b#c", NULL, NULL },
		{ "ftp://h/a", NULL, NULL },   { "/a?b?c", "/a", "b?c" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str path, query;
		bool ok = path_target_split(str_from(rows[i].in), &path, &query);
		assert_int_equal(ok, rows[i].path != NULL);
		if (!ok)
			continue;
		assert_true(str_eq(path, str_from(rows[i].path)));
		assert_int_equal(query.p == NULL, rows[i].query == NULL);
		assert_true(str_eq(query, str_from(rows[i].query)));
	}
}

static void patterns_match_whole_paths_and_fill_params(void **state)
{
	const char *params[PATH_PARAMS_MAX];
	struct path p;

	(void)state;
	assert_true(path_parse(STR("/v1/pools/mta/servers/a%2Fb/state"), &p));
	assert_true(path_match(&p, "/v1/pools/{pool}/servers/{server}/state", params));
	assert_string_equal(params[0], "mta");
	assert_string_equal(params[1], "a/b");
	assert_false(path_match(&p, "/v1/pools/{pool}/servers/{server}", params));
	assert_false(path_match(&p, "/v1/pools/{pool}/servers/{server}/state/x", params));
	assert_false(path_match(&p, "/v1/pools/{pool}/servers/{server}/weight", params));
	assert_true(path_parse(STR("/"), &p));
	assert_true(path_match(&p, "/", params));
	assert_false(path_match(&p, "/{x}", params));
	assert_true(path_parse(STR("/v1//"), &p));
	assert_false(path_match(&p, "/v1/{x}", params));
	assert_false(path_match(&p, "/v1/{x}/{y}", params));
}

static void queries_are_parsed(void **state)
{
	struct query q;

	(void)state;
	assert_true(query_parse(STR("dry_run=true&before=a%26b&flag&e=&p=x+y=z"), &q));
	assert_int_equal(q.n, 5);
	assert_string_equal(query_get(&q, "dry_run"), "true");
	assert_string_equal(query_get(&q, "before"), "a&b");
	assert_string_equal(query_get(&q, "flag"), "");
	assert_string_equal(query_get(&q, "e"), "");
	assert_string_equal(query_get(&q, "p"), "x y=z");
	assert_null(query_get(&q, "dry"));
	assert_true(query_parse((struct str) { 0 }, &q));
	assert_int_equal(q.n, 0);
	assert_true(query_parse(STR("&&a=1&"), &q));
	assert_int_equal(q.n, 1);
	assert_false(query_parse(STR("a=1&a=2"), &q));
	assert_false(query_parse(STR("=1"), &q));
	assert_false(query_parse(STR("a=%g0"), &q));
	assert_false(query_parse(STR("%=1"), &q));
	assert_false(query_parse(STR("a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q"), &q));
}

static void a_query_up_to_the_bound_fits_and_more_does_not(void **state)
{
	char text[QUERY_BYTES_MAX];
	struct query q;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[1] = '=';
	assert_true(query_parse((struct str) { text, QUERY_BYTES_MAX - 2 }, &q));
	assert_int_equal(strlen(query_get(&q, "a")), QUERY_BYTES_MAX - 4);
	assert_false(query_parse((struct str) { text, QUERY_BYTES_MAX - 1 }, &q));
}

static void unknown_query_keys_are_found(void **state)
{
	struct query q;

	(void)state;
	assert_true(query_parse(STR("dry_run=true&before=x"), &q));
	assert_null(query_unknown(&q, "dry_run,before"));
	assert_string_equal(query_unknown(&q, "dry_run"), "before");
	assert_string_equal(query_unknown(&q, ""), "dry_run");
	assert_string_equal(query_unknown(&q, "dry_runs,before"), "dry_run");
}

static void entity_tags_are_compared(void **state)
{
	static const struct {
		const char *header, *current;
		bool weak_ok;
		enum etag_verdict want;
	} rows[] = {
		{ NULL, "\"a\"", false, ETAG_ABSENT },
		{ "*", "\"a\"", false, ETAG_MATCHES },
		{ " * ", "\"a\"", false, ETAG_MATCHES },
		{ "*", NULL, false, ETAG_DIFFERS },
		{ "\"a\"", "\"a\"", false, ETAG_MATCHES },
		{ "\"a\"", NULL, false, ETAG_DIFFERS },
		{ "\"b\", \"a\"", "\"a\"", false, ETAG_MATCHES },
		{ "\"b\",\"c\"", "\"a\"", false, ETAG_DIFFERS },
		{ "\"aa\"", "\"a\"", false, ETAG_DIFFERS },
		{ "W/\"a\"", "\"a\"", false, ETAG_DIFFERS },
		{ "W/\"a\"", "\"a\"", true, ETAG_MATCHES },
		{ "\"\"", "\"a\"", false, ETAG_DIFFERS },
		{ "", "\"a\"", false, ETAG_MALFORMED },
		{ "a", "\"a\"", false, ETAG_MALFORMED },
		{ "\"a", "\"a\"", false, ETAG_MALFORMED },
		{ "\"a\",", "\"a\"", false, ETAG_MALFORMED },
		{ "\"a\" \"b\"", "\"a\"", false, ETAG_MALFORMED },
		{ "\"a b\"", "\"a\"", false, ETAG_MALFORMED },
		{ "*x", "\"a\"", false, ETAG_MALFORMED },
		{ "w/\"a\"", "\"a\"", true, ETAG_MALFORMED },
		/* A match in front does not excuse what follows. */
		{ "\"a\", x", "\"a\"", false, ETAG_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(etag_compare(rows[i].header, rows[i].current, rows[i].weak_ok), rows[i].want);
}

static void bearer_tokens_are_taken(void **state)
{
	(void)state;
	assert_true(str_eq(bearer_token("Bearer abc"), STR("abc")));
	assert_true(str_eq(bearer_token("bearer  abc \t"), STR("abc")));
	assert_null(bearer_token(NULL).p);
	assert_null(bearer_token("Bearer").p);
	assert_null(bearer_token("Bearer ").p);
	assert_null(bearer_token("Bearer a b").p);
	assert_null(bearer_token("Bearer \x80").p);
	assert_null(bearer_token("Basic abc").p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_split_and_decoded),
		cmocka_unit_test(a_path_up_to_the_bound_fits_and_one_more_byte_does_not),
		cmocka_unit_test(prefixes_never_read_beyond),
		cmocka_unit_test(targets_are_split),
		cmocka_unit_test(patterns_match_whole_paths_and_fill_params),
		cmocka_unit_test(queries_are_parsed),
		cmocka_unit_test(a_query_up_to_the_bound_fits_and_more_does_not),
		cmocka_unit_test(unknown_query_keys_are_found),
		cmocka_unit_test(entity_tags_are_compared),
		cmocka_unit_test(bearer_tokens_are_taken),
	};

	return cmocka_run_group_tests_name("api path", tests, NULL, NULL);
}

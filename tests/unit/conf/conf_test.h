/* SPDX-License-Identifier: Apache-2.0
 * What the tests of the configuration share. JSON is written with single quotes.
 */
#ifndef POSTROAD_TESTS_CONF_TEST_H
#define POSTROAD_TESTS_CONF_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/conf/conf_schema.h"

static const struct conf_env test_env = { .node = "n1", .hostname = "mx.example.net" };

static inline json_t *json_of(const char *single_quoted)
{
	char *text = xstrdup(single_quoted);
	json_error_t e;

	for (char *p = text; *p != '\0'; p++)
		if (*p == '\'')
			*p = '"';
	json_t *v = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &e);
	if (v == NULL)
		fail_msg("%s in %s", e.text, text);
	free(text);
	return v;
}

/* Of the passwords "x" and "pencil". */
#define CRYPT_HASH "$y$j75$q8p61tM2KiBYQ31iNIO/u0$ZG46lYU3IeE4Hc6eVAG0kuk6BW8wihaQHaWJyLY1bx6"
#define SCRAM_VERIFIER                                                                                                 \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"                    \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

/* A small valid document: listener "l" on loopback, pool "p" with server "s". */
#define BASE_DOCUMENT                                                                                                  \
	"{'listeners': {'l': {'bind': ['127.0.0.1:2525'], 'pool': 'p'}},"                                              \
	" 'pools': {'p': {'servers': {'s': {'address': '192.0.2.1:25'}}}}}"

/* The small document with a merge patch applied to it. */
static inline json_t *document_with(const char *patch)
{
	json_t *base = json_of(BASE_DOCUMENT), *change = json_of(patch);
	json_t *document = conf_merge_patch(base, change);

	json_decref(base);
	json_decref(change);
	return document;
}

static inline struct conf *parse_ok(json_t *document)
{
	struct errors errors = { 0 };
	struct conf *c = conf_parse(document, &test_env, &errors);

	if (c == NULL)
		fail_msg("%s", errors_text(&errors));
	assert_int_equal(errors.n, 0);
	errors_fini(&errors);
	return c;
}

/* As parse_ok() of document_with(). */
static inline struct conf *parse_with(const char *patch)
{
	json_t *document = document_with(patch);
	struct conf *c = parse_ok(document);

	json_decref(document);
	return c;
}

static inline const struct error *error_at(const struct errors *errors, const char *path)
{
	for (size_t i = 0; i < errors->n; i++)
		if (strcmp(errors->list[i].path, path) == 0)
			return &errors->list[i];
	return NULL;
}

/* The document with the patch is refused, with exactly one error: at this path, and its detail holds the text. */
static inline void assert_refused(const char *patch, const char *path, const char *detail)
{
	struct errors errors = { 0 };
	json_t *document = document_with(patch);
	struct conf *c = conf_parse(document, &test_env, &errors);

	if (c != NULL)
		fail_msg("accepted: %s", patch);
	const struct error *e = error_at(&errors, path);
	if (e == NULL || errors.n != 1 || strstr(e->detail, detail) == NULL)
		fail_msg("%s\nwanted %s: %s\ngot\n%s", patch, path, detail, errors_text(&errors));
	errors_fini(&errors);
	json_decref(document);
}

static inline bool warns(const struct conf *c, const char *path, const char *detail)
{
	const struct error *e = error_at(&c->warnings, path);

	return e != NULL && strstr(e->detail, detail) != NULL;
}

static inline void assert_json(json_t *got, const char *want)
{
	json_t *expected = json_of(want);

	if (!json_equal(got, expected))
		fail_msg("wanted %s\ngot    %s", want, json_dumps(got, JSON_ENCODE_ANY));
	json_decref(expected);
}

#endif

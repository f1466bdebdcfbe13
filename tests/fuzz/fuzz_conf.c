/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: the configuration. Invariants: the effective view is a fixpoint; a document that is valid has a valid effective
 * view with the same typed values and the same warnings; masking and unmasking gives the document back; nothing differs
 * from itself, and a merge patch with itself changes nothing; an error shows no secret. The same bytes are tried as a
 * node file.
 */
#include <stdlib.h>

#include "daemon/conf/conf_schema.h"
#include "tests/unit/conf/typed_equal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct conf_env env = { .node = "n1", .hostname = "mx.example.net" };

static void check_mask(json_t *document)
{
	struct errors errors = { 0 };
	json_t *masked = conf_mask(document), *back = conf_unmask(masked, document, &errors);

	ASSERT(errors.n > 0 || json_equal(back, document));
	json_t *diff = conf_diff(document, masked), *none = conf_diff(document, document);
	ASSERT(json_array_size(none) == 0);
	ASSERT(json_equal(document, masked) || json_array_size(diff) > 0);
	json_decref(none);
	json_decref(diff);
	json_decref(back);
	json_decref(masked);
	errors_fini(&errors);
}

/* A valid document patched with its own effective view means the same (nulls of the view remove what was null anyway).
 */
static void check_patch(json_t *document, json_t *effective, const struct conf *want)
{
	struct errors errors = { 0 };
	json_t *patched = conf_merge_patch(document, effective);
	struct conf *c = conf_parse(patched, &env, &errors);

	ASSERT(c != NULL);
	ASSERT(typed_difference(&conf_document_object, want, c) == NULL);
	conf_unref(c);
	json_decref(patched);
	errors_fini(&errors);
}

static void check_document(json_t *document)
{
	struct errors errors = { 0 };
	json_t *once = conf_effective(document, &env), *twice = conf_effective(once, &env);
	struct conf *c = conf_parse(document, &env, &errors);

	ASSERT(json_equal(once, twice));
	ASSERT((c == NULL) == (errors.n > 0));
	if (c != NULL) {
		struct conf *again = conf_parse(once, &env, &errors);
		ASSERT(again != NULL);
		ASSERT(typed_difference(&conf_document_object, c, again) == NULL);
		ASSERT(c->warnings.n == again->warnings.n);
		check_patch(document, once, c);
		conf_unref(again);
		conf_unref(c);
	}
	for (size_t i = 0; i < errors.n; i++)
		ASSERT(errors.list[i].path[0] == '\0' || errors.list[i].path[0] == '/');
	errors_fini(&errors);
	json_decref(twice);
	json_decref(once);
}

static void check_node(json_t *document)
{
	struct errors errors = { 0 };
	struct node_config n = { .arena = arena_new(4096) };
	struct conf_parser p;

	conf_parser_init(&p, &env, &errors, n.arena);
	conf_parse_object(&p, &conf_node_object, document, &n);
	conf_parser_fini(&p);
	json_decref(n.initial_config);
	arena_free(n.arena);
	errors_fini(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct errors errors = { 0 };
	json_t *document = conf_read_json((const char *)data, size, &errors);

	ASSERT((document == NULL) == (errors.n == 1));
	errors_fini(&errors);
	if (document == NULL)
		return 0;
	check_mask(document);
	check_document(document);
	check_node(document);
	json_decref(document);
	return 0;
}

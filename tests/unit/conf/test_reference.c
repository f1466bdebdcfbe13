/* SPDX-License-Identifier: Apache-2.0
 * The tables themselves, and what is generated from them for people and programs.
 */
#include "tests/unit/conf/conf_test.h"

/* Calls fn for each field of each object. */
static void each_field(void (*fn)(const struct conf_object *o, const struct conf_field *f))
{
	const struct conf_object *o;

	for (int node_file = 0; node_file < 2; node_file++)
		for (size_t i = 0; (o = conf_object_at(node_file, i)) != NULL; i++)
			for (size_t k = 0; k < o->n_fields; k++)
				fn(o, &o->fields[k]);
}

static void check_doc(const struct conf_object *o, const struct conf_field *f)
{
	size_t n = f->doc == NULL ? 0 : strlen(f->doc);

	if (n < 10 || f->doc[n - 1] != '.' || strchr(f->doc, '\n') != NULL)
		fail_msg("%s.%s has no proper documentation", o->name, f->name);
}

static void every_field_is_documented(void **state)
{
	const struct conf_object *o;

	UNUSED(state);
	each_field(check_doc);
	for (int node_file = 0; node_file < 2; node_file++)
		for (size_t i = 0; (o = conf_object_at(node_file, i)) != NULL; i++)
			assert_true(o->doc != NULL && o->path != NULL && strlen(o->doc) > 5);
}

/* The default is a value that the field itself takes, and is not also demanded. */
static void check_default(const struct conf_object *o, const struct conf_field *f)
{
	struct errors errors = { 0 };
	struct arena *arena = arena_new(1024);
	struct conf_parser p;
	json_t *v = conf_field_default(f, &test_env);

	conf_parser_init(&p, &test_env, &errors, arena);
	sbuf_puts(&p.path, "");
	if (!json_is_null(v) && (!f->type->parse(&p, f, v, arena_alloc(arena, o->size)) || errors.n > 0))
		fail_msg("the default of %s.%s is refused: %s", o->name, f->name, errors_text(&errors));
	if (f->def != NULL && f->flags & CONF_REQUIRED)
		fail_msg("%s.%s is required and has a default", o->name, f->name);
	conf_parser_fini(&p);
	json_decref(v);
	arena_free(arena);
}

static void every_default_is_valid(void **state)
{
	UNUSED(state);
	each_field(check_default);
}

static void check_object_is_listed(const struct conf_object *o, const struct conf_field *f)
{
	const struct conf_object *other;
	bool found = f->sub == NULL;

	for (int node_file = 0; node_file < 2 && !found; node_file++)
		for (size_t i = 0; (other = conf_object_at(node_file, i)) != NULL; i++)
			found |= other == f->sub;
	if (!found)
		fail_msg("what %s.%s holds is not in the list of objects", o->name, f->name);
}

static void every_object_is_listed(void **state)
{
	UNUSED(state);
	each_field(check_object_is_listed);
}

/* ---- OpenAPI ---- */

static json_t *schemas;

/* Every "$ref" leads to a schema that exists. */
static void check_refs(json_t *v)
{
	static const char prefix[] = "#/components/schemas/";
	const char *key;
	json_t *one;
	size_t i;

	json_array_foreach(v, i, one)
		check_refs(one);
	json_object_foreach(v, key, one) {
		check_refs(one);
		if (strcmp(key, "$ref") != 0)
			continue;
		const char *ref = json_string_value(one);
		assert_true(strncmp(ref, prefix, sizeof(prefix) - 1) == 0);
		if (json_object_get(schemas, ref + sizeof(prefix) - 1) == NULL)
			fail_msg("%s does not exist", ref);
	}
}

static void the_schemas_hold_together(void **state)
{
	json_t *token;

	UNUSED(state);
	schemas = conf_openapi_schemas();
	check_refs(schemas);
	token = json_object_get(schemas, "Token");
	assert_json(json_object_get(token, "required"), "['role', 'sha256']");
	assert_json(json_object_get(token, "additionalProperties"), "false");
	token = json_object_get(json_object_get(token, "properties"), "role");
	assert_json(json_object_get(token, "anyOf"), "[{'type': 'string', 'enum': ['viewer', 'operator', 'admin']}]");
	json_decref(schemas);
}

static void check_schema(const struct conf_object *o, const struct conf_field *f)
{
	json_t *v = f->type->schema(f);

	if (!json_is_object(v) || json_object_size(v) == 0)
		fail_msg("%s.%s has no schema", o->name, f->name);
	json_decref(v);
}

static void every_field_has_a_schema(void **state)
{
	UNUSED(state);
	each_field(check_schema);
}

/* ---- the manual ---- */

static char *manual;

static void check_row(const struct conf_object *o, const struct conf_field *f)
{
	char *heading = xasprintf("### %s\n", o->path), *row = xasprintf("\n| `%s` | ", f->name);
	const char *section = strstr(manual, heading);
	const char *next = section == NULL ? NULL : strstr(section + 1, "### ");
	const char *at = section == NULL ? NULL : strstr(section, row);

	if (at == NULL || (next != NULL && at > next))
		fail_msg("%s.%s is not in the manual", o->name, f->name);
	unsigned bars = 0;
	for (const char *p = at + 1; *p != '\n'; p++)
		bars += *p == '|' && p[-1] != '\\';
	if (bars != 6)
		fail_msg("the row of %s.%s has %u bars", o->name, f->name, bars);
	free(heading);
	free(row);
}

static void every_field_has_a_row_in_the_manual(void **state)
{
	UNUSED(state);
	manual = conf_manual();
	each_field(check_row);
	assert_non_null(strstr(manual, "| `dot` | duration | `\"10m\"` | \"1ms\" to \"1d\" | "));
	assert_non_null(strstr(manual, "| `pool` | name | **required** | "));
	free(manual);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_documented), cmocka_unit_test(every_default_is_valid),
		cmocka_unit_test(every_object_is_listed),    cmocka_unit_test(the_schemas_hold_together),
		cmocka_unit_test(every_field_has_a_schema),  cmocka_unit_test(every_field_has_a_row_in_the_manual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Problem documents (RFC 9457).
 */
#include "daemon/api/problem.h"

#include <stdlib.h>

const struct problem_row problem_rows[PROBLEM_COUNT] = {
#define PROBLEM(ID, status, name, title) [PROBLEM_##ID] = { status, name, title },
#include "daemon/api/problem.tbl.h"
#undef PROBLEM
};

/* Texts may hold what a client sent: a string that is not UTF-8 must not make the whole document vanish. */
static void set_text(json_t *o, const char *key, const char *text)
{
	if (text == NULL)
		return;
	json_t *value = json_string(text);
	json_object_set_new(o, key, value != NULL ? value : json_string("(not UTF-8)"));
}

static json_t *errors_json(const struct errors *errors)
{
	json_t *list = json_array();

	for (size_t i = 0; i < errors->n; i++) {
		const struct error *e = &errors->list[i];
		json_t *o = json_object();
		set_text(o, "path", e->path);
		set_text(o, "detail", e->detail);
		set_text(o, "found", e->found);
		set_text(o, "allowed", e->allowed);
		set_text(o, "suggestion", e->suggestion);
		json_array_append_new(list, o);
	}
	return list;
}

json_t *problem_json(enum problem p, const char *detail, const char *instance, const struct errors *errors)
{
	const struct problem_row *row = &problem_rows[p];
	json_t *o = json_object();
	char *type = xasprintf(PROBLEM_TYPE_PREFIX "%s", row->name);

	set_text(o, "type", type);
	set_text(o, "title", row->title);
	json_object_set_new(o, "status", json_integer(row->status));
	set_text(o, "detail", detail);
	set_text(o, "instance", instance);
	if (errors != NULL && errors->n > 0)
		json_object_set_new(o, "errors", errors_json(errors));
	if (errors != NULL && errors->dropped > 0)
		json_object_set_new(o, "errors_dropped", json_integer((json_int_t)errors->dropped));
	free(type);
	return o;
}

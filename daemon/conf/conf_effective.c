/* SPDX-License-Identifier: Apache-2.0
 * The effective view: what was written, with every default filled in, in the order of the tables.
 *
 * It is a fixpoint, and parses to the same typed values as the document it was made from. Whatever does not fit the
 * tables is copied as it stands: refusing it is the parser's business.
 */
#include "daemon/conf/conf_schema.h"

struct view {
	const struct conf_env *env;
	bool is_transport; /* inside a listener that passes bytes through: fields that it may not have get no default */
};

static json_t *effective_object(const struct conf_object *o, json_t *v, struct view view);

static bool passes_bytes_through(const struct conf_object *o, json_t *v)
{
	const char *mode = json_string_value(json_object_get(v, "mode"));

	return o == &conf_listener_object && mode != NULL && strcmp(mode, listener_mode_names[LISTENER_TCP]) == 0;
}

static json_t *effective_map(const struct conf_object *o, json_t *v, struct view view)
{
	json_t *out = json_object(), *one;
	const char *key;

	json_object_foreach(v, key, one) {
		if (json_is_null(one))
			continue;
		json_object_set_new(out, key,
				    json_is_object(one) ? effective_object(o, one, view) : json_deep_copy(one));
	}
	return out;
}

static json_t *effective_list(const struct conf_object *o, json_t *v, struct view view)
{
	json_t *out = json_array(), *one;
	size_t i;

	json_array_foreach(v, i, one)
		json_array_append_new(out, json_is_object(one) ? effective_object(o, one, view) : json_deep_copy(one));
	return out;
}

static json_t *effective_value(const struct conf_field *f, json_t *v, struct view view)
{
	json_t *value, *out;

	if (v == NULL || json_is_null(v))
		value = conf_field_default(f, view.env);
	else
		value = json_incref(v);
	if (f->type == &conf_type_object && json_is_object(value))
		out = effective_object(f->sub, value, view);
	else if (f->type == &conf_type_map && json_is_object(value))
		out = effective_map(f->sub, value, view);
	else if (f->type == &conf_type_list && json_is_array(value))
		out = effective_list(f->sub, value, view);
	else
		out = json_deep_copy(value);
	json_decref(value);
	return out;
}

static json_t *effective_object(const struct conf_object *o, json_t *v, struct view view)
{
	json_t *out = json_object(), *comment = json_object_get(v, "comment"), *one;
	const char *key;

	if (comment != NULL)
		json_object_set(out, "comment", comment);
	view.is_transport |= passes_bytes_through(o, v);
	for (size_t i = 0; i < o->n_fields; i++) {
		const struct conf_field *f = &o->fields[i];
		one = json_object_get(v, f->name);
		bool has_default = !(f->flags & CONF_REQUIRED) && (!view.is_transport || f->flags & CONF_TRANSPORT);
		if (has_default || (one != NULL && !json_is_null(one)))
			json_object_set_new(out, f->name, effective_value(f, one, view));
	}
	json_object_foreach(v, key, one)
		if (json_object_get(out, key) == NULL)
			json_object_set_new(out, key, json_deep_copy(one));
	return out;
}

json_t *conf_effective(json_t *document, const struct conf_env *env)
{
	return effective_value(&conf_document_field, document, (struct view) { .env = env });
}

/* SPDX-License-Identifier: Apache-2.0
 * JSON schemas (2020-12, as OpenAPI 3.1 takes them) from the tables.
 */
#include "daemon/conf/conf_schema.h"

/* A value that may be absent may be null as well, and some may differ per node. */
static json_t *field_schema(const struct conf_field *f)
{
	json_t *value = f->type->schema(f);
	json_t *any = json_array(), *out;

	json_array_append(any, value);
	if (f->flags & CONF_PER_NODE)
		json_array_append_new(any, json_pack("{s:s,s:[s],s:{s:{s:s,s:O},s:{s:s}}}", "type", "object",
						     "required", "nodes", "properties", "nodes", "type", "object",
						     "additionalProperties", value, "comment", "type", "string"));
	if (!(f->flags & CONF_REQUIRED))
		json_array_append_new(any, json_pack("{s:s}", "type", "null"));
	json_decref(value);
	out = json_pack("{s:s,s:o}", "description", f->doc, "anyOf", any);
	if (f->def != NULL && f->def != conf_default_hostname)
		json_object_set_new(out, "default", json_loads(f->def, JSON_DECODE_ANY, NULL));
	if (f->flags & CONF_SECRET)
		json_object_set_new(out, "writeOnly", json_true());
	return out;
}

static json_t *object_schema(const struct conf_object *o)
{
	json_t *properties = json_object(), *required = json_array(), *out;

	json_object_set_new(properties, "comment",
			    json_pack("{s:s,s:s}", "type", "string", "description", "Free text."));
	for (size_t i = 0; i < o->n_fields; i++) {
		json_object_set_new(properties, o->fields[i].name, field_schema(&o->fields[i]));
		if (o->fields[i].flags & CONF_REQUIRED)
			json_array_append_new(required, json_string(o->fields[i].name));
	}
	out = json_pack("{s:s,s:s,s:o,s:b}", "type", "object", "description", o->doc, "properties", properties,
			"additionalProperties", 0);
	if (json_array_size(required) > 0)
		json_object_set(out, "required", required);
	json_decref(required);
	return out;
}

json_t *conf_openapi_schemas(void)
{
	json_t *out = json_object();
	const struct conf_object *o;

	for (size_t i = 0; (o = conf_object_at(false, i)) != NULL; i++)
		json_object_set_new(out, o->name, object_schema(o));
	return out;
}

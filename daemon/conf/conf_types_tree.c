/* SPDX-License-Identifier: Apache-2.0
 * The walk: objects, maps and lists of objects, per-node values, defaults, unknown keys.
 */
#include "daemon/conf/conf_schema.h"

#include <stdio.h>
#include <stdlib.h>

void conf_parser_init(struct conf_parser *p, const struct conf_env *env, struct errors *errors, struct arena *arena)
{
	*p = (struct conf_parser) { .env = env, .errors = errors, .arena = arena };
}

void conf_parser_fini(struct conf_parser *p)
{
	sbuf_fini(&p->path);
	free(p->binds);
	p->binds = NULL;
}

/* ---- one field ---- */

static void parse_default(struct conf_parser *p, const struct conf_field *f, void *base)
{
	json_t *v = conf_field_default(f, p->env);

	/* A default that is refused would be a mistake in the table; but the host's own name may be no name for a
	 * greeting. */
	bool ok = json_is_null(v) || f->type->parse(p, f, v, base);
	ASSERT(ok || f->def == conf_default_hostname);
	json_decref(v);
}

/* Values of other nodes are checked as ours is, and kept nowhere: a document that is valid here must be valid there. */
static void parse_nodes(struct conf_parser *p, const struct conf_object *o, const struct conf_field *f, json_t *nodes,
			void *base)
{
	const char *node;
	json_t *v;
	bool found = false;

	size_t outer = conf_path_push(&p->path, "nodes");
	json_object_foreach(nodes, node, v) {
		size_t at = conf_path_push(&p->path, node);
		bool is_ours = p->env->node != NULL && strcmp(node, p->env->node) == 0;
		if (!conf_name_valid(node))
			conf_bad(p, NULL, NULL, NULL, "\"%.100s\" is not a node's name", node);
		p->node = node;
		if (!json_is_null(v))
			found |= f->type->parse(p, f, v, is_ours ? base : arena_alloc(p->arena, o->size)) && is_ours;
		p->node = NULL;
		conf_path_pop(&p->path, at);
	}
	conf_path_pop(&p->path, outer);
	if (!found)
		parse_default(p, f, base);
}

static void parse_field(struct conf_parser *p, const struct conf_object *o, const struct conf_field *f, json_t *v,
			void *base)
{
	size_t at = conf_path_push(&p->path, f->name);
	bool is_set = v != NULL && !json_is_null(v);
	json_t *nodes = is_set ? conf_nodes(f, v) : NULL;

	if (f->set_offset != 0)
		memcpy((char *)base + f->set_offset, &is_set, sizeof(is_set));
	if (!is_set && f->flags & CONF_REQUIRED)
		conf_bad(p, f, NULL, NULL, "\"%s\" is missing", f->name);
	if (nodes != NULL)
		parse_nodes(p, o, f, nodes, base);
	else if (!is_set || !f->type->parse(p, f, v, base))
		parse_default(p, f, base);
	conf_path_pop(&p->path, at);
}

/* ---- objects ---- */

static void refuse_unknown(struct conf_parser *p, const struct conf_object *o, json_t *v)
{
	const char *key;
	json_t *value;

	json_object_foreach(v, key, value) {
		size_t at = conf_path_push(&p->path, key);
		if (strcmp(key, "comment") == 0) {
			if (!json_is_string(value) && !json_is_null(value))
				conf_bad(p, NULL, value, NULL, "a comment is a string");
		} else if (conf_field_find(o, key) == NULL) {
			struct conf_nearest near;
			conf_nearest_init(&near, key);
			for (size_t i = 0; i < o->n_fields; i++)
				conf_nearest_try(&near, o->fields[i].name);
			conf_bad(p, NULL, NULL, near.best, "\"%.100s\" is not a known key", key);
		}
		conf_path_pop(&p->path, at);
	}
}

void conf_parse_object(struct conf_parser *p, const struct conf_object *o, json_t *v, void *base)
{
	const void *outer = p->owner;

	p->owner = base;
	if (!json_is_object(v))
		conf_bad(p, NULL, v, NULL, "an object is needed here");
	refuse_unknown(p, o, v);
	for (size_t i = 0; i < o->n_fields; i++) {
		const struct conf_field *f = &o->fields[i];
		if (json_is_object(v))
			parse_field(p, o, f, json_object_get(v, f->name), base);
		else
			parse_default(p, f, base); /* and no word about what is missing in it */
	}
	p->owner = outer;
}

static bool parse_object(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	conf_parse_object(p, f->sub, v, (char *)base + f->offset);
	return true;
}

static void object_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "see below");
}

static json_t *ref(const struct conf_object *o)
{
	char text[96];

	snprintf(text, sizeof(text), "#/components/schemas/%s", o->name);
	return json_pack("{s:s}", "$ref", text);
}

static json_t *object_schema(const struct conf_field *f)
{
	return ref(f->sub);
}

const struct conf_type conf_type_object = { "object", parse_object, object_allowed, object_schema };

/* ---- maps: objects keyed by name ---- */

static void store_elements(const struct conf_field *f, void *base, void *elements, size_t n)
{
	conf_store(f, base, &elements, sizeof(elements));
	memcpy((char *)base + f->count_offset, &n, sizeof(n));
}

static bool parse_map(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *key;
	json_t *one;
	size_t n = 0;

	if (!json_is_object(v)) {
		conf_bad(p, f, v, NULL, "an object keyed by name is needed here");
		return false;
	}
	char *elements = arena_alloc(p->arena, json_object_size(v) * f->sub->size);
	json_object_foreach(v, key, one) {
		if (json_is_null(one) || (strcmp(key, "comment") == 0 && json_is_string(one)))
			continue;
		void *element = elements + n++ * f->sub->size;
		const char *name = arena_strdup(p->arena, key);
		size_t at = conf_path_push(&p->path, key);
		if (!conf_name_valid(key))
			conf_bad(p, NULL, NULL, NULL, "\"%.100s\" is not a name", key);
		memcpy(element, &name, sizeof(name));
		conf_parse_object(p, f->sub, one, element);
		conf_path_pop(&p->path, at);
	}
	store_elements(f, base, elements, n);
	return true;
}

static void map_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "{NAME: {…}}, see below");
}

static json_t *map_schema(const struct conf_field *f)
{
	return json_pack("{s:s,s:{s:{s:s}},s:o}", "type", "object", "properties", "comment", "type", "string",
			 "additionalProperties", ref(f->sub));
}

const struct conf_type conf_type_map = { "objects by name", parse_map, map_allowed, map_schema };

/* ---- lists of objects ---- */

static bool parse_list(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	json_t *one;
	size_t i;

	if (!json_is_array(v)) {
		conf_bad(p, f, v, NULL, "a list is needed here");
		return false;
	}
	char *elements = arena_alloc(p->arena, json_array_size(v) * f->sub->size);
	json_array_foreach(v, i, one) {
		size_t at = conf_path_push_index(&p->path, i);
		conf_parse_object(p, f->sub, one, elements + i * f->sub->size);
		conf_path_pop(&p->path, at);
	}
	store_elements(f, base, elements, json_array_size(v));
	return true;
}

static void list_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "[{…}], see below");
}

static json_t *list_schema(const struct conf_field *f)
{
	return json_pack("{s:s,s:o}", "type", "array", "items", ref(f->sub));
}

const struct conf_type conf_type_list = { "list of objects", parse_list, list_allowed, list_schema };

/* ---- a document inside a document ---- */

static bool parse_document(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	if (!json_is_object(v)) {
		conf_bad(p, f, v, NULL, "an object is needed here");
		return false;
	}
	json_incref(v);
	conf_store(f, base, &v, sizeof(v));
	return true;
}

static json_t *document_schema(const struct conf_field *f)
{
	UNUSED(f);
	return ref(&conf_document_object);
}

const struct conf_type conf_type_document = { "configuration", parse_document, object_allowed, document_schema };

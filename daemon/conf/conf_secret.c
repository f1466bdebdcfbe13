/* SPDX-License-Identifier: Apache-2.0
 * Secrets: what is shown instead of them, and what putting the shown form back means.
 */
#include "daemon/base/hash.h"
#include "daemon/conf/conf_walk.h"

/* ---- places ---- */

struct conf_place conf_place_root(void)
{
	return (struct conf_place) { .object = &conf_document_object };
}

struct conf_place conf_place_member(struct conf_place at, const char *key)
{
	if (at.elements != NULL)
		return (struct conf_place) { .object = at.elements };
	const struct conf_field *f = at.object != NULL ? conf_field_find(at.object, key) : NULL;
	if (f == NULL)
		return (struct conf_place) { 0 };
	if (f->type == &conf_type_object)
		return (struct conf_place) { .object = f->sub };
	if (f->type == &conf_type_map || f->type == &conf_type_list)
		return (struct conf_place) { .elements = f->sub };
	return (struct conf_place) { .is_secret = f->flags & CONF_SECRET };
}

/* ---- mask ---- */

json_t *conf_mask_at(struct conf_place at, json_t *v)
{
	json_t *out, *one;
	const char *key;
	size_t i;

	if (at.is_secret)
		return json_is_null(v) ? json_null() : json_string(CONF_SECRET_SHOWN);
	if (at.object == NULL && at.elements == NULL)
		return json_deep_copy(v);
	if (json_is_object(v)) {
		out = json_object();
		json_object_foreach(v, key, one)
			json_object_set_new(out, key, conf_mask_at(conf_place_member(at, key), one));
		return out;
	}
	if (json_is_array(v)) {
		out = json_array();
		json_array_foreach(v, i, one)
			json_array_append_new(out, conf_mask_at(conf_place_member(at, ""), one));
		return out;
	}
	return json_deep_copy(v);
}

json_t *conf_mask(json_t *document)
{
	return conf_mask_at(conf_place_root(), document);
}

/* ---- unmask ---- */

static bool is_shown_secret(json_t *v)
{
	return json_is_string(v) && strcmp(json_string_value(v), CONF_SECRET_SHOWN) == 0;
}

struct unmask {
	struct sbuf path;
	struct errors *errors;
};

static json_t *unmask_at(struct unmask *u, struct conf_place at, json_t *next, json_t *stored);

static json_t *unmask_secret(struct unmask *u, json_t *next, json_t *stored)
{
	if (!is_shown_secret(next))
		return json_deep_copy(next);
	if (stored != NULL && !json_is_null(stored) && !is_shown_secret(stored))
		return json_deep_copy(stored);
	errors_add(u->errors, u->path.p != NULL ? u->path.p : "", "\"" CONF_SECRET_SHOWN "\"", "the secret itself",
		   NULL, "there is no stored secret to keep");
	return json_deep_copy(next);
}

static json_t *unmask_members(struct unmask *u, struct conf_place at, json_t *next, json_t *stored)
{
	json_t *out = json_object(), *one;
	const char *key;

	json_object_foreach(next, key, one) {
		size_t back = conf_path_push(&u->path, key);
		json_object_set_new(out, key,
				    unmask_at(u, conf_place_member(at, key), one, json_object_get(stored, key)));
		conf_path_pop(&u->path, back);
	}
	return out;
}

static struct str name_of(json_t *object)
{
	return str_from(json_string_value(json_object_get(object, "name")));
}

static struct map *by_name(json_t *list)
{
	struct map *m = map_new();
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
		if (name_of(one).p != NULL)
			map_put(m, name_of(one), one);
	return m;
}

/* Members of a list are known by their name, so that a secret follows its object when the list is reordered. */
static json_t *unmask_list(struct unmask *u, struct conf_place at, json_t *next, json_t *stored)
{
	json_t *out = json_array(), *one;
	struct map *known = by_name(stored);
	size_t i;

	json_array_foreach(next, i, one) {
		json_t *before = name_of(one).p != NULL ? map_get(known, name_of(one)) : NULL;
		size_t back = conf_path_push_index(&u->path, i);
		json_array_append_new(out, unmask_at(u, conf_place_member(at, ""), one, before));
		conf_path_pop(&u->path, back);
	}
	map_free(known, NULL);
	return out;
}

static json_t *unmask_at(struct unmask *u, struct conf_place at, json_t *next, json_t *stored)
{
	if (at.is_secret)
		return unmask_secret(u, next, stored);
	if (at.object == NULL && at.elements == NULL)
		return json_deep_copy(next);
	if (json_is_object(next))
		return unmask_members(u, at, next, stored);
	if (json_is_array(next))
		return unmask_list(u, at, next, stored);
	return json_deep_copy(next);
}

json_t *conf_unmask(json_t *next, json_t *stored, struct errors *errors)
{
	struct unmask u = { .errors = errors };
	json_t *out = unmask_at(&u, conf_place_root(), next, stored);

	sbuf_fini(&u.path);
	return out;
}

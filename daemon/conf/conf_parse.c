/* SPDX-License-Identifier: Apache-2.0
 * From text to a document, and from a document to its typed form.
 */
#include "daemon/conf/conf_schema.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "daemon/net/loop.h"

#define CONF_MAGIC 0x434f4e46u

#define TEXT_MAX ((size_t)64 << 20)
#define DEPTH_MAX 64

/* ---- JSON ---- */

/* How deep objects and arrays nest; every walk over a document recurses that deep. */
static unsigned depth_of(const char *text, size_t n)
{
	unsigned depth = 0, deepest = 0;
	bool in_string = false;

	for (size_t i = 0; i < n && deepest <= DEPTH_MAX; i++) {
		char c = text[i];
		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			deepest = ++depth > deepest ? depth : deepest;
		else if (!in_string && (c == '}' || c == ']') && depth > 0)
			depth--;
	}
	return deepest;
}

json_t *conf_read_json(const char *text, size_t n, struct errors *errors)
{
	json_error_t e;

	if (n > TEXT_MAX) {
		errors_add(errors, "", NULL, "at most 64MiB", NULL, "the document is too large");
		return NULL;
	}
	if (depth_of(text, n) > DEPTH_MAX) {
		errors_add(errors, "", NULL, "at most 64 levels", NULL, "the document is nested too deeply");
		return NULL;
	}
	json_t *v = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
	if (v == NULL)
		errors_add(errors, "", NULL, NULL, NULL, "not JSON: %s (line %d, column %d)", e.text, e.line, e.column);
	return v;
}

/* ---- typed form ---- */

static void finish(struct conf *c, const struct conf_env *env)
{
	const struct pool_config **list = arena_alloc(c->arena, c->n_pools * sizeof(*list));

	for (size_t i = 0; i < c->n_pools; i++) {
		c->pools[i].check_helo = arena_strdup(c->arena, env->hostname != NULL ? env->hostname : "localhost");
		c->pools[i].helo_client = c->pools[i].helo != NULL && strcmp(c->pools[i].helo, "client") == 0;
		list[i] = &c->pools[i];
	}
	c->pool_list = list;
}

struct conf *conf_parse(json_t *document, const struct conf_env *env, struct errors *errors)
{
	size_t before = errors->n + errors->dropped;
	struct conf_parser p;
	struct conf *c;

	NEW_OBJ(c, CONF_MAGIC);
	atomic_init(&c->refs, 1);
	c->home = env->home;
	c->arena = arena_new(64 * 1024);
	c->document = json_incref(document);
	conf_parser_init(&p, env, errors, c->arena);
	conf_parse_object(&p, &conf_document_object, document, c);
	finish(c, env);
	if (json_is_object(document))
		conf_check(c, &p);
	conf_parser_fini(&p);
	if (errors->n + errors->dropped > before) {
		conf_unref(c);
		return NULL;
	}
	return c;
}

struct conf *conf_ref(struct conf *c)
{
	CHECK_OBJ(c, CONF_MAGIC);
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

static void free_conf(void *conf)
{
	struct conf *c = conf;

	CHECK_OBJ(c, CONF_MAGIC);
	if (c->free_policies != NULL)
		c->free_policies(c);
	conf_free_tls(c);
	conf_wipe_auth(c);
	errors_fini(&c->warnings);
	errors_fini(&c->kept);
	json_decref(c->document);
	arena_free(c->arena);
	FREE_OBJ(c);
}

/* The last reference may be a worker's, through its snapshot. */
void conf_unref(struct conf *c)
{
	if (c == NULL)
		return;
	CHECK_OBJ(c, CONF_MAGIC);
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (c->home != NULL)
		loop_post(c->home, free_conf, c);
	else
		free_conf(c);
}

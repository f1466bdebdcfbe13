/* SPDX-License-Identifier: Apache-2.0
 * Questions about the tables: find a field, its default, what it allows, the nearest known name; and the parser's path.
 */
#include "daemon/conf/conf_schema.h"

#include <stdio.h>
#include <stdlib.h>

const char conf_default_hostname[] = "(the host name)";

const struct conf_field *conf_field_find(const struct conf_object *o, const char *name)
{
	for (size_t i = 0; i < o->n_fields; i++)
		if (strcmp(o->fields[i].name, name) == 0)
			return &o->fields[i];
	return NULL;
}

json_t *conf_field_default(const struct conf_field *f, const struct conf_env *env)
{
	if (f->def == conf_default_hostname)
		return json_string(env->hostname != NULL ? env->hostname : "localhost");
	if (f->def == NULL)
		return json_null();
	json_t *v = json_loads(f->def, JSON_DECODE_ANY, NULL);
	ASSERT(v != NULL);
	return v;
}

char *conf_field_allowed(const struct conf_field *f)
{
	struct sbuf b = { 0 };

	if (f->type->allowed != NULL)
		f->type->allowed(f, &b);
	else
		sbuf_puts(&b, f->type->label);
	if (f->flags & CONF_UNLIMITED)
		sbuf_puts(&b, ", or \"unlimited\"");
	return sbuf_steal(&b);
}

json_t *conf_nodes(const struct conf_field *f, json_t *v)
{
	const char *key;
	json_t *value, *nodes = json_object_get(v, "nodes");

	if (!(f->flags & CONF_PER_NODE) || !json_is_object(nodes))
		return NULL;
	json_object_foreach(v, key, value)
		if (strcmp(key, "nodes") != 0 && strcmp(key, "comment") != 0)
			return NULL;
	return nodes;
}

bool conf_name_valid(const char *name)
{
	static const char alnum[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t n = strlen(name);

	return n >= 1 && n <= 63 && strspn(name, alnum) == n && strchr("_.-", name[0]) == NULL &&
	       strcmp(name, "comment") != 0;
}

/* ---- the nearest name ---- */

/* Case and the choice between '-' and '_' are what people get wrong most, so they cost nothing. */
static void plain(const char *name, char out[65])
{
	snprintf(out, 65, "%s", name);
	ascii_lower(out, strlen(out));
	for (char *p = out; *p != '\0'; p++)
		if (*p == '-')
			*p = '_';
}

void conf_nearest_init(struct conf_nearest *s, const char *wanted)
{
	size_t n = strlen(wanted);

	*s = (struct conf_nearest) { .wanted = wanted, .distance = n < 4 ? 2 : n < 8 ? 3 : 4 };
}

void conf_nearest_try(struct conf_nearest *s, const char *name)
{
	char a[65], b[65];

	if (strlen(s->wanted) > 64 || strlen(name) > 64)
		return;
	plain(s->wanted, a);
	plain(name, b);
	unsigned d = str_distance(a, b, s->distance);
	if (d < s->distance) {
		s->distance = d;
		s->best = name;
	}
}

/* ---- the path of the value at hand (RFC 6901) ---- */

size_t conf_path_push(struct sbuf *path, const char *token)
{
	size_t before = path->n;

	sbuf_putc(path, '/');
	for (; *token != '\0'; token++) {
		if (*token == '~')
			sbuf_puts(path, "~0");
		else if (*token == '/')
			sbuf_puts(path, "~1");
		else
			sbuf_putc(path, *token);
	}
	return before;
}

size_t conf_path_push_index(struct sbuf *path, size_t i)
{
	char text[24];

	snprintf(text, sizeof(text), "%zu", i);
	return conf_path_push(path, text);
}

void conf_path_pop(struct sbuf *path, size_t len)
{
	path->n = len;
	path->p[len] = '\0';
}

/* ---- errors ---- */

#define FOUND_MAX 120

char *conf_found(json_t *v)
{
	if (v == NULL)
		return NULL;
	if (json_is_object(v))
		return xstrdup(json_object_size(v) == 0 ? "{}" : "{…}");
	if (json_is_array(v))
		return xstrdup(json_array_size(v) == 0 ? "[]" : "[…]");
	char *text = json_dumps(v, JSON_ENCODE_ANY);
	if (text == NULL)
		return NULL;
	size_t n = FOUND_MAX;
	if (strlen(text) > n) {
		while (((unsigned char)text[n] & 0xc0) == 0x80) /* not inside a character */
			n--;
		text[n] = '\0';
		char *cut = xasprintf("%s…", text);
		free(text);
		return cut;
	}
	return text;
}

void conf_bad(struct conf_parser *p, const struct conf_field *f, json_t *v, const char *suggestion, const char *fmt,
	      ...)
{
	bool is_secret = f != NULL && f->flags & CONF_SECRET;
	char *found = v != NULL && is_secret ? xstrdup("\"<secret>\"") : conf_found(v);
	char *allowed = f != NULL ? conf_field_allowed(f) : NULL;
	struct sbuf detail = { 0 };
	va_list ap;

	va_start(ap, fmt);
	sbuf_vprintf(&detail, fmt, ap);
	va_end(ap);
	errors_add(p->errors, p->path.n > 0 ? p->path.p : "", found, allowed, suggestion, "%s", detail.p);
	sbuf_fini(&detail);
	free(found);
	free(allowed);
}

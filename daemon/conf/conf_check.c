/* SPDX-License-Identifier: Apache-2.0
 * Checks between fields: names that must exist, and the order in which the objects are looked at.
 *
 * They run even after errors in single fields, so that a writer sees everything at once; what a field left out because
 * it was wrong must therefore not look like a second mistake here.
 */
#include "daemon/conf/conf_check.h"

#include <stdlib.h>

void conf_check_at(struct conf_checker *k, ...)
{
	const char *token;
	va_list ap;

	sbuf_reset(&k->p->path);
	va_start(ap, k);
	while ((token = va_arg(ap, const char *)) != NULL)
		conf_path_push(&k->p->path, token);
	va_end(ap);
}

void conf_check_warn(struct conf_checker *k, const char *fmt, ...)
{
	struct sbuf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	sbuf_vprintf(&text, fmt, ap);
	va_end(ap);
	errors_add(&k->c->warnings, k->p->path.p, NULL, NULL, NULL, "%s", text.p);
	sbuf_fini(&text);
}

bool conf_check_name(struct conf_checker *k, const struct map *names, const char *name, const char *what)
{
	struct conf_nearest near;
	struct str key;
	void *value;
	size_t pos = 0;

	if (map_get(names, str_from(name)) != NULL)
		return true;
	conf_nearest_init(&near, name);
	for (; k->compared < CONF_SUGGEST_MAX && map_next(names, &pos, &key, &value); k->compared++)
		conf_nearest_try(&near, key.p);
	json_t *found = json_string(name);
	conf_bad(k->p, NULL, found, near.best, "there is no %s of this name", what);
	json_decref(found);
	return false;
}

void conf_check_sets(struct conf_checker *k, const struct str_list *domains)
{
	for (size_t i = 0; i < domains->n; i++) {
		if (domains->v[i][0] != '@')
			continue;
		conf_check_name(k, k->sets, domains->v[i] + 1, "domain set");
	}
}

/* ---- all checks ---- */

/* Elements begin with their name. */
static struct map *by_name(const void *elements, size_t n, size_t size)
{
	struct map *m = map_new();

	for (size_t i = 0; i < n; i++) {
		char *element = (char *)(uintptr_t)elements + i * size;
		const char *name;
		memcpy(&name, element, sizeof(name));
		map_put(m, str_from(name), element);
	}
	return m;
}

static void warn_unused_pools(struct conf_checker *k)
{
	for (size_t i = 0; i < k->c->n_pools; i++) {
		const char *name = k->c->pools[i].name;
		if (map_get(k->used_pools, str_from(name)) == NULL) {
			conf_check_at(k, "pools", name, NULL);
			conf_check_warn(k, "no listener and no route leads to this pool");
		}
	}
}

void conf_check(struct conf *c, struct conf_parser *p)
{
	struct conf_checker k = { .c = c,
				  .p = p,
				  .pools = by_name(c->pools, c->n_pools, sizeof(*c->pools)),
				  .listeners = by_name(c->listeners, c->n_listeners, sizeof(*c->listeners)),
				  .certificates = by_name(c->certificates, c->n_certificates, sizeof(*c->certificates)),
				  .fields_are_bad = p->errors->n > 0 || p->errors->dropped > 0,
				  .sets = by_name(c->policy.sets, c->policy.n_sets, sizeof(*c->policy.sets)),
				  .used_pools = map_new() };

	conf_check_listeners(&k);
	conf_check_routes(&k);
	conf_check_pools(&k);
	conf_check_reach(&k);
	conf_check_tls(&k);
	conf_check_vips(&k);
	conf_check_users(&k);
	conf_check_auth(&k);
	warn_unused_pools(&k);
	map_free(k.pools, NULL);
	map_free(k.listeners, NULL);
	map_free(k.sets, NULL);
	map_free(k.certificates, NULL);
	map_free(k.used_pools, NULL);
}

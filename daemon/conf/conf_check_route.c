/* SPDX-License-Identifier: Apache-2.0
 * Checks of routes.
 */
#include "daemon/conf/conf_check.h"

#include <stdio.h>
#include <stdlib.h>

struct route_check {
	struct conf_checker *k;
	const struct route_config *r;
	json_t *written;
	char index[24];
};

static bool is_written(const struct route_check *c, const char *key)
{
	json_t *v = json_object_get(c->written, key);

	return v != NULL && !json_is_null(v);
}

/* ---- target ---- */

/* "5.7.1 …": the class, or 0 (RFC 3463 2). */
static char enhanced_class(const char *text)
{
	size_t subject = strspn(text + 2, "0123456789");

	if (strchr("245", text[0]) == NULL || text[1] != '.' || subject == 0 || text[2 + subject] != '.')
		return 0;
	size_t detail = strspn(text + 3 + subject, "0123456789");
	return detail > 0 && strchr(" ", text[3 + subject + detail]) != NULL ? text[0] : 0;
}

static void check_text(struct route_check *c)
{
	struct conf_checker *k = c->k;

	if (c->r->text == NULL)
		return;
	conf_check_at(k, "routes", c->index, "text", NULL);
	if (!is_written(c, "action")) {
		conf_bad(k->p, NULL, NULL, NULL, "a text needs an action");
		return;
	}
	char class = strlen(c->r->text) >= 5 ? enhanced_class(c->r->text) : 0;
	char want = c->r->action == ROUTE_DEFER ? '4' : '5';
	if (class != 0 && class != want && c->r->action != ROUTE_POOL)
		conf_bad(k->p, NULL, json_object_get(c->written, "text"), NULL,
			 "the enhanced code of this action begins with %c", want);
}

static void check_target(struct route_check *c)
{
	struct conf_checker *k = c->k;
	bool has_pool = is_written(c, "pool"), has_action = is_written(c, "action");

	conf_check_at(k, "routes", c->index, NULL);
	if (has_pool == has_action && json_is_object(c->written))
		conf_bad(k->p, NULL, NULL, NULL, "a route has either a pool or an action%s",
			 has_pool ? ", not both" : "");
	if (c->r->pool != NULL) {
		conf_check_at(k, "routes", c->index, "pool", NULL);
		conf_check_name(k, k->pools, c->r->pool, "pool");
		map_put(k->used_pools, str_from(c->r->pool), k);
	}
	check_text(c);
}

/* ---- conditions ---- */

static bool asks_for_smtp(const struct route_config *r)
{
	return r->user.present || r->client_certificate.present || r->helo.present || r->sender.present ||
	       r->recipient.present || r->sender_domain.present || r->recipient_domain.present;
}

static bool asks_for_nothing(const struct route_config *r)
{
	return !r->listener.present && !r->client.present && !asks_for_smtp(r);
}

static void check_listener_names(struct route_check *c)
{
	struct conf_checker *k = c->k;

	for (size_t i = 0; i < c->r->listener.n; i++) {
		const char *name = c->r->listener.v[i];
		conf_check_at(k, "routes", c->index, "when", "listener", NULL);
		if (!conf_check_name(k, k->listeners, name, "listener"))
			continue;
		const struct listener_config *l = map_get(k->listeners, str_from(name));
		if (l->mode == LISTENER_TCP && asks_for_smtp(c->r))
			conf_bad(k->p, NULL, NULL, NULL,
				 "listener \"%s\" has mode \"tcp\": its routes can ask for \"listener\" and \"client\" "
				 "only",
				 name);
	}
}

static void check_when(struct route_check *c)
{
	check_listener_names(c);
	conf_check_at(c->k, "routes", c->index, "when", "sender_domain", NULL);
	conf_check_sets(c->k, &c->r->sender_domain);
	conf_check_at(c->k, "routes", c->index, "when", "recipient_domain", NULL);
	conf_check_sets(c->k, &c->r->recipient_domain);
}

/* ---- all routes ---- */

static void check_name(struct route_check *c, struct map *names)
{
	if (c->r->name == NULL || map_put(names, str_from(c->r->name), c) == NULL)
		return;
	conf_check_at(c->k, "routes", c->index, "name", NULL);
	conf_bad(c->k->p, NULL, json_object_get(c->written, "name"), NULL, "another route has this name");
}

void conf_check_routes(struct conf_checker *k)
{
	json_t *routes = json_object_get(k->c->document, "routes");
	struct map *names = map_new();
	const struct route_config *catch_all = NULL;

	for (size_t i = 0; i < k->c->policy.n_routes; i++) {
		struct route_check c = { .k = k, .r = &k->c->policy.routes[i], .written = json_array_get(routes, i) };
		snprintf(c.index, sizeof(c.index), "%zu", i);
		check_name(&c, names);
		check_target(&c);
		check_when(&c);
		conf_check_at(k, "routes", c.index, NULL);
		if (catch_all != NULL)
			conf_check_warn(k, "is never reached: a route before it asks for nothing");
		else if (asks_for_nothing(c.r))
			catch_all = c.r;
	}
	map_free(names, NULL);
}

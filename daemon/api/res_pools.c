/* SPDX-License-Identifier: Apache-2.0
 * Pools and servers: what they are doing, and their admin state and weight.
 */
#include <stdlib.h>

#include "daemon/api/api_private.h"

#define WEIGHT_MAX 1000

/* ---- reading ---- */

static json_t *number_or_null(uint64_t n)
{
	return n == UNLIMITED ? json_null() : json_integer((json_int_t)n);
}

static json_t *caps_json(const struct server *s)
{
	if (!atomic_load(&s->caps_known))
		return json_null();
	json_t *list = json_array();
	unsigned caps = atomic_load(&s->caps);
	for (unsigned i = 0; i < SMTP_EXT_COUNT; i++)
		if (caps & 1u << i)
			json_array_append_new(list, json_string(smtp_ext_names[i]));
	return json_pack("{s:o, s:I}", "extensions", list, "size", (json_int_t)atomic_load(&s->size));
}

static json_t *check_json(const struct server_info *i)
{
	if (i->last_check_wall <= 0)
		return json_null();
	return json_pack("{s:o, s:o, s:f}", "result", json_text(i->last_check), "time", json_time(i->last_check_wall),
			 "seconds", (double)i->last_check_us / 1e6);
}

static json_t *server_json(struct api *a, const struct server_info *i)
{
	const struct server *s = i->server;
	char address[ADDR_TEXT_MAX];
	json_t *o = json_object();

	json_object_set_new(o, "state", json_string(server_state_names[i->state]));
	json_object_set_new(o, "admin", json_string(server_admin_names[i->admin]));
	json_object_set_new(o, "why", json_text(i->why));
	json_object_set_new(o, "since", json_time(i->last_change_wall));
	json_object_set_new(o, "address", json_string(addr_format(&s->addr, address)));
	json_object_set_new(o, "configured_as", json_text(s->config_name));
	json_object_set_new(o, "weight", json_integer(i->weight));
	json_object_set_new(o, "weight_override",
			    i->weight_override < 0 ? json_null() : json_integer(i->weight_override));
	json_object_set_new(o, "priority", json_integer(i->priority));
	json_object_set_new(o, "transactions", json_integer(atomic_load(&s->n_txns)));
	json_object_set_new(o, "connections", json_integer(atomic_load(&s->n_conns)));
	json_object_set_new(o, "idle", json_integer(atomic_load(&s->n_idle)));
	json_object_set_new(o, "max_connections", number_or_null(atomic_load(&s->max_connections)));
	json_object_set_new(o, "caps", caps_json(s));
	json_object_set_new(o, "last_check", check_json(i));
	json_object_set_new(o, "ejected_until", json_time(i->ejected_until_wall));
	json_object_set_new(o, "busy_until", json_time(i->busy_until_wall));
	json_object_set_new(o, "nodes", nodes_verdicts(a, s));
	return o;
}

static bool state_usable(enum server_state s)
{
	return s == SERVER_UP || s == SERVER_STARTING || s == SERVER_BUSY;
}

struct pool_walk {
	struct api *api;
	json_t *pools;
	const char *only; /* NULL = all */
	json_t *servers;  /* of the pool being walked */
	unsigned usable;
};

static void add_server(const struct server_info *info, void *arg)
{
	struct pool_walk *w = arg;

	json_object_set_new(w->servers, info->server->name, server_json(w->api, info));
	w->usable += state_usable(info->state);
}

static void add_unresolved(const char *server, const char *dns_name, const char *why, void *arg)
{
	json_object_set_new(arg, server, json_pack("{s:o, s:o}", "name", json_text(dns_name), "why", json_text(why)));
}

static void add_pool(const struct pool_config *config, unsigned waiting, void *arg)
{
	struct pool_walk *w = arg;

	if (w->only != NULL && strcmp(w->only, config->name) != 0)
		return;
	w->servers = json_object();
	w->usable = 0;
	registry_each_server(w->api->env.registry, config->name, add_server, w);
	json_t *unresolved = json_object();
	registry_each_unresolved(w->api->env.registry, config->name, add_unresolved, unresolved);
	json_t *o = json_pack("{s:s, s:i, s:I, s:o, s:o, s:o}", "balance", balance_names[config->balance], "usable",
			      (int)w->usable, "queue", (json_int_t)waiting, "queue_limit",
			      number_or_null(config->queue), "servers", w->servers, "unresolved", unresolved);
	json_object_set_new(w->pools, config->name, o);
}

json_t *pools_json(struct api *a)
{
	struct pool_walk w = { .api = a, .pools = json_object() };

	registry_each_pool(a->env.registry, add_pool, &w);
	return w.pools;
}

void res_pools_get(struct call *c)
{
	call_json(c, 200, json_pack("{s:s, s:o}", "node", c->api->env.node->node, "pools", pools_json(c->api)));
}

void res_pools_get_one(struct call *c)
{
	struct pool_walk w = { .api = c->api, .pools = json_object(), .only = c->params[0] };

	registry_each_pool(c->api->env.registry, add_pool, &w);
	json_t *pool = json_incref(json_object_get(w.pools, c->params[0]));
	json_decref(w.pools);
	if (pool == NULL)
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "there is no pool \"%.64s\"", c->params[0]);
	else
		call_json(c, 200, pool);
}

/* ---- writing ---- */

struct server_search {
	const char *name;
	bool found;
};

static void match_server(const struct server_info *info, void *arg)
{
	struct server_search *s = arg;

	if (strcmp(info->server->name, s->name) == 0 || strcmp(info->server->config_name, s->name) == 0)
		s->found = true;
}

/* By its configured name also while a look-up has not given it an address. False: answered. */
static bool server_named(struct call *c)
{
	struct server_search s = { .name = c->params[1] };
	json_t *pools = json_object_get(c->api->conf->document, "pools");
	json_t *pool = json_object_get(pools, c->params[0]);

	registry_each_server(c->api->env.registry, c->params[0], match_server, &s);
	if (s.found || json_object_get(json_object_get(pool, "servers"), c->params[1]) != NULL)
		return true;
	if (pool == NULL)
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "there is no pool \"%.64s\"", c->params[0]);
	else
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "pool %s has no server \"%.128s\"", c->params[0],
			     c->params[1]);
	return false;
}

static json_t *child(json_t *o, const char *key)
{
	json_t *found = json_object_get(o, key);

	if (found == NULL) {
		found = json_object();
		json_object_set_new(o, key, found);
	}
	return found;
}

struct setting { /* of a server, on its way to the store */
	char *pool, *server;
	const char *key; /* "admin" or "weight" */
	json_t *value;   /* as it is told */
};

static void setting_free(void *arg)
{
	struct setting *s = arg;

	free(s->pool);
	free(s->server);
	json_decref(s->value);
	free(s);
}

/* Also what a setting on this node alone had changed since. */
static void set_server(struct api *a, const char *pool, const char *server, json_t *value)
{
	const char *admin = json_string_value(value);

	if (admin == NULL) {
		int weight = json_is_integer(value) ? (int)json_integer_value(value) : -1;
		(void)!registry_set_weight(a->env.registry, pool, server, weight);
	}
	for (int i = 0; admin != NULL && i < SERVER_ADMIN_COUNT; i++)
		if (strcmp(server_admin_names[i], admin) == 0)
			(void)!registry_set_admin(a->env.registry, pool, server, (enum server_admin)i);
}

static void answer_server(struct call *c, const char *key, json_t *value, bool local)
{
	call_json(c, 200,
		  json_pack("{s:s, s:s, s:O, s:s}", "pool", c->params[0], "server", c->params[1], key, value, "scope",
			    local ? "local" : "cluster"));
}

static bool on_stored(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	struct setting *s = arg;

	UNUSED(r);
	set_server(a, s->pool, s->server, s->value);
	if (c != NULL)
		answer_server(c, s->key, s->value, false);
	return false;
}

/* Sets one key of a server's stored state; what it has without is not stored. */
static void store_server(struct call *c, const char *key, json_t *value)
{
	json_t *document = runtime_document(c->api);
	json_t *servers = child(child(child(document, "pools"), c->params[0]), "servers");
	json_t *server = child(servers, c->params[1]);
	const char *text = json_string_value(value);
	struct setting *s = xcalloc(1, sizeof(*s));
	char *comment;

	*s = (struct setting) { xstrdup(c->params[0]), xstrdup(c->params[1]), key, json_incref(value) };
	if (text != NULL)
		comment = xasprintf("%s/%s: %s", s->pool, s->server, text);
	else
		comment = xasprintf("%s/%s: weight %lld", s->pool, s->server,
				    json_is_null(value) ? -1LL : (long long)json_integer_value(value));
	if (json_is_null(value) || (text != NULL && strcmp(text, server_admin_names[SERVER_ADMIN_READY]) == 0)) {
		json_object_del(server, key);
		if (json_object_size(server) == 0)
			json_object_del(servers, c->params[1]);
	} else {
		json_object_set(server, key, value);
	}
	runtime_store(c, document, comment,
		      &(struct write_then) { .committed = on_stored, .release = setting_free, .arg = s });
	free(comment);
}

static void set_local(struct call *c, const char *key, json_t *value)
{
	set_server(c->api, c->params[0], c->params[1], value);
	runtime_note_local(c->api, c->params[0], c->params[1]);
	api_event(c->api, "server_admin",
		  json_pack("{s:s, s:s, s:O, s:o, s:b}", "pool", c->params[0], "server", c->params[1], key, value,
			    "author", json_text(c->who.author), "local", 1));
	answer_server(c, key, value, true);
}

/* May this call go on? False: answered, or it waits for its turn. */
static bool may_set(struct call *c, bool *ret_local)
{
	if (!server_named(c) || !runtime_scope(c, ret_local))
		return false;
	return (*ret_local || write_turn(c)) && !write_replayed(c);
}

static void bad_value(struct call *c, const char *path, const char *allowed)
{
	struct errors errors = { 0 };

	errors_add(&errors, path, NULL, allowed, NULL, "not one of the values it may have");
	call_problem(c, PROBLEM_INVALID, &errors, "the body does not validate");
	errors_fini(&errors);
}

void res_pools_put_state(struct call *c)
{
	int admin = -1;
	bool local;

	if (!may_set(c, &local))
		return;
	json_t *body = call_body_object(c, "admin");
	if (body == NULL)
		return;
	const char *name = json_string_value(json_object_get(body, "admin"));
	for (int i = 0; name != NULL && i < SERVER_ADMIN_COUNT; i++)
		if (strcmp(server_admin_names[i], name) == 0)
			admin = i;
	json_decref(body);
	if (admin < 0) {
		bad_value(c, "/admin", "ready, drain, maint");
		return;
	}
	json_t *value = json_string(server_admin_names[admin]);
	if (local)
		set_local(c, "admin", value);
	else
		store_server(c, "admin", value);
	json_decref(value);
}

void res_pools_put_weight(struct call *c)
{
	bool local;

	if (!may_set(c, &local))
		return;
	json_t *body = call_body_object(c, "weight");
	if (body == NULL)
		return;
	json_t *weight = json_incref(json_object_get(body, "weight"));
	json_int_t n = json_is_integer(weight) ? json_integer_value(weight) : -1;
	json_decref(body);
	if (weight == NULL || (!json_is_null(weight) && (n < 0 || n > WEIGHT_MAX)))
		bad_value(c, "/weight", "0 to 1000, or null for the configured weight");
	else if (local)
		set_local(c, "weight", weight);
	else
		store_server(c, "weight", weight);
	json_decref(weight);
}

/* SPDX-License-Identifier: Apache-2.0
 * Run-time state that survives restarts: admin states of servers and nodes, weight overrides.
 *
 * One document of its own kind in the store, beside the configuration and with no part in its revisions:
 * {"pools": {POOL: {"servers": {SERVER: {"admin": "drain", "weight": 10}}}}, "nodes": {NODE: {"admin": "drain"}},
 * "vips": {VIP:
 * {"node": NODE, "time": TIME}}} (res_vips.c).
 * What is absent is "ready" and the configured weight. The document is small, so it is read anew for each change.
 */
#include <stdlib.h>

#include "daemon/api/api_private.h"

#define WARNING "runtime_state"

enum { PRUNE_LATE_MS = 50, PRUNE_FAILED_MS = 5000 };

/* NULL: it cannot be read, which is said. */
static json_t *read_stored(struct api *a)
{
	const struct entry *e = store_last(a->env.store, ENTRY_RUNTIME);
	struct errors errors = { 0 };
	json_t *document = e == NULL ? json_object() : conf_read_json(e->document.p, e->document.n, &errors);
	char *text = NULL;

	if (document == NULL)
		text = xasprintf(
			"the run-time state at position %llu cannot be read on this node: %s; what was in force "
			"before stays",
			(unsigned long long)e->position, errors.n == 0 ? "?" : errors.list[0].detail);
	api_warn(a, WARNING, text);
	free(text);
	errors_fini(&errors);
	return document;
}

json_t *runtime_document(struct api *a)
{
	json_t *document = read_stored(a);

	if (document == NULL && a->runtime != NULL)
		document = json_deep_copy(a->runtime);
	return document != NULL ? document : json_object();
}

static bool is_readable(struct api *a)
{
	json_t *document = read_stored(a);
	bool readable = document != NULL;

	json_decref(document);
	return readable;
}

void runtime_store(struct call *c, json_t *document, const char *comment, const struct write_then *then)
{
	if (!is_readable(c->api)) {
		json_decref(document);
		if (then->release != NULL)
			then->release(then->arg);
		call_problem(c, PROBLEM_CONFLICT, NULL,
			     "this node cannot read the run-time state in force (see the warnings): use another node");
		return;
	}
	char *text = json_dumps(document, JSON_COMPACT);
	struct store_write w = { .kind = ENTRY_RUNTIME, .comment = comment, .document = str_from(text) };

	ASSERT(text != NULL);
	write_propose(c->api, c, &w, then);
	free(text);
	json_decref(document);
}

bool runtime_scope(struct call *c, bool *ret_local)
{
	const char *scope = query_get(&c->query, "scope");

	*ret_local = scope != NULL && strcmp(scope, "local") == 0;
	if (scope == NULL || *ret_local || strcmp(scope, "cluster") == 0)
		return true;
	call_problem(c, PROBLEM_BAD_REQUEST, NULL, "scope is cluster or local");
	return false;
}

/* ---- applying ---- */

static json_t *server_in(json_t *document, const char *pool, const char *server)
{
	json_t *of_pool = json_object_get(json_object_get(document, "pools"), pool);

	return json_object_get(json_object_get(of_pool, "servers"), server);
}

static void apply_server(struct api *a, const char *pool, const char *server, json_t *state)
{
	const char *admin = json_string_value(json_object_get(state, "admin"));
	json_t *weight = json_object_get(state, "weight");

	for (int i = 0; admin != NULL && i < SERVER_ADMIN_COUNT; i++)
		if (strcmp(server_admin_names[i], admin) == 0)
			(void)!registry_set_admin(a->env.registry, pool, server, (enum server_admin)i);
	if (json_is_integer(weight))
		(void)!registry_set_weight(a->env.registry, pool, server, (int)json_integer_value(weight));
}

const char *runtime_node_admin(struct api *a)
{
	json_t *document = runtime_document(a);
	json_t *node = json_object_get(json_object_get(document, "nodes"), a->env.node->node);
	const char *admin = json_string_value(json_object_get(node, "admin"));
	bool drained = admin != NULL && strcmp(admin, "drain") == 0;

	json_decref(document);
	return drained ? "drain" : "ready";
}

void runtime_apply(struct api *a)
{
	json_t *document = runtime_document(a), *pool, *server;
	const char *pool_name, *name;

	json_object_foreach(json_object_get(document, "pools"), pool_name, pool) {
		json_object_foreach(json_object_get(pool, "servers"), name, server)
			apply_server(a, pool_name, name, server);
	}
	a->runtime = document;
	if (strcmp(runtime_node_admin(a), "drain") == 0)
		status_set_drain(a, true);
}

static bool same(json_t *a, json_t *b)
{
	return a == b || (a != NULL && b != NULL && json_equal(a, b));
}

static void tell_server(struct api *a, const struct entry *e, const char *names[2], json_t *change)
{
	json_object_set_new(change, "pool", json_text(names[0]));
	json_object_set_new(change, "server", json_text(names[1]));
	json_object_set_new(change, "author", json_text(e->author));
	json_object_set_new(change, "local", json_false());
	api_event(a, "server_admin", change);
}

/* One server's state, where it differs; absent is ready, and the configured weight. */
static void change_server(struct api *a, const struct entry *e, const char *names[2], json_t *was, json_t *is)
{
	json_t *admin = json_object_get(is, "admin"), *weight = json_object_get(is, "weight");

	if (!same(json_object_get(was, "admin"), admin)) {
		if (admin == NULL)
			(void)!registry_set_admin(a->env.registry, names[0], names[1], SERVER_ADMIN_READY);
		tell_server(a, e, names,
			    json_pack("{s:o}", "admin", admin != NULL ? json_incref(admin) : json_string("ready")));
	}
	if (!same(json_object_get(was, "weight"), weight)) {
		if (weight == NULL)
			(void)!registry_set_weight(a->env.registry, names[0], names[1], -1);
		tell_server(a, e, names,
			    json_pack("{s:o}", "weight", weight != NULL ? json_incref(weight) : json_null()));
	}
	apply_server(a, names[0], names[1], is);
}

/* The servers that `was` names, or those that `is` names and `was` does not. */
static void change_servers(struct api *a, const struct entry *e, json_t *was, json_t *is, bool fresh)
{
	json_t *pool, *server;
	const char *pool_name, *name;

	json_object_foreach(json_object_get(fresh ? is : was, "pools"), pool_name, pool) {
		json_object_foreach(json_object_get(pool, "servers"), name, server) {
			json_t *before = server_in(was, pool_name, name), *after = server_in(is, pool_name, name);
			if (!same(before, after) && (before == NULL) == fresh)
				change_server(a, e, (const char *[]) { pool_name, name }, before, after);
		}
	}
}

static void change_nodes(struct api *a, const struct entry *e, json_t *was, json_t *is)
{
	const char *own = a->env.node->node;
	json_t *before = json_object_get(json_object_get(was, "nodes"), own);
	json_t *after = json_object_get(json_object_get(is, "nodes"), own);

	if (same(before, after))
		return;
	const char *admin = runtime_node_admin(a);
	status_set_drain(a, strcmp(admin, "drain") == 0);
	api_event(a, "node", json_pack("{s:s, s:s, s:o}", "name", own, "admin", admin, "author", json_text(e->author)));
}

/* What differs from the state before, and nothing else: what was set on this node alone stays. */
static void follow(struct api *a, const struct entry *e)
{
	json_t *was = a->runtime, *is = runtime_document(a);

	a->runtime = is;
	change_servers(a, e, was, is, false);
	change_servers(a, e, was, is, true);
	change_nodes(a, e, was, is);
	json_decref(was);
}

void runtime_applied(struct api *a, const struct entry *e)
{
	if (store_last(a->env.store, ENTRY_RUNTIME)->position != e->position)
		return;
	a->runtime_void = false;
	follow(a, e);
}

/* As the configuration, it stays until another one comes: a server that is drained gets no mail in between. */
void runtime_reset(struct api *a)
{
	a->runtime_void = true;
}

void runtime_config_applied(struct api *a, const struct entry *e)
{
	static const struct entry none = { .author = "cluster" };

	if (!a->runtime_void || store_last(a->env.store, ENTRY_CONFIG)->position != e->position)
		return;
	a->runtime_void = false;
	follow(a, &none);
}

json_t *api_own_runtime(struct api *a)
{
	CHECK_OBJ(a, API_MAGIC);
	const char *own = a->env.node->node;
	json_t *pools = json_object_get(a->runtime, "pools"), *nodes = json_object_get(a->runtime, "nodes");
	json_t *self = json_object_get(nodes, own), *document = json_object();

	if (json_object_size(pools) > 0)
		json_object_set_new(document, "pools", json_deep_copy(pools));
	if (self != NULL)
		json_object_set_new(document, "nodes", json_pack("{s:o}", own, json_deep_copy(self)));
	if (json_object_size(document) > 0)
		return document;
	json_decref(document);
	return NULL;
}

void runtime_restore_weights(struct api *a)
{
	json_t *document = runtime_document(a), *pool, *server;
	const char *pool_name, *name;

	json_object_foreach(json_object_get(document, "pools"), pool_name, pool) {
		json_object_foreach(json_object_get(pool, "servers"), name, server) {
			json_object_del(server, "admin");
			apply_server(a, pool_name, name, server);
		}
	}
	json_decref(document);
}

/* ---- forgetting ---- */

/* An address of a looked-up name ("mta2@10.0.0.12:25") belongs to the server its name begins with. */
static json_t *configured(json_t *document, const char *pool, const char *server)
{
	char *name = xstrndup(server, strcspn(server, "@"));
	json_t *found = server_in(document, pool, name);

	free(name);
	return found;
}

static bool weight_now_set(json_t *before, json_t *after)
{
	json_t *was = json_object_get(before, "weight"), *is = json_object_get(after, "weight");

	return json_is_integer(is) && !(was != NULL && json_equal(was, is));
}

/* The registry keeps what was set under a name, for a server that comes later; it must not know more than is stored. */
static void forget_server(struct api *a, const char *pool, const char *server)
{
	(void)!registry_set_admin(a->env.registry, pool, server, SERVER_ADMIN_READY);
	(void)!registry_set_weight(a->env.registry, pool, server, -1);
}

static bool prune_pool(struct api *a, json_t *servers, const char *pool, json_t *before, json_t *after)
{
	bool changed = false;
	const char *name;
	json_t *state;
	void *tmp;

	json_object_foreach_safe(servers, tmp, name, state) {
		json_t *was = configured(before, pool, name), *is = configured(after, pool, name);
		if (is == NULL) {
			forget_server(a, pool, name);
			json_object_del(servers, name);
			changed = true;
		} else if (json_object_get(state, "weight") != NULL && weight_now_set(was, is)) {
			json_object_del(state, "weight");
			changed = true;
		}
	}
	return changed;
}

json_t *runtime_prune(struct api *a, json_t *before, json_t *after)
{
	json_t *document = read_stored(a), *pool;
	bool changed = false;
	const char *name;

	json_object_foreach(json_object_get(document, "pools"), name, pool)
		changed |= prune_pool(a, json_object_get(pool, "servers"), name, before, after);
	if (changed)
		return document;
	json_decref(document);
	return NULL;
}

void runtime_prune_later(struct api *a, json_t *before, bool late)
{
	if (a->unpruned == NULL)
		a->unpruned = json_incref(before);
	timer_set_in(a->env.loop, &a->prune_again, late ? PRUNE_LATE_MS : PRUNE_FAILED_MS);
}

static bool on_pruned(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	UNUSED(c);
	UNUSED(r);
	UNUSED(arg);
	json_decref(a->unpruned);
	a->unpruned = NULL;
	return false;
}

static bool on_not_pruned(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	UNUSED(c);
	UNUSED(arg);
	runtime_prune_later(a, a->unpruned, r != NULL && r->result == CORE_STALE);
	return false;
}

void runtime_prune_again(void *arg)
{
	struct api *a = arg;

	CHECK_OBJ(a, API_MAGIC);
	if (a->unpruned == NULL)
		return;
	if (a->write != NULL || !list_empty(&a->waiting)) {
		runtime_prune_later(a, a->unpruned, true);
		return;
	}
	json_t *pruned = runtime_prune(a, a->unpruned, a->conf->document);
	if (pruned == NULL) {
		on_pruned(a, NULL, NULL, NULL);
		return;
	}
	char *text = json_dumps(pruned, JSON_COMPACT);
	struct store_write sw = { .kind = ENTRY_RUNTIME,
				  .author = "system",
				  .comment = "overrides that the configuration ended",
				  .document = str_from(text) };
	write_propose(a, NULL, &sw, &(struct write_then) { .committed = on_pruned, .failed = on_not_pruned });
	free(text);
	json_decref(pruned);
}

/* ---- set on this node alone ---- */

void runtime_note_local(struct api *a, const char *pool, const char *server)
{
	if (store_quorate(a->env.store))
		return;
	if (pool == NULL) {
		a->local_node = true;
		return;
	}
	if (a->local == NULL)
		a->local = json_object();
	json_t *servers = json_object_get(a->local, pool);
	if (servers == NULL) {
		servers = json_object();
		json_object_set_new(a->local, pool, servers);
	}
	json_object_set_new(servers, server, json_true());
}

void api_quorum_returned(struct api *a)
{
	const char *pool, *name;
	json_t *servers, *flag;

	CHECK_OBJ(a, API_MAGIC);
	json_object_foreach(a->local, pool, servers) {
		json_object_foreach(servers, name, flag) {
			forget_server(a, pool, name);
			apply_server(a, pool, name, server_in(a->runtime, pool, name));
			api_event(a, "server_admin",
				  json_pack("{s:s, s:s, s:b, s:s}", "pool", pool, "server", name, "local", 0, "why",
					    "quorum has returned"));
		}
	}
	if (a->local_node)
		a->env.set_node_drain(strcmp(runtime_node_admin(a), "drain") == 0, a->env.arg);
	json_decref(a->local);
	a->local = NULL;
	a->local_node = false;
}

/* SPDX-License-Identifier: Apache-2.0
 * This node and the nodes: status, readiness, drain.
 */
#include <stdlib.h>

#include "daemon/api/api_private.h"

#define WORKER_SILENCE_MAX_MS 2000

/* ---- readiness ---- */

struct usable_search {
	json_t *reasons;
	struct api *api;
	unsigned n_pools, n_usable;
};

static void count_usable(const struct pool_config *config, unsigned waiting, void *arg)
{
	struct usable_search *s = arg;
	struct pool *view = registry_view(s->api->env.registry, config->name);

	UNUSED(waiting);
	s->n_pools++;
	if (view == NULL)
		return;
	s->n_usable += pool_usable(view) > 0;
	pool_unref(view);
}

static void add_closed(struct api *a, json_t *reasons)
{
	for (size_t i = 0; i < a->conf->n_listeners; i++) {
		const struct listener_config *l = &a->conf->listeners[i];
		if (l->closed)
			json_array_append_new(reasons,
					      json_pack("s++", "listener ", l->name, " is closed: see the warnings"));
	}
}

/* From when it is wanted: addresses leave first, and sessions go on meanwhile. */
bool status_is_draining(struct api *a)
{
	return a->drain_wanted || engine_is_draining(a->env.engine);
}

json_t *status_not_ready(struct api *a)
{
	struct usable_search s = { .reasons = json_array(), .api = a };

	if (a->conf->revision == 0)
		json_array_append_new(s.reasons, json_string("no configuration is loaded"));
	if (!engine_is_listening(a->env.engine))
		json_array_append_new(s.reasons, json_string("the listeners are not open"));
	else if (engine_missing(a->env.engine) > 0)
		json_array_append_new(s.reasons, json_string(STATUS_TAKEN));
	if (status_is_draining(a))
		json_array_append_new(s.reasons, json_string("the node is draining"));
	if (engine_worker_silence_ms(a->env.engine) >= WORKER_SILENCE_MAX_MS)
		json_array_append_new(s.reasons, json_string("a worker does not answer"));
	add_closed(a, s.reasons);
	registry_each_pool(a->env.registry, count_usable, &s);
	if (s.n_usable == 0)
		json_array_append_new(s.reasons, json_string(STATUS_NO_POOL));
	return s.reasons;
}

/* ---- status ---- */

static json_t *listener_json(const struct listener_config *l)
{
	json_t *binds = json_array();

	for (size_t i = 0; i < l->n_bind; i++) {
		char text[ADDR_TEXT_MAX];
		json_array_append_new(binds, json_string(addr_format(&l->bind[i], text)));
	}
	return json_pack("{s:o, s:s, s:s, s:o, s:o}", "bind", binds, "mode", listener_mode_names[l->mode], "direction",
			 direction_names[l->direction], "hostname", json_text(l->hostname), "pool", json_text(l->pool));
}

static json_t *listeners_json(struct api *a)
{
	json_t *o = json_object();

	for (size_t i = 0; i < a->conf->n_listeners; i++)
		json_object_set_new(o, a->conf->listeners[i].name, listener_json(&a->conf->listeners[i]));
	return o;
}

/* Of each pool: how many servers, how many of them usable, how many in each state. */
static json_t *pools_summary(struct api *a)
{
	json_t *pools = pools_json(a), *pool, *summary = json_object();
	const char *name;

	json_object_foreach(pools, name, pool) {
		json_t *servers = json_object_get(pool, "servers"), *server, *states = json_object();
		const char *server_name;
		json_object_foreach(servers, server_name, server) {
			const char *state = json_string_value(json_object_get(server, "state"));
			json_int_t n = json_integer_value(json_object_get(states, state));
			json_object_set_new(states, state, json_integer(n + 1));
		}
		json_object_set_new(summary, name,
				    json_pack("{s:i, s:O, s:O, s:O, s:o}", "servers", (int)json_object_size(servers),
					      "usable", json_object_get(pool, "usable"), "unresolved",
					      json_object_get(pool, "unresolved"), "queue",
					      json_object_get(pool, "queue"), "states", states));
	}
	json_decref(pools);
	return summary;
}

static const char *node_state(struct api *a)
{
	if (status_is_draining(a))
		return "drain";
	return engine_is_listening(a->env.engine) ? "ready" : "starting";
}

json_t *status_node(struct api *a)
{
	return json_pack("{s:s, s:s, s:s, s:f, s:o, s:I, s:I, s:b}", "state", node_state(a), "admin",
			 runtime_node_admin(a), "version", POSTROAD_VERSION, "uptime",
			 clock_wall() - a->env.started_wall, "started", json_time(a->env.started_wall), "revision",
			 (json_int_t)a->conf->revision, "sessions", (json_int_t)engine_session_count(a->env.engine),
			 "this", 1);
}

static json_t *admin_json(struct api *a)
{
	json_t *listen = json_array();

	for (size_t i = 0; i < a->env.node->n_admin_listen; i++) {
		char text[ADDR_TEXT_MAX];
		json_array_append_new(listen, json_string(addr_format(&a->env.node->admin_listen[i], text)));
	}
	char *path = xasprintf("%s/admin.sock", a->env.node->run_dir);
	json_t *o = json_pack("{s:o, s:s, s:b, s:o}", "listen", listen, "socket", path, "tls", a->tls != NULL,
			      "certificate_sha256", a->tls == NULL ? json_null() : json_string(a->fingerprint));
	free(path);
	return o;
}

/* Safe only when there is nothing left to lose: another node takes the next sessions over, not those of this one. */
const char *status_stop_is_unsafe(struct api *a)
{
	bool others = report_view_other_ready(a->env.view, loop_now_ms(a->env.loop));

	if (a->drain_wanted && !engine_is_draining(a->env.engine))
		return "its virtual addresses are leaving";
	if (!engine_is_draining(a->env.engine))
		return others ? "the node is not drained" : "no other node takes over";
	if (engine_session_count(a->env.engine) > 0)
		return "sessions are open";
	return NULL;
}

void res_status_get(struct call *c)
{
	struct api *a = c->api;
	json_t *o = status_node(a), *not_ready = status_not_ready(a);
	const char *unsafe = status_stop_is_unsafe(a);

	json_object_del(o, "this");
	json_object_set_new(o, "node", json_text(a->env.node->node));
	json_object_set_new(o, "ready", json_boolean(json_array_size(not_ready) == 0));
	json_object_set_new(o, "not_ready", not_ready);
	json_object_set_new(o, "quorum", json_boolean(store_quorate(a->env.store)));
	json_object_set_new(o, "listening", json_boolean(engine_is_listening(a->env.engine)));
	json_object_set_new(o, "workers", json_integer(engine_workers(a->env.engine)));
	json_object_set_new(o, "safe_to_stop", json_boolean(unsafe == NULL));
	json_object_set_new(o, "safe_to_stop_why", json_text(unsafe));
	json_object_set_new(o, "nodes", nodes_json(a));
	json_object_set_new(o, "vips", nodes_vip_owners(a));
	if (a->env.cluster_status != NULL)
		json_object_set_new(o, "cluster", a->env.cluster_status(a->env.arg));
	json_object_set_new(o, "listeners", listeners_json(a));
	json_object_set_new(o, "pools", pools_summary(a));
	json_object_set_new(o, "admin_api", admin_json(a));
	json_object_set_new(o, "warnings", status_warnings(a));
	call_json(c, 200, o);
}

/* ---- nodes ---- */

void res_nodes_get(struct call *c)
{
	call_json(c, 200, json_pack("{s:o}", "nodes", nodes_json(c->api)));
}

static void answer_node(struct call *c, const char *name, bool drain, bool local)
{
	call_json(c, 200,
		  json_pack("{s:s, s:s, s:s}", "node", name, "admin", drain ? "drain" : "ready", "scope",
			    local ? "local" : "cluster"));
}

void status_set_drain(struct api *a, bool drain)
{
	a->drain_wanted = drain;
	a->env.set_node_drain(drain, a->env.arg);
}

static void set_node(struct api *a, const char *name, bool drain)
{
	if (strcmp(name, a->env.node->node) == 0)
		status_set_drain(a, drain);
}

struct node_setting { /* on its way to the store */
	bool drain;
	char name[];
};

static bool on_stored(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	struct node_setting *s = arg;

	UNUSED(r);
	set_node(a, s->name, s->drain);
	if (c != NULL)
		answer_node(c, s->name, s->drain, false);
	return false;
}

static void store_node(struct call *c, bool drain)
{
	json_t *document = runtime_document(c->api);
	json_t *nodes = json_object_get(document, "nodes");
	struct node_setting *s = xcalloc(1, sizeof(*s) + strlen(c->params[0]) + 1);

	s->drain = drain;
	memcpy(s->name, c->params[0], strlen(c->params[0]) + 1);
	if (nodes == NULL) {
		nodes = json_object();
		json_object_set_new(document, "nodes", nodes);
	}
	if (drain)
		json_object_set_new(nodes, s->name, json_pack("{s:s}", "admin", "drain"));
	else
		json_object_del(nodes, s->name);
	char *comment = xasprintf("node %s: %s", s->name, drain ? "drain" : "ready");
	runtime_store(c, document, comment, &(struct write_then) { .committed = on_stored, .release = free, .arg = s });
	free(comment);
}

static void set_local(struct call *c, bool drain)
{
	set_node(c->api, c->params[0], drain);
	runtime_note_local(c->api, NULL, NULL);
	api_event(c->api, "node",
		  json_pack("{s:s, s:s, s:o}", "name", c->params[0], "admin", drain ? "drain" : "ready", "author",
			    json_text(c->who.author)));
	answer_node(c, c->params[0], drain, true);
}

struct other_search {
	const char *name;
	unsigned n_others, n_ready;
};

static void count_other(const struct report_row *row, void *arg)
{
	struct other_search *s = arg;

	if (!row->member || strcmp(row->name, s->name) == 0)
		return;
	s->n_others++;
	s->n_ready += row->state < REPORT_SAID && row->report->ready && !row->report->voter_only;
}

/* Whether there are others, and none of them would take what comes. False: answered. */
static bool drain_is_fine(struct call *c, bool drain)
{
	struct other_search s = { .name = c->params[0] };

	report_view_each(c->api->env.view, loop_now_ms(c->api->env.loop), count_other, &s);
	if (!drain || s.n_others == 0 || s.n_ready > 0 || call_flag(c, "force"))
		return true;
	call_problem(c, PROBLEM_NOT_NOW, NULL,
		     "no other node is ready: nobody would take mail. ?force=true drains it nevertheless");
	return false;
}

void res_nodes_put_state(struct call *c)
{
	struct api *a = c->api;
	bool local, own = strcmp(c->params[0], a->env.node->node) == 0;

	if (!own && !nodes_have(a, c->params[0])) {
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "there is no node \"%.64s\"", c->params[0]);
		return;
	}
	if (!runtime_scope(c, &local))
		return;
	if (local && !own) {
		call_problem(c, PROBLEM_BAD_REQUEST, NULL, "?scope=local sets the state of the node that is asked");
		return;
	}
	if ((!local && !write_turn(c)) || write_replayed(c))
		return;
	json_t *body = call_body_object(c, "admin");
	if (body == NULL)
		return;
	const char *admin = json_string_value(json_object_get(body, "admin"));
	bool drain = admin != NULL && strcmp(admin, "drain") == 0, ready = admin != NULL && strcmp(admin, "ready") == 0;
	json_decref(body);
	if (!drain && !ready) {
		struct errors errors = { 0 };
		errors_add(&errors, "/admin", NULL, "ready, drain", NULL, "not one of the values it may have");
		call_problem(c, PROBLEM_INVALID, &errors, "the body does not validate");
		errors_fini(&errors);
		return;
	}
	if (!drain_is_fine(c, drain))
		return;
	if (local)
		set_local(c, drain);
	else
		store_node(c, drain);
}

/* SPDX-License-Identifier: Apache-2.0
 * What this node says of itself to the others, and what it shows of them.
 *
 * The hard thing is to show of others what they said and nothing more: texts and numbers are theirs, of the moment
 * heard_ago tells; hashes of configurations are compared and never shown, as they would confirm guesses of secrets.
 */
#include <stdlib.h>

#include "daemon/api/api_private.h"

/* ---- showing ---- */

static json_t *vips_of(const struct node_report *r)
{
	json_t *vips = json_object();

	for (size_t i = 0; i < r->n_vips; i++) {
		const struct report_vip *v = &r->vips[i];
		const char *why = v->reason[0] != '\0' ? v->reason : NULL;
		json_object_set_new(vips, v->name,
				    json_pack("{s:b, s:b, s:s, s:i, s:I, s:o}", "holds", v->kernel, "may_hold", v->up,
					      "state", report_vip_state_names[v->state], "priority", v->priority,
					      "since_ago", (json_int_t)v->since_s, "why", json_text(why)));
	}
	return vips;
}

struct peer_search {
	uint32_t id;
	const char *name;
};

static void match_peer(const struct report_row *row, void *arg)
{
	struct peer_search *s = arg;

	if (row->id == s->id)
		s->name = row->name;
}

static json_t *links_of(struct api *a, const struct node_report *r)
{
	json_t *links = json_array();

	for (size_t i = 0; i < r->n_links; i++) {
		const struct report_link *l = &r->links[i];
		struct peer_search to = { .id = l->peer };
		report_view_each(a->env.view, loop_now_ms(a->env.loop), match_peer, &to);
		json_array_append_new(links, json_pack("{s:o, s:i, s:b, s:f, s:I}", "node", json_text(to.name), "link",
						       l->link, "up", l->up, "latency", (double)l->latency_us / 1e6,
						       "downs", (json_int_t)l->downs));
	}
	return links;
}

static json_t *reasons_of(const struct node_report *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->n_reasons; i++)
		json_array_append_new(list, json_text(r->reasons[i]));
	return list;
}

/* What another node said of itself, under the keys of status_node(). */
static json_t *said_json(const struct report_row *row)
{
	const struct node_report *r = row->report;
	double started = (double)r->started_ms / 1000, now = (double)(r->wall_ms + (uint64_t)row->age_ms) / 1000;

	return json_pack("{s:s, s:s, s:o, s:f, s:o, s:I, s:I, s:b}", "state", report_state_names[row->state], "admin",
			 r->admin_drain ? "drain" : "ready", "version", json_text(r->version), "uptime",
			 now > started ? now - started : 0.0, "started", json_time(started), "revision",
			 (json_int_t)r->revision, "sessions", (json_int_t)r->sessions, "this", 0);
}

static void add_shared(struct api *a, json_t *o, const struct report_row *row)
{
	const struct node_report *r = row->report;

	json_object_set_new(o, "ready", json_boolean(r->ready));
	json_object_set_new(o, "not_ready", reasons_of(r));
	json_object_set_new(o, "overloaded", json_boolean(r->overloaded));
	json_object_set_new(o, "voter_only", json_boolean(r->voter_only));
	json_object_set_new(o, "transactions", json_integer((json_int_t)r->transactions));
	json_object_set_new(o, "safe_to_stop", json_boolean(r->safe_to_stop));
	json_object_set_new(o, "heard_ago", json_real((double)row->age_ms / 1000));
	json_object_set_new(o, "clock_ahead", json_real(row->skew_s));
	json_object_set_new(o, "vips", vips_of(r));
	json_object_set_new(o, "links", links_of(a, r));
}

/* Of itself a node need not rely on what it said a second ago. */
static void add_own(struct api *a, json_t *o)
{
	json_t *not_ready = status_not_ready(a);

	json_object_set_new(o, "ready", json_boolean(json_array_size(not_ready) == 0));
	json_object_set_new(o, "not_ready", not_ready);
	json_object_set_new(o, "safe_to_stop", json_boolean(status_stop_is_unsafe(a) == NULL));
}

struct nodes_walk {
	struct api *api;
	json_t *nodes;
};

static void add_node(const struct report_row *row, void *arg)
{
	struct nodes_walk *w = arg;
	json_t *o;

	/* Fresh ones come first: a name that was given on belongs to its new bearer. */
	if (json_object_get(w->nodes, row->name) != NULL)
		return;
	if (row->own)
		o = status_node(w->api);
	else if (row->report != NULL)
		o = said_json(row);
	else
		o = json_pack("{s:s, s:b, s:n}", "state", report_state_names[row->state], "this", 0, "heard_ago");
	if (row->report != NULL)
		add_shared(w->api, o, row);
	if (row->own)
		add_own(w->api, o);
	json_object_set_new(w->nodes, row->name, o);
}

json_t *nodes_json(struct api *a)
{
	struct nodes_walk w = { .api = a, .nodes = json_object() };

	report_view_each(a->env.view, loop_now_ms(a->env.loop), add_node, &w);
	return w.nodes;
}

static void add_owners(const struct report_row *row, void *arg)
{
	json_t *vips = arg;

	for (size_t i = 0; row->report != NULL && row->state < REPORT_SAID && i < row->report->n_vips; i++) {
		const struct report_vip *v = &row->report->vips[i];
		json_t *owners = json_object_get(vips, v->name);
		if (owners == NULL) {
			owners = json_array();
			json_object_set_new(vips, v->name, owners);
		}
		if (v->kernel)
			json_array_append_new(owners, json_text(row->name));
	}
}

json_t *nodes_vip_owners(struct api *a)
{
	json_t *vips = json_object();

	report_view_each(a->env.view, loop_now_ms(a->env.loop), add_owners, vips);
	return vips;
}

static void add_verdict(const char *node, enum report_verdict_state state, unsigned weight, void *arg)
{
	UNUSED(weight);
	json_object_set_new(arg, node, json_string(share_verdict_name(state)));
}

json_t *nodes_verdicts(struct api *a, const struct server *s)
{
	json_t *o = json_object();

	report_view_verdicts(a->env.view, report_server_key(s->pool, s->name), loop_now_ms(a->env.loop), add_verdict,
			     o);
	return o;
}

bool nodes_have(struct api *a, const char *name)
{
	struct report_row row;

	return report_view_find(a->env.view, name, loop_now_ms(a->env.loop), &row) && row.member;
}

/* ---- saying ---- */

/* Mail that comes here goes on, but worse than elsewhere. */
static bool is_soft(json_t *reasons)
{
	for (size_t i = 0; i < json_array_size(reasons); i++) {
		const char *why = json_string_value(json_array_get(reasons, i));
		if (strcmp(why, STATUS_NO_POOL) != 0 && strcmp(why, STATUS_TAKEN) != 0)
			return false;
	}
	return true;
}

/* Also asked for four times a second, for the virtual addresses. */
static const char *overloaded(struct api *a)
{
	struct engine_load load;

	engine_load(a->env.engine, &load);
	const char *why = overload_look(&a->overload, &load, loop_now_ms(a->env.loop));
	api_warn(a, "overloaded", why);
	return why;
}

static void fill_state(struct api *a, struct node_report *r)
{
	json_t *reasons = status_not_ready(a);
	size_t n = json_array_size(reasons);

	r->state = !engine_is_listening(a->env.engine) ? REPORT_STARTING : REPORT_READY;
	if (status_is_draining(a))
		r->state = REPORT_DRAIN;
	r->admin_drain = strcmp(runtime_node_admin(a), "drain") == 0;
	r->ready = n == 0;
	for (r->n_reasons = 0; r->n_reasons < n && r->n_reasons < REPORT_REASONS_MAX; r->n_reasons++)
		report_text(r->reasons[r->n_reasons], sizeof(r->reasons[0]),
			    json_string_value(json_array_get(reasons, r->n_reasons)));
	r->soft = n > 0 && is_soft(reasons);
	r->sessions = engine_session_count(a->env.engine);
	r->overloaded = overloaded(a) != NULL;
	r->safe_to_stop = status_stop_is_unsafe(a) == NULL;
	json_decref(reasons);
}

static void fill_config(struct api *a, struct node_report *r)
{
	const struct entry *e = store_last(a->env.store, ENTRY_CONFIG);
	const struct errors *kept = &a->conf->kept;

	r->revision = a->conf->revision;
	r->has_hash = e != NULL && e->revision == r->revision;
	if (r->has_hash)
		memcpy(r->hash, e->hash, sizeof(r->hash));
	bool unread = r->revision != store_revision_number(a->env.store);
	size_t missing = engine_missing(a->env.engine), n = kept->n + kept->dropped + missing + unread;
	r->n_unapplied = (uint16_t)(n < UINT16_MAX ? n : UINT16_MAX);
	if (unread) {
		report_text(r->unapplied, sizeof(r->unapplied), "a revision that cannot be read there");
	} else if (missing > 0) {
		report_text(r->unapplied, sizeof(r->unapplied), "an address of a listener is taken there");
	} else if (kept->n > 0) {
		char *text = xasprintf("%s: %s", kept->list[0].path, kept->list[0].detail);
		report_text(r->unapplied, sizeof(r->unapplied), text);
		free(text);
	}
}

void api_report(struct api *a, struct node_report *r)
{
	CHECK_OBJ(a, API_MAGIC);
	if (a->conf == NULL)
		return;
	fill_state(a, r);
	fill_config(a, r);
}

void api_node_changed(struct api *a, const struct report_row *row, enum report_state before)
{
	CHECK_OBJ(a, API_MAGIC);
	api_event(a, "node",
		  json_pack("{s:s, s:s, s:s}", "name", row->name, "state", report_state_names[row->state], "before",
			    report_state_names[before]));
}

/* ---- counting ---- */

static double read_count(void *arg)
{
	const struct node_series *s = arg;

	return report_view_count(s->api->env.view, s->state, loop_now_ms(s->api->env.loop));
}

void nodes_metrics_create(struct api *a)
{
	for (unsigned i = 0; i < REPORT_STATE_COUNT; i++) {
		struct node_series *s = &a->node_series[i];
		const char *const values[] = { report_state_names[i] };
		*s = (struct node_series) { a, (enum report_state)i, metrics_series(METRIC_CLUSTER_NODES, values) };
		metrics_read_with(s->id, read_count, s);
	}
}

void nodes_metrics_retire(struct api *a)
{
	for (unsigned i = 0; i < REPORT_STATE_COUNT; i++)
		metrics_retire(a->node_series[i].id);
}

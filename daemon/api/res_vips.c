/* SPDX-License-Identifier: Apache-2.0
 * Virtual addresses: who holds what, since when and why; and moving them by hand.
 *
 * A move is a word in the run-time state, {"vips": {VIP: {"node", "time"}}}: so all nodes act on the same one. The time
 * makes two words to the same node two.
 */
#include <net/if.h>
#include <stdlib.h>

#include "daemon/api/api_private.h"
#include "daemon/api/vip_view.h"

#define NOT_HEARD "it is not heard any more"

static int64_t now_ms(const struct api *a)
{
	return loop_now_ms(a->env.loop);
}

static const struct vip_config *find_vip(const struct api *a, const char *name)
{
	for (size_t i = 0; i < a->conf->n_vips; i++)
		if (strcmp(a->conf->vips[i].name, name) == 0)
			return &a->conf->vips[i];
	return NULL;
}

/* ---- showing ---- */

static json_t *said_json(const struct report_row *row, const struct report_vip *v)
{
	bool fresh = row->state < REPORT_SAID;
	const char *why = fresh ? v->reason : NOT_HEARD;

	return json_pack("{s:b, s:b, s:s, s:i, s:f, s:o, s:f, s:b}", "holds", v->kernel, "may_hold", v->up, "state",
			 report_vip_state_names[v->state], "priority", v->priority, "since_ago", (double)v->since_s,
			 "why", json_text(why[0] != '\0' ? why : NULL), "heard_ago", (double)row->age_ms / 1000,
			 "fresh", fresh);
}

/* Of a node that says nothing of the VIP; row NULL = it is no member. */
static const char *why_silent(const struct report_row *row)
{
	if (row == NULL)
		return "it is no member";
	if (row->report == NULL)
		return "it was not heard yet";
	if (row->report->voter_only)
		return "it only votes";
	return "it has no part in it: it lacks the interface, or the configuration";
}

static json_t *silent_json(const struct report_row *row)
{
	const char *why = why_silent(row);

	return json_pack("{s:b, s:b, s:s, s:s, s:b}", "holds", 0, "may_hold", 0, "state",
			 report_vip_state_names[REPORT_VIP_UNKNOWN], "why", why, "fresh", 0);
}

static json_t *nodes_of(struct api *a, const struct vip_config *c, json_t *holders)
{
	json_t *nodes = json_object();
	struct report_row row;

	for (size_t i = 0; i < c->nodes.n; i++) {
		const char *name = c->nodes.v[i];
		bool known = report_view_find(a->env.view, name, now_ms(a), &row) && row.member;
		const struct report_vip *v = known ? vip_view_said(&row, c->name) : NULL;
		json_object_set_new(nodes, name, v != NULL ? said_json(&row, v) : silent_json(known ? &row : NULL));
		if (v != NULL && v->kernel && row.state < REPORT_SAID)
			json_array_append_new(holders, json_string(name));
	}
	return nodes;
}

/* Why the one who holds it is that one. Caller frees. */
static char *why_there(const struct vip_config *c, json_t *nodes, const char *holder, const char *pin)
{
	if (holder == NULL)
		return xstrdup("no node that is heard has it");
	if (strcmp(c->nodes.v[0], holder) == 0)
		return xstrdup("it is the first in order");
	if (pin != NULL && strcmp(pin, holder) == 0)
		return xstrdup("a move by hand made it the first, until `vip rebalance`");
	const char *better = pin != NULL && json_object_get(nodes, pin) != NULL ? pin : c->nodes.v[0];
	json_t *said = json_object_get(nodes, better);
	const char *why = json_string_value(json_object_get(said, "why"));
	bool could = json_is_true(json_object_get(said, "may_hold")) && json_is_true(json_object_get(said, "fresh"));
	if (could && !c->failback)
		return xasprintf("%s could have it, and failback is off", better);
	return xasprintf("%s does not have it%s%s", better, why != NULL ? ": " : "", why != NULL ? why : "");
}

static json_t *addresses_of(const struct vip_config *c)
{
	json_t *list = json_array();
	char ip[ADDR_TEXT_MAX], text[ADDR_TEXT_MAX + 8];

	for (size_t i = 0; i < c->n_addresses; i++) {
		snprintf(text, sizeof(text), "%s/%u", addr_format_ip(&c->addresses[i].ip, ip), c->addresses[i].bits);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

static json_t *vip_json(struct api *a, const struct vip_config *c, const json_t *runtime)
{
	json_t *holders = json_array(), *nodes = nodes_of(a, c, holders), *order = json_array();
	const char *holder = json_string_value(json_array_get(holders, 0)), *pin = vip_view_pin(runtime, c->name);
	json_t *said = json_object_get(nodes, holder != NULL ? holder : "");
	char *why = why_there(c, nodes, holder, pin);
	double ago = json_number_value(json_object_get(said, "since_ago")) +
		     json_number_value(json_object_get(said, "heard_ago"));

	for (size_t i = 0; i < c->nodes.n; i++)
		json_array_append_new(order, json_string(c->nodes.v[i]));
	json_t *o = json_pack("{s:o, s:o, s:i, s:f, s:b, s:o, s:o, s:o, s:s, s:o, s:o}", "addresses", addresses_of(c),
			      "interface", json_text(c->interface), "vrid", (int)c->vrid, "advert",
			      (double)c->advert_ms / 1000, "failback", c->failback, "order", order, "holders", holders,
			      "since", holder != NULL ? json_time(clock_wall() - ago) : json_null(), "why", why,
			      "moved_to", json_text(pin), "nodes", nodes);
	free(why);
	return o;
}

void res_vips_get(struct call *c)
{
	struct api *a = c->api;
	json_t *runtime = runtime_document(a), *vips = json_object();

	for (size_t i = 0; i < a->conf->n_vips; i++)
		json_object_set_new(vips, a->conf->vips[i].name, vip_json(a, &a->conf->vips[i], runtime));
	json_decref(runtime);
	call_json(c, 200, json_pack("{s:s, s:o}", "node", a->env.node->node, "vips", vips));
}

/* ---- what a configuration says that is not so ---- */

static void add_warning(json_t *list, const struct vip_config *c, const char *key, char *stolen)
{
	char *path = xasprintf("/vips/%s/%s", c->name, key);

	json_array_append_new(list, json_pack("{s:o, s:o}", "path", json_text(path), "detail", json_text(stolen)));
	free(path);
	free(stolen);
}

/* No mistakes: a node may be about to join, and an interface to come. */
void vips_warnings(struct api *a, const struct conf *conf, json_t *list)
{
	const char *self = a->env.node->node;

	for (size_t i = 0; i < conf->n_vips; i++) {
		const struct vip_config *c = &conf->vips[i];
		for (size_t k = 0; k < c->nodes.n; k++) {
			const char *name = c->nodes.v[k];
			bool own = strcmp(name, self) == 0;
			if (!own && !nodes_have(a, name))
				add_warning(list, c, "nodes", xasprintf("%s is no member of this cluster now", name));
			if (own && c->interface != NULL && if_nametoindex(c->interface) == 0)
				add_warning(list, c, "interface",
					    xasprintf("this node, %s, has no interface %s now", name, c->interface));
		}
	}
}

/* ---- moving ---- */

static bool may_hold_it(const struct vip_config *c, const char *node)
{
	for (size_t i = 0; i < c->nodes.n; i++)
		if (strcmp(c->nodes.v[i], node) == 0)
			return true;
	return false;
}

static const char *holder_of(struct api *a, const struct vip_config *c)
{
	struct report_row row;

	for (size_t i = 0; i < c->nodes.n; i++) {
		bool known = report_view_find(a->env.view, c->nodes.v[i], now_ms(a), &row) && row.member;
		const struct report_vip *v = known && row.state < REPORT_SAID ? vip_view_said(&row, c->name) : NULL;
		if (v != NULL && v->kernel)
			return c->nodes.v[i];
	}
	return NULL;
}

static bool could(struct api *a, const struct vip_config *c, const char *node)
{
	struct report_row row;

	return report_view_find(a->env.view, node, now_ms(a), &row) && vip_view_could(&row, c->name);
}

static void add_move(struct api *a, json_t *moves, const struct vip_config *c, const char *to)
{
	json_object_set_new(moves, c->name, json_pack("{s:o, s:s}", "from", json_text(holder_of(a, c)), "to", to));
}

static bool on_moved(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	json_t *moves = arg, *move;
	const char *vip;

	UNUSED(r);
	json_object_foreach(moves, vip, move)
		api_event(a, "vip_move",
			  json_pack("{s:s, s:O, s:O}", "name", vip, "from", json_object_get(move, "from"), "to",
				    json_object_get(move, "to")));
	if (c == NULL)
		return false;
	call_json(c, 200, json_pack("{s:o}", "moves", moves));
	return true;
}

static void release_moves(void *moves)
{
	json_decref(moves);
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

/* What is said of VIPs that are gone goes with the next word. */
static void prune(const struct api *a, json_t *words)
{
	const char *vip;
	json_t *word;
	void *tmp;

	json_object_foreach_safe(words, tmp, vip, word)
		if (find_vip(a, vip) == NULL)
			json_object_del(words, vip);
}

/* What was moved by hand and is where it belongs: no word is needed there. Returns how many. */
static size_t drop_words(json_t *words, json_t *moves)
{
	const char *vip;
	json_t *word;
	void *tmp;
	size_t n = 0;

	json_object_foreach_safe(words, tmp, vip, word)
		if (json_object_get(moves, vip) == NULL)
			n += json_object_del(words, vip) == 0;
	return n;
}

/* moves is stolen. */
static void store_moves(struct call *c, json_t *moves, bool rebalance)
{
	json_t *document = runtime_document(c->api), *words = child(document, "vips"), *move;
	struct sbuf comment = { 0 };
	char time[32];
	const char *vip;

	prune(c->api, words);
	if (rebalance && drop_words(words, moves) > 0)
		sbuf_printf(&comment, "moves by hand are over");
	clock_rfc3339(clock_wall(), time);
	json_object_foreach(moves, vip, move) {
		const char *to = json_string_value(json_object_get(move, "to"));
		json_object_set_new(words, vip, json_pack("{s:s, s:s}", "node", to, "time", time));
		if (comment.n < 200)
			sbuf_printf(&comment, "%svip %s: to %s", comment.n > 0 ? ", " : "", vip, to);
	}
	runtime_store(c, document, comment.p,
		      &(struct write_then) { .committed = on_moved, .release = release_moves, .arg = moves });
	sbuf_fini(&comment);
}

static void answer_dry(struct call *c, json_t *moves)
{
	call_json(c, 200, json_pack("{s:b, s:o}", "dry_run", 1, "moves", moves));
}

static void bad_node(struct call *c, const struct vip_config *v)
{
	struct errors errors = { 0 };
	struct sbuf allowed = { 0 };

	for (size_t i = 0; i < v->nodes.n; i++)
		sbuf_printf(&allowed, "%s%s", i > 0 ? ", " : "", v->nodes.v[i]);
	errors_add(&errors, "/node", NULL, allowed.p, NULL, "not one of the nodes that may hold it");
	call_problem(c, PROBLEM_INVALID, &errors, "the body does not validate");
	errors_fini(&errors);
	sbuf_fini(&allowed);
}

static bool flag_or_problem(struct call *c, bool *ret_dry)
{
	*ret_dry = call_flag(c, "dry_run");
	return *ret_dry || (write_turn(c) && !write_replayed(c));
}

/* Why it could not; the reason that the node itself says is the best one. Valid as row is. */
static const char *why_it_cannot(const struct call *c, const struct vip_config *v, const char *node,
				 struct report_row *row)
{
	const struct api *a = c->api;
	bool known = report_view_find(a->env.view, node, now_ms(a), row) && row->member;
	const struct report_vip *said = known ? vip_view_said(row, v->name) : NULL;

	if (said == NULL)
		return why_silent(known ? row : NULL);
	if (row->state >= REPORT_SAID)
		return NOT_HEARD;
	if (said->reason[0] != '\0')
		return said->reason;
	if (row->report->admin_drain || row->state == REPORT_DRAIN || row->state == REPORT_STOPPING)
		return "it is being drained";
	return "keepalived there has not taken it up yet";
}

static void move_to(struct call *c, const struct vip_config *v, const char *node, bool dry)
{
	struct report_row row;

	if (node == NULL || !may_hold_it(v, node)) {
		bad_node(c, v);
		return;
	}
	if (!could(c->api, v, node)) {
		call_problem(c, PROBLEM_NOT_NOW, NULL, "node %s cannot have it now: %s", node,
			     why_it_cannot(c, v, node, &row));
		return;
	}
	json_t *moves = json_object();
	add_move(c->api, moves, v, node);
	if (dry)
		answer_dry(c, moves);
	else
		store_moves(c, moves, false);
}

void res_vips_post_move(struct call *c)
{
	const struct vip_config *v = find_vip(c->api, c->params[0]);
	bool dry;

	if (v == NULL) {
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "there is no virtual address \"%.64s\"", c->params[0]);
		return;
	}
	if (!flag_or_problem(c, &dry))
		return;
	json_t *body = call_body_object(c, "node");
	if (body == NULL)
		return;
	move_to(c, v, json_string_value(json_object_get(body, "node")), dry);
	json_decref(body);
}

/* Where it belongs: the first in order who could have it. NULL = it is there, or nobody could. */
static const char *belongs(struct api *a, const struct vip_config *c)
{
	const char *holder = holder_of(a, c);

	for (size_t i = 0; i < c->nodes.n; i++) {
		const char *node = c->nodes.v[i];
		if (holder != NULL && strcmp(node, holder) == 0)
			return NULL;
		if (could(a, c, node))
			return node;
	}
	return NULL;
}

static bool is_moved_by_hand(struct api *a)
{
	json_t *runtime = runtime_document(a);
	bool any = false;

	for (size_t i = 0; i < a->conf->n_vips; i++)
		any = any || vip_view_pin(runtime, a->conf->vips[i].name) != NULL;
	json_decref(runtime);
	return any;
}

void res_vips_post_rebalance(struct call *c)
{
	struct api *a = c->api;
	json_t *moves;
	bool dry;

	if (!flag_or_problem(c, &dry))
		return;
	moves = json_object();
	for (size_t i = 0; i < a->conf->n_vips; i++) {
		const char *to = belongs(a, &a->conf->vips[i]);
		if (to != NULL)
			add_move(a, moves, &a->conf->vips[i], to);
	}
	if (dry)
		answer_dry(c, moves);
	else if (json_object_size(moves) == 0 && !is_moved_by_hand(a))
		call_json(c, 200, json_pack("{s:o}", "moves", moves));
	else
		store_moves(c, moves, true);
}

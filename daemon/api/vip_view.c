/* SPDX-License-Identifier: Apache-2.0
 * From reports and configuration to the values that cluster/vip decides by.
 *
 * The hard thing is what is not known: a node that was never heard has no address to speak to, and one whose keepalived
 * does not know of this node would not listen to it.
 */
#include "daemon/api/vip_view.h"

#include <stdio.h>

const struct report_vip *vip_view_said(const struct report_row *row, const char *vip)
{
	for (size_t i = 0; row->report != NULL && i < row->report->n_vips; i++)
		if (strcmp(row->report->vips[i].name, vip) == 0)
			return &row->report->vips[i];
	return NULL;
}

static bool is_draining(const struct report_row *row)
{
	return row->report->admin_drain || row->state == REPORT_DRAIN || row->state == REPORT_STOPPING;
}

bool vip_view_could(const struct report_row *row, const char *vip)
{
	const struct report_vip *said = vip_view_said(row, vip);

	return said != NULL && row->member && row->state < REPORT_SAID && !is_draining(row) && said->up &&
	       (said->state == REPORT_VIP_BACKUP || said->state == REPORT_VIP_MASTER);
}

const char *vip_view_pin(const json_t *runtime, const char *vip)
{
	const json_t *pins = json_object_get(runtime, "vips");

	return json_string_value(json_object_get(json_object_get(pins, vip), "node"));
}

/* ---- nodes ---- */

static bool is_named(const struct vip_config *c, const char *node)
{
	for (size_t i = 0; i < c->nodes.n; i++)
		if (strcmp(c->nodes.v[i], node) == 0)
			return true;
	return false;
}

struct nodes_walk {
	const struct vip_config *config;
	struct vip_nodes *nodes;
	uint32_t self;
	bool complete;
};

static void find_self(const struct report_row *row, void *arg)
{
	struct nodes_walk *w = arg;

	if (row->own)
		w->self = row->id;
}

static void fill_said(const struct report_row *row, const struct report_vip *said, uint32_t self, struct vip_node *n)
{
	const struct node_report *r = row->report;
	bool fresh = row->state < REPORT_SAID;

	n->age_ms = fresh ? row->age_ms : INT64_MAX;
	n->fault = r->ready || r->soft ? VIP_WELL : VIP_LISTENERS;
	n->able = r->ready && !r->overloaded;
	n->draining = fresh && is_draining(row);
	n->generation = 1;
	if (said == NULL)
		return;
	n->address4 = said->source4;
	n->address6 = said->source6;
	n->keepalived = said->peers != 0;
	/* One whose keepalived runs with the VIP, and without this node. */
	if (said->peers != 0 && (said->peers & report_peer_bit(self)) == 0)
		n->generation = 0;
}

/* Of the family of one of the VIP's addresses: the other is of no use. */
static bool has_useful_address(const struct vip_config *c, const struct vip_node *n)
{
	for (size_t i = 0; i < c->n_addresses; i++) {
		sa_family_t family = c->addresses[i].ip.sa.sa_family;
		if ((family == AF_INET6 ? n->address6 : n->address4).sa.sa_family == family)
			return true;
	}
	return false;
}

static void add_node(const struct report_row *row, void *arg)
{
	struct nodes_walk *w = arg;
	const struct report_vip *said = vip_view_said(row, w->config->name);
	struct vip_node n = { .id = row->id, .age_ms = INT64_MAX };

	/* Who only votes never holds one, whatever the configuration says. */
	bool votes_only = row->report != NULL && row->report->voter_only;
	if (!row->member || votes_only || w->nodes->n == HA_NODES_MAX)
		return;
	snprintf(n.name, sizeof(n.name), "%s", row->name);
	if (row->report != NULL)
		fill_said(row, said, w->self, &n);
	if (is_named(w->config, row->name) && !row->own && !has_useful_address(w->config, &n)) {
		w->complete = w->complete && row->report != NULL && row->report->n_vips > 0;
		w->nodes->unheard += row->report == NULL;
		return;
	}
	w->nodes->list[w->nodes->n++] = n;
}

void vip_view_nodes(const struct report_view *view, int64_t now_ms, const struct vip_config *c, struct vip_nodes *ret,
		    bool *ret_complete)
{
	struct nodes_walk w = { .config = c, .nodes = ret, .complete = true };

	memset(ret, 0, sizeof(*ret));
	report_view_each(view, now_ms, find_self, &w);
	ret->self = w.self;
	report_view_each(view, now_ms, add_node, &w);
	*ret_complete = w.complete;
}

/* ---- the VIP ---- */

struct holder_walk {
	const char *vip;
	uint32_t holder;
	bool own;
};

static void find_holder(const struct report_row *row, void *arg)
{
	struct holder_walk *w = arg;
	const struct report_vip *said = vip_view_said(row, w->vip);

	if (said == NULL || !said->kernel || row->state >= REPORT_SAID || w->own)
		return;
	w->own = row->own;
	if (row->own || w->holder == 0)
		w->holder = row->id;
}

void vip_view_vip(const struct report_view *view, int64_t now_ms, const struct vip_config *c, struct vip *ret)
{
	struct holder_walk w = { .vip = c->name };
	struct report_row row;

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->name, sizeof(ret->name), "%s", c->name);
	if (c->interface != NULL)
		snprintf(ret->interface, sizeof(ret->interface), "%s", c->interface);
	ret->vrid = (uint8_t)c->vrid;
	ret->advert_ms = (uint16_t)c->advert_ms;
	ret->failback = c->failback;
	ret->since_generation = 1;
	for (size_t i = 0; i < c->n_addresses && i < HA_ADDRESSES_MAX; i++) {
		struct ha_address *a = &ret->addresses[ret->n_addresses++];
		a->ip = c->addresses[i].ip;
		a->bits = (uint8_t)c->addresses[i].bits;
	}
	for (size_t i = 0; i < c->nodes.n && ret->n_order < HA_VIP_NODES_MAX; i++)
		if (report_view_find(view, c->nodes.v[i], now_ms, &row) && row.member)
			ret->order[ret->n_order++] = row.id;
	report_view_each(view, now_ms, find_holder, &w);
	ret->holder = w.holder;
}

/* SPDX-License-Identifier: Apache-2.0
 * What is heard from postroad-ha about VIPs, and what it is told and asked: the table, each VIP's health, probes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/cluster/vips_private.h"

/* ---- what postroad-ha says ---- */

static void tell_change(struct vips_item *i)
{
	metrics_set(i->m_owner, i->holds);
	api_event(i->vips->env.api, "vip",
		  json_pack("{s:s, s:s, s:s, s:b, s:s}", "name", i->name, "node", i->vips->node->node, "state",
			    vips_state_name(i->said), "holds", i->holds, "why", i->verdict.reason));
}

bool ha_hear(struct vips_item *i, const struct ha_report *r)
{
	const struct ha_report_vip *said = NULL;
	bool holds_before = i->holds;
	enum ha_state before = i->said;

	for (size_t n = 0; r != NULL && n < r->n; n++)
		if (strcmp(r->vips[n].name, i->name) == 0)
			said = &r->vips[n];
	i->holds = said != NULL && said->present > 0;
	i->cut = i->cut || (said != NULL && !said->up);
	i->said = said != NULL ? said->state : HA_STATE_UNKNOWN;
	i->since_ms = said != NULL ? said->since_ms : 0;
	i->priority = said != NULL ? said->priority : 0;
	if (said == NULL || !r->keepalived)
		i->peers = 0;
	else if (r->generation == i->vips->generation)
		i->peers = i->told_peers;
	if (i->said != before)
		metrics_add(i->m_to[i->said], 1);
	if (i->said != before || i->holds != holds_before)
		tell_change(i);
	return i->said != before || i->holds != holds_before;
}

/* ---- what it is told ---- */

static uint64_t peers_of(const struct vips_item *i)
{
	uint64_t peers = 0;

	for (size_t n = 0; n < i->nodes.n; n++)
		if (vip_is_peer(&i->nodes, &i->vip, i->nodes.list[n].id))
			peers |= report_peer_bit(i->nodes.list[n].id);
	return peers;
}

static void warn_item(struct vips_item *i, const char *why)
{
	char *key = xasprintf("vip/%s", i->name);

	snprintf(i->refused, sizeof(i->refused), "%s", why);
	api_warn(i->vips->env.api, key, why[0] != '\0' ? why : NULL);
	free(key);
}

static void make_table(struct vips *v)
{
	struct ha_table *one = xcalloc(1, sizeof(*one));
	char why[HA_TEXT_MAX + 1] = "";

	memset(v->table, 0, sizeof(*v->table));
	for (size_t n = 0; n < v->n_items; n++) {
		struct vips_item *i = v->items[n];
		memset(one, 0, sizeof(*one));
		why[0] = '\0';
		if (i->source4.sa.sa_family == 0 && i->source6.sa.sa_family == 0)
			snprintf(why, sizeof(why), "VIP %s: this node has no address of its own on interface %s",
				 i->name, i->vip.interface);
		else if (vip_table(&i->nodes, &i->vip, 1, one, why) != NULL && why[0] == '\0')
			snprintf(why, sizeof(why), "VIP %s: it does not fit", i->name);
		warn_item(i, why);
		i->told_peers = 0;
		if (why[0] != '\0' || one->n == 0)
			continue;
		i->told_peers = peers_of(i);
		v->table->vips[v->table->n++] = one->vips[0];
	}
	free(one);
}

void ha_tell_table(struct vips *v)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));
	struct sbuf bytes = { 0 };

	make_table(v);
	m->type = HA_TABLE;
	memcpy(&m->table, v->table, sizeof(m->table));
	m->table.generation = 1;
	const char *why = ha_encode(m, &bytes);
	bool same = why == NULL && bytes.n == v->table_bytes.n && memcmp(bytes.p, v->table_bytes.p, bytes.n) == 0;
	if (why == NULL && !same) {
		v->table->generation = ++v->generation;
		why = ha_client_set_table(v->client, v->table);
		sbuf_reset(&v->table_bytes);
		sbuf_add(&v->table_bytes, bytes.p, bytes.n);
		v->table_refused = false;
	}
	if (why != NULL || !v->table_refused)
		api_warn(v->env.api, "vip_table", why);
	v->table_position = store_position(v->env.store);
	sbuf_fini(&bytes);
	free(m);
}

bool vips_table_holds(const struct vips *v, uint64_t position)
{
	const struct ha_report *r = vips_ha_report(v);

	return r != NULL && r->keepalived && r->generation == v->generation && v->table_position >= position;
}

const char *ha_hinders(const struct vips_item *i)
{
	const struct vips *v = i->vips;
	const struct ha_report *r = vips_ha_report(v);

	if (i->refused[0] != '\0')
		return i->refused;
	if (r == NULL)
		return "postroad-ha does not answer on this node: it has the virtual addresses";
	if (v->table_refused && !i->holds)
		return v->refusal;
	if (!r->keepalived)
		return "keepalived does not run on this node";
	return NULL;
}

void ha_tell_health(struct vips *v)
{
	struct ha_health *h = xcalloc(1, sizeof(*h));

	for (size_t n = 0; n < v->n_items; n++) {
		const struct vips_item *i = v->items[n];
		struct ha_health_vip *said = &h->vips[h->n++];
		memcpy(said->name, i->name, sizeof(i->name));
		said->up = i->verdict.up;
		memcpy(said->reason, i->verdict.reason, sizeof(said->reason));
	}
	const char *why = ha_client_set_health(v->client, h);
	if (why != NULL)
		log_msg(LOG_LEVEL_ERROR, "vip_health", "%s", why);
	free(h);
}

/* ---- asking the network ---- */

static void on_probed(const struct ha_message *m, void *arg)
{
	struct vips *v = arg;

	CHECK_OBJ(v, VIPS_MAGIC);
	for (size_t n = 0; n < v->n_items; n++) {
		struct vips_item *i = v->items[n];
		if (m == NULL || m->type != HA_PROBED)
			i->probing = i->probing && vips_now(v) - i->probed_ms < VIPS_ANSWER_MS;
		if (m == NULL || m->type != HA_PROBED || strcmp(i->name, m->probed.vip) != 0)
			continue;
		i->probing = false;
		i->probe = m->probed.seen ? VIP_TAKEN : VIP_FREE;
		i->probed_ms = vips_now(v);
	}
}

void ha_probe(struct vips_item *i)
{
	struct ha_message *m;

	if (i->probing || (i->probe != VIP_NOT_PROBED && vips_now(i->vips) - i->probed_ms < VIPS_PROBE_MS))
		return;
	m = xcalloc(1, sizeof(*m));
	m->type = HA_PROBE;
	memcpy(m->about.vip, i->name, sizeof(i->name));
	i->probed_ms = vips_now(i->vips);
	i->probing = vips_table_holds(i->vips, 0) && vips_ha_request(i->vips, m, on_probed, i->vips);
	free(m);
}

/* SPDX-License-Identifier: Apache-2.0
 * From configuration, the shared view and postroad-ha's reports to what this node may hold.
 *
 * The hard thing is a start: until the others have been heard their addresses are not known, and a table without them
 * would make keepalived forget them. So the one in force stays until all are known, or have had their time.
 */
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/cluster/vips_private.h"

bool vips_is_draining(const struct vips *v)
{
	return v->drain || v->leaving;
}

/* ---- items ---- */

static const char *const to_names[HA_STATE_END] = { "unknown", "backup", "master", "fault", "stop" };

static struct vips_item *item_new(struct vips *v, const char *name)
{
	struct vips_item *i = xcalloc(1, sizeof(*i));

	i->vips = v;
	snprintf(i->name, sizeof(i->name), "%s", name);
	i->m_owner = metrics_series(METRIC_VIP_OWNER, &name);
	metrics_set(i->m_owner, 0);
	for (int s = HA_STATE_BACKUP; s <= HA_STATE_FAULT; s++)
		i->m_to[s] = metrics_series(METRIC_VIP_TRANSITIONS_TOTAL, (const char *[]) { name, to_names[s] });
	v->items[v->n_items++] = i;
	return i;
}

void vips_item_free(struct vips_item *i)
{
	metrics_retire(i->m_owner);
	for (int s = HA_STATE_BACKUP; s <= HA_STATE_FAULT; s++)
		metrics_retire(i->m_to[s]);
	free(i->pin_word);
	free(i);
}

const char *vips_state_name(enum ha_state s)
{
	return to_names[s];
}

static bool is_named(const struct vip_config *c, const char *node)
{
	for (size_t i = 0; i < c->nodes.n; i++)
		if (strcmp(c->nodes.v[i], node) == 0)
			return true;
	return false;
}

static void drop_unseen(struct vips *v)
{
	for (size_t n = 0; n < v->n_items;) {
		struct vips_item *i = v->items[n];
		if (i->seen) {
			n++;
			continue;
		}
		move_end(i);
		elsewhere_forget(i);
		vips_item_free(i);
		v->items[n] = v->items[--v->n_items];
	}
}

/* ---- what is so ---- */

static bool is_closed(const struct conf *c)
{
	for (size_t i = 0; i < c->n_listeners; i++)
		if (c->listeners[i].closed)
			return true;
	return false;
}

static void look_at_self(struct vips *v, const struct conf *conf, struct vip_node *self)
{
	struct node_report *r = xcalloc(1, sizeof(*r));
	const struct ha_report *ha = vips_ha_report(v);
	struct vip_health h = { .worker_ms = engine_worker_silence_ms(v->env.engine),
				.started_ms = vips_now(v) - v->started_ms,
				.listeners = engine_is_listening(v->env.engine) && !is_closed(conf),
				.configuration = conf->revision != 0 };

	api_report(v->env.api, r);
	h.synced = store_identity(v->env.store).cluster == 0 || store_state(v->env.store) == CORE_ACTIVE;
	h.pools = !r->soft;
	h.overloaded = r->overloaded;
	self->age_ms = 0;
	self->fault = vip_fault_of(&h);
	self->able = vip_is_able(&h);
	self->draining = vips_is_draining(v);
	self->keepalived = ha != NULL && ha->keepalived;
	free(r);
}

static struct vip_node *self_of(struct vip_nodes *nodes)
{
	for (size_t i = 0; i < nodes->n; i++)
		if (nodes->list[i].id == nodes->self)
			return &nodes->list[i];
	return NULL;
}

static void look_at_item(struct vips_item *i, const struct vip_config *c, const struct vip_node *said)
{
	struct vips *v = i->vips;

	vip_view_nodes(v->env.view, vips_now(v), c, &i->nodes, &i->complete);
	vip_view_vip(v->env.view, vips_now(v), c, &i->vip);
	sources_use(i, c);
	i->vip.garp_s = VIPS_GARP_S;
	if (i->holds)
		i->vip.holder = i->nodes.self;
	else if (i->vip.holder == i->nodes.self)
		i->vip.holder = 0;
	struct vip_node *self = self_of(&i->nodes);
	if (self != NULL) {
		struct vip_node now = *said;
		now.id = self->id;
		memcpy(now.name, self->name, sizeof(now.name));
		now.address4 = i->source4;
		now.address6 = i->source6;
		now.generation = 1;
		*self = now;
	}
	pin_look(i);
	i->failback = c->failback;
	pin_apply(i);
	if (i->probe != VIP_NOT_PROBED && vips_now(v) - i->probed_ms > VIPS_PROBED_MS)
		i->probe = VIP_NOT_PROBED;
	i->vip.probe = i->probe;
	i->vip.cut = i->cut;
}

static json_t *read_runtime(const struct vips *v)
{
	const struct entry *e = store_last(v->env.store, ENTRY_RUNTIME);

	return e == NULL ? NULL : json_loadb(e->document.p, e->document.n, 0, NULL);
}

static void look_at_all(struct vips *v, const struct conf *conf)
{
	const struct entry *e = store_last(v->env.store, ENTRY_RUNTIME);
	uint64_t position = e == NULL ? 0 : e->position;
	json_t *runtime = read_runtime(v);
	/* What this node cannot read takes back no move that it knows of. */
	bool readable = e == NULL || runtime != NULL;
	bool at_start = v->runtime_position == 0;
	struct ifaddrs *all = NULL;
	struct vip_node self = { 0 };
	enum vips_part part = v->env.part(v->env.arg);

	if (getifaddrs(&all) != 0)
		all = NULL;
	look_at_self(v, conf, &self);
	for (size_t n = 0; n < v->n_items; n++)
		v->items[n]->seen = false;
	for (size_t n = 0; n < conf->n_vips && part != VIPS_NONE; n++) {
		const struct vip_config *c = &conf->vips[n];
		if (c->interface == NULL || !is_named(c, v->node->node))
			continue;
		struct vips_item *i = vips_find(v, c->name);
		bool fresh = i == NULL;
		i = fresh ? item_new(v, c->name) : i;
		i->seen = true;
		vips_choose_source(all, conf, c, &i->source4, AF_INET);
		vips_choose_source(all, conf, c, &i->source6, AF_INET6);
		if (fresh || (readable && position + 1 != v->runtime_position))
			pin_take(i, runtime, fresh || at_start);
		/* Others are about to forget it: it would hear nobody and think itself alone. */
		self.draining = vips_is_draining(v) || (part == VIPS_KEEPS && !i->holds);
		look_at_item(i, c, &self);
	}
	v->runtime_position = position + 1;
	if (all != NULL)
		freeifaddrs(all);
	json_decref(runtime);
	drop_unseen(v);
}

/* ---- the look ---- */

static bool is_complete(const struct vips *v)
{
	for (size_t i = 0; i < v->n_items; i++)
		if (!v->items[i]->complete)
			return false;
	return true;
}

static bool decide(struct vips_item *i)
{
	bool before = i->verdict.up;

	vip_decide(&i->nodes, &i->vip, vips_now(i->vips), &i->memory, &i->verdict);
	i->cut = false;
	if (i->verdict.wants_probe)
		ha_probe(i);
	if (strcmp(i->told, i->verdict.reason) != 0) {
		log_msg(LOG_LEVEL_INFO, "vip", "%s: %s", i->name,
			i->verdict.up ? "this node may hold it" : i->verdict.reason);
		memcpy(i->told, i->verdict.reason, sizeof(i->told));
	}
	return i->verdict.up != before;
}

/* Not at once: a node that comes and goes would take the VIP with it each time. */
static void follow_order(struct vips_item *i)
{
	int64_t now = vips_now(i->vips);
	uint32_t better = 0;

	if (i->failback && i->holds && i->verdict.up && i->move.step == MOVE_NONE && !pin_is_moving(i) &&
	    !vips_is_draining(i->vips) && now >= i->failback_ms)
		better = vip_better(&i->nodes, &i->vip);
	if (better == 0)
		i->better_ms = 0;
	else if (i->better_ms == 0)
		i->better_ms = now;
	if (better == 0 || now - i->better_ms < VIPS_BETTER_MS)
		return;
	i->better_ms = 0;
	i->failback_ms = now + VIPS_AGAIN_MS;
	move_begin(i, MOVE_FAILBACK, better, VIPS_MOVE_KEEP_S);
}

void vips_look(struct vips *v)
{
	CHECK_OBJ(v, VIPS_MAGIC);
	if (!v->started)
		return;
	const struct conf *conf = v->env.conf(v->env.arg);
	const struct ha_report *r = vips_ha_report(v);
	bool news = false;

	for (size_t i = 0; i < v->n_items; i++)
		news |= ha_hear(v->items[i], r);
	if (r != NULL && r->generation == v->generation)
		v->table_refused = false;
	look_at_all(v, conf);
	for (size_t i = 0; i < v->n_items; i++) {
		pin_follow(v->items[i]);
		follow_order(v->items[i]);
		move_tick(v->items[i]);
	}
	drain_tick(v);
	for (size_t i = 0; i < v->n_items; i++) {
		pin_apply(v->items[i]); /* a step may have ended */
		news |= decide(v->items[i]);
	}
	if (is_complete(v) || vips_now(v) - v->started_ms >= VIP_START_MS)
		ha_tell_table(v);
	ha_tell_health(v);
	sources_write(v);
	take_tick(v);
	lost_tick(v);
	elsewhere_tick(v);
	if (!news)
		return;
	vips_say(v);
	/* It goes out in the next turn of the loop, not with the next beat. */
	v->client_due_ms = 0;
	timer_set_in(v->loop, &v->timer, 0);
}

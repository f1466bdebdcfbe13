/* SPDX-License-Identifier: Apache-2.0
 * From configuration, the shared view and postroad-ha's reports to what this node may hold.
 *
 * The hard thing is a start: until the others have been heard their addresses are not known, and a table without them
 * would make keepalived forget them. So the one in force stays until all are known, or have had their time.
 */
#include <ifaddrs.h>
#include <net/if.h>
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

/* ---- this node's own addresses ---- */

static bool is_vip(const struct conf *c, const struct addr *a)
{
	for (size_t i = 0; i < c->n_vips; i++)
		for (size_t k = 0; k < c->vips[i].n_addresses; k++)
			if (addr_eq_ip(&c->vips[i].addresses[k].ip, a))
				return true;
	return false;
}

static bool in_network(const struct vip_config *c, const struct addr *a)
{
	for (size_t i = 0; i < c->n_addresses; i++) {
		struct addr of_vip = c->addresses[i].ip, own = *a;
		if (of_vip.sa.sa_family != own.sa.sa_family)
			continue;
		addr_mask(&of_vip, c->addresses[i].bits);
		addr_mask(&own, c->addresses[i].bits);
		if (addr_eq_ip(&of_vip, &own))
			return true;
	}
	return false;
}

static bool own_address(const struct ifaddrs *at, const struct conf *conf, struct addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (at->ifa_addr == NULL)
		return false;
	if (at->ifa_addr->sa_family == AF_INET)
		memcpy(&ret->in, at->ifa_addr, sizeof(ret->in));
	else if (at->ifa_addr->sa_family == AF_INET6)
		memcpy(&ret->in6, at->ifa_addr, sizeof(ret->in6));
	else
		return false;
	if (ret->sa.sa_family == AF_INET6) {
		ret->in6.sin6_scope_id = 0;
		if (IN6_IS_ADDR_LINKLOCAL(&ret->in6.sin6_addr))
			return false;
	}
	return !is_vip(conf, ret);
}

/* The one that it was, as long as it is there; else the first in the VIP's network; else the first. */
static void choose_source(const struct ifaddrs *all, const struct conf *conf, const struct vip_config *c,
			  struct addr *source, sa_family_t family)
{
	struct addr a, first = { 0 };
	bool first_fits = false;

	for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
		if (strcmp(at->ifa_name, c->interface) != 0 || !own_address(at, conf, &a) || a.sa.sa_family != family)
			continue;
		if (source->sa.sa_family == family && addr_eq_ip(source, &a))
			return;
		bool fits = in_network(c, &a);
		if (first.sa.sa_family == 0 || (fits && !first_fits)) {
			first = a;
			first_fits = fits;
		}
	}
	*source = first;
}

/* ---- moves by hand ---- */

static void take_pin(struct vips_item *i, json_t *runtime, bool at_start)
{
	json_t *said = json_object_get(json_object_get(runtime, "vips"), i->name);
	char *word = said == NULL ? NULL : json_dumps(said, JSON_COMPACT | JSON_SORT_KEYS);
	bool same = word == NULL ? i->pin_word == NULL : i->pin_word != NULL && strcmp(word, i->pin_word) == 0;

	if (same) {
		free(word);
		return;
	}
	free(i->pin_word);
	i->pin_word = word;
	i->pin_ms = word == NULL || at_start ? 0 : vips_now(i->vips);
}

static json_t *read_runtime(const struct vips *v)
{
	const struct entry *e = store_last(v->env.store, ENTRY_RUNTIME);

	return e == NULL ? NULL : json_loadb(e->document.p, e->document.n, 0, NULL);
}

static uint32_t pin_of(const struct vips_item *i)
{
	json_t *said = i->pin_word == NULL ? NULL : json_loads(i->pin_word, 0, NULL);
	const char *node = json_string_value(json_object_get(said, "node"));
	struct report_row row;
	uint32_t id = 0;

	if (node != NULL && report_view_find(i->vips->env.view, node, vips_now(i->vips), &row) && row.member)
		id = row.id;
	json_decref(said);
	return id;
}

/* A move that is under way, as far as this node can tell: until the target has it, or it has had its time. */
static bool is_moving(const struct vips_item *i)
{
	return i->pin != 0 && i->pin_ms != 0 && i->vip.holder != i->pin && vips_now(i->vips) - i->pin_ms < VIPS_PIN_MS;
}

/* A third node stands back until the target has it, or did not take it when the old one had let go. */
static bool is_aside(struct vips_item *i)
{
	int64_t now = vips_now(i->vips);

	if (i->aside_to != 0 && i->vip.holder == i->aside_from)
		i->aside_seen_ms = now;
	if (i->aside_to == 0 || i->holds || i->vip.holder == i->aside_to || now - i->aside_ms > VIPS_PIN_MS)
		i->aside_to = 0;
	return i->aside_to != 0;
}

static void say_where_to(struct vips_item *i, uint32_t to, int64_t ms)
{
	i->vip.to = to;
	i->vip.to_ms = ms;
}

static void apply_moves(struct vips_item *i)
{
	int64_t now = vips_now(i->vips);

	i->vip.pinned = i->pin;
	i->vip.preparing = move_prepares(&i->move);
	/* keepalived would not wait for anything to be prepared. */
	i->vip.failback = false;
	say_where_to(i, 0, 0);
	if (i->move.step == MOVE_LETTING && i->move.cause != MOVE_DRAIN)
		say_where_to(i, i->move.to, now - i->move.since_ms);
	else if (is_aside(i))
		say_where_to(i, i->aside_to, now - i->aside_seen_ms);
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
	i->pin = pin_of(i);
	/* Done: that it leaves there again later is another matter. */
	if (i->pin != 0 && i->vip.holder == i->pin)
		i->pin_ms = 0;
	i->failback = c->failback;
	apply_moves(i);
	if (i->probe != VIP_NOT_PROBED && vips_now(v) - i->probed_ms > VIPS_PROBED_MS)
		i->probe = VIP_NOT_PROBED;
	i->vip.probe = i->probe;
	i->vip.cut = i->cut;
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
		choose_source(all, conf, c, &i->source4, AF_INET);
		choose_source(all, conf, c, &i->source6, AF_INET6);
		if (fresh || (readable && position + 1 != v->runtime_position))
			take_pin(i, runtime, fresh || at_start);
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

/* ---- what postroad-ha says ---- */

static void tell_change(struct vips_item *i)
{
	metrics_set(i->m_owner, i->holds);
	api_event(i->vips->env.api, "vip",
		  json_pack("{s:s, s:s, s:s, s:b, s:s}", "name", i->name, "node", i->vips->node->node, "state",
			    to_names[i->said], "holds", i->holds, "why", i->verdict.reason));
}

static bool hear_item(struct vips_item *i, const struct ha_report *r)
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

	api_warn(i->vips->env.api, key, why);
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
		warn_item(i, why[0] != '\0' ? why : NULL);
		i->told_peers = 0;
		if (why[0] != '\0' || one->n == 0)
			continue;
		i->told_peers = peers_of(i);
		v->table->vips[v->table->n++] = one->vips[0];
	}
	free(one);
}

static bool is_complete(const struct vips *v)
{
	for (size_t i = 0; i < v->n_items; i++)
		if (!v->items[i]->complete)
			return false;
	return true;
}

static void tell_table(struct vips *v)
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

static void tell_health(struct vips *v)
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

static void probe(struct vips_item *i)
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

/* ---- the look ---- */

static bool decide(struct vips_item *i)
{
	bool before = i->verdict.up;

	vip_decide(&i->nodes, &i->vip, vips_now(i->vips), &i->memory, &i->verdict);
	i->cut = false;
	if (i->verdict.wants_probe)
		probe(i);
	if (strcmp(i->told, i->verdict.reason) != 0) {
		log_msg(LOG_LEVEL_INFO, "vip", "%s: %s", i->name,
			i->verdict.up ? "this node may hold it" : i->verdict.reason);
		memcpy(i->told, i->verdict.reason, sizeof(i->told));
	}
	return i->verdict.up != before;
}

/* Who ordered the move may know the target better than this node does: what that one says of itself is awaited. */
static bool is_target_awaited(const struct vips_item *i)
{
	return !vip_could(&i->nodes, i->pin) && vips_now(i->vips) - i->pin_ms < VIPS_TARGET_MS;
}

static void follow_pin(struct vips_item *i)
{
	/* A word that is new, and this node has what it is about. */
	if (i->holds && is_moving(i) && i->pin != i->nodes.self && i->move.step == MOVE_NONE &&
	    i->move.why[0] == '\0' && !vips_is_draining(i->vips) && !is_target_awaited(i))
		move_begin(i, MOVE_HAND, i->pin, VIPS_MOVE_KEEP_S);
	if (!is_moving(i) && i->move.step == MOVE_NONE)
		i->move.why[0] = '\0';
}

/* Not at once: a node that comes and goes would take the VIP with it each time. */
static void follow_order(struct vips_item *i)
{
	int64_t now = vips_now(i->vips);
	uint32_t better = 0;

	if (i->failback && i->holds && i->verdict.up && i->move.step == MOVE_NONE && !is_moving(i) &&
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
		news |= hear_item(v->items[i], r);
	if (r != NULL && r->generation == v->generation)
		v->table_refused = false;
	look_at_all(v, conf);
	for (size_t i = 0; i < v->n_items; i++) {
		follow_pin(v->items[i]);
		follow_order(v->items[i]);
		move_tick(v->items[i]);
	}
	drain_tick(v);
	for (size_t i = 0; i < v->n_items; i++) {
		apply_moves(v->items[i]); /* a step may have ended */
		news |= decide(v->items[i]);
	}
	if (is_complete(v) || vips_now(v) - v->started_ms >= VIP_START_MS)
		tell_table(v);
	tell_health(v);
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

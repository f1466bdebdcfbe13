/* SPDX-License-Identifier: Apache-2.0
 * Nodes to whom this one passes flows on, and that may be dead.
 *
 * The hard thing is that nobody here can tell: a node that has left the cluster may serve its sessions as before. So
 * postroad-ha asks the network, and ends them only when nobody answers: their clients are reset, and need not wait for
 * a timeout.
 */
#include <stdlib.h>

#include "daemon/cluster/vips_private.h"

static uint32_t id_of(const struct vips_item *i, const struct addr *owner)
{
	for (size_t n = 0; n < i->nodes.n; n++)
		if (addr_eq_ip(&i->nodes.list[n].address4, owner) || addr_eq_ip(&i->nodes.list[n].address6, owner))
			return i->nodes.list[n].id;
	return 0;
}

void lost_remember(const struct vips_item *i, const struct addr *owner, unsigned seconds)
{
	uint32_t id = i == NULL ? 0 : id_of(i, owner);
	struct vips_owner *place = NULL;

	if (id == 0 || id == i->nodes.self)
		return;
	struct vips *v = i->vips;
	int64_t until = vips_now(v) + (int64_t)seconds * 1000;
	for (size_t n = 0; n < VIPS_OWNERS_MAX; n++) {
		struct vips_owner *o = &v->owners[n];
		if (o->id == id && addr_eq_ip(&o->address, owner)) {
			o->until_ms = until > o->until_ms ? until : o->until_ms;
			return;
		}
		if (o->id == 0)
			place = o;
	}
	if (place != NULL)
		*place = (struct vips_owner) { id, *owner, until, 0 };
}

struct lost_walk {
	uint32_t id;
	bool there;
};

static void look_for(const struct report_row *row, void *arg)
{
	struct lost_walk *w = arg;

	w->there |= row->id == w->id && row->member && row->state < REPORT_SAID;
}

/* What answers carry: the place may be another's by then. */
struct lost_call {
	struct vips *vips;
	uint32_t id;
	struct addr address;
};

static void on_answer(const struct ha_message *m, void *arg)
{
	struct lost_call *c = arg;
	char text[ADDR_TEXT_MAX];

	for (size_t n = 0; m != NULL && m->type == HA_DONE && n < VIPS_OWNERS_MAX; n++) {
		struct vips_owner *o = &c->vips->owners[n];
		if (o->id != c->id || !addr_eq_ip(&o->address, &c->address))
			continue;
		o->id = 0;
		log_msg(LOG_LEVEL_WARNING, "vip_lost", "node %u (%s) is dead: connections that it still had are reset",
			c->id, addr_format_ip(&c->address, text));
	}
	free(c);
}

static void ask(struct vips *v, struct vips_owner *o)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));
	struct lost_call *c = xcalloc(1, sizeof(*c));

	*c = (struct lost_call) { v, o->id, o->address };
	m->type = HA_FLOWS_LOST;
	m->lost.owner = o->address;
	o->ask_ms = vips_now(v) + VIPS_LOST_MS;
	if (!vips_ha_request(v, m, on_answer, c))
		free(c);
	free(m);
}

void lost_tick(struct vips *v)
{
	int64_t now = vips_now(v);

	for (size_t n = 0; n < VIPS_OWNERS_MAX; n++) {
		struct vips_owner *o = &v->owners[n];
		struct lost_walk w = { .id = o->id };
		if (o->id == 0 || now < o->ask_ms)
			continue;
		if (now >= o->until_ms) {
			o->id = 0;
			continue;
		}
		report_view_each(v->env.view, now, look_for, &w);
		if (!w.there)
			ask(v, o);
	}
}

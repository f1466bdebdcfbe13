/* SPDX-License-Identifier: Apache-2.0
 * Whether somebody else has a VIP that this node holds: a machine that is no node, or a node that nobody hears.
 *
 * The hard thing is to ask no more than the network and postroad-ha bear with many VIPs: one at a time, each in turn.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/cluster/vips_private.h"

static void tell(struct vips_item *i, const uint8_t mac[6])
{
	char *key = xasprintf("vip_elsewhere/%s", i->name);
	char text[256];

	snprintf(text, sizeof(text),
		 "VIP %s: another machine answers for an address of it, with the hardware address "
		 "%02x:%02x:%02x:%02x:%02x:%02x",
		 i->name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	api_warn(i->vips->env.api, key, i->elsewhere ? text : NULL);
	free(key);
}

static void set(struct vips_item *i, bool elsewhere, const uint8_t mac[6])
{
	bool before = i->elsewhere;

	i->elsewhere = elsewhere;
	if (before || elsewhere)
		tell(i, mac);
}

static void on_answer(const struct ha_message *m, void *arg)
{
	struct vips *v = arg;
	struct vips_item *i = m != NULL && m->type == HA_PROBED ? vips_find(v, m->probed.vip) : NULL;

	v->elsewhere_asked = false;
	if (i == NULL || !i->holds)
		return;
	set(i, m->probed.seen, m->probed.mac);
	if (i->elsewhere)
		i->elsewhere_ms = vips_now(v) + VIPS_ELSEWHERE_AGAIN_MS;
}

static void ask(struct vips_item *i)
{
	struct vips *v = i->vips;
	struct ha_message *m = xcalloc(1, sizeof(*m));

	m->type = HA_PROBE;
	memcpy(m->about.vip, i->name, sizeof(i->name));
	i->elsewhere_ms = vips_now(v) + VIPS_ELSEWHERE_MS;
	v->elsewhere_asked = vips_ha_request(v, m, on_answer, v);
	free(m);
}

void elsewhere_forget(struct vips_item *i)
{
	static const uint8_t nobody[6];

	set(i, false, nobody);
}

void elsewhere_tick(struct vips *v)
{
	int64_t now = vips_now(v);
	struct vips_item *next = NULL;

	for (size_t n = 0; n < v->n_items; n++) {
		struct vips_item *i = v->items[n];
		if (!i->holds) {
			i->elsewhere_ms = now + VIPS_ELSEWHERE_FIRST_MS;
			elsewhere_forget(i);
		} else if (now >= i->elsewhere_ms && (next == NULL || i->elsewhere_ms < next->elsewhere_ms)) {
			next = i;
		}
	}
	if (next != NULL && !v->elsewhere_asked && vips_table_holds(v, 0))
		ask(next);
}

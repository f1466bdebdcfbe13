/* SPDX-License-Identifier: Apache-2.0
 * This node's table of VIPs.
 *
 * The hard thing: each node makes its own, and they must fit. So everything that is the same for all comes from the
 * same data by the same rule, in the same order.
 */
#include <stdio.h>

#include "cluster/vip/vip.h"

static const struct vip_node *node_of(const struct vip_nodes *nodes, uint32_t id)
{
	for (size_t i = 0; i < nodes->n; i++)
		if (nodes->list[i].id == id)
			return &nodes->list[i];
	return NULL;
}

static const struct addr *address_of(const struct vip_node *n, sa_family_t family)
{
	const struct addr *a = family == AF_INET6 ? &n->address6 : &n->address4;

	return a->sa.sa_family == family ? a : NULL;
}

/* Every node that takes part has an address of it. Nodes that are in the order but no members are not there. */
static bool family_fits(const struct vip_nodes *nodes, const struct vip *vip, sa_family_t family)
{
	for (size_t i = 0; i < vip->n_order; i++) {
		const struct vip_node *n = node_of(nodes, vip->order[i]);
		if (n != NULL && address_of(n, family) == NULL)
			return false;
	}
	return true;
}

/* The family in which the nodes speak about the VIP: that of its first address, if they all have it. */
static sa_family_t family_of(const struct vip_nodes *nodes, const struct vip *vip)
{
	for (size_t i = 0; i < vip->n_addresses; i++)
		if (family_fits(nodes, vip, vip->addresses[i].ip.sa.sa_family))
			return vip->addresses[i].ip.sa.sa_family;
	return 0;
}

static const char *row(const struct vip_nodes *nodes, const struct vip *vip, struct ha_vip *r)
{
	sa_family_t family = family_of(nodes, vip);

	memset(r, 0, sizeof(*r));
	if (family == 0)
		return "not all of its nodes have an address of the family of one of its addresses";
	memcpy(r->name, vip->name, sizeof(r->name));
	memcpy(r->interface, vip->interface, sizeof(r->interface));
	r->vrid = vip->vrid;
	r->priority = vip_priority(vip, nodes->self);
	r->advert_ms = vip->advert_ms;
	r->garp_s = vip->garp_s;
	r->failback = vip->failback;
	r->n_addresses = vip->n_addresses;
	memcpy(r->addresses, vip->addresses, sizeof(r->addresses));
	for (size_t i = 0; i < vip->n_order; i++) {
		const struct vip_node *n = node_of(nodes, vip->order[i]);
		if (n == NULL)
			continue;
		if (n->id == nodes->self)
			r->source = *address_of(n, family);
		else if (r->n_peers < HA_PEERS_MAX)
			r->peers[r->n_peers++] = *address_of(n, family);
	}
	return NULL;
}

const char *vip_table(const struct vip_nodes *nodes, const struct vip *vips, size_t n, struct ha_table *ret,
		      char why[HA_TEXT_MAX + 1])
{
	const char *wrong = NULL;

	ret->n = 0;
	for (size_t i = 0; i < n; i++) {
		if (vip_priority(&vips[i], nodes->self) == 0 || node_of(nodes, nodes->self) == NULL)
			continue;
		if (ret->n == HA_VIPS_MAX)
			return "there are too many VIPs";
		wrong = row(nodes, &vips[i], &ret->vips[ret->n++]);
		/* Looked at one by one too, so that the VIP can be named. */
		if (wrong == NULL)
			wrong = ha_table_check(ret);
		if (wrong != NULL) {
			snprintf(why, HA_TEXT_MAX + 1, "VIP %s: %s", vips[i].name, wrong);
			return why;
		}
	}
	return NULL;
}

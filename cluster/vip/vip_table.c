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

	return family != 0 && a->sa.sa_family == family ? a : NULL;
}

/* So many of the nodes have an address of it. Nodes that are in the order but no members are not there. */
static size_t count_family(const struct vip_nodes *nodes, const struct vip *vip, sa_family_t family, size_t *ret_of)
{
	size_t have = 0;

	*ret_of = 0;
	for (size_t i = 0; i < vip->n_order; i++) {
		const struct vip_node *n = node_of(nodes, vip->order[i]);
		*ret_of += n != NULL;
		have += n != NULL && address_of(n, family) != NULL;
	}
	return have;
}

/* The family in which the nodes speak about the VIP: of its addresses, the first that half of them have; else that of
 * its first address that one has. Not the one that all have: it would be another one when a single node loses an
 * address, and while some have heard of that and some have not, two would be masters. 0 = none. */
static sa_family_t family_of(const struct vip_nodes *nodes, const struct vip *vip)
{
	for (int few = 0; few < 2; few++) {
		for (size_t i = 0; i < vip->n_addresses; i++) {
			sa_family_t family = vip->addresses[i].ip.sa.sa_family;
			size_t of, have = count_family(nodes, vip, family, &of);
			if (have > 0 && (2 * have >= of || few == 1))
				return family;
		}
	}
	return 0;
}

bool vip_is_peer(const struct vip_nodes *nodes, const struct vip *vip, uint32_t node)
{
	const struct vip_node *n = node_of(nodes, node);

	return n != NULL && vip_priority(vip, node) != 0 && address_of(n, family_of(nodes, vip)) != NULL;
}

static const char *row(const struct vip_nodes *nodes, const struct vip *vip, struct ha_vip *r)
{
	sa_family_t family = family_of(nodes, vip);

	memset(r, 0, sizeof(*r));
	if (!vip_is_peer(nodes, vip, nodes->self))
		return family == AF_INET6  ? "this node has no IPv6 address there, and its nodes speak IPv6 about it"
		       : family == AF_INET ? "this node has no IPv4 address there, and its nodes speak IPv4 about it"
					   : "no node has an address of the family of one of its addresses";
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
		/* One that has lost its address is left out: for its sake alone no other lets go. */
		if (n == NULL || address_of(n, family) == NULL)
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

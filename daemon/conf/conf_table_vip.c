/* SPDX-License-Identifier: Apache-2.0
 * The table of virtual addresses.
 */
#include "daemon/conf/conf_schema.h"

#define V struct vip_config

static const struct conf_field vip_fields[] = {
	{ "addresses", .type = &conf_type_prefixes, CONF_LIST_AT(V, addresses, n_addresses),
	  CONF_RANGE(1, VIP_ADDRESSES_MAX), .flags = CONF_REQUIRED,
	  .doc = "The addresses that move together from node to node, each with the length of its network's prefix. "
		 "Listeners "
		 "bind them on every node." },
	{ "interface", CONF_TEXT(interface, V, interface), .flags = CONF_REQUIRED | CONF_PER_NODE,
	  .doc = "The network interface they are on." },
	{ "vrid", CONF_UINT(V, vrid), CONF_RANGE(1, 255),
	  .doc = "The VRRP virtual router id, unique in the network segment among all that speak VRRP there. Null: one "
		 "that "
		 "follows from the name." },
	{ "nodes", CONF_STRINGS(names, V, nodes), .flags = CONF_REQUIRED,
	  .doc = "The nodes that may hold it, the preferred one first." },
	{ "failback", CONF_BOOL(V, failback), .def = "false",
	  .doc = "A preferred node that comes back gets it again by itself, some seconds later, by a planned move that "
		 "cuts nothing. Otherwise it stays where it is until it is moved." },
	{ "advert", CONF_DURATION(V, advert_ms), CONF_RANGE(50, 40000), .def = "\"200ms\"",
	  .doc = "How often its holder says that it lives, in steps of 10ms. A dead node's address moves after about "
		 "three "
		 "of these." },
};

const struct conf_object conf_vip_object = CONF_OBJECT(
	"Vip", "vips/NAME", "Virtual addresses: each is on one living node at a time, moved by VRRP.", V, vip_fields);

_Static_assert(offsetof(V, name) == 0, "maps put the key there");

/* SPDX-License-Identifier: Apache-2.0
 * This node's own address on a VIP's interface: adverts and what is handed over come from it.
 */
#include <ifaddrs.h>
#include <net/if.h>

#include "daemon/cluster/vips_private.h"

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

void vips_choose_source(const struct ifaddrs *all, const struct conf *conf, const struct vip_config *c,
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

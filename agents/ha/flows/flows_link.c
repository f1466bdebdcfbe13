/* SPDX-License-Identifier: Apache-2.0
 * Interfaces, and the addresses that are kept on `lo` (rtnetlink(7)).
 *
 * The hard thing is to know our own again, after a restart too: an address has a metric of ours, which old kernels show
 * as new ones do (labels are IPv4's alone, the origin of an address is younger). It has a lifetime, so that the kernel
 * takes it away even when nobody else is left to do it, and is never chosen for connections that this node makes:
 * scope host, or deprecated.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "agents/ha/flows/flows_private.h"

#define TRIES 3 /* of a list that changed meanwhile */

struct listed {
	struct addr addr;
	int ifindex;
	bool ours;
};

struct address_search {
	struct listed list[1024];
	size_t n;
};

static bool address_read(const struct nlmsghdr *h, struct listed *ret)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *a;
	const void *local = NULL, *address = NULL;
	size_t want = m->ifa_family == AF_INET ? 4 : 16;

	if (m->ifa_family != AF_INET && m->ifa_family != AF_INET6)
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->ifindex = (int)m->ifa_index;
	ATTR_EACH(a, mnl_nlmsg_get_payload_offset(h, sizeof(*m)), message_end(h))
	{
		uint16_t type = mnl_attr_get_type(a), n = mnl_attr_get_payload_len(a);
		if (type == IFA_LOCAL && n == want)
			local = mnl_attr_get_payload(a);
		else if (type == IFA_ADDRESS && n == want)
			address = mnl_attr_get_payload(a);
		else if (type == IFA_RT_PRIORITY && n == sizeof(uint32_t))
			ret->ours = mnl_attr_get_u32(a) == FLOWS_METRIC;
	}
	/* IPv6 has no IFA_LOCAL but for point-to-point links. */
	local = local != NULL ? local : address;
	if (local != NULL)
		flows_addr(&ret->addr, m->ifa_family, local, 0);
	return local != NULL;
}

static int address_found(const struct nlmsghdr *h, void *arg)
{
	struct address_search *s = arg;

	if (h->nlmsg_type == RTM_NEWADDR && s->n < ARRAY_LEN(s->list) && address_read(h, &s->list[s->n]))
		s->n++;
	return MNL_CB_OK;
}

static int addresses(struct address_search *s, struct flows_why *why)
{
	char buffer[256];

	for (int i = 0; i < TRIES; i++) {
		struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
		h->nlmsg_type = RTM_GETADDR;
		h->nlmsg_flags = NLM_F_DUMP;
		struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
		m->ifa_family = AF_UNSPEC;
		s->n = 0;
		if (flows_netlink(NETLINK_ROUTE, h, address_found, s) == 0)
			return 0;
		if (errno != EINTR)
			break;
	}
	return flows_fail(why, "the kernel does not list its addresses: %s", strerror(errno));
}

static int name_of(int ifindex, char name[IF_NAMESIZE], struct flows_why *why)
{
	if (if_indextoname((unsigned)ifindex, name) == NULL)
		return flows_fail(why, "interface %d is gone", ifindex);
	if (!flows_text_name_ok(name))
		return flows_fail(why, "the name of interface %d has characters that are not supported", ifindex);
	return 0;
}

int flows_link_own(const struct addr *own, char name[IF_NAMESIZE], struct flows_why *why)
{
	struct address_search *s = xcalloc(1, sizeof(*s));
	char text[ADDR_TEXT_MAX];
	int rc = addresses(s, why), ifindex = 0;

	for (size_t i = 0; i < s->n; i++)
		if (rc == 0 && addr_eq_ip(&s->list[i].addr, own) && !s->list[i].ours)
			ifindex = s->list[i].ifindex;
	free(s);
	if (rc != 0)
		return -1;
	if (ifindex == 0)
		return flows_fail(why, "%s is no address of this node", addr_format_ip(own, text));
	return name_of(ifindex, name, why);
}

struct route {
	int ifindex;
	bool gateway, local;
};

static int route_found(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *a;
	struct route *r = arg;

	r->local = m->rtm_type != RTN_UNICAST;
	ATTR_EACH(a, mnl_nlmsg_get_payload_offset(h, sizeof(*m)), message_end(h))
	{
		if (mnl_attr_get_type(a) == RTA_OIF)
			r->ifindex = (int)mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == RTA_GATEWAY || mnl_attr_get_type(a) == RTA_VIA)
			r->gateway = true;
	}
	return MNL_CB_STOP;
}

int flows_link_towards(const struct addr *node, char name[IF_NAMESIZE], struct flows_why *why)
{
	char buffer[256], text[ADDR_TEXT_MAX];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct rtmsg *m;
	struct route r = { 0 };
	size_t n;
	const void *bytes = flows_bytes(node, &n);

	addr_format_ip(node, text);
	h->nlmsg_type = RTM_GETROUTE;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->rtm_family = (unsigned char)node->sa.sa_family;
	m->rtm_dst_len = (unsigned char)(n * 8);
	mnl_attr_put(h, RTA_DST, n, bytes);
	if (flows_netlink(NETLINK_ROUTE, h, route_found, &r) != 0)
		return flows_fail(why, "there is no way to node %s: %s", text, strerror(errno));
	if (r.local)
		return flows_fail(why, "%s is no other node", text);
	if (r.gateway || r.ifindex == 0)
		return flows_fail(why, "node %s is behind a router: connections can be passed on within a network only",
				  text);
	return name_of(r.ifindex, name, why);
}

static struct ifaddrmsg *address_request(struct nlmsghdr *h, const struct addr *vip)
{
	size_t n;
	const void *bytes = flows_bytes(vip, &n);
	struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));

	h->nlmsg_flags = NLM_F_ACK;
	m->ifa_family = (unsigned char)vip->sa.sa_family;
	m->ifa_prefixlen = (unsigned char)(n * 8);
	m->ifa_scope = RT_SCOPE_HOST;
	m->ifa_index = if_nametoindex("lo");
	mnl_attr_put(h, IFA_LOCAL, n, bytes);
	mnl_attr_put(h, IFA_ADDRESS, n, bytes);
	return m;
}

/* On `lo`: 1 = by our hands, 2 = by others', 0 = not, -1 = unknown. */
static int on_lo(const struct addr *vip, struct flows_why *why)
{
	struct address_search *s = xcalloc(1, sizeof(*s));
	int rc = addresses(s, why), lo = (int)if_nametoindex("lo");

	for (size_t i = 0; rc == 0 && i < s->n; i++)
		if (s->list[i].ifindex == lo && addr_eq_ip(&s->list[i].addr, vip))
			rc = s->list[i].ours ? 1 : 2;
	free(s);
	return rc;
}

int flows_link_keep(const struct addr *vip, unsigned seconds, struct flows_why *why)
{
	char buffer[512], text[ADDR_TEXT_MAX];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ifa_cacheinfo life = { .ifa_prefered = 0, .ifa_valid = seconds };
	int there = on_lo(vip, why);

	if (there != 0 && there != 1)
		return there == 2 ? 0 : -1;
	h->nlmsg_type = RTM_NEWADDR;
	address_request(h, vip);
	h->nlmsg_flags |= NLM_F_CREATE | NLM_F_REPLACE;
	mnl_attr_put(h, IFA_CACHEINFO, sizeof(life), &life);
	mnl_attr_put_u32(h, IFA_RT_PRIORITY, FLOWS_METRIC);
	mnl_attr_put_u32(h, IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
	if (flows_netlink(NETLINK_ROUTE, h, NULL, NULL) != 0)
		return flows_fail(why, "%s cannot be kept on lo: %s", addr_format_ip(vip, text), strerror(errno));
	return 0;
}

int flows_link_release(const struct addr *vip, struct flows_why *why)
{
	char buffer[512], text[ADDR_TEXT_MAX];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	int there = on_lo(vip, why);

	if (there != 1)
		return there < 0 ? -1 : 0;
	h->nlmsg_type = RTM_DELADDR;
	address_request(h, vip);
	/* Its time may have run out since. */
	if (flows_netlink(NETLINK_ROUTE, h, NULL, NULL) != 0 && errno != EADDRNOTAVAIL)
		return flows_fail(why, "%s cannot be taken from lo: %s", addr_format_ip(vip, text), strerror(errno));
	return 0;
}

int flows_link_kept(struct addr out[FLOWS_KEPT_MAX], struct flows_why *why)
{
	struct address_search *s = xcalloc(1, sizeof(*s));
	int rc = addresses(s, why), lo = (int)if_nametoindex("lo");
	int n = 0;

	for (size_t i = 0; rc == 0 && i < s->n && n < FLOWS_KEPT_MAX; i++)
		if (s->list[i].ifindex == lo && s->list[i].ours)
			out[n++] = s->list[i].addr;
	free(s);
	return rc == 0 ? n : -1;
}

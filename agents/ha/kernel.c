/* SPDX-License-Identifier: Apache-2.0
 * Addresses by rtnetlink.
 *
 * The hard thing: notices of changes can be lost (the socket's buffer is finite), so they are only a reason to read the
 * whole list again, which is what counts.
 */
#include "agents/ha/kernel.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { BUFFER = 32 * 1024, ANSWER_MS = 1000 };
/* Flags that a change of the lifetime must repeat, or it would clear them. */
enum { KEPT_FLAGS = IFA_F_NODAD | IFA_F_NOPREFIXROUTE | IFA_F_HOMEADDRESS | IFA_F_MCAUTOJOIN };

static int open_socket(unsigned groups, bool blocking)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK, .nl_groups = groups };
	struct timeval limit = { .tv_sec = ANSWER_MS / 1000 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&self, sizeof(self)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0)
		return fd;
	int r = -errno;
	close(fd);
	return r;
}

int kernel_open(struct kernel *k)
{
	memset(k, 0, sizeof(*k));
	k->stale = true;
	k->ask = -1;
	k->events = open_socket(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_LINK, false);
	if (k->events < 0)
		return k->events;
	k->ask = open_socket(0, true);
	if (k->ask >= 0)
		return 0;
	int r = k->ask;
	kernel_close(k);
	return r;
}

void kernel_close(struct kernel *k)
{
	if (k->events >= 0)
		close(k->events);
	if (k->ask >= 0)
		close(k->ask);
	free(k->list);
	k->list = NULL;
	k->n = 0;
	k->events = k->ask = -1;
}

void kernel_read_events(struct kernel *k)
{
	char buf[BUFFER];

	/* What was lost (ENOBUFS) is as good a reason as what was read. */
	for (int i = 0; i < 64; i++) {
		ssize_t n = recv(k->events, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		k->stale = true;
	}
}

/* ---- the list ---- */

static bool take_ip(struct addr *ret, unsigned family, struct rtattr *attribute)
{
	size_t n = family == AF_INET6 ? 16 : 4;

	memset(ret, 0, sizeof(*ret));
	if (RTA_PAYLOAD(attribute) < n)
		return false;
	ret->sa.sa_family = (sa_family_t)family;
	memcpy(family == AF_INET6 ? (void *)&ret->in6.sin6_addr : (void *)&ret->in.sin_addr, RTA_DATA(attribute), n);
	return true;
}

/* The kernel's macros take pointers to what may be written. */
static bool take_address(struct nlmsghdr *h, struct kernel_address *ret)
{
	struct ifaddrmsg *m = NLMSG_DATA(h);
	int left = (int)IFA_PAYLOAD(h);
	bool found = false, local = false;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || (m->ifa_family != AF_INET && m->ifa_family != AF_INET6))
		return false;
	*ret = (struct kernel_address) { .interface = (int)m->ifa_index,
					 .bits = m->ifa_prefixlen,
					 .flags = m->ifa_flags };
	for (struct rtattr *a = IFA_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		/* IFA_LOCAL is the address where there are both (the other is then the far end of a link). */
		if (a->rta_type == IFA_LOCAL || (a->rta_type == IFA_ADDRESS && !local)) {
			local |= a->rta_type == IFA_LOCAL;
			found |= take_ip(&ret->ip, m->ifa_family, a);
		} else if (a->rta_type == IFA_FLAGS && RTA_PAYLOAD(a) >= 4) {
			memcpy(&ret->flags, RTA_DATA(a), 4);
		} else if (a->rta_type == IFA_CACHEINFO && RTA_PAYLOAD(a) >= sizeof(struct ifa_cacheinfo)) {
			struct ifa_cacheinfo life;
			memcpy(&life, RTA_DATA(a), sizeof(life));
			ret->leased = life.ifa_valid != UINT32_MAX;
		}
	}
	return found;
}

/* 1 = the end of the list. */
static int take_messages(struct kernel *k, char *buf, ssize_t len)
{
	unsigned left = (unsigned)len;

	for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_seq != k->sequence)
			continue;
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *e = NLMSG_DATA(h);
			return e->error < 0 ? e->error : -EIO;
		}
		if (h->nlmsg_type != RTM_NEWADDR)
			continue;
		if (k->n == KERNEL_ADDRESSES_MAX)
			return -E2BIG;
		if (take_address(h, &k->list[k->n]))
			k->n++;
	}
	return 0;
}

static int send_request(struct kernel *k, struct nlmsghdr *h)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	h->nlmsg_seq = ++k->sequence;
	ssize_t n = sendto(k->ask, h, h->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	return n == (ssize_t)h->nlmsg_len ? 0 : -errno;
}

int kernel_refresh(struct kernel *k)
{
	struct {
		struct nlmsghdr head;
		struct ifaddrmsg body;
	} request = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)),
				.nlmsg_type = RTM_GETADDR,
				.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };
	char buf[BUFFER];
	int r = send_request(k, &request.head);

	if (k->list == NULL)
		k->list = xcalloc(KERNEL_ADDRESSES_MAX, sizeof(*k->list));
	k->n = 0;
	k->stale = false;
	while (r == 0) {
		ssize_t n = recv(k->ask, buf, sizeof(buf), 0);
		r = n >= 0 ? take_messages(k, buf, n) : errno == EINTR ? 0 : -errno;
	}
	if (r == 1)
		return 0;
	k->n = 0;
	k->stale = true;
	return r;
}

const struct kernel_address *kernel_find(const struct kernel *k, int interface, const struct addr *ip)
{
	for (size_t i = 0; i < k->n; i++)
		if ((interface == 0 || k->list[i].interface == interface) && addr_eq_ip(&k->list[i].ip, ip))
			return &k->list[i];
	return NULL;
}

/* ---- changes ---- */

struct change {
	struct nlmsghdr head;
	struct ifaddrmsg body;
	char attributes[128];
};

static void attribute(struct change *c, unsigned short type, const void *p, unsigned short n)
{
	struct rtattr *a = (struct rtattr *)(void *)((char *)c + NLMSG_ALIGN(c->head.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(n);
	memcpy(RTA_DATA(a), p, n);
	c->head.nlmsg_len = NLMSG_ALIGN(c->head.nlmsg_len) + RTA_ALIGN(a->rta_len);
	ASSERT(c->head.nlmsg_len <= sizeof(*c));
}

static struct change change_of(const struct kernel_address *a, unsigned short type, unsigned short flags)
{
	bool v6 = a->ip.sa.sa_family == AF_INET6;
	struct change c = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)),
				      .nlmsg_type = type,
				      .nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags) },
			    .body = { .ifa_family = (unsigned char)a->ip.sa.sa_family,
				      .ifa_prefixlen = a->bits,
				      .ifa_index = (unsigned)a->interface } };

	attribute(&c, IFA_LOCAL, v6 ? (const void *)&a->ip.in6.sin6_addr : (const void *)&a->ip.in.sin_addr,
		  v6 ? 16 : 4);
	return c;
}

static int ask(struct kernel *k, struct change *c)
{
	char buf[BUFFER];
	int r = send_request(k, &c->head);

	/* Leftovers of an earlier, failed question are skipped by their number; there are not many. */
	for (int i = 0; r == 0 && i < 64; i++) {
		ssize_t n = recv(k->ask, buf, sizeof(buf), 0);
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
		const struct nlmsgerr *e = NLMSG_DATA(h);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n >= (ssize_t)NLMSG_LENGTH(sizeof(*e)) && h->nlmsg_type == NLMSG_ERROR &&
		    h->nlmsg_seq == k->sequence)
			return e->error;
	}
	return r != 0 ? r : -EIO;
}

int kernel_lease(struct kernel *k, const struct kernel_address *a, bool own_route)
{
	bool v6 = a->ip.sa.sa_family == AF_INET6;
	/* An IPv6 address that is not preferred answers, and is nobody's choice for a connection from here, which would
	 * break when the VIP moves (RFC 6724 section 5, rule 3). Of IPv4 addresses the first of a network is chosen
	 * anyway. */
	struct ifa_cacheinfo life = { .ifa_prefered = v6 ? 0 : KERNEL_LEASE_S, .ifa_valid = KERNEL_LEASE_S };
	uint32_t flags = (a->flags & (uint32_t)KEPT_FLAGS) | (own_route ? 0u : (uint32_t)IFA_F_NOPREFIXROUTE);
	/* Without NLM_F_CREATE an address that went meanwhile does not come back. */
	struct change c = change_of(a, RTM_NEWADDR, NLM_F_REPLACE);

	attribute(&c, IFA_FLAGS, &flags, sizeof(flags));
	attribute(&c, IFA_CACHEINFO, &life, sizeof(life));
	return ask(k, &c);
}

int kernel_delete(struct kernel *k, const struct kernel_address *a)
{
	struct change c = change_of(a, RTM_DELADDR, 0);

	return ask(k, &c);
}

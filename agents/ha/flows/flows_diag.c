/* SPDX-License-Identifier: Apache-2.0
 * This node's connections to an address, from the kernel's list of sockets (sock_diag(7)).
 *
 * The hard thing is which count. A half-open one (SYN received, SYN-ACK on its way) does: its ACK arrives after the
 * move. So do half-closed ones. One in TIME_WAIT does not: both sides have all their data. A listener on [::] holds
 * IPv4 connections as mapped addresses, so both families are asked; and a balancer has many that are to other
 * addresses, so the kernel is told which one is wanted.
 */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>

#include "agents/ha/flows/flows_private.h"

#define NEW_SYN_RECV 12 /* the kernel's own name for a half-open one; not in the libc's list */
#define STATES                                                                                                         \
	(1u << TCP_ESTABLISHED | 1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 |                      \
	 1u << TCP_CLOSE_WAIT | 1u << TCP_LAST_ACK | 1u << TCP_CLOSING | 1u << NEW_SYN_RECV)

struct search {
	const struct addr *vip;
	struct flow *out;
	size_t n, max;
	bool more;
};

bool flows_diag_read(const struct inet_diag_msg *m, const struct addr *vip, struct flow *ret)
{
	if (m->idiag_family != AF_INET && m->idiag_family != AF_INET6)
		return false;
	if (m->idiag_state > 31 || !(STATES & 1u << m->idiag_state))
		return false;
	flows_addr(&ret->local, m->idiag_family, m->id.idiag_src, ntohs(m->id.idiag_sport));
	flows_addr(&ret->remote, m->idiag_family, m->id.idiag_dst, ntohs(m->id.idiag_dport));
	addr_unmap(&ret->local);
	addr_unmap(&ret->remote);
	/* A connection of this node to itself has both ends here and never leaves it. */
	return addr_eq_ip(&ret->local, vip) && !addr_eq_ip(&ret->remote, vip);
}

static int found(const struct nlmsghdr *h, void *arg)
{
	struct search *s = arg;
	struct flow f;

	if (mnl_nlmsg_get_payload_len(h) < sizeof(struct inet_diag_msg))
		return MNL_CB_OK;
	if (!flows_diag_read(mnl_nlmsg_get_payload(h), s->vip, &f))
		return MNL_CB_OK;
	if (s->n < s->max)
		s->out[s->n++] = f;
	else
		s->more = true;
	return MNL_CB_OK;
}

#define FILTER_HEAD (sizeof(struct inet_diag_bc_op) + sizeof(struct inet_diag_hostcond))
#define FILTER_MAX (FILTER_HEAD + 16)

/* One condition: the local address is this one, also as a mapped one. Else: beyond the end, which is "no". */
static size_t make_filter(uint8_t out[FILTER_MAX], const struct addr *vip)
{
	size_t n;
	const void *bytes = flows_bytes(vip, &n);
	size_t len = FILTER_HEAD + n;
	struct inet_diag_bc_op op = { INET_DIAG_BC_S_COND, (uint8_t)len, (uint16_t)(len + sizeof(op)) };
	struct inet_diag_hostcond host = { .family = (uint8_t)vip->sa.sa_family,
					   .prefix_len = (uint8_t)(8 * n),
					   .port = -1 };

	memcpy(out, &op, sizeof(op));
	memcpy(out + sizeof(op), &host, sizeof(host));
	memcpy(out + FILTER_HEAD, bytes, n);
	return len;
}

static int ask(struct search *s, int family)
{
	uint8_t filter[FILTER_MAX];
	char buffer[256];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);

	h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	h->nlmsg_flags = NLM_F_DUMP;
	struct inet_diag_req_v2 *r = mnl_nlmsg_put_extra_header(h, sizeof(*r));
	r->sdiag_family = (uint8_t)family;
	r->sdiag_protocol = IPPROTO_TCP;
	r->idiag_states = STATES;
	mnl_attr_put(h, INET_DIAG_REQ_BYTECODE, make_filter(filter, s->vip), filter);
	return flows_netlink(NETLINK_SOCK_DIAG, h, found, s);
}

int flows_established(const struct addr *vip, struct flow *out, size_t max, struct flows_why *why)
{
	struct search s = { .vip = vip, .out = out, .max = max };

	if ((vip->sa.sa_family == AF_INET && ask(&s, AF_INET) != 0) || ask(&s, AF_INET6) != 0)
		return flows_fail(why, "the kernel does not list its connections: %s", strerror(errno));
	if (s.more)
		return flows_fail(why, "there are more than %zu connections to the address", max);
	return (int)s.n;
}

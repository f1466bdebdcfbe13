/* SPDX-License-Identifier: Apache-2.0
 * Reading the table: what elements a set or a map has, and whether there is a table or a chain.
 *
 * The kernel's table is the only record of what is passed on; nothing is remembered here, so a restart loses nothing.
 * It is read as the kernel tells it and not by way of nft's words: tens of thousands of elements in no noticeable time,
 * since whoever asks also keeps leases. The hard thing is that a list may change while it is told; then it is read
 * again.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "agents/ha/flows/flows_private.h"

#define TRIES 5

struct reading {
	struct element *list;
	size_t n, cap;
};

static const char *nest_end(const struct nlattr *nest)
{
	return (const char *)mnl_attr_get_payload(nest) + mnl_attr_get_payload_len(nest);
}

static const struct nlattr *inner(const struct nlattr *outer, uint16_t type)
{
	const struct nlattr *a;

	if (outer == NULL)
		return NULL;
	ATTR_EACH(a, mnl_attr_get_payload(outer), nest_end(outer))
	{
		if (mnl_attr_get_type(a) == type)
			return a;
	}
	return NULL;
}

static size_t value(const struct nlattr *element, uint16_t type, void *out, size_t max)
{
	const struct nlattr *a = inner(inner(element, type), NFTA_DATA_VALUE);
	size_t n = a != NULL ? mnl_attr_get_payload_len(a) : 0;

	if (n == 0 || n > max)
		return 0;
	memcpy(out, mnl_attr_get_payload(a), n);
	return n;
}

static void element_read(struct reading *r, const struct nlattr *element)
{
	const struct nlattr *expires = inner(element, NFTA_SET_ELEM_EXPIRATION);
	uint64_t ms = 0;

	if (r->n == r->cap) {
		r->cap = r->cap * 2 + 64;
		r->list = xrealloc(r->list, r->cap * sizeof(*r->list));
	}
	struct element *e = &r->list[r->n];
	memset(e, 0, sizeof(*e));
	e->key_n = value(element, NFTA_SET_ELEM_KEY, e->key, sizeof(e->key));
	e->data_n = value(element, NFTA_SET_ELEM_DATA, e->data, sizeof(e->data));
	if (expires != NULL && mnl_attr_get_payload_len(expires) == sizeof(ms))
		ms = be64toh(mnl_attr_get_u64(expires));
	/* Less than a second is a second: 0 would mean for ever. */
	e->seconds = ms == 0                                 ? 0
		     : ms >= (uint64_t)FLOWS_KEEP_MAX * 1000 ? FLOWS_KEEP_MAX
							     : (unsigned)((ms + 999) / 1000);
	if (e->key_n != 0)
		r->n++;
}

static int elements_read(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *a, *element;

	ATTR_EACH(a, mnl_nlmsg_get_payload_offset(h, sizeof(struct nfgenmsg)), message_end(h))
	{
		if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		ATTR_EACH(element, mnl_attr_get_payload(a), nest_end(a))
		element_read(arg, element);
	}
	return MNL_CB_OK;
}

static struct nlmsghdr *request(char *buffer, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));

	h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	h->nlmsg_flags = flags;
	g->nfgen_family = NFPROTO_NETDEV;
	g->version = NFNETLINK_V0;
	return h;
}

int flows_elements(const char *set, struct element **ret, struct flows_why *why)
{
	char buffer[256];
	struct reading r = { 0 };

	for (int i = 0; i < TRIES; i++) {
		struct nlmsghdr *h = request(buffer, NFT_MSG_GETSETELEM, NLM_F_DUMP);
		mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, FLOWS_TABLE);
		mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
		r.n = 0;
		if (flows_netlink(NETLINK_NETFILTER, h, elements_read, &r) == 0 || errno == ENOENT) {
			*ret = r.list;
			return (int)r.n;
		}
		if (errno != EINTR)
			break;
	}
	free(r.list);
	*ret = NULL;
	return flows_fail(why, "the kernel does not list %s: %s", set, strerror(errno));
}

bool flows_chain_there(const char *name)
{
	char buffer[256], chain[IF_NAMESIZE + 8];
	struct nlmsghdr *h = request(buffer, NFT_MSG_GETCHAIN, NLM_F_ACK);

	snprintf(chain, sizeof(chain), "in_%s", name);
	mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, FLOWS_TABLE);
	mnl_attr_put_strz(h, NFTA_CHAIN_NAME, chain);
	return flows_netlink(NETLINK_NETFILTER, h, NULL, NULL) == 0;
}

bool flows_table_there(void)
{
	char buffer[256];
	struct nlmsghdr *h = request(buffer, NFT_MSG_GETTABLE, NLM_F_ACK);

	mnl_attr_put_strz(h, NFTA_TABLE_NAME, FLOWS_TABLE);
	return flows_netlink(NETLINK_NETFILTER, h, NULL, NULL) == 0;
}

/* ---- what they mean ---- */

/* A part of a key fills whole words of 4 bytes. */
bool flows_element_flow(const struct element *e, struct flow *ret)
{
	int family = e->key_n == 40 ? AF_INET6 : AF_INET;
	size_t n = family == AF_INET6 ? 16 : 4;
	const uint8_t *p = e->key;

	if (e->key_n != 2 * n + 8)
		return false;
	flows_addr(&ret->local, family, p, (unsigned)(p[n] << 8 | p[n + 1]));
	p += n + 4;
	flows_addr(&ret->remote, family, p, (unsigned)(p[n] << 8 | p[n + 1]));
	return true;
}

static bool address(const uint8_t *bytes, size_t n, struct addr *ret)
{
	if (n != 4 && n != 16)
		return false;
	flows_addr(ret, n == 16 ? AF_INET6 : AF_INET, bytes, 0);
	return true;
}

bool flows_element_node(const struct element *e, struct addr *ret)
{
	return address(e->data, e->data_n, ret);
}

bool flows_element_vip(const struct element *e, struct addr *ret)
{
	return address(e->key, e->key_n, ret);
}

/* SPDX-License-Identifier: Apache-2.0
 * The rules that nft has no words for, or aborts on, as the kernel takes them.
 *
 * One passes ICMP errors on to the node whose connection they are about: an error quotes the packet it is about, and
 * the addresses of a quotation have no names that could be looked up in a map of addresses. Without it a node would not
 * learn of a smaller MTU on the way to its clients, and their sessions would hang at the first full packet. The other
 * drops an element when a new connection begins between the same ports; for IPv6, libnftables 1.0.6 runs out of
 * registers over it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agents/ha/flows/flows_private.h"

#define BATCH_MAX 8192

/* Where things are in an ICMP error: 8 bytes of its own, then the header quoted, then the first 8 bytes behind. A
 * quoted IPv4 header with options is left to the host: TCP sends none. */
struct quotation {
	int v;            /* 4, 6 */
	uint16_t ether;   /* protocol of the packet */
	uint8_t proto;    /* ICMP or ICMPv6 */
	uint8_t type[2];  /* lowest and highest type that is meant */
	uint8_t inner_at; /* of the quoted header's protocol, from the start of the ICMP header */
	uint8_t saddr, daddr, addr_n, ports;
};

/* Destination unreachable (with "fragmentation needed"), and time exceeded is no error that TCP minds. RFC 1191. */
static const struct quotation quotation4 = { 4, 0x0800, IPPROTO_ICMP, { 3, 3 }, 8 + 9, 8 + 12, 8 + 16, 4, 8 + 20 };
/* Destination unreachable, packet too big. RFC 8201. */
static const struct quotation quotation6 = { 6, 0x86dd, IPPROTO_ICMPV6, { 1, 2 }, 8 + 6, 8 + 8, 8 + 24, 16, 8 + 40 };

static struct nlattr *expr_begin(struct nlmsghdr *h, const char *name, struct nlattr **outer)
{
	*outer = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
	mnl_attr_put_strz(h, NFTA_EXPR_NAME, name);
	return mnl_attr_nest_start(h, NFTA_EXPR_DATA);
}

static void expr_end(struct nlmsghdr *h, struct nlattr *inner, struct nlattr *outer)
{
	mnl_attr_nest_end(h, inner);
	mnl_attr_nest_end(h, outer);
}

static void load_meta(struct nlmsghdr *h, uint32_t key)
{
	struct nlattr *outer, *inner = expr_begin(h, "meta", &outer);

	mnl_attr_put_u32(h, NFTA_META_KEY, htonl(key));
	mnl_attr_put_u32(h, NFTA_META_DREG, htonl(NFT_REG32_00));
	expr_end(h, inner, outer);
}

static void load_from(struct nlmsghdr *h, uint32_t base, uint32_t offset, uint32_t n, uint32_t reg)
{
	struct nlattr *outer, *inner = expr_begin(h, "payload", &outer);

	mnl_attr_put_u32(h, NFTA_PAYLOAD_BASE, htonl(base));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_OFFSET, htonl(offset));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_LEN, htonl(n));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_DREG, htonl(reg));
	expr_end(h, inner, outer);
}

static void load_bytes(struct nlmsghdr *h, uint32_t offset, uint32_t n, uint32_t reg)
{
	load_from(h, NFT_PAYLOAD_TRANSPORT_HEADER, offset, n, reg);
}

/* Keeps these bits of the byte that was loaded last. */
static void mask(struct nlmsghdr *h, uint8_t bits)
{
	struct nlattr *outer, *inner = expr_begin(h, "bitwise", &outer), *data;
	uint8_t none = 0;

	mnl_attr_put_u32(h, NFTA_BITWISE_SREG, htonl(NFT_REG32_00));
	mnl_attr_put_u32(h, NFTA_BITWISE_DREG, htonl(NFT_REG32_00));
	mnl_attr_put_u32(h, NFTA_BITWISE_LEN, htonl(1));
	data = mnl_attr_nest_start(h, NFTA_BITWISE_MASK);
	mnl_attr_put(h, NFTA_DATA_VALUE, 1, &bits);
	mnl_attr_nest_end(h, data);
	data = mnl_attr_nest_start(h, NFTA_BITWISE_XOR);
	mnl_attr_put(h, NFTA_DATA_VALUE, 1, &none);
	mnl_attr_nest_end(h, data);
	expr_end(h, inner, outer);
}

/* What was loaded last must be so. */
static void compare(struct nlmsghdr *h, uint32_t op, const void *value, size_t n)
{
	struct nlattr *outer, *inner = expr_begin(h, "cmp", &outer), *data;

	mnl_attr_put_u32(h, NFTA_CMP_SREG, htonl(NFT_REG32_00));
	mnl_attr_put_u32(h, NFTA_CMP_OP, htonl(op));
	data = mnl_attr_nest_start(h, NFTA_CMP_DATA);
	mnl_attr_put(h, NFTA_DATA_VALUE, n, value);
	mnl_attr_nest_end(h, data);
	expr_end(h, inner, outer);
}

static void look_up(struct nlmsghdr *h, int v)
{
	struct nlattr *outer, *inner = expr_begin(h, "lookup", &outer);

	mnl_attr_put_strz(h, NFTA_LOOKUP_SET, v == 6 ? "flows6" : "flows4");
	mnl_attr_put_u32(h, NFTA_LOOKUP_SREG, htonl(NFT_REG32_00));
	mnl_attr_put_u32(h, NFTA_LOOKUP_DREG, htonl(NFT_REG_1));
	expr_end(h, inner, outer);
}

static void pass_on(struct nlmsghdr *h, int v, unsigned ifindex)
{
	struct nlattr *outer, *inner = expr_begin(h, "immediate", &outer), *data;

	mnl_attr_put_u32(h, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_2));
	data = mnl_attr_nest_start(h, NFTA_IMMEDIATE_DATA);
	mnl_attr_put(h, NFTA_DATA_VALUE, sizeof(ifindex), &ifindex);
	mnl_attr_nest_end(h, data);
	expr_end(h, inner, outer);
	inner = expr_begin(h, "fwd", &outer);
	mnl_attr_put_u32(h, NFTA_FWD_SREG_DEV, htonl(NFT_REG_2));
	mnl_attr_put_u32(h, NFTA_FWD_SREG_ADDR, htonl(NFT_REG_1));
	mnl_attr_put_u32(h, NFTA_FWD_NFPROTO, htonl(v == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6));
	expr_end(h, inner, outer);
}

static void quotation_expressions(struct nlmsghdr *h, const struct quotation *q, unsigned ifindex)
{
	uint16_t ether = htons(q->ether);
	uint8_t tcp = IPPROTO_TCP, first_byte = 0x45;
	uint32_t reg = NFT_REG32_00;
	uint32_t words = q->addr_n / 4;

	load_meta(h, NFT_META_PROTOCOL);
	compare(h, NFT_CMP_EQ, &ether, sizeof(ether));
	load_meta(h, NFT_META_L4PROTO);
	compare(h, NFT_CMP_EQ, &q->proto, 1);
	load_bytes(h, 0, 1, NFT_REG32_00);
	compare(h, NFT_CMP_GTE, &q->type[0], 1);
	compare(h, NFT_CMP_LTE, &q->type[1], 1);
	if (q->v == 4) {
		load_bytes(h, 8, 1, NFT_REG32_00);
		compare(h, NFT_CMP_EQ, &first_byte, 1);
	}
	load_bytes(h, q->inner_at, 1, NFT_REG32_00);
	compare(h, NFT_CMP_EQ, &tcp, 1);
	/* The packet quoted went the other way: its sender is our address. */
	load_bytes(h, q->saddr, q->addr_n, reg);
	load_bytes(h, q->ports, 2, reg + words);
	load_bytes(h, q->daddr, q->addr_n, reg + words + 1);
	load_bytes(h, q->ports + 2u, 2, reg + 2 * words + 1);
	look_up(h, q->v);
	pass_on(h, q->v, ifindex);
}

/* Takes the key that was loaded off the map. The kernel wants a value for an element of a map here too; any will do. */
static void drop_element(struct nlmsghdr *h, int v)
{
	struct nlattr *outer, *inner = expr_begin(h, "dynset", &outer);

	mnl_attr_put_strz(h, NFTA_DYNSET_SET_NAME, v == 6 ? "flows6" : "flows4");
	mnl_attr_put_u32(h, NFTA_DYNSET_OP, htonl(NFT_DYNSET_OP_DELETE));
	mnl_attr_put_u32(h, NFTA_DYNSET_SREG_KEY, htonl(NFT_REG32_00));
	mnl_attr_put_u32(h, NFTA_DYNSET_SREG_DATA, htonl(NFT_REG32_00));
	expr_end(h, inner, outer);
}

/* tcp flags & (syn | ack) == syn: drops the element of this packet's ports, and goes on. */
static void beginning_expressions(struct nlmsghdr *h, const struct quotation *q, unsigned ifindex)
{
	uint16_t ether = htons(q->ether);
	uint8_t tcp = IPPROTO_TCP, syn = 0x02;
	uint32_t saddr = q->v == 6 ? 8 : 12, words = q->addr_n / 4;

	UNUSED(ifindex);
	load_meta(h, NFT_META_PROTOCOL);
	compare(h, NFT_CMP_EQ, &ether, sizeof(ether));
	load_meta(h, NFT_META_L4PROTO);
	compare(h, NFT_CMP_EQ, &tcp, 1);
	load_bytes(h, 13, 1, NFT_REG32_00);
	mask(h, 0x12);
	compare(h, NFT_CMP_EQ, &syn, 1);
	load_from(h, NFT_PAYLOAD_NETWORK_HEADER, saddr + q->addr_n, q->addr_n, NFT_REG32_00);
	load_bytes(h, 2, 2, NFT_REG32_00 + words);
	load_from(h, NFT_PAYLOAD_NETWORK_HEADER, saddr, q->addr_n, NFT_REG32_00 + words + 1);
	load_bytes(h, 0, 2, NFT_REG32_00 + 2 * words + 1);
	drop_element(h, q->v);
}

static struct nlmsghdr *batch_message(char *at, uint16_t type, uint16_t flags, uint16_t res)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(at);
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	g->nfgen_family = res == NFNL_SUBSYS_NFTABLES ? NFPROTO_UNSPEC : NFPROTO_NETDEV;
	g->version = NFNETLINK_V0;
	g->res_id = htons(res);
	return h;
}

struct rule {
	const struct quotation *q;
	void (*expressions)(struct nlmsghdr *h, const struct quotation *q, unsigned ifindex);
	uint16_t place; /* NLM_F_APPEND = last, 0 = first */
};

static const struct rule rules[] = {
	{ &quotation4, quotation_expressions, NLM_F_APPEND },
	{ &quotation6, quotation_expressions, NLM_F_APPEND },
	{ &quotation4, beginning_expressions, 0 },
	{ &quotation6, beginning_expressions, 0 },
};

static size_t rule_message(char *at, const char *name, const struct rule *r, uint32_t seq)
{
	uint16_t type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE;
	struct nlmsghdr *h = batch_message(at, type, NLM_F_CREATE | NLM_F_ACK | r->place, 0);
	char chain[IF_NAMESIZE + 8];

	h->nlmsg_seq = seq;
	snprintf(chain, sizeof(chain), "in_%s", name);
	mnl_attr_put_strz(h, NFTA_RULE_TABLE, FLOWS_TABLE);
	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
	struct nlattr *list = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
	r->expressions(h, r->q, if_nametoindex(name));
	mnl_attr_nest_end(h, list);
	return MNL_ALIGN(h->nlmsg_len);
}

static int add_rule(const char *name, const struct rule *r)
{
	char *batch = xcalloc(1, BATCH_MAX);
	uint32_t seq = (uint32_t)time(NULL);
	size_t n = 0;

	n += MNL_ALIGN(batch_message(batch, NFNL_MSG_BATCH_BEGIN, 0, NFNL_SUBSYS_NFTABLES)->nlmsg_len);
	n += rule_message(batch + n, name, r, seq);
	n += MNL_ALIGN(batch_message(batch + n, NFNL_MSG_BATCH_END, 0, NFNL_SUBSYS_NFTABLES)->nlmsg_len);
	ASSERT(n <= BATCH_MAX);
	int rc = flows_netlink_send(&(struct netlink_request) { NETLINK_NETFILTER, batch, n, seq }, NULL, NULL);
	free(batch);
	return rc;
}

int flows_rules_add(const char *name, struct flows_why *why)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (add_rule(name, &rules[i]) != 0)
			return flows_fail(why, "the kernel refuses rule %zu for %s: %s", i, name, strerror(errno));
	return 0;
}

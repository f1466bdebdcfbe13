/* SPDX-License-Identifier: Apache-2.0
 * Commands for nftables, in the words of nft(8), so that what an operator lists is what stands here.
 *
 * Nothing but addresses, numbers and checked names goes into a command. The hard thing is the rules themselves:
 * packets are passed on where they come in (netdev, ingress), before the host's routing, its firewall and its
 * connection tracking, none of which then has to know. `fwd` finds the node's link-layer address and sends the packet
 * as it is.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "agents/ha/flows/flows_private.h"

/* Connections that began here while another node's are not all known yet; longer than that is never needed. */
#define OWN_SECONDS 300
#define OWN_MAX FLOWS_MAX
/* After the host's own rules at this place: what they drop stays dropped. */
#define PRIORITY 100

void text_add(struct text *t, const char *fmt, ...)
{
	va_list args;

	for (;;) {
		va_start(args, fmt);
		int n = vsnprintf(t->p != NULL ? t->p + t->n : NULL, t->cap - t->n, fmt, args);
		va_end(args);
		ASSERT(n >= 0);
		if ((size_t)n < t->cap - t->n) {
			t->n += (size_t)n;
			return;
		}
		t->cap = (t->cap + (size_t)n) * 2 + 256;
		t->p = xrealloc(t->p, t->cap);
	}
}

void text_free(struct text *t)
{
	free(t->p);
	memset(t, 0, sizeof(*t));
}

bool flows_text_name_ok(const char *name)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	return *name != '\0' && *name != '.' && *name != '-' && name[strspn(name, good)] == '\0' &&
	       strlen(name) < IF_NAMESIZE;
}

static void family_sets(struct text *t, int v, const char *type)
{
	text_add(t,
		 "add map netdev " FLOWS_TABLE " flows%d { type %s . inet_service . %s . inet_service : %s; "
		 "flags dynamic,timeout; size %d; }\n",
		 v, type, type, type, FLOWS_MAX);
	text_add(t, "add map netdev " FLOWS_TABLE " open%d { type %s : %s; flags timeout; size %d; }\n", v, type, type,
		 FLOWS_KEPT_MAX);
	text_add(t,
		 "add set netdev " FLOWS_TABLE
		 " own%d { type %s . inet_service . %s . inet_service; flags dynamic,timeout; "
		 "timeout %ds; size %d; }\n",
		 v, type, type, OWN_SECONDS, OWN_MAX);
}

void flows_text_table(struct text *t)
{
	text_add(t, "add table netdev " FLOWS_TABLE "\n");
	family_sets(t, 4, "ipv4_addr");
	family_sets(t, 6, "ipv6_addr");
	text_add(t, "add map netdev " FLOWS_TABLE " settings { type ifname : mark; }\n");
}

/* The first packet of a connection is the taker's always; a rule before these ends what was known of an older one
 * between the same ports. Of the others, those of connections that began here are; then the known ones, and last all
 * that is unknown while the address is still on its way. */
static void family_rules(struct text *t, const char *name, int v, const char *ip)
{
	char key[128];

	snprintf(key, sizeof(key), "%s daddr . tcp dport . %s saddr . tcp sport", ip, ip);
	text_add(t,
		 "add rule netdev " FLOWS_TABLE
		 " in_%s %s daddr @open%d tcp flags & (syn | ack) == syn update @own%d { %s }\n",
		 name, ip, v, v, key);
	text_add(t, "add rule netdev " FLOWS_TABLE " in_%s meta protocol %s tcp flags & (syn | ack) == syn accept\n",
		 name, ip);
	text_add(t, "add rule netdev " FLOWS_TABLE " in_%s %s @own%d accept\n", name, key, v);
	text_add(t, "add rule netdev " FLOWS_TABLE " in_%s fwd %s to %s map @flows%d device \"%s\"\n", name, ip, key, v,
		 name);
	text_add(t,
		 "add rule netdev " FLOWS_TABLE
		 " in_%s meta l4proto tcp fwd %s to %s daddr map @open%d device \"%s\"\n",
		 name, ip, ip, v, name);
}

void flows_text_chain(struct text *t, const char *name)
{
	text_add(t,
		 "add chain netdev " FLOWS_TABLE
		 " in_%s { type filter hook ingress device \"%s\" priority %d; policy accept; }\n",
		 name, name, PRIORITY);
	text_add(t, "flush chain netdev " FLOWS_TABLE " in_%s\n", name);
	family_rules(t, name, 4, "ip");
	family_rules(t, name, 6, "ip6");
}

void flows_text_key(struct text *t, const struct flow *f)
{
	char local[ADDR_TEXT_MAX], remote[ADDR_TEXT_MAX];

	text_add(t, "%s . %u . %s . %u", addr_format_ip(&f->local, local), addr_port(&f->local),
		 addr_format_ip(&f->remote, remote), addr_port(&f->remote));
}

void flows_text_elements(struct text *t, const struct text_batch *b, const struct flow *flows, size_t n)
{
	char node[ADDR_TEXT_MAX];

	if (n == 0)
		return;
	text_add(t, "%s element netdev " FLOWS_TABLE " %s {", b->verb, b->set);
	for (size_t i = 0; i < n; i++) {
		text_add(t, i == 0 ? " " : ", ");
		flows_text_key(t, &flows[i]);
		if (b->seconds != 0)
			text_add(t, " timeout %us", b->seconds);
		if (b->node != NULL)
			text_add(t, " : %s", addr_format_ip(b->node, node));
	}
	text_add(t, " }\n");
}

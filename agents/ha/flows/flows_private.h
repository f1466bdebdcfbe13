/* SPDX-License-Identifier: Apache-2.0
 * What the files of this folder share: netlink, links and addresses, the table.
 */
#ifndef POSTROAD_HA_FLOWS_PRIVATE_H
#define POSTROAD_HA_FLOWS_PRIVATE_H

#include <libmnl/libmnl.h>
#include <net/if.h>
#include <stdio.h>

#include "agents/ha/flows.h"

/* ---- flows_netlink.c ---- */

/* The sentence; returns -1. */
int flows_fail(struct flows_why *why, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Messages that are sent together; the answer is to those with this number. */
struct netlink_request {
	int bus;
	const void *bytes;
	size_t n;
	uint32_t seq;
};
int flows_netlink_send(const struct netlink_request *r, mnl_cb_t callback, void *arg) MUST_CHECK;
/* Sends a request and reads its answer to the end, at most 2 s. 0, or -1 with errno. */
int flows_netlink(int bus, struct nlmsghdr *request, mnl_cb_t callback, void *arg) MUST_CHECK;
/* Attributes, without the casts of libmnl's own loops, which clang minds. `end` is where they end. */
#define ATTR_EACH(a, first, end)                                                                                       \
	for ((a) = (first); mnl_attr_ok((a), (int)((end) - (const char *)(a))); (a) = mnl_attr_next(a))
static inline const char *message_end(const struct nlmsghdr *h)
{
	return (const char *)h + MNL_ALIGN(h->nlmsg_len);
}
/* The bytes of an address and how many they are. */
const void *flows_bytes(const struct addr *a, size_t *ret_n);
/* From bytes of a family. */
void flows_addr(struct addr *ret, int family, const void *bytes, unsigned port);

/* ---- flows_diag.c ---- */

/* One message of the kernel's list of sockets: true with *ret when it is a connection to the address. Pure. */
struct inet_diag_msg;
bool flows_diag_read(const struct inet_diag_msg *m, const struct addr *vip, struct flow *ret);

/* ---- flows_link.c ---- */

/* The interface that has this address of ours. */
int flows_link_own(const struct addr *own, char name[IF_NAMESIZE], struct flows_why *why) MUST_CHECK;
/* The interface behind which this node's address is, without a router between. */
int flows_link_towards(const struct addr *node, char name[IF_NAMESIZE], struct flows_why *why) MUST_CHECK;
int flows_link_keep(const struct addr *vip, unsigned seconds, struct flows_why *why) MUST_CHECK;
int flows_link_release(const struct addr *vip, struct flows_why *why) MUST_CHECK;
/* Addresses that are on `lo` by our hands: how many, or -1. */
int flows_link_kept(struct addr out[FLOWS_KEPT_MAX], struct flows_why *why) MUST_CHECK;

/* ---- flows_settings.c ---- */

/* Makes the interface answer and ask by ARP for its own addresses only, and notes in the table what was before. */
int flows_settings_change(const char *name, struct flows_why *why) MUST_CHECK;
int flows_settings_restore(struct flows_why *why) MUST_CHECK;

/* ---- flows_text.c: commands for nftables, pure ---- */

struct text {
	char *p;
	size_t n, cap;
};
void text_add(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void text_free(struct text *t);
/* Only names that need no quoting in a command, nor in a path. */
bool flows_text_name_ok(const char *name);
/* The table with all its sets, and no chain yet. Harmless when it is there. */
void flows_text_table(struct text *t);
/* The chain of an interface with its rules for both families; replaces what there was. */
void flows_text_chain(struct text *t, const char *name);
/* "ADDRESS . PORT . ADDRESS . PORT", local first. */
void flows_text_key(struct text *t, const struct flow *f);
/* "verb element netdev postroad SET4 { … }" for a batch; node NULL: a set without values; seconds 0: no time of its own
 */
struct text_batch {
	const char *verb, *set;
	const struct addr *node;
	unsigned seconds;
};
void flows_text_elements(struct text *t, const struct text_batch *b, const struct flow *flows, size_t n);

/* ---- flows_nft.c: writing the table ---- */

/* One transaction: all of it or nothing. */
int flows_nft_run(const char *commands, struct flows_why *why) MUST_CHECK;
/* ---- flows_elements.c: reading the table ---- */

/* An element of a set, or of a map when it has data; as the kernel tells it. */
struct element {
	uint8_t key[40], data[16];
	size_t key_n, data_n;
	unsigned seconds; /* that it has left; 0 = no end */
};
/* How many, or -1; none when there is no such set. The caller frees *ret. */
int flows_elements(const char *set, struct element **ret, struct flows_why *why) MUST_CHECK;
bool flows_chain_there(const char *name);
bool flows_table_there(void);
/* The key of an element of flows4, flows6, own4, own6; the address that is the key in open4, open6; the node that is
 * the data. False = not of that form. Pure. */
bool flows_element_flow(const struct element *e, struct flow *ret);
bool flows_element_vip(const struct element *e, struct addr *ret);
bool flows_element_node(const struct element *e, struct addr *ret);

/* ---- flows_rules.c ---- */

/* Completes the chain of an interface by the rules that have no words: new connections drop the element of their ports,
 * and ICMP errors follow the connection they are about. */
int flows_rules_add(const char *name, struct flows_why *why) MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Typed data as keepalived's file.
 *
 * The hard thing: keepalived drops the adverts of a peer whose list of addresses differs, and so two nodes in the
 * middle of a change would both be masters. So one address alone is in the advert, the others are said to be excluded
 * from it, which changes nothing about their being there.
 */
#include "agents/ha/render.h"

/* RFC 5798, 5.1.1.2 and 5.1.2.2: never forwarded. */
#define VRRP_GROUP_4 "224.0.0.18"
#define VRRP_GROUP_6 "ff02::12"

/* Without vrrp_rt_priority: the kernel kills a process in real time that computes for longer than its RLIMIT_RTTIME,
 * and keepalived 2.2.7 was seen to end so a second and a half after reloads, whatever limit was set, its VIPs with it.
 */
static void global(struct sbuf *out, const char *state_dir)
{
	sbuf_puts(out, "# Written by postroad-ha; it replaces this file whenever it changes.\n"
		       "global_defs {\n"
		       "\trouter_id postroad\n"
		       "\tvrrp_version 3\n"
		       "\tvrrp_garp_lower_prio_repeat 5\n"
		       "\tvrrp_higher_prio_send_advert true\n"
		       "\tvrrp_no_swap\n");
	sbuf_printf(out, "\tvrrp_notify_fifo \"%s/" RENDER_FIFO "\"\n", state_dir);
	sbuf_puts(out, "\tfifo_write_vrrp_states_on_reload\n}\n");
}

/* "weight 0 reverse": what is not "1", and a file that is missing, is a fault. Without `reverse` it would be the other
 * way round. */
static void track_file(struct sbuf *out, const struct ha_vip *v, const char *state_dir)
{
	sbuf_printf(out,
		    "track_file " RENDER_INSTANCE "%s {\n"
		    "\tfile \"%s/" RENDER_TRACK_DIR "/%s\"\n"
		    "\tweight 0 reverse\n"
		    "}\n",
		    v->name, state_dir, v->name);
}

/* A node without peers says to all what nobody hears. VRRP's group is named as if it were a peer: an empty list is
 * refused, and an instance without one, which would speak to the group by itself, is another to keepalived than one
 * with peers: the address would be dropped, for three adverts, whenever the first peer comes or the last one goes. */
static void peers(struct sbuf *out, const struct ha_vip *v)
{
	char text[ADDR_TEXT_MAX];

	sbuf_printf(out, "\tunicast_src_ip %s\n", addr_format_ip(&v->source, text));
	sbuf_puts(out, "\tunicast_peer {\n");
	for (size_t i = 0; i < v->n_peers; i++)
		sbuf_printf(out, "\t\t%s\n", addr_format_ip(&v->peers[i], text));
	if (v->n_peers == 0)
		sbuf_printf(out, "\t\t%s\n", v->source.sa.sa_family == AF_INET6 ? VRRP_GROUP_6 : VRRP_GROUP_4);
	sbuf_puts(out, "\t}\n");
}

static void address(struct sbuf *out, const struct ha_vip *v, size_t i)
{
	char text[ADDR_TEXT_MAX];

	sbuf_printf(out, "\t\t%s/%u dev %s\n", addr_format_ip(&v->addresses[i].ip, text), v->addresses[i].bits,
		    v->interface);
}

static void addresses(struct sbuf *out, const struct ha_vip *v)
{
	size_t first = 0;

	while (first + 1 < v->n_addresses && v->addresses[first].ip.sa.sa_family != v->source.sa.sa_family)
		first++;
	sbuf_puts(out, "\tvirtual_ipaddress {\n");
	address(out, v, first);
	sbuf_puts(out, "\t}\n");
	if (v->n_addresses == 1)
		return;
	sbuf_puts(out, "\tvirtual_ipaddress_excluded {\n");
	for (size_t i = 0; i < v->n_addresses; i++)
		if (i != first)
			address(out, v, i);
	sbuf_puts(out, "\t}\n");
}

static void instance(struct sbuf *out, const struct ha_vip *v)
{
	sbuf_printf(out,
		    "vrrp_instance " RENDER_INSTANCE "%s {\n"
		    "\tstate BACKUP\n"
		    "\tinterface %s\n"
		    "\tvirtual_router_id %u\n"
		    "\tpriority %u\n"
		    "\tadvert_int %u.%02u\n"
		    "%s"
		    "\tgarp_master_refresh %u\n",
		    v->name, v->interface, v->vrid, v->priority, v->advert_ms / 1000u, v->advert_ms % 1000u / 10,
		    v->failback ? "" : "\tnopreempt\n", v->garp_s);
	peers(out, v);
	sbuf_printf(out, "\ttrack_file {\n\t\t" RENDER_INSTANCE "%s\n\t}\n", v->name);
	addresses(out, v);
	sbuf_puts(out, "}\n");
}

void render_keepalived(const struct ha_table *t, const char *state_dir, struct sbuf *out)
{
	global(out, state_dir);
	for (size_t i = 0; i < t->n; i++)
		track_file(out, &t->vips[i], state_dir);
	for (size_t i = 0; i < t->n; i++)
		instance(out, &t->vips[i]);
}

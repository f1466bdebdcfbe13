/* SPDX-License-Identifier: Apache-2.0
 * What the facts about a machine mean for a node on it.
 *
 * The hard thing: a check that cries too early is switched off. So what cannot work is an error, what may bite later is
 * a warning, and what is not known is not spoken of.
 */
#include "cluster/members/preflight.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>

struct list {
	size_t n;
	struct preflight_finding *at;
};

static void find(struct list *l, enum preflight_severity severity, const char *id, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

static void find(struct list *l, enum preflight_severity severity, const char *id, const char *fmt, ...)
{
	va_list ap;

	if (l->n == PREFLIGHT_FINDINGS_MAX)
		return;
	struct preflight_finding *f = &l->at[l->n++];
	f->severity = severity;
	f->id = id;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

static void strangers(const struct preflight_facts *f, struct list *l)
{
	if (f->corosync_pid != 0)
		find(l, PREFLIGHT_ERROR, "corosync-running",
		     "A corosync that is not Postroad's runs here (process %u%s%s). Two cannot run on one machine: if "
		     "nothing "
		     "needs it, `systemctl disable --now corosync`; if a cluster does, use another machine.",
		     f->corosync_pid, f->corosync_cluster[0] != '\0' ? ", cluster " : "", f->corosync_cluster);
	else if (f->corosync_enabled)
		find(l, PREFLIGHT_ERROR, "corosync-enabled",
		     "corosync.service is set to start with this machine%s%s, and would be in the way then: `systemctl "
		     "disable "
		     "corosync`. Postroad runs corosync by a unit of its own and leaves /etc/corosync alone.",
		     f->corosync_cluster[0] != '\0' ? " for the cluster " : "", f->corosync_cluster);
	else if (f->corosync_conf)
		find(l, PREFLIGHT_WARNING, "corosync-configured",
		     "/etc/corosync/corosync.conf exists%s%s and is not used. It does no harm while corosync.service "
		     "stays off.",
		     f->corosync_cluster[0] != '\0' ? ", for the cluster " : "", f->corosync_cluster);
	if (f->keepalived_pid != 0)
		find(l, PREFLIGHT_WARNING, "keepalived-running",
		     "A keepalived that is not Postroad's runs here (process %u). It may stay if its addresses and "
		     "virtual "
		     "router ids are others; else `systemctl disable --now keepalived`.",
		     f->keepalived_pid);
}

static void ports(const struct preflight_facts *f, struct list *l)
{
	for (size_t i = 0; i < f->n_links && i < PREFLIGHT_LINKS_MAX; i++)
		if (f->port_used[i])
			find(l, PREFLIGHT_ERROR, "port-used",
			     "UDP port %u, which corosync needs for link %zu, is in use: `ss -ulnp 'sport = :%u'` says "
			     "by whom.",
			     f->port + (unsigned)i, i, f->port + (unsigned)i);
	if (f->shm_mib < PREFLIGHT_SHM_MIN_MIB)
		find(l, PREFLIGHT_ERROR, "shared-memory",
		     "/dev/shm has %u MiB free and corosync needs %d: make it larger (in a container: --shm-size).",
		     f->shm_mib, PREFLIGHT_SHM_MIN_MIB);
}

static bool is_link_local(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr);
}

static void mtu(const struct preflight_link *k, const char *text, struct list *l)
{
	if (k->mtu != 0 && k->mtu < PREFLIGHT_MTU_MIN)
		find(l, PREFLIGHT_ERROR, "mtu-small", "The MTU of %s (%s) is %u and must be at least %d.", k->interface,
		     text, k->mtu, PREFLIGHT_MTU_MIN);
	else if (k->mtu != 0 && k->peer_mtu != 0 && k->mtu != k->peer_mtu)
		find(l, PREFLIGHT_WARNING, "mtu-differs",
		     "The MTU of %s (%s) is %u here and %u on the other side: what is larger than the smaller one gets "
		     "lost "
		     "without a trace. Set both alike.",
		     k->interface, text, k->mtu, k->peer_mtu);
}

static void link_of(const struct preflight_facts *f, size_t i, struct list *l)
{
	const struct preflight_link *k = &f->links[i];
	char text[ADDR_TEXT_MAX], peer[ADDR_TEXT_MAX];

	addr_format_ip(&k->addr, text);
	if (addr_is_loopback(&k->addr) || addr_is_any(&k->addr) || is_link_local(&k->addr)) {
		find(l, PREFLIGHT_ERROR, "address-unfit",
		     "%s cannot be reached from another machine: give an address of a network that the nodes share.",
		     text);
		return;
	}
	if (!k->here) {
		find(l, PREFLIGHT_ERROR, "address-elsewhere", "%s is not an address of this machine, which has: %s.",
		     text, f->addresses[0] != '\0' ? f->addresses : "none");
		return;
	}
	for (size_t other = 0; other < i; other++)
		if (f->links[other].here && strcmp(f->links[other].interface, k->interface) == 0)
			find(l, PREFLIGHT_WARNING, "links-share",
			     "Both links go through %s, so they fail together: use two networks, or one link.",
			     k->interface);
	mtu(k, text, l);
	if (k->peer_reached == PREFLIGHT_NO)
		find(l, PREFLIGHT_ERROR, "peer-unreachable",
		     "%s does not reach %s by UDP port %u: is a firewall in between? Nodes need UDP %u to %u and IP "
		     "protocol "
		     "112 (VRRP) among each other.",
		     text, addr_format_ip(&k->peer, peer), f->port + (unsigned)i, f->port,
		     f->port + PREFLIGHT_LINKS_MAX - 1);
}

static void peer(const struct preflight_facts *f, struct list *l)
{
	double off = fabs(f->clock_ahead);
	const char *way = f->clock_ahead > 0 ? "ahead of" : "behind";

	if (!f->has_peer)
		return;
	if (!(off <= PREFLIGHT_SKEW_MAX_SEC))
		find(l, PREFLIGHT_ERROR, "clock",
		     "This machine's clock is %.0f s %s that of %s: set it (chrony, ntp) first.", off, way,
		     f->peer_name);
	else if (off > PREFLIGHT_SKEW_WARN_SEC)
		find(l, PREFLIGHT_WARNING, "clock",
		     "This machine's clock is %.1f s %s that of %s: set both by the same time servers (chrony, ntp).",
		     off, way, f->peer_name);
	if (f->level < f->features_low || f->level > f->features_high)
		find(l, PREFLIGHT_ERROR, "version",
		     "%s runs version %s and the cluster speaks level %u; this version, %s, speaks %u to %u. Upgrade "
		     "%s.",
		     f->peer_name, f->peer_version, f->level, f->version, f->features_low, f->features_high,
		     f->level > f->features_high ? "this node" : "the cluster first, node by node");
}

static void routers(const struct preflight_facts *f, struct list *l)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < f->n_wanted && i < PREFLIGHT_VRIDS_MAX; i++)
		for (size_t k = 0; k < f->n_heard && k < PREFLIGHT_VRIDS_MAX; k++)
			if (f->wanted[i] == f->heard[k].vrid)
				find(l, PREFLIGHT_ERROR, "vrid-used",
				     "The virtual router id %u is in use by %s on this network: give the VIP another "
				     "`vrid`.",
				     f->wanted[i], addr_format_ip(&f->heard[k].from, text));
}

/* Errors first, each kind in its order. */
static void sort(struct list *l)
{
	size_t errors = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (l->at[i].severity != PREFLIGHT_ERROR)
			continue;
		struct preflight_finding e = l->at[i];
		memmove(&l->at[errors + 1], &l->at[errors], (i - errors) * sizeof(e));
		l->at[errors++] = e;
	}
}

size_t preflight_judge(const struct preflight_facts *f, struct preflight_finding ret[PREFLIGHT_FINDINGS_MAX])
{
	struct list l = { .at = ret };

	strangers(f, &l);
	ports(f, &l);
	for (size_t i = 0; i < f->n_links && i < PREFLIGHT_LINKS_MAX; i++)
		link_of(f, i, &l);
	peer(f, &l);
	routers(f, &l);
	sort(&l);
	return l.n;
}

/* SPDX-License-Identifier: Apache-2.0
 * The flows of a planned move: messages become calls of flows.h, for each address of the VIP.
 *
 * The hard thing: a list of flows can be long, and the lists of a VIP that has moved twice belong to several nodes. So
 * they go out in parts, each of one owner, the last one marked.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agents/ha/flows.h"
#include "agents/ha/ha.h"
#include "daemon/base/log.h"

/* ---- the list ---- */

struct parts {
	struct ha *ha;
	struct ha_flows *out;
};

static void send_part(struct parts *p, bool last)
{
	p->out->last = last;
	p->ha->out->type = HA_FLOWS;
	server_send(&p->ha->server, p->ha->out);
	p->out->n = 0;
}

static void add(struct parts *p, const struct flow *flow, const struct addr *owner, uint32_t seconds)
{
	struct ha_flows *f = p->out;
	bool same = f->seconds == seconds && f->owner.sa.sa_family == owner->sa.sa_family &&
		    (owner->sa.sa_family == 0 || addr_eq_ip(&f->owner, owner));

	if (f->n == HA_FLOWS_MAX || (f->n > 0 && !same))
		send_part(p, false);
	f->owner = *owner;
	f->seconds = seconds;
	f->list[f->n++] = (struct ha_flow) { flow->local, flow->remote };
}

/* This node's own come first, and what it is said to pass on between the same ports is older than they are. */
static int list_address(struct parts *p, const struct addr *ip, struct flows_why *why)
{
	static const struct addr nobody;
	struct flow *own = xcalloc(FLOWS_MAX, sizeof(*own));
	struct flow_passed *passed = xcalloc(FLOWS_MAX, sizeof(*passed));
	int n = flows_established(ip, own, FLOWS_MAX, why);
	int m = n < 0 ? -1 : flows_passed_on(ip, passed, FLOWS_MAX, why);

	for (int i = 0; i < n && m >= 0; i++)
		add(p, &own[i], &nobody, 0);
	qsort(own, n > 0 ? (size_t)n : 0, sizeof(*own), flows_compare);
	flows_group(passed, m > 0 ? (size_t)m : 0);
	for (int i = 0; i < m; i++)
		if (passed[i].seconds > 0 &&
		    bsearch(&passed[i].flow, own, (size_t)n, sizeof(*own), flows_compare) == NULL)
			add(p, &passed[i].flow, &passed[i].node, passed[i].seconds);
	free(passed);
	free(own);
	return m;
}

static void list(struct ha *ha, const struct ha_vip *vip, uint32_t ticket)
{
	struct parts p = { ha, &ha->out->flows };
	struct flows_why why = { "" };
	int r = 0;

	memset(p.out, 0, sizeof(*p.out));
	p.out->ticket = ticket;
	memcpy(p.out->vip, vip->name, sizeof(vip->name));
	for (size_t i = 0; i < vip->n_addresses && r >= 0; i++)
		r = list_address(&p, &vip->addresses[i].ip, &why);
	if (r < 0)
		ha_answer(ha, ticket, HA_FLOWS_LIST, why.text);
	else
		send_part(&p, true);
}

/* ---- the node that gives ---- */

static bool usable(const struct kernel_address *a, const struct ha_vip *vip, sa_family_t family)
{
	if (a->ip.sa.sa_family != family || (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->ip.in6.sin6_addr)))
		return false;
	for (size_t i = 0; i < vip->n_addresses; i++)
		if (addr_eq_ip(&vip->addresses[i].ip, &a->ip))
			return false;
	return true;
}

/* This node's own address of a family on the VIP's interface; NULL = it has none. */
static const struct addr *own_address(struct ha *ha, const struct ha_vip *vip, sa_family_t family)
{
	int interface = ha->vips.states[vip - ha->vips.table->vips].interface;

	if (vip->source.sa.sa_family == family)
		return &vip->source;
	for (size_t i = 0; i < ha->kernel.n; i++)
		if (ha->kernel.list[i].interface == interface && usable(&ha->kernel.list[i], vip, family))
			return &ha->kernel.list[i].ip;
	return NULL;
}

static bool keep(struct ha *ha, const struct ha_vip *vip, uint32_t seconds, struct flows_why *why)
{
	for (size_t i = 0; i < vip->n_addresses; i++) {
		const struct addr *ip = &vip->addresses[i].ip, *own = own_address(ha, vip, ip->sa.sa_family);
		if (own == NULL) {
			ha_text(why->text, "this node has no address of its own of an address's family");
			return false;
		}
		if (flows_keep(ip, own, seconds, why) != 0)
			return false;
	}
	return true;
}

/* All are let go of, also when one of them cannot be. */
static bool drop(const struct ha_vip *vip, struct flows_why *why)
{
	bool ok = true;

	for (size_t i = 0; i < vip->n_addresses; i++)
		ok &= flows_release(&vip->addresses[i].ip, why) == 0;
	return ok;
}

/* ---- the node that takes ---- */

static size_t pick(const struct ha_flows *f, const struct addr *ip, struct flow *out)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		if (addr_eq_ip(&f->list[i].local, ip))
			out[n++] = (struct flow) { f->list[i].local, f->list[i].remote };
	return n;
}

static bool take(const struct ha_vip *vip, const struct ha_message *m, struct flows_why *why)
{
	const struct ha_flows *f = &m->flows;
	struct flow *flows = xcalloc(HA_FLOWS_MAX, sizeof(*flows));
	bool ok = true;

	for (size_t i = 0; i < vip->n_addresses && ok; i++) {
		struct flows_move move = { vip->addresses[i].ip, f->owner, f->seconds };
		if (move.vip.sa.sa_family != f->owner.sa.sa_family)
			continue;
		if (m->type == HA_FLOWS_OPEN) {
			ok = flows_open(&move, why) == 0;
			continue;
		}
		size_t n = pick(f, &move.vip, flows);
		ok = n == 0 || flows_receive(&move, flows, n, why) == 0;
	}
	free(flows);
	return ok;
}

/* ---- a node that may be dead ---- */

/* It has left the cluster, as postroadd sees it. That is not to be dead: what it serves would be cut for a cable
 * between nodes. So the network is asked too. */
static const char *ask_for(struct ha *ha, const struct ha_lost *lost, struct flows_why *why)
{
	struct ha_vip node = { .n_addresses = 1, .addresses = { { .ip = lost->owner } } };
	char name[IF_NAMESIZE];

	if (flows_way(&lost->owner, name, why) != 0)
		return why->text;
	snprintf(node.interface, sizeof(node.interface), "%s", name);
	return probes_start(&ha->probes, lost->ticket, &node);
}

void ha_on_node_probed(struct ha *ha, const struct probe *p)
{
	struct flows_why why = { "" };
	const char *text = NULL;

	if (p->seen)
		text = "the node answers on the network: what it serves goes on";
	else if (flows_lost(&p->vip.addresses[0].ip, &why) != 0)
		text = why.text;
	ha_answer(ha, p->ticket, HA_FLOWS_LOST, text);
}

/* ---- messages ---- */

static void about_vip(struct ha *ha, const struct ha_message *m)
{
	bool list_like = m->type == HA_FLOWS_OPEN || m->type == HA_FLOWS_TAKE;
	uint32_t ticket = list_like ? m->flows.ticket : m->about.ticket;
	const struct ha_vip *vip = ha_table_find(ha->vips.table, list_like ? m->flows.vip : m->about.vip);
	struct flows_why why = { "" };
	bool ok;

	if (vip == NULL) {
		ha_answer(ha, ticket, m->type, "there is no such VIP in the table that is in force");
		return;
	}
	if (m->type == HA_FLOWS_LIST) {
		list(ha, vip, ticket);
		return;
	}
	if (m->type == HA_FLOWS_KEEP)
		ok = keep(ha, vip, m->about.seconds, &why);
	else
		ok = m->type == HA_FLOWS_DROP ? drop(vip, &why) : take(vip, m, &why);
	ha_answer(ha, ticket, m->type, ok ? NULL : why.text);
}

void ha_on_flows(struct ha *ha, const struct ha_message *m)
{
	struct flows_why why = { "" };

	if (m->type != HA_FLOWS_LOST) {
		about_vip(ha, m);
		return;
	}
	const char *wrong = ask_for(ha, &m->lost, &why);
	if (wrong != NULL)
		ha_answer(ha, m->lost.ticket, m->type, wrong);
}

int ha_clean(void)
{
	struct flows_why why = { "" };

	if (flows_clean_all(&why) == 0)
		return HA_EXIT_DONE;
	fprintf(stderr, "postroad-ha: %s\n", why.text);
	return HA_EXIT_FAILED;
}

void ha_tidy_flows(void)
{
	struct flows_why why = { "" };

	if (flows_tidy(&why) != 0)
		log_msg(LOG_LEVEL_WARNING, "flows", "%s", why.text);
}

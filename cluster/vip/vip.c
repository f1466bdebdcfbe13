/* SPDX-License-Identifier: Apache-2.0
 * Which node may hold which VIP.
 *
 * The hard thing: a node that lets go for a reason that all share takes the service down, and one that holds on for
 * want of news does so too. So there are reasons that count by themselves, and others that count only against a
 * candidate who has said, after this node's trouble began, that he has none.
 */
#include "cluster/vip/vip.h"

#include <stdio.h>

const char *const vip_fault_texts[VIP_FAULT_COUNT] = {
	"",
	"a worker has not answered for a second",
	"a listener is not bound",
	"no configuration is loaded",
	"the node is starting",
};

enum vip_fault vip_fault_of(const struct vip_health *h)
{
	if (!h->configuration)
		return VIP_CONFIGURATION;
	if (!h->listeners)
		return VIP_LISTENERS;
	if (!h->synced && h->started_ms < VIP_START_MS)
		return VIP_STARTING;
	return h->worker_ms >= VIP_WORKER_MS ? VIP_WORKER : VIP_WELL;
}

bool vip_is_able(const struct vip_health *h)
{
	return h->pools && !h->overloaded;
}

/* ---- who could ---- */

static const struct vip_node *node_of(const struct vip_nodes *nodes, uint32_t id)
{
	for (size_t i = 0; i < nodes->n; i++)
		if (nodes->list[i].id == id)
			return &nodes->list[i];
	return NULL;
}

static bool in_order(const struct vip *vip, uint32_t id)
{
	for (size_t i = 0; i < vip->n_order; i++)
		if (vip->order[i] == id)
			return true;
	return false;
}

static bool is_fresh(const struct vip_node *n)
{
	return n->age_ms < VIP_FRESH_MS;
}

/* Nothing that it has said speaks against its taking a VIP; soft reasons are looked at apart. */
static bool could(const struct vip_node *n)
{
	return n != NULL && is_fresh(n) && n->fault == VIP_WELL && !n->draining && n->keepalived;
}

uint8_t vip_priority(const struct vip *vip, uint32_t node)
{
	size_t rank = 0;

	if (!in_order(vip, node))
		return 0;
	if (node == vip->pinned)
		return VIP_PRIORITY_TOP;
	if (in_order(vip, vip->pinned))
		rank++;
	for (size_t i = 0; vip->order[i] != node; i++)
		rank += vip->order[i] != vip->pinned;
	return (uint8_t)(VIP_PRIORITY_TOP - 10 * rank);
}

uint32_t vip_better(const struct vip_nodes *nodes, const struct vip *vip)
{
	uint8_t best = vip_priority(vip, nodes->self);
	uint32_t found = 0;

	for (size_t i = 0; i < vip->n_order; i++) {
		const struct vip_node *n = node_of(nodes, vip->order[i]);
		if (could(n) && n->able && vip_priority(vip, n->id) > best) {
			best = vip_priority(vip, n->id);
			found = n->id;
		}
	}
	return found;
}

bool vip_could(const struct vip_nodes *nodes, uint32_t node)
{
	return could(node_of(nodes, node));
}

bool vip_has_other(const struct vip_nodes *nodes, const struct vip *vip, uint32_t node)
{
	for (size_t i = 0; i < vip->n_order; i++)
		if (vip->order[i] != node && could(node_of(nodes, vip->order[i])))
			return true;
	return false;
}

/* ---- reasons ---- */

/* One who has said that he is able, later than this node's trouble began: not one who has it too and did not know yet.
 */
static const struct vip_node *able_other(const struct vip_nodes *nodes, const struct vip *vip, int64_t trouble_ms)
{
	for (size_t i = 0; i < vip->n_order; i++) {
		const struct vip_node *n = node_of(nodes, vip->order[i]);
		if (vip->order[i] != nodes->self && could(n) && n->able && n->age_ms < trouble_ms)
			return n;
	}
	return NULL;
}

static bool is_unaware(const struct vip_nodes *nodes, const struct vip *vip, const struct vip_node *n)
{
	return n != NULL && n->id != nodes->self && is_fresh(n) && n->generation < vip->since_generation;
}

/* A peer that is there and has a table in which this node may be missing: it would not listen to this node's adverts.
 */
static const struct vip_node *peer_unaware(const struct vip_nodes *nodes, const struct vip *vip)
{
	for (size_t i = 0; i < vip->n_order; i++) {
		const struct vip_node *n = node_of(nodes, vip->order[i]);
		if (is_unaware(nodes, vip, n))
			return n;
	}
	return NULL;
}

/* Not for ever: its table may have been refused. But as long as he has the VIP, both would have it. */
static const struct vip_node *awaited(const struct vip_nodes *nodes, const struct vip *vip, int64_t unaware_ms)
{
	const struct vip_node *holder = node_of(nodes, vip->holder);

	if (is_unaware(nodes, vip, holder))
		return holder;
	return unaware_ms > VIP_UNAWARE_MS ? NULL : peer_unaware(nodes, vip);
}

/* Somebody may have it who is not heard, and who may not know this node: nobody who is heard has it. That is one of the
 * VIP's nodes, but for a node that is its only one: its keepalived has no peers, and would not hear whoever had it
 * before and does not know that it was given away. */
static bool may_be_unheard(const struct vip_nodes *nodes, const struct vip *vip)
{
	if (vip->holder != 0)
		return false;
	for (size_t i = 0; i < vip->n_order; i++) {
		const struct vip_node *n = node_of(nodes, vip->order[i]);
		if (n != NULL && n->id != nodes->self && !is_fresh(n))
			return true;
	}
	for (size_t i = 0; i < nodes->n && vip->n_order == 1; i++)
		if (nodes->list[i].id != nodes->self && !is_fresh(&nodes->list[i]))
			return true;
	return nodes->unheard > 0;
}

static bool has_contact(const struct vip_nodes *nodes)
{
	for (size_t i = 0; i < nodes->n; i++)
		if (nodes->list[i].id != nodes->self && is_fresh(&nodes->list[i]))
			return true;
	return nodes->n <= 1 && nodes->unheard == 0;
}

/* True and a text: who else has the VIP is not known. */
static bool must_ask(const struct vip_nodes *nodes, const struct vip *vip, struct vip_verdict *v)
{
	bool contact = has_contact(nodes);

	if (vip->probe == VIP_FREE || vip->holder == nodes->self || (contact && !may_be_unheard(nodes, vip)))
		return false;
	v->wants_probe = true;
	snprintf(v->reason, sizeof(v->reason), "%s is %sheard, and %s", contact ? "one of the nodes" : "no other node",
		 contact ? "not " : "",
		 vip->probe == VIP_TAKEN ? "somebody has the address" : "the network is asked first");
	return true;
}

/* True and a text: this node must not have the VIP, whatever the others say. */
static bool hard(const struct vip_nodes *nodes, const struct vip *vip, const struct vip_memory *m, int64_t now_ms,
		 struct vip_verdict *v)
{
	const struct vip_node *self = node_of(nodes, nodes->self), *unaware;

	if (self->fault != VIP_WELL) {
		ha_text(v->reason, vip_fault_texts[self->fault]);
		return true;
	}
	/* An unaware holder's adverts do not come here: whatever this node was, it would take the VIP from him. */
	if (m->was_up && !is_unaware(nodes, vip, node_of(nodes, vip->holder)))
		return false;
	if (must_ask(nodes, vip, v))
		return true;
	unaware = awaited(nodes, vip, m->unaware_since == 0 ? 0 : now_ms - m->unaware_since);
	if (unaware != NULL)
		snprintf(v->reason, sizeof(v->reason), "node %s does not know yet that this one takes part",
			 unaware->name);
	return unaware != NULL;
}

/* By will: a drain, or a move to another. Third nodes stand back from it too: keepalived's priorities are only
 * milliseconds apart, and connections that one of them took in between would be lost. */
static bool planned(const struct vip_nodes *nodes, const struct vip *vip, struct vip_verdict *v)
{
	const struct vip_node *self = node_of(nodes, nodes->self), *target = node_of(nodes, vip->to);

	if (vip->preparing)
		return false;
	if (self->draining) {
		ha_text(v->reason, "the node is drained");
		return true;
	}
	if (vip->to == 0 || vip->to == nodes->self || vip->holder == vip->to || vip->to_ms >= VIP_MOVE_MS ||
	    !in_order(vip, vip->to) || !could(target))
		return false;
	snprintf(v->reason, sizeof(v->reason), "it moves to node %s", target->name);
	return true;
}

static bool soft(const struct vip_nodes *nodes, const struct vip *vip, int64_t unable_ms, struct vip_verdict *v)
{
	const struct vip_node *other = unable_ms >= VIP_UNABLE_MS ? able_other(nodes, vip, unable_ms) : NULL;

	if (other != NULL)
		snprintf(v->reason, sizeof(v->reason), "mail cannot go on from here, and it can from node %s",
			 other->name);
	return other != NULL;
}

void vip_decide(const struct vip_nodes *nodes, const struct vip *vip, int64_t now_ms, struct vip_memory *m,
		struct vip_verdict *ret)
{
	const struct vip_node *self = node_of(nodes, nodes->self);

	memset(ret, 0, sizeof(*ret));
	ret->priority = self == NULL ? 0 : vip_priority(vip, nodes->self);
	if (ret->priority == 0) {
		memset(m, 0, sizeof(*m));
		ha_text(ret->reason, "the node has no part in it");
		return;
	}
	/* Another one may have taken it meanwhile: what this node was counts no more. */
	if (vip->cut)
		m->was_up = false;
	m->unable_since = self->able ? 0 : m->unable_since != 0 ? m->unable_since : now_ms;
	if (peer_unaware(nodes, vip) == NULL)
		m->unaware_since = 0;
	else if (m->unaware_since == 0)
		m->unaware_since = now_ms;
	if (hard(nodes, vip, m, now_ms, ret)) {
		m->well_since = 0;
		m->was_up = false;
		return;
	}
	m->well_since = m->well_since != 0 ? m->well_since : now_ms;
	/* These end when they end: nothing was wrong with the node. */
	if (planned(nodes, vip, ret) || (m->unable_since != 0 && soft(nodes, vip, now_ms - m->unable_since, ret)))
		return;
	if (!m->was_up && now_ms - m->well_since < VIP_GOOD_MS) {
		ha_text(ret->reason, "the node has been well for a moment only");
		return;
	}
	ret->up = m->was_up = true;
}

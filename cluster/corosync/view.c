/* SPDX-License-Identifier: Apache-2.0
 * Views with one name for all.
 *
 * The hard thing is the name. Totem names rings, and a group changes within a ring as well, when a process joins or
 * ends; whoever joins does not know how often that happened before. So after each change every member multicasts what
 * it sees with a random number, and the first such announcement that fits what all see at its place in the order opens
 * the view and names it. All have the same order and, at each place of it, the same group: so they open the same.
 * Nobody is waited for, and an announcement that was meant for an earlier change, but fits, is as good as any.
 *
 * A view ends where the next one opens: in between messages of its members are still heard, as by everybody else who
 * goes on together.
 */
#include "cluster/corosync/view.h"

#include <string.h>

static bool same(struct ring_process a, struct ring_process b)
{
	return a.id == b.id && a.pid == b.pid;
}

bool ring_contains(const struct ring_process *list, size_t n, struct ring_process p)
{
	for (size_t i = 0; i < n; i++)
		if (same(list[i], p))
			return true;
	return false;
}

static bool contains_node(const struct ring_process *list, size_t n, uint32_t id)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].id == id)
			return true;
	return false;
}

bool ring_second(const struct ring_process *list, size_t n, struct ring_process own)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].id == own.id && list[i].pid != own.pid)
			return true;
	return false;
}

void ring_view_init(struct ring_view *v, struct ring_process own)
{
	*v = (struct ring_view) { .own = own };
}

void ring_view_group(struct ring_view *v, const struct ring_process *list, size_t n, bool awaits_ring)
{
	v->n_group = n < RING_PROCESSES_MAX ? n : RING_PROCESSES_MAX;
	if (v->n_group > 0)
		memcpy(v->group, list, v->n_group * sizeof(*list));
	v->open = false;
	if (ring_contains(v->group, v->n_group, v->own) && !ring_second(v->group, v->n_group, v->own))
		v->first = true;
	if (awaits_ring)
		v->awaits_ring = true;
}

void ring_view_ring(struct ring_view *v, struct ring_id ring)
{
	v->ring = ring;
	v->have_ring = true;
	v->awaits_ring = false;
	v->open = false;
}

int ring_view_member(const struct ring_view *v, struct ring_process p)
{
	for (size_t i = 0; i < v->n_now; i++)
		if (same(v->now[i], p))
			return (int)i;
	return -1;
}

uint32_t ring_view_tag(const struct ring_view *v)
{
	return (uint32_t)v->id.ring;
}

/* The process that stands for a node: the only one, or the one that already did. */
static bool choose(const struct ring_view *v, struct ring_process p, struct ring_process *ret)
{
	*ret = p;
	if (!ring_second(v->group, v->n_group, p))
		return true;
	if (p.id == v->own.id && v->first) {
		*ret = v->own;
		return true;
	}
	for (size_t i = 0; i < v->n_now; i++)
		if (v->now[i].id == p.id && ring_contains(v->group, v->n_group, v->now[i])) {
			*ret = v->now[i];
			return true;
		}
	return false;
}

enum ring_proposal ring_view_propose(const struct ring_view *v, struct ring_announcement *ret)
{
	*ret = (struct ring_announcement) { .ring = v->ring };
	if (!v->have_ring || !ring_contains(v->group, v->n_group, v->own))
		return RING_UNKNOWN;
	for (size_t i = 0; i < v->n_group; i++) {
		struct ring_process p;

		if (contains_node(ret->members, ret->n, v->group[i].id))
			continue;
		if (!choose(v, v->group[i], &p))
			return v->group[i].id == v->own.id ? RING_SECOND : RING_AMBIGUOUS;
		if (ret->n == CORE_MEMBERS_MAX)
			return RING_TOO_MANY;
		ret->members[ret->n++] = p;
	}
	return ring_contains(ret->members, ret->n, v->own) ? RING_PROPOSED : RING_SECOND;
}

/* Whether all in it are in the group, each node of the group once. */
static bool fits(const struct ring_view *v, const struct ring_announcement *a)
{
	if (!v->have_ring || a->ring.seq != v->ring.seq || a->ring.lowest != v->ring.lowest)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!ring_contains(v->group, v->n_group, a->members[i]) ||
		    contains_node(a->members + i + 1, a->n - i - 1, a->members[i].id))
			return false;
	for (size_t i = 0; i < v->n_group; i++)
		if (!contains_node(a->members, a->n, v->group[i].id))
			return false;
	return a->n > 0;
}

enum ring_opening ring_view_announced(struct ring_view *v, struct ring_process sender,
				      const struct ring_announcement *a)
{
	if (v->open || !ring_contains(a->members, a->n, sender) || !fits(v, a))
		return RING_IGNORED;
	v->open = true;
	v->awaits_ring = false;
	/* The nonce beside the ring's number, of which the lower half is beyond any number of rings in practice. */
	v->id = (struct core_view_id) { .ring = a->ring.seq << 32 | a->nonce, .lowest = a->ring.lowest };
	memcpy(v->now, a->members, a->n * sizeof(*a->members));
	v->n_now = a->n;
	return ring_contains(v->now, v->n_now, v->own) ? RING_OPENED : RING_EXCLUDED;
}

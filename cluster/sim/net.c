/* SPDX-License-Identifier: Apache-2.0
 * The network: a virtually synchronous multicast as corosync's is in practice, not as textbooks have it.
 *
 * Within a ring all members get the same messages in the same order, each at its own pace. When the ring breaks, those
 * who go on together get the same of the rest, and there may be holes in it; others get other parts of it. What was
 * sent and not ordered yet is lost, or comes in the next ring.
 */
#include <errno.h>
#include <stdlib.h>

#include "cluster/sim/sim.h"

enum { OUT_MAX = 64 };

static void unref(struct packet *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	sbuf_fini(&p->bytes);
	free(p);
}

static struct in_event *push(struct in_queue *q)
{
	if (q->first + q->n == q->cap) {
		if (q->first > 0)
			memmove(q->list, q->list + q->first, q->n * sizeof(*q->list));
		q->first = 0;
	}
	if (q->n == q->cap) {
		q->cap = q->cap == 0 ? 64 : 2 * q->cap;
		q->list = xrealloc(q->list, q->cap * sizeof(*q->list));
	}
	struct in_event *e = &q->list[q->first + q->n++];
	*e = (struct in_event) { 0 };
	return e;
}

void net_clear(struct node *n)
{
	for (size_t i = 0; i < n->in.n; i++)
		unref(n->in.list[n->in.first + i].packet);
	for (size_t i = 0; i < n->n_out; i++)
		unref(n->out[i]);
	free(n->in.list);
	n->in = (struct in_queue) { 0 };
	n->n_out = 0;
	n->ring = 0;
}

int net_multicast(void *arg, struct str bytes)
{
	struct node *n = arg;

	if (n->n_out == OUT_MAX || sim_random(n->sim, 50) == 0)
		return -EAGAIN;
	if (bytes.n > CORE_MESSAGE_MAX || ++n->outstanding > CORE_IN_FLIGHT_MAX)
		sim_fail(n->sim, "node %u: %zu bytes are sent, %u multicasts under way", n->id, bytes.n,
			 n->outstanding);
	struct packet *p = xcalloc(1, sizeof(*p));
	p->refs = 1;
	p->sender = n->id;
	p->views = n->views;
	sbuf_add(&p->bytes, bytes.p, bytes.n);
	n->out[n->n_out++] = p;
	return 0;
}

static struct packet *take_out(struct node *n)
{
	struct packet *p = n->out[0];

	memmove(&n->out[0], &n->out[1], --n->n_out * sizeof(n->out[0]));
	return p;
}

bool net_order_one(struct sim *s, struct node *n)
{
	if (n->n_out == 0 || n->ring == 0 || n->core == NULL || n->mute_until > s->now_ms)
		return false;
	struct packet *p = take_out(n);
	uint64_t index = s->next_index++;
	for (size_t i = 0; i < s->n; i++) {
		struct node *to = &s->nodes[i];
		if (to->core == NULL || to->ring != n->ring)
			continue;
		struct in_event *e = push(&to->in);
		e->packet = p;
		e->ring = n->ring;
		e->index = index;
		p->refs++;
	}
	unref(p);
	return true;
}

bool net_deliver_one(struct sim *s, struct node *n)
{
	if (n->in.n == 0 || !node_runs(n) || n->deaf_until > s->now_ms)
		return false;
	struct in_event e = n->in.list[n->in.first++];
	n->in.n--;
	s->inputs++;
	if (e.packet == NULL) {
		struct core_view_id id = { e.ring, e.members[0] };
		n->wants_view = false;
		n->views++;
		n->outstanding = 0;
		core_view(n->core, id, e.members, e.n);
		return true;
	}
	n->delivered = e.index;
	if (e.packet->sender == n->id && e.packet->views == n->views)
		n->outstanding--;
	core_deliver(n->core, e.packet->sender, (struct str) { e.packet->bytes.p, e.packet->bytes.n });
	unref(e.packet);
	return true;
}

/* What the group that goes on together does not get of an old ring's rest: holes, and all behind some point. */
static void drop_rest(struct sim *s, struct node **group, size_t n, uint64_t ring)
{
	uint64_t seen = 0, salt = sim_random(s, UINT64_MAX);
	uint64_t end = sim_random(s, 3) == 0 ? UINT64_MAX : s->next_index - sim_random(s, 12);

	for (size_t i = 0; i < n; i++)
		if (group[i]->ring == ring && group[i]->delivered > seen)
			seen = group[i]->delivered;
	for (size_t i = 0; i < n; i++) {
		struct in_queue *q = &group[i]->in;
		size_t kept = 0;
		for (size_t k = 0; k < q->n; k++) {
			struct in_event *e = &q->list[q->first + k];
			bool hole = ((e->index * 0x9e3779b97f4a7c15u) ^ salt) % 8 == 0;
			if (e->packet != NULL && e->ring == ring && e->index > seen && (hole || e->index > end))
				unref(e->packet);
			else
				q->list[q->first + kept++] = *e;
		}
		q->n = kept;
	}
}

void net_install(struct sim *s, unsigned component)
{
	struct node *group[SIM_NODES_MAX];
	uint32_t members[SIM_NODES_MAX];
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->nodes[i].core != NULL && s->nodes[i].component == component)
			group[n++] = &s->nodes[i];
	if (n == 0)
		return;
	s->view_changes++;
	for (size_t i = 0; i < n; i++)
		if (group[i]->ring != 0)
			drop_rest(s, group, n, group[i]->ring);
	uint64_t ring = ++s->ring;
	for (size_t i = 0; i < n; i++)
		members[i] = group[i]->id;
	for (size_t i = 0; i < n; i++) {
		struct node *to = group[i];
		struct in_event *e = push(&to->in);
		e->ring = ring;
		e->n = n;
		memcpy(e->members, members, n * sizeof(members[0]));
		to->ring = ring;
		while (to->n_out > 0 && sim_random(s, 4) == 0)
			unref(take_out(to));
		s->by_fault[FAULT_NEXT_VIEW] += to->n_out > 0;
	}
	sim_trace(s, "ring %llu of component %u: %zu members from %u", (unsigned long long)ring, component, n,
		  members[0]);
}

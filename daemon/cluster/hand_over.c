/* SPDX-License-Identifier: Apache-2.0
 * A member's last act before a clean stop: of two voters the other one shall be able to write alone.
 *
 * The hard thing: the other one may have come back a moment ago and not be in sync yet, or not be heard. It is waited
 * for, for as long as a stop may take for it. And another entry may come first: then it is asked for again.
 */
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"

enum { LOOK_MS = 100 };

struct hand_over {
	struct cluster_node *n;
	void (*done)(void *arg);
	void *arg;
	struct timer deadline, look;
	bool told, proposed; /* the answer of a proposal frees this */
};

static void tell(struct hand_over *h)
{
	if (!h->told)
		h->done(h->arg);
	h->told = true;
	timer_stop(&h->deadline);
	timer_stop(&h->look);
	if (!h->proposed)
		free(h);
}

static void on_late(void *arg)
{
	tell(arg);
}

/* Certainly not made, and what stood against it may be over in a moment: another entry that came first, or one that is
 * not decided yet, or a view that ended. */
static bool may_be_asked_again(enum core_result r)
{
	return r == CORE_STALE || r == CORE_REFUSED || r == CORE_NO_QUORUM;
}

static void on_handed(const struct store_result *r, void *arg)
{
	struct hand_over *h = arg;

	h->proposed = false;
	if (!h->told && may_be_asked_again(r->result)) {
		timer_set_in(h->n->env.loop, &h->look, LOOK_MS);
		return;
	}
	if (r->result == CORE_COMMITTED && !h->told)
		log_msg(LOG_LEVEL_NOTICE, "cluster", "the other node is the tie-breaker now");
	tell(h);
}

/* The other voter, where it is in the view. 0 = there is nobody to hand over to. */
static uint32_t heir(const struct cluster_node *n)
{
	const struct members *t = n->table;
	uint32_t own = store_identity(n->env.store).id, ids[CORE_MEMBERS_MAX];
	size_t count = store_members(n->env.store, ids);

	if (t == NULL || n->corosync == NULL || members_voting(t) != 2 || t->tie_breaker != own)
		return 0;
	for (size_t i = 0; i < count; i++) {
		const struct members_node *m = members_find(t, ids[i]);
		if (m != NULL && m->votes > 0 && m->id != own)
			return m->id;
	}
	return 0;
}

static void look(void *arg)
{
	struct hand_over *h = arg;
	struct cluster_node *n = h->n;
	struct members_refusal why;
	struct cluster_view v;
	uint32_t to = heir(n);

	if (to == 0) {
		tell(h);
		return;
	}
	cluster_look(n, &v);
	struct members *t = store_quorate(n->env.store) ? members_hand_over(n->table, &v.view, to, &why) : NULL;
	struct cluster_proposal p = { .comment = "the tie-breaker stops", .fn = on_handed, .arg = h };
	if (t != NULL && cluster_propose(n, t, &p) == 0)
		h->proposed = true;
	else
		timer_set_in(n->env.loop, &h->look, LOOK_MS);
}

void cluster_node_hand_over(struct cluster_node *n, void (*done)(void *arg), void *arg)
{
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	if (heir(n) == 0) {
		done(arg);
		return;
	}
	struct hand_over *h = xcalloc(1, sizeof(*h));
	*h = (struct hand_over) { .n = n, .done = done, .arg = arg };
	timer_init(&h->deadline, on_late, h);
	timer_init(&h->look, look, h);
	timer_set_in(n->env.loop, &h->deadline, CLUSTER_HAND_OVER_MS);
	look(h);
}

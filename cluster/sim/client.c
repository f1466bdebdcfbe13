/* SPDX-License-Identifier: Apache-2.0
 * What clients ask: writes under operations of their own, some under a key that was used before (a retry, on any node),
 * some from a stale view of things; and changes of the membership.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cluster/sim/sim.h"

enum { DEADLINE_MS = 10000 };

static bool propose(struct sim *s, struct node *n, struct core_proposal *p, struct sim_op *o)
{
	char operation[32], key[32] = "";
	uint64_t ticket;

	snprintf(operation, sizeof(operation), "op-%zu", s->n_ops + 1);
	if (o->key != 0)
		snprintf(key, sizeof(key), "key-%u", o->key);
	p->operation = operation;
	p->idempotency_key = key;
	p->wall = (double)s->now_ms / 1000;
	p->deadline_ms = s->now_ms + DEADLINE_MS;
	if (core_propose(n->core, p, &ticket) != 0)
		return false;
	o->kind = p->kind;
	o->expect = p->expect_position;
	o->ticket = ticket;
	o->node = n->id;
	o->life = s->life[n->id - 1];
	s->ops[s->n_ops++] = *o;
	sim_trace(s, "node %u is asked for %s %s", n->id, operation, key);
	return true;
}

static uint64_t last_of(const struct node *n, enum entry_kind kind)
{
	uint64_t last = 0;

	for (size_t i = 0; i < n->disk.n; i++)
		if (n->disk.entries[i]->entry.kind == kind)
			last = n->disk.entries[i]->entry.position;
	return last;
}

void client_write(struct sim *s, struct node *n)
{
	static char text[CORE_DOCUMENT_MAX];
	struct sim_op o = { 0 };
	/* Now and then longer than a multicast takes. */
	size_t length = sim_random(s, 200) == 0  ? sizeof(text)
			: sim_random(s, 12) == 0 ? sim_random(s, 3 * CORE_MESSAGE_MAX)
						 : sim_random(s, 100);
	struct core_proposal p = { .kind = sim_random(s, 2) ? ENTRY_CONFIG : ENTRY_RUNTIME,
				   .expect_position = UINT64_MAX,
				   .document = { text, length } };

	if (!node_runs(n) || s->n_ops >= SIM_OPS_MAX || s->highest + 64 > SIM_POSITIONS_MAX)
		return;
	if (sim_random(s, 3) == 0)
		p.expect_position = last_of(n, p.kind);
	if (sim_random(s, 3) == 0) {
		bool again = s->keys > 0 && sim_random(s, 2);
		o.key = again ? 1 + (unsigned)sim_random(s, s->keys) : ++s->keys;
	}
	propose(s, n, &p, &o);
}

/* ---- membership ---- */

static size_t voting(const struct voters *v)
{
	size_t n = 0;

	for (size_t i = 0; i < v->n; i++)
		n += v->list[i].votes > 0;
	return n;
}

static int find(const struct voters *v, uint32_t id)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->list[i].id == id)
			return (int)i;
	return -1;
}

static void remove_at(struct voters *v, size_t i)
{
	memmove(&v->list[i], &v->list[i + 1], (v->n - i - 1) * sizeof(v->list[0]));
	v->n--;
}

/* While a node's disk is gone the only change is to name its new instance: less could leave nobody. */
static struct node *forgetful(struct sim *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->nodes[i].forgetful)
			return &s->nodes[i];
	return NULL;
}

static void change(struct sim *s, struct voters *v)
{
	struct node *only = forgetful(s), *n = only != NULL ? only : &s->nodes[sim_random(s, s->n)];
	int at = find(v, n->id);
	uint32_t tie_breaker = v->tie_breaker;

	s->by_fault[FAULT_TABLE]++;
	switch (only != NULL ? 2 : sim_random(s, 4)) {
	case 0: /* another tie-breaker */
		v->tie_breaker = v->list[sim_random(s, v->n)].id;
		break;
	case 1: /* fewer */
		if (at >= 0 && voting(v) > 1)
			remove_at(v, (size_t)at);
		break;
	default: /* more, or a node set up anew */
		if (at < 0 && v->n < CORE_MEMBERS_MAX)
			at = (int)v->n++;
		v->list[at].id = n->id;
		v->list[at].instance = n->instance;
		v->list[at].votes = 1;
		snprintf(v->list[at].name, sizeof(v->list[at].name), "n%u", n->id);
		break;
	}
	at = find(v, v->tie_breaker);
	if (at < 0 || v->list[at].votes == 0)
		v->tie_breaker = 0;
	if (v->tie_breaker == 0 && voting(v) == 2)
		v->tie_breaker = v->list[0].id;
	s->by_fault[FAULT_TIE_BREAKER] += v->tie_breaker != tie_breaker;
}

bool client_membership(struct sim *s, struct node *n)
{
	struct sim_op o = { 0 };
	struct sbuf document = { 0 };
	struct voters v;

	struct node *only = forgetful(s);
	if (only != NULL && only->instance == only->id)
		return false;
	if (!node_runs(n) || s->n_ops >= SIM_OPS_MAX || s->highest + 64 > SIM_POSITIONS_MAX ||
	    oracle_table(s, &v) == NULL)
		return false;
	struct core_proposal p = { .kind = ENTRY_MEMBERSHIP, .expect_position = last_of(n, ENTRY_MEMBERSHIP) };
	change(s, &v);
	voters_encode(&v, &document);
	p.document = (struct str) { document.p, document.n };
	bool asked = propose(s, n, &p, &o);
	s->membership_open += asked;
	sbuf_fini(&document);
	return asked;
}

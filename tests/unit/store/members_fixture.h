/* SPDX-License-Identifier: Apache-2.0
 * Tables of nodes, and views of them, for tests.
 */
#ifndef POSTROAD_TESTS_UNIT_STORE_MEMBERS_FIXTURE_H
#define POSTROAD_TESTS_UNIT_STORE_MEMBERS_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "cluster/members/change.h"

#define FIXTURE_NOW 1000000.0

/* Node i: 10.0.0.i, 10.1.0.i; instance 100 + i. */
static inline struct members_node fixture_node(unsigned i, unsigned links)
{
	struct members_node n = { .instance = 100 + i, .n_links = links, .features_low = 1, .features_high = 1 };
	char text[ADDR_TEXT_MAX];

	snprintf(n.name, sizeof(n.name), "n%u", i);
	for (unsigned k = 0; k < links; k++) {
		snprintf(text, sizeof(text), "10.%u.0.%u", k, i);
		ASSERT(addr_parse_ip(text, &n.links[k]));
	}
	snprintf(text, sizeof(text), "10.0.0.%u:8426", i);
	ASSERT(addr_parse(text, 0, &n.listen));
	memset(n.certificate, (int)i, sizeof(n.certificate));
	return n;
}

static inline struct members *fixture_first(unsigned links)
{
	struct members_refusal why;
	struct members_node n = fixture_node(1, links);
	uint8_t key[MEMBERS_HASH_LEN] = { 1 };
	struct members *t = members_init("mail", 77, &n, key, FIXTURE_NOW, &why);

	ASSERT(t != NULL);
	return t;
}

/* A settled table of n members. */
static inline struct members *fixture_table(unsigned n, unsigned links)
{
	struct members *t = fixture_first(links);

	for (unsigned i = 2; i <= n; i++) {
		struct members_node *m = &t->list[t->n++];
		*m = fixture_node(i, links);
		m->id = t->next_id++;
		m->votes = 1;
		m->state = MEMBERS_MEMBER;
		m->from = ++t->generation;
		t->last_generation = t->generation;
		m->joined = FIXTURE_NOW;
	}
	t->tie_breaker = n == 2 ? 1 : 0;
	ASSERT(members_check(t) == NULL);
	return t;
}

struct fixture_view {
	struct members_seen seen[MEMBERS_MAX];
	struct members_view view;
};

/* Everybody of the table is here, in sync, and has its file. */
static inline void fixture_all_here(struct fixture_view *v, const struct members *t, uint32_t self)
{
	memset(v, 0, sizeof(*v));
	for (size_t i = 0; i < t->n; i++)
		v->seen[i] = (struct members_seen) { .id = t->list[i].id,
						     .instance = t->list[i].instance,
						     .present = true,
						     .synced = true,
						     .staged = t->generation,
						     .installed = t->generation,
						     .active = t->generation };
	v->view =
		(struct members_view) { .self = self, .quorate = true, .now = FIXTURE_NOW, .n = t->n, .seen = v->seen };
}

static inline void fixture_gone(struct fixture_view *v, uint32_t id)
{
	for (size_t i = 0; i < v->view.n; i++)
		if (v->seen[i].id == id)
			v->seen[i].present = v->seen[i].synced = false;
}

static inline struct members_token fixture_token(const char *id, const char *replaces)
{
	struct members_token k = { .expires = FIXTURE_NOW + 3600 };

	snprintf(k.id, sizeof(k.id), "%s", id);
	snprintf(k.replaces, sizeof(k.replaces), "%s", replaces);
	return k;
}

#endif

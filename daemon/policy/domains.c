/* SPDX-License-Identifier: Apache-2.0
 * The table of all domains that routes name, exact and by suffix.
 *
 * The hard thing is size: 100,000 domains in a set that 50 routes use must not become 5,000,000 entries. So a domain
 * does not know routes but groups (a domain set, or the domains written in one key of one route), and groups know
 * routes. Which groups a domain is in is nearly always the same for very many domains; each such combination exists
 * once, with the ascending list of its routes. "*.example.com" is stored with "example.com" and asked for only on
 * behalf of subdomains.
 *
 * Rejected: a bitset of routes per domain, which costs domains times routes once routes are many as well.
 */
#include "daemon/policy/domains.h"

#include <stdlib.h>

#include "daemon/base/arena.h"
#include "daemon/base/hash.h"

/* Routes that are satisfied by one group of domains. */
struct group {
	uint32_t id;
	uint32_t *routes[SIDE_COUNT];
	size_t n[SIDE_COUNT], cap[SIDE_COUNT];
};

/* While the table is built: the groups of a domain, newest first. */
struct member {
	struct member *next;
	struct group *group;
};

/* A combination of groups, resolved. */
struct combo {
	struct route_list routes[SIDE_COUNT];
};

enum reach { REACH_EXACT, REACH_SUBDOMAINS, REACH_COUNT };

struct entry {
	union {
		struct member *members; /* until resolved */
		const struct combo *combo;
	} of[REACH_COUNT];
};

struct domain_table {
	struct map *domains; /* struct entry, in the arena */
	struct arena *arena;
};

struct build {
	struct domain_table *table;
	struct arena *scratch;
	struct map *sets;   /* struct group */
	struct map *combos; /* by the groups' ids */
	struct group **groups;
	size_t n_groups, cap_groups;
};

/* ---- groups ---- */

static struct group *group_new(struct build *b)
{
	struct group *g = xcalloc(1, sizeof(*g));

	if (b->n_groups == b->cap_groups) {
		b->cap_groups = b->cap_groups == 0 ? 16 : b->cap_groups * 2;
		b->groups = xrealloc(b->groups, b->cap_groups * sizeof(struct group *));
	}
	g->id = (uint32_t)b->n_groups;
	b->groups[b->n_groups++] = g;
	return g;
}

/* Routes come in ascending order. */
static void group_add_route(struct group *g, enum domain_side side, size_t route)
{
	size_t n = g->n[side];

	if (n > 0 && g->routes[side][n - 1] == route)
		return; /* the same set twice in one key */
	if (n == g->cap[side]) {
		g->cap[side] = n == 0 ? 4 : n * 2;
		g->routes[side] = xrealloc(g->routes[side], g->cap[side] * sizeof(uint32_t));
	}
	g->routes[side][g->n[side]++] = (uint32_t)route;
}

static void group_add_domain(struct build *b, struct group *g, const char *domain)
{
	bool wildcard = domain[0] == '*' && domain[1] == '.';
	struct str key = str_from(wildcard ? domain + 2 : domain);
	struct entry *e = map_get(b->table->domains, key);

	if (e == NULL) {
		e = arena_alloc(b->table->arena, sizeof(*e));
		map_put(b->table->domains, key, e);
	}
	struct member **head = &e->of[wildcard ? REACH_SUBDOMAINS : REACH_EXACT].members;
	if (*head != NULL && (*head)->group == g)
		return; /* written twice; a group is filled without another in between */
	struct member *m = arena_alloc(b->scratch, sizeof(*m));
	*m = (struct member) { *head, g };
	*head = m;
}

/* ---- reading the configuration ---- */

static void add_sets(struct build *b, const struct policy_config *c)
{
	for (size_t i = 0; i < c->n_sets; i++) {
		struct group *g = group_new(b);
		map_put(b->sets, str_from(c->sets[i].name), g);
		for (size_t k = 0; k < c->sets[i].n; k++)
			group_add_domain(b, g, c->sets[i].domains[k]);
	}
}

static void add_key(struct build *b, const struct str_list *key, enum domain_side side, size_t route)
{
	struct group *own = NULL;

	for (size_t i = 0; key->present && i < key->n; i++) {
		if (key->v[i][0] == '@') {
			struct group *set = map_get(b->sets, str_from(key->v[i] + 1));
			if (set != NULL)
				group_add_route(set, side, route);
			continue;
		}
		if (own == NULL) {
			own = group_new(b);
			group_add_route(own, side, route);
		}
		group_add_domain(b, own, key->v[i]);
	}
}

/* ---- combinations ---- */

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static struct route_list union_of(struct build *b, const uint32_t *ids, size_t n_ids, enum domain_side side)
{
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < n_ids; i++)
		n += b->groups[ids[i]]->n[side];
	if (n == 0)
		return (struct route_list) { NULL, 0 };
	uint32_t *v = arena_alloc(b->table->arena, n * sizeof(*v));
	n = 0;
	for (size_t i = 0; i < n_ids; i++) {
		const struct group *g = b->groups[ids[i]];
		if (g->n[side] > 0)
			memcpy(v + n, g->routes[side], g->n[side] * sizeof(*v));
		n += g->n[side];
	}
	qsort(v, n, sizeof(*v), compare_u32);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || v[i] != v[kept - 1])
			v[kept++] = v[i];
	return (struct route_list) { v, kept };
}

/* The combination of a domain's groups. Members of every domain are in the same order (groups are filled one after the
 * other), so equal combinations have equal ids in a row. */
static const struct combo *combo_of(struct build *b, const struct member *members, struct sbuf *ids)
{
	if (members == NULL)
		return NULL;
	sbuf_reset(ids);
	for (const struct member *m = members; m != NULL; m = m->next)
		sbuf_add(ids, &m->group->id, sizeof(m->group->id));
	struct str key = { ids->p, ids->n };
	struct combo *combo = map_get(b->combos, key);
	if (combo != NULL)
		return combo;
	combo = arena_alloc(b->table->arena, sizeof(*combo));
	size_t n_ids = ids->n / sizeof(uint32_t);
	uint32_t *aligned = arena_alloc(b->scratch, ids->n);
	memcpy(aligned, ids->p, ids->n);
	for (int side = 0; side < SIDE_COUNT; side++)
		combo->routes[side] = union_of(b, aligned, n_ids, (enum domain_side)side);
	map_put(b->combos, key, combo);
	return combo;
}

static void resolve(struct build *b)
{
	struct sbuf ids = { 0 };
	struct str key;
	void *value;

	for (size_t pos = 0; map_next(b->table->domains, &pos, &key, &value);) {
		struct entry *e = value;
		for (int r = 0; r < REACH_COUNT; r++)
			e->of[r].combo = combo_of(b, e->of[r].members, &ids);
	}
	sbuf_fini(&ids);
}

/* ---- the table ---- */

struct domain_table *domain_table_new(const struct policy_config *c)
{
	struct domain_table *t = xcalloc(1, sizeof(*t));
	struct build b = { .table = t, .scratch = arena_new(65536), .sets = map_new(), .combos = map_new() };

	t->domains = map_new();
	t->arena = arena_new(65536);
	add_sets(&b, c);
	for (size_t i = 0; i < c->n_routes; i++) {
		add_key(&b, &c->routes[i].sender_domain, SIDE_SENDER, i);
		add_key(&b, &c->routes[i].recipient_domain, SIDE_RECIPIENT, i);
	}
	resolve(&b);
	for (size_t i = 0; i < b.n_groups; i++) {
		for (int side = 0; side < SIDE_COUNT; side++)
			free(b.groups[i]->routes[side]);
		free(b.groups[i]);
	}
	free(b.groups);
	map_free(b.sets, NULL);
	map_free(b.combos, NULL);
	arena_free(b.scratch);
	return t;
}

void domain_table_free(struct domain_table *t)
{
	if (t == NULL)
		return;
	map_free(t->domains, NULL);
	arena_free(t->arena);
	free(t);
}

static void add_list(struct domain_match *m, const struct entry *e, enum reach reach, enum domain_side side)
{
	const struct combo *combo = e != NULL ? e->of[reach].combo : NULL;

	if (combo != NULL && combo->routes[side].n > 0 && m->n < DOMAIN_LISTS_MAX)
		m->lists[m->n++] = combo->routes[side];
}

void domain_table_match(const struct domain_table *t, enum domain_side side, struct str domain,
			struct domain_match *ret)
{
	ret->n = 0;
	if (domain.n == 0 || map_count(t->domains) == 0)
		return;
	add_list(ret, map_get(t->domains, domain), REACH_EXACT, side);
	for (size_t i = 0; i < domain.n; i++) {
		struct str parent = { domain.p + i + 1, domain.n - i - 1 };
		if (domain.p[i] == '.')
			add_list(ret, map_get(t->domains, parent), REACH_SUBDOMAINS, side);
	}
}

size_t domain_match_next(struct domain_match *m, size_t from)
{
	size_t next = SIZE_MAX;

	for (size_t i = 0; i < m->n; i++) {
		struct route_list *l = &m->lists[i];
		while (l->n > 0 && l->v[0] < from) {
			l->v++;
			l->n--;
		}
		if (l->n > 0 && l->v[0] < next)
			next = l->v[0];
	}
	return next;
}

/* SPDX-License-Identifier: Apache-2.0
 * The table of reports.
 *
 * The hard thing is what silence means: the same bytes read again are no news, a node that started anew is, and only
 * what was heard within REPORT_FRESH_MS is believed.
 */
#include "cluster/report/view.h"

#include <errno.h>
#include <stdlib.h>

#include "cluster/core/voters.h"
#include "cluster/report/view_private.h"

struct report_view *report_view_new(void)
{
	struct report_view *v;

	NEW_OBJ(v, REPORT_VIEW_MAGIC);
	return v;
}

static void drop_report(struct view_node *n)
{
	if (n->report != NULL)
		report_fini(n->report);
	free(n->report);
	n->report = NULL;
}

static void clear(struct view_node *n)
{
	drop_report(n);
	*n = (struct view_node) { 0 };
}

void report_view_free(struct report_view *v)
{
	if (v == NULL)
		return;
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);
	for (size_t i = 0; i < NODES_MAX; i++)
		clear(&v->nodes[i]);
	FREE_OBJ(v);
}

/* ---- members ---- */

static struct view_node *find_node(struct report_view *v, uint32_t id)
{
	for (size_t i = 0; i < NODES_MAX; i++)
		if (v->nodes[i].used && v->nodes[i].id == id)
			return &v->nodes[i];
	return NULL;
}

/* An empty place, else that of who was silent for longest and is no member: there are twice as many as members. */
static struct view_node *new_node(struct report_view *v, uint32_t id, int64_t now_ms)
{
	struct view_node *best = NULL;

	for (size_t i = 0; i < NODES_MAX; i++) {
		struct view_node *n = &v->nodes[i];
		if (!n->used) {
			best = n;
			break;
		}
		if (!n->member && (best == NULL || n->heard_ms < best->heard_ms))
			best = n;
	}
	ASSERT(best != NULL);
	clear(best);
	best->used = true;
	best->id = id;
	best->heard_ms = now_ms;
	return best;
}

void report_view_members(struct report_view *v, uint32_t own, const struct report_member *list, size_t n,
			 int64_t now_ms)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);

	ASSERT(n <= CORE_MEMBERS_MAX);
	v->own = own;
	for (size_t i = 0; i < NODES_MAX; i++) {
		/* What this node said before it knew its id is not the word of who has that one. */
		if (v->nodes[i].own && v->nodes[i].id != own)
			clear(&v->nodes[i]);
		v->nodes[i].member = v->nodes[i].own = false;
	}
	for (size_t i = 0; i < n; i++) {
		struct view_node *node = find_node(v, list[i].id);
		if (node == NULL)
			node = new_node(v, list[i].id, now_ms);
		node->member = true;
		node->own = list[i].id == own;
		report_text(node->name, sizeof(node->name), list[i].name);
	}
}

size_t report_members_of(struct str table, struct report_member list[CORE_MEMBERS_MAX])
{
	struct voters v;

	if (!voters_decode(table, &v))
		return 0;
	for (size_t i = 0; i < v.n; i++) {
		list[i].id = v.list[i].id;
		report_text(list[i].name, sizeof(list[i].name), v.list[i].name);
	}
	return v.n;
}

void report_view_forget(struct report_view *v)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);

	for (size_t i = 0; i < NODES_MAX; i++)
		if (v->nodes[i].used && !v->nodes[i].member)
			clear(&v->nodes[i]);
}

/* ---- reports ---- */

static const struct claim *find_claim(const struct claim *list, size_t n, const char *vip)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].vip, vip) == 0)
			return &list[i];
	return NULL;
}

/* `fresh`: it was until now, so a claim that it goes on making is as old as it was. */
static void note_claims(struct view_node *n, bool fresh, int64_t now_ms)
{
	struct claim before[REPORT_VIPS_MAX];
	size_t n_before = fresh ? n->n_claims : 0;

	memcpy(before, n->claims, sizeof(before));
	n->n_claims = 0;
	for (size_t i = 0; i < n->report->n_vips; i++) {
		const struct report_vip *vip = &n->report->vips[i];
		if (!vip->kernel)
			continue;
		const struct claim *old = find_claim(before, n_before, vip->name);
		struct claim *c = &n->claims[n->n_claims++];
		memcpy(c->vip, vip->name, sizeof(c->vip));
		c->since_ms = old != NULL ? old->since_ms : now_ms;
	}
}

/* Steals *r. */
static void take_report(struct view_node *n, struct node_report *r, int64_t now_ms, double wall)
{
	bool fresh = view_node_is_fresh(n, now_ms);

	drop_report(n);
	n->report = xmalloc(sizeof(*r));
	*n->report = *r;
	ticket_keys_wipe(&r->keys);
	n->heard_ms = now_ms;
	n->skew_s = (double)r->wall_ms / 1000 - wall;
	n->off = n->skew_s > REPORT_SKEW_MAX_S || n->skew_s < -REPORT_SKEW_MAX_S ? n->off + 1 : 0;
	note_claims(n, fresh, now_ms);
}

void report_view_own(struct report_view *v, const struct node_report *r, int64_t now_ms, double wall)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);
	struct view_node *n = find_node(v, r->id);
	struct node_report copy = *r;

	ASSERT(n != NULL && n->own);
	copy.verdicts = NULL; /* nobody asks this node's view for them */
	copy.n_verdicts = copy.cap_verdicts = 0;
	take_report(n, &copy, now_ms, wall);
}

int report_view_heard(struct report_view *v, uint32_t id, struct str bytes, int64_t now_ms, double wall)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);
	struct view_node *n = find_node(v, id);
	struct node_report r;

	if (n == NULL || !n->member)
		return -ENOENT;
	if (n->own)
		return 0;
	if (!report_peek(bytes, &r) || r.id != id)
		return -EBADMSG;
	const struct node_report *old = n->report;
	if (old != NULL && old->started_ms == r.started_ms && old->sequence == r.sequence)
		return 0;
	if (!report_decode(bytes, &r))
		return -EBADMSG;
	take_report(n, &r, now_ms, wall);
	return 0;
}

/* ---- questions ---- */

bool view_node_is_fresh(const struct view_node *n, int64_t now_ms)
{
	if (!n->used || !n->member || n->report == NULL)
		return false;
	return n->own || now_ms - n->heard_ms < REPORT_FRESH_MS;
}

enum report_state view_node_state(const struct view_node *n, int64_t now_ms)
{
	if (view_node_is_fresh(n, now_ms))
		return (enum report_state)n->report->state;
	if (!n->member || now_ms - n->heard_ms >= REPORT_GONE_MS)
		return REPORT_GONE;
	return REPORT_STALE;
}

static void make_row(const struct view_node *n, int64_t now_ms, struct report_row *ret)
{
	*ret = (struct report_row) {
		.id = n->id,
		.name = n->name,
		.own = n->own,
		.member = n->member,
		.state = view_node_state(n, now_ms),
		.age_ms = n->report != NULL ? now_ms - n->heard_ms : -1,
		.skew_s = n->skew_s,
		.report = n->report,
	};
}

struct ranked {
	const struct view_node *node;
	bool fresh;
};

static int by_rank(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->fresh != y->fresh)
		return x->fresh ? -1 : 1;
	return x->node->id < y->node->id ? -1 : x->node->id > y->node->id;
}

void report_view_each(const struct report_view *v, int64_t now_ms, report_row_fn *fn, void *arg)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);
	struct ranked list[NODES_MAX];
	struct report_row row;
	size_t n = 0;

	for (size_t i = 0; i < NODES_MAX; i++)
		if (v->nodes[i].used)
			list[n++] = (struct ranked) { &v->nodes[i], view_node_is_fresh(&v->nodes[i], now_ms) };
	qsort(list, n, sizeof(list[0]), by_rank);
	for (size_t i = 0; i < n; i++) {
		make_row(list[i].node, now_ms, &row);
		fn(&row, arg);
	}
}

bool report_view_find(const struct report_view *v, const char *name, int64_t now_ms, struct report_row *ret)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);
	const struct view_node *found = NULL;

	/* A machine that was replaced leaves its name to the next one. */
	for (size_t i = 0; i < NODES_MAX; i++) {
		const struct view_node *n = &v->nodes[i];
		if (n->used && strcmp(n->name, name) == 0 && (found == NULL || n->member))
			found = n;
	}
	if (found != NULL)
		make_row(found, now_ms, ret);
	return found != NULL;
}

unsigned report_view_count(const struct report_view *v, enum report_state state, int64_t now_ms)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);
	unsigned n = 0;

	for (size_t i = 0; i < NODES_MAX; i++)
		n += v->nodes[i].used && view_node_state(&v->nodes[i], now_ms) == state;
	return n;
}

bool report_view_other_ready(const struct report_view *v, int64_t now_ms)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);

	for (size_t i = 0; i < NODES_MAX; i++) {
		const struct view_node *n = &v->nodes[i];
		if (!n->own && view_node_is_fresh(n, now_ms) && n->report->ready && !n->report->voter_only)
			return true;
	}
	return false;
}

/* ---- verdicts ---- */

void report_view_verdicts(const struct report_view *v, uint64_t key, int64_t now_ms, report_verdict_fn *fn, void *arg)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);

	for (size_t i = 0; i < NODES_MAX; i++) {
		const struct view_node *n = &v->nodes[i];
		if (n->own || !view_node_is_fresh(n, now_ms))
			continue;
		const struct report_verdict *said = report_find_verdict(n->report, key);
		if (said != NULL)
			fn(n->name, (enum report_verdict_state)said->state, said->weight, arg);
	}
}

static void count_usable(const char *node, enum report_verdict_state state, unsigned weight, void *arg)
{
	int *balance = arg;

	UNUSED(node);
	UNUSED(weight);
	if (state == REPORT_UP || state == REPORT_WARMING || state == REPORT_BUSY)
		++*balance;
	else if (state == REPORT_DOWN || state == REPORT_EJECTED)
		--*balance;
}

bool report_view_usable(const struct report_view *v, uint64_t key, int64_t now_ms)
{
	int balance = 0;

	report_view_verdicts(v, key, now_ms, count_usable, &balance);
	return balance > 0;
}

/* ---- ticket keys ---- */

bool report_view_makes_keys(const struct report_view *v, int64_t now_ms)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);

	for (size_t i = 0; i < NODES_MAX; i++)
		if (v->nodes[i].id < v->own && view_node_is_fresh(&v->nodes[i], now_ms))
			return false;
	return true;
}

bool report_view_merge_keys(const struct report_view *v, struct ticket_keys *k, int64_t now_ms)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);
	bool changed = false;

	for (size_t i = 0; i < NODES_MAX; i++)
		if (!v->nodes[i].own && view_node_is_fresh(&v->nodes[i], now_ms))
			changed |= ticket_keys_merge(k, &v->nodes[i].report->keys, now_ms);
	return changed;
}

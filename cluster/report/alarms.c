/* SPDX-License-Identifier: Apache-2.0
 * What in the reports of all nodes does not fit together.
 *
 * The hard thing is not to cry wolf: reports are up to a second old and not of one moment, so what changes hands is for
 * a while with both or with nobody.
 */
#include <stdlib.h>

#include "cluster/report/view_private.h"

struct out {
	report_alarm_fn *fn;
	void *arg;
	int64_t now_ms;
};

static void tell(const struct out *o, const char *kind, const char *about, const struct sbuf *text)
{
	char *key = about != NULL ? xasprintf("%s/%s", kind, about) : xstrdup(kind);

	o->fn(key, text->p, o->arg);
	free(key);
}

/* ---- nodes ---- */

static void about_node(const struct view_node *n, const struct out *o)
{
	enum report_state state = view_node_state(n, o->now_ms);
	bool stopped = n->report != NULL && n->report->state == REPORT_STOPPING;
	struct sbuf b = { 0 };

	if ((state == REPORT_STALE || state == REPORT_GONE) &&
	    o->now_ms - n->heard_ms >= (stopped ? REPORT_FRESH_MS : REPORT_SILENT_MS)) {
		sbuf_printf(&b, "node %s %s", n->name, stopped ? "has stopped" : "is not heard");
		tell(o, "node", n->name, &b);
	}
	if (view_node_is_fresh(n, o->now_ms) && n->off >= REPORT_CLOCK_REPORTS) {
		sbuf_reset(&b);
		sbuf_printf(&b, "the clock of node %s is %s this node's by more than %.0f s", n->name,
			    n->skew_s > 0 ? "ahead of" : "behind", REPORT_SKEW_MAX_S);
		tell(o, "clock", n->name, &b);
	}
	if (view_node_is_fresh(n, o->now_ms) && n->report->n_unapplied > 0) {
		sbuf_reset(&b);
		sbuf_printf(&b, "node %s could not put %u part%s of the configuration in force: %s", n->name,
			    n->report->n_unapplied, n->report->n_unapplied == 1 ? "" : "s", n->report->unapplied);
		tell(o, "config_part", n->name, &b);
	}
	sbuf_fini(&b);
}

/* ---- VIPs ---- */

static const struct claim *claim_of(const struct view_node *n, const char *vip, int64_t now_ms)
{
	if (!view_node_is_fresh(n, now_ms))
		return NULL;
	for (size_t i = 0; i < n->n_claims; i++)
		if (strcmp(n->claims[i].vip, vip) == 0)
			return &n->claims[i];
	return NULL;
}

/* The first other node that has it too: each said so again when the other's claim was no longer new. */
static const struct view_node *second_owner(const struct report_view *v, const struct view_node *first,
					    const struct claim *c, int64_t now_ms)
{
	for (const struct view_node *n = first + 1; n < v->nodes + NODES_MAX; n++) {
		const struct claim *d = claim_of(n, c->vip, now_ms);
		if (d != NULL && first->heard_ms - d->since_ms >= REPORT_VIP_TWICE_MS &&
		    n->heard_ms - c->since_ms >= REPORT_VIP_TWICE_MS)
			return n;
	}
	return NULL;
}

static bool claimed_before(const struct report_view *v, const struct view_node *n, const char *vip, int64_t now_ms)
{
	for (const struct view_node *m = v->nodes; m < n; m++) {
		const struct claim *c = claim_of(m, vip, now_ms);
		if (c != NULL && second_owner(v, m, c, now_ms) != NULL)
			return true;
	}
	return false;
}

static void about_two_owners(const struct report_view *v, const struct view_node *n, const struct out *o)
{
	struct sbuf b = { 0 };

	for (size_t i = 0; view_node_is_fresh(n, o->now_ms) && i < n->n_claims; i++) {
		const struct claim *c = &n->claims[i];
		const struct view_node *other = second_owner(v, n, c, o->now_ms);
		if (other == NULL || claimed_before(v, n, c->vip, o->now_ms))
			continue;
		sbuf_reset(&b);
		sbuf_printf(&b, "VIP %s is on two nodes: %s and %s", c->vip, n->name, other->name);
		tell(o, "vip_twice", c->vip, &b);
	}
	sbuf_fini(&b);
}

static bool is_owned(const struct report_view *v, const char *vip, int64_t now_ms)
{
	for (size_t i = 0; i < NODES_MAX; i++)
		if (claim_of(&v->nodes[i], vip, now_ms) != NULL)
			return true;
	return false;
}

/* Since when it is missed; one that is not counted yet begins now. */
static void note_missing(struct report_view *v, const char *vip, int64_t now_ms)
{
	for (size_t i = 0; i < v->n_missing; i++) {
		if (strcmp(v->missing[i].vip, vip) == 0) {
			v->missing[i].seen = true;
			return;
		}
	}
	if (v->n_missing == MISSING_MAX)
		return;
	struct missing *m = &v->missing[v->n_missing++];
	*m = (struct missing) { .since_ms = now_ms, .seen = true };
	report_text(m->vip, sizeof(m->vip), vip);
}

static void count_missing(struct report_view *v, int64_t now_ms)
{
	size_t kept = 0;

	for (size_t i = 0; i < v->n_missing; i++)
		v->missing[i].seen = false;
	for (size_t i = 0; i < NODES_MAX; i++) {
		const struct view_node *n = &v->nodes[i];
		for (size_t k = 0; view_node_is_fresh(n, now_ms) && k < n->report->n_vips; k++)
			if (!is_owned(v, n->report->vips[k].name, now_ms))
				note_missing(v, n->report->vips[k].name, now_ms);
	}
	for (size_t i = 0; i < v->n_missing; i++)
		if (v->missing[i].seen)
			v->missing[kept++] = v->missing[i];
	v->n_missing = kept;
}

static void about_missing(struct report_view *v, const struct out *o)
{
	struct sbuf b = { 0 };

	count_missing(v, o->now_ms);
	for (size_t i = 0; i < v->n_missing; i++) {
		const struct missing *m = &v->missing[i];
		if (o->now_ms - m->since_ms < REPORT_VIP_NOWHERE_MS)
			continue;
		sbuf_reset(&b);
		sbuf_printf(&b, "VIP %s is on no node that is heard", m->vip);
		tell(o, "vip_nowhere", m->vip, &b);
	}
	sbuf_fini(&b);
}

/* ---- the configuration ---- */

static void about_config(const struct report_view *v, const struct out *o)
{
	struct sbuf b = { 0 };

	for (size_t i = 0; i < NODES_MAX; i++) {
		const struct view_node *x = &v->nodes[i];
		for (size_t k = i + 1; view_node_is_fresh(x, o->now_ms) && x->report->has_hash && k < NODES_MAX; k++) {
			const struct view_node *y = &v->nodes[k];
			if (!view_node_is_fresh(y, o->now_ms) || !y->report->has_hash ||
			    x->report->revision != y->report->revision ||
			    memcmp(x->report->hash, y->report->hash, ENTRY_HASH_LEN) == 0)
				continue;
			sbuf_printf(&b, "nodes %s and %s have different configurations under revision %llu", x->name,
				    y->name, (unsigned long long)x->report->revision);
			tell(o, "config_differs", NULL, &b);
			sbuf_fini(&b);
			return;
		}
	}
}

/* ---- the network between nodes ---- */

static const char *name_of(const struct report_view *v, uint32_t id)
{
	for (size_t i = 0; i < NODES_MAX; i++)
		if (v->nodes[i].used && v->nodes[i].id == id)
			return v->nodes[i].name;
	return "an unknown node";
}

/* Links that are down, or else those that ever were. Returns how many. */
static unsigned name_links(const struct report_view *v, bool down, int64_t now_ms, struct sbuf *b)
{
	unsigned named = 0;

	for (size_t i = 0; i < NODES_MAX; i++) {
		const struct view_node *n = &v->nodes[i];
		for (size_t k = 0; view_node_is_fresh(n, now_ms) && k < n->report->n_links; k++) {
			const struct report_link *l = &n->report->links[k];
			if (down ? l->up : l->downs == 0)
				continue;
			if (named++ < 8)
				sbuf_printf(b, "%s%s to %s (link %u)", named > 1 ? ", " : "", n->name,
					    name_of(v, l->peer), l->link);
		}
	}
	return named;
}

static void about_links(const struct report_view *v, const struct out *o)
{
	const char *who = NULL;
	struct sbuf b = { 0 };

	for (size_t i = 0; i < NODES_MAX && who == NULL; i++) {
		const struct view_node *n = &v->nodes[i];
		if (view_node_is_fresh(n, o->now_ms) && n->report->view_changes > REPORT_VIEW_CHANGES_MAX)
			who = n->name;
	}
	if (who == NULL)
		return;
	sbuf_printf(&b, "the nodes find and lose each other (seen by %s: more than %d times in 60 s); ", who,
		    REPORT_VIEW_CHANGES_MAX);
	size_t head = b.n;
	sbuf_puts(&b, "links that are down: ");
	if (name_links(v, true, o->now_ms, &b) == 0) {
		b.n = head;
		sbuf_puts(&b, "links that were down: ");
		if (name_links(v, false, o->now_ms, &b) == 0) {
			b.n = head;
			sbuf_puts(&b, "no link was seen down, so one may pass messages in one direction only");
		}
	}
	tell(o, "views", NULL, &b);
	sbuf_fini(&b);
}

void report_view_alarms(struct report_view *v, int64_t now_ms, report_alarm_fn *fn, void *arg)
{
	CHECK_OBJ(v, REPORT_VIEW_MAGIC);
	const struct out o = { fn, arg, now_ms };

	for (size_t i = 0; i < NODES_MAX; i++) {
		if (!v->nodes[i].used || !v->nodes[i].member)
			continue;
		if (!v->nodes[i].own)
			about_node(&v->nodes[i], &o);
		about_two_owners(v, &v->nodes[i], &o);
	}
	about_missing(v, &o);
	about_config(v, &o);
	about_links(v, &o);
}

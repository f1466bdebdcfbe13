/* SPDX-License-Identifier: Apache-2.0
 * Who is here, and how far each is: what the steps of a change are decided by.
 *
 * The hard thing: a node that joins is in no view yet, and must be heard all the same; and it hears nobody, but must
 * know what the others have done. Both go by calls.
 */
#include "daemon/base/clock.h"
#include "daemon/cluster/cluster_private.h"

struct members_seen cluster_own(const struct cluster_node *n)
{
	struct store_identity id = store_identity(n->env.store);
	struct members_seen s = { .id = id.id,
				  .instance = id.instance,
				  .present = true,
				  .staged = n->files.staged,
				  .installed = n->files.installed,
				  .features_low = MEMBERS_FEATURES_LOW,
				  .features_high = MEMBERS_FEATURES_HIGH };
	struct corosync_status status = { 0 };

	s.synced = store_state(n->env.store) == CORE_ACTIVE && store_can_vote(n->env.store);
	if (n->corosync != NULL)
		corosync_status(n->corosync, &status);
	s.active = status.totem.generation;
	memcpy(s.staged_hash, n->files.staged_hash, sizeof(s.staged_hash));
	return s;
}

static bool has(const struct cluster_view *v, uint32_t id)
{
	for (size_t i = 0; i < v->view.n; i++)
		if (v->seen[i].id == id)
			return true;
	return false;
}

static void add(struct cluster_view *v, const struct members_seen *s)
{
	if (v->view.n < MEMBERS_MAX && !has(v, s->id))
		v->seen[v->view.n++] = *s;
}

/* ---- by the view ---- */

struct walk {
	struct cluster_view *v;
	uint32_t members[CORE_MEMBERS_MAX];
	size_t n;
};

static void add_row(const struct report_row *row, void *arg)
{
	struct walk *w = arg;
	const struct node_report *r = row->report;
	bool in_view = false;

	for (size_t i = 0; i < w->n; i++)
		in_view |= w->members[i] == row->id;
	if (!in_view || row->own || r == NULL || row->state >= REPORT_SAID || r->files.instance == 0)
		return;
	struct members_seen s = { .id = row->id,
				  .instance = r->files.instance,
				  .present = true,
				  .synced = r->files.synced,
				  .staged = r->files.staged,
				  .installed = r->files.installed,
				  .active = r->files.active,
				  .features_low = r->features_low,
				  .features_high = r->features_high };
	memcpy(s.staged_hash, r->files.staged_hash, sizeof(s.staged_hash));
	add(w->v, &s);
}

/* ---- by calls ---- */

void cluster_called(struct cluster_node *n, const struct members_seen *s)
{
	int64_t now = clock_mono_ms();
	struct cluster_caller *place = NULL;

	for (size_t i = 0; i < MEMBERS_MAX; i++) {
		struct cluster_caller *c = &n->callers[i];
		if (c->seen.id == s->id) {
			place = c;
			break;
		}
		if (place == NULL || c->at_ms < place->at_ms)
			place = c;
	}
	*place = (struct cluster_caller) { .seen = *s, .at_ms = now };
}

/* Only who joins is here by calling: a member that is in no view is away. */
static void add_callers(const struct cluster_node *n, struct cluster_view *v, int64_t now)
{
	const struct members *t = cluster_table(n);

	for (size_t i = 0; i < MEMBERS_MAX; i++) {
		const struct cluster_caller *c = &n->callers[i];
		const struct members_node *m = c->seen.id == 0 ? NULL : members_find(t, c->seen.id);
		if (m != NULL && m->state == MEMBERS_JOINING && now - c->at_ms < CLUSTER_HEARD_MS)
			add(v, &c->seen);
	}
}

void cluster_look(const struct cluster_node *n, struct cluster_view *ret)
{
	int64_t now = clock_mono_ms();
	struct members_seen own = cluster_own(n);
	struct walk w = { .v = ret };

	memset(ret, 0, sizeof(*ret));
	ret->view = (struct members_view) { .self = own.id,
					    .quorate = store_quorate(n->env.store),
					    .now = clock_wall(),
					    .change_age = (double)(now - n->changes_since_ms) / 1000,
					    .seen = ret->seen };
	add(ret, &own);
	w.n = store_members(n->env.store, w.members);
	report_view_each(n->env.view, now, add_row, &w);
	if (cluster_table(n) != NULL)
		add_callers(n, ret, now);
	for (size_t i = 0; i < n->n_told && now - n->told_ms < CLUSTER_HEARD_MS && w.n <= 1; i++)
		add(ret, &n->told[i]);
}

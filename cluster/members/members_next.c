/* SPDX-License-Identifier: Apache-2.0
 * What a node is to do next: from the table and from who is here, with no memory of its own.
 *
 * The hard thing: whoever coordinates may die between any two steps, and so may whoever takes over. So every step is
 * either an entry of the log or something that may be done twice.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cluster/members/members_private.h"

const char *const members_do_names[MEMBERS_DO_COUNT] = {
	[MEMBERS_DO_NOTHING] = "nothing",   [MEMBERS_DO_WAIT] = "wait",
	[MEMBERS_DO_PURGE] = "purge",       [MEMBERS_DO_ASK] = "ask",
	[MEMBERS_DO_STAGE] = "stage",       [MEMBERS_DO_INSTALL] = "install",
	[MEMBERS_DO_RELOAD] = "reload",     [MEMBERS_DO_COMPLETE] = "complete",
	[MEMBERS_DO_REPORT] = "report",     [MEMBERS_DO_ACTIVATE] = "activate",
	[MEMBERS_DO_FINISH] = "finish",     [MEMBERS_DO_ABORT] = "abort",
	[MEMBERS_DO_VOTE] = "vote",         [MEMBERS_DO_TIE_BREAKER] = "tie-breaker",
	[MEMBERS_DO_FEATURES] = "features",
};

uint32_t members_coordinator(const struct members *t, const struct members_view *view)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].votes > 0 && members_is_here(view, &t->list[i]))
			return t->list[i].id;
	return 0;
}

static void act(struct members_action *a, enum members_do what, uint32_t node, const char *fmt, ...) PRINTF_LIKE(4, 5);

static void act(struct members_action *a, enum members_do what, uint32_t node, const char *fmt, ...)
{
	va_list ap;

	a->what = what;
	a->node = node;
	va_start(ap, fmt);
	vsnprintf(a->text, sizeof(a->text), fmt, ap);
	va_end(ap);
}

/* ---- a change before it is in force ---- */

static bool has_staged(const struct members *t, const struct members_view *view, const struct members_node *n)
{
	const struct members_seen *s = members_seen_of(view, n);
	uint8_t want[MEMBERS_HASH_LEN];

	if (s == NULL || s->staged != t->change.generation)
		return false;
	members_file_hash(t, t->change.generation, want);
	return memcmp(want, s->staged_hash, sizeof(want)) == 0;
}

static void add_name(struct sbuf *names, const struct members_node *n)
{
	sbuf_printf(names, "%s%s", names->n > 0 ? ", " : "", n->name);
}

bool members_waits_for(const struct members *t, const struct members_view *view, struct sbuf *names)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct members_node *n = &t->list[i];
		bool wanted = members_in_file(n, t->change.generation) && !n->prepared;
		/* Who joins cannot be done without, even by force. */
		bool spared = t->change.forced && n->state != MEMBERS_JOINING && !members_is_here(view, n);
		if (wanted && !spared)
			add_name(names, n);
	}
	return names->n > 0;
}

static bool to_report(const struct members *t, const struct members_view *view)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct members_node *n = &t->list[i];
		if (members_in_file(n, t->change.generation) && !n->prepared && has_staged(t, view, n))
			return true;
	}
	return false;
}

static bool is_late(const struct members *t, const struct members_view *view)
{
	return (t->change.kind == MEMBERS_JOIN || t->change.kind == MEMBERS_REPLACE) &&
	       view->change_age >= MEMBERS_JOIN_SEC;
}

static void prepare(const struct members *t, const struct members_view *view, struct members_action *a)
{
	const struct members_change *c = &t->change;
	struct sbuf names = { 0 };

	if (is_late(t, view))
		act(a, MEMBERS_DO_ABORT, c->node, "The join got nowhere in two minutes.");
	else if (to_report(t, view))
		act(a, MEMBERS_DO_REPORT, 0, "More nodes have the file of generation %llu.",
		    (unsigned long long)c->generation);
	else if (members_waits_for(t, view, &names))
		act(a, MEMBERS_DO_WAIT, 0, "The change `%s` waits for the file on %s.", members_kind_names[c->kind],
		    names.p);
	else
		act(a, MEMBERS_DO_ACTIVATE, c->node, "All nodes have the file of generation %llu.",
		    (unsigned long long)c->generation);
	sbuf_fini(&names);
}

/* ---- in force ---- */

/* Whether all that are here and in the file have it in its place, and whether corosync has read it. */
static void installed(const struct members *t, const struct members_view *view, struct sbuf *without, bool *ret_read)
{
	*ret_read = true;
	for (size_t i = 0; i < t->n; i++) {
		const struct members_node *n = &t->list[i];
		const struct members_seen *s = members_seen_of(view, n);
		/* Who joins starts its corosync when the others have read of it. */
		if (s == NULL || !s->present || !members_in_file(n, t->generation) || n->state == MEMBERS_JOINING)
			continue;
		if (s->installed < t->generation)
			add_name(without, n);
		if (s->active < t->generation)
			*ret_read = false;
	}
}

static void in_force(const struct members *t, const struct members_view *view, struct members_action *a)
{
	const struct members_change *c = &t->change;
	struct members *copy = members_copy(t);
	const struct members_node *joining = members_joining(copy);
	struct sbuf names = { 0 };
	bool read;

	installed(t, view, &names, &read);
	if (is_late(t, view))
		act(a, MEMBERS_DO_ABORT, c->node, "The join got nowhere in two minutes.");
	else if (names.n > 0)
		act(a, MEMBERS_DO_WAIT, 0, "The file of generation %llu is not in place on %s.",
		    (unsigned long long)t->generation, names.p);
	else if (!read)
		act(a, MEMBERS_DO_RELOAD, 0, "Corosync is to read generation %llu.", (unsigned long long)t->generation);
	else if (joining != NULL && !members_is_synced(view, joining))
		act(a, MEMBERS_DO_WAIT, joining->id, "Node %s is not in sync yet.", joining->name);
	else
		act(a, MEMBERS_DO_FINISH, c->node, "The change `%s` is in force everywhere.",
		    members_kind_names[c->kind]);
	sbuf_fini(&names);
	members_free(copy);
}

/* ---- what is not right without any change ---- */

static bool speaks_otherwise(const struct members_seen *s, const struct members_node *n)
{
	return s != NULL && s->present && s->features_high != 0 &&
	       (s->features_low != n->features_low || s->features_high != n->features_high);
}

static unsigned highest_common(const struct members *t)
{
	unsigned level = UINT16_MAX;

	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].state != MEMBERS_LEAVING && t->list[i].features_high < level)
			level = t->list[i].features_high;
	return level;
}

static bool features_differ(const struct members *t, const struct members_view *view)
{
	for (size_t i = 0; i < t->n; i++)
		if (speaks_otherwise(members_seen_of(view, &t->list[i]), &t->list[i]))
			return true;
	return highest_common(t) > t->level;
}

/* A member without a vote whose vote the core would take. */
static const struct members_node *left_behind(const struct members *t, const struct members_view *view)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct members_node *n = &t->list[i];
		if (n->state == MEMBERS_MEMBER && n->votes == 0 && members_is_synced(view, n))
			return n;
	}
	return NULL;
}

/* Of two voters the one that carries mail is the better tie-breaker, if both are here. */
static bool tie_breaker_is_wrong(const struct members *t, const struct members_view *view)
{
	const struct members_node *tie = members_find(t, t->tie_breaker);

	if (members_voting(t) != 2 || tie == NULL || !tie->voter_only)
		return false;
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].votes > 0 && !t->list[i].voter_only && members_is_synced(view, &t->list[i]))
			return true;
	return false;
}

static bool tend(const struct members *t, const struct members_view *view, struct members_action *a)
{
	const struct members_node *n = left_behind(t, view);

	if (t->bare)
		act(a, MEMBERS_DO_COMPLETE, 0, "Quorum was forced: the table is written down whole.");
	else if (n != NULL)
		act(a, MEMBERS_DO_VOTE, n->id, "Node %s is back and in sync.", n->name);
	else if (tie_breaker_is_wrong(t, view))
		act(a, MEMBERS_DO_TIE_BREAKER, 0, "A node that carries mail is to be the tie-breaker.");
	else if (features_differ(t, view))
		act(a, MEMBERS_DO_FEATURES, 0, "The versions of the nodes have changed.");
	else
		return false;
	return true;
}

static void coordinate(const struct members *t, const struct members_view *view, struct members_action *a)
{
	struct sbuf names = { 0 };
	bool read;

	if (tend(t, view, a))
		return;
	if (t->change.kind != MEMBERS_NONE && t->change.step == MEMBERS_PREPARE) {
		prepare(t, view, a);
	} else if (t->change.kind != MEMBERS_NONE) {
		in_force(t, view, a);
	} else {
		/* Somebody was away while the file changed. */
		installed(t, view, &names, &read);
		if (names.n == 0 && !read)
			act(a, MEMBERS_DO_RELOAD, 0, "Corosync is to read generation %llu.",
			    (unsigned long long)t->generation);
		sbuf_fini(&names);
	}
}

/* ---- each node for itself ---- */

static bool others_have_read(const struct members *t, const struct members_view *view)
{
	struct sbuf names = { 0 };
	bool read;

	installed(t, view, &names, &read);
	read &= names.n == 0;
	sbuf_fini(&names);
	return read;
}

static bool own(const struct members *t, const struct members_view *view, const struct members_node *me,
		struct members_action *a)
{
	const struct members_seen *s = members_seen_of(view, me);
	const struct members_change *c = &t->change;

	if (s == NULL)
		return true;
	if (!members_in_file(me, t->generation) && me->until != 0)
		act(a, MEMBERS_DO_PURGE, me->id, "Node %s was taken out of the cluster.", me->name);
	else if (members_in_file(me, t->generation) && s->installed < t->generation &&
		 (me->state != MEMBERS_JOINING || others_have_read(t, view)))
		act(a, MEMBERS_DO_INSTALL, me->id, "Generation %llu is in force.", (unsigned long long)t->generation);
	else if (c->kind != MEMBERS_NONE && c->step == MEMBERS_PREPARE && members_in_file(me, c->generation) &&
		 !has_staged(t, view, me))
		act(a, MEMBERS_DO_STAGE, me->id, "Generation %llu is to be prepared.",
		    (unsigned long long)c->generation);
	else if (!view->quorate && s->active != 0 && s->active < s->installed && s->installed == t->generation)
		act(a, MEMBERS_DO_RELOAD, 0, "Corosync is to read generation %llu.", (unsigned long long)t->generation);
	else if (!view->quorate && me->state != MEMBERS_JOINING)
		act(a, MEMBERS_DO_ASK, me->id, "Without quorum the others may have gone on.");
	else
		return false;
	return true;
}

bool members_all_here(const struct members *t, const struct members_view *view)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].state == MEMBERS_MEMBER && !members_is_here(view, &t->list[i]))
			return false;
	return true;
}

void members_next(const struct members *t, const struct members_view *view, struct members_action *ret)
{
	const struct members_node *me = members_find(t, view->self);

	*ret = (struct members_action) { .what = MEMBERS_DO_NOTHING };
	if (me == NULL) {
		act(ret, MEMBERS_DO_PURGE, view->self, "This node is no member of the cluster %s.", t->cluster);
		return;
	}
	if (own(t, view, me, ret))
		return;
	if (view->quorate && members_coordinator(t, view) == view->self)
		coordinate(t, view, ret);
	if (ret->what == MEMBERS_DO_NOTHING && !members_all_here(t, view))
		act(ret, MEMBERS_DO_ASK, view->self, "Not everybody is here: they may have gone on by themselves.");
}

/* ---- the tables that follow ---- */

static void report(struct members *t, const struct members_view *view)
{
	for (size_t i = 0; i < t->n; i++)
		if (members_in_file(&t->list[i], t->change.generation) && has_staged(t, view, &t->list[i]))
			t->list[i].prepared = true;
}

static void activate(struct members *t)
{
	t->generation = t->change.generation;
	t->change.step = MEMBERS_ACTIVATE;
	if (t->change.rotates)
		memcpy(t->key, t->change.key, MEMBERS_HASH_LEN);
	t->change.rotates = false;
	memset(t->change.key, 0, MEMBERS_HASH_LEN);
}

static void finish(struct members *t, const struct members_view *view)
{
	struct members_node *n = members_joining(t);

	if (n != NULL) {
		n->state = MEMBERS_MEMBER;
		n->votes = 1;
	}
	for (size_t i = t->n; i > 0; i--)
		if (t->list[i - 1].state == MEMBERS_LEAVING)
			members_drop(t, i - 1, view->now);
	for (size_t i = 0; i < t->n; i++)
		t->list[i].prepared = false;
	free(t->change.extra);
	t->change = (struct members_change) { 0 };
}

static void features(struct members *t, const struct members_view *view)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct members_seen *s = members_seen_of(view, &t->list[i]);
		if (!speaks_otherwise(s, &t->list[i]))
			continue;
		t->list[i].features_low = s->features_low;
		t->list[i].features_high = s->features_high;
	}
	unsigned common = highest_common(t);
	t->level = common > t->level ? common : t->level;
}

static void vote(struct members *t, uint32_t id)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].id == id)
			t->list[i].votes = 1;
}

/* Away from a node that only votes. */
static void mail_decides(struct members *t, const struct members_view *view)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].votes > 0 && !t->list[i].voter_only && members_is_synced(view, &t->list[i]))
			t->tie_breaker = t->list[i].id;
}

static void take(struct members *t, const struct members_view *view, const struct members_action *a)
{
	switch (a->what) {
	case MEMBERS_DO_REPORT:
		report(t, view);
		break;
	case MEMBERS_DO_ACTIVATE:
		activate(t);
		break;
	case MEMBERS_DO_FINISH:
		finish(t, view);
		break;
	case MEMBERS_DO_ABORT:
		members_abort(t, NULL, view->now);
		break;
	case MEMBERS_DO_VOTE:
		vote(t, a->node);
		break;
	case MEMBERS_DO_TIE_BREAKER:
		mail_decides(t, view);
		break;
	case MEMBERS_DO_FEATURES:
		features(t, view);
		break;
	default: /* MEMBERS_DO_COMPLETE: as it is, whole */
		break;
	}
}

struct members *members_take(const struct members *t, const struct members_view *view, const struct members_action *a,
			     struct members_refusal *why)
{
	struct members_action now;

	members_next(t, view, &now);
	if (a->what < MEMBERS_DO_COMPLETE || now.what != a->what || now.node != a->node)
		return members_refuse(why, MEMBERS_CONFLICT, "What was to be done (%s) is not any more.",
				      a->what < MEMBERS_DO_COUNT ? members_do_names[a->what] : "nothing known");
	struct members *to = members_copy(t);
	take(to, view, a);
	members_choose_tie_breaker(to, view);
	return members_judged(to, view, why);
}

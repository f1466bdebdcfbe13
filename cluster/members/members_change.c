/* SPDX-License-Identifier: Apache-2.0
 * Requests for a change of the table of nodes.
 *
 * The hard thing: a vote is given and taken by one entry of the log, corosync's list of nodes changes on every machine
 * for itself, and machines may be off. So a vote goes at once (a dead node must not be needed to remove it) and comes
 * last, and in between corosync's file goes through a generation of its own that nobody else ever uses.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cluster/members/members_private.h"

struct members *members_refuse(struct members_refusal *why, enum members_refusal_code code, const char *fmt, ...)
{
	va_list ap;

	why->code = code;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return NULL;
}

/* ---- who is here ---- */

const struct members_seen *members_seen_of(const struct members_view *view, const struct members_node *n)
{
	for (size_t i = 0; i < view->n; i++)
		if (view->seen[i].id == n->id && view->seen[i].instance == n->instance)
			return &view->seen[i];
	return NULL;
}

bool members_is_here(const struct members_view *view, const struct members_node *n)
{
	const struct members_seen *s = members_seen_of(view, n);

	return s != NULL && s->present;
}

bool members_is_synced(const struct members_view *view, const struct members_node *n)
{
	const struct members_seen *s = members_seen_of(view, n);

	return s != NULL && s->present && s->synced;
}

/* The first member that is not here, other than one that is on its way out anyway. */
static const struct members_node *absent(const struct members *t, const struct members_view *view, uint32_t but)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct members_node *n = &t->list[i];
		if (n->id != but && n->state != MEMBERS_LEAVING && !members_is_here(view, n))
			return n;
	}
	return NULL;
}

/* ---- parts of tables ---- */

struct members_node *members_joining(struct members *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].state == MEMBERS_JOINING)
			return &t->list[i];
	return NULL;
}

static struct members_node *node_of(struct members *t, uint32_t id)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].id == id)
			return &t->list[i];
	return NULL;
}

void members_begin(struct members *t, enum members_kind kind, uint32_t node, const uint8_t *key, double now)
{
	struct members_change *c = &t->change;
	/* A next key that is not in force yet stays the next one: who left was promised not to hear it. */
	bool announced = c->kind != MEMBERS_NONE && c->step == MEMBERS_PREPARE && c->rotates;
	uint8_t old[MEMBERS_HASH_LEN];

	memcpy(old, c->key, sizeof(old));
	free(c->extra);
	*c = (struct members_change) { .kind = kind, .node = node, .generation = ++t->last_generation, .started = now };
	if (key != NULL || announced) {
		c->rotates = true;
		memcpy(c->key, key != NULL ? key : old, MEMBERS_HASH_LEN);
	}
	for (size_t i = 0; i < t->n; i++) {
		t->list[i].prepared = false;
		if (t->list[i].state == MEMBERS_LEAVING && (t->list[i].until == 0 || t->list[i].until > t->generation))
			t->list[i].until = c->generation;
	}
}

void members_drop(struct members *t, size_t i, double now)
{
	struct members_node *n = &t->list[i];

	if (t->n_removed == MEMBERS_REMOVED_MAX) {
		memmove(&t->removed[0], &t->removed[1], (MEMBERS_REMOVED_MAX - 1) * sizeof(t->removed[0]));
		t->n_removed--;
	}
	struct members_removed *m = &t->removed[t->n_removed++];
	*m = (struct members_removed) { .id = n->id, .instance = n->instance, .when = now };
	memcpy(m->name, n->name, sizeof(m->name));
	free(n->extra);
	memmove(n, n + 1, (t->n - i - 1) * sizeof(*n));
	t->n--;
}

/* Full nodes before those that only vote, those here before those that are not, then the lowest id. */
void members_choose_tie_breaker(struct members *t, const struct members_view *view)
{
	const struct members_node *best = NULL, *old = members_find(t, t->tie_breaker);
	int best_rank = -1;

	if (members_voting(t) != 2) {
		t->tie_breaker = 0;
		return;
	}
	if (old != NULL && old->votes > 0 && (view == NULL || members_is_here(view, old)))
		return;
	for (size_t i = 0; i < t->n; i++) {
		const struct members_node *n = &t->list[i];
		int rank = 2 * (view == NULL || members_is_here(view, n)) + !n->voter_only;
		if (n->votes > 0 && rank > best_rank) {
			best = n;
			best_rank = rank;
		}
	}
	t->tie_breaker = best->id;
}

/* Whether a quorum of the new table is here and in sync, as the core demands of it. */
static bool would_stand(const struct members *t, const struct members_view *view)
{
	struct voters v;
	voters_set done = 0;

	members_voters(t, &v);
	for (size_t i = 0; i < t->n; i++)
		if (members_is_synced(view, &t->list[i]))
			done |= (voters_set)1 << i;
	return voters_quorum(&v, done, done);
}

struct members *members_judged(struct members *t, const struct members_view *view, struct members_refusal *why)
{
	const char *bad = members_check(t);

	/* The whole document goes out with each entry. */
	t->bare = false;
	if (bad != NULL)
		members_refuse(why, MEMBERS_INVALID, "This would make a table that cannot be: %s.", bad);
	else if (view != NULL && !would_stand(t, view))
		members_refuse(
			why, MEMBERS_ABSENT,
			"The nodes that would be left to decide are not here and in sync: bring one back first.");
	else
		return t;
	members_free(t);
	return NULL;
}

static const char *name_of(const struct members *t, uint32_t id)
{
	const struct members_node *n = members_find(t, id);

	return n == NULL ? "all nodes" : n->name;
}

static struct members *busy(const struct members *t, struct members_refusal *why)
{
	return members_refuse(
		why, MEMBERS_CONFLICT,
		"One change at a time: `%s` of %s is under way. Wait for it (`postroad cluster status`)%s.",
		members_kind_names[t->change.kind], name_of(t, t->change.node),
		t->change.kind == MEMBERS_JOIN ? "; a join that gets nowhere ends after two minutes" : "");
}

/* ---- the first node ---- */

struct members *members_init(const char *cluster, uint64_t number, const struct members_node *node,
			     const uint8_t key[MEMBERS_HASH_LEN], double now, struct members_refusal *why)
{
	struct members *t = members_new();

	if (!members_name_valid(cluster)) {
		members_free(t);
		return members_refuse(why, MEMBERS_INVALID,
				      "The name of a cluster is 1 to 63 letters, digits, dots, dashes, underscores.");
	}
	snprintf(t->cluster, sizeof(t->cluster), "%s", cluster);
	t->number = number;
	t->level = node->features_high;
	t->generation = t->last_generation = 1;
	t->next_id = 2;
	memcpy(t->key, key, MEMBERS_HASH_LEN);
	t->n = 1;
	t->list[0] = *node;
	t->list[0].id = 1;
	t->list[0].votes = 1;
	t->list[0].state = MEMBERS_MEMBER;
	t->list[0].from = 1;
	t->list[0].until = 0;
	t->list[0].joined = now;
	t->list[0].extra = NULL;
	return members_judged(t, NULL, why);
}

/* ---- tokens ---- */

static void tokens_prune(struct members *t, double now)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n_tokens; i++)
		if (t->tokens[i].used_by == 0 && t->tokens[i].expires > now)
			t->tokens[kept++] = t->tokens[i];
	t->n_tokens = kept;
}

struct members *members_token_add(const struct members *t, const struct members_token *token, double now,
				  struct members_refusal *why)
{
	const struct members_node *old = members_named(t, token->replaces);

	if (token->id[0] == '\0' || members_find_token(t, token->id) != NULL)
		return members_refuse(why, MEMBERS_INVALID, "A token needs an id of its own.");
	if (token->expires <= now)
		return members_refuse(why, MEMBERS_INVALID, "The token would have expired before it exists.");
	if (token->replaces[0] != '\0' && (old == NULL || old->state != MEMBERS_MEMBER))
		return members_refuse(why, MEMBERS_UNKNOWN, "There is no node %s to replace.", token->replaces);
	struct members *to = members_copy(t);
	tokens_prune(to, now);
	if (to->n_tokens == MEMBERS_TOKENS_MAX) {
		members_free(to);
		return members_refuse(why, MEMBERS_CONFLICT,
				      "There are %d tokens that were not used: revoke one (`postroad cluster tokens` "
				      "lists them).",
				      MEMBERS_TOKENS_MAX);
	}
	to->tokens[to->n_tokens] = *token;
	to->tokens[to->n_tokens++].used_by = 0;
	return members_judged(to, NULL, why);
}

struct members *members_token_revoke(const struct members *t, const char *id, struct members_refusal *why)
{
	const struct members_token *k = members_find_token(t, id);

	if (k == NULL)
		return members_refuse(why, MEMBERS_UNKNOWN, "There is no token %s.", id);
	struct members *to = members_copy(t);
	size_t i = (size_t)(k - t->tokens);
	memmove(&to->tokens[i], &to->tokens[i + 1], (to->n_tokens - i - 1) * sizeof(to->tokens[0]));
	to->n_tokens--;
	return members_judged(to, NULL, why);
}

/* ---- a node comes ---- */

static bool join_denied(const struct members *t, const struct members_view *view, const struct members_request *r,
			struct members_refusal *why)
{
	const struct members_token *k = members_find_token(t, r->token);
	const struct members_node *n = r->node;

	if (k == NULL)
		members_refuse(why, MEMBERS_DENIED, "This token is not known here: make a new one on a member.");
	else if (k->used_by != 0)
		members_refuse(why, MEMBERS_DENIED, "This token was used by node %u: make a new one on a member.",
			       k->used_by);
	else if (k->expires <= view->now)
		members_refuse(why, MEMBERS_DENIED, "This token has expired: make a new one on a member.");
	else if (k->voter_only != n->voter_only)
		members_refuse(why, MEMBERS_DENIED, "This token is for a node that %s.",
			       k->voter_only ? "only votes (--voter-only)" : "carries mail");
	else if (n->features_high < t->level || n->features_low > t->level)
		members_refuse(why, MEMBERS_VERSION,
			       "The cluster speaks feature level %u, %s speaks %u to %u: upgrade the older side first.",
			       t->level, n->name, n->features_low, n->features_high);
	else if (t->n == MEMBERS_MAX)
		members_refuse(why, MEMBERS_CONFLICT, "The cluster has %d nodes, which is the most it can have.",
			       MEMBERS_MAX);
	else if (n->n_links != t->list[0].n_links)
		members_refuse(why, MEMBERS_INVALID,
			       "The nodes of this cluster have %zu link(s) each: give --link as often.",
			       t->list[0].n_links);
	else
		return false;
	return true;
}

static bool join_collides(const struct members *t, const struct members_view *view, const struct members_request *r,
			  const struct members_token *k, struct members_refusal *why)
{
	const struct members_node *same = members_named(t, r->node->name), *missing;

	if (k->replaces[0] != '\0' && strcmp(k->replaces, r->node->name) != 0)
		members_refuse(why, MEMBERS_DENIED, "This token replaces %s: the new node must have that name.",
			       k->replaces);
	else if (k->replaces[0] == '\0' && same != NULL)
		members_refuse(why, MEMBERS_CONFLICT,
			       "There is a node %s: take another name, or `postroad cluster replace %s`.", same->name,
			       same->name);
	else if (k->replaces[0] != '\0' && (same == NULL || same->state != MEMBERS_MEMBER))
		members_refuse(why, MEMBERS_UNKNOWN, "There is no node %s any more to replace.", k->replaces);
	else if (k->replaces[0] != '\0' && members_is_here(view, same))
		members_refuse(why, MEMBERS_CONFLICT, "Node %s is here: stop it before it is replaced.", same->name);
	else if (k->replaces[0] != '\0' && r->key == NULL)
		members_refuse(why, MEMBERS_INVALID, "Who is replaced may have kept the key: a new one is needed.");
	else if (!r->force && (missing = absent(t, view, k->replaces[0] != '\0' ? same->id : 0)) != NULL)
		members_refuse(
			why, MEMBERS_ABSENT,
			"Node %s is not here and would return with an old list of nodes: start it, remove it, or use "
			"--force if it is switched off.",
			missing->name);
	else
		return false;
	return true;
}

struct members *members_join(const struct members *t, const struct members_view *view, const struct members_request *r,
			     struct members_refusal *why)
{
	if (t->change.kind != MEMBERS_NONE)
		return busy(t, why);
	if (join_denied(t, view, r, why) || join_collides(t, view, r, members_find_token(t, r->token), why))
		return NULL;
	struct members *to = members_copy(t);
	struct members_token *k = &to->tokens[members_find_token(t, r->token) - t->tokens];
	struct members_node *n = &to->list[to->n], *old = NULL;

	if (k->replaces[0] != '\0') {
		old = node_of(to, members_named(t, k->replaces)->id);
		old->state = MEMBERS_LEAVING;
		old->votes = 0;
	}
	*n = *r->node;
	n->id = k->used_by = to->next_id++;
	n->votes = 0;
	n->prepared = false;
	n->state = MEMBERS_JOINING;
	n->until = 0;
	n->joined = view->now;
	n->extra = NULL;
	memset(n->certificate_before, 0, sizeof(n->certificate_before));
	to->n++;
	members_begin(to, old != NULL ? MEMBERS_REPLACE : MEMBERS_JOIN, n->id, r->key, view->now);
	n->from = to->change.generation;
	to->change.forced = r->force;
	memcpy(to->change.token, k->id, sizeof(to->change.token));
	members_choose_tie_breaker(to, view);
	return members_judged(to, view, why);
}

/* ---- a node goes ---- */

static bool may_widen(const struct members *t)
{
	enum members_kind k = t->change.kind;

	return k == MEMBERS_NONE || k == MEMBERS_REMOVE || k == MEMBERS_LEAVE || k == MEMBERS_ROTATE;
}

struct going {
	enum members_kind kind;
	uint32_t id;
	const uint8_t *key;
	bool force;
};

/* By an operator's word: who joins may be no friend, and has corosync's key, or the next one. So that one goes too. */
static struct members *go_while_joining(const struct members *t, const struct members_view *view, const struct going *g,
					struct members_refusal *why)
{
	if (g->key == NULL)
		return members_cancel(t, view, why);
	struct members *to = members_copy(t);
	members_abort(to, g->key, view->now);
	to->change.forced |= g->force;
	return members_judged(to, view, why);
}

static struct members *go(const struct members *t, const struct members_view *view, const struct going *g,
			  struct members_refusal *why)
{
	const struct members_node *n = members_find(t, g->id);

	if (n == NULL)
		return members_refuse(why, MEMBERS_UNKNOWN, "There is no node with the id %u.", g->id);
	if (n->state == MEMBERS_JOINING)
		return go_while_joining(t, view, g, why);
	if (n->state == MEMBERS_LEAVING && (!g->force || t->change.forced))
		return members_refuse(why, MEMBERS_CONFLICT, "Node %s is leaving already.", n->name);
	if (!may_widen(t))
		return busy(t, why);
	if (n->votes > 0 && members_voting(t) == 1)
		return members_refuse(why, MEMBERS_LAST,
				      "Node %s is the last one that votes: remove the other nodes first. Once it is "
				      "the only node, `postroad cluster leave` on it ends the cluster.",
				      n->name);
	struct members *to = members_copy(t);
	struct members_node *gone = node_of(to, g->id);
	gone->state = MEMBERS_LEAVING;
	gone->votes = 0;
	bool forced = g->force || (t->change.kind != MEMBERS_NONE && t->change.forced);
	members_begin(to, g->kind, g->id, g->key, view->now);
	to->change.forced = forced;
	members_choose_tie_breaker(to, view);
	return members_judged(to, view, why);
}

struct members *members_leave(const struct members *t, const struct members_view *view, uint32_t id, const uint8_t *key,
			      struct members_refusal *why)
{
	const struct members_node *n = members_find(t, id);

	if (n != NULL && !members_is_here(view, n))
		return members_refuse(why, MEMBERS_ABSENT, "Node %s is not here: use `postroad cluster remove %s`.",
				      n->name, n->name);
	return go(t, view, &(struct going) { .kind = MEMBERS_LEAVE, .id = id, .key = key }, why);
}

struct members *members_remove(const struct members *t, const struct members_view *view, uint32_t id,
			       const struct members_request *r, struct members_refusal *why)
{
	return go(t, view, &(struct going) { .kind = MEMBERS_REMOVE, .id = id, .key = r->key, .force = r->force }, why);
}

/* ---- keys and the rest ---- */

struct members *members_rotate(const struct members *t, const struct members_view *view,
			       const uint8_t key[MEMBERS_HASH_LEN], struct members_refusal *why)
{
	if (t->change.kind != MEMBERS_NONE)
		return busy(t, why);
	if (memcmp(t->key, key, MEMBERS_HASH_LEN) == 0)
		return members_refuse(why, MEMBERS_INVALID, "The new key is the one in use.");
	struct members *to = members_copy(t);
	members_begin(to, MEMBERS_ROTATE, 0, key, view->now);
	return members_judged(to, view, why);
}

struct members *members_rekey(const struct members *t, const struct members_view *view,
			      const uint8_t key[MEMBERS_HASH_LEN], struct members_refusal *why)
{
	const struct members_change *c = &t->change;

	if (c->kind == MEMBERS_NONE || !c->rotates || c->step != MEMBERS_PREPARE)
		return members_refuse(why, MEMBERS_CONFLICT, "No new key is being handed out.");
	struct members *to = members_copy(t);
	struct members_node *n = members_joining(to);
	members_begin(to, c->kind, c->node, key, c->started);
	to->change.forced = c->forced;
	memcpy(to->change.token, c->token, sizeof(c->token));
	if (n != NULL)
		n->from = to->change.generation;
	return members_judged(to, view, why);
}

void members_abort(struct members *t, const uint8_t *key, double now)
{
	bool in_force = t->change.step == MEMBERS_ACTIVATE, replaced = t->change.kind == MEMBERS_REPLACE;
	bool forced = t->change.forced;
	struct members_node *n = members_joining(t);
	uint32_t id = n->id;

	n->state = MEMBERS_LEAVING;
	if (!in_force)
		members_drop(t, (size_t)(n - t->list), now);
	for (size_t i = 0; i < t->n && replaced; i++)
		if (t->list[i].state == MEMBERS_LEAVING && t->list[i].id != id)
			id = t->list[i].id;
	if (in_force || replaced) {
		members_begin(t, MEMBERS_REMOVE, id, key, now);
		t->change.forced = forced;
	} else if (key != NULL) {
		members_begin(t, MEMBERS_ROTATE, 0, key, now);
		t->change.forced = forced;
	} else {
		free(t->change.extra);
		t->change = (struct members_change) { 0 };
		for (size_t i = 0; i < t->n; i++)
			t->list[i].prepared = false;
	}
}

struct members *members_cancel(const struct members *t, const struct members_view *view, struct members_refusal *why)
{
	const struct members_change *c = &t->change;

	if (c->kind == MEMBERS_NONE)
		return members_refuse(why, MEMBERS_CONFLICT, "No change is under way.");
	if (c->kind == MEMBERS_LEAVE || c->kind == MEMBERS_REMOVE)
		return members_refuse(why, MEMBERS_CONFLICT,
				      "A removal cannot be taken back, its vote is gone: let it end, then join anew.");
	if (c->kind == MEMBERS_ROTATE && c->step == MEMBERS_ACTIVATE)
		return members_refuse(why, MEMBERS_CONFLICT, "The new key is in force: let it end.");
	struct members *to = members_copy(t);
	if (c->kind == MEMBERS_ROTATE) {
		free(to->change.extra);
		to->change = (struct members_change) { 0 };
		for (size_t i = 0; i < to->n; i++)
			to->list[i].prepared = false;
	} else {
		members_abort(to, NULL, view->now);
	}
	return members_judged(to, view, why);
}

struct members *members_hand_over(const struct members *t, const struct members_view *view, uint32_t to_id,
				  struct members_refusal *why)
{
	const struct members_node *n = members_find(t, to_id);

	if (members_voting(t) != 2)
		return members_refuse(why, MEMBERS_CONFLICT, "Only of two voters one is the tie-breaker.");
	if (n == NULL || n->votes == 0)
		return members_refuse(why, MEMBERS_UNKNOWN, "There is no voter with the id %u.", to_id);
	struct members *to = members_copy(t);
	to->tie_breaker = to_id;
	return members_judged(to, view, why);
}

struct members *members_certificate(const struct members *t, uint32_t id, const uint8_t fingerprint[MEMBERS_HASH_LEN],
				    struct members_refusal *why)
{
	if (members_find(t, id) == NULL)
		return members_refuse(why, MEMBERS_UNKNOWN, "There is no node with the id %u.", id);
	struct members *to = members_copy(t);
	struct members_node *n = node_of(to, id);
	memcpy(n->certificate_before, n->certificate, MEMBERS_HASH_LEN);
	memcpy(n->certificate, fingerprint, MEMBERS_HASH_LEN);
	return members_judged(to, NULL, why);
}

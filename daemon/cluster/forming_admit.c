/* SPDX-License-Identifier: Apache-2.0
 * The member that lets another node in: its token was proved, it is looked at from here, the table decides, the log
 * makes it so.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/members/preflight.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"
#include "daemon/cluster/join.h"
#include "daemon/cluster/reach.h"

enum {
	ADMIT_TRIES = 5,
	ADMIT_AGAIN_MS = 250,
	ADMIT_HEARD_MS = 5000, /* so long a member that is not heard may be one whose ring has just been formed anew */
	ADMIT_BUSY_MS = 10000  /* … and another change be about to end */
};

struct admission {
	struct list link; /* while it is looked at, or waits */
	struct cluster_node *n;
	struct reach *reach;
	struct timer again;
	int64_t since_ms;
	struct join_asked *asked;
	uint8_t key[MEMBERS_HASH_LEN]; /* of a new one */
	bool has_key;
	unsigned tries;
};

static const struct members *table(void *arg)
{
	const struct cluster_node *n = arg;

	return store_quorate(n->env.store) ? n->table : NULL;
}

static const struct ca *authority(void *arg)
{
	return ((const struct cluster_node *)arg)->trust.ca;
}

static bool corosync_key(void *arg, const uint8_t hash[COROSYNC_KEY_HASH_LEN], uint8_t ret[COROSYNC_KEY_LEN])
{
	return trust_files_read_key(&((const struct cluster_node *)arg)->trust, hash, ret);
}

static void propose(struct admission *a);

static void on_committed(const struct store_result *r, void *arg)
{
	struct admission *a = arg;
	struct cluster_node *n = a->n;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	if (r->result == CORE_STALE && ++a->tries < ADMIT_TRIES && !n->stopped) {
		propose(a);
		return;
	}
	/* Where this node has left meanwhile, there is nobody to join. */
	if (r->result == CORE_COMMITTED && n->table != NULL && !n->purging) {
		log_msg(LOG_LEVEL_NOTICE, "cluster_admitted", "node %s joins",
			join_asked_question(a->asked)->node.name);
		join_accept(a->asked, n->table, n->generation, n->position);
	} else {
		char *why = forming_unwritten(r, "It could not be written down in time.");
		join_defer(a->asked, why);
		free(why);
	}
	free(a);
}

static void on_again(void *arg)
{
	struct admission *a = arg;

	CHECK_OBJ(a->n, CLUSTER_NODE_MAGIC);
	list_remove(&a->link);
	propose(a);
}

/* Right after another change the reason may be gone in a moment. */
static bool wait_for(struct admission *a, const struct members_refusal *why)
{
	int64_t waited = clock_mono_ms() - a->since_ms, most = 0;

	if (why->code == MEMBERS_ABSENT)
		most = ADMIT_HEARD_MS;
	else if (why->code == MEMBERS_CONFLICT && a->n->table->change.kind != MEMBERS_NONE)
		most = ADMIT_BUSY_MS;
	if (waited >= most || a->n->stopped)
		return false;
	list_append(&a->n->admissions, &a->link);
	timer_set_in(a->n->env.loop, &a->again, ADMIT_AGAIN_MS);
	return true;
}

static void propose(struct admission *a)
{
	struct cluster_node *n = a->n;
	struct members_refusal why;
	struct cluster_view v;

	if (n->table == NULL || n->purging || !store_quorate(n->env.store)) {
		join_defer(a->asked, "The cluster has no quorum here.");
		free(a);
		return;
	}
	/* Not before it is needed: a key that is in no table for long is forgotten. */
	if (!a->has_key && join_asked_replaces(a->asked, n->table))
		a->has_key = trust_files_make_key(&n->trust, a->key);
	cluster_look(n, &v);
	struct members *to = join_decide(a->asked, n->table, &v.view, a->has_key ? a->key : NULL, &why);
	if (to == NULL) {
		if (wait_for(a, &why))
			return;
		join_refuse(a->asked, &why);
		free(a);
		return;
	}
	struct cluster_proposal p = { .comment = "a node joins", .fn = on_committed, .arg = a };
	int err = cluster_propose(n, to, &p);
	if (err == 0)
		return;
	char *text = forming_unbecome(err, store_disk_error(n->env.store));
	join_defer(a->asked, err == -EBUSY ? "Too many writes are under way on this node: ask again." : text);
	free(text);
	free(a);
}

/* ---- how it looks from here ---- */

/* The first link of this node that a node of `links` would share with it. */
static void fill_links(struct preflight_facts *f, const struct join_question *q, const struct preflight_facts *own)
{
	f->n_links = q->node.n_links;
	for (size_t i = 0; i < f->n_links; i++) {
		struct preflight_link *l = &f->links[i];
		*l = (struct preflight_link) { .addr = q->node.links[i], .here = true, .mtu = q->mtu[i] };
		snprintf(l->interface, sizeof(l->interface), "link %hhu", (uint8_t)i);
		if (i >= own->n_links)
			continue;
		l->peer = own->links[i].addr;
		l->peer_mtu = own->links[i].mtu;
	}
}

/* Sentences for who joins about what it could not see alone; those that do not stop it go to the log here. */
static bool is_fit(struct admission *a, const struct reach_pair *pairs, size_t n_pairs, struct members_refusal *why)
{
	const struct join_question *q = join_asked_question(a->asked);
	const struct members_node *me = members_find(a->n->table, store_identity(a->n->env.store).id);
	struct preflight_facts *own = xcalloc(1, sizeof(*own)), *f = xcalloc(1, sizeof(*f));
	struct preflight_finding *list = xcalloc(PREFLIGHT_FINDINGS_MAX, sizeof(*list));
	bool fit = true;

	if (me != NULL)
		preflight_look("", me->links, me->n_links, COROSYNC_CONF_PORT, own);
	*f = (struct preflight_facts) { .port = COROSYNC_CONF_PORT,
					.shm_mib = UINT_MAX,
					.has_peer = true,
					.clock_ahead = q->clock != 0 ? q->clock - clock_wall() : 0,
					.features_low = q->node.features_low,
					.features_high = q->node.features_high,
					.level = a->n->table->level };
	snprintf(f->peer_name, sizeof(f->peer_name), "%s", a->n->env.config->node);
	snprintf(f->peer_version, sizeof(f->peer_version), "%s", POSTROAD_VERSION);
	snprintf(f->version, sizeof(f->version), "%.31s", q->version);
	fill_links(f, q, own);
	for (size_t i = 0; i < n_pairs && i < f->n_links; i++)
		f->links[i].peer_reached = pairs[i].reached;
	size_t count = preflight_judge(f, list);
	for (size_t i = 0; i < count; i++) {
		bool forced = list[i].severity == PREFLIGHT_ERROR && q->force;
		log_msg(LOG_LEVEL_WARNING, "cluster_preflight", "node %s: %s%s: %s", q->node.name,
			forced ? "passed over by --force: " : "", list[i].id, list[i].text);
		if (forced)
			join_asked_pass_over(a->asked, list[i].text);
		if (list[i].severity != PREFLIGHT_ERROR || forced || !fit)
			continue;
		why->code = MEMBERS_CONFLICT;
		snprintf(why->text, sizeof(why->text), "%s", list[i].text);
		fit = false;
	}
	free(own);
	free(f);
	free(list);
	return fit;
}

static void on_reached(const struct reach_pair *pairs, size_t n_pairs, void *arg)
{
	struct admission *a = arg;
	struct members_refusal why;

	CHECK_OBJ(a->n, CLUSTER_NODE_MAGIC);
	list_remove(&a->link);
	a->reach = NULL;
	if (a->n->table == NULL || is_fit(a, pairs, n_pairs, &why)) {
		propose(a);
		return;
	}
	join_refuse(a->asked, &why);
	free(a);
}

static void look_at_it(struct admission *a)
{
	const struct members_node *it = &join_asked_question(a->asked)->node, *me = NULL;
	struct reach_pair pairs[MEMBERS_LINKS_MAX] = { 0 };
	size_t n = 0;

	if (a->n->table != NULL)
		me = members_find(a->n->table, store_identity(a->n->env.store).id);
	for (; me != NULL && n < it->n_links && n < me->n_links; n++) {
		pairs[n] = (struct reach_pair) { .from = me->links[n], .to = it->links[n] };
		addr_set_port(&pairs[n].to, (uint16_t)(COROSYNC_CONF_PORT + n));
	}
	list_append(&a->n->admissions, &a->link);
	a->reach = reach_start(a->n->env.loop, pairs, n, on_reached, a);
}

void forming_admit_stop(struct cluster_node *n)
{
	while (!list_empty(&n->admissions)) {
		struct admission *a = LIST_FIRST(&n->admissions, struct admission, link);
		list_remove(&a->link);
		reach_cancel(a->reach);
		timer_stop(&a->again);
		join_defer(a->asked, "This node is stopping.");
		free(a);
	}
}

static void decide(struct join_asked *asked, void *arg)
{
	struct cluster_node *n = arg;
	struct admission *a = xcalloc(1, sizeof(*a));

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	*a = (struct admission) { .n = n, .asked = asked, .since_ms = clock_mono_ms() };
	timer_init(&a->again, on_again, a);
	look_at_it(a);
}

void forming_serve_join(struct cluster_node *n)
{
	struct join_env env = {
		.arg = n, .table = table, .authority = authority, .corosync_key = corosync_key, .decide = decide
	};

	join_serve(n->env.peers, &env);
}

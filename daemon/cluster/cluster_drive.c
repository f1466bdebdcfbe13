/* SPDX-License-Identifier: Apache-2.0
 * Does what members_next() says, one thing at a time: corosync's files through postroad-ha, tables through the log.
 *
 * The hard thing: this process may have been started a moment ago, postroad-ha too, or either may end now. So nothing
 * that was done is relied on: every step is found again from the table and asked for again until it shows.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"

/* ---- postroad-ha ---- */

static bool request(struct cluster_node *n, struct ha_message *m, ha_answer_fn *fn)
{
	m->type = HA_COROSYNC;
	n->ha_busy = true;
	bool sent = n->env.ha_request(n->env.ha, m, fn, n);
	if (!sent)
		n->ha_busy = false;
	if (sent)
		cluster_warn_over(n, "postroad_ha");
	else
		cluster_warn(n, "postroad_ha", "postroad-ha does not answer: corosync cannot be looked after");
	return sent;
}

bool cluster_ha_verb(struct cluster_node *n, enum ha_corosync_verb verb, uint64_t generation, ha_answer_fn *fn)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));

	m->corosync.verb = verb;
	m->corosync.generation = generation;
	bool sent = request(n, m, fn);
	free(m);
	return sent;
}

/* The end of a request. True: it was done. */
static bool ended(struct cluster_node *n, const struct ha_message *m, const char *what)
{
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	n->ha_busy = false;
	bool done = m != NULL && m->type == HA_DONE;
	if (done)
		cluster_warn_over(n, "corosync");
	else if (m != NULL)
		cluster_warn(n, "corosync", "postroad-ha could not %s: %s", what, m->outcome.text);
	if (done && !n->stopped)
		timer_set_in(n->env.loop, &n->tick, 1);
	return done;
}

/* ---- files ---- */

static void on_staged(const struct ha_message *m, void *arg)
{
	struct cluster_node *n = arg;
	const struct members *t = cluster_table(n);
	uint64_t generation = n->files.install_tried;

	n->files.install_tried = 0;
	if (!ended(n, m, "write corosync's file") || t == NULL)
		return;
	n->files.staged = generation;
	members_file_hash(t, generation, n->files.staged_hash);
}

static void fill_nodes(const struct members *t, uint64_t generation, struct ha_corosync *q)
{
	struct corosync_conf *c = xcalloc(1, sizeof(*c));

	members_corosync_conf(t, generation, c);
	memcpy(q->cluster, c->cluster, sizeof(q->cluster));
	q->n = c->n;
	for (size_t i = 0; i < c->n && i < HA_NODES_MAX; i++) {
		q->nodes[i].id = c->nodes[i].id;
		memcpy(q->nodes[i].name, c->nodes[i].name, sizeof(q->nodes[i].name));
		q->nodes[i].n_links = c->nodes[i].n_links;
		memcpy(q->nodes[i].links, c->nodes[i].links, sizeof(q->nodes[i].links));
	}
	free(c);
}

static void fetch_key(struct cluster_node *n, const uint8_t hash[MEMBERS_HASH_LEN])
{
	int64_t now = clock_mono_ms();

	if (now - n->files.key_asked_ms <= CLUSTER_CALL_MS)
		return;
	n->files.key_asked_ms = now;
	cluster_fetch_key(n, hash);
}

static void stage(struct cluster_node *n, const struct members *t, uint64_t generation)
{
	bool next = t->change.kind != MEMBERS_NONE && t->change.step == MEMBERS_PREPARE &&
		    generation == t->change.generation && t->change.rotates;
	const uint8_t *hash = next ? t->change.key : t->key;
	struct ha_message *m = xcalloc(1, sizeof(*m));

	m->corosync.verb = HA_COROSYNC_STAGE;
	m->corosync.generation = generation;
	m->corosync.key_len = COROSYNC_KEY_LEN;
	if (trust_files_read_key(&n->trust, hash, m->corosync.key)) {
		fill_nodes(t, generation, &m->corosync);
		n->files.install_tried = generation;
		(void)!request(n, m, on_staged);
	} else {
		fetch_key(n, hash);
	}
	explicit_bzero(m, sizeof(*m));
	free(m);
}

/* But for those that a request has made a moment ago, and that the next table may name. */
static void forget_keys(struct cluster_node *n, const struct members *t)
{
	bool all = trust_files_keep_keys(&n->trust, t->key, t->change.key, clock_wall());

	n->files.keys_due_ms = all ? 0 : clock_mono_ms() + (int64_t)TRUST_KEY_YOUNG_SEC * 1000;
}

static void on_installed(const struct ha_message *m, void *arg)
{
	struct cluster_node *n = arg;
	const struct members *t = cluster_table(n);

	/* Not staged there, either: it is written first. */
	if (m != NULL && m->type == HA_ERROR && n->files.staged != n->files.install_tried) {
		n->ha_busy = false;
		timer_set_in(n->env.loop, &n->tick, 1);
		return;
	}
	if (!ended(n, m, "put corosync's file in its place")) {
		n->files.install_tried = n->files.staged = 0;
		return;
	}
	n->files.installed = n->files.install_tried;
	n->files.install_tried = 0;
	if (t != NULL)
		forget_keys(n, t);
}

static void install(struct cluster_node *n, const struct members *t)
{
	uint64_t generation = t->generation;

	if (n->files.staged != generation && n->files.install_tried == generation) {
		n->files.install_tried = 0;
		stage(n, t, generation);
		return;
	}
	n->files.install_tried = generation;
	if (!cluster_ha_verb(n, HA_COROSYNC_INSTALL, generation, on_installed))
		n->files.install_tried = 0;
}

/* ---- corosync as a process ---- */

static void on_started(const struct ha_message *m, void *arg)
{
	(void)!ended(arg, m, "start corosync");
}

static void on_reloaded(const struct ha_message *m, void *arg)
{
	(void)!ended(arg, m, "have corosync read its file");
}

static void on_killed(const struct ha_message *m, void *arg)
{
	(void)!ended(arg, m, "kill corosync, which hangs");
}

/* Started when nothing newer is known, and told so again as long as it is not there. */
static bool start(struct cluster_node *n, const struct corosync_status *status, int64_t now)
{
	bool known = n->asked || now - n->begun_ms >= CLUSTER_ASK_FIRST_MS || cluster_table(n)->n == 1;

	if (n->files.installed == 0 || !known || status->connected || status->id != 0)
		return false;
	if (n->files.started_ms != 0 && now - n->files.started_ms < CLUSTER_AGAIN_MS)
		return false;
	n->files.started_ms = now;
	return cluster_ha_verb(n, HA_COROSYNC_START, 0, on_started);
}

/* Until the others miss it, this node is by its own word still one of them. */
static void tell_hang(struct cluster_node *n, const struct corosync_status *status, int64_t now)
{
	bool hangs = status->hung_since_ms != 0 && now - status->hung_since_ms >= CLUSTER_HUNG_TOLD_MS;

	if (hangs && !n->files.hangs)
		cluster_warn(n, "corosync_hung",
			     "corosync does not answer: this node hears nothing of the others, and writes do not end "
			     "here. Mail goes on. It is killed and started again after %d s",
			     CLUSTER_HUNG_MS / 1000);
	else if (!hangs && n->files.hangs)
		cluster_warn_over(n, "corosync_hung");
	n->files.hangs = hangs;
}

static bool end_hang(struct cluster_node *n, const struct corosync_status *status, int64_t now)
{
	if (status->hung_since_ms == 0 || now - status->hung_since_ms < CLUSTER_HUNG_MS ||
	    now - n->files.hung_ms < CLUSTER_HUNG_MS)
		return false;
	n->files.hung_ms = now;
	log_msg(LOG_LEVEL_ERROR, "corosync_hung",
		"corosync has not answered for %lld s; it is killed and started again",
		(long long)(now - status->hung_since_ms) / 1000);
	return cluster_ha_verb(n, HA_COROSYNC_HUNG, 0, on_killed);
}

static void on_purged(const struct ha_message *m, void *arg)
{
	struct cluster_node *n = arg;

	if (!ended(n, m, "stop corosync and forget its files") || n->stopped)
		return;
	/* A write under way: again with the next tick. */
	if (cluster_end(n))
		n->purging = false;
}

/* ---- proposals ---- */

static void on_proposed(const struct store_result *r, void *arg)
{
	struct cluster_node *n = arg;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	n->proposing = false;
	if (r->result == CORE_COMMITTED && !n->stopped)
		timer_set_in(n->env.loop, &n->tick, 1);
}

static void propose(struct cluster_node *n, const struct cluster_view *v, const struct members_action *a)
{
	struct members_refusal why;
	struct members *to = members_take(n->table, &v->view, a, &why);

	if (to == NULL) {
		log_msg(LOG_LEVEL_INFO, "cluster", "%s", why.text);
		return;
	}
	log_msg(LOG_LEVEL_NOTICE, "cluster", "%s: %s", members_do_names[a->what], a->text);
	n->proposing = true;
	struct cluster_proposal p = { .comment = members_do_names[a->what], .fn = on_proposed, .arg = n };
	int err = cluster_propose(n, to, &p);
	if (err != 0)
		n->proposing = false;
}

/* ---- a next key that is lost ---- */

static bool has_key(const struct cluster_node *n, const uint8_t hash[MEMBERS_HASH_LEN])
{
	uint8_t key[COROSYNC_KEY_LEN];
	bool has = trust_files_read_key(&n->trust, hash, key);

	explicit_bzero(key, sizeof(key));
	return has;
}

static void propose_key(struct cluster_node *n, const struct cluster_view *v)
{
	struct cluster_proposal p = { .comment = "another key", .fn = on_proposed, .arg = n };
	uint8_t hash[MEMBERS_HASH_LEN];
	struct members_refusal why;
	struct members *to = NULL;

	if (!trust_files_make_key(&n->trust, hash))
		log_msg(LOG_LEVEL_ERROR, "cluster", "no new key can be kept below %s", n->trust.dir);
	else if ((to = members_rekey(n->table, &v->view, hash, &why)) == NULL)
		log_msg(LOG_LEVEL_INFO, "cluster", "%s", why.text);
	if (to == NULL)
		return;
	log_msg(LOG_LEVEL_WARNING, "cluster", "nobody has the key of the change under way: it gets another one");
	n->proposing = cluster_propose(n, to, &p) == 0;
}

/* Whoever coordinates must have it: who comes back later asks for it. It went with the node that made it, or with a
 * disk. True: that was the step. */
static bool tend_key(struct cluster_node *n, const struct cluster_view *v, int64_t now)
{
	const struct members *t = n->table;
	const struct members_change *c = t == NULL ? NULL : &t->change;
	bool mine = c != NULL && t == cluster_table(n) && v->view.quorate && c->kind != MEMBERS_NONE &&
		    c->step == MEMBERS_PREPARE && c->rotates && members_coordinator(t, &v->view) == v->view.self;

	if (!mine || has_key(n, c->key)) {
		n->files.key_lost_ms = 0;
		return false;
	}
	if (n->files.key_lost_ms == 0)
		n->files.key_lost_ms = now;
	fetch_key(n, c->key);
	if (now - n->files.key_lost_ms < CLUSTER_KEY_LOST_MS)
		return false;
	n->files.key_lost_ms = 0;
	propose_key(n, v);
	return true;
}

/* ---- what is next ---- */

static void watch_waiting(struct cluster_node *n, const struct members_action *a, int64_t now)
{
	if (a->what != MEMBERS_DO_WAIT) {
		if (n->waits_since_ms != 0)
			cluster_warn_over(n, "membership");
		n->waits_since_ms = 0;
		return;
	}
	if (n->waits_since_ms == 0)
		n->waits_since_ms = now;
	if (now - n->waits_since_ms > (int64_t)MEMBERS_JOIN_SEC * 1000)
		cluster_warn(n, "membership", "%s", a->text);
}

static void act(struct cluster_node *n, const struct cluster_view *v, int64_t now)
{
	const struct members_action *a = &n->action;

	switch (a->what) {
	case MEMBERS_DO_PURGE:
		log_msg(LOG_LEVEL_NOTICE, "cluster", "%s", a->text);
		n->purging = true;
		break;
	case MEMBERS_DO_STAGE:
		stage(n, cluster_table(n), cluster_table(n)->change.generation);
		break;
	case MEMBERS_DO_INSTALL:
		install(n, cluster_table(n));
		break;
	case MEMBERS_DO_RELOAD:
		if (now - n->files.reloaded_ms > CLUSTER_AGAIN_MS &&
		    cluster_ha_verb(n, HA_COROSYNC_RELOAD, 0, on_reloaded))
			n->files.reloaded_ms = now;
		break;
	default:
		if (a->what >= MEMBERS_DO_COMPLETE && cluster_table(n) == n->table && v->view.quorate)
			propose(n, v, a);
		break;
	}
}

static void ask_if_due(struct cluster_node *n, const struct cluster_view *v, int64_t now)
{
	int64_t pause = v->view.quorate ? CLUSTER_ASK_SELDOM_MS : CLUSTER_ASK_MS;

	if ((v->view.quorate && members_all_here(cluster_table(n), &v->view) && n->asked) || now - n->asked_ms < pause)
		return;
	cluster_ask(n);
}

static void fetch_authority_if_due(struct cluster_node *n, const struct members *t)
{
	const struct members_node *me = members_find(t, store_identity(n->env.store).id);

	if (me != NULL && me->votes > 0 && !me->voter_only && !ca_can_issue(n->trust.ca) &&
	    clock_mono_ms() - n->files.key_asked_ms > CLUSTER_CALL_MS) {
		n->files.key_asked_ms = clock_mono_ms();
		cluster_fetch_authority(n);
	}
}

void cluster_drive(struct cluster_node *n)
{
	const struct members *t = cluster_table(n);
	struct corosync_status status = { 0 };
	int64_t now = clock_mono_ms();
	struct cluster_view v;

	if (n->ha_busy || n->proposing || n->forming || n->join != NULL)
		return;
	if (n->purging) {
		if (!cluster_ha_verb(n, HA_COROSYNC_PURGE, 0, on_purged))
			log_msg(LOG_LEVEL_INFO, "cluster", "postroad-ha is awaited to forget corosync's files");
		return;
	}
	if (t == NULL)
		return;
	cluster_look(n, &v);
	/* One that cannot take part may have been removed all the same, and hears of it by a call or never. */
	if (n->corosync == NULL) {
		ask_if_due(n, &v, now);
		return;
	}
	members_next(t, &v.view, &n->action);
	watch_waiting(n, &n->action, now);
	ask_if_due(n, &v, now);
	fetch_authority_if_due(n, t);
	own_certificate_tend(n, now);
	corosync_status(n->corosync, &status);
	tell_hang(n, &status, now);
	if (n->files.keys_due_ms != 0 && now >= n->files.keys_due_ms && t == n->table)
		forget_keys(n, t);
	if (end_hang(n, &status, now) || start(n, &status, now) || tend_key(n, &v, now))
		return;
	act(n, &v, now);
}

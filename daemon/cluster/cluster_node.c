/* SPDX-License-Identifier: Apache-2.0
 * This node as a member: its life, corosync in the loop, proposals.
 *
 * The hard thing: it becomes a member and stops being one while mail goes on, and may be unable to be one although its
 * log says so. Then it decides nothing, and says why.
 */
#include "daemon/cluster/cluster_node.h"

#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"

/* ---- what is said ---- */

void cluster_warn(struct cluster_node *n, const char *key, const char *fmt, ...)
{
	va_list ap;
	struct sbuf text = { 0 };

	va_start(ap, fmt);
	sbuf_vprintf(&text, fmt, ap);
	va_end(ap);
	n->env.warn(key, text.p, n->env.arg);
	sbuf_fini(&text);
}

void cluster_warn_over(struct cluster_node *n, const char *key)
{
	n->env.warn(key, NULL, n->env.arg);
}

bool cluster_node_address(const struct cluster_node *n, uint32_t id, struct addr *ret)
{
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	const struct members *t = cluster_table(n);
	const struct members_node *m = t == NULL ? NULL : members_find(t, id);

	if (m == NULL || m->listen.sa.sa_family == 0)
		return false;
	*ret = m->listen;
	return true;
}

bool cluster_node_votes_only(const struct cluster_node *n, bool before)
{
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	struct store_identity id = store_identity(n->env.store);
	const struct members *t = id.cluster == 0 ? NULL : cluster_table(n);
	const struct members_node *me = t == NULL ? NULL : members_find(t, id.id);

	if (id.cluster == 0)
		return false;
	return me != NULL ? me->voter_only : before;
}

enum cluster_standing cluster_node_standing(const struct cluster_node *n)
{
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	struct store_identity id = store_identity(n->env.store);
	const struct members *t = id.cluster == 0 ? NULL : cluster_table(n);
	const struct members_node *me = t == NULL ? NULL : members_find(t, id.id);

	if (n->purging || (t != NULL && me == NULL))
		return CLUSTER_GONE;
	return me != NULL && me->state == MEMBERS_LEAVING ? CLUSTER_LEAVES : CLUSTER_STAYS;
}

bool cluster_lacks_table(const struct cluster_node *n)
{
	return store_identity(n->env.store).cluster != 0 && cluster_table(n) == NULL;
}

/* A log that is damaged had a table, and gets it from the others. */
bool cluster_half_founded(const struct cluster_node *n)
{
	return cluster_lacks_table(n) && !store_identity(n->env.store).joined && store_can_vote(n->env.store);
}

bool cluster_node_etag_key(struct cluster_node *n, uint8_t ret[CLUSTER_ETAG_KEY_LEN])
{
	struct cluster_tags *t = &n->tags;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	if (n->table == NULL || store_identity(n->env.store).cluster == 0)
		return false;
	if (!t->known || memcmp(t->of, n->table->key, sizeof(t->of)) != 0)
		t->known = trust_files_secret(&n->trust, n->table->key, "entity tags", t->key);
	memcpy(t->of, n->table->key, sizeof(t->of));
	if (t->known)
		memcpy(ret, t->key, sizeof(t->key));
	return t->known;
}

int cluster_propose(struct cluster_node *n, struct members *to, const struct cluster_proposal *p)
{
	struct sbuf document = { 0 };

	members_encode(to, &document);
	struct store_write w = { .kind = ENTRY_MEMBERSHIP,
				 .author = p->author != NULL ? p->author : "cluster",
				 .comment = p->comment,
				 .document = cluster_str(&document),
				 .expect_position = n->position,
				 .operation = p->operation,
				 .idempotency_key = p->idempotency_key,
				 .request_hash = p->request_hash };
	int err = store_propose(n->env.store, &w, p->fn, p->arg);
	sbuf_fini(&document);
	members_free(to);
	return err;
}

/* ---- corosync in the loop ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct cluster_node *n = arg;

	UNUSED(fd);
	UNUSED(what);
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	corosync_dispatch(n->corosync);
}

static bool is_member(void *arg, const struct ca_identity *peer)
{
	const struct cluster_node *n = arg;
	const struct members *t = cluster_table(n);

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	return t != NULL && strcmp(peer->cluster, t->cluster) == 0 && members_certified(t, peer->id, peer->fingerprint);
}

bool cluster_listen(struct cluster_node *n, char **ret_why)
{
	struct channel_config c = { .ca = n->trust.ca,
				    .certificate_pem = cluster_str(&n->trust.certificate),
				    .key_pem = cluster_str(&n->trust.key),
				    .member = is_member,
				    .arg = n };
	const struct members *t = cluster_table(n);
	const struct members_node *me = t == NULL ? NULL : members_find(t, store_identity(n->env.store).id);
	const struct node_config *config = n->env.config;

	if (!peers_identity(n->env.peers, &c, ret_why))
		return false;
	if (config->n_cluster_listen > 0)
		return peers_listen(n->env.peers, config->cluster_listen, config->n_cluster_listen, ret_why);
	return me == NULL || peers_listen(n->env.peers, &me->listen, 1, ret_why);
}

/* A port that is taken keeps no node from its cluster: it is tried again. */
static void listen_or_warn(struct cluster_node *n)
{
	char *why = NULL;
	bool listens = cluster_listen(n, &why);

	if (!listens)
		cluster_warn(n, "cluster_listen", "other nodes cannot call this one: %s", why);
	else if (n->unlistened)
		cluster_warn_over(n, "cluster_listen");
	n->unlistened = !listens;
	n->listen_ms = clock_mono_ms() + CLUSTER_AGAIN_MS;
	free(why);
}

static void listen_again(struct cluster_node *n)
{
	if (n->unlistened && n->attached && !n->purging && clock_mono_ms() >= n->listen_ms)
		listen_or_warn(n);
}

/* A version that was taken back: it could not read what the others write. */
static bool is_too_far(const struct cluster_node *n, char **ret_why)
{
	const struct members *t = cluster_table(n);

	*ret_why = t == NULL ? NULL : members_too_far(t, MEMBERS_FEATURES_LOW, MEMBERS_FEATURES_HIGH);
	return *ret_why != NULL;
}

/* The group of a member that hears nobody. No view comes: were it alone in one, the tie-breaker of two would decide
 * while the other one may do so too. */
static int to_nobody(void *self, struct str bytes)
{
	UNUSED(self);
	UNUSED(bytes);
	return -ENOTCONN;
}

static void no_resync(void *self)
{
	UNUSED(self);
}

static const struct transport nobody = { .multicast = to_nobody, .resync = no_resync };

bool cluster_begin(struct cluster_node *n, char **ret_why)
{
	struct corosync_options o = { .id = store_identity(n->env.store).id };

	ASSERT(n->corosync == NULL);
	store_attach(n->env.store, &nobody);
	n->attached = true;
	if (!trust_files_load(&n->trust, ret_why))
		return false;
	own_certificate_loaded(n);
	/* Also where it goes no further: who can call others is told by them that it was removed. */
	listen_or_warn(n);
	if (is_too_far(n, ret_why))
		return false;
	n->corosync = corosync_start(&o, store_events(n->env.store), ret_why);
	if (n->corosync == NULL)
		return false;
	n->event = event_new(loop_base(n->env.loop), corosync_fd(n->corosync), EV_READ | EV_PERSIST, on_readable, n);
	ASSERT(n->event != NULL && event_add(n->event, NULL) == 0);
	store_attach(n->env.store, corosync_transport(n->corosync));
	n->begun_ms = clock_mono_ms();
	n->asked = false;
	n->asked_ms = 0;
	timer_set_in(n->env.loop, &n->tick, 1);
	return true;
}

static void stop_corosync(struct cluster_node *n)
{
	if (n->event != NULL)
		event_free(n->event);
	n->event = NULL;
	corosync_stop(n->corosync);
	n->corosync = NULL;
}

bool cluster_end(struct cluster_node *n)
{
	char *why = NULL;

	/* Once: each time would bring another view to be written down, and nothing is left while a write is under way.
	 */
	if (n->attached) {
		store_attach(n->env.store, NULL);
		stop_corosync(n);
		n->attached = false;
	}
	if (store_identity(n->env.store).cluster != 0) {
		if (!n->env.leaving(n->env.arg))
			return false;
		lost_alone(n);
		if (store_leave(n->env.store) != 0)
			return false;
		n->env.left(n->env.arg);
	}
	if (!peers_listen(n->env.peers, NULL, 0, &why) || !peers_identity(n->env.peers, NULL, &why))
		log_msg(LOG_LEVEL_WARNING, "cluster", "%s", why != NULL ? why : "calls of other nodes");
	free(why);
	cluster_forget_tables(n);
	n->unlistened = false;
	static const char *const keys[] = { "cluster_removed", "cluster_table", "cluster_listen", "cluster_keep",
					    "members" };
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		cluster_warn_over(n, keys[i]);
	own_certificate_forget(n);
	trust_files_forget(&n->trust);
	free(n->cannot);
	n->cannot = NULL;
	cluster_warn_over(n, "cluster");
	log_msg(LOG_LEVEL_NOTICE, "cluster_left", "this node stands alone again");
	n->env.event("cluster", json_pack("{s:s}", "what", "left"), n->env.arg);
	return true;
}

/* ---- life ---- */

static void watch_quorum(struct cluster_node *n)
{
	bool quorate = store_quorate(n->env.store);

	if (quorate && !n->quorate) {
		n->env.quorum_returned(n->env.arg);
		cluster_warn_over(n, "cluster_removed");
	}
	n->quorate = quorate;
	/* Who said so, of those that are away, says it no more. */
	if (quorate && !n->purging && !cluster_said_removed(n))
		cluster_warn_over(n, "cluster_removed");
}

/* A change of who is a member brings views of its own, and corosync's start one more. */
static void watch_views(struct cluster_node *n)
{
	const struct members *t = cluster_table(n);
	int64_t now = clock_mono_ms();
	struct corosync_status s;

	if (n->corosync == NULL)
		return;
	bool expected = t == NULL || t->change.kind != MEMBERS_NONE || now - n->begun_ms < CLUSTER_FORMS_MS;
	corosync_status(n->corosync, &s);
	recent_views_look(&n->views, s.views, s.totem.continuous_gather, expected, now);
}

/* Mail goes on by the configuration that is stored; the log of the cluster is not written by this node alone. */
void cluster_cannot(struct cluster_node *n, char *why)
{
	log_msg(LOG_LEVEL_ERROR, "cluster", "this node cannot take part in its cluster: %s", why);
	free(n->cannot);
	n->cannot = why;
	n->start_told = false;
}

static void begin_as_member(struct cluster_node *n)
{
	char *why = NULL;

	if (!cluster_begin(n, &why))
		cluster_cannot(n, why);
}

static void start_as_member(struct cluster_node *n)
{
	const struct entry *e = store_last(n->env.store, ENTRY_MEMBERSHIP);

	cluster_recall(n);
	lost_recall(n);
	if (e != NULL)
		cluster_node_applied(n, e);
	/* Nobody else knows of that cluster: what is left is a node alone. */
	if (!cluster_half_founded(n))
		begin_as_member(n);
}

/* What was found before there was anybody to tell. */
static void tell_start(struct cluster_node *n)
{
	if (n->start_told)
		return;
	n->start_told = true;
	lost_look(n);
	if (n->cannot != NULL)
		cluster_warn(n, "cluster", "this node cannot take part in its cluster: %s", n->cannot);
}

/* An init or a join that ended between the number of its cluster and the table. Of an init, the table may also have
 * come after its answer was given up. */
static void watch_half(struct cluster_node *n)
{
	bool forms = n->forming || n->join != NULL || n->purging, lacks = !forms && cluster_lacks_table(n);

	if (!forms && n->table != NULL && !n->attached && store_identity(n->env.store).cluster != 0)
		begin_as_member(n);
	if (lacks && !n->lacks_table)
		cluster_warn(n, "cluster", "this node has the number of a cluster, and no table of nodes: %s",
			     cluster_half_founded(n)
				     ? "`postroad cluster init` goes on, `postroad cluster leave` ends it"
				     : "it waits for one; `postroad cluster leave` makes it alone again");
	else if (!lacks && n->lacks_table)
		cluster_warn_over(n, "cluster");
	n->lacks_table = lacks;
}

static void on_tick(void *arg)
{
	struct cluster_node *n = arg;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	if (n->stopped)
		return;
	watch_half(n);
	tell_start(n);
	watch_quorum(n);
	cluster_doubt_over(n);
	watch_views(n);
	listen_again(n);
	cluster_settle(n);
	cluster_keep(n);
	lost_keep(n);
	if (store_identity(n->env.store).cluster != 0 || n->purging)
		cluster_drive(n);
	timer_set_in(n->env.loop, &n->tick, CLUSTER_TICK_MS);
}

struct cluster_node *cluster_node_new(const struct cluster_node_env *env)
{
	struct cluster_node *n;

	NEW_OBJ(n, CLUSTER_NODE_MAGIC);
	n->env = *env;
	timer_init(&n->tick, on_tick, n);
	list_init(&n->admissions);
	list_init(&n->waiting);
	if (!trust_files_open(&n->trust, env->config->state_dir))
		log_msg(LOG_LEVEL_ERROR, "cluster", "%s: %s", n->trust.dir, strerror(errno));
	cluster_serve(n);
	/* Keys of an init or join that came to nothing are forgotten. */
	if (store_identity(env->store).cluster != 0)
		start_as_member(n);
	else
		trust_files_forget(&n->trust);
	timer_set_in(env->loop, &n->tick, 1);
	return n;
}

void cluster_node_stop(struct cluster_node *n)
{
	if (n == NULL)
		return;
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	n->stopped = true;
	timer_stop(&n->tick);
	n->keep_again_ms = n->lost_again_ms = 0; /* there is no later */
	cluster_keep(n);
	lost_keep(n);
	forming_stop(n);
	forming_admit_stop(n);
	forming_wait_stop(n);
	if (n->event != NULL)
		event_free(n->event);
	n->event = NULL;
}

void cluster_node_free(struct cluster_node *n)
{
	if (n == NULL)
		return;
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	stop_corosync(n);
	own_certificate_forget(n);
	members_free(n->table);
	members_free(n->heard);
	free(n->cannot);
	trust_files_close(&n->trust);
	OPENSSL_cleanse(&n->tags, sizeof(n->tags));
	FREE_OBJ(n);
}

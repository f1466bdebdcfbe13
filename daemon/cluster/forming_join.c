/* SPDX-License-Identifier: Apache-2.0
 * A node that joins: from a token to a fresh member that votes as soon as it has the log.
 *
 * The hard thing: it is in the table before it knows, as an answer can be lost. Then the table gives it up after two
 * minutes, and this node is alone as before: only when all it needs is on its disk does it become another.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/members/preflight.h"
#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"
#include "daemon/cluster/join.h"
#include "daemon/cluster/reach.h"

enum { BECOME_TRIES = 40, BECOME_AGAIN_MS = 250 };

struct cluster_join {
	struct cluster_node *n;
	struct cluster_call *q;
	struct sbuf key; /* a secret */
	uint64_t instance, number;
	struct cluster_stamp at; /* of the table */
	uint32_t id;
	struct sbuf table;           /* the document */
	json_t *passed_over;         /* by force, here and by the member that was asked */
	struct reach_answers *reach; /* at the ports that corosync will have, while a member looks at this node */
	struct timer again;
	unsigned tries;
	bool answered; /* a cluster said yes; this node is to become its member */
};

static void end(struct cluster_join *j)
{
	timer_stop(&j->again);
	reach_answer_end(j->reach);
	trust_wipe(&j->key);
	sbuf_fini(&j->table);
	json_decref(j->passed_over);
	j->n->join = NULL;
	free(j);
}

static void refuse(struct cluster_join *j, enum problem p, const char *text)
{
	cluster_call_refuse(j->q, p, "%s", text);
	/* What was written for a cluster that this node did not come to be in. */
	if (store_identity(j->n->env.store).cluster == 0)
		trust_files_forget(&j->n->trust);
	end(j);
}

static void refuse_stolen(struct cluster_join *j, char *text)
{
	refuse(j, PROBLEM_INTERNAL, text);
	free(text);
}

void forming_stop(struct cluster_node *n)
{
	/* One that waits for its answer gets it when the calls end. */
	if (n->join != NULL && n->join->answered)
		refuse(n->join, PROBLEM_INTERNAL, "This node is stopping.");
}

/* ---- becoming a member ---- */

static int write_files(const struct cluster_join *j, const struct join_answer *a)
{
	const struct trust_files *t = &j->n->trust;
	int err = trust_files_write(t, "ca.pem", str_from(a->authority));

	if (err == 0)
		err = trust_files_write(t, "node.key", cluster_str(&j->key));
	if (err == 0)
		err = trust_files_write(t, "node.pem", str_from(a->certificate));
	return err == 0 ? trust_files_write_key(t, a->key) : err;
}

/* All that a member begins with, before there is an identity: after it there is no way back, and without a table it
 * would reach nobody after a crash. NULL = done, or what failed (the caller frees). */
static char *keep(struct cluster_join *j, const struct join_answer *a)
{
	char *why = NULL;
	int err = write_files(j, a);

	if (err == 0)
		err = cluster_remember(j->n, j->at, cluster_str(&j->table));
	if (err != 0)
		return forming_disk(err);
	(void)!trust_files_load(&j->n->trust, &why);
	return why;
}

static void begin(struct cluster_join *j)
{
	struct cluster_node *n = j->n;
	char *why = NULL;

	cluster_heard(n, j->at, cluster_str(&j->table));
	if (!cluster_begin(n, &why)) {
		refuse(j, PROBLEM_INTERNAL, why);
		cluster_cannot(n, why);
		return;
	}
	log_msg(LOG_LEVEL_NOTICE, "cluster_joined", "this node is number %u of the cluster %s", j->id,
		cluster_table(n) == NULL ? "?" : cluster_table(n)->cluster);
	n->env.event("cluster", json_pack("{s:s}", "what", "joined"), n->env.arg);
	cluster_call_answer(j->q, 200, forming_answer_forced(n, j->passed_over));
	end(j);
}

static void become(void *arg)
{
	struct cluster_join *j = arg;
	struct cluster_node *n = j->n;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	int err = store_join(n->env.store, j->id, j->number, j->instance);
	if (err == -EBUSY && ++j->tries < BECOME_TRIES)
		timer_set_in(n->env.loop, &j->again, BECOME_AGAIN_MS);
	else if (err != 0)
		refuse_stolen(j, forming_unbecome(err, store_disk_error(n->env.store)));
	else
		begin(j);
}

static enum problem problem_of(int status)
{
	if (status == 403 || status == 404)
		return PROBLEM_FORBIDDEN;
	return status == 400 || status == 422 ? PROBLEM_INVALID : PROBLEM_CONFLICT;
}

static void on_answer(const struct join_answer *a, int status, const char *why, void *arg)
{
	struct cluster_join *j = arg;

	CHECK_OBJ(j->n, CLUSTER_NODE_MAGIC);
	reach_answer_end(j->reach);
	j->reach = NULL;
	if (a == NULL || j->n->stopped) {
		refuse(j, problem_of(status), a == NULL ? why : "This node is stopping.");
		return;
	}
	if (a->passed_over != NULL)
		json_array_extend(j->passed_over, a->passed_over);
	members_encode(a->table, &j->table);
	j->at = (struct cluster_stamp) { .generation = a->generation, .position = a->position };
	char *fault = keep(j, a);
	if (fault != NULL) {
		refuse_stolen(j, fault);
		return;
	}
	j->answered = true;
	j->id = a->id;
	j->number = a->number;
	become(j);
}

/* ---- asking ---- */

static struct reach_answers *answer_at(struct loop *l, const struct forming_where *w)
{
	struct addr at[MEMBERS_LINKS_MAX];

	for (size_t i = 0; i < w->n_links; i++) {
		at[i] = w->links[i];
		addr_set_port(&at[i], (uint16_t)(COROSYNC_CONF_PORT + i));
	}
	return reach_answer(l, at, w->n_links);
}

static struct cluster_join *join_new(struct cluster_node *n, struct cluster_call *q, json_t *passed_over)
{
	struct cluster_join *j = xcalloc(1, sizeof(*j));

	*j = (struct cluster_join) { .n = n, .q = q, .passed_over = passed_over };
	timer_init(&j->again, become, j);
	n->join = j;
	random_bytes(&j->instance, sizeof(j->instance));
	j->instance = j->instance >> 1 | 1;
	sbuf_reserve(&j->key, CA_PEM_MAX);
	return j;
}

static void ask(struct cluster_join *j, const struct forming_where *w)
{
	json_t *body = j->q->body;
	const char *token = json_string_value(json_object_get(body, "token"));
	struct join_question question = { .force = json_is_true(json_object_get(body, "force")) };
	struct members_node *me = &question.node;
	struct sbuf csr = { 0 };
	char *why = NULL;

	struct preflight_facts *facts = xcalloc(1, sizeof(*facts));
	preflight_look("", w->links, w->n_links, COROSYNC_CONF_PORT, facts);
	for (size_t i = 0; i < w->n_links; i++)
		question.mtu[i] = facts->links[i].mtu;
	free(facts);
	question.clock = clock_wall();
	*me = (struct members_node) { .instance = j->instance,
				      .voter_only = json_is_true(json_object_get(body, "voter_only")),
				      .n_links = w->n_links,
				      .listen = w->listen,
				      .features_low = MEMBERS_FEATURES_LOW,
				      .features_high = MEMBERS_FEATURES_HIGH };
	memcpy(me->links, w->links, sizeof(me->links));
	snprintf(me->name, sizeof(me->name), "%s", j->n->env.config->node);
	snprintf(question.version, sizeof(question.version), "%s", POSTROAD_VERSION);
	if (!ca_request_make(&j->key, &csr)) {
		sbuf_fini(&csr);
		refuse(j, PROBLEM_INTERNAL, "A key for this node cannot be made.");
		return;
	}
	question.certificate_request = csr.p;
	struct join_options o = {
		.token = str_from(token), .question = &question, .key_pem = cluster_str(&j->key), .now = clock_wall()
	};
	j->reach = answer_at(j->n->env.loop, w);
	if (join_call(j->n->env.peers, &o, on_answer, j, &why) == NULL)
		refuse(j, PROBLEM_INVALID, why);
	free(why);
	sbuf_fini(&csr);
}

void forming_join(struct cluster_node *n, struct cluster_call *q)
{
	struct forming_where w;
	json_t *passed_over;

	if (store_identity(n->env.store).cluster != 0) {
		cluster_call_refuse(q, PROBLEM_CONFLICT,
				    "This node is in a cluster already: `postroad cluster leave`.");
		return;
	}
	if (json_string_length(json_object_get(q->body, "token")) == 0) {
		cluster_call_refuse(q, PROBLEM_INVALID, "\"token\" is missing");
		return;
	}
	if (!forming_where(n, q, &w) || !forming_preflight(q, &w, &passed_over))
		return;
	if (!forming_clean(n, q)) {
		json_decref(passed_over);
		return;
	}
	trust_files_forget(&n->trust); /* of an init that came to nothing: its ca.key fits no other authority */
	ask(join_new(n, q, passed_over), &w);
}

/* SPDX-License-Identifier: Apache-2.0
 * Requests that change who is a member, as the API hands them over.
 *
 * The hard thing: what is asked becomes an entry of the log, and the rest follows by itself (cluster_drive.c). So an
 * answer says what was written down, and GET /cluster/members how far it got.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"

enum {
	CHANGE_TRIES = 5,
	AGAIN_MS = 500,
	ABSENT_MS = 5000,
	HA_MS = 5000, /* services of one machine start in any order, and postroad-ha may be on its way */
};

enum problem forming_problem(const struct members_refusal *why)
{
	static const enum problem problems[] = {
		[MEMBERS_INVALID] = PROBLEM_INVALID,  [MEMBERS_UNKNOWN] = PROBLEM_NOT_FOUND,
		[MEMBERS_DENIED] = PROBLEM_FORBIDDEN, [MEMBERS_CONFLICT] = PROBLEM_CONFLICT,
		[MEMBERS_ABSENT] = PROBLEM_CONFLICT,  [MEMBERS_LAST] = PROBLEM_CONFLICT,
		[MEMBERS_VERSION] = PROBLEM_CONFLICT,
	};

	return problems[why->code];
}

json_t *forming_answer(const struct cluster_node *n)
{
	const struct members *t = cluster_table(n);
	const struct members_node *me = t == NULL ? NULL : members_find(t, store_identity(n->env.store).id);
	char listen[ADDR_TEXT_MAX] = "";

	if (me != NULL)
		addr_format(&me->listen, listen);
	json_t *file = n->env.node_file != NULL ? json_string(n->env.node_file) : json_null();
	return json_pack("{s:s, s:s, s:i, s:o, s:s}", "cluster", t == NULL ? "" : t->cluster, "node",
			 n->env.config->node, "id", (int)store_identity(n->env.store).id, "node_file", file, "listen",
			 listen);
}

/* ---- a change of the table, asked for here ---- */

struct change {
	struct cluster_node *n;
	struct cluster_call *q;
	char *token; /* a secret, to be answered; NULL = none */
	char token_id[MEMBERS_TOKEN_ID_MAX + 1];
	char operation[STORE_OPERATION_LEN + 1];
};

static void end_change(struct change *c)
{
	if (c->token != NULL)
		explicit_bzero(c->token, strlen(c->token));
	free(c->token);
	free(c);
}

static void on_changed(const struct store_result *r, void *arg)
{
	struct change *c = arg;
	struct cluster_node *n = c->n;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	if (r->result == CORE_COMMITTED) {
		json_t *o = forming_answer(n);
		if (c->token != NULL)
			json_object_update_new(o, json_pack("{s:s, s:s}", "token", c->token, "token_id", c->token_id));
		cluster_call_answer(c->q, 200, o);
		if (!n->stopped)
			timer_set_in(n->env.loop, &n->tick, 1);
	} else if (r->result == CORE_STALE && ++c->q->tries < CHANGE_TRIES && !n->stopped) {
		/* Worked out anew from the table that came first; whether it still may be is judged there. */
		cluster_node_call(n, c->q);
	} else if (r->result == CORE_STALE) {
		cluster_call_refuse(c->q, PROBLEM_CONFLICT, "Another change of the table came first: try again.");
	} else if (r->result == CORE_REFUSED) {
		cluster_call_refuse(c->q, PROBLEM_CONFLICT, "The table is not one that could be decided by now.");
	} else {
		/* Of a token that was made before the text is not known any more. */
		cluster_call_result(c->q, r, c->operation);
	}
	end_change(c);
}

/* ---- in a moment it may be so ---- */

struct waiting {
	struct list link;
	struct cluster_node *n;
	struct cluster_call *q;
	struct timer timer;
};

static void on_again(void *arg)
{
	struct waiting *w = arg;
	struct cluster_node *n = w->n;
	struct cluster_call *q = w->q;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	list_remove(&w->link);
	free(w);
	cluster_node_call(n, q);
}

static void refuse_stopping(struct cluster_call *q)
{
	cluster_call_refuse(q, PROBLEM_INTERNAL, "This node is stopping.");
}

void forming_wait_stop(struct cluster_node *n)
{
	while (!list_empty(&n->waiting)) {
		struct waiting *w = LIST_FIRST(&n->waiting, struct waiting, link);
		list_remove(&w->link);
		timer_stop(&w->timer);
		refuse_stopping(w->q);
		free(w);
	}
	if (n->cleaning != NULL)
		refuse_stopping(n->cleaning);
	n->cleaning = NULL;
}

/* The call is made again, unless that was done for so long already. */
static bool try_again(struct cluster_node *n, struct cluster_call *q, int64_t most_ms)
{
	if (q->since_ms == 0)
		q->since_ms = clock_mono_ms();
	if (n->stopped || clock_mono_ms() - q->since_ms >= most_ms)
		return false;
	struct waiting *w = xcalloc(1, sizeof(*w));
	*w = (struct waiting) { .n = n, .q = q };
	timer_init(&w->timer, on_again, w);
	list_append(&n->waiting, &w->link);
	timer_set_in(n->env.loop, &w->timer, AGAIN_MS);
	return true;
}

/* A member that came or went a moment ago changes the view, and who is in sync is not known for some heartbeats. */
static bool wait_for(struct cluster_node *n, struct cluster_call *q, const struct members_refusal *why)
{
	return why->code == MEMBERS_ABSENT && try_again(n, q, ABSENT_MS);
}

/* ---- corosync, before this node is to be a member ---- */

static void no_ha(struct cluster_node *n, struct cluster_call *q)
{
	if (!try_again(n, q, HA_MS))
		cluster_call_refuse(q, PROBLEM_CONFLICT,
				    "postroad-ha is not there, or does not answer: it runs corosync. Start it first.");
}

/* The request whose answer this is; NULL = it was answered meanwhile. */
static struct cluster_call *cleaning_of(struct cluster_node *n)
{
	struct cluster_call *q = n->cleaning;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	n->ha_busy = false;
	n->cleaning = NULL;
	n->forming = n->forming && q == NULL;
	return q;
}

/* False: it was not done, and q is cared for. */
static bool ha_did(struct cluster_node *n, struct cluster_call *q, const struct ha_message *m)
{
	if (m != NULL && m->type == HA_DONE)
		return true;
	if (m == NULL)
		no_ha(n, q);
	else
		cluster_call_refuse(q, PROBLEM_CONFLICT, "postroad-ha cannot run corosync: %s. Nothing was changed.",
				    m->outcome.text);
	return false;
}

/* cleaning_of() in fn says for whom, perhaps before this returns. */
static void ask_ha(struct cluster_node *n, struct cluster_call *q, enum ha_corosync_verb verb, ha_answer_fn *fn)
{
	n->cleaning = q;
	n->forming = true;
	/* One at a time is postroad-ha's rule: what is under way is of a cluster that was left a moment ago. */
	if (!n->ha_busy && cluster_ha_verb(n, verb, 0, fn))
		return;
	n->cleaning = NULL;
	n->forming = false;
	no_ha(n, q);
}

static void on_purged(const struct ha_message *m, void *arg)
{
	struct cluster_node *n = arg;
	struct cluster_call *q = cleaning_of(n);

	if (q == NULL || !ha_did(n, q, m))
		return;
	q->cleaned = true;
	cluster_node_call(n, q);
}

static void on_checked(const struct ha_message *m, void *arg)
{
	struct cluster_node *n = arg;
	struct cluster_call *q = cleaning_of(n);

	if (q != NULL && ha_did(n, q, m))
		ask_ha(n, q, HA_COROSYNC_PURGE, on_purged);
}

bool forming_clean(struct cluster_node *n, struct cluster_call *q)
{
	if (q->cleaned)
		return true;
	if (q->since_ms == 0)
		q->since_ms = clock_mono_ms();
	ask_ha(n, q, HA_COROSYNC_CHECK, on_checked);
	return false;
}

void forming_change(struct cluster_node *n, struct cluster_call *q, struct members *to,
		    const struct members_refusal *why, const char *comment, const struct token *token)
{
	if (to == NULL) {
		if (!wait_for(n, q, why))
			cluster_call_refuse(q, forming_problem(why), "%s", why->text);
		return;
	}
	struct change *c = xcalloc(1, sizeof(*c));
	*c = (struct change) { .n = n, .q = q };
	store_operation_new(c->operation);
	if (token != NULL) {
		c->token = xcalloc(1, TOKEN_TEXT_MAX);
		token_format(token, c->token);
		snprintf(c->token_id, sizeof(c->token_id), "%s", token->id);
	}
	struct cluster_proposal p = { .comment = comment,
				      .author = q->author,
				      .fn = on_changed,
				      .arg = c,
				      .operation = c->operation,
				      .idempotency_key = q->idempotency_key,
				      .request_hash = q->request_hash };
	int err = cluster_propose(n, to, &p);
	if (err == 0)
		return;
	cluster_call_not_proposed(q, err);
	end_change(c);
}

/* False: answered. */
static bool is_able(struct cluster_node *n, struct cluster_call *q)
{
	if (store_identity(n->env.store).cluster == 0)
		cluster_call_refuse(q, PROBLEM_CONFLICT,
				    "This node is in no cluster: `postroad cluster init` or `join` makes it a member.");
	else if (n->table == NULL || !store_quorate(n->env.store))
		cluster_call_not_proposed(q, -ENOTCONN);
	else
		return true;
	return false;
}

/* A new key, kept here for the others to fetch. False: answered. */
static bool new_key(struct cluster_node *n, struct cluster_call *q, uint8_t hash[MEMBERS_HASH_LEN])
{
	bool ok = trust_files_make_key(&n->trust, hash);

	if (!ok)
		cluster_call_refuse(q, PROBLEM_INTERNAL, "A new key cannot be kept below the state directory.");
	return ok;
}

/* ---- going ---- */

static void remove_node(struct cluster_node *n, struct cluster_call *q)
{
	const struct members_node *m = members_named(n->table, q->node);
	uint8_t hash[MEMBERS_HASH_LEN];
	struct members_refusal why;
	struct cluster_view v;

	if (m == NULL) {
		cluster_call_refuse(q, PROBLEM_NOT_FOUND, "there is no node \"%.64s\"", q->node);
		return;
	}
	if (!new_key(n, q, hash))
		return;
	struct members_request r = { .key = hash, .force = q->verb == CLUSTER_REMOVE_FORCED };
	cluster_look(n, &v);
	forming_change(n, q, members_remove(n->table, &v.view, m->id, &r, &why), &why, "remove a node", NULL);
}

static void leave(struct cluster_node *n, struct cluster_call *q)
{
	struct members_refusal why;
	struct cluster_view v;

	cluster_look(n, &v);
	forming_change(n, q, members_leave(n->table, &v.view, v.view.self, NULL, &why), &why, "leave", NULL);
}

/* There is nobody to be told, and nothing to be written: corosync may never have come up, as by a wrong link. */
static void leave_alone(struct cluster_node *n, struct cluster_call *q, const char *what)
{
	log_msg(LOG_LEVEL_NOTICE, "cluster", "%s is given up", what);
	n->purging = true;
	cluster_call_answer(q, 200, forming_answer(n));
	timer_set_in(n->env.loop, &n->tick, 1);
}

static bool is_only_member(const struct cluster_node *n)
{
	const struct members *t = cluster_table(n);

	return t != NULL && t->n == 1 && t->list[0].id == store_identity(n->env.store).id;
}

/* The others have forgotten it, says one of them, and nothing can be written here. False: it is not so. */
static bool leave_forgotten(struct cluster_node *n, struct cluster_call *q)
{
	if (store_quorate(n->env.store) || !cluster_said_removed(n))
		return false;
	log_msg(LOG_LEVEL_WARNING, "cluster_removed", "this node forgets its cluster, by the word of %s", q->author);
	n->purging = true;
	cluster_call_answer(q, 200, forming_answer(n));
	return true;
}

/* It hears nobody, and no quorum will come of waiting. The others keep it in their table until it is removed there. */
static void leave_unable(struct cluster_node *n, struct cluster_call *q)
{
	if (q->verb == CLUSTER_LEAVE_FORCED)
		leave_alone(n, q, "a cluster that this node cannot take part in");
	else
		cluster_call_refuse(q, PROBLEM_CONFLICT,
				    "This node cannot take part in its cluster, so the others cannot be told: %s. Mend "
				    "that, or `postroad cluster leave --force` here (force=true) and `postroad cluster "
				    "remove` of this node on another one.",
				    n->cannot);
}

/* In each way that there is, the others are asked as little as possible. */
static void leave_somehow(struct cluster_node *n, struct cluster_call *q)
{
	if (cluster_lacks_table(n))
		leave_alone(n, q, "an init or a join that ended without a table");
	else if (is_only_member(n))
		leave_alone(n, q, "a cluster that has no other node");
	else if (leave_forgotten(n, q))
		return;
	else if (n->cannot != NULL)
		leave_unable(n, q);
	else if (is_able(n, q))
		leave(n, q);
}

static void rotate(struct cluster_node *n, struct cluster_call *q)
{
	uint8_t hash[MEMBERS_HASH_LEN];
	struct members_refusal why;
	struct cluster_view v;

	if (!new_key(n, q, hash))
		return;
	cluster_look(n, &v);
	forming_change(n, q, members_rotate(n->table, &v.view, hash, &why), &why, "a new key", NULL);
}

static void cancel(struct cluster_node *n, struct cluster_call *q)
{
	struct members_refusal why;
	struct cluster_view v;

	cluster_look(n, &v);
	forming_change(n, q, members_cancel(n->table, &v.view, &why), &why, "give a change up", NULL);
}

void cluster_node_call(struct cluster_node *n, struct cluster_call *q)
{
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	if (q->verb == CLUSTER_MEMBERS)
		cluster_call_answer(q, 200, cluster_node_status(n));
	else if (q->verb == CLUSTER_LOST)
		lost_list(n, q);
	else if (q->verb == CLUSTER_LOST_FORGET)
		lost_forget(n, q);
	else if (q->verb == CLUSTER_TOKENS)
		forming_token_list(n, q);
	else if (n->forming || n->join != NULL)
		cluster_call_refuse(q, PROBLEM_CONFLICT, "This node is becoming a member just now.");
	else if (q->verb == CLUSTER_INIT)
		forming_init(n, q);
	else if (q->verb == CLUSTER_JOIN)
		forming_join(n, q);
	else if (q->verb == CLUSTER_FORCE_QUORUM)
		forming_force_quorum(n, q);
	else if (q->verb == CLUSTER_LEAVE || q->verb == CLUSTER_LEAVE_FORCED)
		leave_somehow(n, q);
	else if (!is_able(n, q))
		return;
	else if (q->verb == CLUSTER_TOKEN)
		forming_token_make(n, q);
	else if (q->verb == CLUSTER_TOKEN_REVOKE)
		forming_token_revoke(n, q);
	else if (q->verb == CLUSTER_CANCEL)
		cancel(n, q);
	else if (q->verb == CLUSTER_ROTATE_KEYS)
		rotate(n, q);
	else
		remove_node(n, q);
}

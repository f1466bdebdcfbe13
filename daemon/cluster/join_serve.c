/* SPDX-License-Identifier: Apache-2.0
 * The side of the member that is asked.
 *
 * The hard thing is the answer that was lost: the table has the node, the node does not know. So one that asks again as
 * the same instance by the token it used gets its id again, with a certificate made anew, which the table must name
 * too.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/cluster/join.h"

#define ASKED_MAGIC 0x4a4e4153u
#define SERVE_MAGIC 0x4a4e5352u

struct serve {
	uint32_t magic;
	struct join_env env;
};

struct join_asked {
	uint32_t magic;
	struct join_env env;
	struct peers_request *request;
	struct join_envelope envelope;
	struct join_question question;
	uint32_t id; /* by the last decision */
	struct sbuf certificate;
	json_t *passed_over; /* NULL = nothing */
};

static void end(struct join_asked *a, int status, struct str body)
{
	peers_reply(a->request, status, body);
	join_envelope_fini(&a->envelope);
	join_question_fini(&a->question);
	sbuf_fini(&a->certificate);
	json_decref(a->passed_over);
	FREE_OBJ(a);
}

static void say(struct join_asked *a, int status, const char *why)
{
	end(a, status, str_from(why));
}

/* ---- who asks ---- */

static const char no_such_token[] = "The token is not known here, or its proof is wrong: make a new one on a member";

/* Whoever cannot prove the token learns nothing about it. */
static bool is_proved(const struct join_asked *a, const struct members *t)
{
	static const uint8_t nothing[MEMBERS_HASH_LEN];
	const struct members_token *k = members_find_token(t, a->envelope.token);
	uint8_t binding[CHANNEL_BINDING_LEN];

	if (!peers_request_binding(a->request, binding))
		return false;
	bool right = token_check(k == NULL ? nothing : k->stored, binding,
				 (struct str) { a->envelope.question, a->envelope.question_n }, a->envelope.proof);
	return right && k != NULL;
}

static void on_join(struct peers_request *r, void *arg)
{
	const struct serve *s = arg;
	struct join_asked *a;
	const char *why = NULL;

	CHECK_OBJ(s, SERVE_MAGIC);
	NEW_OBJ(a, ASKED_MAGIC);
	a->env = s->env;
	a->request = r;
	const struct members *t = s->env.table(s->env.arg);
	const struct ca *ca = s->env.authority(s->env.arg);
	if (!join_envelope_parse(peers_request_body(r), &a->envelope, &why))
		say(a, 400, why);
	else if (t == NULL || ca == NULL || !ca_can_issue(ca))
		join_defer(a, "This node cannot take others in: ask one that is in sync and carries mail");
	else if (!is_proved(a, t))
		say(a, 403, no_such_token);
	else if (!join_question_parse((struct str) { a->envelope.question, a->envelope.question_n }, &a->question,
				      &why))
		say(a, 400, why);
	else
		s->env.decide(a, s->env.arg);
}

void join_serve(struct peers *p, const struct join_env *env)
{
	struct serve *s;

	NEW_OBJ(s, SERVE_MAGIC);
	s->env = *env;
	peers_serve(p, "/join", true, JOIN_QUESTION_MAX, on_join, s);
	peers_own(p, s);
}

/* ---- the decision ---- */

const struct join_question *join_asked_question(const struct join_asked *a)
{
	CHECK_OBJ(a, ASKED_MAGIC);
	return &a->question;
}

bool join_asked_replaces(const struct join_asked *a, const struct members *t)
{
	const struct members_token *k = members_find_token(t, a->envelope.token);

	return k != NULL && k->replaces[0] != '\0' && k->used_by == 0;
}

void join_asked_pass_over(struct join_asked *a, const char *text)
{
	CHECK_OBJ(a, ASKED_MAGIC);
	if (a->passed_over == NULL)
		a->passed_over = json_array();
	json_array_append_new(a->passed_over, json_string(text));
}

static struct members *refuse(struct members_refusal *why, enum members_refusal_code code, const char *text)
{
	why->code = code;
	snprintf(why->text, sizeof(why->text), "%s", text);
	return NULL;
}

/* The node this is, where the answer to an earlier question was lost. */
static const struct members_node *asked_before(const struct join_asked *a, const struct members *t)
{
	const struct members_token *k = members_find_token(t, a->envelope.token);
	const struct members_node *n = k == NULL || k->used_by == 0 ? NULL : members_find(t, k->used_by);
	const struct members_node *asks = &a->question.node;

	if (n == NULL || n->state != MEMBERS_JOINING || n->instance != asks->instance ||
	    strcmp(n->name, asks->name) != 0 || !addr_eq(&n->listen, &asks->listen) || n->n_links != asks->n_links)
		return NULL;
	for (size_t i = 0; i < n->n_links; i++)
		if (!addr_eq_ip(&n->links[i], &asks->links[i]))
			return NULL;
	return n;
}

static bool certify(struct join_asked *a, const struct members *t, double now, struct ca_identity *who,
		    struct members_refusal *why)
{
	const struct ca *ca = a->env.authority(a->env.arg);
	char *text = NULL;

	*who = (struct ca_identity) { .id = a->id };
	snprintf(who->cluster, sizeof(who->cluster), "%s", t->cluster);
	snprintf(who->name, sizeof(who->name), "%s", a->question.node.name);
	sbuf_reset(&a->certificate);
	if (ca != NULL && ca_issue(ca, str_from(a->question.certificate_request), who, now, &a->certificate, &text))
		return true;
	refuse(why, MEMBERS_INVALID, text != NULL ? text : "This node has lost the authority's key");
	free(text);
	return false;
}

struct members *join_decide(struct join_asked *a, const struct members *t, const struct members_view *view,
			    const uint8_t *new_key, struct members_refusal *why)
{
	CHECK_OBJ(a, ASKED_MAGIC);
	const struct members_node *before = asked_before(a, t);
	struct members_node node = a->question.node;
	struct ca_identity who;

	if (!is_proved(a, t))
		return refuse(why, MEMBERS_DENIED, no_such_token);
	a->id = before != NULL ? before->id : t->next_id;
	if (!certify(a, t, view->now, &who, why))
		return NULL;
	if (before != NULL)
		return members_certificate(t, a->id, who.fingerprint, why);
	memcpy(node.certificate, who.fingerprint, sizeof(node.certificate));
	return members_join(t, view,
			    &(struct members_request) {
				    .token = a->envelope.token,
				    .node = &node,
				    .key = join_asked_replaces(a, t) ? new_key : NULL,
				    .force = a->question.force,
			    },
			    why);
}

/* ---- the end ---- */

void join_accept(struct join_asked *a, const struct members *t, uint64_t generation, uint64_t position)
{
	CHECK_OBJ(a, ASKED_MAGIC);
	const struct join_env *env = &a->env;
	const struct members_change *change = &t->change;
	const uint8_t *hash = change->kind != MEMBERS_NONE && change->rotates ? change->key : t->key;
	struct sbuf authority = { 0 }, body = { 0 };
	struct join_answer answer = {
		.id = a->id, .number = t->number, .generation = generation, .position = position
	};

	if (env->authority(env->arg) == NULL || members_find(t, a->id) == NULL ||
	    !env->corosync_key(env->arg, hash, answer.key)) {
		join_defer(a, "This node has not got the cluster's keys: ask another one");
		return;
	}
	snprintf(answer.cluster, sizeof(answer.cluster), "%s", t->cluster);
	ca_certificate_pem(env->authority(env->arg), &authority);
	answer.authority = sbuf_steal(&authority);
	answer.certificate = sbuf_steal(&a->certificate);
	answer.table = members_copy(t);
	answer.passed_over = json_incref(a->passed_over);
	join_answer_encode(&answer, &body);
	join_answer_fini(&answer);
	end(a, 200, (struct str) { body.p, body.n });
	OPENSSL_cleanse(body.p, body.n);
	sbuf_fini(&body);
}

void join_refuse(struct join_asked *a, const struct members_refusal *why)
{
	static const int statuses[] = {
		[MEMBERS_INVALID] = 422, [MEMBERS_UNKNOWN] = 404, [MEMBERS_DENIED] = 403,  [MEMBERS_CONFLICT] = 409,
		[MEMBERS_ABSENT] = 409,  [MEMBERS_LAST] = 409,    [MEMBERS_VERSION] = 422,
	};

	CHECK_OBJ(a, ASKED_MAGIC);
	log_msg(LOG_LEVEL_NOTICE, "cluster_join", "%s may not join: %s", a->question.node.name, why->text);
	say(a, statuses[why->code], why->text);
}

void join_defer(struct join_asked *a, const char *why)
{
	CHECK_OBJ(a, ASKED_MAGIC);
	say(a, 503, why);
}

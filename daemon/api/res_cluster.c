/* SPDX-License-Identifier: Apache-2.0
 * /cluster/…: from a request to whoever makes this node a member, and back.
 *
 * The hard thing: what is asked may take longer than its client stays.
 */
#include "daemon/api/cluster_calls.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/api/api_private.h"

struct asked {
	struct cluster_call q;
	char author[sizeof(((struct identity *)0)->author)];
	char node[64];
	struct write_key key;
};

static void cancel(struct call *c)
{
	struct asked *a = c->arg;

	a->q.call = NULL;
	call_free(c);
}

/* The text of a token is wiped where it stood. */
static void wipe_token(json_t *body)
{
	json_t *token = json_object_get(body, "token");

	if (json_is_string(token))
		OPENSSL_cleanse((void *)(uintptr_t)json_string_value(token), json_string_length(token));
}

/* The call, with its answer still to be given; NULL: its client is gone. */
static struct call *end(struct cluster_call *q)
{
	struct asked *a = CONTAINER_OF(q, struct asked, q);
	struct call *c = q->call;

	wipe_token(q->body);
	json_decref(q->body);
	free(a);
	if (c == NULL)
		return NULL;
	c->cancel = NULL;
	c->arg = NULL;
	if (c->api != NULL)
		return c;
	call_free(c);
	return NULL;
}

void cluster_call_answer(struct cluster_call *q, int status, json_t *json)
{
	struct call *c = end(q);

	if (c == NULL)
		json_decref(json);
	else
		call_json(c, status, json);
}

void cluster_call_refuse(struct cluster_call *q, enum problem p, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	struct call *c = end(q);
	if (c != NULL)
		call_problem(c, p, NULL, "%s", text);
}

void cluster_call_result(struct cluster_call *q, const struct store_result *r, const char *operation)
{
	struct call *c = end(q);

	if (c != NULL)
		write_answer(c, r, operation);
}

void cluster_call_not_proposed(struct cluster_call *q, int err)
{
	struct call *c = end(q);

	if (c != NULL)
		write_refuse(c, err);
}

static void ask_for(struct call *c, enum cluster_verb verb, const char *keys, bool writes)
{
	struct api *api = c->api;

	if (api->env.cluster_call == NULL) {
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "this node cannot be a member of a cluster");
		return;
	}
	json_t *body = keys == NULL || call_body(c).n == 0 ? json_object() : call_body_object(c, keys);
	if (body == NULL)
		return;
	struct asked *a = xcalloc(1, sizeof(*a));
	snprintf(a->author, sizeof(a->author), "%s", c->who.author);
	snprintf(a->node, sizeof(a->node), "%s", c->params[0] != NULL ? c->params[0] : "");
	a->q = (struct cluster_call) { .verb = verb, .body = body, .node = a->node, .author = a->author, .call = c };
	if (writes) {
		struct store_write w = { 0 };
		write_set_key(c, &a->key, &w);
		a->q.idempotency_key = w.idempotency_key;
		a->q.request_hash = w.request_hash;
	}
	c->arg = a;
	c->cancel = cancel;
	api->env.cluster_call(&a->q, api->env.arg);
}

static void ask(struct call *c, enum cluster_verb verb, const char *keys)
{
	ask_for(c, verb, keys, false);
}

/* What becomes one write to the log: made once under an Idempotency-Key. */
static void ask_write(struct call *c, enum cluster_verb verb, const char *keys)
{
	if (!write_replayed(c))
		ask_for(c, verb, keys, true);
}

void res_cluster_members(struct call *c)
{
	ask(c, CLUSTER_MEMBERS, NULL);
}

void res_cluster_init(struct call *c)
{
	ask(c, CLUSTER_INIT, "links,name,listen,force");
}

void res_cluster_token(struct call *c)
{
	ask_write(c, CLUSTER_TOKEN, "voter_only,replace,ttl");
}

void res_cluster_tokens(struct call *c)
{
	ask(c, CLUSTER_TOKENS, NULL);
}

void res_cluster_token_revoke(struct call *c)
{
	ask_write(c, CLUSTER_TOKEN_REVOKE, NULL);
}

void res_cluster_join(struct call *c)
{
	ask(c, CLUSTER_JOIN, "token,links,listen,voter_only,force");
}

struct held {
	const char *node;               /* NULL = this one */
	char name[REPORT_NAME_MAX + 1]; /* of a VIP that is there, as far as is heard; empty = none */
};

static void find_held(const struct report_row *row, void *arg)
{
	struct held *h = arg;
	bool asked = h->node == NULL ? row->own : strcmp(h->node, row->name) == 0 && row->state < REPORT_SAID;

	for (size_t i = 0; asked && row->report != NULL && i < row->report->n_vips; i++)
		if (row->report->vips[i].kernel)
			report_text(h->name, sizeof(h->name), row->report->vips[i].name);
}

/* A node that is a member no more drops its VIPs at once: connections to them would be cut. */
static bool would_cut(struct call *c, const char *node)
{
	struct api *a = c->api;
	struct held h = { node, "" };

	if (call_flag(c, "force") || a->env.view == NULL || store_identity(a->env.store).cluster == 0)
		return false;
	report_view_each(a->env.view, loop_now_ms(a->env.loop), find_held, &h);
	if (h.name[0] == '\0')
		return false;
	const char *name = node != NULL ? node : a->env.node->node;
	call_problem(c, PROBLEM_CONFLICT, NULL,
		     "VIP %s is on %s, and its connections would be cut: `postroad node drain %s --wait` first, or "
		     "`--force` (force=true)",
		     h.name, node != NULL ? name : "this node", name);
	return true;
}

void res_cluster_leave(struct call *c)
{
	if (!would_cut(c, NULL))
		ask_write(c, CLUSTER_LEAVE, "");
}

void res_cluster_remove(struct call *c)
{
	if (!would_cut(c, c->params[0]))
		ask_write(c, call_flag(c, "force") ? CLUSTER_REMOVE_FORCED : CLUSTER_REMOVE, NULL);
}

void res_cluster_cancel(struct call *c)
{
	ask_write(c, CLUSTER_CANCEL, NULL);
}

void res_cluster_force_quorum(struct call *c)
{
	ask(c, CLUSTER_FORCE_QUORUM, "");
}

void res_cluster_rotate_keys(struct call *c)
{
	ask_write(c, CLUSTER_ROTATE_KEYS, "");
}

void res_cluster_lost(struct call *c)
{
	ask(c, CLUSTER_LOST, NULL);
}

void res_cluster_lost_forget(struct call *c)
{
	ask(c, CLUSTER_LOST_FORGET, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * The side of the node that joins.
 *
 * The hard thing: nothing is believed but the token. Who answers was judged by the authority's fingerprint in it; what
 * is answered must be of that authority, for our key, with the key of corosync that the table names.
 */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "daemon/cluster/join.h"

#define CALL_MAGIC 0x4a4e434cu

struct join_call {
	uint32_t magic;
	struct peers *peers;
	struct token token;
	struct sbuf question, key;
	size_t at; /* of the token's addresses */
	double now;
	struct sbuf why; /* what each one said */
	join_done_fn *fn;
	void *arg;
};

static void free_call(struct join_call *c)
{
	token_wipe(&c->token);
	if (c->key.p != NULL)
		OPENSSL_cleanse(c->key.p, c->key.n);
	sbuf_fini(&c->key);
	sbuf_fini(&c->question);
	sbuf_fini(&c->why);
	FREE_OBJ(c);
}

/* ---- the answer ---- */

/* NULL = as it should be. */
static const char *fault_of(const struct join_call *c, const struct join_answer *a, const struct ca *ca)
{
	const struct members_node *n = members_find(a->table, a->id);
	const struct members_change *change = &a->table->change;
	const uint8_t *hash = change->kind != MEMBERS_NONE && change->rotates ? change->key : a->table->key;
	uint8_t is[CA_FINGERPRINT_LEN];
	struct ca_identity who;
	char *why = NULL;

	ca_fingerprint(ca, is);
	if (CRYPTO_memcmp(is, c->token.authority, sizeof(is)) != 0)
		return "The answer's authority is not the one of the token";
	bool verified = ca_verify(ca, str_from(a->certificate), c->now, &who, &why);
	free(why);
	if (!verified || who.id != a->id || strcmp(who.cluster, a->cluster) != 0 || strcmp(who.name, n->name) != 0 ||
	    memcmp(who.fingerprint, n->certificate, sizeof(who.fingerprint)) != 0)
		return "The answer's certificate is not for this node, or one of the clocks is wrong";
	if (!ca_key_fits(str_from(a->certificate), (struct str) { c->key.p, c->key.n }))
		return "The answer's certificate is for another key";
	if (!corosync_key_is((struct str) { (const char *)a->key, sizeof(a->key) }, hash))
		return "The answer's key of corosync is not the one of the table";
	return NULL;
}

static const char *check(const struct join_call *c, const struct join_answer *a)
{
	char *why = NULL;
	struct ca *ca = ca_load(str_from(a->authority), STR(""), &why);
	const char *fault = ca == NULL ? "The answer's authority cannot be read" : fault_of(c, a, ca);

	free(why);
	ca_free(ca);
	return fault;
}

static void next_address(struct join_call *c);

/* Where nobody answered, the text has the address. */
static void note(struct join_call *c, bool answered, struct str text)
{
	char at[ADDR_TEXT_MAX];

	if (c->why.n > 0)
		sbuf_puts(&c->why, "; ");
	if (answered)
		sbuf_printf(&c->why, "%s said: ", addr_format(&c->token.addresses[c->at], at));
	sbuf_printf(&c->why, "%.*s", (int)(text.n > 400 ? 400 : text.n), text.p);
}

static void give_up(struct join_call *c, int status)
{
	c->fn(NULL, status, c->why.p == NULL ? "No member could be asked" : c->why.p, c->arg);
	free_call(c);
}

static void on_answer(int status, struct str body, void *arg)
{
	struct join_call *c = arg;
	struct join_answer a;
	const char *fault = NULL;

	CHECK_OBJ(c, CALL_MAGIC);
	if (status != 200) {
		note(c, status != 0, body);
		/* 503, and nobody there: another one may know. */
		if (status == 0 || status >= 500) {
			c->at++;
			next_address(c);
		} else {
			give_up(c, status);
		}
		return;
	}
	if (join_answer_parse(body, &a, &fault)) {
		fault = check(c, &a);
		if (fault == NULL) {
			c->fn(&a, 200, NULL, c->arg);
			join_answer_fini(&a);
			free_call(c);
			return;
		}
		join_answer_fini(&a);
	}
	note(c, true, str_from(fault));
	give_up(c, 403);
}

/* ---- the question ---- */

static void compose(const uint8_t binding[CHANNEL_BINDING_LEN], struct sbuf *body, void *arg)
{
	struct join_call *c = arg;
	struct str question = { c->question.p, c->question.n };
	uint8_t proof[TOKEN_HASH_LEN];

	CHECK_OBJ(c, CALL_MAGIC);
	token_prove(&c->token, binding, question, proof);
	join_envelope_encode(c->token.id, proof, question, body);
}

static int ask(struct join_call *c)
{
	struct peers_call_options o = { .to = c->token.addresses[c->at],
					.authority = c->token.authority,
					.path = "/join",
					.compose = compose,
					.deadline_ms = JOIN_CALL_MS };

	return peers_call(c->peers, &o, on_answer, c);
}

static void next_address(struct join_call *c)
{
	if (c->at == c->token.n || ask(c) != 0)
		give_up(c, 0);
}

struct join_call *join_call(struct peers *p, const struct join_options *o, join_done_fn *fn, void *arg, char **ret_why)
{
	const char *why = NULL;
	struct join_call *c;

	NEW_OBJ(c, CALL_MAGIC);
	*ret_why = NULL;
	if (!token_parse(o->token, &c->token, &why)) {
		*ret_why = xstrdup(why);
	} else if (o->now >= (double)c->token.expires) {
		*ret_why =
			xstrdup("The token has expired, or this machine's clock is wrong: make a new one on a member");
	} else {
		c->peers = p;
		c->now = o->now;
		c->fn = fn;
		c->arg = arg;
		join_question_encode(o->question, &c->question);
		sbuf_reserve(&c->key, o->key_pem.n + 1);
		sbuf_add(&c->key, o->key_pem.p, o->key_pem.n);
		if (ask(c) == 0)
			return c;
		*ret_why = xstrdup("Too many calls to other nodes are under way");
	}
	free_call(c);
	return NULL;
}

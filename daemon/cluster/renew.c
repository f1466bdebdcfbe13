/* SPDX-License-Identifier: Apache-2.0
 * A member's next certificate.
 *
 * The hard thing: the table keeps two fingerprints of a node. A node that lost two answers would have neither of those
 * certificates; so the older of the two is always the one it has just shown.
 */
#include "daemon/cluster/renew.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/log.h"

#define CALL_MAGIC 0x524e434cu
#define SERVE_MAGIC 0x524e5352u
#define ASKED_MAGIC 0x524e4153u

/* ---- the member whose certificate ends ---- */

struct renewal {
	uint32_t magic;
	struct ca *ca;
	struct ca_identity self;
	struct sbuf key;
	double now;
	renew_done_fn *fn;
	void *arg;
};

static void renewal_free(struct renewal *c)
{
	if (c->key.p != NULL)
		OPENSSL_cleanse(c->key.p, c->key.n);
	sbuf_fini(&c->key);
	ca_free(c->ca);
	FREE_OBJ(c);
}

/* NULL = as it should be. */
static const char *fault_of(const struct renewal *c, struct str certificate)
{
	struct ca_identity who;
	char *why = NULL;
	bool verified = ca_verify(c->ca, certificate, c->now, &who, &why);

	free(why);
	if (!verified || who.id != c->self.id || strcmp(who.cluster, c->self.cluster) != 0 ||
	    strcmp(who.name, c->self.name) != 0)
		return "The certificate that came is not for this node, or one of the clocks is wrong";
	if (!ca_key_fits(certificate, (struct str) { c->key.p, c->key.n }))
		return "The certificate that came is for another key";
	return NULL;
}

static void on_answer(int status, struct str body, void *arg)
{
	struct renewal *c = arg;
	char *text = NULL;
	const char *why;

	CHECK_OBJ(c, CALL_MAGIC);
	why = status == 200 ? fault_of(c, body) : (text = xstrndup(body.p, body.n));
	c->fn(why == NULL ? body : (struct str) { "", 0 }, why, c->arg);
	free(text);
	renewal_free(c);
}

int renew_call(struct peers *p, const struct renew_options *o, renew_done_fn *fn, void *arg)
{
	struct peers_call_options call = {
		.to = o->to, .id = o->id, .path = "/renew", .body = o->request_pem, .deadline_ms = RENEW_CALL_MS
	};
	struct sbuf authority = { 0 };
	struct renewal *c;
	char *why = NULL;

	NEW_OBJ(c, CALL_MAGIC);
	ca_certificate_pem(o->ca, &authority);
	c->ca = ca_load((struct str) { authority.p, authority.n }, STR(""), &why);
	ASSERT(c->ca != NULL); /* it was written by ourselves */
	c->self = *o->self;
	c->now = o->now;
	c->fn = fn;
	c->arg = arg;
	sbuf_reserve(&c->key, o->key_pem.n + 1);
	sbuf_add(&c->key, o->key_pem.p, o->key_pem.n);
	int rc = peers_call(p, &call, on_answer, c);
	if (rc != 0)
		renewal_free(c);
	sbuf_fini(&authority);
	free(why);
	return rc;
}

/* ---- the member that is asked ---- */

struct serve {
	uint32_t magic;
	struct renew_env env;
};

struct renew_asked {
	uint32_t magic;
	struct renew_env env;
	struct peers_request *request;
	struct ca_identity who; /* by the certificate it has */
	struct sbuf question, certificate;
};

static void end(struct renew_asked *a, int status, struct str body)
{
	peers_reply(a->request, status, body);
	sbuf_fini(&a->question);
	sbuf_fini(&a->certificate);
	FREE_OBJ(a);
}

static void on_renew(struct peers_request *r, void *arg)
{
	const struct serve *s = arg;
	struct str body = peers_request_body(r);
	struct renew_asked *a;

	CHECK_OBJ(s, SERVE_MAGIC);
	NEW_OBJ(a, ASKED_MAGIC);
	a->env = s->env;
	a->request = r;
	a->who = *peers_request_from(r);
	sbuf_add(&a->question, body.p, body.n);
	const struct ca *ca = s->env.authority(s->env.arg);
	if (s->env.table(s->env.arg) == NULL || ca == NULL || !ca_can_issue(ca))
		renew_defer(a, "This node cannot give certificates: ask one that is in sync and carries mail");
	else
		s->env.decide(a, s->env.arg);
}

void renew_serve(struct peers *p, const struct renew_env *env)
{
	struct serve *s;

	NEW_OBJ(s, SERVE_MAGIC);
	s->env = *env;
	peers_serve(p, "/renew", false, CA_PEM_MAX, on_renew, s);
	peers_own(p, s);
}

uint32_t renew_asked_id(const struct renew_asked *a)
{
	CHECK_OBJ(a, ASKED_MAGIC);
	return a->who.id;
}

static struct members *refuse(struct members_refusal *why, enum members_refusal_code code, const char *text)
{
	why->code = code;
	snprintf(why->text, sizeof(why->text), "%s", text);
	return NULL;
}

struct members *renew_decide(struct renew_asked *a, const struct members *t, double now, struct members_refusal *why)
{
	CHECK_OBJ(a, ASKED_MAGIC);
	const struct ca *ca = a->env.authority(a->env.arg);
	struct ca_identity next = { .id = a->who.id };
	char *text = NULL;

	if (!members_certified(t, a->who.id, a->who.fingerprint))
		return refuse(why, MEMBERS_DENIED, "This node is no member of the cluster any more");
	snprintf(next.cluster, sizeof(next.cluster), "%s", t->cluster);
	snprintf(next.name, sizeof(next.name), "%s", members_find(t, next.id)->name);
	sbuf_reset(&a->certificate);
	if (ca == NULL ||
	    !ca_issue(ca, (struct str) { a->question.p, a->question.n }, &next, now, &a->certificate, &text)) {
		refuse(why, MEMBERS_INVALID, text != NULL ? text : "This node has lost the authority's key");
		free(text);
		return NULL;
	}
	struct members *to = members_certificate(t, next.id, next.fingerprint, why);
	for (size_t i = 0; to != NULL && i < to->n; i++)
		if (to->list[i].id == next.id)
			memcpy(to->list[i].certificate_before, a->who.fingerprint, MEMBERS_HASH_LEN);
	return to;
}

void renew_accept(struct renew_asked *a)
{
	CHECK_OBJ(a, ASKED_MAGIC);
	log_msg(LOG_LEVEL_NOTICE, "cluster_certificate", "node %u (%s) got its next certificate", a->who.id,
		a->who.name);
	end(a, 200, (struct str) { a->certificate.p, a->certificate.n });
}

void renew_refuse(struct renew_asked *a, const struct members_refusal *why)
{
	CHECK_OBJ(a, ASKED_MAGIC);
	log_msg(LOG_LEVEL_NOTICE, "cluster_certificate", "node %u (%s) gets no next certificate: %s", a->who.id,
		a->who.name, why->text);
	end(a, why->code == MEMBERS_DENIED ? 403 : 422, str_from(why->text));
}

void renew_defer(struct renew_asked *a, const char *why)
{
	CHECK_OBJ(a, ASKED_MAGIC);
	end(a, 503, str_from(why));
}

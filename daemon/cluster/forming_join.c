/* SPDX-License-Identifier: Apache-2.0
 * A node that joins: from a token to a fresh member that votes as soon as it has the log.
 *
 * The hard thing: it is in the table before it knows, as an answer can be lost. Then the table gives it up after two
 * minutes, and this node is alone as before: only when all it needs is on its disk does it become another.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"

enum { JOIN_CALL_MS = 20000, BECOME_TRIES = 40, BECOME_AGAIN_MS = 250 };

struct cluster_join {
	struct cluster_node *n;
	struct cluster_call *q;
	struct token token; /* a secret */
	size_t next;        /* of its addresses */
	char request[8192]; /* what is asked, as the proof covers it */
	uint64_t instance, number;
	uint32_t id;
	struct sbuf key, certificate, authority;
	struct sbuf table;
	uint64_t position;
	struct timer again;
	unsigned tries;
	char failed[512]; /* of the last address */
};

static void end(struct cluster_join *j)
{
	timer_stop(&j->again);
	token_wipe(&j->token);
	trust_wipe(&j->key);
	sbuf_fini(&j->certificate);
	sbuf_fini(&j->authority);
	sbuf_fini(&j->table);
	j->n->join = NULL;
	free(j);
}

static void refuse(struct cluster_join *j, enum problem p, const char *text)
{
	cluster_call_refuse(j->q, p, "%s", text);
	end(j);
}

void forming_stop(struct cluster_node *n)
{
	if (n->join != NULL && n->join->tries > 0)
		refuse(n->join, PROBLEM_INTERNAL, "This node is stopping.");
}

/* ---- becoming a member ---- */

static int write_files(const struct cluster_join *j)
{
	const struct trust_files *t = &j->n->trust;
	const struct {
		const char *name;
		struct str bytes;
	} files[] = { { "ca.pem", cluster_str(&j->authority) },
		      { "node.key", cluster_str(&j->key) },
		      { "node.pem", cluster_str(&j->certificate) } };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		int err = trust_files_write(t, files[i].name, files[i].bytes);
		if (err != 0)
			return err;
	}
	return 0;
}

static void become(void *arg)
{
	struct cluster_join *j = arg;
	struct cluster_node *n = j->n;
	char *why = NULL;
	int err = store_join(n->env.store, j->id, j->number, j->instance);

	j->tries++;
	if (err == -EBUSY && j->tries < BECOME_TRIES) {
		timer_set_in(n->env.loop, &j->again, BECOME_AGAIN_MS);
		return;
	}
	if (err != 0) {
		refuse(j, PROBLEM_INTERNAL, strerror(-err));
		return;
	}
	cluster_heard(n, j->position, cluster_str(&j->table));
	if (!cluster_begin(n, &why)) {
		refuse(j, PROBLEM_INTERNAL, why);
		free(why);
		return;
	}
	log_msg(LOG_LEVEL_NOTICE, "cluster_joined", "this node is number %u of the cluster %s", j->id,
		cluster_table(n) == NULL ? "?" : cluster_table(n)->cluster);
	n->env.event("cluster", json_pack("{s:s}", "what", "joined"), n->env.arg);
	cluster_call_answer(j->q, 200, forming_answer(n));
	end(j);
}

/* NULL = all is there and fits, or what does not. */
static const char *take_answer(struct cluster_join *j, json_t *a)
{
	uint8_t fingerprint[CA_FINGERPRINT_LEN], number[8];
	struct ca_identity who;
	char *why = NULL;
	json_int_t id = json_integer_value(json_object_get(a, "id"));
	const char *ca_pem = json_string_value(json_object_get(a, "authority"));
	const char *certificate = json_string_value(json_object_get(a, "certificate"));
	struct ca *ca = ca_pem == NULL ? NULL : ca_load(str_from(ca_pem), STR(""), &why);
	bool ok = ca != NULL && certificate != NULL && id > 0 && id <= UINT32_MAX;

	if (ok)
		ca_fingerprint(ca, fingerprint);
	ok = ok && memcmp(fingerprint, j->token.authority, sizeof(fingerprint)) == 0 &&
	     ca_verify(ca, str_from(certificate), clock_wall(), &who, &why) && who.id == (uint32_t)id;
	ca_free(ca);
	free(why);
	if (!ok)
		return "the answer of the cluster has no certificate that fits the token";
	if (!cluster_unhex(json_string_value(json_object_get(a, "number")), number, sizeof(number)) ||
	    !cluster_json_take_base64(json_object_get(a, "table"), MEMBERS_DOCUMENT_MAX, &j->table))
		return "the answer of the cluster has no table of nodes";
	for (size_t i = 0; i < sizeof(number); i++)
		j->number = j->number << 8 | number[i];
	j->id = (uint32_t)id;
	j->position = (uint64_t)json_integer_value(json_object_get(a, "position"));
	sbuf_puts(&j->certificate, certificate);
	sbuf_puts(&j->authority, ca_pem);
	return NULL;
}

/* ---- asking ---- */

static void call_next(struct cluster_join *j);

static void on_answer(int status, struct str body, void *arg)
{
	struct cluster_join *j = arg;
	struct cluster_node *n = j->n;
	char address[ADDR_TEXT_MAX];

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	addr_format(&j->token.addresses[j->next - 1], address);
	if (n->stopped) {
		refuse(j, PROBLEM_INTERNAL, "This node is stopping.");
		return;
	}
	if (status != 200) {
		snprintf(j->failed, sizeof(j->failed), "%s: %.*s", address, (int)(body.n < 400 ? body.n : 400), body.p);
		/* Another one may have quorum, or the authority's key; a refusal is everybody's. */
		if (status == 0 || status >= 500)
			call_next(j);
		else
			refuse(j, status == 403 ? PROBLEM_FORBIDDEN : PROBLEM_CONFLICT, j->failed);
		return;
	}
	json_t *a = cluster_json_read(body);
	const char *why = a == NULL ? "the answer of the cluster is not understood" : take_answer(j, a);
	json_decref(a);
	int err = why == NULL ? write_files(j) : 0;
	if (why != NULL || err != 0)
		refuse(j, PROBLEM_INTERNAL, why != NULL ? why : strerror(-err));
	else
		become(j);
}

/* The proof is of this connection alone. */
static void compose(const uint8_t binding[CHANNEL_BINDING_LEN], struct sbuf *body, void *arg)
{
	struct cluster_join *j = arg;
	uint8_t proof[TOKEN_HASH_LEN];
	char text[2 * TOKEN_HASH_LEN + 1];

	token_prove(&j->token, binding, str_from(j->request), proof);
	cluster_hex(proof, sizeof(proof), text);
	cluster_json_write(json_pack("{s:s, s:s, s:s}", "token", j->token.id, "proof", text, "request", j->request),
			   body);
}

static void call_next(struct cluster_join *j)
{
	while (j->next < j->token.n) {
		struct peers_call_options o = { .to = j->token.addresses[j->next++],
						.authority = j->token.authority,
						.anonymous = true,
						.path = "/join",
						.compose = compose,
						.deadline_ms = JOIN_CALL_MS };
		if (peers_call(j->n->env.peers, &o, on_answer, j) == 0)
			return;
		snprintf(j->failed, sizeof(j->failed), "too many calls are under way");
	}
	refuse(j, PROBLEM_CONFLICT, j->failed);
}

/* False: too long. */
static bool write_request(struct cluster_join *j, const struct forming_where *w, const char *csr, bool voter_only)
{
	char instance[17], text[ADDR_TEXT_MAX];
	json_t *links = json_array();

	snprintf(instance, sizeof(instance), "%016llx", (unsigned long long)j->instance);
	for (size_t i = 0; i < w->n_links; i++)
		json_array_append_new(links, json_string(addr_format_ip(&w->links[i], text)));
	json_t *o = json_pack("{s:s, s:s, s:o, s:s, s:b, s:i, s:i, s:s, s:b, s:s, s:f}", "name",
			      j->n->env.config->node, "instance", instance, "links", links, "listen",
			      addr_format(&w->listen, text), "voter_only", voter_only, "low", MEMBERS_FEATURES_LOW,
			      "high", MEMBERS_FEATURES_HIGH, "csr", csr, "force",
			      json_is_true(json_object_get(j->q->body, "force")), "version", POSTROAD_VERSION, "wall",
			      clock_wall());
	char *dump = json_dumps(o, JSON_COMPACT);
	int length = snprintf(j->request, sizeof(j->request), "%s", dump);
	free(dump);
	json_decref(o);
	return length > 0 && (size_t)length < sizeof(j->request);
}

/* Nothing of another life is left at postroad-ha. */
static void on_clean(const struct ha_message *m, void *arg)
{
	struct cluster_node *n = arg;

	UNUSED(m);
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	n->ha_busy = false;
}

static struct cluster_join *join_new(struct cluster_node *n, struct cluster_call *q, const struct forming_where *w)
{
	const char *text = json_string_value(json_object_get(q->body, "token")), *why = "\"token\" is missing";
	struct cluster_join *j = xcalloc(1, sizeof(*j));
	struct sbuf csr = { 0 };

	*j = (struct cluster_join) { .n = n, .q = q };
	timer_init(&j->again, become, j);
	n->join = j;
	random_bytes(&j->instance, sizeof(j->instance));
	j->instance = j->instance >> 1 | 1;
	sbuf_reserve(&j->key, CA_PEM_MAX);
	bool ok = text != NULL && token_parse(str_from(text), &j->token, &why);
	if (ok && (double)j->token.expires < clock_wall()) {
		ok = false;
		why = "this token has expired: make a new one on a member";
	}
	if (ok) {
		why = "a key for this node cannot be made";
		ok = ca_request_make(&j->key, &csr) &&
		     write_request(j, w, csr.p, json_is_true(json_object_get(q->body, "voter_only")));
	}
	sbuf_fini(&csr);
	if (ok)
		return j;
	refuse(j, PROBLEM_INVALID, why);
	return NULL;
}

void forming_join(struct cluster_node *n, struct cluster_call *q)
{
	struct forming_where w;

	if (store_identity(n->env.store).cluster != 0) {
		cluster_call_refuse(q, PROBLEM_CONFLICT, "This node is in a cluster already: `postroad cluster leave`.");
		return;
	}
	if (!forming_where(n, q, &w) || !forming_preflight(q, &w))
		return;
	if (!cluster_ha_verb(n, HA_COROSYNC_PURGE, 0, on_clean)) {
		cluster_call_refuse(q, PROBLEM_CONFLICT, "postroad-ha is not there: it runs corosync. Start it first.");
		return;
	}
	struct cluster_join *j = join_new(n, q, &w);
	if (j != NULL)
		call_next(j);
}

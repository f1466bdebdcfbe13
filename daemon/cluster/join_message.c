/* SPDX-License-Identifier: Apache-2.0
 * What goes over /join.
 *
 * The hard thing is that the question comes from somebody who has proved nothing yet: every field has a type, a length
 * and a range before anything is made of it.
 */
#include "daemon/cluster/join_message.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/members/preflight.h"
#include "cluster/trust/ca.h"
#include "daemon/base/base64.h"

/* ---- small things ---- */

static json_t *base64_json(struct str bytes)
{
	char *text = xmalloc(BASE64_LEN(bytes.n) + 1);

	base64_encode(bytes.p, bytes.n, text);
	json_t *j = json_string(text);
	free(text);
	return j;
}

/* An address of a JSON string; with a port or without. */
static bool take_addr(json_t *j, bool with_port, struct addr *ret)
{
	const char *text = json_string_value(j);

	if (text == NULL || strlen(text) >= ADDR_TEXT_MAX)
		return false;
	return with_port ? addr_parse(text, 0, ret) && addr_port(ret) != 0 : addr_parse_ip(text, ret);
}

static bool take_text(json_t *j, char *out, size_t max)
{
	size_t n = json_string_length(j);

	if (!json_is_string(j) || n > max)
		return false;
	memcpy(out, json_string_value(j), n + 1);
	return true;
}

static char *take_pem(json_t *j)
{
	size_t n = json_string_length(j);

	return !json_is_string(j) || n == 0 || n > CA_PEM_MAX ? NULL : xstrdup(json_string_value(j));
}

static bool take_number(json_t *j, uint64_t max, uint64_t *ret)
{
	json_int_t n = json_integer_value(j);

	if (!json_is_integer(j) || n < 0 || (uint64_t)n > max)
		return false;
	*ret = (uint64_t)n;
	return true;
}

/* Sixteen hexadecimal digits: JSON's numbers do not reach so far. */
static bool take_u64(json_t *j, uint64_t *ret)
{
	const char *text = json_string_value(j);

	if (text == NULL || json_string_length(j) != 16 || strspn(text, "0123456789abcdef") != 16)
		return false;
	*ret = strtoull(text, NULL, 16);
	return true;
}

static json_t *u64_json(uint64_t v)
{
	char text[17];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)v);
	return json_string(text);
}

static json_t *read_object(struct str text)
{
	json_t *j = text.n == 0 ? NULL : json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(j))
		return j;
	json_decref(j);
	return NULL;
}

static void dump(json_t *stolen, struct sbuf *out)
{
	char *text = json_dumps(stolen, JSON_COMPACT | JSON_SORT_KEYS);

	ASSERT(text != NULL);
	sbuf_puts(out, text);
	free(text);
	json_decref(stolen);
}

/* ---- the question ---- */

void join_question_fini(struct join_question *q)
{
	free(q->certificate_request);
	*q = (struct join_question) { 0 };
}

void join_question_encode(const struct join_question *q, struct sbuf *out)
{
	const struct members_node *n = &q->node;
	char text[ADDR_TEXT_MAX];
	json_t *links = json_array(), *mtu = json_array();

	for (size_t i = 0; i < n->n_links; i++) {
		json_array_append_new(links, json_string(addr_format_ip(&n->links[i], text)));
		json_array_append_new(mtu, json_integer(q->mtu[i]));
	}
	dump(json_pack("{s:i, s:s, s:o, s:b, s:o, s:s, s:[ii], s:s, s:s, s:b, s:f, s:o}", "format", JOIN_FORMAT, "node",
		       n->name, "instance", u64_json(n->instance), "voter_only", n->voter_only, "links", links,
		       "listen", addr_format(&n->listen, text), "features", (int)n->features_low, (int)n->features_high,
		       "certificate_request", q->certificate_request, "version", q->version, "force", q->force, "clock",
		       q->clock, "mtu", mtu),
	     out);
}

static bool take_links(json_t *list, struct members_node *n)
{
	n->n_links = json_array_size(list);
	if (!json_is_array(list) || n->n_links < 1 || n->n_links > MEMBERS_LINKS_MAX)
		return false;
	for (size_t i = 0; i < n->n_links; i++)
		if (!take_addr(json_array_get(list, i), false, &n->links[i]))
			return false;
	return true;
}

static bool take_features(json_t *list, struct members_node *n)
{
	uint64_t low, high;

	if (json_array_size(list) != 2 || !take_number(json_array_get(list, 0), 1000000, &low) ||
	    !take_number(json_array_get(list, 1), 1000000, &high) || low > high)
		return false;
	n->features_low = (unsigned)low;
	n->features_high = (unsigned)high;
	return true;
}

/* Older versions do not say these. */
static bool take_facts(json_t *clock, json_t *mtu, struct join_question *q)
{
	uint64_t value;

	if (clock != NULL && !json_is_number(clock))
		return false;
	q->clock = json_number_value(clock);
	if (mtu != NULL && json_array_size(mtu) != q->node.n_links)
		return false;
	for (size_t i = 0; mtu != NULL && i < q->node.n_links; i++) {
		if (!take_number(json_array_get(mtu, i), UINT16_MAX + 1, &value))
			return false;
		q->mtu[i] = (unsigned)value;
	}
	return true;
}

static bool take_flag(json_t *j, bool *ret)
{
	*ret = json_is_true(j);
	return j == NULL || json_is_boolean(j);
}

/* NULL = all is there, or what is not. */
static const char *take_question(json_t *j, struct join_question *q)
{
	struct members_node *n = &q->node;

	if (json_integer_value(json_object_get(j, "format")) != JOIN_FORMAT)
		return "The two versions do not understand each other's way of joining: upgrade the older one first";
	if (!take_text(json_object_get(j, "node"), n->name, MEMBERS_NAME_MAX) || !members_name_valid(n->name))
		return "The node's name is not one: letters, digits, dots, dashes and underscores";
	if (!take_u64(json_object_get(j, "instance"), &n->instance) || n->instance == 0)
		return "The node does not say which instance it is";
	if (!take_links(json_object_get(j, "links"), n))
		return "The node's links are not one or two addresses";
	if (!take_addr(json_object_get(j, "listen"), true, &n->listen) || addr_is_any(&n->listen))
		return "The node's cluster.listen is not an address with a port that others can reach";
	if (!take_features(json_object_get(j, "features"), n))
		return "The node does not say what it understands";
	if (!take_text(json_object_get(j, "version"), q->version, JOIN_VERSION_MAX))
		return "The node does not say its version";
	if (!take_flag(json_object_get(j, "voter_only"), &n->voter_only) ||
	    !take_flag(json_object_get(j, "force"), &q->force))
		return "voter_only and force are true or false";
	if (!take_facts(json_object_get(j, "clock"), json_object_get(j, "mtu"), q))
		return "The clock and MTUs of the node are not such";
	q->certificate_request = take_pem(json_object_get(j, "certificate_request"));
	return q->certificate_request != NULL ? NULL : "There is no request for a certificate";
}

bool join_question_parse(struct str text, struct join_question *ret, const char **ret_why)
{
	json_t *j = read_object(text);

	*ret = (struct join_question) { 0 };
	*ret_why = j == NULL ? "The question is not JSON" : take_question(j, ret);
	json_decref(j);
	if (*ret_why == NULL)
		return true;
	join_question_fini(ret);
	return false;
}

/* ---- the envelope ---- */

void join_envelope_fini(struct join_envelope *e)
{
	free(e->question);
	*e = (struct join_envelope) { 0 };
}

void join_envelope_encode(const char *token, const uint8_t proof[TOKEN_HASH_LEN], struct str question, struct sbuf *out)
{
	dump(json_pack("{s:s, s:o, s:s%}", "token", token, "proof",
		       base64_json((struct str) { (const char *)proof, TOKEN_HASH_LEN }), "question", question.p,
		       question.n),
	     out);
}

bool join_envelope_parse(struct str body, struct join_envelope *ret, const char **ret_why)
{
	json_t *j = body.n > JOIN_QUESTION_MAX ? NULL : read_object(body), *proof, *question;
	size_t n = 0;

	*ret = (struct join_envelope) { 0 };
	*ret_why = "This is no question of a node that wants to join";
	if (j == NULL)
		return false;
	proof = json_object_get(j, "proof");
	question = json_object_get(j, "question");
	bool good = take_text(json_object_get(j, "token"), ret->token, TOKEN_ID_LEN) &&
		    strspn(ret->token, "0123456789abcdef") == TOKEN_ID_LEN && json_is_string(proof) &&
		    base64_decode(str_from(json_string_value(proof)), ret->proof, TOKEN_HASH_LEN, &n) &&
		    n == TOKEN_HASH_LEN && json_is_string(question);
	if (good) {
		ret->question = xstrdup(json_string_value(question));
		ret->question_n = json_string_length(question);
	}
	json_decref(j);
	return good;
}

/* ---- the answer ---- */

void join_answer_fini(struct join_answer *a)
{
	free(a->certificate);
	free(a->authority);
	members_free(a->table);
	OPENSSL_cleanse(a->key, sizeof(a->key));
	json_decref(a->passed_over);
	*a = (struct join_answer) { 0 };
}

void join_answer_encode(const struct join_answer *a, struct sbuf *out)
{
	struct sbuf document = { 0 }, json = { 0 };

	members_encode(a->table, &document);
	dump(json_pack("{s:i, s:I, s:s, s:o, s:s, s:s, s:o, s:I, s:I, s:O*}", "format", JOIN_FORMAT, "id",
		       (json_int_t)a->id, "cluster", a->cluster, "number", u64_json(a->number), "certificate",
		       a->certificate, "authority", a->authority, "members",
		       base64_json((struct str) { document.p, document.n }), "generation", (json_int_t)a->generation,
		       "position", (json_int_t)a->position, "passed_over", a->passed_over),
	     &json);
	sbuf_reserve(out, json.n + sizeof(a->key) + 1); /* so that the key is never moved */
	sbuf_add(out, json.p, json.n);
	sbuf_add(out, a->key, sizeof(a->key));
	sbuf_fini(&json);
	sbuf_fini(&document);
}

static struct members *take_table(json_t *j)
{
	size_t n = json_string_length(j), len = 0;
	char *why = NULL;

	if (!json_is_string(j) || n > BASE64_LEN(MEMBERS_DOCUMENT_MAX))
		return NULL;
	char *bytes = xmalloc(n + 1);
	struct members *t = base64_decode((struct str) { json_string_value(j), n }, bytes, n + 1, &len)
				    ? members_decode((struct str) { bytes, len }, &why)
				    : NULL;
	free(bytes);
	free(why);
	return t;
}

/* For people only: what is no such list is none. */
static json_t *take_sentences(json_t *list)
{
	json_t *taken = json_array(), *one;
	size_t i;

	json_array_foreach(list, i, one) {
		if (i < PREFLIGHT_FINDINGS_MAX && json_is_string(one) && json_string_length(one) < PREFLIGHT_TEXT_MAX)
			json_array_append(taken, one);
	}
	return taken;
}

static const char *take_answer(json_t *j, struct join_answer *a)
{
	uint64_t id = 0;

	if (json_integer_value(json_object_get(j, "format")) != JOIN_FORMAT)
		return "The two versions do not understand each other's way of joining: upgrade the older one first";
	a->certificate = take_pem(json_object_get(j, "certificate"));
	a->authority = take_pem(json_object_get(j, "authority"));
	a->table = take_table(json_object_get(j, "members"));
	a->passed_over = take_sentences(json_object_get(j, "passed_over"));
	if (!take_number(json_object_get(j, "id"), UINT32_MAX, &id) || id == 0 || a->certificate == NULL ||
	    a->authority == NULL || a->table == NULL || !take_u64(json_object_get(j, "number"), &a->number) ||
	    !take_text(json_object_get(j, "cluster"), a->cluster, MEMBERS_CLUSTER_MAX) ||
	    !take_number(json_object_get(j, "generation"), UINT32_MAX, &a->generation) ||
	    !take_number(json_object_get(j, "position"), INT64_MAX, &a->position))
		return "The answer lacks a part, or one is not understood";
	a->id = (uint32_t)id;
	if (members_find(a->table, a->id) == NULL || strcmp(a->table->cluster, a->cluster) != 0 ||
	    a->table->number != a->number)
		return "The answer's parts do not belong together";
	return NULL;
}

bool join_answer_parse(struct str body, struct join_answer *ret, const char **ret_why)
{
	json_t *j = body.n <= sizeof(ret->key) ? NULL : read_object((struct str) { body.p, body.n - sizeof(ret->key) });

	*ret = (struct join_answer) { 0 };
	*ret_why = j == NULL ? "The answer is not understood" : take_answer(j, ret);
	json_decref(j);
	if (*ret_why != NULL) {
		join_answer_fini(ret);
		return false;
	}
	memcpy(ret->key, body.p + body.n - sizeof(ret->key), sizeof(ret->key));
	return true;
}

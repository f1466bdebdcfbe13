/* SPDX-License-Identifier: Apache-2.0
 * The table of nodes as a document of the log: the core's head of voters, a line feed, JSON.
 *
 * The hard thing: nodes of neighbouring versions write it in turn. A field that this version does not know must come
 * out again as it came in, or the older node would take away what the newer one decided. So a field is taken out of its
 * object when it is read, and what is left is kept as text. A version whose meaning cannot be missed raises `needs`.
 */
#include <jansson.h>
#include <stdlib.h>

#include "cluster/members/members_private.h"

/* Reading stops at the first thing that is wrong. */
struct reader {
	char *why;
};

static void wrong(struct reader *r, const char *what, const char *where)
{
	if (r->why == NULL)
		r->why = xasprintf("the table of nodes cannot be read: %s %s", where, what);
}

/* ---- bytes as hexadecimal digits ---- */

static void put_hex(json_t *o, const char *key, const uint8_t *p, size_t n)
{
	struct sbuf b = { 0 };

	for (size_t i = 0; i < n; i++)
		sbuf_printf(&b, "%02x", p[i]);
	json_object_set_new(o, key, json_stringn(b.p, b.n));
	sbuf_fini(&b);
}

static int digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c == '\0' ? NULL : strchr(digits, c);

	return at == NULL ? -1 : (int)(at - digits);
}

static bool from_hex(const char *text, uint8_t *ret, size_t n)
{
	if (text == NULL || strlen(text) != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* ---- fields, each taken out of its object ---- */

static void get_text(struct reader *r, json_t *o, const char *key, struct sbuf *ret)
{
	json_t *v = json_object_get(o, key);

	if (!json_is_string(v))
		wrong(r, "is missing or no text", key);
	else
		sbuf_add(ret, json_string_value(v), json_string_length(v));
	json_object_del(o, key);
}

/* Of at most max - 1 bytes without a NUL. */
static void get_string(struct reader *r, json_t *o, const char *key, char *ret, size_t max)
{
	struct sbuf b = { 0 };

	get_text(r, o, key, &b);
	if (b.n >= max || (b.n > 0 && memchr(b.p, '\0', b.n) != NULL))
		wrong(r, "is too long or has a NUL", key);
	else if (b.n > 0)
		memcpy(ret, b.p, b.n + 1);
	sbuf_fini(&b);
}

static uint64_t get_number(struct reader *r, json_t *o, const char *key, uint64_t max)
{
	json_t *v = json_object_get(o, key);
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 0 || (uint64_t)n > max)
		wrong(r, "is missing or out of range", key);
	json_object_del(o, key);
	return r->why == NULL ? (uint64_t)n : 0;
}

static double get_time(struct reader *r, json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);
	double d = json_number_value(v);

	if (!json_is_number(v) || !(d >= 0 && d < 1e12))
		wrong(r, "is missing or no time", key);
	json_object_del(o, key);
	return r->why == NULL ? d : 0;
}

static bool get_bool(struct reader *r, json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);
	bool yes = json_is_true(v);

	if (!json_is_boolean(v))
		wrong(r, "is missing or neither true nor false", key);
	json_object_del(o, key);
	return yes;
}

static void get_hash(struct reader *r, json_t *o, const char *key, uint8_t ret[MEMBERS_HASH_LEN])
{
	if (!from_hex(json_string_value(json_object_get(o, key)), ret, MEMBERS_HASH_LEN))
		wrong(r, "is missing or no hash", key);
	json_object_del(o, key);
}

static uint64_t get_u64_hex(struct reader *r, json_t *o, const char *key)
{
	uint8_t p[8] = { 0 };
	uint64_t v = 0;

	if (!from_hex(json_string_value(json_object_get(o, key)), p, sizeof(p)))
		wrong(r, "is missing or no number", key);
	json_object_del(o, key);
	for (size_t i = 0; i < sizeof(p); i++)
		v = v << 8 | p[i];
	return v;
}

static void put_u64_hex(json_t *o, const char *key, uint64_t v)
{
	uint8_t p[8];

	for (size_t i = 0; i < sizeof(p); i++)
		p[i] = (uint8_t)(v >> (56 - 8 * i));
	put_hex(o, key, p, sizeof(p));
}

static int get_name(struct reader *r, json_t *o, const char *key, const char *const *names, size_t n)
{
	const char *text = json_string_value(json_object_get(o, key));
	int found = -1;

	for (size_t i = 0; text != NULL && i < n; i++)
		if (strcmp(text, names[i]) == 0)
			found = (int)i;
	if (found < 0)
		wrong(r, "is missing or unknown", key);
	json_object_del(o, key);
	return found < 0 ? 0 : found;
}

/* What nobody took. */
static char *get_rest(json_t *o)
{
	if (json_object_size(o) == 0)
		return NULL;
	char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	char *copy = text == NULL ? NULL : xstrdup(text);
	free(text);
	return copy;
}

static void put_rest(json_t *o, const char *extra)
{
	json_t *rest = extra == NULL ? NULL : json_loads(extra, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

	if (rest != NULL)
		json_object_update_missing(o, rest);
	json_decref(rest);
}

/* ---- a node ---- */

static const char *const state_names[] = { "joining", "member", "leaving" };
static const char *const step_names[] = { "prepare", "activate" };

static json_t *node_json(const struct members_node *n)
{
	char text[ADDR_TEXT_MAX];
	json_t *o = json_object(), *links = json_array();

	for (size_t i = 0; i < n->n_links; i++)
		json_array_append_new(links, json_string(addr_format_ip(&n->links[i], text)));
	json_object_set_new(o, "id", json_integer(n->id));
	json_object_set_new(o, "links", links);
	json_object_set_new(o, "listen", json_string(addr_format(&n->listen, text)));
	json_object_set_new(o, "state", json_string(state_names[n->state]));
	put_hex(o, "certificate", n->certificate, MEMBERS_HASH_LEN);
	put_hex(o, "certificate_before", n->certificate_before, MEMBERS_HASH_LEN);
	json_object_set_new(o, "features_low", json_integer(n->features_low));
	json_object_set_new(o, "features_high", json_integer(n->features_high));
	json_object_set_new(o, "from", json_integer((json_int_t)n->from));
	json_object_set_new(o, "until", json_integer((json_int_t)n->until));
	json_object_set_new(o, "prepared", json_boolean(n->prepared));
	json_object_set_new(o, "joined", json_real(n->joined));
	put_rest(o, n->extra);
	return o;
}

static void node_links(struct reader *r, json_t *o, struct members_node *n)
{
	json_t *links = json_object_get(o, "links"), *link;
	size_t i;

	if (!json_is_array(links) || json_array_size(links) > MEMBERS_LINKS_MAX) {
		wrong(r, "is no list of addresses, or too long", "links");
		return;
	}
	n->n_links = json_array_size(links);
	json_array_foreach(links, i, link)
		if (!json_is_string(link) || !addr_parse_ip(json_string_value(link), &n->links[i]))
			wrong(r, "has something that is no address", "links");
	json_object_del(o, "links");
}

/* `v`: what the head says of it. */
static void node_from(struct reader *r, json_t *o, const struct voter *v, struct members_node *n)
{
	char listen[ADDR_TEXT_MAX] = "";

	*n = (struct members_node) { .instance = v->instance, .votes = v->votes, .voter_only = v->voter_only };
	memcpy(n->name, v->name, sizeof(n->name));
	n->id = (uint32_t)get_number(r, o, "id", UINT32_MAX);
	if (n->id != v->id)
		wrong(r, "are not those of the head", "members");
	node_links(r, o, n);
	get_string(r, o, "listen", listen, sizeof(listen));
	if (!addr_parse(listen, 0, &n->listen))
		wrong(r, "is no address with a port", "listen");
	n->state = (enum members_state)get_name(r, o, "state", state_names, ARRAY_LEN(state_names));
	get_hash(r, o, "certificate", n->certificate);
	get_hash(r, o, "certificate_before", n->certificate_before);
	n->features_low = (unsigned)get_number(r, o, "features_low", UINT16_MAX);
	n->features_high = (unsigned)get_number(r, o, "features_high", UINT16_MAX);
	n->from = get_number(r, o, "from", INT64_MAX);
	n->until = get_number(r, o, "until", INT64_MAX);
	n->prepared = get_bool(r, o, "prepared");
	n->joined = get_time(r, o, "joined");
	n->extra = get_rest(o);
}

static void nodes_from(struct reader *r, json_t *o, const struct voters *head, struct members *t)
{
	json_t *list = json_object_get(o, "members");

	if (!json_is_array(list) || json_array_size(list) != head->n) {
		wrong(r, "are not those of the head", "members");
		return;
	}
	for (size_t i = 0; i < head->n && r->why == NULL; i++) {
		if (!json_is_object(json_array_get(list, i)))
			wrong(r, "has something that is no node", "members");
		else
			node_from(r, json_array_get(list, i), &head->list[i], &t->list[t->n++]);
	}
	json_object_del(o, "members");
}

/* ---- the change under way ---- */

static json_t *change_json(const struct members_change *c)
{
	json_t *o = json_object();

	json_object_set_new(o, "kind", json_string(members_kind_names[c->kind]));
	json_object_set_new(o, "step", json_string(step_names[c->step]));
	json_object_set_new(o, "node", json_integer(c->node));
	json_object_set_new(o, "generation", json_integer((json_int_t)c->generation));
	json_object_set_new(o, "forced", json_boolean(c->forced));
	json_object_set_new(o, "rotates", json_boolean(c->rotates));
	put_hex(o, "key", c->key, MEMBERS_HASH_LEN);
	json_object_set_new(o, "started", json_real(c->started));
	json_object_set_new(o, "token", json_string(c->token));
	put_rest(o, c->extra);
	return o;
}

static void change_from(struct reader *r, json_t *outer, struct members_change *c)
{
	json_t *o = json_object_get(outer, "change");

	if (o == NULL)
		return;
	if (!json_is_object(o)) {
		wrong(r, "is no object", "change");
		return;
	}
	c->kind = (enum members_kind)get_name(r, o, "kind", members_kind_names, MEMBERS_KIND_COUNT);
	if (c->kind == MEMBERS_NONE)
		wrong(r, "is none", "change");
	c->step = (enum members_step)get_name(r, o, "step", step_names, ARRAY_LEN(step_names));
	c->node = (uint32_t)get_number(r, o, "node", UINT32_MAX);
	c->generation = get_number(r, o, "generation", INT64_MAX);
	c->forced = get_bool(r, o, "forced");
	c->rotates = get_bool(r, o, "rotates");
	get_hash(r, o, "key", c->key);
	c->started = get_time(r, o, "started");
	get_string(r, o, "token", c->token, sizeof(c->token));
	c->extra = get_rest(o);
	json_object_del(outer, "change");
}

/* ---- tokens, and who was removed ---- */

static json_t *tokens_json(const struct members *t)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->n_tokens; i++) {
		const struct members_token *k = &t->tokens[i];
		json_t *o = json_object();
		json_object_set_new(o, "id", json_string(k->id));
		put_hex(o, "stored", k->stored, MEMBERS_HASH_LEN);
		json_object_set_new(o, "expires", json_real(k->expires));
		json_object_set_new(o, "used_by", json_integer(k->used_by));
		json_object_set_new(o, "voter_only", json_boolean(k->voter_only));
		json_object_set_new(o, "replaces", json_string(k->replaces));
		json_array_append_new(list, o);
	}
	return list;
}

/* A list of objects, at most max. Each is handed to `one`. */
static void get_list(struct reader *r, json_t *o, const char *key, size_t max,
		     void (*one)(struct reader *, json_t *, struct members *), struct members *t)
{
	json_t *list = json_object_get(o, key), *item;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > max) {
		wrong(r, "is no list, or too long", key);
		return;
	}
	json_array_foreach(list, i, item) {
		if (!json_is_object(item))
			wrong(r, "has something that is no object", key);
		else if (r->why == NULL)
			one(r, item, t);
	}
	json_object_del(o, key);
}

static void token_from(struct reader *r, json_t *o, struct members *t)
{
	struct members_token *k = &t->tokens[t->n_tokens++];

	get_string(r, o, "id", k->id, sizeof(k->id));
	get_hash(r, o, "stored", k->stored);
	k->expires = get_time(r, o, "expires");
	k->used_by = (uint32_t)get_number(r, o, "used_by", UINT32_MAX);
	k->voter_only = get_bool(r, o, "voter_only");
	get_string(r, o, "replaces", k->replaces, sizeof(k->replaces));
}

static json_t *removed_json(const struct members *t)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->n_removed; i++) {
		const struct members_removed *m = &t->removed[i];
		json_t *o = json_object();
		json_object_set_new(o, "id", json_integer(m->id));
		put_u64_hex(o, "instance", m->instance);
		json_object_set_new(o, "name", json_string(m->name));
		json_object_set_new(o, "when", json_real(m->when));
		json_array_append_new(list, o);
	}
	return list;
}

static void removed_from(struct reader *r, json_t *o, struct members *t)
{
	struct members_removed *m = &t->removed[t->n_removed++];

	m->id = (uint32_t)get_number(r, o, "id", UINT32_MAX);
	m->instance = get_u64_hex(r, o, "instance");
	get_string(r, o, "name", m->name, sizeof(m->name));
	m->when = get_time(r, o, "when");
}

/* ---- all of it ---- */

void members_encode(const struct members *t, struct sbuf *out)
{
	struct voters head;
	json_t *o = json_object(), *list = json_array();

	members_voters(t, &head);
	voters_encode(&head, out);
	json_object_set_new(o, "needs", json_integer(MEMBERS_FORMAT));
	json_object_set_new(o, "cluster", json_string(t->cluster));
	put_u64_hex(o, "number", t->number);
	json_object_set_new(o, "level", json_integer(t->level));
	json_object_set_new(o, "generation", json_integer((json_int_t)t->generation));
	json_object_set_new(o, "last_generation", json_integer((json_int_t)t->last_generation));
	json_object_set_new(o, "next_id", json_integer(t->next_id));
	put_hex(o, "key", t->key, MEMBERS_HASH_LEN);
	for (size_t i = 0; i < t->n; i++)
		json_array_append_new(list, node_json(&t->list[i]));
	json_object_set_new(o, "members", list);
	if (t->change.kind != MEMBERS_NONE)
		json_object_set_new(o, "change", change_json(&t->change));
	json_object_set_new(o, "tokens", tokens_json(t));
	json_object_set_new(o, "removed", removed_json(t));
	put_rest(o, t->extra);
	char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	ASSERT(text != NULL);
	sbuf_putc(out, '\n');
	sbuf_puts(out, text);
	free(text);
	json_decref(o);
}

static bool is_newer(const json_t *o)
{
	return json_integer_value(json_object_get(o, "needs")) > MEMBERS_FORMAT;
}

static void table_from(struct reader *r, json_t *o, const struct voters *head, struct members *t)
{
	if (is_newer(o)) {
		r->why = xasprintf("the table of nodes has format %lld, this version reads %d: upgrade this node",
				   (long long)json_integer_value(json_object_get(o, "needs")), MEMBERS_FORMAT);
		return;
	}
	(void)get_number(r, o, "needs", MEMBERS_FORMAT);
	get_string(r, o, "cluster", t->cluster, sizeof(t->cluster));
	t->number = get_u64_hex(r, o, "number");
	t->level = (unsigned)get_number(r, o, "level", UINT16_MAX);
	t->generation = get_number(r, o, "generation", INT64_MAX);
	t->last_generation = get_number(r, o, "last_generation", INT64_MAX);
	t->next_id = (uint32_t)get_number(r, o, "next_id", UINT32_MAX);
	get_hash(r, o, "key", t->key);
	nodes_from(r, o, head, t);
	change_from(r, o, &t->change);
	get_list(r, o, "tokens", MEMBERS_TOKENS_MAX, token_from, t);
	get_list(r, o, "removed", MEMBERS_REMOVED_MAX, removed_from, t);
	t->extra = get_rest(o);
}

/* A head alone. */
static void bare_from(const struct voters *head, struct members *t)
{
	t->bare = true;
	t->n = head->n;
	for (size_t i = 0; i < head->n; i++) {
		const struct voter *v = &head->list[i];
		struct members_node *n = &t->list[i];
		*n = (struct members_node) { .id = v->id,
					     .instance = v->instance,
					     .votes = v->votes,
					     .voter_only = v->voter_only,
					     .state = MEMBERS_MEMBER };
		memcpy(n->name, v->name, sizeof(n->name));
	}
}

static struct str behind_head(struct str document, const struct voters *head)
{
	struct sbuf again = { 0 };

	voters_encode(head, &again);
	struct str rest = { document.p + again.n, document.n - again.n };
	sbuf_fini(&again);
	return rest;
}

/* NULL = there is none. */
static json_t *json_from(struct str rest)
{
	if (rest.n == 0 || rest.p[0] != '\n')
		return NULL;
	return json_loadb(rest.p + 1, rest.n - 1, JSON_REJECT_DUPLICATES, NULL);
}

struct members *members_decode_head(struct str document)
{
	struct voters head;

	if (!voters_decode(document, &head))
		return NULL;
	json_t *o = json_from(behind_head(document, &head));
	struct members *t = is_newer(o) ? NULL : members_new();
	json_decref(o);
	if (t == NULL)
		return NULL;
	t->tie_breaker = head.tie_breaker;
	bare_from(&head, t);
	return t;
}

struct members *members_decode(struct str document, char **ret_why)
{
	struct voters head;
	struct members *t = members_new();
	struct reader r = { 0 };

	*ret_why = NULL;
	if (document.n > MEMBERS_DOCUMENT_MAX || !voters_decode(document, &head)) {
		*ret_why = xstrdup("the table of nodes cannot be read: its head is none");
		members_free(t);
		return NULL;
	}
	t->tie_breaker = head.tie_breaker;
	struct str rest = behind_head(document, &head);
	if (rest.n == 0) {
		bare_from(&head, t);
		return t;
	}
	json_t *o = json_from(rest);
	if (!json_is_object(o))
		wrong(&r, "is no JSON object", "what follows the head");
	else
		table_from(&r, o, &head, t);
	const char *bad = r.why == NULL ? members_check(t) : NULL;
	if (bad != NULL)
		wrong(&r, bad, "it says that");
	json_decref(o);
	if (r.why == NULL)
		return t;
	*ret_why = r.why;
	members_free(t);
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0
 * Writing the configuration: precondition, idempotency, validation, whether it can be put in force, and the proposal,
 * in this order. It is put in force when it is committed (config_applied.c), and answered after that.
 *
 * The hard thing is what refuses a write: a bind that another process holds must, and a refused write must leave no
 * revision behind. So that is tried before it is proposed; what goes wrong later is a warning on the node it happens
 * on.
 */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/api/api_private.h"

#define COMMENT_PATHS 3
#define KEY_MAX 255

/* ---- preconditions (RFC 9110 13) ---- */

bool write_precondition(struct call *c, const char *current)
{
	const char *match = call_header(c, "If-Match"), *none = call_header(c, "If-None-Match");
	enum etag_verdict m = etag_compare(match, current, false), n = etag_compare(none, current, true);

	if (m == ETAG_MALFORMED || n == ETAG_MALFORMED) {
		call_problem(c, PROBLEM_BAD_REQUEST, NULL, "%s is malformed",
			     m == ETAG_MALFORMED ? "If-Match" : "If-None-Match");
		return false;
	}
	/* A dry run changes nothing and may go without. */
	if (m == ETAG_ABSENT && n == ETAG_ABSENT && !call_flag(c, "dry_run")) {
		call_problem(c, PROBLEM_PRECONDITION_REQUIRED, NULL,
			     "read it first and send its ETag as If-Match, or If-Match: *");
		return false;
	}
	if (m != ETAG_DIFFERS && n != ETAG_MATCHES)
		return true;
	if (write_confirm(c))
		return false;
	if (current != NULL)
		call_set_header(c, "ETag", current);
	call_problem(c, PROBLEM_PRECONDITION_FAILED, NULL, "%s",
		     n == ETAG_MATCHES ? "it exists"
		     : current == NULL ? "there is nothing to change"
				       : "it has changed since it was read: read it again");
	return false;
}

/* ---- idempotency ---- */

static void digest(const struct str *parts, size_t n, uint8_t out[SHA256_DIGEST_LENGTH])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	ASSERT(ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1);
	for (size_t i = 0; i < n; i++) {
		/* The length first, so that no two lists of parts read the same. */
		uint64_t len = parts[i].n;
		EVP_DigestUpdate(ctx, &len, sizeof(len));
		EVP_DigestUpdate(ctx, parts[i].p, parts[i].n);
	}
	EVP_DigestFinal_ex(ctx, out, NULL);
	EVP_MD_CTX_free(ctx);
}

/* Keys of different callers must not meet, and the store wants a bounded name: so it is the hash of both. */
static bool write_key_make(const struct call *c, struct write_key *key)
{
	const char *header = call_header(c, "Idempotency-Key");
	uint8_t name[SHA256_DIGEST_LENGTH];

	if (header == NULL || header[0] == '\0')
		return false;
	const struct str who[] = { str_from(c->who.author), str_from(header) };
	digest(who, ARRAY_LEN(who), name);
	for (size_t i = 0; i < sizeof(name); i++)
		snprintf(key->text + 2 * i, 3, "%02x", name[i]);
	const struct str what[] = { str_from(c->resource->method_name), str_from(evhttp_request_get_uri(c->req)),
				    call_body(c) };
	digest(what, ARRAY_LEN(what), key->hash);
	return true;
}

static void answer_replay(struct call *c, const struct store_answer *was)
{
	const struct entry *e = was->kind == ENTRY_CONFIG ? store_revision(c->api->env.store, was->revision) : NULL;
	char etag[64];

	if (e != NULL && c->resource->fn != res_object_put && c->resource->fn != res_object_patch) {
		etag_of_entry(c->api, e->revision, e->hash, etag);
		call_set_header(c, "ETag", etag);
	}
	call_json(c, 200,
		  json_pack("{s:I, s:b, s:o}", "revision", (json_int_t)was->revision, "replayed", 1, "time",
			    json_time(was->wall)));
}

bool write_replayed(struct call *c)
{
	struct write_key key;
	const char *header = call_header(c, "Idempotency-Key");

	if (header != NULL && strlen(header) > KEY_MAX) {
		call_problem(c, PROBLEM_BAD_REQUEST, NULL, "Idempotency-Key: at most %d bytes", KEY_MAX);
		return true;
	}
	if (call_flag(c, "dry_run") || !write_key_make(c, &key))
		return false;
	const struct store_answer *was = store_answer_find(c->api->env.store, key.text);
	if (was == NULL && store_same_request(c->api->env.store, key.text, key.hash))
		return false;
	if (was == NULL || memcmp(was->request_hash, key.hash, sizeof(key.hash)) != 0)
		call_problem(c, PROBLEM_KEY_REUSED, NULL, "it was used within 24 hours for another request");
	else
		answer_replay(c, was);
	return true;
}

void write_set_key(const struct call *c, struct write_key *key, struct store_write *w)
{
	if (!write_key_make(c, key))
		return;
	w->idempotency_key = key->text;
	w->request_hash = key->hash;
}

/* ---- the whole way ---- */

static json_t *warnings_json(struct api *a, const struct conf *conf)
{
	json_t *list = json_array();

	for (size_t i = 0; i < conf->warnings.n; i++)
		json_array_append_new(list, json_pack("{s:o, s:o}", "path", json_text(conf->warnings.list[i].path),
						      "detail", json_text(conf->warnings.list[i].detail)));
	vips_warnings(a, conf, list);
	return list;
}

/* What changed, in one line: the first paths of the diff. */
static char *comment_from(json_t *changes, const char *operation)
{
	struct sbuf b = { 0 };
	size_t n = json_array_size(changes), i;
	json_t *change;

	sbuf_puts(&b, operation);
	json_array_foreach(changes, i, change) {
		if (i == COMMENT_PATHS)
			break;
		const char *path = json_string_value(json_object_get(change, "path"));
		const char *op = json_string_value(json_object_get(change, "op"));
		sbuf_printf(&b, "%s %s %.80s", i == 0 ? ":" : ",", op != NULL ? op : "?", path != NULL ? path : "?");
	}
	if (n > COMMENT_PATHS)
		sbuf_printf(&b, " and %zu more", n - COMMENT_PATHS);
	return sbuf_steal(&b);
}

/* whole: the tag of the document, "" = not known. */
static void set_written_etag(struct call *c, const struct config_write *w, json_t *document, const char *whole)
{
	json_t *object = w->name == NULL ? NULL : config_object(document, w->section, w->name, NULL);
	char etag[64] = "";

	if (w->name == NULL)
		snprintf(etag, sizeof(etag), "%s", whole);
	else if (object != NULL)
		etag_of_object(c->api, object, etag);
	if (etag[0] != '\0') /* else deleted */
		call_set_header(c, "ETag", etag);
}

/* What the answer is made of, while the write is under way. */
struct pending {
	struct conf *conf;
	json_t *before, *changes, *runtime;
	char *section, *name;
	int status;
	bool keeps_overrides;
	char etag[64]; /* of what was written: what is in force may be another's by now */
};

static void pending_free(void *arg)
{
	struct pending *p = arg;

	conf_unref(p->conf);
	json_decref(p->before);
	json_decref(p->changes);
	json_decref(p->runtime);
	free(p->section);
	free(p->name);
	free(p);
}

static void answer(struct call *c, const struct pending *p, uint64_t revision)
{
	struct config_write w = { .section = p->section, .name = p->name };

	if (c == NULL)
		return;
	set_written_etag(c, &w, p->conf->document, p->etag);
	call_json(c, p->status,
		  json_pack("{s:I, s:O, s:o}", "revision", (json_int_t)revision, "changes", p->changes, "warnings",
			    warnings_json(c->api, p->conf)));
}

static bool on_pruned(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	struct pending *p = arg;

	UNUSED(r);
	json_decref(a->unpruned);
	a->unpruned = NULL;
	answer(c, p, p->conf->revision);
	return false;
}

static bool on_not_pruned(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	struct pending *p = arg;

	/* Not fatal: an override lasts a little longer. */
	log_msg(LOG_LEVEL_WARNING, "runtime_state", "overrides that ended could not be stored as ended, trying again");
	runtime_prune_later(a, p->before, r != NULL && r->result == CORE_STALE);
	answer(c, p, p->conf->revision);
	return false;
}

static bool on_not_restored(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	UNUSED(a);
	UNUSED(r);
	UNUSED(arg);
	if (c != NULL)
		call_problem(c, PROBLEM_INTERNAL, NULL,
			     "the configuration is restored, the run-time state could not be stored: restore it again");
	return false;
}

/* It is in force. What it ends of the run-time state is stored before that is answered. */
static bool on_committed(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	struct pending *p = arg;
	bool restores = p->runtime != NULL;
	json_t *pruned = restores ? json_incref(p->runtime)
			 : p->keeps_overrides
				 ? NULL
				 : runtime_prune(a, a->unpruned != NULL ? a->unpruned : p->before, p->conf->document);

	p->conf->revision = r->revision;
	if (r->entry != NULL)
		etag_of_entry(a, r->entry->revision, r->entry->hash, p->etag);
	if (pruned == NULL) {
		answer(c, p, r->revision);
		return false;
	}
	char *text = json_dumps(pruned, JSON_COMPACT);
	struct store_write sw = { .kind = ENTRY_RUNTIME,
				  .author = "system",
				  .comment = restores ? "restore" : "overrides that the configuration ended",
				  .document = str_from(text) };
	write_propose(a, c, &sw,
		      &(struct write_then) { .committed = on_pruned,
					     .failed = restores ? on_not_restored : on_not_pruned,
					     .release = pending_free,
					     .arg = p });
	free(text);
	json_decref(pruned);
	return true;
}

static void config_propose(struct call *c, struct config_write *w, struct conf *conf, json_t *changes)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	char *comment = comment_from(changes, w->operation), *text = json_dumps(w->next, JSON_COMPACT);
	struct store_write sw = { .kind = ENTRY_CONFIG, .comment = comment, .document = str_from(text) };

	*p = (struct pending) { .conf = conf_ref(conf),
				.before = json_incref(c->api->conf->document),
				.changes = json_incref(changes),
				.section = w->section == NULL ? NULL : xstrdup(w->section),
				.name = w->name == NULL ? NULL : xstrdup(w->name),
				.runtime = json_incref(w->runtime),
				.status = w->status,
				.keeps_overrides = w->keeps_overrides };
	c->api->proposed = conf;
	write_propose(c->api, c, &sw,
		      &(struct write_then) { .committed = on_committed, .release = pending_free, .arg = p });
	free(text);
	free(comment);
}

/* Whether this node could put it in force, as far as that can be told without doing so. False: answered. */
static bool config_feasible(struct call *c, struct conf *conf)
{
	struct api *a = c->api;
	struct errors errors = { 0 };
	bool ok = a->env.check(conf, &errors, a->env.arg);

	if (!ok)
		call_problem(c, PROBLEM_INVALID, &errors,
			     "the configuration is valid but cannot be put in force on this node");
	errors_fini(&errors);
	return ok;
}

static void answer_unchanged(struct call *c, struct config_write *w, struct conf *conf, json_t *changes)
{
	char etag[64];

	etag_of_document(c->api, etag);
	set_written_etag(c, w, w->next, etag);
	call_json(c, 200,
		  json_pack("{s:I, s:O, s:o}", "revision", (json_int_t)c->api->conf->revision, "changes", changes,
			    "warnings", warnings_json(c->api, conf)));
}

static void config_write(struct call *c, struct config_write *w, struct conf *conf)
{
	struct api *a = c->api;
	json_t *changes = conf_diff(a->conf->document, w->next);

	if (call_flag(c, "dry_run")) {
		call_json(c, 200,
			  json_pack("{s:b, s:O, s:o}", "dry_run", 1, "changes", changes, "warnings",
				    warnings_json(a, conf)));
	} else if (a->conf->revision != store_revision_number(a->env.store)) {
		call_problem(c, PROBLEM_CONFLICT, NULL,
			     "this node cannot read the configuration in force (see the warnings): use another node");
	} else if (json_equal(a->conf->document, w->next) && a->conf->revision > 0) {
		if (!write_confirm(c))
			answer_unchanged(c, w, conf, changes);
	} else if (config_feasible(c, conf)) {
		config_propose(c, w, conf, changes);
	}
	json_decref(changes);
}

void config_commit(struct call *c, struct config_write *w)
{
	struct errors errors = { 0 };
	struct conf_env env = c->api->env.conf_env;

	env.before = c->api->conf;
	struct conf *conf = conf_parse(w->next, &env, &errors);

	if (conf == NULL) {
		call_problem(c, PROBLEM_INVALID, &errors, "the configuration does not validate");
	} else {
		config_write(c, w, conf);
		conf_unref(conf);
	}
	errors_fini(&errors);
	json_decref(w->next);
	json_decref(w->runtime);
}

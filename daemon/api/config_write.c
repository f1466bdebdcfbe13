/* SPDX-License-Identifier: Apache-2.0
 * Writing the configuration: precondition, idempotency, validation, activation, storage, in this order.
 *
 * It is activated before it is stored: a bind that another process holds must refuse the write, and a refused write
 * must leave no revision behind. If storing fails then, the configuration before it is put back in force. Nothing else
 * runs between the two, since all of it happens in one turn of the control loop.
 */
#include <errno.h>
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
		etag_of_entry(&c->api->etag_key, e->revision, e->hash, etag);
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
	if (was == NULL)
		return false;
	if (memcmp(was->request_hash, key.hash, sizeof(key.hash)) != 0)
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

/* ---- storing ---- */

bool write_append(struct call *c, struct store_write *w, const struct entry **ret_entry)
{
	struct api *a = c->api;
	const struct entry *last = store_last(a->env.store, w->kind);
	struct write_key key;
	int64_t started = clock_mono_us();

	write_set_key(c, &key, w);
	w->author = c->who.author;
	w->expect_position = last == NULL ? 0 : last->position;
	int rc = store_append(a->env.store, w, ret_entry);
	if (rc == 0) {
		metrics_observe(a->m_commit, (uint64_t)(clock_mono_us() - started));
		return true;
	}
	log_msg(LOG_LEVEL_ERROR, "store_failed", "%s", strerror(-rc));
	if (rc == -ENOSPC || rc == -EDQUOT)
		call_problem(c, PROBLEM_FULL_DISK, NULL, "%s", strerror(-rc));
	else if (rc == -ESTALE)
		call_problem(c, PROBLEM_PRECONDITION_FAILED, NULL, "somebody else wrote at the same time");
	else
		call_problem(c, PROBLEM_INTERNAL, NULL, "it could not be stored: %s", strerror(-rc));
	return false;
}

/* ---- the whole way ---- */

static json_t *warnings_json(const struct conf *conf)
{
	json_t *list = json_array();

	for (size_t i = 0; i < conf->warnings.n; i++)
		json_array_append_new(list, json_pack("{s:o, s:o}", "path", json_text(conf->warnings.list[i].path),
						      "detail", json_text(conf->warnings.list[i].detail)));
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

static void set_written_etag(struct call *c, const struct config_write *w, json_t *document)
{
	json_t *object = w->name == NULL ? NULL : config_object(document, w->section, w->name, NULL);
	char etag[64];

	if (w->name == NULL)
		etag_of_document(c->api, etag);
	else if (object != NULL)
		etag_of_object(&c->api->etag_key, object, etag);
	else
		return; /* deleted */
	call_set_header(c, "ETag", etag);
}

static bool config_store(struct call *c, const struct config_write *w, const char *comment)
{
	char *text = json_dumps(w->next, JSON_COMPACT);
	const struct entry *entry;

	ASSERT(text != NULL);
	struct store_write sw = {
		.kind = ENTRY_CONFIG, .operation = "", .comment = comment, .document = str_from(text)
	};
	bool ok = write_append(c, &sw, &entry);
	free(text);
	return ok;
}

/* The write has taken effect: everything that follows from it. */
static void config_done(struct call *c, struct config_write *w, struct conf *conf, const char *comment)
{
	struct api *a = c->api;
	json_t *before = json_incref(a->conf->document);

	conf->revision = store_revision_number(a->env.store);
	api_set_conf(a, conf);
	if (w->keeps_overrides)
		runtime_restore_weights(a);
	else
		runtime_prune(a, before, w->next);
	json_decref(before);
	api_event(a, "config",
		  json_pack("{s:I, s:o, s:o}", "revision", (json_int_t)conf->revision, "author",
			    json_text(c->who.author), "comment", json_text(comment)));
}

static void config_apply(struct call *c, struct config_write *w, struct conf *conf, json_t *changes)
{
	struct api *a = c->api;
	struct errors errors = { 0 };
	char *comment = comment_from(changes, w->operation);

	conf->revision = store_revision_number(a->env.store) + 1;
	if (!a->env.activate(conf, &errors, a->env.arg)) {
		call_problem(c, PROBLEM_INVALID, &errors,
			     "the configuration is valid but cannot be put in force on this node");
		runtime_restore_weights(a);
	} else if (!config_store(c, w, comment)) {
		if (!a->env.activate(a->conf, &errors, a->env.arg))
			api_warn(a, "configuration",
				 "a write that could not be stored is in force until the next restart");
		runtime_restore_weights(a);
	} else {
		config_done(c, w, conf, comment);
		set_written_etag(c, w, w->next);
		call_json(c, w->status,
			  json_pack("{s:I, s:O, s:o}", "revision", (json_int_t)conf->revision, "changes", changes,
				    "warnings", warnings_json(conf)));
	}
	errors_fini(&errors);
	free(comment);
}

static void config_write(struct call *c, struct config_write *w, struct conf *conf)
{
	struct api *a = c->api;
	json_t *changes = conf_diff(a->conf->document, w->next);

	if (call_flag(c, "dry_run")) {
		call_json(c, 200,
			  json_pack("{s:b, s:O, s:o}", "dry_run", 1, "changes", changes, "warnings",
				    warnings_json(conf)));
	} else if (json_equal(a->conf->document, w->next) && a->conf->revision > 0) {
		set_written_etag(c, w, w->next);
		call_json(c, 200,
			  json_pack("{s:I, s:O, s:o}", "revision", (json_int_t)a->conf->revision, "changes", changes,
				    "warnings", warnings_json(conf)));
	} else if (!store_quorate(a->env.store)) {
		call_problem(c, PROBLEM_NO_QUORUM, NULL, "nothing was changed");
	} else {
		config_apply(c, w, conf, changes);
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
}

/* SPDX-License-Identifier: Apache-2.0
 * The configuration as resources: the document, its objects, its revisions.
 *
 * Every write makes a whole new document and goes one way (config_commit); what differs is how that document is made.
 */
#include <stdlib.h>

#include "daemon/api/api_private.h"

/* Refuses a request for one reason. path: a JSON pointer (RFC 6901); found is stolen, NULL = nothing to show. */
static void invalid(struct call *c, const char *path, json_t *found, const char *allowed, const char *detail)
{
	char *text = found == NULL ? NULL : json_dumps(found, JSON_COMPACT | JSON_ENCODE_ANY);
	struct errors errors = { 0 };

	errors_add(&errors, path, text, allowed, NULL, "%s", detail);
	call_problem(c, PROBLEM_INVALID, &errors, "%s", detail);
	errors_fini(&errors);
	free(text);
	json_decref(found);
}

/* ---- objects of a document ---- */

bool config_has_section(const char *section)
{
	for (size_t i = 0; conf_section(i) != NULL; i++)
		if (strcmp(conf_section(i), section) == 0)
			return true;
	return false;
}

json_t *config_object(json_t *document, const char *section, const char *name, size_t *ret_index)
{
	json_t *in = json_object_get(document, section), *item;
	size_t i;

	if (!conf_section_is_list(section))
		return json_object_get(in, name);
	json_array_foreach(in, i, item) {
		const char *its = json_string_value(json_object_get(item, "name"));
		if (its == NULL || strcmp(its, name) != 0)
			continue;
		if (ret_index != NULL)
			*ret_index = i;
		return item;
	}
	return NULL;
}

/* The section of a document, made when absent. */
static json_t *section_of(json_t *document, const char *section)
{
	json_t *in = json_object_get(document, section);

	if (in != NULL && !json_is_null(in))
		return in;
	in = conf_section_is_list(section) ? json_array() : json_object();
	json_object_set_new(document, section, in);
	return in;
}

/* Puts a route where it belongs: before the one named, where it stood, or last. False: no such route. */
static bool list_put(json_t *document, const char *section, const char *name, json_t *object, const char *before)
{
	json_t *list = section_of(document, section);
	size_t at = json_array_size(list), old;

	if (config_object(document, section, name, &old) != NULL) {
		json_array_remove(list, old);
		at = before == NULL ? old : json_array_size(list);
	}
	if (before != NULL && config_object(document, section, before, &at) == NULL)
		return false;
	return json_array_insert(list, at, object) == 0;
}

/* ---- reading ---- */

static bool secrets_allowed(struct call *c)
{
	if (!call_flag(c, "with_secrets") || c->who.is_owner)
		return true;
	call_problem(c, PROBLEM_FORBIDDEN, NULL, "secrets are shown to root on the local socket only");
	return false;
}

/* What a reader sees of a document: a new reference. */
static json_t *shown(struct call *c, json_t *document)
{
	json_t *whole =
		call_flag(c, "effective") ? conf_effective(document, &c->api->env.conf_env) : json_incref(document);
	json_t *masked = call_flag(c, "with_secrets") ? json_incref(whole) : conf_mask(whole);

	json_decref(whole);
	return masked;
}

/* 304 where the reader has it already. True: answered. */
static bool unchanged(struct call *c, const char *etag)
{
	call_set_header(c, "ETag", etag);
	if (etag_compare(call_header(c, "If-None-Match"), etag, true) != ETAG_MATCHES)
		return false;
	call_empty(c, 304);
	return true;
}

void res_config_get(struct call *c)
{
	char etag[64];

	if (!secrets_allowed(c))
		return;
	etag_of_document(c->api, etag);
	if (!unchanged(c, etag))
		call_json(c, 200, shown(c, c->api->conf->document));
}

/* The names in the path, checked. False: answered. */
static bool object_named(struct call *c)
{
	if (config_has_section(c->params[0]))
		return true;
	call_problem(c, PROBLEM_NOT_FOUND, NULL, "the configuration has no section \"%.64s\"", c->params[0]);
	return false;
}

void res_object_get(struct call *c)
{
	json_t *stored;
	char etag[64];

	if (!object_named(c) || !secrets_allowed(c))
		return;
	stored = config_object(c->api->conf->document, c->params[0], c->params[1], NULL);
	if (stored == NULL) {
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "%s has no \"%.64s\"", c->params[0], c->params[1]);
		return;
	}
	etag_of_object(c->api, stored, etag);
	if (unchanged(c, etag))
		return;
	json_t *document = shown(c, c->api->conf->document);
	json_t *object = json_incref(config_object(document, c->params[0], c->params[1], NULL));
	json_decref(document);
	call_json(c, 200, object);
}

/* ---- writing the document ---- */

/* Replaces "<secret>" by what is stored, then commits. next is stolen. */
static void unmask_and_commit(struct call *c, struct config_write *w)
{
	struct errors errors = { 0 };
	json_t *full = conf_unmask(w->next, c->api->conf->document, &errors);

	if (full == NULL || errors.n > 0) {
		call_problem(c, PROBLEM_INVALID, &errors, "a secret is masked where none is stored");
		json_decref(full);
		json_decref(w->next);
	} else {
		json_decref(w->next);
		w->next = full;
		config_commit(c, w);
	}
	errors_fini(&errors);
}

/* A document's precondition: at revision 0 nothing is there that If-None-Match could match. */
static bool document_precondition(struct call *c)
{
	char etag[64];
	const char *match = call_header(c, "If-Match");

	etag_of_document(c->api, etag);
	bool fresh = store_revision_number(c->api->env.store) == 0;
	return write_precondition(c, fresh && match == NULL ? NULL : etag);
}

static json_t *document_body(struct call *c)
{
	json_t *body = call_body_json(c, c->resource->body);

	if (body == NULL || json_is_object(body))
		return body;
	invalid(c, "", NULL, "an object", "the body is not an object");
	json_decref(body);
	return NULL;
}

void res_config_put(struct call *c)
{
	if (!write_turn(c) || write_replayed(c) || !document_precondition(c))
		return;
	json_t *next = document_body(c);
	if (next == NULL)
		return;
	struct config_write w = { .next = next, .operation = "replaced", .status = 200 };
	unmask_and_commit(c, &w);
}

void res_config_patch(struct call *c)
{
	if (!write_turn(c) || write_replayed(c) || !document_precondition(c))
		return;
	json_t *patch = document_body(c);
	if (patch == NULL)
		return;
	struct config_write w = { .operation = "patched", .status = 200 };
	w.next = conf_merge_patch(c->api->conf->document, patch);
	json_decref(patch);
	unmask_and_commit(c, &w);
}

/* ---- writing an object ---- */

/* The object there now (borrowed, NULL = none) once names and precondition are right. False: answered. */
static bool object_for_write(struct call *c, json_t **ret_stored)
{
	char etag[64];

	if (!object_named(c) || !write_turn(c) || write_replayed(c))
		return false;
	if (!conf_name_valid(c->params[1])) {
		char *path = xasprintf("/%s", c->params[0]);
		invalid(c, path, json_text(c->params[1]), "[A-Za-z0-9][A-Za-z0-9_.-]{0,62}, not \"comment\"",
			"not a name");
		free(path);
		return false;
	}
	json_t *stored = config_object(c->api->conf->document, c->params[0], c->params[1], NULL);
	if (stored == NULL && c->resource->method == EVHTTP_REQ_DELETE) {
		if (!write_confirm(c))
			call_problem(c, PROBLEM_NOT_FOUND, NULL, "%s has no \"%.64s\"", c->params[0], c->params[1]);
		return false;
	}
	if (stored != NULL)
		etag_of_object(c->api, stored, etag);
	*ret_stored = stored;
	return write_precondition(c, stored == NULL ? NULL : etag);
}

/* A route's body may leave its name out, but must not have another. */
static bool name_agrees(struct call *c, json_t *object)
{
	json_t *name = json_object_get(object, "name");

	if (!conf_section_is_list(c->params[0]))
		return true;
	if (name == NULL) {
		json_object_set_new(object, "name", json_string(c->params[1]));
		return true;
	}
	if (json_is_string(name) && strcmp(json_string_value(name), c->params[1]) == 0)
		return true;
	invalid(c, "/name", json_incref(name), c->params[1], "the name in the body is not the one in the path");
	return false;
}

/* Puts the object (stolen) into a copy of the document and commits that. */
static void object_commit(struct call *c, json_t *object, bool is_new)
{
	const char *section = c->params[0], *name = c->params[1], *before = query_get(&c->query, "before");
	struct config_write w = { .section = section,
				  .name = name,
				  .operation = is_new ? "created" : "changed",
				  .status = is_new ? 201 : 200 };
	bool ok = true;

	if (!name_agrees(c, object)) {
		json_decref(object);
		return;
	}
	w.next = json_deep_copy(c->api->conf->document);
	if (conf_section_is_list(section))
		ok = list_put(w.next, section, name, object, before);
	else
		json_object_set(section_of(w.next, section), name, object);
	json_decref(object);
	if (ok) {
		unmask_and_commit(c, &w);
		return;
	}
	json_decref(w.next);
	invalid(c, "", json_text(before), "the name of a route that is there", "?before= names no route");
}

/* ?before= has a meaning in a list only. False: answered. */
static bool before_fits(struct call *c)
{
	if (query_get(&c->query, "before") == NULL || conf_section_is_list(c->params[0]))
		return true;
	call_problem(c, PROBLEM_BAD_REQUEST, NULL, "before: %.64s has no order", c->params[0]);
	return false;
}

void res_object_put(struct call *c)
{
	json_t *stored;

	if (!object_for_write(c, &stored) || !before_fits(c))
		return;
	json_t *object = document_body(c);
	if (object != NULL)
		object_commit(c, object, stored == NULL);
}

void res_object_patch(struct call *c)
{
	json_t *stored;

	if (!object_for_write(c, &stored) || !before_fits(c))
		return;
	json_t *patch = document_body(c);
	if (patch == NULL)
		return;
	json_t *empty = json_object();
	json_t *object = conf_merge_patch(stored == NULL ? empty : stored, patch);
	json_decref(empty);
	json_decref(patch);
	object_commit(c, object, stored == NULL);
}

void res_object_delete(struct call *c)
{
	json_t *stored;
	size_t index;

	if (!object_for_write(c, &stored))
		return;
	struct config_write w = {
		.section = c->params[0], .name = c->params[1], .operation = "removed", .status = 200
	};
	w.next = json_deep_copy(c->api->conf->document);
	json_t *in = json_object_get(w.next, w.section);
	if (!conf_section_is_list(w.section))
		json_object_del(in, w.name);
	else if (config_object(w.next, w.section, w.name, &index) != NULL)
		json_array_remove(in, index);
	config_commit(c, &w);
}

/* ---- revisions ---- */

static json_t *revision_json(const struct api *a, const struct entry *e)
{
	char etag[64];

	etag_of_entry(a, e->revision, e->hash, etag);
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:s}", "revision", (json_int_t)e->revision, "author",
			 json_text(e->author), "time", json_time(e->wall), "node", json_text(e->node), "comment",
			 json_text(e->comment), "operation", json_text(e->operation), "etag", etag);
}

struct revision_list {
	const struct api *api;
	json_t *list;
};

static void add_revision(const struct entry *e, void *arg)
{
	struct revision_list *rl = arg;

	json_array_append_new(rl->list, revision_json(rl->api, e));
}

void res_config_revisions(struct call *c)
{
	struct revision_list rl = { .api = c->api, .list = json_array() };

	store_each_revision(c->api->env.store, add_revision, &rl);
	call_json(c, 200, json_pack("{s:o}", "revisions", rl.list));
}

static json_t *entry_document(const struct entry *e)
{
	struct errors errors = { 0 };
	json_t *document = conf_read_json(e->document.p, e->document.n, &errors);

	errors_fini(&errors);
	return document;
}

void res_config_revision(struct call *c)
{
	char *end;
	unsigned long long n = strtoull(c->params[0], &end, 10);
	const struct entry *e = *end != '\0' || c->params[0][0] == '-' ? NULL : store_revision(c->api->env.store, n);
	json_t *document;

	if (!secrets_allowed(c))
		return;
	if (e == NULL || (document = entry_document(e)) == NULL) {
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "revision %.20s is not kept", c->params[0]);
		return;
	}
	json_t *answer = revision_json(c->api, e);
	json_object_set_new(answer, "config", shown(c, document));
	json_decref(document);
	call_set_header(c, "ETag", json_string_value(json_object_get(answer, "etag")));
	call_json(c, 200, answer);
}

/* Who may come in is no setting to go back to: a token that was revoked must not come to life again, nor a new one
 * die. */
static void keep_access(json_t *document, json_t *present)
{
	json_t *tokens = json_object_get(present, "tokens");

	if (tokens != NULL)
		json_object_set_new(document, "tokens", json_deep_copy(tokens));
	else
		json_object_del(document, "tokens");
}

void res_config_rollback(struct call *c)
{
	if (!write_turn(c) || write_replayed(c) || !document_precondition(c))
		return;
	json_t *body = call_body_object(c, "revision");
	if (body == NULL)
		return;
	json_t *number = json_object_get(body, "revision");
	bool is_number = json_is_integer(number) && json_integer_value(number) > 0;
	uint64_t n = is_number ? (uint64_t)json_integer_value(number) : 0;
	json_decref(body);
	const struct entry *e = is_number ? store_revision(c->api->env.store, n) : NULL;
	json_t *document = e == NULL ? NULL : entry_document(e);
	if (document == NULL) {
		struct errors errors = { 0 };
		errors_add(&errors, "/revision", NULL, "a revision that is kept", NULL,
			   is_number ? "not kept" : "not a revision");
		call_problem(c, PROBLEM_INVALID, &errors, "there is no such revision");
		errors_fini(&errors);
		return;
	}
	keep_access(document, c->api->conf->document);
	char *operation = xasprintf("rolled back to %llu", (unsigned long long)n);
	struct config_write w = { .next = document, .operation = operation, .status = 200, .keeps_overrides = true };
	config_commit(c, &w);
	free(operation);
}

/* SPDX-License-Identifier: Apache-2.0
 * One request on its way to its answer.
 *
 * The hard thing is who owns an evhttp_request: evhttp frees it once it was answered, and also when its connection is
 * torn down with an answer under way; but when the client goes away before the answer, evhttp cuts it loose and it is
 * ours to free.
 */
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <strings.h>

#include "daemon/api/api_private.h"
#include "daemon/base/wipe.h"

/* ---- reading ---- */

const char *call_header(const struct call *c, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(c->req), name);
}

void call_set_header(struct call *c, const char *name, const char *value)
{
	if (c->req != NULL)
		evhttp_add_header(evhttp_request_get_output_headers(c->req), name, value);
}

struct str call_body(const struct call *c)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(c->req);
	size_t n = evbuffer_get_length(in);

	return (struct str) { n == 0 ? "" : (const char *)evbuffer_pullup(in, -1), n };
}

bool call_flag(const struct call *c, const char *name)
{
	const char *value = query_get(&c->query, name);

	return value != NULL && strcmp(value, "true") == 0;
}

static bool type_in_list(const char *type, const char *list)
{
	size_t n = strcspn(type, "; \t");

	for (const char *at = list; *at != '\0';) {
		size_t len = strcspn(at, ",");
		if (len == n && strncasecmp(at, type, n) == 0)
			return true;
		at += len + (at[len] == ',');
	}
	return false;
}

json_t *call_body_json(struct call *c, const char *types)
{
	const char *type = call_header(c, "Content-Type");
	struct errors errors = { 0 };

	if (type != NULL && !type_in_list(type, types)) {
		call_set_header(c, c->resource->method == EVHTTP_REQ_PATCH ? "Accept-Patch" : "Accept", types);
		call_problem(c, PROBLEM_MEDIA_TYPE, NULL, "expected %s", types);
		return NULL;
	}
	struct str body = call_body(c);
	json_t *json = conf_read_json(body.p, body.n, &errors);
	if (json == NULL)
		call_problem(c, PROBLEM_BAD_REQUEST, &errors, "the body is not JSON");
	errors_fini(&errors);
	return json;
}

json_t *call_body_object(struct call *c, const char *keys)
{
	json_t *json = call_body_json(c, c->resource->body), *value;
	struct errors errors = { 0 };
	const char *key;

	if (json == NULL)
		return NULL;
	if (!json_is_object(json))
		errors_add(&errors, "", NULL, "an object", NULL, "the body is not an object");
	json_object_foreach(json, key, value) {
		if (!type_in_list(key, keys)) {
			char *path = xasprintf("/%.64s", key);
			errors_add(&errors, path, NULL, keys, NULL, "unknown key");
			free(path);
		}
	}
	if (errors.n > 0) {
		call_problem(c, PROBLEM_INVALID, &errors, "the body does not validate");
		json_decref(json);
		json = NULL;
	}
	errors_fini(&errors);
	return json;
}

/* ---- answering ---- */

void call_free(struct call *c)
{
	CHECK_OBJ(c, CALL_MAGIC);
	list_remove(&c->link);
	if (c->conn != NULL && c->conn->call == c)
		conn_request_end(c->conn);
	FREE_OBJ(c);
}

static void send_answer(struct call *c, int status, const char *reason, struct str body)
{
	struct evhttp_request *req = c->req;

	if (req == NULL) {
		call_free(c);
		return;
	}
	call_set_header(c, "Cache-Control", "no-store");
	call_set_header(c, "X-Content-Type-Options", "nosniff");
	evbuffer_add(evhttp_request_get_output_buffer(req), body.p, body.n);
	call_free(c);
	/* Last: from here on the request is evhttp's. */
	evhttp_send_reply(req, status, reason, NULL);
}

static const char *reason_of(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 201:
		return "Created";
	case 202:
		return "Accepted";
	case 204:
		return "No Content";
	case 304:
		return "Not Modified";
	case 503:
		return "Service Unavailable";
	default:
		return "Answer";
	}
}

void call_text(struct call *c, int status, const char *type, struct str text)
{
	call_set_header(c, "Content-Type", type);
	send_answer(c, status, reason_of(status), text);
}

void call_empty(struct call *c, int status)
{
	send_answer(c, status, reason_of(status), STR(""));
}

static void send_json(struct call *c, int status, const char *reason, json_t *json)
{
	char *text = json_dumps(json, JSON_INDENT(2));
	struct sbuf body = { 0 };

	ASSERT(text != NULL);
	json_decref(json);
	/* A join token may be in it, or a backup: at once, as growing would leave copies. */
	sbuf_reserve(&body, strlen(text) + 2);
	sbuf_puts(&body, text);
	sbuf_putc(&body, '\n'); /* at a terminal the next prompt begins a line */
	wipe_free(text);
	send_answer(c, status, reason, (struct str) { body.p, body.n });
	wipe_block(body.p);
	sbuf_fini(&body);
}

void call_json(struct call *c, int status, json_t *json)
{
	call_set_header(c, "Content-Type", "application/json");
	send_json(c, status, reason_of(status), json);
}

void call_problem(struct call *c, enum problem p, const struct errors *errors, const char *detail_fmt, ...)
{
	struct sbuf detail = { 0 };
	va_list ap;

	va_start(ap, detail_fmt);
	sbuf_vprintf(&detail, detail_fmt, ap);
	va_end(ap);
	const char *target = c->req == NULL ? NULL : evhttp_request_get_uri(c->req);
	char *instance = target == NULL ? NULL : xstrndup(target, strcspn(target, "?"));
	call_set_header(c, "Content-Type", "application/problem+json");
	send_json(c, problem_rows[p].status, problem_rows[p].title, problem_json(p, detail.p, instance, errors));
	free(instance);
	sbuf_fini(&detail);
}

void http_on_gone(struct call *c)
{
	CHECK_OBJ(c, CALL_MAGIC);
	struct evhttp_request *req = c->req;

	c->req = NULL;
	c->conn = NULL;
	if (req != NULL && evhttp_request_get_connection(req) == NULL)
		evhttp_request_free(req);
	/* An answer that is still being made finds no client and frees the call; a stream ends now. */
	if (c->push != NULL)
		push_gone(c->push);
	else if (c->cancel != NULL)
		c->cancel(c);
	else if (c->dropped)
		call_free(c);
}

/* ---- admitting ---- */

static bool header_fits(struct call *c)
{
	struct evkeyvalq *headers = evhttp_request_get_input_headers(c->req);
	size_t bytes = strlen(evhttp_request_get_uri(c->req)), lines = 0;
	struct evkeyval *h;

	for (h = headers->tqh_first; h != NULL; h = h->next.tqe_next) {
		bytes += strlen(h->key) + strlen(h->value) + 4;
		lines++;
	}
	if (bytes <= API_HEADER_BYTES_MAX && lines <= API_HEADER_LINES_MAX)
		return true;
	call_problem(c, PROBLEM_HEADERS, NULL, "at most %zu bytes and %d fields", API_HEADER_BYTES_MAX,
		     API_HEADER_LINES_MAX);
	return false;
}

static bool parse_target(struct call *c)
{
	struct str path, query;

	if (!path_target_split(str_from(evhttp_request_get_uri(c->req)), &path, &query) ||
	    !path_parse(path, &c->path)) {
		call_problem(c, PROBLEM_BAD_REQUEST, NULL, "the path is malformed");
		return false;
	}
	if (!query_parse(query, &c->query)) {
		call_problem(c, PROBLEM_BAD_REQUEST, NULL, "the query is malformed");
		return false;
	}
	return true;
}

static bool find_resource(struct call *c)
{
	enum evhttp_cmd_type method = evhttp_request_get_command(c->req);
	char allow[96];

	c->resource = resource_find(method, &c->path, c->params, allow, sizeof(allow));
	if (c->resource != NULL)
		return true;
	if (allow[0] == '\0') {
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "no resource has this path");
		return false;
	}
	call_set_header(c, "Allow", allow);
	if (method == EVHTTP_REQ_OPTIONS)
		call_empty(c, 204);
	else
		call_problem(c, PROBLEM_METHOD, NULL, "this resource has: %s", allow);
	return false;
}

static bool may(struct call *c, bool known)
{
	enum token_role needed = c->resource->role;

	if (c->resource->fn == res_root_metrics && c->api->env.node->metrics_open)
		needed = ROLE_NONE;
	if (needed == ROLE_NONE)
		return true;
	if (c->who.role == ROLE_NONE && !c->conn->front->is_unix) {
		call_set_header(c, "WWW-Authenticate",
				known ? "Bearer realm=\"postroad\""
				      : "Bearer realm=\"postroad\", error=\"invalid_token\"");
		call_problem(c, PROBLEM_UNAUTHORIZED, NULL,
			     known ? "no token was given" : "the token is unknown or has expired");
		return false;
	}
	if (c->who.role >= needed)
		return true;
	call_problem(c, PROBLEM_FORBIDDEN, NULL, "this needs the role %s", token_role_names[needed]);
	return false;
}

/* A misspelt key must not turn a dry run into the real thing. */
static bool query_accepted(struct call *c)
{
	static const char *const flags[] = { "dry_run", "effective", "force", "with_secrets" };
	const char *unknown = query_unknown(&c->query, c->resource->query);

	if (unknown != NULL) {
		call_problem(c, PROBLEM_BAD_REQUEST, NULL, "unknown query key \"%.64s\"; allowed: %s", unknown,
			     c->resource->query[0] == '\0' ? "none" : c->resource->query);
		return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		const char *value = query_get(&c->query, flags[i]);
		if (value != NULL && strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
			call_problem(c, PROBLEM_BAD_REQUEST, NULL, "%s is true or false", flags[i]);
			return false;
		}
	}
	return true;
}

static bool admit(struct call *c)
{
	if (!header_fits(c) || !parse_target(c))
		return false;
	bool known = auth_identify(c, &c->who);
	if (!find_resource(c) || !may(c, known) || !query_accepted(c))
		return false;
	if (evbuffer_get_length(evhttp_request_get_input_buffer(c->req)) > API_BODY_MAX) {
		call_problem(c, PROBLEM_TOO_LARGE, NULL, "at most %zu bytes", API_BODY_MAX);
		return false;
	}
	return true;
}

void http_on_request(struct evhttp_request *req, void *arg)
{
	struct front *f = arg;
	struct call *c;

	if (evhttp_request_get_uri(req) == NULL) {
		/* Does not happen: evhttp answers what it cannot read itself. */
		evhttp_send_error(req, HTTP_BADREQUEST, NULL);
		return;
	}
	NEW_OBJ(c, CALL_MAGIC);
	c->api = f->api;
	c->req = req;
	list_append(&f->api->calls, &c->link);
	list_init(&c->waiting);
	c->conn = conn_of(f, req);
	conn_request_begin(c->conn, c);
	if (admit(c))
		c->resource->fn(c);
}

/* SPDX-License-Identifier: Apache-2.0
 * Live sessions: list, end, trace.
 *
 * Sessions belong to the workers, so answers come later, on this loop; the client may be gone by then, or the whole
 * API.
 */
#include <stdlib.h>

#include "daemon/api/api_private.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX 10000

/* ---- list ---- */

static json_t *session_json(const struct session_info *s)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:f, s:f, s:I, s:I, s:I, s:b}", "id", json_text(s->id),
			 "client", json_text(s->client), "listener", json_text(s->listener), "helo", json_text(s->helo),
			 "user", s->user[0] == '\0' ? json_null() : json_text(s->user), "stage", s->stage, "backend",
			 s->backend[0] == '\0' ? json_null() : json_text(s->backend), "age", (double)s->age_ms / 1e3,
			 "transaction_age", (double)s->transaction_age_ms / 1e3, "bytes_in", (json_int_t)s->bytes_in,
			 "bytes_out", (json_int_t)s->bytes_out, "transactions", (json_int_t)s->transactions, "traced",
			 s->traced);
}

static void on_sessions(const struct session_info *list, size_t n, size_t total, void *arg)
{
	struct call *c = arg;
	json_t *sessions;

	CHECK_OBJ(c, CALL_MAGIC);
	if (c->api == NULL || c->req == NULL) {
		call_free(c);
		return;
	}
	sessions = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(sessions, session_json(&list[i]));
	call_json(c, 200,
		  json_pack("{s:s, s:I, s:o}", "node", c->api->env.node->node, "total", (json_int_t)total, "sessions",
			    sessions));
}

void res_sessions_get(struct call *c)
{
	const char *text = query_get(&c->query, "limit"), *node = query_get(&c->query, "node");
	char *end = NULL;
	unsigned long limit = text == NULL ? LIMIT_DEFAULT : strtoul(text, &end, 10);

	if (text != NULL && (text[0] < '0' || text[0] > '9' || *end != '\0' || limit == 0 || limit > LIMIT_MAX)) {
		call_problem(c, PROBLEM_BAD_REQUEST, NULL, "limit is 1 to %d", LIMIT_MAX);
		return;
	}
	if (node != NULL && strcmp(node, c->api->env.node->node) != 0) {
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "there is no node \"%.64s\"", node);
		return;
	}
	engine_sessions(c->api->env.engine, limit, on_sessions, c);
}

/* ---- end ---- */

static void on_killed(bool found, void *arg)
{
	struct call *c = arg;

	CHECK_OBJ(c, CALL_MAGIC);
	if (c->api == NULL || c->req == NULL) {
		call_free(c);
		return;
	}
	if (!found) {
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "there is no session \"%.64s\"", c->params[0]);
		return;
	}
	api_event(c->api, "session_killed",
		  json_pack("{s:o, s:o}", "id", json_text(c->params[0]), "author", json_text(c->who.author)));
	call_json(c, 200, json_pack("{s:o}", "id", json_text(c->params[0])));
}

void res_sessions_delete(struct call *c)
{
	engine_session_kill(c->api->env.engine, c->params[0], on_killed, c);
}

/* ---- trace ---- */

struct trace {
	struct engine_trace *engine;
	struct call *call; /* until it is answered */
	struct push *push; /* from then on, if there is something to trace */
};

static void trace_free(struct trace *t)
{
	engine_trace_stop(t->engine);
	free(t);
}

/* The client went away before the answer. */
static void cancel_trace(struct call *c)
{
	trace_free(c->arg);
	call_free(c);
}

/* Also when the session ended first. */
static void end_trace(struct push *p)
{
	trace_free(p->arg);
}

static bool send_line(struct push *p, const char *event, json_t *data)
{
	char *text = json_dumps(data, JSON_COMPACT);
	char *record = xasprintf("event: %s\ndata: %s\n\n", event, text);
	bool ok = push_send(p, record, strlen(record));

	json_decref(data);
	free(record);
	free(text);
	return ok;
}

/* What the engine says first decides the answer. False: there is nothing to trace, t is gone. */
static bool open_trace(struct trace *t, bool end, const char *text)
{
	struct call *c = t->call;

	c->cancel = NULL;
	t->call = NULL;
	if (!end)
		t->push = push_open(c);
	else if (strcmp(text, "busy") == 0)
		call_problem(c, PROBLEM_CONFLICT, NULL, "the session is being traced already");
	else
		call_problem(c, PROBLEM_NOT_FOUND, NULL, "there is no SMTP session \"%.64s\"", c->params[0]);
	if (t->push == NULL) {
		trace_free(t);
		return false;
	}
	t->push->arg = t;
	t->push->on_end = end_trace;
	return true;
}

static void on_trace(char side, const char *text, double wall, bool end, bool found, void *arg)
{
	struct trace *t = arg;
	char side_text[2] = { side, '\0' };

	UNUSED(found); /* of a stream that was opened it was, even if another than ours had it traced then */
	if (t->push == NULL && !open_trace(t, end, text))
		return;
	struct push *p = t->push;
	if (!end)
		(void)!send_line(p, "line",
				 json_pack("{s:s, s:o, s:o}", "side", side_text, "text", json_text(text), "time",
					   json_time(wall)));
	else if (send_line(p, "end", json_pack("{s:b, s:s}", "found", 1, "why", "the session has ended")))
		push_end(p);
}

void res_sessions_trace(struct call *c)
{
	struct trace *t = xcalloc(1, sizeof(*t));

	t->call = c;
	c->arg = t;
	c->cancel = cancel_trace;
	t->engine = engine_trace_start(c->api->env.engine, c->params[0], on_trace, t);
}

/* SPDX-License-Identifier: Apache-2.0
 * One client's session: its beginning, its transaction edges and its one exit.
 *
 * The hard thing is the end: a client that leaves after its final dot must not end the transaction, so the session goes
 * on without it (detached) until the server has answered; everything else ends at once.
 */
#include "daemon/base/log.h"
#include "daemon/session/session.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/session/front_auth.h"
#include "daemon/session/front_pass.h"
#include "daemon/net/handshakes.h"
#include "daemon/session/txn.h"
#include "daemon/session/users.h"

const char *const reject_reason_names[REJECT_COUNT] = {
#define REJECT(ID, name) name,
#include "daemon/session/reject.tbl.h"
#undef REJECT
};

const char *const accept_result_names[ACCEPT_COUNT] = {
#define ACCEPT(ID, name) name,
#include "daemon/session/accept.tbl.h"
#undef ACCEPT
};

struct close_row {
	const char *name;
	unsigned code;
	const char *enhanced, *text;
	enum log_level level;
};

static const struct close_row close_rows[CLOSE_COUNT] = {
#define CLOSE(ID, name, code, enhanced, text, level) [CLOSE_##ID] = { name, code, enhanced, text, level },
#include "daemon/session/session_close.tbl.h"
#undef CLOSE
};

/* ---- identity ---- */

const char *session_id_of(const struct engine *e, uint64_t number, char *out)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
	char tail[14];

	for (int i = 12; i >= 0; i--, number >>= 5)
		tail[i] = digits[number & 31];
	tail[13] = '\0';
	snprintf(out, SESSION_ID_MAX, "%.63s-%s", engine_node(e), tail);
	return out;
}

const char *session_id(const struct session *s, char *out)
{
	return session_id_of(s->w->engine, s->number, out);
}

const char *session_stage(const struct session *s)
{
	static const char *const names[TXN_STATE_COUNT] = { "envelope", "seeking",  "envelope", "data",
							    "content",  "draining", "dot",      "over" };

	if (s->txn == NULL)
		return "command";
	return names[s->txn->state];
}

void session_reject(struct session *s, enum reject_reason why)
{
	metrics_add(s->run->m_rejected[why], 1);
}

void session_trace(struct session *s, char side, const char *p, size_t n)
{
	if (s->traced)
		engine_trace_line(s->w->engine, s->number, side, p, n, false);
}

void session_login_lost(struct session *s)
{
	CHECK_OBJ(s, SESSION_MAGIC);
	s->login_lost = true;
}

/* ---- the beginning ---- */

void session_accept(struct worker *w, const struct listener_view *lv, const struct arrival *a)
{
	struct session *s;

	NEW_OBJ(s, SESSION_MAGIC);
	s->w = w;
	s->snapshot = snapshot_ref(w->snapshot);
	s->lv = lv;
	s->run = listener_runtime_ref(lv->run);
	s->counted = a->counted;
	s->client = a->client;
	if (!addr_eq(&a->peer, &a->client) || a->local.sa.sa_family != 0)
		session_naming(s, &a->peer, &a->local);
	list_init(&s->pinned);
	s->number = w->next_id++;
	s->started_ms = loop_now_ms(w->loop);
	list_append(&w->sessions, &s->link);
	w->n_sessions++;
	front_start(s, a->fd);
}

void session_naming(struct session *s, const struct addr *peer, const struct addr *local)
{
	s->naming = xcalloc(1, sizeof(*s->naming));
	s->naming->peer = *peer;
	s->naming->origin = s->client;
	s->naming->local = s->naming->origin_local = *local;
}

const struct addr *session_via(const struct session *s)
{
	return s->naming == NULL || addr_eq(&s->naming->peer, &s->client) ? NULL : &s->naming->peer;
}

void session_ends(const struct session *s, struct addr *ret_client, struct addr *ret_local)
{
	socklen_t size = sizeof(*ret_local);

	*ret_client = s->client;
	memset(ret_local, 0, sizeof(*ret_local));
	if (s->naming != NULL)
		*ret_local = s->naming->local;
	if (ret_local->sa.sa_family != 0)
		return;
	if (!stream_is_open(&s->front.st) || getsockname(s->front.st.fd, &ret_local->sa, &size) != 0)
		memset(ret_local, 0, sizeof(*ret_local));
	addr_unmap(ret_local);
}

/* ---- edges ---- */

bool session_at_edge(struct session *s)
{
	struct worker *w = s->w;

	if (s->txn != NULL || s->closing)
		return !s->closing;
	if (w->draining) {
		session_close(s, CLOSE_DRAINING);
		return false;
	}
	if (s->login_lost) {
		session_close(s, CLOSE_LOGIN_LOST);
		return false;
	}
	if (s->snapshot == w->snapshot)
		return true;
	const struct listener_view *lv = worker_listener(w, s->run);
	if (lv == NULL || lv->config->mode != LISTENER_SMTP) {
		session_close(s, CLOSE_REMOVED);
		return false;
	}
	if (s->front.user_is_ours && !users_agree(s->snapshot->users, w->snapshot->users, s->front.user, &s->client)) {
		session_close(s, CLOSE_LOGIN_ENDED);
		return false;
	}
	snapshot_unref(s->snapshot);
	s->snapshot = snapshot_ref(w->snapshot);
	s->lv = lv;
	return true;
}

void session_go_on(struct session *s)
{
	if (!s->closing && s->front.state == FRONT_COMMAND)
		front_go_on(s);
}

/* ---- the end ---- */

static void free_session(void *arg)
{
	struct session *s = arg;

	free(s->front.helo);
	free(s->front.user);
	if (s->naming != NULL)
		free(s->naming->told);
	free(s->naming);
	free(s->front.chunking);
	free(s->login_pool);
	front_forget_certificate(s);
	FREE_OBJ(s);
}

static void log_end_of_session(const struct session *s, enum close_reason reason)
{
	const struct close_row *row = &close_rows[reason];
	struct logline l;
	char id[SESSION_ID_MAX];

	/* Transactions have their own lines; what ended without one, or not by the client's wish, gets one here. */
	if ((s->n_txns > 0 && row->level < LOG_LEVEL_INFO) || !log_enabled(LOG_LEVEL_INFO))
		return;
	log_begin(&l, row->level > LOG_LEVEL_INFO ? row->level : LOG_LEVEL_INFO, "session");
	log_cstr(&l, "id", session_id(s, id));
	log_cstr(&l, "listener", s->lv->config->name);
	log_addr(&l, "client", &s->client);
	if (session_via(s) != NULL)
		log_addr(&l, "via", session_via(s));
	log_cstr(&l, "helo", s->front.helo);
	log_cstr(&l, "user", s->front.user);
	log_cstr(&l, "tls", s->front.tls);
	log_cstr(&l, "reason", row->name);
	log_cstr(&l, "error", stream_tls_error(&s->front.st));
	log_int(&l, "transactions", s->n_txns);
	log_int(&l, "errors", s->front.errors);
	log_duration(&l, "took", (loop_now_ms(s->w->loop) - s->started_ms) * 1000);
	log_end(&l);
}

/* It was between two commands of its own, so its next one may be on its way: 421 must not be overtaken by a reset. */
static bool is_polite(enum close_reason reason)
{
	return reason == CLOSE_DRAINING || reason == CLOSE_REMOVED || reason == CLOSE_IDLE || reason == CLOSE_WANTED ||
	       reason == CLOSE_LOGIN_LOST || reason == CLOSE_LOGIN_ENDED;
}

/* Gives the client's connection back: socket, timer, counts. */
static void drop_client(struct session *s, bool polite)
{
	struct front *f = &s->front;

	if (f->state == FRONT_GONE)
		return;
	if (f->state == FRONT_TLS)
		handshakes_failed(HANDSHAKE_CLIENT);
	front_auth_drop(s);
	front_pass_drop(s);
	f->state = FRONT_GONE;
	timer_stop(&f->timer);
	metrics_add(s->w->m_bytes[0][0], f->st.bytes_in);
	metrics_add(s->w->m_bytes[0][1], f->st.bytes_out);
	if (polite)
		lingers_add(&s->w->lingers, stream_part(&f->st));
	else
		stream_close(&f->st);
	if (s->txn != NULL)
		txn_leave_client(s->txn);
	if (s->counted != NULL)
		clients_leave(s->run->clients, s->counted, loop_now_ms(s->w->loop));
	s->counted = NULL;
	atomic_fetch_sub_explicit(&s->run->connections, 1, memory_order_relaxed);
}

static void release(struct session *s)
{
	struct worker *w = s->w;

	if (s->traced)
		engine_trace_line(w->engine, s->number, 'i', "", 0, true);
	list_remove(&s->link);
	w->n_sessions--;
	back_pins_end(s);
	listener_runtime_unref(s->run);
	snapshot_unref(s->snapshot);
	s->snapshot = NULL;
	s->lv = NULL; /* a handler that goes on after the end must not read a configuration that may be gone */
	loop_defer(w->loop, free_session, s);
	if (w->n_sessions == 0 && w->stopping)
		engine_worker_empty(w->engine);
}

/* What a transaction's end is put down to when its session ends under it. */
static enum txn_cause cause_of(enum close_reason reason, const struct txn *t)
{
	if (t->state == TXN_DOT)
		return CAUSE_AMBIGUOUS;
	if (reason == CLOSE_CLIENT_GONE)
		return CAUSE_CLIENT_GONE;
	if (reason == CLOSE_BODY_TIMEOUT || reason == CLOSE_TOO_SLOW || reason == CLOSE_WANTED ||
	    reason == CLOSE_IDLE || reason == CLOSE_COMMAND_TIMEOUT)
		return CAUSE_TIMEOUT;
	return reason == CLOSE_TOO_BIG ? CAUSE_SIZE : CAUSE_RESET;
}

static void end_txn(struct session *s, enum close_reason reason)
{
	struct txn *t = s->txn;

	if (t == NULL)
		return;
	enum txn_cause cause = cause_of(reason, t);
	if (cause == CAUSE_AMBIGUOUS || cause == CAUSE_SIZE)
		txn_finish(t, RESULT_TEMPFAIL, cause);
	else
		txn_abort(t, cause);
}

static bool goes_on_without_client(struct session *s, enum close_reason reason)
{
	if (reason != CLOSE_CLIENT_GONE || s->txn == NULL || !txn_is_complete(s->txn))
		return false;
	s->txn->client_gone = true;
	s->detached = true;
	session_trace(s, 'i', "the client has gone after its final dot", 39);
	drop_client(s, false);
	return true;
}

void session_close(struct session *s, enum close_reason reason)
{
	const struct close_row *row = &close_rows[reason];

	CHECK_OBJ(s, SESSION_MAGIC);
	if (s->closing || goes_on_without_client(s, reason))
		return;
	s->closing = true;
	end_txn(s, reason);
	if (row->code != 0 && !s->detached) {
		session_reply(s, row->code, row->enhanced, "%s %s", s->lv->config->hostname, row->text);
		stream_discard_input(&s->front.st);
	}
	log_end_of_session(s, reason);
	drop_client(s, is_polite(reason));
	release(s);
}

void session_end_if_due(struct session *s)
{
	if (s->txn == NULL && (s->w->draining || worker_listener(s->w, s->run) == NULL))
		front_end_soon(s);
}

void session_txn_over(struct session *s)
{
	if (s->closing)
		return;
	if (s->detached) {
		session_close(s, CLOSE_QUIT);
		return;
	}
	if (s->front.state != FRONT_COMMAND)
		front_set_command(s);
	else
		front_resume(s);
	session_end_if_due(s);
}

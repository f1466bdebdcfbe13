/* SPDX-License-Identifier: Apache-2.0
 * The server's side of a transaction: seeking one, sending the envelope, reading its answers, going to another one.
 *
 * The hard thing is the retry: it must be invisible. What is to be sent is a state per recipient, not a position in a
 * script, so a new server simply starts with everything unsent and the same pump sends it; a recipient the client was
 * promised must be accepted again, or the message is deferred as a whole.
 */
#include "daemon/base/log.h"
#include "daemon/session/txn_server.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/session/front.h"
#include "daemon/session/identity.h"

static void on_waited(void *arg);
static void on_timer(void *arg);
static void seek(struct txn *t);

void txn_server_init(struct txn *t)
{
	t->waiter = (struct pool_waiter) { .loop = t->s->w->loop, .fn = on_waited, .arg = t };
	list_init(&t->waiter.link);
	timer_init(&t->timer, on_timer, t);
	t->replay_whole = true;
}

/* ---- giving the server back ---- */

static void stop_waiting(struct txn *t)
{
	if (!t->waiting)
		return;
	t->waiting = false;
	t->wait_us += loop_now_us(t->s->w->loop) - t->wait_since_us;
	timer_stop(&t->timer);
	pool_wait_cancel(&t->waiter);
}

static void leave_server(struct txn *t)
{
	if (t->server == NULL)
		return;
	pool_txn_end(t->server);
	t->server = NULL;
}

void txn_release_back(struct txn *t)
{
	struct back *b = t->back;

	stop_waiting(t);
	t->back = NULL;
	if (b != NULL && b->any_reply) /* it answered, and nothing failed: whatever it said, it works */
		server_report(t->pool, t->server, SERVER_SAW_SUCCESS, loop_now_ms(t->s->w->loop));
	if (b != NULL && b->state == BACK_READY && !b->body_open && b->due_n == 0 && t->mail_state == RCPT_UNSENT &&
	    t->xforward.n == 0)
		back_return(b);
	else if (b != NULL)
		back_abandon(b);
	leave_server(t);
}

/* ---- seeking ---- */

static void give_up(struct txn *t, unsigned code, const char *enhanced, const char *text, enum txn_cause cause)
{
	session_reject(t->s, cause == CAUSE_SIZE ? REJECT_SIZE : REJECT_NO_SERVER);
	t->last_code = code;
	txn_decide(t, code, enhanced, text, cause);
}

static void final_failure(struct txn *t, const struct failure *f, bool dot_left)
{
	if (dot_left) {
		t->last_code = 451;
		txn_decide(t, 451, "4.4.2",
			   "the connection was lost after the message was sent: it may have been delivered",
			   CAUSE_AMBIGUOUS);
		return;
	}
	t->last_code = f->code;
	txn_decide(t, f->code, f->enhanced, f->text, f->cause);
}

static void count_retry(struct txn *t, bool goes_on)
{
	metrics_add(t->pool->series.retries[t->failed_stage][goes_on ? 1 : 0], 1);
	t->n_retries += goes_on;
	t->retrying = false;
}

/* There is no other server after all: what is said is what happened, not that nobody is left. */
static void give_up_retry(struct txn *t)
{
	count_retry(t, false);
	final_failure(t, &t->failure, false);
}

/* Waited long enough, or may not wait at all: servers at their limit count as not usable, so a reserve may. */
static void without_full(struct txn *t)
{
	if (t->skip_full) {
		give_up(t, 451, "4.3.2", "all servers are at their limit, try again", CAUSE_NO_SERVER);
		return;
	}
	t->skip_full = true;
	seek(t);
}

static void wait_for_slot(struct txn *t)
{
	t->state = TXN_SEEKING;
	if (t->skip_full || !pool_wait(t->pool, &t->waiter)) {
		without_full(t);
		return;
	}
	t->waiting = true;
	if (t->wait_since_us == 0 || t->timer.deadline == 0) {
		t->wait_since_us = loop_now_us(t->s->w->loop);
		timer_set_in(t->s->w->loop, &t->timer, t->pool->config->queue_timeout_ms);
	}
}

static void on_waited(void *arg)
{
	struct txn *t = arg;

	CHECK_OBJ(t, TXN_MAGIC);
	t->waiting = false;
	t->wait_us += loop_now_us(t->s->w->loop) - t->wait_since_us;
	t->wait_since_us = loop_now_us(t->s->w->loop);
	seek(t);
	if (!t->waiting && t->timer.fn != NULL)
		timer_stop(&t->timer);
}

static void on_timer(void *arg)
{
	struct txn *t = arg;

	CHECK_OBJ(t, TXN_MAGIC);
	stop_waiting(t);
	without_full(t);
}

/* A connection to t->server. */
static void borrow(struct txn *t)
{
	bool ready;

	t->server_name = arena_strdup(t->arena, t->server->name);
	t->back = back_borrow(t->s->w, t->pool, t->server, t, t->fresh_only, &ready);
	t->fresh_only = false;
	if (t->back == NULL) {
		/* Its free connections belong to other workers: one of them is asked for, and its slot waited for. */
		engine_shed_idle(t->s->w->engine, t->s->w, t->server);
		leave_server(t);
		wait_for_slot(t);
		return;
	}
	t->state = TXN_SEEKING;
	if (ready)
		txn_on_ready(t);
}

/* The session's login at this pool went with its connection: no other server knows it. */
static bool lost_login(const struct txn *t)
{
	return t->s->login_lost && strcmp(t->s->login_pool, t->pool->config->name) == 0;
}

/* The server at which the session has logged in decides about it, or nobody. False: it has not logged in at this pool,
 * whose servers may all be asked. */
static bool seek_login(struct txn *t)
{
	struct session *s = t->s;

	if (s->login_pool == NULL || strcmp(s->login_pool, t->pool->config->name) != 0)
		return false;
	if (t->retrying) { /* it cannot do what the envelope needs */
		give_up_retry(t);
		return true;
	}
	struct server *server = back_pinned_server(s, t->pool);
	if (server == NULL || !pool_claim(server)) {
		give_up(t, 451, "4.4.2", "the server you logged in at has gone, log in again", CAUSE_BACKEND_LOST);
		return true;
	}
	t->server = server;
	borrow(t);
	return true;
}

static void seek(struct txn *t)
{
	if (seek_login(t))
		return;
	struct pick_query q = { .hash = t->balance_hash,
				.need_exts = t->need_exts,
				.need_size = t->mail.has_size ? t->mail.size : 0,
				.n_tried = t->n_tried,
				.now_ms = loop_now_ms(t->s->w->loop) };

	q.skip_full = t->skip_full;
	if (identity_pins(&t->pool->config->identity))
		q.prefer = back_pinned_server(t->s, t->pool);
	memcpy(q.tried, t->tried, sizeof(q.tried));
	enum pick pick = pool_pick(t->pool, &q, &t->server);
	if (t->retrying && pick != PICK_OK && pick != PICK_FULL) {
		give_up_retry(t);
		return;
	}
	if (t->retrying)
		count_retry(t, true);
	switch (pick) {
	case PICK_OK:
		borrow(t);
		return;
	case PICK_FULL:
		wait_for_slot(t);
		return;
	case PICK_INCAPABLE:
		give_up(t, 451, "4.3.0", "no server can take this message now, try again", CAUSE_NO_SERVER);
		return;
	case PICK_TOO_BIG:
		give_up(t, 552, "5.3.4", "message too big for the servers", CAUSE_SIZE);
		return;
	case PICK_NONE:
		break;
	}
	if (t->skip_full)
		give_up(t, 451, "4.3.2", "all servers are at their limit, try again", CAUSE_NO_SERVER);
	else
		give_up(t, 451, "4.4.1", "no server is available, try again", CAUSE_NO_SERVER);
}

/* ---- sending the envelope ---- */

static size_t mail_line(const struct txn *t, char *out, size_t cap)
{
	const struct smtp_mail *m = &t->mail;
	unsigned exts = t->back->exts;
	int n = snprintf(out, cap, "MAIL FROM:<%.*s>", STR_ARG(m->path.mailbox));

	/* Only what this server announced; pool_pick() saw to it that what matters was. */
	if (m->has_size && exts & SMTP_EXT_SIZE)
		n += snprintf(out + n, cap - (size_t)n, " SIZE=%llu", (unsigned long long)m->size);
	if (m->body != SMTP_BODY_NONE && exts & SMTP_EXT_8BITMIME)
		n += snprintf(out + n, cap - (size_t)n, " BODY=%s", m->body == SMTP_BODY_7BIT ? "7BIT" : "8BITMIME");
	if (m->smtputf8)
		n += snprintf(out + n, cap - (size_t)n, " SMTPUTF8");
	/* RFC 4954 5: of a client that nobody knows, its word for who sent the message counts for nothing. */
	if (m->auth.p != NULL && exts & SMTP_EXT_AUTH)
		n += snprintf(out + n, cap - (size_t)n, " AUTH=%.*s",
			      STR_ARG(t->s->front.user != NULL ? m->auth : STR("<>")));
	if (m->ret.p != NULL)
		n += snprintf(out + n, cap - (size_t)n, " RET=%.*s", STR_ARG(m->ret));
	if (m->envid.p != NULL)
		n += snprintf(out + n, cap - (size_t)n, " ENVID=%.*s", STR_ARG(m->envid));
	n += snprintf(out + n, cap - (size_t)n, "\r\n");
	ASSERT((size_t)n < cap);
	return (size_t)n;
}

static void send_mail(struct txn *t)
{
	char line[SMTP_LINE_MAX + 128];

	t->mail_state = RCPT_SENT;
	back_command(t->back, DUE_MAIL, NULL, line, mail_line(t, line, sizeof(line)));
}

/* Without PIPELINING a command goes out only when nothing is due. */
static bool may_send(const struct txn *t)
{
	return back_may_send(t->back) && (t->back->due_n == 0 || t->back->exts & SMTP_EXT_PIPELINING);
}

void txn_forget_xforward(struct txn *t)
{
	sbuf_reset(&t->xforward);
	t->xforward_at = 0;
	t->xforward_made = false;
}

static void make_xforward(struct txn *t)
{
	struct xclient_client c;
	char id[SESSION_ID_MAX + 16];

	t->xforward_made = true;
	if (!t->pool->config->identity.xforward || t->back->xforward == 0)
		return;
	session_id(t->s, id);
	snprintf(id + strlen(id), 16, ".%u", t->s->n_txns);
	identity_client(t->s, id, &c);
	xforward_commands(&t->xforward, t->back->xforward, &c);
}

/* Holds for one transaction, so it goes before each MAIL. False: some of it could not be sent yet. */
static bool send_xforward(struct txn *t)
{
	struct str line;
	size_t len;

	if (!t->xforward_made)
		make_xforward(t);
	while (t->xforward_at < t->xforward.n) {
		const char *p = t->xforward.p + t->xforward_at;
		if (!may_send(t) ||
		    smtp_line(p, t->xforward.n - t->xforward_at, SMTP_LINE_MAX, &len, &line) != SMTP_LINE_OK)
			return false;
		back_command(t->back, DUE_XFORWARD, NULL, p, len);
		t->xforward_at += len;
	}
	return true;
}

static void send_envelope(struct txn *t)
{
	if (t->mail_state == RCPT_UNSENT && !send_xforward(t))
		return;
	if (t->mail_state == RCPT_UNSENT && may_send(t))
		send_mail(t);
	while (t->unsent != NULL && t->mail_state != RCPT_UNSENT && may_send(t)) {
		struct rcpt *rc = t->unsent;
		t->unsent = txn_next_rcpt(t, rc);
		rc->state = RCPT_SENT;
		back_command(t->back, DUE_RCPT, rc, rc->line, rc->line_n);
	}
}

void txn_pump(struct txn *t)
{
	if (t->state == TXN_HELD)
		seek(t);
	if (t->state != TXN_ENVELOPE)
		return;
	send_envelope(t);
	if (!t->data_wanted || t->back->due_n > 0 || t->n_out > 0)
		return;
	t->state = TXN_DATA;
	back_command(t->back, DUE_DATA, NULL, "DATA\r\n", 6);
}

static bool is_capable(const struct txn *t)
{
	return (t->need_exts & ~t->back->exts) == 0;
}

void txn_on_ready(struct txn *t)
{
	CHECK_OBJ(t, TXN_MAGIC);
	if (!is_capable(t)) {
		struct back *b = t->back;
		t->back = NULL;
		back_return(b);
		txn_on_back_failed(t, STAGE_EHLO, BACK_INCAPABLE, NULL);
		return;
	}
	t->state = TXN_ENVELOPE;
	txn_pump(t);
}

/* ---- another server ---- */

/* What went to the old server counts for nothing on the new one. */
static void unsend(struct txn *t)
{
	struct list *tmp;
	struct rcpt *rc;

	t->mail_state = RCPT_UNSENT;
	txn_forget_xforward(t);
	t->sent = 0;
	t->n_out = 0;
	LIST_FOR_EACH(rc, tmp, &t->rcpts, link) {
		rc->state = RCPT_UNSENT;
		t->n_out++;
	}
	t->unsent = list_empty(&t->rcpts) ? NULL : LIST_FIRST(&t->rcpts, struct rcpt, link);
}

void txn_progress(struct txn *t)
{
	if (t->failing_since_us == 0)
		return;
	t->failing_us += loop_now_us(t->s->w->loop) - t->failing_since_us;
	t->failing_since_us = 0;
}

/* The budget bounds the time that failures cost the client, not the time it takes for itself. */
static bool budget_left(const struct txn *t)
{
	int64_t now = loop_now_us(t->s->w->loop);

	return (t->failing_us + now - t->failing_since_us) / 1000 < t->pool->config->retry.budget_ms;
}

static bool another_is_allowed(const struct txn *t, bool dot_left)
{
	if (lost_login(t))
		return false;
	return txn_may_retry(t, dot_left) && t->n_tried < t->pool->config->retry.attempts &&
	       t->n_tried < PICK_TRIED_MAX && budget_left(t);
}

static void log_failure(const struct txn *t, enum reply_stage stage, enum back_trouble why, const struct back *b)
{
	static const char *const names[BACK_TROUBLE_COUNT] = {
		"ok",  "refused", "connection_lost", "timeout", "malformed_reply", "refused_by_server",
		"tls", "auth",    "incapable",       "loop",    "client_refused",  "no_xclient"
	};
	struct logline l;
	char id[SESSION_ID_MAX];

	log_begin(&l, LOG_LEVEL_INFO, "server_failed");
	log_cstr(&l, "id", session_id(t->s, id));
	log_cstr(&l, "pool", t->server->pool);
	log_cstr(&l, "server", t->server->name);
	log_cstr(&l, "stage", reply_stage_names[stage]);
	log_cstr(&l, "why", names[why]);
	log_cstr(&l, "reply", t->last_reply);
	log_cstr(&l, "error", b != NULL ? b->error : NULL);
	log_end(&l);
}

/* It was closed while it idled, or while our client was silent: that is no failure of the server. */
static bool is_stale(struct txn *t, const struct back *b, enum back_trouble why, const struct smtp_reply *r)
{
	bool said_goodbye =
		why == BACK_EOF || ((why == BACK_SAID_NO || why == BACK_VERDICT) && r != NULL && r->code == 421);

	if (b == NULL || !said_goodbye)
		return false;
	if (b->reused && !b->any_reply)
		return true;
	if (!b->was_bored || t->was_bored)
		return false;
	t->was_bored = true;
	return true;
}

static void on_failure(struct txn *t, enum reply_stage stage, enum back_trouble why, const struct smtp_reply *r,
		       const struct back *b)
{
	bool dot_left = b != NULL && b->dot_left;
	struct failure f;

	fail_policy(stage, why, r, &f);
	if (f.blamed)
		server_report(t->pool, t->server, f.blame, loop_now_ms(t->s->w->loop));
	log_failure(t, stage, why, b);
	if (t->n_tried < PICK_TRIED_MAX)
		t->tried[t->n_tried++] = t->server;
	leave_server(t);
	t->failure = f;
	t->failed_stage = stage;
	if (!another_is_allowed(t, dot_left)) {
		count_retry(t, false);
		final_failure(t, &f, dot_left);
		return;
	}
	t->retrying = true;
	unsend(t);
	t->state = TXN_HELD;
	if (t->data_promised)
		front_pause(t->s);
	txn_pump(t);
}

/* A recipient that the client was promised is not accepted any more: the message cannot go out as promised. */
static void verdict_changed(struct txn *t)
{
	t->last_code = 451;
	txn_decide(t, 451, "4.4.2", "the servers do not agree about a recipient, try again", CAUSE_BACKEND_LOST);
}

/* The client was refused, not a recipient, and the connection is gone: the server's words are the answer to what is at
 * hand, no other server is asked, and nobody is blamed. Its 421 ends its own connection, not the client's. */
static void on_verdict(struct txn *t, enum reply_stage stage, const struct smtp_reply *r, const struct back *b)
{
	char *text = xstrndup(r->text.p, r->text.n);
	struct smtp_reply own = { .code = r->code == 421 ? 451 : r->code, .text = { text, r->text.n } };

	for (size_t i = 0; r->code == 421 && i + 3 < r->text.n; i++)
		if (i == 0 || text[i - 1] == '\n')
			memcpy(text + i, "451", 3);
	log_failure(t, stage, BACK_VERDICT, b);
	leave_server(t);
	t->mail_state = RCPT_REFUSED;
	if (t->data_wanted || t->client_gone) {
		txn_note_reply(t, &own);
		free(t->outcome_reply);
		t->outcome_reply = text;
		txn_decide(t, own.code, "", "", CAUSE_BACKEND);
		return;
	}
	if (t->n_promised > 0) {
		verdict_changed(t);
	} else {
		t->state = TXN_HELD;
		txn_mail_verdict(t, &own);
	}
	free(text);
}

void txn_on_back_failed(struct txn *t, enum reply_stage stage, enum back_trouble why, const struct smtp_reply *r)
{
	struct back *b = t->back;

	CHECK_OBJ(t, TXN_MAGIC);
	t->back = NULL;
	if (r != NULL)
		txn_note_reply(t, r);
	if (t->failing_since_us == 0)
		t->failing_since_us = b != NULL ? b->asked_us : loop_now_us(t->s->w->loop);
	if (lost_login(t) || !is_stale(t, b, why, r)) {
		if (why == BACK_VERDICT)
			on_verdict(t, stage, r, b);
		else
			on_failure(t, stage, why, r, b);
		return;
	}
	unsend(t);
	/* With nothing asked for, the next command may well go to another server. */
	t->state = TXN_HELD;
	if (t->n_unanswered == 0 && !t->data_wanted) {
		leave_server(t);
		return;
	}
	t->fresh_only = true; /* one fresh connection to the same server */
	borrow(t);
}

/* A reply told of the server's own trouble, or ended the connection because of the client: leave the connection and go
 * on elsewhere. */
static void trouble(struct txn *t, enum reply_stage stage, enum back_trouble why, const struct smtp_reply *r)
{
	struct back *b = t->back;

	/* Its slot is free for what comes next; the struct lives to the end of the turn. */
	b->txn = NULL;
	back_drop(b);
	txn_on_back_failed(t, stage, why, r);
}

/* ---- answers ---- */

static void on_mail(struct txn *t, const struct smtp_reply *r)
{
	if (smtp_reply_is(r, 2)) {
		t->mail_state = RCPT_ACCEPTED;
		txn_pump(t);
		return;
	}
	t->mail_state = RCPT_REFUSED;
	if (t->n_promised > 0) {
		verdict_changed(t);
		return;
	}
	txn_release_back(t);
	t->state = TXN_HELD;
	txn_mail_verdict(t, r);
}

static void on_rcpt(struct txn *t, struct rcpt *rc, const struct smtp_reply *r)
{
	if (rc->promised && !smtp_reply_is(r, 2)) {
		verdict_changed(t);
		return;
	}
	if (rc->promised) {
		rc->state = RCPT_ACCEPTED;
		t->n_out--;
	} else {
		txn_progress(t);
		txn_rcpt_verdict(t, rc, r);
	}
	/* The client's next command may have ended us. */
	if (t->state == TXN_ENVELOPE)
		txn_pump(t);
}

static void on_data(struct txn *t, const struct smtp_reply *r)
{
	if (r->code == 354) {
		t->state = TXN_BODY;
		txn_progress(t);
		relay_start(t);
		return;
	}
	if (t->data_promised) {
		verdict_changed(t);
		return;
	}
	txn_note_reply(t, r);
	if (t->chunked) { /* the octets come all the same: the answer waits for the last of them */
		t->outcome_reply = xstrndup(r->text.p, r->text.n);
		txn_decide(t, r->code, "", "", CAUSE_BACKEND);
		return;
	}
	session_relay_text(t->s, r->text);
	txn_finish(t, smtp_reply_is(r, 5) ? RESULT_PERMFAIL : RESULT_TEMPFAIL, CAUSE_BACKEND);
}

static void on_dot(struct txn *t, const struct smtp_reply *r, int64_t took_us)
{
	enum txn_cause cause =
		t->client_gone || stream_at_eof(&t->s->front.st) ? CAUSE_CLIENT_GONE_AFTER_DOT : CAUSE_BACKEND;
	struct back *b = t->back;

	txn_note_reply(t, r);
	t->dot_us = took_us;
	server_report_latency(t->server, took_us);
	bool busy = smtp_reply_is_server_trouble(r) && !back_is_verdict(b, STAGE_DOT, r);
	server_report(t->pool, t->server, busy ? SERVER_SAW_BUSY : SERVER_SAW_SUCCESS, loop_now_ms(t->s->w->loop));
	t->back = NULL;
	if (r->code == 421) {
		/* Its 421 ends its own connection, not the client's. */
		back_drop(b);
		txn_decide(t, 451, "4.3.0", "the server did not take the message, try again", cause);
		return;
	}
	back_return(b);
	session_relay_text(t->s, r->text);
	txn_finish(t,
		   smtp_reply_is(r, 2)   ? RESULT_ACCEPTED
		   : smtp_reply_is(r, 4) ? RESULT_TEMPFAIL
					 : RESULT_PERMFAIL,
		   cause);
}

static bool expected_class(const struct due *d, const struct smtp_reply *r)
{
	if (smtp_reply_is(r, 3))
		return d->kind == DUE_DATA && r->code == 354;
	return !(d->kind == DUE_DATA && smtp_reply_is(r, 2));
}

void txn_on_reply(struct txn *t, const struct due *d, const struct smtp_reply *r, int64_t took_us)
{
	static const enum reply_stage stage[DUE_KIND_COUNT] = { STAGE_MAIL, STAGE_RCPT, STAGE_DATA, STAGE_DOT,
								STAGE_MAIL, STAGE_MAIL, STAGE_EHLO };

	CHECK_OBJ(t, TXN_MAGIC);
	if (!expected_class(d, r)) {
		if (d->kind == DUE_DOT)
			t->back->dot_left = true;
		trouble(t, stage[d->kind], BACK_MALFORMED, r);
		return;
	}
	if (d->kind != DUE_DOT && smtp_reply_is_server_trouble(r)) {
		trouble(t, stage[d->kind], back_is_verdict(t->back, stage[d->kind], r) ? BACK_VERDICT : BACK_SAID_NO,
			r);
		return;
	}
	switch ((enum due_kind)d->kind) {
	case DUE_MAIL:
		on_mail(t, r);
		break;
	case DUE_RCPT:
		on_rcpt(t, d->about, r);
		break;
	case DUE_DATA:
		on_data(t, r);
		break;
	case DUE_DOT:
		on_dot(t, r, took_us);
		break;
	case DUE_XFORWARD: /* a refusal costs the server's log a line, nobody a message */
		txn_pump(t);
		break;
	case DUE_RSET:
	case DUE_AUTH:
	case DUE_KIND_COUNT:
		break;
	}
}

void txn_on_early_reply(struct txn *t, const struct smtp_reply *r)
{
	CHECK_OBJ(t, TXN_MAGIC);
	if (smtp_reply_is_server_trouble(r)) {
		enum reply_stage stage = t->back->body_open ? STAGE_DATA : STAGE_RCPT;
		trouble(t, stage, back_is_verdict(t->back, stage, r) ? BACK_VERDICT : BACK_SAID_NO, r);
		return;
	}
	bool in_content = t->state == TXN_BODY || t->state == TXN_DOT;
	if (!in_content || r->code < 400) {
		trouble(t, STAGE_DATA, BACK_MALFORMED, r);
		return;
	}
	/* A verdict on the content before its end (too big, a filter): it is the answer, given at the true end. */
	txn_note_reply(t, r);
	t->outcome_reply = xstrndup(r->text.p, r->text.n);
	txn_decide(t, r->code, "", "", CAUSE_BACKEND);
}

void txn_on_back_drained(struct txn *t)
{
	relay_drained(t);
}

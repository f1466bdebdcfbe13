/* SPDX-License-Identifier: Apache-2.0
 * The server's side of a transaction: what its replies and its failures mean, and going to another one.
 *
 * The hard thing is the retry: it must be invisible. A new server gets everything again (txn_envelope.c); a recipient
 * the client was promised must be accepted again, or the message is deferred as a whole.
 */
#include "daemon/session/txn_server.h"

#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/session/front.h"

/* ---- a server that is ready ---- */

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

void txn_final_failure(struct txn *t, const struct failure *f, bool dot_left)
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

void txn_count_retry(struct txn *t, bool goes_on)
{
	metrics_add(t->pool->series.retries[t->failed_stage][goes_on ? 1 : 0], 1);
	t->n_retries += goes_on;
	t->retrying = false;
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
	if (txn_lost_login(t))
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

/* It hung up on a client of whom it had been told, with its refusal: who does that to one is not broken for all. */
static bool hung_up_on_client(const struct back *b, enum back_trouble why)
{
	return why == BACK_EOF && b != NULL && b->told && b->refused;
}

static void on_failure(struct txn *t, enum reply_stage stage, enum back_trouble why, const struct smtp_reply *r,
		       const struct back *b)
{
	bool dot_left = b != NULL && b->dot_left;
	struct failure f;

	fail_policy(stage, why, r, &f);
	if (f.blamed && !hung_up_on_client(b, why))
		server_report(t->pool, t->server, f.blame, loop_now_ms(t->s->w->loop));
	log_failure(t, stage, why, b);
	if (t->n_tried < PICK_TRIED_MAX)
		t->tried[t->n_tried++] = t->server;
	txn_leave_server(t);
	t->failure = f;
	t->failed_stage = stage;
	if (!another_is_allowed(t, dot_left)) {
		txn_count_retry(t, false);
		txn_final_failure(t, &f, dot_left);
		return;
	}
	t->retrying = true;
	txn_unsend(t);
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
	txn_leave_server(t);
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
	else
		txn_forget_reply(t); /* what it said before is not its answer to this */
	if (t->failing_since_us == 0)
		t->failing_since_us = b != NULL ? b->asked_us : loop_now_us(t->s->w->loop);
	if (txn_lost_login(t) || !is_stale(t, b, why, r)) {
		if (why == BACK_VERDICT)
			on_verdict(t, stage, r, b);
		else
			on_failure(t, stage, why, r, b);
		return;
	}
	txn_unsend(t);
	/* With nothing asked for, the next command may well go to another server. */
	t->state = TXN_HELD;
	if (t->n_unanswered == 0 && !t->data_wanted) {
		txn_leave_server(t);
		return;
	}
	t->fresh_only = true; /* one fresh connection to the same server */
	txn_borrow(t);
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

/* On the content before its end (too big, a filter): it is the answer, given at the true end. */
static void early_verdict(struct txn *t, const struct smtp_reply *r)
{
	txn_note_reply(t, r);
	t->outcome_reply = xstrndup(r->text.p, r->text.n);
	txn_decide(t, r->code, "", "", CAUSE_BACKEND);
}

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

void txn_begin_content(struct txn *t)
{
	t->state = TXN_BODY;
	txn_progress(t);
	relay_start(t);
}

static void on_data(struct txn *t, const struct smtp_reply *r)
{
	if (r->code == 354) {
		txn_begin_content(t);
		return;
	}
	if (t->data_promised) {
		verdict_changed(t);
		return;
	}
	if (t->chunked) { /* the octets come all the same: the answer waits for the last of them */
		early_verdict(t, r);
		return;
	}
	txn_note_reply(t, r);
	session_relay_text(t->s, r->text);
	txn_finish(t, smtp_reply_is(r, 5) ? RESULT_PERMFAIL : RESULT_TEMPFAIL, CAUSE_BACKEND);
}

/* To a chunk before the last. Its 250 promises nothing; anything else is the server's verdict on the message. */
static void on_chunk(struct txn *t, const struct smtp_reply *r)
{
	if (smtp_reply_is(r, 2))
		relay_on_chunk(t);
	else
		early_verdict(t, r);
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
	enum reply_stage stage = back_due_stage(d->kind);

	CHECK_OBJ(t, TXN_MAGIC);
	if (!expected_class(d, r)) {
		if (d->kind == DUE_DOT)
			t->back->dot_left = true;
		trouble(t, stage, BACK_MALFORMED, r);
		return;
	}
	if (d->kind != DUE_DOT && smtp_reply_is_server_trouble(r)) {
		trouble(t, stage, back_is_verdict(t->back, stage, r) ? BACK_VERDICT : BACK_SAID_NO, r);
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
	case DUE_CHUNK:
		on_chunk(t, r);
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
	early_verdict(t, r);
}

void txn_on_back_drained(struct txn *t)
{
	relay_drained(t);
}

/* SPDX-License-Identifier: Apache-2.0
 * What a connection to a server still owes: the FIFO of dues, its deadlines, and what each reply answers.
 *
 * The hard thing is that a reply says nothing about itself: it answers the head of the queue. So nothing is sent that
 * is to be answered without a due, and a reply without one is early, or a good-bye.
 */
#include <stdio.h>

#include "daemon/session/back_idle.h"
#include "daemon/session/back_pin.h"
#include "daemon/session/back_private.h"
#include "daemon/session/front_pass.h"
#include "daemon/session/txn.h"

/* ---- small facts ---- */

static int64_t due_timeout(const struct back *b, enum due_kind kind)
{
	const struct back_timeouts *t = back_timeouts(b);

	switch (kind) {
	case DUE_MAIL:
	case DUE_XFORWARD:
		return t->mail_ms;
	case DUE_RCPT:
		return t->rcpt_ms;
	case DUE_DATA:
		return t->data_ms;
	case DUE_CHUNK: /* while its octets wait, they must make progress */
		return stream_queued(&b->st) > 0 && t->block_ms < t->data_ms ? t->block_ms : t->data_ms;
	case DUE_DOT:
		return t->dot_ms;
	case DUE_AUTH:
		return t->ehlo_ms;
	case DUE_RSET:
	case DUE_KIND_COUNT:
		break;
	}
	return t->quit_ms;
}

enum reply_stage back_due_stage(enum due_kind kind)
{
	static const enum reply_stage stage[DUE_KIND_COUNT] = {
		[DUE_MAIL] = STAGE_MAIL, [DUE_RCPT] = STAGE_RCPT, [DUE_DATA] = STAGE_DATA,     [DUE_CHUNK] = STAGE_DATA,
		[DUE_DOT] = STAGE_DOT,   [DUE_RSET] = STAGE_MAIL, [DUE_XFORWARD] = STAGE_MAIL, [DUE_AUTH] = STAGE_EHLO,
	};

	return stage[kind];
}

const struct due *back_due(const struct back *b)
{
	return b->due_n > 0 ? &b->dues[b->due_at] : NULL;
}

/* Where the conversation stands: the stage at which a failure now would happen. */
enum reply_stage back_stage(const struct back *b)
{
	switch (b->state) {
	case BACK_CONNECT:
		return STAGE_CONNECT;
	case BACK_BANNER:
		return STAGE_BANNER;
	case BACK_TLS:
		return b->spoke ? STAGE_EHLO : STAGE_CONNECT;
	case BACK_STARTTLS:
	case BACK_EHLO:
	case BACK_XCLIENT:
	case BACK_HELO:
	case BACK_AUTH:
		return STAGE_EHLO;
	default:
		break;
	}
	if (b->due_n > 0)
		return back_due_stage(back_due(b)->kind);
	return b->body_open ? STAGE_DATA : STAGE_RCPT;
}

/* ---- sending ---- */

bool back_may_send(const struct back *b)
{
	return b->due_n < BACK_DUES;
}

static void arm(struct back *b)
{
	b->bytes_mark = b->st.bytes_out;
	timer_set_in(b->w->loop, &b->timer, due_timeout(b, back_due(b)->kind));
}

void back_command(struct back *b, enum due_kind kind, void *about, const char *line, size_t n)
{
	ASSERT(back_may_send(b));
	b->dues[(b->due_at + b->due_n) % BACK_DUES] =
		(struct due) { .kind = (uint8_t)kind, .sent_us = loop_now_us(b->w->loop), .about = about };
	b->due_n++;
	back_say(b, line, n);
	if (b->due_n == 1)
		arm(b);
}

void back_secret(struct back *b, const char *line, size_t n)
{
	static const char shown[] = "(a login, not shown)";

	ASSERT(back_may_send(b));
	b->dues[(b->due_at + b->due_n) % BACK_DUES] =
		(struct due) { .kind = DUE_AUTH, .sent_us = loop_now_us(b->w->loop) };
	b->due_n++;
	timer_set_in(b->w->loop, &b->timer, due_timeout(b, DUE_AUTH));
	back_trace(b, 'b', shown, sizeof(shown) - 1);
	stream_put(&b->st, line, n);
}

void back_body_progress(struct back *b)
{
	if (b->due_n > 0)
		return; /* a chunk or the end is on its way: its own deadline counts */
	bool waits = stream_queued(&b->st) > 0, stands = b->timer.deadline != 0 && b->st.bytes_out == b->bytes_mark;
	b->bytes_mark = b->st.bytes_out;
	if (!waits)
		timer_stop(&b->timer);
	else if (!stands) /* what the client sends is no progress of the server */
		timer_set_in(b->w->loop, &b->timer, back_timeouts(b)->block_ms);
}

bool back_took_content(struct back *b)
{
	bool chunk = b->due_n > 0 && back_due(b)->kind == DUE_CHUNK;

	if (!b->body_open || b->st.bytes_out == b->bytes_mark || (b->due_n > 0 && !chunk))
		return false;
	if (chunk)
		arm(b);
	else
		back_body_progress(b);
	return true;
}

bool back_all_sent(const struct back *b)
{
	return stream_queued(&b->st) == 0;
}

/* The newest command is DATA or the dot: after a 354 an RSET would be content. */
bool back_in_content(const struct back *b)
{
	if (b->body_open || b->due_n == 0)
		return b->body_open;
	return b->dues[(b->due_at + b->due_n - 1) % BACK_DUES].kind == DUE_DATA;
}

/* ---- replies ---- */

void back_observe(struct back *b, enum reply_stage stage, const struct smtp_reply *r, int64_t since_us)
{
	int64_t took = loop_now_us(b->w->loop) - since_us;

	metrics_observe(b->pool->series.reply_seconds[stage], took > 0 ? (uint64_t)took : 0);
	if (r != NULL)
		metrics_add(b->server->m_replies[stage][r->code / 100 - 2], 1);
}

/* Takes the head of the dues; the next one's deadline starts now. */
static struct due pop_due(struct back *b)
{
	struct due d = b->dues[b->due_at];

	b->due_at = (b->due_at + 1) % BACK_DUES;
	b->due_n--;
	if (b->due_n > 0)
		arm(b);
	else
		timer_stop(&b->timer);
	return d;
}

/* Clean again: for the next transaction of its session, which may wait already, or for anybody. */
static void on_rset(struct back *b, const struct smtp_reply *r)
{
	struct txn *t = b->txn;

	if (!smtp_reply_is(r, 2) || b->due_n > 0) {
		if (t != NULL)
			back_fail(b, BACK_EOF, NULL); /* of a connection that has served before: stale, no failure */
		else
			back_quit(b);
		return;
	}
	b->state = BACK_READY;
	if (t != NULL)
		txn_on_ready(t);
	else if (b->session != NULL)
		back_pin_rest(b);
	else if (!b->reserved)
		back_idle_enter(b);
	else
		back_quit(b); /* its session has ended meanwhile */
}

static void on_due(struct back *b, const struct smtp_reply *r)
{
	struct due d = pop_due(b);
	int64_t took = loop_now_us(b->w->loop) - d.sent_us;

	if (d.kind == DUE_RSET) {
		on_rset(b, r);
		return;
	}
	if (d.kind == DUE_AUTH) {
		if (b->pass != NULL)
			front_pass_on_reply(b->pass, r);
		return;
	}
	bool cleared =
		b->state == BACK_RSET; /* who asked has gone; who borrows it now waits for the RSET behind this */
	if (r->code != 421 && !cleared)
		b->any_reply = true;
	back_observe(b, back_due_stage(d.kind), r, d.sent_us);
	b->refused = smtp_reply_is(r, 5) || back_is_verdict(b, back_due_stage(d.kind), r);
	if (d.kind == DUE_DATA && r->code == 354)
		b->body_open = true;
	if (d.kind == DUE_DOT)
		b->body_open = false;
	if (r->code >= 400 && d.kind != DUE_XFORWARD)
		b->errors++;
	else if (d.kind == DUE_DOT)
		b->errors = 0;
	if (b->txn != NULL && !cleared)
		txn_on_reply(b->txn, &d, r, took);
}

void back_due_reply(struct back *b, const struct smtp_reply *r)
{
	/* While the dot is still in our own queue, nothing can be the answer to it. */
	bool early = b->due_n == 0 || (back_due(b)->kind == DUE_DOT && !back_all_sent(b));

	back_note_standing(b);
	b->dot_left = false; /* a reply is no loss */
	if (!early)
		on_due(b, r);
	else if (b->txn != NULL)
		txn_on_early_reply(b->txn, r);
	else if (b->pass != NULL)
		back_fail(b, smtp_reply_is_server_trouble(r) ? BACK_SAID_NO : BACK_MALFORMED, r);
	else
		back_drop(b); /* an idle connection that speaks is saying good-bye */
}

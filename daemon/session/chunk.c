/* SPDX-License-Identifier: Apache-2.0
 * BDAT from the client, RFC 3030: which octets go where, and when a chunk is answered.
 *
 * The hard thing is that a chunk outlives its reason: the server may be lost, the message refused, the transaction over
 * while octets are still to come. So a chunk is answered only when its last octet is in; smtp_chunks says with what,
 * and an outcome that is known between two chunks waits in TXN_DRAIN for the next one. The 250 to a chunk before the
 * last is our own: it promises nothing, and the server, which gets DATA or chunks of our making, has no part in it.
 */
#include "daemon/session/chunk.h"

#include <stdlib.h>

#include "daemon/session/txn_server.h"

#define DROP_GRACE_MS 10000               /* octets that are dropped may come in slowly for this long */
#define CHUNK_SMALL 512                   /* below it, a chunk before the last is no progress worth the name */
#define CHUNK_US_MAX (1000 * 1000 * 1000) /* a longer pause counts as this long */

/* Of a session that says BDAT, from its first one on. */
struct chunking {
	struct smtp_chunks chunks;
	int64_t since_ms, fed_ms;      /* its BDAT, its newest octets */
	int64_t answered_us, pause_us; /* the one before it; from there to its command */
	uint64_t size;
	uint64_t dropped; /* octets of refused chunks since MAIL */
};

bool chunk_any(const struct session *s)
{
	return s->front.chunking != NULL && s->front.chunking->chunks.any;
}

void chunk_reset(struct session *s)
{
	if (s->front.chunking == NULL)
		return;
	smtp_chunks_reset(&s->front.chunking->chunks);
	s->front.chunking->dropped = 0;
}

int64_t chunk_deadline_ms(const struct session *s)
{
	return s->front.chunking->fed_ms + s->lv->config->timeouts.body_ms;
}

/* ---- the end of a chunk ---- */

static void refuse(struct session *s)
{
	const struct smtp_refusal *why = &s->front.chunking->chunks.why;

	session_reject(s, why->code == 501 ? REJECT_SYNTAX : REJECT_SEQUENCE);
	session_reply(s, why->code, why->enhanced, "%s", why->text);
	if (!front_count_error(s))
		return;
	front_set_command(s);
	session_end_if_due(s);
}

/* The message failed on its way; what is said is the transaction's. */
static void say_outcome(struct session *s)
{
	static const struct smtp_refusal failed = { 451, "4.3.0", "" }; /* never said */

	smtp_chunks_fail(&s->front.chunking->chunks, &failed);
	enum smtp_chunk_reply reply = smtp_chunks_end(&s->front.chunking->chunks);
	ASSERT(reply == SMTP_CHUNK_REPLY_WHY);
	txn_say_outcome(s->txn);
}

/* The clock of the minimum rate stands still between chunks, so a chunk has to make up for the pause before it. */
static bool is_progress(const struct session *s)
{
	uint64_t rate = s->lv->config->caps.min_data_rate;
	int64_t pause = s->front.chunking->pause_us < CHUNK_US_MAX ? s->front.chunking->pause_us : CHUNK_US_MAX;

	if (s->front.chunking->size < CHUNK_SMALL)
		return false;
	return rate == UNLIMITED || s->front.chunking->size >= rate * (uint64_t)pause / 1000000;
}

static void pass(struct session *s)
{
	switch (smtp_chunks_end(&s->front.chunking->chunks)) {
	case SMTP_CHUNK_REPLY_OK:
		s->front.junk += !is_progress(s);
		s->front.chunking->answered_us = loop_now_us(s->w->loop);
		session_reply(s, 250, "2.0.0", "chunk taken");
		front_set_command(s);
		break;
	case SMTP_CHUNK_REPLY_FINAL:
		relay_finish(s->txn);
		break;
	case SMTP_CHUNK_REPLY_WHY:
		refuse(s);
		break;
	}
}

/* Answers a chunk that is complete, if it can be answered now. */
static void settle(struct session *s)
{
	const struct smtp_chunks *c = &s->front.chunking->chunks;

	if (s->front.state != FRONT_CHUNK || !smtp_chunks_complete(c))
		return;
	bool content = c->why.code == 0;
	ASSERT(!content || s->txn != NULL);
	if (content && s->txn->state == TXN_DRAIN)
		say_outcome(s);
	else if (!content || s->txn->state == TXN_BODY)
		pass(s);
	else
		front_pause(s); /* a server is being sought: chunk_go_on() comes */
}

void chunk_go_on(struct session *s)
{
	s->front.chunking->fed_ms = loop_now_ms(s->w->loop); /* we were the ones to wait */
	if (s->front.state == FRONT_WAIT)
		front_start_chunk(s);
	front_resume(s);
	settle(s);
}

/* ---- octets ---- */

static size_t drop(struct session *s, size_t n)
{
	uint64_t rate = s->lv->config->caps.min_data_rate;
	int64_t took = loop_now_ms(s->w->loop) - s->front.chunking->since_ms;
	size_t used = smtp_chunks_take(&s->front.chunking->chunks, n);
	uint64_t came = s->front.chunking->size - s->front.chunking->chunks.left;

	s->front.chunking->dropped += used;
	if (s->front.chunking->dropped > relay_drain_max(s))
		session_close(s, CLOSE_TOO_BIG);
	else if (took > DROP_GRACE_MS && rate != UNLIMITED && came / ((uint64_t)took / 1000) < rate)
		session_close(s, CLOSE_TOO_SLOW);
	return used;
}

static size_t take(struct session *s, const char *p, size_t n, bool *ret_pause)
{
	struct smtp_chunks *c = &s->front.chunking->chunks;
	size_t used = relay_feed(s->txn, p, c->left < n ? (size_t)c->left : n, ret_pause);

	return s->closing ? used : smtp_chunks_take(c, used);
}

size_t chunk_feed(struct session *s, const char *p, size_t n, bool *ret_pause)
{
	struct smtp_chunks *c = &s->front.chunking->chunks;

	*ret_pause = smtp_chunks_complete(c); /* its answer is due: not a byte behind it is looked at */
	if (*ret_pause)
		return 0;
	s->front.chunking->fed_ms = loop_now_ms(s->w->loop);
	size_t used = c->why.code == 0 ? take(s, p, n, ret_pause) : drop(s, n);
	if (!s->closing)
		settle(s);
	return used;
}

/* ---- the command ---- */

static enum smtp_chunk_place place_of(const struct session *s)
{
	const struct txn *t = s->txn;

	if (t == NULL)
		return SMTP_CHUNK_NO_MAIL;
	if (t->n_promised > 0)
		return SMTP_CHUNK_IN_PLACE;
	return t->n_refused > 0 ? SMTP_CHUNK_NOBODY : SMTP_CHUNK_NO_RCPT;
}

/* The first chunk: the server is asked before an octet is read. */
static enum step start_content(struct session *s)
{
	s->txn->chunked = true;
	s->front.state = FRONT_WAIT; /* before the answer, which may come from inside */
	txn_data(s->txn);
	return s->front.state == FRONT_WAIT ? STEP_HOLD : STEP_MORE;
}

enum step chunk_begin(struct session *s, struct str args)
{
	if (s->front.chunking == NULL)
		s->front.chunking = xcalloc(1, sizeof(*s->front.chunking));
	enum smtp_chunk_step step = smtp_chunks_begin(&s->front.chunking->chunks, args, place_of(s));

	if (step == SMTP_CHUNK_CLOSE) {
		const struct smtp_refusal *why = &s->front.chunking->chunks.why;
		session_reject(s, REJECT_SYNTAX);
		session_reply(s, why->code, why->enhanced, "%s", why->text);
		session_close(s, CLOSE_OUT_OF_STEP);
		return STEP_DONE;
	}
	s->front.chunking->since_ms = s->front.chunking->fed_ms = loop_now_ms(s->w->loop);
	s->front.chunking->size = s->front.chunking->chunks.left;
	bool next = s->txn != NULL && s->txn->chunked;
	s->front.chunking->pause_us = next ? loop_now_us(s->w->loop) - s->front.chunking->answered_us : 0;
	if (step == SMTP_CHUNK_TAKE && !s->txn->chunked)
		return start_content(s);
	if (step == SMTP_CHUNK_TAKE)
		relay_grant_pace(s->txn); /* the time between chunks was not the body's */
	front_start_chunk(s);
	settle(s);
	return s->closing ? STEP_DONE : STEP_MORE;
}

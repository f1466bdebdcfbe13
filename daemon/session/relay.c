/* SPDX-License-Identifier: Apache-2.0
 * Content: from the client, through the end-of-data scanner, to the server and into the replay buffer.
 *
 * The hard thing is order under back-pressure and failure: bytes are scanned once, in the client's order, and what
 * leaves the scanner goes to the replay buffer (while it holds everything) and to the connection, in one form whatever
 * the server gets (back_content.h). The end, the final dot or BDAT with LAST, is given only by give_dot(), only when
 * the scanner saw the true end and nothing was found wrong.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/session/back_content.h"
#include "daemon/session/chunk.h"
#include "daemon/session/front.h"
#include "daemon/session/txn_server.h"

#define REPLAY_FIRST (8 * 1024)
#define HOPS_MAX 100 /* RFC 5321 6.3: "at least 100" Received fields before a loop is presumed */
#define RATE_WINDOW_MS 10000
#define DRAIN_MAX (1ull << 30)    /* the size cap as far as draining goes, where there is none */
#define DRAIN_EXTRA (16ull << 20) /* how much beyond the size cap is read and dropped before the session ends */

/* ---- the replay buffer ---- */

void relay_drop_replay(struct txn *t)
{
	t->replay_whole = false;
	sbuf_fini(&t->replay);
	engine_replay_give(t->s->w->engine, t->replay_taken);
	t->replay_taken = 0;
}

static void replay_add(struct txn *t, const char *p, size_t n)
{
	if (!t->replay_whole)
		return;
	size_t need = t->replay.n + n + 1;
	if (need > t->pool->config->retry.replay_buffer) {
		relay_drop_replay(t);
		return;
	}
	if (need > t->replay_taken) {
		uint64_t want = t->replay_taken == 0 ? REPLAY_FIRST : t->replay_taken;
		while (want < need)
			want *= 2;
		if (!engine_replay_take(t->s->w->engine, want - t->replay_taken)) {
			relay_drop_replay(t);
			return;
		}
		t->replay_taken = want;
		sbuf_reserve(&t->replay, want - t->replay.n - 1);
	}
	sbuf_add(&t->replay, p, n);
}

/* ---- to the server ---- */

static void give(struct txn *t, const char *p, size_t n)
{
	t->sent += n;
	back_content_put(t->back, p, n);
}

static void emit(const char *p, size_t n, void *arg)
{
	struct txn *t = arg;

	if (t->state != TXN_BODY || n == 0)
		return; /* draining: only the end is looked for */
	replay_add(t, p, n);
	give(t, p, n);
}

/* The content is complete and good: from here on the client only waits. */
static void give_dot(struct txn *t)
{
	ASSERT(t->state == TXN_BODY && t->eod && t->outcome.code == 0);
	if (!t->client_gone)
		front_set_dot(t->s);
	if (!back_content_may_end(t->back))
		return; /* relay_on_chunk() comes */
	t->state = TXN_DOT;
	back_content_end(t->back);
}

/* What the client has sent so far may leave, as far as it is worth it. */
static void push(struct txn *t)
{
	back_content_push(t->back);
	back_body_progress(t->back);
}

static void trace_body(struct txn *t, size_t n)
{
	char text[48];

	if (!session_tracing(t->s))
		return;
	int len = snprintf(text, sizeof(text), "(%zu bytes of content)", n);
	session_trace(t->s, 'C', text, (size_t)len);
}

/* ---- what may be wrong with content ---- */

static bool size_is_over(const struct txn *t)
{
	uint64_t cap = t->s->lv->config->caps.message_size;
	uint64_t server =
		t->back != NULL && t->back->exts & SMTP_EXT_SIZE && t->back->size > 0 ? t->back->size : UNLIMITED;

	return t->scan.content > cap || t->scan.content > server;
}

static void refuse(struct txn *t, enum reject_reason why, unsigned code, const char *enhanced, const char *text,
		   enum txn_cause cause)
{
	session_reject(t->s, why);
	t->last_code = code;
	txn_decide(t, code, enhanced, text, cause);
}

/* Looks at what the scanner has seen so far; a finding ends the connection to the server without its dot. */
static void judge(struct txn *t)
{
	bool strict = t->s->lv->config->line_endings == LINE_ENDINGS_REJECT;

	if (t->state != TXN_BODY)
		return;
	if (t->scan.saw_nul)
		refuse(t, REJECT_LINE_ENDINGS, 550, "5.6.11", "NUL bytes are not accepted in mail", CAUSE_LINE_ENDINGS);
	else if (strict && (t->scan.saw_bare_cr || t->scan.saw_bare_lf))
		refuse(t, REJECT_LINE_ENDINGS, 550, "5.6.11", "bare CR or LF in the message; lines end in CRLF",
		       CAUSE_LINE_ENDINGS);
	else if (size_is_over(t))
		refuse(t, REJECT_SIZE, 552, "5.3.4", "message too big", CAUSE_SIZE);
	else if (t->hops.count >= HOPS_MAX)
		refuse(t, REJECT_ROUTE, 554, "5.4.6", "too many hops: a mail loop", CAUSE_LOOP);
}

/* ---- from the client ---- */

/* Silence is bounded by `body`, a trickle by the minimum rate: the latter is looked at when bytes come, over windows of
 * at least RATE_WINDOW_MS, so that a pause followed by a burst is no offence. False: too slow. */
static bool keep_pace(struct txn *t, size_t n)
{
	uint64_t rate = t->s->lv->config->caps.min_data_rate;
	int64_t now = loop_now_ms(t->s->w->loop), window = now - t->rate_since_ms;

	t->last_data_ms = now;
	t->rate_bytes += n;
	if (window < RATE_WINDOW_MS)
		return true;
	bool ok = rate == UNLIMITED || t->rate_bytes * 1000 / (uint64_t)window >= rate;
	t->rate_since_ms = now;
	t->rate_bytes = 0;
	return ok;
}

int64_t relay_deadline_ms(const struct txn *t)
{
	return t->last_data_ms + t->s->lv->config->timeouts.body_ms;
}

void relay_grant_pace(struct txn *t)
{
	t->last_data_ms = t->rate_since_ms = loop_now_ms(t->s->w->loop);
	t->rate_bytes = 0;
}

/* The client may send on. */
static void go_on(struct txn *t)
{
	if (t->chunked)
		chunk_go_on(t->s);
	else
		front_resume(t->s);
}

void relay_begin_drain(struct txn *t)
{
	relay_drop_replay(t);
	relay_grant_pace(t);
	go_on(t);
}

static void put_received(struct txn *t)
{
	struct sbuf field = { 0 };

	if (!t->received_due || t->state != TXN_BODY)
		return;
	t->received_due = false;
	received_field(t, &field);
	emit(field.p, field.n, t);
	sbuf_fini(&field);
}

static bool must_pause(struct txn *t)
{
	if (t->state == TXN_DRAIN)
		return false;
	if (t->state != TXN_BODY)
		return true; /* another server is being sought */
	return !back_content_takes(t->back);
}

uint64_t relay_drain_max(const struct session *s)
{
	uint64_t cap = s->lv->config->caps.message_size;

	return (cap < DRAIN_MAX ? cap : DRAIN_MAX) + DRAIN_EXTRA;
}

static size_t drain(struct txn *t, const char *p, size_t n)
{
	size_t used = smtp_eod_feed(&t->scan, p, n, emit, t);

	t->drained += used;
	if (t->scan.done) {
		t->eod = true;
		txn_say_outcome(t);
	} else if (t->drained > relay_drain_max(t->s)) {
		session_close(t->s, CLOSE_TOO_BIG);
	}
	return used;
}

size_t relay_feed(struct txn *t, const char *p, size_t n, bool *ret_pause)
{
	CHECK_OBJ(t, TXN_MAGIC);
	*ret_pause = must_pause(t);
	if (*ret_pause)
		return 0;
	trace_body(t, n);
	if (!keep_pace(t, n)) {
		session_close(t->s, CLOSE_TOO_SLOW);
		return n;
	}
	if (t->state == TXN_DRAIN)
		return drain(t, p, n);
	put_received(t);
	if (received_wanted(t))
		smtp_hops_feed(&t->hops, p, n);
	size_t used = smtp_eod_feed(&t->scan, p, n, emit, t);
	t->eod = t->scan.done;
	judge(t);
	if (t->state == TXN_BODY) {
		if (t->eod)
			give_dot(t);
		else
			push(t);
	}
	return used;
}

void relay_finish(struct txn *t)
{
	ASSERT(t->state == TXN_BODY && t->chunked);
	put_received(t);
	smtp_eod_finish(&t->scan, emit, t);
	t->eod = true;
	judge(t);
	if (t->state == TXN_BODY)
		give_dot(t);
}

/* ---- from the server ---- */

void relay_expect(struct txn *t)
{
	bool normalize = t->s->lv->config->line_endings == LINE_ENDINGS_NORMALIZE;

	smtp_eod_init_pair(&t->scan, normalize, t->chunked ? SMTP_BY_BDAT : SMTP_BY_DATA, SMTP_BY_DATA);
}

static void start_first(struct txn *t)
{
	t->received_due = received_wanted(t);
	t->data_promised = true;
	relay_grant_pace(t);
	if (t->chunked)
		go_on(t);
	else
		front_start_body(t->s);
}

void relay_start(struct txn *t)
{
	if (!t->data_promised) {
		start_first(t);
		return;
	}
	/* Another server: it gets what the client has sent so far, then the rest as it comes. */
	if (t->replay.n > 0)
		give(t, t->replay.p, t->replay.n);
	relay_grant_pace(t);
	if (t->eod) {
		give_dot(t);
		return;
	}
	push(t);
	go_on(t);
}

void relay_drained(struct txn *t)
{
	if (t->state != TXN_BODY || t->eod)
		return;
	back_body_progress(t->back);
	relay_grant_pace(t);
	go_on(t);
}

void relay_on_chunk(struct txn *t)
{
	if (t->state != TXN_BODY)
		return;
	if (t->eod) {
		give_dot(t);
		return;
	}
	push(t);
	if (!t->s->front.st.paused)
		return;
	relay_grant_pace(t);
	go_on(t);
}

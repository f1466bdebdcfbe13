/* SPDX-License-Identifier: Apache-2.0
 * The leg on which we are the server: cutting lines, pipelining, deadlines.
 *
 * The hard thing is pipelining: bytes of later commands are there while an earlier one waits for the server. A command
 * that cannot run yet is left in the stream and offered again; so the order of replies is the order of commands by
 * construction.
 */
#include "daemon/session/front.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/pool/self.h"
#include "daemon/session/chunk.h"
#include "daemon/session/front_auth.h"
#include "daemon/session/txn.h"
#include "daemon/smtp/sasl.h"

#define LINES_PER_TURN 64      /* one client's pipeline must not hold up the others of its worker */
#define UNREAD_MAX (32 * 1024) /* replies queued for a client that does not read */

/* ---- replies ---- */

void front_relay(struct session *s, const char *p, size_t n)
{
	session_trace(s, 'c', p, n);
	stream_put(&s->front.st, p, n);
}

void front_relay_secret(struct session *s, const char *shown, const char *p, size_t n)
{
	session_trace(s, 'c', shown, strlen(shown));
	stream_put(&s->front.st, p, n);
}

static size_t put_text(char *out, size_t cap, const char *text)
{
	size_t n = strlen(text);

	n = n < cap ? n : cap;
	memcpy(out, text, n);
	return n;
}

void session_reply(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...)
{
	/* RFC 5321 4.5.3.1.5: 512 octets with CRLF; the id, which a postmaster looks for in the log, must still fit. */
	enum { TEXT_MAX = 400 };
	char line[512], id[SESSION_ID_MAX];
	va_list ap;
	size_t n = 4;

	line[0] = (char)('0' + code / 100);
	line[1] = (char)('0' + code / 10 % 10);
	line[2] = (char)('0' + code % 10);
	line[3] = ' ';
	if (enhanced[0] != '\0') {
		n += put_text(line + n, TEXT_MAX - n, enhanced);
		line[n++] = ' ';
	}
	va_start(ap, fmt);
	int more = vsnprintf(line + n, TEXT_MAX - n, fmt, ap);
	va_end(ap);
	n = n + (size_t)more < TEXT_MAX ? n + (size_t)more : TEXT_MAX - 1;
	if (code >= 400)
		n += (size_t)snprintf(line + n, sizeof(line) - n, " [%s]", session_id(s, id));
	n += put_text(line + n, sizeof(line) - n, "\r\n");
	front_relay(s, line, n);
}

/* The enhanced code at the start of a reply's text (RFC 2034 4); empty where there is none. */
static struct str enhanced_of(struct str reply)
{
	struct str none = { "", 0 };

	if (reply.n < 10 || reply.p[4] != reply.p[0] || reply.p[5] != '.')
		return none;
	size_t n = 4;
	while (n < reply.n && ((reply.p[n] >= '0' && reply.p[n] <= '9') || reply.p[n] == '.'))
		n++;
	return n < 16 && n < reply.n && reply.p[n] == ' ' ? (struct str) { reply.p + 4, n - 4 } : none;
}

static void relay_lines(struct session *s, struct str reply)
{
	struct sbuf folded = { 0 };

	if (smtp_reply_is_long(reply)) {
		smtp_reply_fold(reply, &folded);
		reply = (struct str) { folded.p, folded.n };
	}
	front_relay(s, reply.p, reply.n);
	sbuf_fini(&folded);
}

void session_relay_text(struct session *s, struct str reply)
{
	char enhanced[16];

	if (!s->lv->config->mask_backend) {
		relay_lines(s, reply);
		return;
	}
	unsigned code =
		(unsigned)(reply.p[0] - '0') * 100 + (unsigned)(reply.p[1] - '0') * 10 + (unsigned)(reply.p[2] - '0');
	struct str own = enhanced_of(reply);
	snprintf(enhanced, sizeof(enhanced), "%.*s", STR_ARG(own));
	session_reply(s, code, enhanced, "%s", code < 400 ? "ok" : code < 500 ? "try again later" : "refused");
}

/* ---- deadlines ---- */

/* A command line must be complete within its time, counted from its first byte; between commands the idle time counts.
 */
static int64_t command_deadline_ms(const struct session *s)
{
	const struct front *f = &s->front;
	const struct listener_timeouts *cf = &s->lv->config->timeouts;

	return f->partial ? f->line_since_ms + cf->command_ms : f->idle_since_ms + cf->idle_ms;
}

static int64_t content_deadline_ms(const struct session *s)
{
	return s->front.state == FRONT_CHUNK ? chunk_deadline_ms(s) : relay_deadline_ms(s->txn);
}

static void arm(struct session *s)
{
	struct front *f = &s->front;

	switch ((enum front_state)f->state) {
	case FRONT_COMMAND:
		f->idle_since_ms = loop_now_ms(s->w->loop);
		timer_set(s->w->loop, &f->timer, f->ending ? f->idle_since_ms : command_deadline_ms(s));
		break;
	case FRONT_BODY:
	case FRONT_CHUNK:
		timer_set(s->w->loop, &f->timer, content_deadline_ms(s));
		break;
	default:
		timer_stop(&f->timer); /* the transaction's own deadlines count */
		break;
	}
}

static void set_state(struct session *s, enum front_state state)
{
	s->front.state = (uint8_t)state;
	stream_read_bulk(&s->front.st, state == FRONT_BODY || state == FRONT_CHUNK);
	arm(s);
}

static void on_body_timer(struct session *s)
{
	struct front *f = &s->front;
	int64_t deadline = content_deadline_ms(s), now = loop_now_ms(s->w->loop);

	if (f->st.paused) /* we are the ones who wait, under the server's deadline */
		timer_set(s->w->loop, &f->timer, now + s->lv->config->timeouts.body_ms);
	else if (now < deadline)
		timer_set(s->w->loop, &f->timer, deadline);
	else
		session_close(s, CLOSE_BODY_TIMEOUT);
}

static void on_command_timer(struct session *s)
{
	struct front *f = &s->front;
	int64_t now = loop_now_ms(s->w->loop);

	f->ending = false;
	if (!session_at_edge(s))
		return;
	/* Bytes that are there and were not looked at are no silence; nor is the wait for a verdict. */
	if (f->st.offer_due || txn_pending(s->txn) > 0 || now < command_deadline_ms(s))
		arm(s);
	else
		session_close(s, f->partial ? CLOSE_COMMAND_TIMEOUT : CLOSE_IDLE);
}

static void greet(struct session *s)
{
	s->front.spoke = true;
	session_reply(s, 220, "", "%s ESMTP Postroad %s", s->lv->config->hostname, self_token());
	set_state(s, FRONT_COMMAND);
}

static void on_timer(void *arg)
{
	struct session *s = arg;

	CHECK_OBJ(s, SESSION_MAGIC);
	if (s->front.state == FRONT_TLS)
		session_close(s, CLOSE_TLS_TIMEOUT);
	else if (s->front.state == FRONT_AUTH)
		session_close(s, CLOSE_COMMAND_TIMEOUT);
	else if (s->front.state == FRONT_GREETING && session_at_edge(s))
		greet(s);
	else if (s->front.state == FRONT_BODY || s->front.state == FRONT_CHUNK)
		on_body_timer(s);
	else if (s->front.state == FRONT_COMMAND)
		on_command_timer(s);
}

void front_start_body(struct session *s)
{
	session_reply(s, 354, "", "end data with <CR><LF>.<CR><LF>");
	set_state(s, FRONT_BODY);
	front_resume(s);
}

void front_start_chunk(struct session *s)
{
	set_state(s, FRONT_CHUNK);
}

void front_set_dot(struct session *s)
{
	set_state(s, FRONT_DOT);
	front_pause(s);
}

void front_set_command(struct session *s)
{
	set_state(s, FRONT_COMMAND);
	front_resume(s);
}

/* Each line of the exchange has the time of a command. */
void front_set_auth(struct session *s)
{
	set_state(s, FRONT_AUTH);
	timer_set_in(s->w->loop, &s->front.timer, s->lv->config->timeouts.command_ms);
	front_resume(s);
}

void front_set_auth_wait(struct session *s)
{
	set_state(s, FRONT_AUTH_WAIT);
	front_pause(s);
}

void front_pause(struct session *s)
{
	stream_pause(&s->front.st);
}

void front_resume(struct session *s)
{
	stream_resume(&s->front.st);
}

void front_go_on(struct session *s)
{
	if (!s->front.partial)
		arm(s);
	front_resume(s);
}

void front_end_soon(struct session *s)
{
	s->front.ending = true; /* for arm(), which may still come in this turn */
	timer_set_in(s->w->loop, &s->front.timer, 0);
}

bool front_count_error(struct session *s)
{
	if (++s->front.errors < s->lv->config->caps.errors)
		return true;
	session_close(s, CLOSE_ERRORS);
	return false;
}

/* ---- lines ---- */

static bool is_bdat(struct str line)
{
	struct smtp_command c;

	smtp_command_parse(line, &c);
	return c.verb == SMTP_BDAT;
}

static enum step bad_line(struct session *s, struct str line, enum reject_reason why, const char *text)
{
	if (txn_pending(s->txn) > 0)
		return STEP_WAIT; /* replies keep their order */
	session_reject(s, why);
	session_reply(s, 500, "5.5.2", "%s", text);
	if (is_bdat(line)) {
		session_close(s, CLOSE_OUT_OF_STEP); /* its octets would be taken for commands */
		return STEP_DONE;
	}
	return front_count_error(s) ? STEP_MORE : STEP_DONE;
}

/* The rest of a line that was too long. */
static size_t discard(struct session *s, const char *p, size_t n)
{
	const char *lf = memchr(p, '\n', n);

	if (lf == NULL)
		return n;
	s->front.discarding = s->front.partial = false;
	return (size_t)(lf - p) + 1;
}

static void note_partial(struct session *s)
{
	struct front *f = &s->front;

	if (f->partial)
		return;
	f->partial = true;
	f->line_since_ms = loop_now_ms(s->w->loop);
	arm(s);
}

/* The loop's memory, in which a login was read, is everybody's. */
static void wipe(const char *p, size_t n)
{
	OPENSSL_cleanse((void *)(uintptr_t)p, n);
}

/* One line; *ret_used bytes are done with. */
static enum step one_line(struct session *s, const char *p, size_t n, size_t *ret_used)
{
	struct str line;
	size_t len;
	enum step step = STEP_MORE;

	*ret_used = 0;
	if (s->front.discarding) {
		*ret_used = discard(s, p, n);
		return STEP_MORE;
	}
	enum smtp_line_status status = smtp_line(p, n, SMTP_LINE_MAX, &len, &line);
	if (status == SMTP_LINE_MORE) {
		note_partial(s);
		return STEP_MORE;
	}
	s->front.partial = false;
	switch (status) {
	case SMTP_LINE_MORE:
	case SMTP_LINE_OK:
		s->front.rest = n - len;
		step = front_command(s, line);
		if (s->front.after_auth && step != STEP_WAIT)
			wipe(p, len);
		break;
	case SMTP_LINE_BARE_LF:
		step = bad_line(s, line, REJECT_BARE_LF, "lines must end in CRLF");
		break;
	case SMTP_LINE_BAD_BYTE:
		step = bad_line(s, line, REJECT_BARE_LF, "CR or NUL inside a command line");
		break;
	case SMTP_LINE_TOO_LONG:
		step = bad_line(s, (struct str) { p, len }, REJECT_LINE_TOO_LONG, "line too long");
		s->front.discarding = step == STEP_MORE && p[len - 1] != '\n';
		if (s->front.discarding)
			note_partial(s); /* an endless line is a slow command: its deadline goes on */
		break;
	}
	if (step != STEP_WAIT)
		*ret_used = len;
	return step;
}

/* A client that sends and never reads: its commands wait until it has taken the replies. */
static bool is_deaf(struct session *s)
{
	struct stream *st = &s->front.st;

	if (stream_queued(st) < UNREAD_MAX)
		return false;
	stream_flush(st);
	if (stream_queued(st) < UNREAD_MAX)
		return false;
	stream_notify_drained(st);
	front_pause(s);
	s->front.partial = false; /* it is not the line that is slow, but the reader: the idle time counts */
	arm(s);
	return true;
}

static size_t on_commands(struct session *s, const char *p, size_t n)
{
	size_t used = 0, len;
	unsigned lines = 0;

	while (used < n && s->front.state == FRONT_COMMAND && !is_deaf(s)) {
		if (++lines > LINES_PER_TURN) {
			s->front.yielding = true;
			stream_yield(&s->front.st);
			return used;
		}
		switch (one_line(s, p + used, n - used, &len)) {
		case STEP_WAIT:
			front_pause(s);
			return used;
		case STEP_HOLD:
			set_state(s, FRONT_WAIT);
			front_pause(s);
			return used + len;
		case STEP_DONE:
			return used + len;
		case STEP_MORE:
			break;
		}
		if (len == 0)
			return used;
		used += len;
	}
	return used;
}

/* A line of an AUTH exchange (RFC 4954 4): longer than a command may be, and never a command. */
static size_t on_auth(struct session *s, const char *p, size_t n)
{
	struct str line;
	size_t len;

	switch (smtp_line(p, n, SASL_LINE_MAX, &len, &line)) {
	case SMTP_LINE_MORE:
		return 0;
	case SMTP_LINE_OK:
		front_auth_line(s, line);
		wipe(p, len);
		return len;
	case SMTP_LINE_BARE_LF:
	case SMTP_LINE_BAD_BYTE:
	case SMTP_LINE_TOO_LONG:
		break;
	}
	wipe(p, n);
	session_reject(s, REJECT_LINE_TOO_LONG);
	session_close(s, CLOSE_AUTH_LINE); /* what follows cannot be told from commands */
	return n;
}

static size_t on_body(struct session *s, const char *p, size_t n)
{
	bool pause;
	size_t used = s->front.state == FRONT_CHUNK ? chunk_feed(s, p, n, &pause) : relay_feed(s->txn, p, n, &pause);

	if (pause)
		front_pause(s);
	return used;
}

/* ---- stream events ---- */

static size_t on_data(struct stream *st, const char *p, size_t n, void *owner)
{
	struct session *s = owner;
	size_t used = 0, step;

	CHECK_OBJ(s, SESSION_MAGIC);
	s->front.yielding = false;
	if (s->front.state == FRONT_GREETING) {
		session_reject(s, REJECT_EARLY_TALKER);
		session_close(s, CLOSE_EARLY);
		return n;
	}
	do {
		if (s->front.state == FRONT_COMMAND)
			step = on_commands(s, p + used, n - used);
		else if (s->front.state == FRONT_AUTH)
			step = on_auth(s, p + used, n - used);
		else if (s->front.state == FRONT_BODY || s->front.state == FRONT_CHUNK)
			step = on_body(s, p + used, n - used);
		else
			step = 0;
		used += step;
	} while (step > 0 && used < n && stream_is_open(st) && !st->paused && !s->front.yielding);
	if (stream_is_open(st) && s->front.state == FRONT_COMMAND && used == n && !st->paused)
		arm(s);
	else if (s->front.state == FRONT_WAIT || s->front.state == FRONT_DOT || s->front.state == FRONT_AUTH_WAIT)
		front_pause(s);
	return stream_is_open(st) ? used : n;
}

static void on_drained(struct stream *st, void *owner)
{
	UNUSED(st);
	session_go_on(owner);
}

static void on_gone(struct stream *st, int err, void *owner)
{
	struct session *s = owner;

	UNUSED(st);
	UNUSED(err);
	CHECK_OBJ(s, SESSION_MAGIC);
	session_close(s, s->front.state == FRONT_TLS ? CLOSE_TLS_FAILED : CLOSE_CLIENT_GONE);
}

static void on_tls(struct stream *st, void *owner)
{
	struct session *s = owner;

	UNUSED(st);
	CHECK_OBJ(s, SESSION_MAGIC);
	front_on_tls(s);
}

static const struct stream_ops front_stream_ops = { NULL, on_data, on_drained, on_gone, on_tls };

void front_greet(struct session *s)
{
	/* After a handshake the client's turn has come and gone: what it says now, it says early all the same. */
	if (s->lv->config->greeting_delay_ms == 0 || s->counted == NULL) {
		greet(s);
		return;
	}
	s->front.state = FRONT_GREETING;
	timer_set_in(s->w->loop, &s->front.timer, s->lv->config->greeting_delay_ms);
}

void front_start(struct session *s, int fd)
{
	struct front *f = &s->front;

	stream_open(&f->st, s->w->loop, fd, &front_stream_ops, s);
	timer_init(&f->timer, on_timer, s);
	if (s->lv->config->tls.mode == LISTENER_TLS_IMPLICIT && !front_start_tls(s, STREAM_TLS_IMPLICIT))
		session_close(s, CLOSE_TLS_FAILED);
	else if (s->lv->config->tls.mode != LISTENER_TLS_IMPLICIT)
		front_greet(s);
}

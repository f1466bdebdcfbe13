/* SPDX-License-Identifier: Apache-2.0
 * The leg on which we are the client: opening, greeting, the dues, and how it ends.
 *
 * The hard thing: a connection may die at any byte, and its borrower must learn it exactly once, with the stage. All
 * ends go through fail() (the borrower is told) or back_drop() (it is not); both leave the struct alive to the end of
 * the loop turn.
 */
#include "daemon/session/back.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/pool/mechanisms.h"
#include "daemon/pool/self.h"
#include "daemon/session/back_idle.h"
#include "daemon/session/back_pin.h"
#include "daemon/session/front_pass.h"
#include "daemon/net/handshakes.h"
#include "daemon/session/identity.h"
#include "daemon/session/txn.h"

/* ---- small facts ---- */

static const struct back_timeouts *timeouts(const struct back *b)
{
	return &b->pool->config->timeouts;
}

static int64_t due_timeout(const struct back *b, enum due_kind kind)
{
	const struct back_timeouts *t = timeouts(b);

	switch (kind) {
	case DUE_MAIL:
	case DUE_XFORWARD:
		return t->mail_ms;
	case DUE_RCPT:
		return t->rcpt_ms;
	case DUE_DATA:
		return t->data_ms;
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

static enum reply_stage due_stage(enum due_kind kind)
{
	static const enum reply_stage stage[DUE_KIND_COUNT] = { STAGE_MAIL, STAGE_RCPT, STAGE_DATA, STAGE_DOT,
								STAGE_MAIL, STAGE_MAIL, STAGE_EHLO };

	return stage[kind];
}

const struct due *back_due(const struct back *b)
{
	return b->due_n > 0 ? &b->dues[b->due_at] : NULL;
}

/* Where the conversation stands: the stage at which a failure now would happen. */
static enum reply_stage stage_of(const struct back *b)
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
		return due_stage(back_due(b)->kind);
	return b->body_open ? STAGE_DATA : STAGE_RCPT;
}

static struct session *session_of(const struct back *b)
{
	if (b->txn != NULL)
		return b->txn->s;
	return b->pass != NULL ? front_pass_session(b->pass) : b->session;
}

static void trace(const struct back *b, char side, const char *p, size_t n)
{
	struct session *s = session_of(b);

	if (s != NULL && session_tracing(s))
		session_trace(s, side, p, n);
}

static void set_state(struct back *b, enum back_state state, int64_t timeout_ms)
{
	b->state = (uint8_t)state;
	b->since_us = loop_now_us(b->w->loop);
	timer_set_in(b->w->loop, &b->timer, timeout_ms);
}

static void send_line(struct back *b, const char *line, size_t n)
{
	trace(b, 'b', line, n);
	stream_put(&b->st, line, n);
}

void back_say(struct back *b, const char *line, size_t n)
{
	send_line(b, line, n);
}

/* ---- the end ---- */

static void free_back(void *arg)
{
	struct back *b = arg;

	free(b->helo);
	free(b->error);
	sbuf_fini(&b->commands);
	FREE_OBJ(b);
}

/* Closes and gives up everything; the borrower is not told. */
static void end(struct back *b)
{
	if (b->state == BACK_NONE)
		return;
	b->state = BACK_NONE;
	list_remove(&b->link);
	back_idle_leave(b);
	back_unpin(b);
	b->resting = false;
	timer_stop(&b->timer);
	metrics_add(b->w->m_bytes[1][0], b->st.bytes_in);
	metrics_add(b->w->m_bytes[1][1], b->st.bytes_out);
	stream_close(&b->st);
	b->txn = NULL;
	b->pass = NULL;
	server_slot_release(b->server);
	server_unref(b->server);
	pool_unref(b->pool);
	loop_defer(b->w->loop, free_back, b);
}

void back_drop(struct back *b)
{
	CHECK_OBJ(b, BACK_MAGIC);
	if (b->body_open || b->state == BACK_CONNECT)
		stream_abort(&b->st); /* unsent content must not reach the server as if it were whole */
	end(b);
}

static void note_standing(struct back *b)
{
	b->dot_left = b->due_n > 0 && back_due(b)->kind == DUE_DOT && back_all_sent(b);
	b->was_bored = b->state == BACK_READY && b->due_n == 0 && !b->body_open;
	b->asked_us = b->due_n > 0            ? back_due(b)->sent_us
		      : b->state < BACK_READY ? b->opened_ms * 1000
					      : loop_now_us(b->w->loop);
}

static void fail(struct back *b, enum back_trouble why, const struct smtp_reply *r)
{
	struct txn *t = b->txn;
	enum reply_stage stage = stage_of(b);

	note_standing(b);
	if (b->state == BACK_TLS) {
		handshakes_failed(HANDSHAKE_SERVER);
		if (b->error == NULL && stream_tls_error(&b->st) != NULL)
			b->error = xstrdup(stream_tls_error(&b->st));
	}
	if (b->pass != NULL) {
		struct front_pass *pass = b->pass;
		back_drop(b);
		front_pass_on_failed(pass, stage, why, r);
		return;
	}
	if (t == NULL) {
		back_drop(b);
		return;
	}
	/* The borrower still sees b (dot_left, reused); it is freed at the end of the turn. */
	b->txn = NULL;
	back_drop(b);
	txn_on_back_failed(t, stage, why, r);
}

void back_quit(struct back *b)
{
	b->txn = NULL;
	b->pass = NULL;
	back_idle_leave(b);
	b->resting = false;
	if (b->body_open || b->due_n > 0 || b->state < BACK_READY) {
		back_drop(b);
		return;
	}
	send_line(b, "QUIT\r\n", 6);
	back_unpin(b); /* from here on it serves nobody */
	set_state(b, BACK_QUIT, timeouts(b)->quit_ms);
}

/* ---- replies ---- */

static void observe(struct back *b, enum reply_stage stage, const struct smtp_reply *r, int64_t since_us)
{
	int64_t took = loop_now_us(b->w->loop) - since_us;

	metrics_observe(b->pool->series.reply_seconds[stage], took > 0 ? (uint64_t)took : 0);
	if (r != NULL)
		metrics_add(b->server->m_replies[stage][r->code / 100 - 2], 1);
}

static void say_hello(struct back *b, const char *verb, enum back_state state)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "%s %s\r\n", verb, b->helo);

	send_line(b, line, (size_t)n);
	set_state(b, state, timeouts(b)->ehlo_ms);
}

/* `force` is about what clients are offered; a server is never sent what it did not announce. */
static void use_exts(struct back *b)
{
	b->exts = b->announced & ~b->pool->config->caps_off;
}

static void become_ready(struct back *b)
{
	use_exts(b);
	b->state = BACK_READY;
	timer_stop(&b->timer);
	if (b->pass != NULL)
		front_pass_on_ready(b->pass);
	else if (b->txn != NULL)
		txn_on_ready(b->txn);
	else
		back_return(b);
}

/* ---- TLS (RFC 3207, RFC 8314) ---- */

static void start_tls(struct back *b, enum stream_tls_when when)
{
	const struct pool_config *cf = b->pool->config;

	set_state(b, BACK_TLS, cf->timeouts.tls_ms);
	if (stream_tls_client(&b->st, cf->tls.client, &b->server->addr, pool_tls_name(cf, b->server), when))
		return;
	/* Whatever it said behind its 220 would pass for protected. */
	b->error = xstrdup("plaintext behind the start of TLS");
	fail(b, BACK_TLS_FAILED, NULL);
}

static void ask_for_tls(struct back *b)
{
	send_line(b, "STARTTLS\r\n", 10);
	set_state(b, BACK_STARTTLS, timeouts(b)->ehlo_ms);
}

static void on_tls(struct stream *st, void *owner)
{
	struct back *b = owner;
	struct stream_tls_info info;

	CHECK_OBJ(b, BACK_MAGIC);
	if (!stream_tls_info(st, &info))
		return;
	handshakes_succeeded(HANDSHAKE_SERVER, &info);
	b->secure = true;
	if (b->spoke)
		say_hello(b, "EHLO", BACK_EHLO); /* what it said before counts for nothing */
	else
		set_state(b, BACK_BANNER, timeouts(b)->banner_ms);
}

/* ---- greeting ---- */

bool back_is_verdict(const struct back *b, enum reply_stage stage, const struct smtp_reply *r)
{
	if (!b->told || r->code < 400 || (r->enhanced[0] != 0 && r->enhanced[1] == 3))
		return false;
	return stage <= STAGE_EHLO || (r->enhanced[0] != 0 && r->enhanced[1] == 7);
}

/* The server, or what it was told, is refused. */
static void said_no(struct back *b, const struct smtp_reply *r)
{
	bool header = b->pool->config->identity.proxy != IDENTITY_PROXY_NONE && b->state == BACK_EHLO;

	if (header && !b->introduced && r->code >= 500 && r->code <= 503) {
		fail(b, BACK_MALFORMED, r); /* it took the PROXY header for a command: its answers are out of step */
		return;
	}
	fail(b, back_is_verdict(b, stage_of(b), r) ? BACK_VERDICT : BACK_SAID_NO, r);
}

static void on_banner(struct back *b, const struct smtp_reply *r)
{
	b->spoke = true;
	observe(b, STAGE_BANNER, r, b->since_us);
	if (!smtp_reply_is(r, 2))
		said_no(b, r);
	else if (self_greets(r->text))
		fail(b, BACK_LOOP, NULL);
	else
		say_hello(b, "EHLO", BACK_EHLO);
}

/* ---- our own login (RFC 4954) ---- */

static void send_login(struct back *b, struct sbuf *line)
{
	static const char shown[] = "(our login, not shown)";

	trace(b, 'b', shown, sizeof(shown) - 1);
	stream_put(&b->st, line->p, line->n);
	OPENSSL_cleanse(line->p, line->n);
	sbuf_fini(line);
	set_state(b, BACK_AUTH, timeouts(b)->ehlo_ms);
}

static void log_in(struct back *b)
{
	const struct pool_auth_config *cf = &b->pool->config->auth;
	const char *why = pool_auth_hindrance(cf, &b->server->addr, b->secure, b->mechanisms);
	struct sbuf line = { 0 };

	if (why != NULL) {
		b->error = xstrdup(why);
		fail(b, BACK_AUTH_FAILED, NULL);
		return;
	}
	pool_auth_begin(cf, &b->sasl);
	sasl_client_start(&b->sasl, &line);
	send_login(b, &line);
}

static void on_login(struct back *b, const struct smtp_reply *r)
{
	struct sbuf line = { 0 };

	switch (sasl_client_reply(&b->sasl, r, &line)) {
	case SASL_CLIENT_SEND:
		send_login(b, &line);
		break;
	case SASL_CLIENT_DONE:
		become_ready(b);
		break;
	case SASL_CLIENT_LATER:
		fail(b, BACK_SAID_NO, r);
		break;
	case SASL_CLIENT_REFUSED:
		b->error = xstrdup("the server refuses our login");
		fail(b, BACK_AUTH_FAILED, r);
		break;
	case SASL_CLIENT_BROKEN:
		fail(b, BACK_MALFORMED, NULL);
		break;
	}
}

/* Nothing more is to be agreed on but who we are. */
static void settled(struct back *b)
{
	if (b->pool->config->auth.user != NULL)
		log_in(b);
	else
		become_ready(b);
}

/* In lock-step: the next command, or EHLO again, as what was offered before is forgotten. */
static void introduce(struct back *b)
{
	if (back_xclient_next(b)) {
		set_state(b, BACK_XCLIENT, timeouts(b)->ehlo_ms);
		return;
	}
	b->introduced = true;
	if (b->told && b->commands_at > 0)
		say_hello(b, "EHLO", BACK_EHLO);
	else
		settled(b); /* there was nothing to say */
}

/* EHLO was answered, and TLS is on or given up. */
static void greeted(struct back *b)
{
	server_learn_mechanisms(b->server, b->auth_names);
	server_learn(b->server, b->announced, b->size);
	if (b->introduced || b->session == NULL || b->pool->config->identity.xclient == 0)
		settled(b);
	else if (back_xclient_make(b))
		introduce(b);
	else
		fail(b, BACK_NO_XCLIENT, NULL);
}

/* Postfix's word for a peer that may not speak for others; all else is about the client. */
static bool denies_xclient(const struct smtp_reply *r)
{
	return r->code == 550 && r->enhanced[0] == 5 && r->enhanced[1] == 7 && r->enhanced[2] == 0;
}

static void on_xclient(struct back *b, const struct smtp_reply *r)
{
	observe(b, STAGE_EHLO, r, b->since_us);
	server_xclient(b->server, denies_xclient(r));
	if (smtp_reply_is(r, 2))
		introduce(b);
	else
		said_no(b, r);
}

/* EHLO was answered without TLS where the pool wants it. */
static void in_plaintext(struct back *b, const struct smtp_ehlo *e)
{
	if (e->exts & SMTP_EXT_STARTTLS) {
		ask_for_tls(b);
	} else if (b->pool->config->tls.mode == POOL_TLS_MAY) {
		greeted(b);
	} else {
		b->error = xstrdup("the server does not offer STARTTLS");
		fail(b, BACK_TLS_FAILED, NULL);
	}
}

/* RFC 5321 3.2: a server that does not know EHLO. One that was told who the client is may mean the client. */
static bool is_old(const struct back *b, const struct smtp_reply *r)
{
	if (b->state != BACK_EHLO || !smtp_reply_is(r, 5))
		return false;
	return !b->told || (b->introduced && (r->code == 500 || r->code == 502));
}

static void on_hello(struct back *b, const struct smtp_reply *r)
{
	struct smtp_ehlo e = { 0 };

	observe(b, STAGE_EHLO, r, b->since_us);
	if (is_old(b, r)) {
		say_hello(b, "HELO", BACK_HELO); /* RFC 5321 3.2: an old server */
		return;
	}
	if (!smtp_reply_is(r, 2)) {
		said_no(b, r);
		return;
	}
	if (b->state == BACK_EHLO)
		smtp_ehlo_parse(r, &e);
	b->announced = e.exts;
	b->size = e.size;
	b->mechanisms = e.auth;
	b->auth_names = mechanisms_of(e.auth_names);
	b->xclient = e.xclient;
	b->xforward = e.xforward;
	if (b->secure || b->introduced || b->pool->config->tls.mode == POOL_TLS_NONE)
		greeted(b);
	else
		in_plaintext(b, &e);
}

/* A refusal (RFC 3207 4: 454) is about the server, whatever its enhanced code says, and where TLS is a mere wish the
 * connection goes on as it is. */
static void on_starttls(struct back *b, const struct smtp_reply *r)
{
	if (r->code == 220) {
		start_tls(b, STREAM_TLS_STARTTLS);
	} else if (smtp_reply_is_server_trouble(r)) {
		fail(b, BACK_SAID_NO, r);
	} else if (b->pool->config->tls.mode == POOL_TLS_MAY) {
		greeted(b);
	} else {
		b->error = xstrdup("the server refused STARTTLS");
		fail(b, BACK_TLS_FAILED, r);
	}
}

/* Takes the head of the dues; the next one's deadline starts now. */
static struct due pop_due(struct back *b)
{
	struct due d = b->dues[b->due_at];

	b->due_at = (b->due_at + 1) % BACK_DUES;
	b->due_n--;
	if (b->due_n > 0)
		timer_set_in(b->w->loop, &b->timer, due_timeout(b, back_due(b)->kind));
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
			fail(b, BACK_EOF, NULL); /* of a connection that has served before: stale, no failure */
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

static void on_due_reply(struct back *b, const struct smtp_reply *r)
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
	if (r->code != 421)
		b->any_reply = true;
	observe(b, due_stage(d.kind), r, d.sent_us);
	if (d.kind == DUE_DATA && r->code == 354)
		b->body_open = true;
	if (d.kind == DUE_DOT)
		b->body_open = false;
	if (r->code >= 400 && d.kind != DUE_XFORWARD)
		b->errors++;
	else if (d.kind == DUE_DOT)
		b->errors = 0;
	if (b->txn != NULL)
		txn_on_reply(b->txn, &d, r, took);
}

static void on_reply(struct back *b, const struct smtp_reply *r)
{
	if (r->code == 334)
		trace(b, 'B', "334 …\r\n", strlen("334 …\r\n"));
	else
		trace(b, 'B', r->text.p, r->text.n);
	switch (b->state) {
	case BACK_BANNER:
		on_banner(b, r);
		return;
	case BACK_EHLO:
	case BACK_HELO:
		on_hello(b, r);
		return;
	case BACK_STARTTLS:
		on_starttls(b, r);
		return;
	case BACK_AUTH:
		on_login(b, r);
		return;
	case BACK_XCLIENT:
		on_xclient(b, r);
		return;
	case BACK_QUIT:
		end(b);
		return;
	default:
		break;
	}
	/* While the dot is still in our own queue, nothing can be the answer to it. */
	bool early = b->due_n == 0 || (back_due(b)->kind == DUE_DOT && !back_all_sent(b));
	note_standing(b);
	b->dot_left = false; /* a reply is no loss */
	if (!early)
		on_due_reply(b, r);
	else if (b->txn != NULL)
		txn_on_early_reply(b->txn, r);
	else if (b->pass != NULL)
		fail(b, smtp_reply_is_server_trouble(r) ? BACK_SAID_NO : BACK_MALFORMED, r);
	else
		back_drop(b); /* an idle connection that speaks is saying good-bye */
}

/* ---- stream events ---- */

/* Before anything else, TLS included. */
static void send_proxy_header(struct back *b)
{
	char header[PROXY_SEND_MAX];
	enum identity_proxy version = b->pool->config->identity.proxy;

	if (version == IDENTITY_PROXY_NONE || b->session == NULL)
		return;
	stream_put(&b->st, header, identity_proxy(b->session, version, header));
	trace(b, 'b', "(PROXY header)", 14);
	b->told = true;
}

static void on_connected(struct stream *st, void *owner)
{
	struct back *b = owner;

	UNUSED(st);
	CHECK_OBJ(b, BACK_MAGIC);
	observe(b, STAGE_CONNECT, NULL, b->since_us);
	send_proxy_header(b);
	if (b->pool->config->tls.implicit)
		start_tls(b, STREAM_TLS_IMPLICIT);
	else
		set_state(b, BACK_BANNER, timeouts(b)->banner_ms);
}

static size_t on_data(struct stream *st, const char *p, size_t n, void *owner)
{
	struct back *b = owner;
	struct smtp_reply r;
	const char *why;
	size_t used = 0, len;

	CHECK_OBJ(b, BACK_MAGIC);
	/* What stands behind a 220 to STARTTLS is no reply: left here, it ends the connection. */
	while (used < n && stream_is_open(st) && b->state != BACK_TLS) {
		switch (smtp_reply_parse(p + used, n - used, &r, &len, &why)) {
		case SMTP_PARSE_MORE:
			return used;
		case SMTP_PARSE_BAD:
			trace(b, 'B', p + used, n - used);
			fail(b, BACK_MALFORMED, NULL);
			return n;
		case SMTP_PARSE_OK:
			break;
		}
		used += len;
		on_reply(b, &r);
	}
	return used;
}

static void on_drained(struct stream *st, void *owner)
{
	struct back *b = owner;

	UNUSED(st);
	CHECK_OBJ(b, BACK_MAGIC);
	if (b->txn != NULL)
		txn_on_back_drained(b->txn);
}

static void on_gone(struct stream *st, int err, void *owner)
{
	struct back *b = owner;

	UNUSED(st);
	UNUSED(err);
	CHECK_OBJ(b, BACK_MAGIC);
	if (b->state == BACK_QUIT)
		end(b);
	else
		fail(b,
		     b->state == BACK_CONNECT ? BACK_REFUSED
		     : b->state == BACK_TLS   ? BACK_TLS_FAILED
					      : BACK_EOF,
		     NULL);
}

static const struct stream_ops back_stream_ops = { on_connected, on_data, on_drained, on_gone, on_tls };

static void on_timer(void *arg)
{
	struct back *b = arg;

	CHECK_OBJ(b, BACK_MAGIC);
	if (b->is_idle || b->resting) {
		back_quit(b);
		return;
	}
	if (b->body_open && b->due_n == 0 && b->st.bytes_out != b->bytes_mark) {
		back_body_progress(b); /* it reads, slowly */
		return;
	}
	if (b->state == BACK_QUIT)
		end(b);
	else
		fail(b, BACK_TIMED_OUT, NULL);
}

/* ---- for the borrower ---- */

static const char *helo_name(const struct pool *p, const struct session *s)
{
	if (p->config->helo_client)
		return s->front.helo;
	return p->config->helo != NULL ? p->config->helo : s->lv->config->hostname;
}

static struct back *open_new(struct worker *w, struct pool *p, struct server *s, struct session *ses)
{
	const struct addr *source = s->addr.sa.sa_family == AF_INET6 ? &p->config->source_v6 : &p->config->source_v4;
	struct back *b;

	if (!server_slot_take(s)) {
		/* An idle connection of our own that could not be used (another name, too old) may hold a slot. */
		back_shed(w, s);
		return NULL;
	}
	NEW_OBJ(b, BACK_MAGIC);
	b->w = w;
	b->server = server_ref(s);
	b->pool = pool_ref(p);
	b->helo = xstrdup(helo_name(p, ses));
	b->opened_ms = loop_now_ms(w->loop);
	list_init(&b->idle_link);
	if (identity_pins(&p->config->identity))
		back_pin(b, ses);
	list_append(&w->backs, &b->link);
	timer_init(&b->timer, on_timer, b);
	stream_connect(&b->st, w->loop, &s->addr, source, &back_stream_ops, b);
	set_state(b, BACK_CONNECT, p->config->timeouts.connect_ms);
	return b;
}

/* From here on under the newest configuration. */
static void use_pool(struct back *b, struct pool *p)
{
	if (b->pool == p)
		return;
	pool_unref(b->pool);
	b->pool = pool_ref(p);
	use_exts(b);
}

struct back *back_borrow(struct worker *w, struct pool *p, struct server *s, struct txn *t, bool fresh_only,
			 bool *ret_ready)
{
	struct back *b = fresh_only ? NULL : back_pin_take(t->s, p, s);

	if (b == NULL && !fresh_only && !identity_pins(&p->config->identity))
		b = back_idle_take(w, s, helo_name(p, t->s), p->config);
	*ret_ready = b != NULL && b->state == BACK_READY;
	if (b == NULL)
		b = open_new(w, p, s, t->s);
	else
		use_pool(b, p);
	if (b != NULL) {
		b->txn = t;
		b->any_reply = false;
	}
	return b;
}

struct back *back_open_for_login(struct worker *w, struct pool *p, struct server *s, struct front_pass *pass)
{
	struct back *b = open_new(w, p, s, front_pass_session(pass));

	if (b != NULL)
		b->pass = pass;
	return b;
}

void back_return(struct back *b)
{
	CHECK_OBJ(b, BACK_MAGIC);
	b->txn = NULL;
	if (b->state != BACK_READY || b->body_open || b->due_n > 0 || stream_queued(&b->st) > 0)
		back_drop(b);
	else if (b->session != NULL)
		back_pin_rest(b);
	else if (back_idle_worthy(b))
		back_idle_enter(b);
	else
		back_quit(b);
}

/* The newest command is DATA or the dot: after a 354 an RSET would be content. */
static bool in_content(const struct back *b)
{
	if (b->body_open || b->due_n == 0)
		return b->body_open;
	return b->dues[(b->due_at + b->due_n - 1) % BACK_DUES].kind == DUE_DATA;
}

void back_abandon(struct back *b)
{
	CHECK_OBJ(b, BACK_MAGIC);
	b->txn = NULL;
	if (b->session != NULL && b->state == BACK_RSET)
		return; /* it was still being cleared */
	if (b->state != BACK_READY || in_content(b) || !back_may_send(b)) {
		back_drop(b);
		return;
	}
	if (b->session == NULL && !back_idle_worthy(b)) {
		back_quit(b);
		return;
	}
	b->reused = true;
	b->state = BACK_RSET;
	back_command(b, DUE_RSET, NULL, "RSET\r\n", 6);
}

void back_fini(struct worker *w)
{
	while (!list_empty(&w->backs))
		back_drop(LIST_FIRST(&w->backs, struct back, link));
	back_idle_fini(w);
}

bool back_may_send(const struct back *b)
{
	return b->due_n < BACK_DUES;
}

void back_command(struct back *b, enum due_kind kind, void *about, const char *line, size_t n)
{
	ASSERT(back_may_send(b));
	b->dues[(b->due_at + b->due_n) % BACK_DUES] =
		(struct due) { .kind = (uint8_t)kind, .sent_us = loop_now_us(b->w->loop), .about = about };
	b->due_n++;
	if (b->due_n == 1)
		timer_set_in(b->w->loop, &b->timer, due_timeout(b, kind));
	send_line(b, line, n);
}

void back_secret(struct back *b, const char *line, size_t n)
{
	static const char shown[] = "(a login, not shown)";

	ASSERT(back_may_send(b));
	b->dues[(b->due_at + b->due_n) % BACK_DUES] =
		(struct due) { .kind = DUE_AUTH, .sent_us = loop_now_us(b->w->loop) };
	b->due_n++;
	timer_set_in(b->w->loop, &b->timer, due_timeout(b, DUE_AUTH));
	trace(b, 'b', shown, sizeof(shown) - 1);
	stream_put(&b->st, line, n);
}

void back_dot(struct back *b)
{
	back_command(b, DUE_DOT, NULL, ".\r\n", 3);
}

void back_body_progress(struct back *b)
{
	if (b->due_n > 0)
		return; /* the dot is on its way: its own deadline counts */
	bool waits = stream_queued(&b->st) > 0, stands = b->timer.deadline != 0 && b->st.bytes_out == b->bytes_mark;
	b->bytes_mark = b->st.bytes_out;
	if (!waits)
		timer_stop(&b->timer);
	else if (!stands) /* what the client sends is no progress of the server */
		timer_set_in(b->w->loop, &b->timer, timeouts(b)->block_ms);
}

bool back_all_sent(const struct back *b)
{
	return stream_queued(&b->st) == 0;
}

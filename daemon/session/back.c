/* SPDX-License-Identifier: Apache-2.0
 * The leg on which we are the client: opening, lending, taking back, and how it ends.
 *
 * The hard thing: a connection may die at any byte, and its borrower must learn it exactly once, with the stage. All
 * ends go through back_fail() (the borrower is told) or back_drop() (it is not); both leave the struct alive to the end
 * of the loop turn.
 */
#include "daemon/session/back.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/session/back_greet.h"
#include "daemon/session/back_idle.h"
#include "daemon/session/back_pin.h"
#include "daemon/session/back_private.h"
#include "daemon/session/front_pass.h"
#include "daemon/net/handshakes.h"
#include "daemon/session/identity.h"
#include "daemon/session/txn.h"

static struct session *session_of(const struct back *b)
{
	if (b->txn != NULL)
		return b->txn->s;
	return b->pass != NULL ? front_pass_session(b->pass) : b->session;
}

void back_trace(const struct back *b, char side, const char *p, size_t n)
{
	struct session *s = session_of(b);

	if (s != NULL && session_tracing(s))
		session_trace(s, side, p, n);
}

void back_set_state(struct back *b, enum back_state state, int64_t timeout_ms)
{
	b->state = (uint8_t)state;
	b->since_us = loop_now_us(b->w->loop);
	timer_set_in(b->w->loop, &b->timer, timeout_ms);
}

void back_say(struct back *b, const char *line, size_t n)
{
	back_trace(b, 'b', line, n);
	stream_put(&b->st, line, n);
}

/* ---- the end ---- */

static void free_back(void *arg)
{
	struct back *b = arg;

	free(b->helo);
	free(b->error);
	sbuf_fini(&b->commands);
	sbuf_fini(&b->gathered);
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

void back_note_standing(struct back *b)
{
	b->dot_left = b->due_n > 0 && back_due(b)->kind == DUE_DOT && back_all_sent(b);
	b->was_bored = b->state == BACK_READY && b->due_n == 0 && !b->body_open;
	b->asked_us = b->due_n > 0            ? back_due(b)->sent_us
		      : b->state < BACK_READY ? b->opened_ms * 1000
					      : loop_now_us(b->w->loop);
}

void back_fail(struct back *b, enum back_trouble why, const struct smtp_reply *r)
{
	struct txn *t = b->txn;
	enum reply_stage stage = back_stage(b);

	back_note_standing(b);
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
	back_say(b, "QUIT\r\n", 6);
	back_unpin(b); /* from here on it serves nobody */
	back_set_state(b, BACK_QUIT, back_timeouts(b)->quit_ms);
}

/* ---- stream events ---- */

static void on_reply(struct back *b, const struct smtp_reply *r)
{
	if (r->code == 334)
		back_trace(b, 'B', "334 …\r\n", strlen("334 …\r\n"));
	else
		back_trace(b, 'B', r->text.p, r->text.n);
	if (back_greet_reply(b, r))
		return;
	if (b->state == BACK_QUIT)
		end(b);
	else
		back_due_reply(b, r);
}

static void on_connected(struct stream *st, void *owner)
{
	struct back *b = owner;

	UNUSED(st);
	CHECK_OBJ(b, BACK_MAGIC);
	back_greet_connected(b);
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
			back_trace(b, 'B', p + used, n - used);
			back_fail(b, BACK_MALFORMED, NULL);
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
		back_fail(b,
			  b->state == BACK_CONNECT ? BACK_REFUSED
			  : b->state == BACK_TLS   ? BACK_TLS_FAILED
						   : BACK_EOF,
			  NULL);
}

static const struct stream_ops back_stream_ops = { on_connected, on_data, on_drained, on_gone, back_greet_on_tls };

static void on_timer(void *arg)
{
	struct back *b = arg;

	CHECK_OBJ(b, BACK_MAGIC);
	if (b->is_idle || b->resting) {
		back_quit(b);
		return;
	}
	if (back_took_content(b))
		return; /* it reads, slowly */
	if (b->state == BACK_QUIT)
		end(b);
	else
		back_fail(b, BACK_TIMED_OUT, NULL);
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
	back_set_state(b, BACK_CONNECT, p->config->timeouts.connect_ms);
	return b;
}

/* From here on under the newest configuration. */
static void use_pool(struct back *b, struct pool *p)
{
	if (b->pool == p)
		return;
	pool_unref(b->pool);
	b->pool = pool_ref(p);
	back_greet_use_exts(b);
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
		b->any_reply = b->refused = false;
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

void back_abandon(struct back *b)
{
	CHECK_OBJ(b, BACK_MAGIC);
	b->txn = NULL;
	if (b->session != NULL && b->state == BACK_RSET)
		return; /* it was still being cleared */
	if (b->state != BACK_READY || back_in_content(b) || !back_may_send(b)) {
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

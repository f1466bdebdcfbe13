/* SPDX-License-Identifier: Apache-2.0
 * A connection to a server before it is ready: PROXY, TLS, banner, EHLO, STARTTLS, XCLIENT, our own login.
 *
 * The hard thing is order: nothing learned before TLS or before XCLIENT counts behind it, and what is refused here may
 * be about the client, whom the server was told, and not about the server.
 */
#include "daemon/session/back_greet.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/pool/mechanisms.h"
#include "daemon/pool/self.h"
#include "daemon/session/back_pin.h"
#include "daemon/session/back_private.h"
#include "daemon/session/front_pass.h"
#include "daemon/net/handshakes.h"
#include "daemon/session/identity.h"
#include "daemon/session/txn.h"

static void say_hello(struct back *b, const char *verb, enum back_state state)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "%s %s\r\n", verb, b->helo);

	back_say(b, line, (size_t)n);
	back_set_state(b, state, back_timeouts(b)->ehlo_ms);
}

/* `force` is about what clients are offered; a server is never sent what it did not announce. */
void back_greet_use_exts(struct back *b)
{
	b->exts = b->announced & ~b->pool->config->caps_off;
}

static void become_ready(struct back *b)
{
	back_greet_use_exts(b);
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

	back_set_state(b, BACK_TLS, cf->timeouts.tls_ms);
	if (stream_tls_client(&b->st, cf->tls.client, &b->server->addr, pool_tls_name(cf, b->server), when))
		return;
	/* Whatever it said behind its 220 would pass for protected. */
	b->error = xstrdup("plaintext behind the start of TLS");
	back_fail(b, BACK_TLS_FAILED, NULL);
}

static void ask_for_tls(struct back *b)
{
	back_say(b, "STARTTLS\r\n", 10);
	back_set_state(b, BACK_STARTTLS, back_timeouts(b)->ehlo_ms);
}

void back_greet_on_tls(struct stream *st, void *owner)
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
		back_set_state(b, BACK_BANNER, back_timeouts(b)->banner_ms);
}

/* ---- greeting ---- */

bool back_is_verdict(const struct back *b, enum reply_stage stage, const struct smtp_reply *r)
{
	if (!b->told || r->code < 400 || (r->enhanced[0] != 0 && r->enhanced[1] == 3))
		return false;
	return stage <= STAGE_EHLO || (r->enhanced[0] != 0 && r->enhanced[1] == 7);
}

/* We greeted by the name that the client had chosen, and the server does know the command. */
static bool is_about_name(const struct back *b, const struct smtp_reply *r)
{
	bool unknown = r->code == 500 || r->code == 502 || r->code == 503;

	return b->pool->config->helo_client && (b->state == BACK_EHLO || b->state == BACK_HELO) &&
	       smtp_reply_is(r, 5) && !unknown && !smtp_reply_is_server_trouble(r);
}

/* The server, or what it was told, is refused. */
static void said_no(struct back *b, const struct smtp_reply *r)
{
	bool header = b->pool->config->identity.proxy != IDENTITY_PROXY_NONE && b->state == BACK_EHLO;

	if (is_about_name(b, r)) {
		back_fail(b, BACK_VERDICT, r);
		return;
	}
	if (header && !b->introduced && r->code >= 500 && r->code <= 503) {
		/* It took the PROXY header for a command: its answers are out of step. */
		back_fail(b, BACK_MALFORMED, r);
		return;
	}
	back_fail(b, back_is_verdict(b, back_stage(b), r) ? BACK_VERDICT : BACK_SAID_NO, r);
}

static void on_banner(struct back *b, const struct smtp_reply *r)
{
	b->spoke = true;
	back_observe(b, STAGE_BANNER, r, b->since_us);
	if (!smtp_reply_is(r, 2))
		said_no(b, r);
	else if (self_greets(r->text))
		back_fail(b, BACK_LOOP, NULL);
	else
		say_hello(b, "EHLO", BACK_EHLO);
}

/* ---- our own login (RFC 4954) ---- */

static void send_login(struct back *b, struct sbuf *line)
{
	static const char shown[] = "(our login, not shown)";

	back_trace(b, 'b', shown, sizeof(shown) - 1);
	stream_put(&b->st, line->p, line->n);
	OPENSSL_cleanse(line->p, line->n);
	sbuf_fini(line);
	back_set_state(b, BACK_AUTH, back_timeouts(b)->ehlo_ms);
}

static void log_in(struct back *b)
{
	const struct pool_auth_config *cf = &b->pool->config->auth;
	const char *why = pool_auth_hindrance(cf, &b->server->addr, b->secure, b->mechanisms);
	struct sbuf line = { 0 };

	if (why != NULL) {
		b->error = xstrdup(why);
		back_fail(b, BACK_AUTH_FAILED, NULL);
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
		back_fail(b, BACK_SAID_NO, r);
		break;
	case SASL_CLIENT_REFUSED:
		b->error = xstrdup("the server refuses our login");
		back_fail(b, BACK_AUTH_FAILED, r);
		break;
	case SASL_CLIENT_BROKEN:
		back_fail(b, BACK_MALFORMED, NULL);
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
		back_set_state(b, BACK_XCLIENT, back_timeouts(b)->ehlo_ms);
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
		back_fail(b, BACK_NO_XCLIENT, NULL);
}

/* The command, or Postfix's word for a peer that may not speak for others; all else is about the client. */
static bool denies_xclient(const struct smtp_reply *r)
{
	bool is_not_ours = r->code == 550 && r->enhanced[0] == 5 && r->enhanced[1] == 7 && r->enhanced[2] == 0;

	return is_not_ours || (r->code >= 500 && r->code <= 503);
}

static void on_xclient(struct back *b, const struct smtp_reply *r)
{
	back_observe(b, STAGE_EHLO, r, b->since_us);
	server_xclient(b->server, denies_xclient(r));
	if (smtp_reply_is(r, 2))
		introduce(b);
	else if (r->code >= 500 && r->code <= 503)
		back_fail(b, BACK_NO_XCLIENT,
			  r); /* it refuses our command, not the client: 5xx would bounce his mail */
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
		back_fail(b, BACK_TLS_FAILED, NULL);
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

	back_observe(b, STAGE_EHLO, r, b->since_us);
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
		back_fail(b, BACK_SAID_NO, r);
	} else if (b->pool->config->tls.mode == POOL_TLS_MAY) {
		greeted(b);
	} else {
		b->error = xstrdup("the server refused STARTTLS");
		back_fail(b, BACK_TLS_FAILED, r);
	}
}

/* Before anything else, TLS included. */
static void send_proxy_header(struct back *b)
{
	char header[PROXY_SEND_MAX];
	enum identity_proxy version = b->pool->config->identity.proxy;

	if (version == IDENTITY_PROXY_NONE || b->session == NULL)
		return;
	stream_put(&b->st, header, identity_proxy(b->session, version, header));
	back_trace(b, 'b', "(PROXY header)", 14);
	b->told = true;
}

/* ---- for back.c ---- */

void back_greet_connected(struct back *b)
{
	back_observe(b, STAGE_CONNECT, NULL, b->since_us);
	send_proxy_header(b);
	if (b->pool->config->tls.implicit)
		start_tls(b, STREAM_TLS_IMPLICIT);
	else
		back_set_state(b, BACK_BANNER, back_timeouts(b)->banner_ms);
}

bool back_greet_reply(struct back *b, const struct smtp_reply *r)
{
	switch (b->state) {
	case BACK_BANNER:
		on_banner(b, r);
		return true;
	case BACK_EHLO:
	case BACK_HELO:
		on_hello(b, r);
		return true;
	case BACK_STARTTLS:
		on_starttls(b, r);
		return true;
	case BACK_AUTH:
		on_login(b, r);
		return true;
	case BACK_XCLIENT:
		on_xclient(b, r);
		return true;
	default:
		return false;
	}
}

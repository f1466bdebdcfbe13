/* SPDX-License-Identifier: Apache-2.0
 * SMTP commands from the client: one table, one dispatcher, a short handler each. RFC 5321 4.1.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/pool/self.h"
#include "daemon/session/chunk.h"
#include "daemon/session/front_auth.h"
#include "daemon/session/front_xclient.h"
#include "daemon/session/txn.h"
#include "daemon/smtp/sasl.h"

typedef enum step command_fn(struct session *s, struct str args);

enum {
	NONE = 0,
	HELO = 1u << 0,
	MAIL = 1u << 1,
	EDGE = 1u << 2,
	JUNK = 1u << 3,
	HELLO = 1u << 4,
	SECURE = 1u << 5,
	KNOWN = 1u << 6
};

struct command {
	unsigned flags;
	command_fn *run;
};

/* ---- refusing ---- */

enum step front_refuse(struct session *s, enum reject_reason why, unsigned code, const char *enhanced, const char *text)
{
	session_reject(s, why);
	session_reply(s, code, enhanced, "%s", text);
	return front_count_error(s) ? STEP_MORE : STEP_DONE;
}

/* 555 says never. What servers have is learned from them, and until one was seen nobody knows: 451, as RCPT gets. */
static enum step refuse_unknown(struct session *s)
{
	return front_refuse(s, REJECT_NO_SERVER, 451, "4.4.1", "no server could be asked for this so far, try again");
}

static enum step refuse_parse(struct session *s, const struct smtp_refusal *why)
{
	return front_refuse(s, why->code == 555 ? REJECT_PARAMETER : REJECT_SYNTAX, why->code, why->enhanced,
			    why->text);
}

/* ---- greetings ---- */

static void forget_txn(struct session *s)
{
	if (s->txn != NULL)
		txn_abort(s->txn, CAUSE_RESET);
}

/* The greeting ends a transaction; behind it the session is at an edge. False: refused, or over. */
static bool take_helo(struct session *s, struct str arg, bool esmtp, enum step *ret_step)
{
	*ret_step = STEP_DONE;
	if (!smtp_helo_valid(arg)) {
		*ret_step = front_refuse(s, REJECT_SYNTAX, 501, "5.5.4", "a domain or an address literal is needed");
		return false;
	}
	forget_txn(s);
	chunk_reset(s);
	if (!session_at_edge(s))
		return false;
	front_take_name(s, arg, esmtp);
	s->front.greeted = true;
	return true;
}

static void put_line(struct sbuf *out, bool last, const char *text)
{
	sbuf_puts(out, last ? "250 " : "250-");
	sbuf_puts(out, text);
	sbuf_puts(out, "\r\n");
}

/* Never once TLS is on (RFC 3207 4.2). */
static bool may_start_tls(const struct session *s)
{
	enum listener_tls mode = s->lv->config->tls.mode;

	return s->front.tls == NULL && (mode == LISTENER_TLS_STARTTLS || mode == LISTENER_TLS_REQUIRE);
}

static void put_mechanisms(const struct session *s, struct sbuf *out)
{
	struct sbuf names = { 0 };

	if (front_auth_offer(s, &names) && s->front.user == NULL)
		sbuf_printf(out, "250-AUTH%s\r\n", names.p);
	sbuf_fini(&names);
}

/* RFC 9422: what txn_rcpt() holds recipients to. */
static void put_limits(const struct session *s, struct sbuf *out)
{
	uint64_t cap = s->lv->config->caps.recipients;
	struct smtp_limits limits = { .rcpt_max = cap < UINT32_MAX ? (uint32_t)cap : 0 };
	char line[SMTP_LIMITS_MAX];

	if (smtp_limits_write(&limits, line) > 0)
		put_line(out, false, line);
}

#define EHLO_TYPICAL 500 /* bytes */

static void ehlo_reply(struct session *s, const struct offer *o)
{
	static const unsigned passed[] = { SMTP_EXT_8BITMIME, SMTP_EXT_SMTPUTF8, SMTP_EXT_DSN,
					   SMTP_EXT_ENHANCEDSTATUSCODES };
	struct sbuf out = { 0 };
	char size[32];

	sbuf_reserve(&out, EHLO_TYPICAL);
	put_line(&out, false, s->lv->config->hostname);
	put_line(&out, false, "PIPELINING");
	put_line(&out, false, "CHUNKING"); /* whatever the servers can: what they cannot is converted */
	for (size_t i = 0; i < ARRAY_LEN(passed); i++)
		if (o->exts & passed[i])
			put_line(&out, false, smtp_ext_names[__builtin_ctz(passed[i])]);
	put_limits(s, &out);
	put_mechanisms(s, &out);
	front_xclient_announce(s, &out);
	put_line(&out, false, smtp_ext_names[__builtin_ctz(SMTP_EXT_XHOPS)]);
	if (may_start_tls(s))
		put_line(&out, false, smtp_ext_names[__builtin_ctz(SMTP_EXT_STARTTLS)]);
	if (o->size > 0)
		snprintf(size, sizeof(size), "SIZE %llu", (unsigned long long)o->size);
	put_line(&out, true, o->size > 0 ? size : "SIZE");
	front_relay(s, out.p, out.n);
	sbuf_fini(&out);
}

static bool offers_auth(const struct session *s)
{
	struct sbuf unused = { 0 };
	bool any = front_auth_offer(s, &unused);

	sbuf_fini(&unused);
	return any;
}

static enum step cmd_ehlo(struct session *s, struct str args)
{
	enum step step;

	if (!take_helo(s, args, true, &step))
		return step;
	const struct offer *o = worker_offer(s->w, s->lv);
	s->front.exts =
		(o->exts & ~SMTP_EXT_AUTH) | SMTP_EXT_PIPELINING | SMTP_EXT_CHUNKING | SMTP_EXT_SIZE | SMTP_EXT_XHOPS;
	if (offers_auth(s))
		s->front.exts |= SMTP_EXT_AUTH; /* for its parameter of MAIL; also behind a login, unannounced then */
	s->front.unknown = o->known ? 0 : SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8 | SMTP_EXT_DSN;
	ehlo_reply(s, o);
	return STEP_MORE;
}

static enum step cmd_helo(struct session *s, struct str args)
{
	enum step step;

	if (!take_helo(s, args, false, &step))
		return step;
	s->front.exts = s->front.unknown = 0;
	session_reply(s, 250, "", "%s", s->lv->config->hostname);
	return STEP_MORE;
}

/* ---- TLS ---- */

static enum step cmd_starttls(struct session *s, struct str args)
{
	if (s->front.tls != NULL || s->txn != NULL || s->front.user != NULL)
		return front_refuse(s, REJECT_SEQUENCE, 503, "5.5.1", "only before TLS, AUTH and MAIL");
	if (!may_start_tls(s))
		return front_refuse(s, REJECT_UNKNOWN, 502, "5.5.1", "command not available here");
	if (args.n > 0)
		return front_refuse(s, REJECT_SYNTAX, 501, "5.5.4", "STARTTLS takes no argument");
	if (s->front.rest == 0) {
		session_reply(s, 220, "2.0.0", "go ahead");
		if (front_start_tls(s, STREAM_TLS_STARTTLS))
			return STEP_DONE;
	}
	session_reject(s, REJECT_TLS_INJECTION);
	session_close(s, CLOSE_TLS_INJECTION);
	return STEP_DONE;
}

/* ---- mail ---- */

/* RFC 5321 6.3, before there is content: without this, balancers that have each other for servers would open sessions
 * until their caps are reached, as each awaits the verdict of the next. True: it was refused. */
static bool went_round(struct session *s, const struct smtp_mail *m, enum step *ret_step)
{
	bool again = self_passed(m->hops);

	if (!again && smtp_hops_count(m->hops) < SMTP_HOPS_MAX)
		return false;
	txn_log_loop(s, m);
	*ret_step = front_refuse(s, REJECT_LOOP, 554, "5.4.6",
				 again ? "a mail loop: it came through this balancer before"
				       : "a mail loop: it came through too many balancers");
	return true;
}

static enum step cmd_mail(struct session *s, struct str args)
{
	struct smtp_refusal why;
	struct smtp_mail m;
	enum step step;

	if (s->txn != NULL)
		return front_refuse(s, REJECT_SEQUENCE, 503, "5.5.1", "a transaction is open already");
	if (s->front.errors >= s->lv->config->caps.errors) {
		session_close(s, CLOSE_ERRORS); /* by recipients that servers refused */
		return STEP_DONE;
	}
	if (!smtp_mail_parse(args, s->front.exts | s->front.unknown, &m, &why))
		return refuse_parse(s, &why);
	if (!smtp_mail_parse(args, s->front.exts, &m, &why))
		return refuse_unknown(s);
	if (went_round(s, &m, &step))
		return step;
	if (m.has_size && m.size > s->lv->config->caps.message_size)
		return front_refuse(s, REJECT_SIZE, 552, "5.3.4", "message too big");
	if (s->counted != NULL &&
	    !clients_transaction(s->run->clients, s->counted, &s->lv->config->caps, loop_now_ms(s->w->loop)))
		return front_refuse(s, REJECT_TRANSACTION_RATE, 451, "4.7.1",
				    "too many messages from your address, try again later");
	chunk_reset(s);
	txn_open(s, args);
	session_reply(s, 250, "2.1.0", "sender ok");
	return STEP_MORE;
}

static enum step cmd_rcpt(struct session *s, struct str args)
{
	struct smtp_refusal why;
	struct smtp_rcpt r;
	bool wait;

	if (chunk_any(s))
		return front_refuse(s, REJECT_SEQUENCE, 503, "5.5.1", "RCPT comes before BDAT");
	if (!smtp_rcpt_parse(args, s->front.exts | s->front.unknown, &r, &why))
		return txn_pending(s->txn) > 0 ? STEP_WAIT : refuse_parse(s, &why);
	if (!smtp_rcpt_parse(args, s->front.exts, &r, &why))
		return txn_pending(s->txn) > 0 ? STEP_WAIT : refuse_unknown(s);
	if (r.path.utf8 && !s->txn->mail.smtputf8) {
		/* RFC 6531 3.5: only after MAIL said SMTPUTF8. */
		if (txn_pending(s->txn) > 0)
			return STEP_WAIT;
		return front_refuse(s, REJECT_SYNTAX, 553, "5.6.7", "this address needs SMTPUTF8 on MAIL");
	}
	txn_rcpt(s->txn, &r, &wait);
	return wait ? STEP_WAIT : STEP_MORE;
}

static enum step cmd_data(struct session *s, struct str args)
{
	if (args.n > 0)
		return front_refuse(s, REJECT_SYNTAX, 501, "5.5.4", "DATA takes no argument");
	if (chunk_any(s)) /* RFC 3030 2 */
		return front_refuse(s, REJECT_SEQUENCE, 503, "5.5.1", "DATA and BDAT do not mix");
	if (s->txn->n_promised == 0 && s->txn->n_refused == 0)
		return front_refuse(s, REJECT_SEQUENCE, 503, "5.5.1", "RCPT first");
	if (s->txn->n_promised == 0)
		return front_refuse(s, REJECT_SEQUENCE, 554, "5.5.1", "no valid recipients"); /* RFC 2920 3.1 */
	s->front.state = FRONT_WAIT; /* before the answer, which may come from inside */
	txn_data(s->txn);
	return s->front.state == FRONT_WAIT ? STEP_HOLD : STEP_MORE;
}

static enum step cmd_rset(struct session *s, struct str args)
{
	UNUSED(args);
	forget_txn(s);
	chunk_reset(s);
	session_reply(s, 250, "2.0.0", "ok");
	return STEP_MORE;
}

/* ---- the rest ---- */

static enum step cmd_noop(struct session *s, struct str args)
{
	UNUSED(args);
	session_reply(s, 250, "2.0.0", "ok");
	return STEP_MORE;
}

static enum step cmd_vrfy(struct session *s, struct str args)
{
	if (args.n == 0)
		return front_refuse(s, REJECT_SYNTAX, 501, "5.5.4", "VRFY needs an address");
	session_reply(s, 252, "2.5.0", "send mail to it and see");
	return STEP_MORE;
}

static enum step cmd_help(struct session *s, struct str args)
{
	UNUSED(args);
	session_reply(s, 214, "2.0.0", "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT");
	return STEP_MORE;
}

static enum step cmd_quit(struct session *s, struct str args)
{
	UNUSED(args);
	session_reply(s, 221, "2.0.0", "bye");
	session_close(s, CLOSE_QUIT);
	return STEP_DONE;
}

static enum step cmd_not_here(struct session *s, struct str args)
{
	UNUSED(args);
	return front_refuse(s, REJECT_UNKNOWN, 502, "5.5.1", "command not available here");
}

static enum step cmd_unknown(struct session *s, struct str args)
{
	UNUSED(args);
	return front_refuse(s, REJECT_UNKNOWN, 500, "5.5.2", "command not recognized");
}

/* ---- dispatch ---- */

static const struct command commands[SMTP_VERB_COUNT] = {
#define COMMAND(VERB, flags, fn) [SMTP_##VERB] = { NONE | (flags), fn },
#include "daemon/session/front_commands.tbl.h"
#undef COMMAND
};

/* An HTTP client, maybe made to speak by a web page (ALPACA, CVE-2021-3618): it gets nothing to work with. */
static bool is_http(struct str word)
{
	static const char *const verbs[] = { "GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH" };

	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (str_eq(word, str_from(verbs[i])))
			return true;
	return false;
}

/* What may hold a password is not shown in a trace: AUTH with its response, and what follows an AUTH that was refused,
 * as a client that did not wait goes on with its responses. */
static void trace_command(struct session *s, const struct smtp_command *c, struct str line)
{
	static const char shown[] = "AUTH (a login, not shown)", rest[] = "(behind AUTH and no command, not shown)";

	if (c->verb == SMTP_AUTH)
		session_trace(s, 'C', shown, sizeof(shown) - 1);
	else if (c->verb == SMTP_UNKNOWN && s->front.after_auth)
		session_trace(s, 'C', rest, sizeof(rest) - 1);
	else
		session_trace(s, 'C', line.p, line.n);
	s->front.after_auth = c->verb == SMTP_AUTH || (c->verb == SMTP_UNKNOWN && s->front.after_auth);
}

/* At every command: the edge of a transaction, and the patience with clients that bring no mail. False: closed. */
static bool may_go_on(struct session *s, const struct command *row)
{
	bool first_hello = row->flags & HELLO && !s->front.greeted;

	if (row->flags & JUNK && !first_hello)
		s->front.junk++;
	if (s->front.junk > s->lv->config->caps.junk_commands) {
		session_close(s, CLOSE_JUNK);
		return false;
	}
	return session_at_edge(s);
}

enum step front_command(struct session *s, struct str line)
{
	struct smtp_command c;

	smtp_command_parse(line, &c);
	const struct command *row = &commands[c.verb];
	if (row->flags & EDGE && txn_pending(s->txn) > 0)
		return STEP_WAIT;
	trace_command(s, &c, line);
	if (c.verb == SMTP_UNKNOWN && is_http(c.word)) {
		session_close(s, CLOSE_HTTP);
		return STEP_DONE;
	}
	if (c.verb != SMTP_QUIT && !may_go_on(s, row))
		return STEP_DONE;
	bool late = txn_pending(s->txn) > 0; /* only RCPT comes here with verdicts due */
	if (row->flags & HELO && !s->front.greeted)
		return front_refuse(s, REJECT_SEQUENCE, 503, "5.5.1", "EHLO or HELO first");
	if (row->flags & SECURE && s->front.tls == NULL && s->lv->config->tls.mode == LISTENER_TLS_REQUIRE)
		return front_refuse(s, REJECT_TLS_REQUIRED, 530, "5.7.0", "Must issue a STARTTLS command first");
	if (row->flags & KNOWN && s->front.user == NULL && s->lv->config->auth.mode == LISTENER_AUTH_REQUIRE)
		return front_refuse(s, REJECT_AUTH_REQUIRED, 530, "5.7.0", "Authentication required");
	if (row->flags & MAIL && s->txn == NULL)
		return late ? STEP_WAIT : front_refuse(s, REJECT_SEQUENCE, 503, "5.5.1", "MAIL first");
	return row->run(s, c.args);
}

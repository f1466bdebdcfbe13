/* SPDX-License-Identifier: Apache-2.0
 * One health check: a lock-step SMTP conversation on the control loop.
 *
 * Never more than one command is in flight (servers that forbid early talkers answer 554 to anything else), multi-line
 * replies are parsed as such, and QUIT ends every conversation that got so far (servers log the lack of it). The
 * verdict is given as soon as it is known; what follows (QUIT, or the EHLO of a server whose check is a mere connect)
 * lingers on its own, within the same deadline, and may outlive the server's place in the registry. A 4xx is a busy
 * server, not a dead one. TLS is the pool's own, with its verification: what mail would fail at, a check fails at.
 *
 * A step says what its reply means and which step comes next; entering a step sends its command.
 */
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/net/handshakes.h"
#include "daemon/pool/mechanisms.h"
#include "daemon/pool/registry.h"
#include "daemon/pool/self.h"
#include "daemon/smtp/proxy.h"

#define PROBE_MAGIC 0x70726f62u
#define QUIT_WAIT_MS 2000

enum step {
	STEP_CONNECT,
	STEP_TLS,
	STEP_BANNER,
	STEP_EHLO,
	STEP_STARTTLS,
	STEP_HELO,
	STEP_AUTH,
	STEP_MAIL,
	STEP_RCPT,
	STEP_RSET,
	STEP_RELAY_MAIL,
	STEP_RELAY_RCPT,
	STEP_QUIT,
	STEP_COUNT
};

enum starttls { STARTTLS_NEVER, STARTTLS_IF_OFFERED, STARTTLS_ALWAYS };

struct probe {
	uint32_t magic;
	struct list link;
	struct server *server; /* one reference */
	struct loop *loop;
	bool awaited;   /* the server's owner still waits for the verdict */
	bool lingering; /* counted in n_lingering */
	bool connect_decides, handshake_decides;
	bool tls_first; /* implicit TLS */
	bool relay;     /* it goes on to the question whether the server relays for us */
	enum starttls starttls;
	struct tls_client *tls; /* referenced; NULL = not needed */
	char *tls_name;         /* NULL = the address */
	const struct health_config
		*config; /* valid while awaited and in the conversation: health.c aborts before it goes */
	char *helo;
	struct identity_config identity;
	struct stream stream;
	bool opened;
	struct timer deadline;
	enum step step;
	int64_t started_us;
	struct smtp_ehlo ehlo;
	const struct pool_auth_config *auth; /* NULL = no login is needed; valid as config is */
	struct sasl_client sasl;
};

typedef void step_fn(struct probe *pr, const struct smtp_reply *r);
struct step_row {
	const char *name;
	step_fn *on_reply;
};
static const struct step_row steps[STEP_COUNT];

/* ---- the end ---- */

static void free_probe(void *arg)
{
	struct probe *pr = arg;

	CHECK_OBJ(pr, PROBE_MAGIC);
	server_unref(pr->server);
	free(pr->helo);
	free(pr->tls_name);
	tls_client_unref(pr->tls);
	FREE_OBJ(pr);
}

static void end(struct probe *pr)
{
	if (pr->opened)
		stream_close(&pr->stream);
	timer_stop(&pr->deadline);
	list_remove(&pr->link);
	if (pr->lingering && pr->server->priv != NULL)
		pr->server->priv->n_lingering--;
	pr->awaited = pr->lingering = false;
	loop_defer(pr->loop, free_probe, pr);
}

void probe_abort(struct probe *pr)
{
	CHECK_OBJ(pr, PROBE_MAGIC);
	end(pr);
}

void probe_abort_all(struct list *probes)
{
	while (!list_empty(probes))
		end(LIST_FIRST(probes, struct probe, link));
}

/* Tells who waits; from then on the probe belongs to itself. */
static void give_verdict(struct probe *pr, enum probe_outcome outcome, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void give_verdict(struct probe *pr, enum probe_outcome outcome, const char *fmt, ...)
{
	struct server_private *sp = pr->server->priv;
	struct probe_result result = { .outcome = outcome, .us = loop_now_us(pr->loop) - pr->started_us };
	va_list ap;

	if (!pr->awaited)
		return;
	va_start(ap, fmt);
	vsnprintf(result.text, sizeof(result.text), fmt, ap);
	va_end(ap);
	pr->awaited = false;
	pr->lingering = true;
	CHECK_OBJ(sp, SERVER_PRIVATE_MAGIC);
	sp->n_lingering++;
	sp->probe = NULL;
	health_verdict(sp, &result);
}

static void enter(struct probe *pr, enum step step);

/* Whether it relays is asked behind the verdict: what a server takes from us is no question of its health. Where it is
 * told the client's address, its own checks see the client, and what it lets us do is its business. */
static bool begins_relay_check(struct probe *pr)
{
	bool sees_us = pr->identity.proxy == IDENTITY_PROXY_NONE &&
		       !(pr->identity.xclient & pr->ehlo.xclient & SMTP_XATTR_ADDR);

	if (!pr->relay || !sees_us || pr->server->priv == NULL)
		return false;
	pr->relay = false;
	relay_asked(pr->server->priv);
	return true;
}

/* A verdict by the text of a reply, then a polite end. */
static void decide(struct probe *pr, enum probe_outcome outcome, const struct smtp_reply *r)
{
	if (outcome == PROBE_PASS)
		give_verdict(pr, outcome, "%u ok", r->code);
	else
		give_verdict(pr, outcome, "%u %.*s (%s)", r->code, (int)(r->last.n < 100 ? r->last.n : 100), r->last.p,
			     steps[pr->step].name);
	/* After 421 the server is closing by itself (RFC 5321 3.8). */
	if (r->code == 421)
		end(pr);
	else if (outcome == PROBE_PASS && begins_relay_check(pr))
		enter(pr, STEP_RELAY_MAIL);
	else
		enter(pr, STEP_QUIT);
}

/* What keeps the server from being told who clients are; NULL = nothing does. */
static void note_identity(struct probe *pr, const char *trouble)
{
	if (pr->server->priv != NULL && identity_pins(&pr->identity))
		finding_set(pr->server->priv, FINDING_IDENTITY, trouble);
}

static const char never_greeted[] = "no greeting so far: does it expect a PROXY header, or TLS from the first byte?";

/* Of a server that has greeted before, silence says something else. */
static void note_silence(struct probe *pr)
{
	struct server_private *sp = pr->server->priv;

	if (sp != NULL && !sp->has_greeted)
		finding_set(sp, FINDING_BANNER, pr->step == STEP_BANNER ? never_greeted : NULL);
}

static void note_greeting(struct probe *pr)
{
	if (pr->server->priv == NULL)
		return;
	pr->server->priv->has_greeted = true;
	finding_set(pr->server->priv, FINDING_BANNER, NULL);
}

static const char no_banner[] = "no greeting behind our PROXY header: does it expect one, of this version, from us?";

static void fail(struct probe *pr, const char *what)
{
	if (pr->step == STEP_TLS)
		handshakes_failed(HANDSHAKE_CHECK);
	if (pr->step == STEP_BANNER && pr->identity.proxy != IDENTITY_PROXY_NONE)
		note_identity(pr, no_banner);
	else if (pr->step <= STEP_BANNER)
		note_silence(pr);
	give_verdict(pr, PROBE_FAIL, "%s (%s)", what, steps[pr->step].name);
	end(pr);
}

static void header_not_understood(struct probe *pr)
{
	fail(pr, "the PROXY header was taken for a command");
	note_identity(pr, "it does not understand our PROXY header");
}

/* ---- the steps ---- */

/* The common reading of a reply: true = 2xx, go on. */
static bool passes(struct probe *pr, const struct smtp_reply *r)
{
	if (smtp_reply_is(r, 2))
		return true;
	decide(pr, smtp_reply_is(r, 4) ? PROBE_BUSY : PROBE_FAIL, r);
	return false;
}

static void on_banner(struct probe *pr, const struct smtp_reply *r)
{
	note_greeting(pr);
	if (!passes(pr, r))
		return;
	if (self_greets(r->text))
		fail(pr, "would loop to our own listener");
	else
		enter(pr, STEP_EHLO);
}

static void after_login(struct probe *pr, const struct smtp_reply *r)
{
	if (pr->awaited && pr->config->mail_from != NULL)
		enter(pr, STEP_MAIL);
	else
		decide(pr, PROBE_PASS, r);
}

/* What is sent here is a secret. */
static void send_login(struct probe *pr, struct sbuf *line)
{
	stream_put(&pr->stream, line->p, line->n);
	OPENSSL_cleanse(line->p, line->n);
	sbuf_fini(line);
}

static void on_auth(struct probe *pr, const struct smtp_reply *r)
{
	struct sbuf line = { 0 };

	if (!pr->awaited) {
		end(pr); /* what the exchange reads may be gone */
		return;
	}
	switch (sasl_client_reply(&pr->sasl, r, &line)) {
	case SASL_CLIENT_SEND:
		send_login(pr, &line);
		break;
	case SASL_CLIENT_DONE:
		after_login(pr, r);
		break;
	case SASL_CLIENT_LATER:
		decide(pr, PROBE_BUSY, r);
		break;
	case SASL_CLIENT_REFUSED:
	case SASL_CLIENT_BROKEN:
		decide(pr, PROBE_FAIL, r);
		break;
	}
}

/* A server that mail could not log in at is of no use, however well it greets. */
static void after_greeting(struct probe *pr, const struct smtp_reply *r)
{
	struct sbuf line = { 0 };

	if (!pr->awaited || pr->auth == NULL) {
		after_login(pr, r);
		return;
	}
	const char *why =
		pool_auth_hindrance(pr->auth, &pr->server->addr, stream_tls_is_on(&pr->stream), pr->ehlo.auth);
	if (why != NULL) {
		give_verdict(pr, PROBE_FAIL, "%s", why);
		enter(pr, STEP_QUIT);
		return;
	}
	enter(pr, STEP_AUTH);
	pool_auth_begin(pr->auth, &pr->sasl);
	sasl_client_start(&pr->sasl, &line);
	send_login(pr, &line);
}

/* Nothing more is said before mail: what EHLO told counts. */
static void greeted(struct probe *pr, const struct smtp_reply *r)
{
	server_learn_mechanisms(pr->server, mechanisms_of(pr->ehlo.auth_names));
	server_learn(pr->server, pr->ehlo.exts, pr->ehlo.size);
	if (pr->identity.xclient != 0 && (pr->ehlo.xclient & pr->identity.xclient) == 0)
		note_identity(pr, "it does not offer XCLIENT to us: mail is deferred");
	else
		note_identity(pr, NULL);
	after_greeting(pr, r);
}

static void on_ehlo(struct probe *pr, const struct smtp_reply *r)
{
	if (r->code >= 500 && r->code <= 503 && pr->identity.proxy != IDENTITY_PROXY_NONE) {
		header_not_understood(pr); /* not an old server: its answers are out of step */
		return;
	}
	if (smtp_reply_is(r, 5)) {
		/* A server without extensions (RFC 5321 3.2). */
		enter(pr, STEP_HELO);
		return;
	}
	if (!passes(pr, r))
		return;
	smtp_ehlo_parse(r, &pr->ehlo);
	if (!stream_tls_is_on(&pr->stream) && pr->starttls != STARTTLS_NEVER) {
		if (pr->ehlo.exts & SMTP_EXT_STARTTLS) {
			enter(pr, STEP_STARTTLS);
			return;
		}
		if (pr->starttls == STARTTLS_ALWAYS) {
			give_verdict(pr, PROBE_FAIL, "STARTTLS is not offered");
			enter(pr, STEP_QUIT);
			return;
		}
	}
	greeted(pr, r);
}

static void start_tls(struct probe *pr, enum stream_tls_when when)
{
	enter(pr, STEP_TLS);
	if (!stream_tls_client(&pr->stream, pr->tls, &pr->server->addr, pr->tls_name, when))
		fail(pr, "plaintext behind the answer to STARTTLS");
}

static void on_starttls(struct probe *pr, const struct smtp_reply *r)
{
	if (r->code == 220)
		start_tls(pr, STREAM_TLS_STARTTLS);
	else if (pr->starttls == STARTTLS_ALWAYS || smtp_reply_is_server_trouble(r))
		decide(pr, smtp_reply_is(r, 4) ? PROBE_BUSY : PROBE_FAIL, r);
	else
		greeted(pr, r);
}

static void on_helo(struct probe *pr, const struct smtp_reply *r)
{
	if (!passes(pr, r))
		return;
	server_learn(pr->server, 0, 0);
	after_greeting(pr, r);
}

static void on_mail(struct probe *pr, const struct smtp_reply *r)
{
	if (!passes(pr, r))
		return;
	if (pr->config->rcpt_to != NULL)
		enter(pr, STEP_RCPT);
	else
		enter(pr, STEP_RSET);
}

static void on_rcpt(struct probe *pr, const struct smtp_reply *r)
{
	/* A 4xx to the recipient alone is greylisting: the server does its work. */
	if (smtp_reply_is(r, 4) && !smtp_reply_is_server_trouble(r))
		enter(pr, STEP_RSET);
	else if (passes(pr, r))
		enter(pr, STEP_RSET);
}

static void on_rset(struct probe *pr, const struct smtp_reply *r)
{
	if (passes(pr, r))
		decide(pr, PROBE_PASS, r);
}

/* Without a sender there is nothing to ask. */
static void on_relay_mail(struct probe *pr, const struct smtp_reply *r)
{
	if (r->code == 421)
		end(pr);
	else
		enter(pr, smtp_reply_is(r, 2) ? STEP_RELAY_RCPT : STEP_QUIT);
}

/* A 4xx is neither yes nor no. */
static void on_relay_rcpt(struct probe *pr, const struct smtp_reply *r)
{
	if (pr->server->priv != NULL && (smtp_reply_is(r, 2) || smtp_reply_is(r, 5)))
		relay_answered(pr->server->priv, smtp_reply_is(r, 2));
	if (r->code == 421)
		end(pr);
	else
		enter(pr, STEP_RSET);
}

static void on_quit(struct probe *pr, const struct smtp_reply *r)
{
	UNUSED(r);
	end(pr);
}

static const struct step_row steps[STEP_COUNT] = {
	[STEP_CONNECT] = { "connect", NULL },
	[STEP_TLS] = { "TLS", NULL },
	[STEP_STARTTLS] = { "STARTTLS", on_starttls },
	[STEP_BANNER] = { "banner", on_banner },
	[STEP_EHLO] = { "EHLO", on_ehlo },
	[STEP_HELO] = { "HELO", on_helo },
	[STEP_AUTH] = { "AUTH", on_auth },
	[STEP_MAIL] = { "MAIL", on_mail },
	[STEP_RCPT] = { "RCPT", on_rcpt },
	[STEP_RSET] = { "RSET", on_rset },
	[STEP_RELAY_MAIL] = { "MAIL", on_relay_mail },
	[STEP_RELAY_RCPT] = { "RCPT", on_relay_rcpt },
	[STEP_QUIT] = { "QUIT", on_quit },
};

/* The verdict is out; a server that does not answer QUIT keeps nobody waiting for long. */
static void shorten_deadline(struct probe *pr)
{
	int64_t by = loop_now_ms(pr->loop) + QUIT_WAIT_MS;

	if (by < pr->deadline.deadline)
		timer_set(pr->loop, &pr->deadline, by);
}

static void enter(struct probe *pr, enum step step)
{
	struct stream *st = &pr->stream;

	pr->step = step;
	switch (step) {
	case STEP_EHLO:
	case STEP_HELO:
		stream_printf(st, "%s %s\r\n", steps[step].name, pr->helo);
		break;
	case STEP_MAIL:
		stream_printf(st, "MAIL FROM:<%s>\r\n", pr->config->mail_from);
		break;
	case STEP_RCPT:
		stream_printf(st, "RCPT TO:<%s>\r\n", pr->config->rcpt_to);
		break;
	case STEP_RELAY_MAIL:
		stream_puts(st, "MAIL FROM:<>\r\n");
		break;
	case STEP_RELAY_RCPT:
		stream_puts(st, "RCPT TO:<" RELAY_CHECK_RCPT ">\r\n");
		break;
	case STEP_QUIT:
		shorten_deadline(pr);
		stream_puts(st, "QUIT\r\n");
		break;
	case STEP_RSET:
	case STEP_STARTTLS:
		stream_printf(st, "%s\r\n", steps[step].name);
		break;
	case STEP_CONNECT:
	case STEP_TLS:
	case STEP_BANNER:
	case STEP_AUTH:
	case STEP_COUNT:
		break;
	}
}

/* ---- events ---- */

/* The verdict does not need the conversation, which goes on for what it tells. False: it does not go on; one at a time,
 * since a server that never greets would gather a heap of them. */
static bool decided(struct probe *pr, const char *text)
{
	bool alone = pr->server->priv->n_lingering == 0;

	give_verdict(pr, PROBE_PASS, "%s", text);
	if (!alone)
		end(pr);
	return alone;
}

/* Our own connection, not a client's. Version 1 cannot say that, so it names our end. */
static void send_proxy_header(struct probe *pr)
{
	struct proxy_header h = { .version = pr->identity.proxy == IDENTITY_PROXY_V1 ? 1 : 2,
				  .kind = PROXY_LOCAL,
				  .dst = pr->server->addr };
	socklen_t size = sizeof(h.src);
	char out[PROXY_SEND_MAX];

	if (pr->identity.proxy == IDENTITY_PROXY_NONE)
		return;
	if (getsockname(pr->stream.fd, &h.src.sa, &size) != 0)
		memset(&h.src, 0, sizeof(h.src));
	stream_put(&pr->stream, out, proxy_encode(&h, out));
}

static void on_connected(struct stream *st, void *owner)
{
	struct probe *pr = owner;

	UNUSED(st);
	CHECK_OBJ(pr, PROBE_MAGIC);
	send_proxy_header(pr);
	if (pr->connect_decides && !decided(pr, "connected"))
		return;
	if (pr->tls_first)
		start_tls(pr, STREAM_TLS_IMPLICIT);
	else
		enter(pr, STEP_BANNER);
}

static void on_tls(struct stream *st, void *owner)
{
	struct stream_tls_info info;
	struct probe *pr = owner;

	CHECK_OBJ(pr, PROBE_MAGIC);
	if (stream_tls_info(st, &info))
		handshakes_succeeded(HANDSHAKE_CHECK, &info);
	if (pr->handshake_decides && !decided(pr, "TLS ok"))
		return;
	enter(pr, pr->tls_first ? STEP_BANNER : STEP_EHLO);
}

static size_t on_data(struct stream *st, const char *p, size_t n, void *owner)
{
	struct probe *pr = owner;
	struct smtp_reply reply;
	size_t used = 0;
	const char *why;

	UNUSED(st);
	CHECK_OBJ(pr, PROBE_MAGIC);
	switch (smtp_reply_parse(p, n, &reply, &used, &why)) {
	case SMTP_PARSE_MORE:
		return 0;
	case SMTP_PARSE_BAD:
		fail(pr, why);
		return n;
	case SMTP_PARSE_OK:
		break;
	}
	/* The next command is not sent yet: what stands behind this reply answers nothing. */
	bool early = used < n && pr->step != STEP_QUIT;
	if (early && pr->step <= STEP_EHLO && pr->identity.proxy != IDENTITY_PROXY_NONE)
		header_not_understood(pr);
	else if (early)
		fail(pr, "a reply to nothing");
	else
		steps[pr->step].on_reply(pr, &reply);
	return n;
}

static void on_gone(struct stream *st, int err, void *owner)
{
	struct probe *pr = owner;
	const char *tls = stream_tls_error(st);

	CHECK_OBJ(pr, PROBE_MAGIC);
	if (tls != NULL)
		fail(pr, tls);
	else
		fail(pr, err == 0 ? "closed by the server" : strerror(err));
}

static const struct stream_ops stream_ops = {
	.on_connected = on_connected, .on_data = on_data, .on_gone = on_gone, .on_tls = on_tls
};

static void on_deadline(void *arg)
{
	struct probe *pr = arg;

	CHECK_OBJ(pr, PROBE_MAGIC);
	fail(pr, "no answer in time");
}

/* ---- the start ---- */

static void open_stream(struct probe *pr, const struct pool_config *pc)
{
	const struct addr *to = &pr->server->addr;
	const struct addr *source = to->sa.sa_family == AF_INET6 ? &pc->source_v6 : &pc->source_v4;

	pr->opened = true;
	stream_connect(&pr->stream, pr->loop, to, source, &stream_ops, pr);
}

static void choose_tls(struct probe *pr, const struct pool_config *pc)
{
	const char *name = pool_tls_name(pc, pr->server);

	pr->tls = pc->tls.client != NULL ? tls_client_ref(pc->tls.client) : NULL;
	pr->tls_name = name != NULL ? xstrdup(name) : NULL;
	pr->handshake_decides = pc->health.type == HEALTH_TLS;
	pr->tls_first = pc->tls.implicit || pr->handshake_decides;
	if (pr->tls_first)
		pr->starttls = STARTTLS_NEVER;
	else if (pc->health.starttls || pc->tls.mode >= POOL_TLS_ENCRYPT)
		pr->starttls = STARTTLS_ALWAYS;
	else
		pr->starttls = pc->tls.mode == POOL_TLS_MAY ? STARTTLS_IF_OFFERED : STARTTLS_NEVER;
}

struct probe *probe_start(struct server_private *sp)
{
	struct registry *r = sp->pool->registry;
	const struct pool_config *pc = sp->pool->config;
	struct probe *pr;

	NEW_OBJ(pr, PROBE_MAGIC);
	list_append(&r->probes, &pr->link);
	pr->server = server_ref(sp->server);
	pr->loop = r->loop;
	pr->awaited = true;
	pr->config = &pc->health;
	pr->auth = pc->auth.user != NULL ? &pc->auth : NULL;
	pr->identity = pc->identity;
	pr->relay = relay_is_due(sp);
	pr->connect_decides = pc->health.type == HEALTH_TCP || pc->health.type == HEALTH_NONE;
	choose_tls(pr, pc);
	pr->helo = xstrdup(pc->check_helo != NULL ? pc->check_helo : "localhost");
	pr->started_us = loop_now_us(r->loop);
	timer_init(&pr->deadline, on_deadline, pr);
	timer_set_in(r->loop, &pr->deadline, pc->health.timeout_ms);
	open_stream(pr, pc);
	return pr;
}

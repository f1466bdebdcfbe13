/* SPDX-License-Identifier: Apache-2.0
 * AUTH that is passed on: choosing a server, then its lines and the client's in lock-step.
 *
 * The hard thing is to know when to stop trying: until AUTH has gone out another server may take over unseen, behind it
 * none may, for the credentials are the client's and were given to one server. And a failure must cost what a failure
 * at our own users costs, or the servers behind could be guessed at through us.
 */
#include "daemon/session/front_pass.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/pool/mechanisms.h"
#include "daemon/session/auth_failures.h"
#include "daemon/session/back_pin.h"
#include "daemon/session/front_auth.h"
#include "daemon/session/txn.h"
#include "daemon/smtp/sasl.h"

enum { PASSED_OK, PASSED_REFUSED, PASSED_CANCELLED, PASSED_BUSY, PASSED_COUNT };
static const char *const passed_names[PASSED_COUNT] = { "ok", "refused", "cancelled", "busy" };

/* Written once, before there are other threads. */
static series_id attempts[PASSED_COUNT];

struct front_pass {
	struct session *s;
	struct snapshot *snapshot; /* referenced: the pool is its */
	struct pool *pool;
	struct back *back;     /* NULL = none yet, or gone */
	struct server *server; /* of PICK_OK */
	const struct server *tried[PICK_TRIED_MAX];
	unsigned n_tried;
	struct timer timer; /* holds back the beginning, or the refusal */
	char mechanism[MECHANISM_NAME_MAX + 1];
	char *line; /* the command; a secret */
	size_t line_n;
	struct sasl_pass sasl;
	bool sent;        /* AUTH has gone out */
	int64_t since_ms; /* the client's newest word */
	char *refusal;    /* the server's reply, while it is held back */
	const char *busy; /* our own, while it is held back; static */
	bool begun;
};

void front_pass_init(void)
{
	for (size_t i = 0; i < PASSED_COUNT; i++)
		attempts[i] =
			metrics_series(METRIC_AUTH_ATTEMPTS_TOTAL, (const char *[]) { "passthrough", passed_names[i] });
}

struct session *front_pass_session(const struct front_pass *p)
{
	return p->s;
}

/* ---- the pool ---- */

/* NULL: the route leads to no pool. */
static struct pool *pool_for(const struct session *s)
{
	struct envelope e = { .listener = s->lv->config->name,
			      .client = &s->client,
			      .certificate = s->front.certificate,
			      .helo = str_from(s->front.helo == NULL ? "" : s->front.helo) };
	int route = policy_route(s->snapshot->policy, &e);

	return route < 0 ? s->lv->pool : s->snapshot->route_pools[route];
}

static bool binds_to_tls(const char *name)
{
	size_t n = strlen(name);

	return n > 5 && strcmp(name + n - 5, "-PLUS") == 0;
}

uint64_t front_pass_mechanisms(const struct session *s)
{
	const struct pool *p = pool_for(s);
	struct pool_caps caps;

	if (p == NULL)
		return 0;
	pool_caps(p, &caps);
	for (unsigned i = 0; i < MECHANISMS_MAX; i++)
		if (caps.mechanisms & 1ull << i && binds_to_tls(mechanism_name(i)))
			caps.mechanisms &= ~(1ull << i);
	return caps.mechanisms;
}

/* ---- the end of an exchange ---- */

static void free_pass(void *arg)
{
	free(arg);
}

static void forget_line(struct front_pass *p)
{
	if (p->line != NULL)
		OPENSSL_cleanse(p->line, p->line_n);
	free(p->line);
	p->line = NULL;
}

static void leave_server(struct front_pass *p)
{
	if (p->server != NULL)
		pool_txn_end(p->server);
	p->server = NULL;
}

/* Its connection is in the middle of something, or of a login that failed: it serves nobody else. */
static void leave_back(struct front_pass *p)
{
	struct back *b = p->back;

	p->back = NULL;
	if (b != NULL)
		back_quit(b);
}

void front_pass_drop(struct session *s)
{
	struct front_pass *p = s->front.pass;

	if (p == NULL)
		return;
	s->front.pass = NULL;
	timer_stop(&p->timer);
	leave_back(p);
	leave_server(p);
	forget_line(p);
	free(p->refusal);
	snapshot_unref(p->snapshot);
	loop_defer(s->w->loop, free_pass, p);
}

static void log_failure(const struct front_pass *p, const char *why)
{
	struct logline l;
	char id[SESSION_ID_MAX];

	log_begin(&l, LOG_LEVEL_INFO, "auth_failed");
	log_cstr(&l, "id", session_id(p->s, id));
	log_cstr(&l, "listener", p->s->lv->config->name);
	log_addr(&l, "client", &p->s->client);
	log_cstr(&l, "helo", p->s->front.helo);
	log_cstr(&l, "user", p->sasl.user);
	log_cstr(&l, "mechanism", p->mechanism);
	log_cstr(&l, "server", p->server != NULL ? p->server->name : NULL);
	log_cstr(&l, "why", why);
	log_end(&l);
}

static void say_busy_now(struct front_pass *p)
{
	struct session *s = p->s;

	session_reply(s, 454, "4.7.0", "%s", p->busy);
	front_pass_drop(s);
	front_auth_unanswered(s);
}

/* No server could say. Told late, and counted as an error: at once, who brings this about would have servers connected
 * to as fast as it can ask, and where a server hangs up on wrong passwords, guess as fast. */
static void say_busy(struct front_pass *p, const char *text)
{
	struct session *s = p->s;

	metrics_add(attempts[PASSED_BUSY], 1);
	log_failure(p, passed_names[PASSED_BUSY]);
	leave_back(p);
	leave_server(p);
	forget_line(p);
	p->busy = text;
	front_set_auth_wait(s);
	timer_set_in(s->w->loop, &p->timer, AUTH_FAILURES_FIRST_MS);
}

static void succeed(struct front_pass *p, const struct smtp_reply *r)
{
	struct session *s = p->s;
	struct back *b = p->back;

	metrics_add(attempts[PASSED_OK], 1);
	auth_failures_forget_user(engine_auth_failures(s->w->engine), p->sasl.user);
	s->front.user = xstrdup(p->sasl.user);
	s->epoch++;
	p->back = NULL;
	back_pin_login(b, s);
	session_relay_text(s, r->text);
	front_pass_drop(s);
	front_auth_over(s);
}

static void refuse_now(struct front_pass *p)
{
	struct session *s = p->s;

	session_relay_text(s, str_from(p->refusal));
	front_pass_drop(s);
	front_auth_refused(s);
}

static void refuse_later(struct front_pass *p, const struct smtp_reply *r, int result)
{
	struct session *s = p->s;
	struct auth_attempt who = {
		.client = &s->client, .caps = &s->lv->config->caps, .user = p->sasl.user, .since_ms = p->since_ms
	};

	metrics_add(attempts[result], 1);
	log_failure(p, passed_names[result]);
	p->refusal = xstrndup(r->text.p, r->text.n);
	leave_back(p);
	leave_server(p);
	if (result == PASSED_CANCELLED) {
		refuse_now(p);
		return;
	}
	timer_set_in(s->w->loop, &p->timer,
		     auth_failures_add(engine_auth_failures(s->w->engine), &who, loop_now_ms(s->w->loop)));
}

/* ---- the server ---- */

static void seek(struct front_pass *p)
{
	struct session *s = p->s;
	struct envelope e = { .listener = s->lv->config->name, .client = &s->client };
	struct pick_query q = { .hash = balance_hash(p->pool->config, &e),
				.n_tried = p->n_tried,
				.skip_full = true,
				.now_ms = loop_now_ms(s->w->loop) };

	memcpy(q.tried, p->tried, sizeof(q.tried));
	if (p->n_tried >= p->pool->config->retry.attempts || p->n_tried >= PICK_TRIED_MAX ||
	    pool_pick(p->pool, &q, &p->server) != PICK_OK) {
		say_busy(p, "no server can check this now, try again");
		return;
	}
	p->tried[p->n_tried++] = p->server;
	p->back = back_open_for_login(s->w, p->pool, p->server, p);
	if (p->back != NULL)
		return;
	leave_server(p); /* its free connections belong to others: full for us */
	seek(p);
}

static bool offers(const struct back *b, const char *mechanism)
{
	for (unsigned i = 0; i < MECHANISMS_MAX; i++)
		if (b->auth_names & 1ull << i && strcmp(mechanism_name(i), mechanism) == 0)
			return true;
	return false;
}

void front_pass_on_ready(struct front_pass *p)
{
	if (!offers(p->back, p->mechanism)) { /* what it says now counts, not what it offered when last seen */
		leave_back(p);
		leave_server(p);
		seek(p);
		return;
	}
	p->sent = true;
	back_secret(p->back, p->line, p->line_n);
	forget_line(p);
}

/* The client was refused, of whom the server was told, and not its login: no other server is asked, nothing counts as a
 * failure. */
static void say_verdict(struct front_pass *p, const struct smtp_reply *r)
{
	struct session *s = p->s;

	if (r->code == 421) { /* ends the server's connection, not the client's */
		say_busy(p, "the server refused you, try again");
		return;
	}
	metrics_add(attempts[PASSED_REFUSED], 1);
	log_failure(p, "client_refused");
	session_relay_text(s, r->text);
	front_pass_drop(s);
	front_auth_unanswered(s);
}

void front_pass_on_failed(struct front_pass *p, enum reply_stage stage, enum back_trouble why,
			  const struct smtp_reply *r)
{
	struct failure f;

	p->back = NULL;
	fail_policy(stage, why, r, &f);
	if (f.blamed)
		server_report(p->pool, p->server, f.blame, loop_now_ms(p->s->w->loop));
	if (why == BACK_VERDICT) {
		say_verdict(p, r);
		return;
	}
	leave_server(p);
	if (p->sent && p->s->front.state == FRONT_AUTH)
		return; /* a response is due, and must be read as one: it is answered */
	if (p->sent)
		say_busy(p, "the connection to the server was lost, try again");
	else
		seek(p);
}

void front_pass_on_reply(struct front_pass *p, const struct smtp_reply *r)
{
	switch (sasl_pass_reply(&p->sasl, r)) {
	case SASL_PASS_CHALLENGE:
		front_relay_secret(p->s, "334 …\r\n", r->text.p, r->text.n);
		front_set_auth(p->s);
		break;
	case SASL_PASS_DONE:
		succeed(p, r);
		break;
	case SASL_PASS_REFUSED:
		refuse_later(p, r, PASSED_REFUSED);
		break;
	case SASL_PASS_CANCELLED:
		refuse_later(p, r, PASSED_CANCELLED);
		break;
	case SASL_PASS_BUSY:
		say_busy(p, "the server cannot check this now, try again");
		break;
	case SASL_PASS_BROKEN:
		server_report(p->pool, p->server, SERVER_SAW_FAULT, loop_now_ms(p->s->w->loop));
		say_busy(p, "the server made no sense, try again");
		break;
	}
}

/* ---- the client ---- */

void front_pass_line(struct session *s, struct str line)
{
	struct front_pass *p = s->front.pass;
	char *copy = xmalloc(line.n + 2);

	session_trace(s, 'C', "(a response, not shown)", 23);
	sasl_pass_response(&p->sasl, line);
	p->since_ms = loop_now_ms(s->w->loop);
	memcpy(copy, line.p, line.n);
	memcpy(copy + line.n, "\r\n", 2);
	front_set_auth_wait(s);
	if (p->back != NULL)
		back_secret(p->back, copy, line.n + 2);
	else
		say_busy(p, "the connection to the server was lost, try again");
	OPENSSL_cleanse(copy, line.n + 2);
	free(copy);
}

static void on_timer(void *arg)
{
	struct front_pass *p = arg;

	CHECK_OBJ(p->s, SESSION_MAGIC);
	if (p->busy != NULL) {
		say_busy_now(p);
		return;
	}
	if (p->begun) {
		refuse_now(p);
		return;
	}
	p->begun = true;
	p->since_ms = loop_now_ms(p->s->w->loop);
	seek(p);
}

static void make_line(struct front_pass *p, struct str initial)
{
	struct sbuf line = { 0 };

	sbuf_extend(&line, initial.n + 32); /* no growing, which would leave a copy behind */
	sbuf_reset(&line);
	sbuf_printf(&line, "AUTH %s", p->mechanism);
	if (initial.p != NULL)
		sbuf_printf(&line, " %.*s", STR_ARG(initial));
	sbuf_puts(&line, "\r\n");
	p->line = line.p;
	p->line_n = line.n;
}

static bool is_offered(const struct session *s, struct str name, char out[MECHANISM_NAME_MAX + 1])
{
	uint64_t offered = front_pass_mechanisms(s);

	for (unsigned i = 0; i < MECHANISMS_MAX; i++) {
		if (!(offered & 1ull << i) || !str_ieq(name, str_from(mechanism_name(i))))
			continue;
		strcpy(out, mechanism_name(i));
		return true;
	}
	return false;
}

enum step front_pass_command(struct session *s, struct str name, struct str initial)
{
	struct auth_attempt who = { .client = &s->client, .caps = &s->lv->config->caps, .user = "" };
	char mechanism[MECHANISM_NAME_MAX + 1];

	if (!is_offered(s, name, mechanism))
		return front_refuse(s, REJECT_PARAMETER, 504, "5.5.4", "this mechanism is not offered");
	struct front_pass *p = xcalloc(1, sizeof(*p));
	p->s = s;
	p->snapshot = snapshot_ref(s->snapshot);
	p->pool = pool_for(s);
	strcpy(p->mechanism, mechanism);
	sasl_pass_init(&p->sasl, p->mechanism, initial);
	make_line(p, initial);
	timer_init(&p->timer, on_timer, p);
	s->front.pass = p;
	front_set_auth_wait(s);
	int64_t wait = auth_failures_wait(engine_auth_failures(s->w->engine), &who, loop_now_ms(s->w->loop));
	timer_set_in(s->w->loop, &p->timer, wait);
	return STEP_DONE;
}

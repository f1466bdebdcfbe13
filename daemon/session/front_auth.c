/* SPDX-License-Identifier: Apache-2.0
 * AUTH from clients: one exchange at a time, driven by the steps of sasl.h.
 *
 * The hard thing is time: a password's hash takes 20 ms that no worker has, so it is asked of the hashing threads, and
 * a failed login is answered late, by a timer. Meanwhile the client's further bytes wait. Whether a user exists must
 * not show, so one who does not is looked up, hashed and refused like one who does.
 */
#include "daemon/session/front_auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/pool/mechanisms.h"
#include "daemon/session/auth_failures.h"
#include "daemon/session/front_pass.h"
#include "daemon/session/hashing.h"
#include "daemon/session/users.h"
#include "daemon/smtp/sasl.h"

#define NONCE_BYTES 24

struct auth_exchange {
	struct sasl *sasl;
	struct snapshot *snapshot; /* whose users count: referenced */
	struct hashing_job *job;   /* at work; NULL = none */
	struct timer timer;        /* holds back the beginning, or the refusal */
	enum sasl_mechanism mechanism;
	char *initial; /* while the beginning is held back; a secret */
	size_t initial_n;
	enum sasl_step refusal; /* while it is held back */
	int64_t since_ms;       /* the client's newest word */
	bool begun, busy;
};

enum { ATTEMPT_OK, ATTEMPT_REFUSED, ATTEMPT_MALFORMED, ATTEMPT_CANCELLED, ATTEMPT_BUSY, ATTEMPT_COUNT };
static const char *const attempt_names[ATTEMPT_COUNT] = { "ok", "refused", "malformed", "cancelled", "busy" };

/* Written once, before there are other threads. */
static series_id attempts[SASL_MECHANISM_COUNT][ATTEMPT_COUNT];

void front_auth_init(void)
{
	front_pass_init();
	for (size_t m = 0; m < SASL_MECHANISM_COUNT; m++)
		for (size_t r = 0; r < ATTEMPT_COUNT; r++)
			attempts[m][r] = metrics_series(METRIC_AUTH_ATTEMPTS_TOTAL,
							(const char *[]) { sasl_mechanism_names[m], attempt_names[r] });
}

/* ---- what is announced ---- */

static unsigned front_auth_mechanisms(const struct session *s)
{
	const struct listener_auth *cf = &s->lv->config->auth;
	const struct users *u = s->snapshot->users;
	unsigned set = cf->mechanisms, passwords = 1u << SASL_PLAIN | 1u << SASL_LOGIN;

	if (cf->mode == LISTENER_AUTH_NONE || cf->mode == LISTENER_AUTH_PASSTHROUGH ||
	    (s->front.tls == NULL && !cf->plaintext))
		return 0;
	if (!users_have_passwords(u))
		set &= ~passwords;
	if (!users_have_scram(u))
		set &= passwords;
	if (s->front.tls == NULL)
		set &= ~(1u << SASL_SCRAM_SHA_256_PLUS);
	return set;
}

bool front_auth_offer(const struct session *s, struct sbuf *out)
{
	const struct listener_auth *cf = &s->lv->config->auth;
	bool passed = cf->mode == LISTENER_AUTH_PASSTHROUGH && (s->front.tls != NULL || cf->plaintext);
	uint64_t names = passed ? front_pass_mechanisms(s) : 0;
	unsigned own = front_auth_mechanisms(s);

	for (unsigned m = 0; m < MECHANISMS_MAX; m++)
		if (names & 1ull << m)
			sbuf_printf(out, " %s", mechanism_name(m));
	for (unsigned m = 0; m < SASL_MECHANISM_COUNT; m++)
		if (own & 1u << m)
			sbuf_printf(out, " %s", sasl_mechanism_names[m]);
	return names != 0 || own != 0;
}

/* ---- the end of an exchange ---- */

static void free_exchange(void *arg)
{
	free(arg);
}

void front_auth_drop(struct session *s)
{
	struct auth_exchange *a = s->front.auth;

	if (a == NULL)
		return;
	s->front.auth = NULL;
	timer_stop(&a->timer);
	if (a->job != NULL)
		hashing_cancel(a->job);
	if (a->initial != NULL)
		OPENSSL_cleanse(a->initial, a->initial_n);
	free(a->initial);
	sasl_free(a->sasl);
	snapshot_unref(a->snapshot);
	loop_defer(s->w->loop, free_exchange, a);
}

static struct auth_attempt attempt_of(const struct session *s, const char *user)
{
	return (struct auth_attempt) {
		.client = &s->client, .caps = &s->lv->config->caps, .user = user, .since_ms = s->front.auth->since_ms
	};
}

static void log_failure(const struct session *s, const struct auth_exchange *a, const char *why)
{
	struct logline l;
	char id[SESSION_ID_MAX];

	log_begin(&l, LOG_LEVEL_INFO, "auth_failed");
	log_cstr(&l, "id", session_id(s, id));
	log_cstr(&l, "listener", s->lv->config->name);
	log_addr(&l, "client", &s->client);
	log_cstr(&l, "helo", s->front.helo);
	log_cstr(&l, "user", sasl_user(a->sasl));
	log_cstr(&l, "mechanism", sasl_mechanism_names[a->mechanism]);
	log_cstr(&l, "why", why);
	log_end(&l);
}

void front_auth_over(struct session *s)
{
	front_set_command(s);
	session_end_if_due(s);
}

void front_auth_unanswered(struct session *s)
{
	if (front_count_error(s))
		front_auth_over(s);
}

static void say_busy_now(struct session *s)
{
	session_reply(s, 454, "4.7.0", "cannot check passwords now, try again");
	front_auth_drop(s);
	front_auth_unanswered(s);
}

/* Late, and counted as an error: answered at once, those who brought this about would ask again as fast as they can,
 * and keep a worker busy with nothing else. */
static void say_busy(struct session *s)
{
	struct auth_exchange *a = s->front.auth;

	metrics_add(attempts[a->mechanism][ATTEMPT_BUSY], 1);
	log_failure(s, a, attempt_names[ATTEMPT_BUSY]);
	a->busy = true;
	front_set_auth_wait(s);
	timer_set_in(s->w->loop, &a->timer, AUTH_FAILURES_FIRST_MS);
}

static void succeed(struct session *s)
{
	struct auth_exchange *a = s->front.auth;
	const char *user = sasl_user(a->sasl);

	metrics_add(attempts[a->mechanism][ATTEMPT_OK], 1);
	auth_failures_forget_user(engine_auth_failures(s->w->engine), user);
	s->front.user = xstrdup(user);
	s->front.user_is_ours = true;
	s->epoch++;
	session_trace(s, 'i', "authenticated", 13);
	session_reply(s, 235, "2.7.0", "welcome");
	front_auth_drop(s);
	front_auth_over(s);
}

/* The delay is over: the refusal goes out. */
static void refuse_now(struct session *s)
{
	struct auth_exchange *a = s->front.auth;
	struct smtp_refusal why;

	sasl_refusal(a->refusal, &why);
	session_reply(s, why.code, why.enhanced, "%s", why.text);
	front_auth_drop(s);
	front_auth_refused(s);
}

void front_auth_refused(struct session *s)
{
	session_reject(s, REJECT_AUTH);
	if (++s->front.auth_failures >= s->lv->config->caps.auth_failures)
		session_close(s, CLOSE_AUTH_FAILURES);
	else
		front_auth_unanswered(s);
}

static void refuse_later(struct session *s, enum sasl_step step)
{
	struct auth_exchange *a = s->front.auth;
	struct auth_attempt who = attempt_of(s, sasl_user(a->sasl));
	int result = step == SASL_REFUSED     ? ATTEMPT_REFUSED
		     : step == SASL_CANCELLED ? ATTEMPT_CANCELLED
					      : ATTEMPT_MALFORMED;

	metrics_add(attempts[a->mechanism][result], 1);
	log_failure(s, a, attempt_names[result]);
	a->refusal = step;
	if (step == SASL_CANCELLED) {
		refuse_now(s);
		return;
	}
	front_set_auth_wait(s);
	timer_set_in(s->w->loop, &a->timer,
		     auth_failures_add(engine_auth_failures(s->w->engine), &who, loop_now_ms(s->w->loop)));
}

/* ---- steps ---- */

static void take(struct session *s, enum sasl_step step);

static void on_verdict(enum hashing_verdict verdict, void *arg)
{
	struct session *s = arg;

	CHECK_OBJ(s, SESSION_MAGIC);
	struct auth_exchange *a = s->front.auth;
	a->job = NULL;
	if (verdict == HASHING_FAILED)
		say_busy(s);
	else
		take(s, sasl_password_verified(a->sasl, verdict == HASHING_GOOD));
}

static void verify_password(struct session *s)
{
	struct auth_exchange *a = s->front.auth;
	const struct users *users = a->snapshot->users;
	const struct user_config *u = users_find(users, sasl_user(a->sasl), &s->client);
	struct hashing_question q = { .user = sasl_user(a->sasl),
				      .password = sasl_password(a->sasl),
				      .hash = u != NULL ? u->password : NULL,
				      .like = users_any_hash(users),
				      .fn = on_verdict,
				      .arg = s };

	switch (hashing_ask(engine_hashing(s->w->engine), s->w->loop, &q, &a->job)) {
	case HASHING_REMEMBERED:
		take(s, sasl_password_verified(a->sasl, true));
		break;
	case HASHING_ASKED:
		front_set_auth_wait(s);
		break;
	case HASHING_FULL:
		say_busy(s);
		break;
	}
}

static void find_verifier(struct session *s)
{
	struct auth_exchange *a = s->front.auth;
	const struct user_config *u = users_find(a->snapshot->users, sasl_user(a->sasl), &s->client);
	struct scram_verifier v;
	const char *why;
	unsigned iterations;
	size_t salt_len;

	users_look(a->snapshot->users, sasl_user(a->sasl), &iterations, &salt_len);
	sasl_look_like(a->sasl, iterations, salt_len);
	bool found = u != NULL && u->scram_sha256 != NULL && scram_verifier_parse(u->scram_sha256, &v, &why);

	take(s, sasl_verifier_found(a->sasl, found ? &v : NULL));
	OPENSSL_cleanse(&v, sizeof(v));
}

static void challenge(struct session *s)
{
	struct sbuf line = { 0 };

	sbuf_puts(&line, "334 ");
	sbuf_puts(&line, sasl_challenge(s->front.auth->sasl));
	sbuf_puts(&line, "\r\n");
	front_relay_secret(s, "334 …\r\n", line.p, line.n);
	sbuf_fini(&line);
	front_set_auth(s);
}

/* An exchange may last for minutes, and its configuration be an old one at its end: who was removed meanwhile, or has
 * another password, is not let in. */
static bool is_still_so(const struct session *s)
{
	const struct auth_exchange *a = s->front.auth;

	return users_agree(a->snapshot->users, s->w->snapshot->users, sasl_user(a->sasl), &s->client);
}

static void take(struct session *s, enum sasl_step step)
{
	switch (step) {
	case SASL_CHALLENGE:
		challenge(s);
		break;
	case SASL_VERIFY_PASSWORD:
		verify_password(s);
		break;
	case SASL_FIND_VERIFIER:
		find_verifier(s);
		break;
	case SASL_DONE:
		if (is_still_so(s))
			succeed(s);
		else
			refuse_later(s, SASL_REFUSED);
		break;
	case SASL_MALFORMED:
	case SASL_CANCELLED:
	case SASL_REFUSED:
	case SASL_STEP_COUNT:
		refuse_later(s, step);
		break;
	}
}

/* ---- beginning ---- */

static void make_nonce(char out[NONCE_BYTES / 3 * 4 + 1])
{
	unsigned char bytes[NONCE_BYTES];

	ASSERT(RAND_bytes(bytes, sizeof(bytes)) == 1);
	EVP_EncodeBlock((unsigned char *)out, bytes, sizeof(bytes));
}

static struct auth_exchange *exchange_new(struct session *s, enum sasl_mechanism mechanism)
{
	struct auth_exchange *a = xcalloc(1, sizeof(*a));
	char nonce[NONCE_BYTES / 3 * 4 + 1];
	uint8_t exporter[STREAM_TLS_BINDING_MAX], end_point[STREAM_TLS_BINDING_MAX];
	struct sasl_setup setup = { .mechanism = mechanism,
				    .plus_announced = front_auth_mechanisms(s) & 1u << SASL_SCRAM_SHA_256_PLUS,
				    .unknown_key = users_unknown_key(s->snapshot->users) };

	make_nonce(nonce);
	setup.nonce = str_from(nonce);
	setup.tls_exporter = (struct str) { (char *)exporter, stream_tls_exporter(&s->front.st, exporter) };
	setup.tls_server_end_point = (struct str) { (char *)end_point, stream_tls_end_point(&s->front.st, end_point) };
	a->mechanism = mechanism;
	a->snapshot = snapshot_ref(s->snapshot);
	a->sasl = sasl_new(&setup);
	return a;
}

static void on_timer(void *arg)
{
	struct session *s = arg;

	CHECK_OBJ(s, SESSION_MAGIC);
	struct auth_exchange *a = s->front.auth;
	if (a->busy) {
		say_busy_now(s);
		return;
	}
	if (a->begun) {
		refuse_now(s);
		return;
	}
	a->begun = true;
	a->since_ms = loop_now_ms(s->w->loop);
	struct str initial = { a->initial, a->initial_n };
	take(s, sasl_start(a->sasl, initial));
}

/* Clients that failed lately wait before they may try again. */
static void begin(struct session *s, struct str initial)
{
	struct auth_exchange *a = s->front.auth;
	struct auth_attempt who = attempt_of(s, "");
	int64_t wait = auth_failures_wait(engine_auth_failures(s->w->engine), &who, loop_now_ms(s->w->loop));

	timer_init(&a->timer, on_timer, s);
	if (wait == 0) {
		a->begun = true;
		a->since_ms = loop_now_ms(s->w->loop);
		take(s, sasl_start(a->sasl, initial));
		return;
	}
	if (initial.p != NULL)
		a->initial = xstrndup(initial.p, initial.n);
	a->initial_n = initial.n;
	front_set_auth_wait(s);
	timer_set_in(s->w->loop, &a->timer, wait);
}

enum step front_auth_command(struct session *s, struct str args)
{
	struct str name, initial;
	enum sasl_mechanism mechanism;

	if (s->lv->config->auth.mode == LISTENER_AUTH_NONE)
		return front_refuse(s, REJECT_UNKNOWN, 502, "5.5.1", "command not available here");
	if (s->front.user != NULL || s->txn != NULL)
		return front_refuse(s, REJECT_SEQUENCE, 503, "5.5.1",
				    s->txn != NULL ? "not inside a transaction" : "you are known already");
	if (!sasl_auth_parse(args, &name, &initial))
		return front_refuse(s, REJECT_SYNTAX, 501, "5.5.4", "a mechanism is needed, and one response at most");
	if (s->front.tls == NULL && !s->lv->config->auth.plaintext)
		return front_refuse(s, REJECT_TLS_REQUIRED, 538, "5.7.11", "this needs TLS: STARTTLS first");
	if (s->lv->config->auth.mode == LISTENER_AUTH_PASSTHROUGH)
		return front_pass_command(s, name, initial);
	if (!sasl_mechanism_find(name, &mechanism) || !(front_auth_mechanisms(s) & 1u << mechanism))
		return front_refuse(s, REJECT_PARAMETER, 504, "5.5.4", "this mechanism is not offered");
	s->front.auth = exchange_new(s, mechanism);
	begin(s, initial);
	return STEP_DONE;
}

enum step front_auth_line(struct session *s, struct str line)
{
	if (s->front.pass != NULL) {
		front_pass_line(s, line);
		return STEP_DONE;
	}
	session_trace(s, 'C', "(a response, not shown)", 23);
	s->front.auth->since_ms = loop_now_ms(s->w->loop);
	take(s, sasl_step(s->front.auth->sasl, line));
	return STEP_DONE;
}

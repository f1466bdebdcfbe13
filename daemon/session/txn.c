/* SPDX-License-Identifier: Apache-2.0
 * One mail transaction: opening, its route, the verdicts on its recipients, its end. The server's side of it is
 * txn_server.c.
 */
#include "daemon/session/txn.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/session/front.h"
#include "daemon/session/txn_server.h"

/* How many recipients of one message may be refused beyond the cap before the session ends. */
#define RCPT_EXTRA 1000
/* What the recipients of one message may take of memory, whatever their number; a hundred of any length always may (RFC
 * 5321 4.5.3.1.8). */
#define RCPT_BYTES_MAX (256 * 1024)
#define RCPT_ALWAYS 100

const char *const txn_result_names[RESULT_COUNT] = { "accepted", "tempfail", "permfail", "none" };
const char *const txn_cause_names[CAUSE_COUNT] = {
#define CAUSE(ID, name, results) name,
#include "daemon/session/txn_cause.tbl.h"
#undef CAUSE
};

/* ---- opening ---- */

/* As routes compare it: the null sender is "<>". */
static struct str address_of(const struct smtp_path *p)
{
	return p->mailbox.n == 0 ? STR("<>") : p->mailbox;
}

static unsigned needs_of_mail(const struct smtp_mail *m)
{
	unsigned need = 0;

	if (m->body == SMTP_BODY_8BITMIME)
		need |= SMTP_EXT_8BITMIME;
	if (m->smtputf8)
		need |= SMTP_EXT_SMTPUTF8;
	if (m->ret.p != NULL || m->envid.p != NULL)
		need |= SMTP_EXT_DSN;
	return need;
}

#define ENVELOPE_TYPICAL 1024 /* bytes: sender, a recipient or two */

void txn_open(struct session *s, struct str args)
{
	struct arena *arena = arena_new(sizeof(struct txn) + ENVELOPE_TYPICAL);
	struct txn *t = arena_alloc(arena, sizeof(*t));
	struct smtp_refusal unused;

	t->magic = TXN_MAGIC;
	t->s = s;
	t->arena = arena;
	t->snapshot = snapshot_ref(s->snapshot);
	/* Parsed again over our own copy: the views of the first parse point into a read buffer. */
	struct str copy = { arena_strndup(arena, args.p, args.n), args.n };
	bool ok = smtp_mail_parse(copy, s->front.exts, &t->mail, &unused);
	ASSERT(ok);
	t->sender = address_of(&t->mail.path);
	if (!smtp_domain_fold(t->mail.path.domain, t->sender_domain))
		t->sender_domain[0] = '\0';
	t->need_exts = needs_of_mail(&t->mail);
	t->route = -1;
	list_init(&t->rcpts);
	t->started_us = loop_now_us(s->w->loop);
	t->state = TXN_HELD;
	txn_server_init(t);
	s->txn = t;
	s->n_txns++;
}

/* ---- verdicts ---- */

void txn_note_reply(struct txn *t, const struct smtp_reply *r)
{
	size_t n = r->text.n < 400 ? r->text.n : 400;

	while (n > 0 && (r->text.p[n - 1] == '\n' || r->text.p[n - 1] == '\r'))
		n--;
	free(t->last_reply);
	t->last_reply = xstrndup(r->text.p, n);
	t->last_code = r->code;
}

void txn_forget_reply(struct txn *t)
{
	free(t->last_reply);
	t->last_reply = NULL;
}

static enum txn_result result_of(unsigned code)
{
	return code < 400 ? RESULT_ACCEPTED : code < 500 ? RESULT_TEMPFAIL : RESULT_PERMFAIL;
}

static void count_rcpt(struct txn *t, unsigned code)
{
	if (t->pool != NULL)
		metrics_add(t->pool->series.recipients[result_of(code)], 1);
}

struct rcpt *txn_next_rcpt(const struct txn *t, const struct rcpt *rc)
{
	return rc->link.next == &t->rcpts ? NULL : CONTAINER_OF(rc->link.next, struct rcpt, link);
}

static void rcpt_done(struct txn *t, struct rcpt *rc, unsigned code)
{
	ASSERT(!rc->answered && t->n_unanswered > 0 && t->n_out > 0);
	rc->answered = true;
	t->n_unanswered--;
	t->n_out--;
	count_rcpt(t, code);
	if (code < 300) {
		rc->promised = true;
		rc->state = RCPT_ACCEPTED;
		t->n_promised++;
		return;
	}
	rc->state = RCPT_REFUSED;
	t->n_refused++;
	t->last_code = code;
	t->last_cause = t->outcome.code != 0 ? t->outcome.cause : CAUSE_BACKEND;
	if (code >= 500)
		t->s->front.errors++; /* looked at with the next MAIL: a message with many bad recipients still goes */
	txn_log_rcpt(t, &(struct rcpt_refusal) { .to = rc->address, .code = code });
	if (t->unsent == rc)
		t->unsent = txn_next_rcpt(t, rc);
	list_remove(&rc->link);
}

/* Answers every recipient without a verdict, in order. reply: a backend's, canonical; or NULL for our own. */
static void refuse_pending(struct txn *t, const char *reply, unsigned code, const char *enhanced, const char *text)
{
	struct list *tmp;
	struct rcpt *rc;

	if (t->n_unanswered == 0)
		return;
	LIST_FOR_EACH(rc, tmp, &t->rcpts, link) {
		if (rc->answered)
			continue;
		if (reply != NULL)
			session_relay_text(t->s, str_from(reply));
		else
			session_reply(t->s, code, enhanced, "%s", text);
		rcpt_done(t, rc, code);
	}
}

static void verdicts_in(struct txn *t)
{
	if (t->n_unanswered == 0)
		session_go_on(t->s);
}

void txn_rcpt_verdict(struct txn *t, struct rcpt *rc, const struct smtp_reply *r)
{
	txn_note_reply(t, r);
	session_relay_text(t->s, r->text);
	rcpt_done(t, rc, r->code);
	verdicts_in(t);
}

void txn_mail_verdict(struct txn *t, const struct smtp_reply *r)
{
	txn_note_reply(t, r);
	t->mail_refused = true;
	free(t->mail_reply);
	t->mail_reply = xstrndup(r->text.p, r->text.n);
	t->mail_code = r->code;
	refuse_pending(t, t->mail_reply, r->code, NULL, NULL);
	verdicts_in(t);
}

/* ---- routes ---- */

/* folded holds what e points into. */
static void make_envelope(const struct txn *t, const struct smtp_rcpt *r, char folded[SMTP_DOMAIN_MAX + 1],
			  struct envelope *e)
{
	if (!smtp_domain_fold(r->path.domain, folded))
		folded[0] = '\0';
	*e = (struct envelope) {
		.listener = t->s->lv->config->name,
		.client = &t->s->client,
		.user = t->s->front.user,
		.certificate = t->s->front.certificate,
		.helo = str_from(t->s->front.helo == NULL ? "" : t->s->front.helo),
		.sender = t->sender,
		.sender_domain = str_from(t->sender_domain),
		.recipient = address_of(&r->path),
		.recipient_domain = str_from(folded),
	};
}

static int route_of(const struct txn *t, const struct envelope *e)
{
	if (!listener_accepts(t->snapshot, t->s->lv->config, e))
		return TXN_ROUTE_RELAY_DENIED;
	return policy_route(t->snapshot->policy, e);
}

static const struct route_config *route_config(const struct txn *t, int route)
{
	return route < 0 ? NULL : &t->snapshot->policy_config->routes[route];
}

static struct pool *route_pool(const struct txn *t, int route)
{
	/* The listener's view of this transaction's own snapshot: the session may have moved on. */
	return route < 0 ? t->s->lv->pool : t->snapshot->route_pools[route];
}

/* Nobody was accepted under the old route: forget it and its server. */
static void leave_route(struct txn *t)
{
	txn_release_back(t);
	t->mail_state = RCPT_UNSENT;
	txn_forget_xforward(t);
	t->routed = false;
	t->pool = NULL;
	t->n_tried = 0;
	t->mail_refused = false;
	t->outcome = (struct outcome) { 0 };
	t->state = TXN_HELD;
	while (!list_empty(&t->rcpts))
		list_remove(t->rcpts.next);
	t->unsent = NULL;
	t->n_out = 0;
	t->skip_full = t->retrying = t->was_bored = false;
	t->waiter.ticket = 0;
}

/* A recipient that goes no further than here. */
static void refuse_here(struct txn *t, const struct rcpt_refusal *r, enum reject_reason why, const char *enhanced,
			const char *text)
{
	struct rcpt_refusal logged = *r;

	logged.reason = reject_reason_names[why];
	session_reject(t->s, why);
	session_reply(t->s, r->code, enhanced, "%s", text);
	txn_log_rcpt(t, &logged);
}

static void refused_by_policy(struct txn *t, unsigned code)
{
	t->n_refused++;
	t->last_code = code;
	t->last_cause = CAUSE_POLICY;
	if (code >= 500)
		t->s->front.errors++; /* as if a server had said it: see rcpt_done() */
}

/* "5.7.1 not from here" into its two parts. */
static void refuse_by_route(struct txn *t, const struct smtp_rcpt *r, const struct route_config *rt)
{
	bool reject = rt->action == ROUTE_REJECT;
	const char *text = route_refusal(rt);
	const char *space = strchr(text, ' ');
	struct rcpt_refusal refusal = { .to = r->path.mailbox, .code = reject ? 550 : 450, .route = rt->name };
	char enhanced[16];

	refused_by_policy(t, refusal.code);
	if (space == NULL || (size_t)(space - text) >= sizeof(enhanced) || (text[0] != '4' && text[0] != '5') ||
	    text[1] != '.') {
		refuse_here(t, &refusal, REJECT_ROUTE, reject ? "5.7.1" : "4.7.1", text);
		return;
	}
	memcpy(enhanced, text, (size_t)(space - text));
	enhanced[space - text] = '\0';
	refuse_here(t, &refusal, REJECT_ROUTE, enhanced, space + 1);
}

/* A recipient of another route, while one was accepted. True: it follows the first. */
static bool mixed_follows(struct txn *t, const struct smtp_rcpt *r, const struct route_config *rt)
{
	struct rcpt_refusal refusal = { .to = r->path.mailbox, .route = rt == NULL ? NULL : rt->name };

	switch (t->s->lv->config->mixed_recipients) {
	case MIXED_FIRST:
		return true;
	case MIXED_REJECT:
		refusal.code = 554;
		refuse_here(t, &refusal, REJECT_MIXED, "5.5.4",
			    "recipients of several routes in one message are not accepted");
		break;
	case MIXED_DEFER:
	case MIXED_COUNT:
		refusal.code = 452;
		refuse_here(t, &refusal, REJECT_MIXED, "4.5.3",
			    "this recipient goes another way, send it in a separate message");
		break;
	}
	return false;
}

/* ---- RCPT ---- */

static bool needs_dsn(const struct smtp_rcpt *r)
{
	return r->notify.p != NULL || r->orcpt.p != NULL;
}

static void add_rcpt(struct txn *t, const struct smtp_rcpt *r)
{
	struct rcpt *rc = arena_alloc(t->arena, sizeof(*rc));
	struct str to = r->path.mailbox;
	size_t cap = to.n + r->params.n + 20;
	char *line = arena_alloc(t->arena, cap);

	char *end = mempcpy(line, "RCPT TO:<", strlen("RCPT TO:<"));
	end = mempcpy(end, to.p, to.n);
	*end++ = '>';
	if (r->params.n > 0) {
		*end++ = ' ';
		end = mempcpy(end, r->params.p, r->params.n);
	}
	end = mempcpy(end, "\r\n", 2);
	rc->line = line;
	rc->line_n = (size_t)(end - line);
	t->rcpt_bytes += cap;
	rc->address = (struct str) { line + strlen("RCPT TO:<"), to.n };
	rc->state = RCPT_UNSENT;
	if (needs_dsn(r))
		t->need_exts |= SMTP_EXT_DSN;
	list_append(&t->rcpts, &rc->link);
	if (t->unsent == NULL)
		t->unsent = rc;
	t->n_unanswered++;
	t->n_out++;
}

static bool is_full(const struct txn *t)
{
	return t->n_promised + t->n_unanswered >= t->s->lv->config->caps.recipients ||
	       (t->n_rcpts > RCPT_ALWAYS && t->rcpt_bytes >= RCPT_BYTES_MAX);
}

static bool too_many(struct txn *t, const struct smtp_rcpt *r)
{
	if (!is_full(t))
		return false;
	refuse_here(t, &(struct rcpt_refusal) { .to = r->path.mailbox, .code = 452 }, REJECT_RECIPIENTS, "4.5.3",
		    "too many recipients, send the rest in another message");
	return true;
}

/* The server at work cannot take a parameter of this recipient (its EHLO changed since ours was made). True: answered.
 */
static bool server_cannot(struct txn *t, const struct smtp_rcpt *r)
{
	if (t->back == NULL || t->state != TXN_ENVELOPE || !needs_dsn(r) || t->back->exts & SMTP_EXT_DSN)
		return false;
	if (t->n_promised == 0) {
		leave_route(t);
		return false;
	}
	refuse_here(t, &(struct rcpt_refusal) { .to = r->path.mailbox, .code = 451 }, REJECT_NO_SERVER, "4.3.0",
		    "the server cannot do DSN now, send this recipient in another message");
	return true;
}

/* True: answered here and now. */
static bool refused_at_once(struct txn *t, const struct smtp_rcpt *r, int route)
{
	const struct route_config *rt = route_config(t, route);

	if (route == TXN_ROUTE_RELAY_DENIED) {
		refused_by_policy(t, 550);
		refuse_here(t, &(struct rcpt_refusal) { .to = r->path.mailbox, .code = 550 }, REJECT_RELAY, "5.7.1",
			    "this domain is not served here");
		return true;
	}
	if (rt == NULL || rt->action == ROUTE_POOL)
		return false;
	refuse_by_route(t, r, rt);
	return true;
}

void txn_rcpt(struct txn *t, const struct smtp_rcpt *r, bool *ret_wait)
{
	CHECK_OBJ(t, TXN_MAGIC);
	char folded[SMTP_DOMAIN_MAX + 1];
	struct envelope e;

	make_envelope(t, r, folded, &e);
	int route = route_of(t, &e);
	uint64_t cap = t->s->lv->config->caps.recipients;
	bool same = t->routed && route == t->route;

	/* Verdicts may be due for the same route only, and a refusal of our own must not overtake them. */
	*ret_wait = t->n_unanswered > 0 && (!same || is_full(t) || needs_dsn(r));
	if (*ret_wait)
		return;
	if (++t->n_rcpts > cap + RCPT_EXTRA) {
		session_close(t->s, CLOSE_ERRORS); /* mostly refused ones: somebody is guessing addresses */
		return;
	}
	if (refused_at_once(t, r, route) || too_many(t, r) || server_cannot(t, r))
		return;
	if (t->routed && !same) {
		if (t->n_promised == 0)
			leave_route(t);
		else if (!mixed_follows(t, r, route_config(t, route)))
			return;
	}
	if (!t->routed) {
		t->routed = true;
		t->route = route;
		t->pool = route_pool(t, route);
		t->balance_hash = balance_hash(t->pool->config, &e);
	}
	add_rcpt(t, r);
	if (t->mail_refused)
		refuse_pending(t, t->mail_reply, t->mail_code, NULL, NULL);
	else if (t->outcome.code != 0)
		refuse_pending(t, NULL, t->outcome.code, t->outcome.enhanced, t->outcome.text);
	else
		txn_pump(t);
}

/* ---- DATA ---- */

void txn_data(struct txn *t)
{
	CHECK_OBJ(t, TXN_MAGIC);
	ASSERT(t->n_unanswered == 0 && t->n_promised > 0);
	t->data_wanted = true;
	relay_expect(t);
	if (t->outcome.code != 0) {
		txn_decide(t, t->outcome.code, t->outcome.enhanced, t->outcome.text, t->outcome.cause);
		return;
	}
	txn_pump(t);
}

/* ---- decisions of our own ---- */

void txn_decide(struct txn *t, unsigned code, const char *enhanced, const char *text, enum txn_cause cause)
{
	t->outcome = (struct outcome) { code, enhanced, text, cause };
	txn_release_back(t);
	if (t->client_gone) {
		txn_finish(t, result_of(code), cause);
		return;
	}
	if ((t->data_promised || t->chunked) && !t->eod) {
		/* Never back to commands before the true end of data, or of the chunk. */
		t->state = TXN_DRAIN;
		relay_begin_drain(t);
		return;
	}
	if (!t->data_wanted) {
		refuse_pending(t, NULL, code, enhanced, text);
		t->state = TXN_HELD;
		verdicts_in(t);
		return;
	}
	txn_say_outcome(t);
}

void txn_say_outcome(struct txn *t)
{
	if (t->outcome_reply != NULL)
		session_relay_text(t->s, str_from(t->outcome_reply));
	else
		session_reply(t->s, t->outcome.code, t->outcome.enhanced, "%s", t->outcome.text);
	txn_finish(t, result_of(t->outcome.code), t->outcome.cause);
}

/* ---- the end ---- */

static void free_txn(void *arg)
{
	struct txn *t = arg;

	t->magic = 0;
	arena_free(t->arena);
}

static void count_outcome(const struct txn *t, enum txn_result result, enum txn_cause cause)
{
	const char *pool = t->pool != NULL ? t->pool->config->name : "";
	series_id id = listener_runtime_series(t->s->run, pool)->outcome[result][cause];

	if (id == 0) /* the table of causes says that this cannot be */
		log_msg(LOG_LEVEL_ERROR, "uncounted", "no series for result %s, cause %s", txn_result_names[result],
			txn_cause_names[cause]);
	metrics_add(id, 1);
}

void txn_finish(struct txn *t, enum txn_result result, enum txn_cause cause)
{
	struct session *s = t->s;

	CHECK_OBJ(t, TXN_MAGIC);
	ASSERT(t->state != TXN_OVER);
	txn_release_back(t);
	t->state = TXN_OVER;
	timer_stop(&t->timer);
	txn_log(t, result, cause);
	count_outcome(t, result, cause);
	if (result == RESULT_NONE)
		s->front.junk++; /* begun and given up, again and again, is a flood like any other */
	if (result == RESULT_ACCEPTED) {
		metrics_observe(s->w->m_message_bytes, t->scan.content);
		s->front.errors = s->front.junk = 0; /* a client that delivers mail is no nuisance */
	}
	relay_drop_replay(t);
	free(t->mail_reply);
	free(t->last_reply);
	free(t->outcome_reply);
	sbuf_fini(&t->xforward);
	snapshot_unref(t->snapshot);
	s->txn = NULL;
	loop_defer(s->w->loop, free_txn, t);
	session_txn_over(s);
}

void txn_abort(struct txn *t, enum txn_cause cause)
{
	bool refused_by_server = t->n_refused > 0 && t->n_promised == 0 && t->n_unanswered == 0 && t->last_code >= 400;

	if (!refused_by_server || cause == CAUSE_TIMEOUT) {
		txn_finish(t, RESULT_NONE, cause);
		return;
	}
	/* Every recipient was refused: that is the outcome, whatever command the client sent next. */
	txn_finish(t, result_of(t->last_code), t->last_cause);
}

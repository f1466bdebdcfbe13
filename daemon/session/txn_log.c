/* SPDX-License-Identifier: Apache-2.0
 * The log lines of a transaction: one at its end, one per refused recipient; and of one that came round.
 */
#include <stdio.h>

#include "daemon/base/log.h"
#include "daemon/session/txn_server.h"

static void log_who(struct logline *l, const struct session *s)
{
	char id[SESSION_ID_MAX];
	struct logline *line = l;

	session_id(s, id);
	size_t n = strlen(id);
	snprintf(id + n, sizeof(id) - n, ".%u", s->n_txns);
	log_cstr(line, "id", id);
	log_cstr(line, "listener", s->lv->config->name);
	log_addr(line, "client", &s->client);
	if (session_via(s) != NULL)
		log_addr(line, "via", session_via(s));
	log_cstr(line, "helo", s->front.helo);
	log_cstr(line, "user", s->front.user);
	log_cstr(line, "tls", s->front.tls);
}

static const char *route_name(const struct txn *t)
{
	return t->routed && t->route >= 0 ? t->snapshot->policy_config->routes[t->route].name : NULL;
}

void txn_log(struct txn *t, enum txn_result result, enum txn_cause cause)
{
	struct logline l;
	const struct session *s = t->s;

	if (t->logged || !log_enabled(LOG_LEVEL_INFO))
		return;
	t->logged = true;
	log_begin(&l, cause == CAUSE_AMBIGUOUS ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "transaction");
	log_who(&l, s);
	log_str(&l, "from", t->sender);
	log_int(&l, "rcpts", t->n_promised);
	if (t->n_promised > 0)
		log_str(&l, "to", LIST_FIRST(&t->rcpts, struct rcpt, link)->address);
	log_cstr(&l, "route", route_name(t));
	log_cstr(&l, "pool", t->pool != NULL ? t->pool->config->name : NULL);
	log_cstr(&l, "server", t->server_name);
	log_int(&l, "size", (int64_t)t->scan.content);
	log_cstr(&l, "result", txn_result_names[result]);
	log_cstr(&l, "cause", txn_cause_names[cause]);
	log_cstr(&l, "reply", t->last_reply);
	log_duration(&l, "wait", t->wait_us);
	log_int(&l, "retries", t->n_retries);
	log_duration(&l, "dot", t->dot_us);
	log_duration(&l, "took", loop_now_us(s->w->loop) - t->started_us);
	log_end(&l);
}

void txn_log_rcpt(const struct txn *t, const struct rcpt_refusal *r)
{
	bool ours = r->reason != NULL;
	struct logline l;

	if (!log_enabled(LOG_LEVEL_INFO))
		return;
	log_begin(&l, LOG_LEVEL_INFO, "recipient_refused");
	log_who(&l, t->s);
	log_str(&l, "from", t->sender);
	log_str(&l, "to", r->to);
	log_cstr(&l, "route", ours ? r->route : route_name(t));
	log_cstr(&l, "pool", !ours && t->pool != NULL ? t->pool->config->name : NULL);
	log_cstr(&l, "server", ours ? NULL : t->server_name);
	log_int(&l, "code", r->code);
	log_cstr(&l, "reason", r->reason);
	log_cstr(&l, "reply", ours ? NULL : t->last_reply);
	log_end(&l);
}

void txn_log_loop(const struct session *s, const struct smtp_mail *m)
{
	struct logline l;

	log_begin(&l, LOG_LEVEL_WARNING, "mail_loop");
	log_who(&l, s);
	log_str(&l, "from", m->path.mailbox.n > 0 ? m->path.mailbox : STR("<>"));
	log_str(&l, "hops", m->hops);
	log_end(&l);
}

/* SPDX-License-Identifier: Apache-2.0
 * XCLIENT: the client says for whom it speaks, and the session begins anew as that client's.
 *
 * The hard thing is that all checks of a new connection hold for the client that is named: networks and caps are looked
 * at again. Who may use XCLIENT is decided by who connected, never by what XCLIENT itself has said. Source: Postfix's
 * XCLIENT_README.
 */
#include "daemon/session/front_xclient.h"

#include <stdlib.h>

#include "daemon/pool/self.h"
#include "daemon/session/back_pin.h"
#include "daemon/session/chunk.h"
#include "daemon/session/txn.h"
#include "daemon/smtp/xclient.h"

static bool is_trusted(const struct session *s)
{
	const struct cidr_list *nets = &s->lv->config->accept_xclient;

	return nets->present && cidr_match_any(nets->v, nets->n, s->naming == NULL ? &s->client : &s->naming->origin);
}

void front_xclient_announce(const struct session *s, struct sbuf *out)
{
	char line[XCLIENT_KEYWORD_MAX];

	if (!is_trusted(s))
		return;
	size_t n = xclient_announce(SMTP_XCLIENT_ATTRS, line);
	sbuf_printf(out, "250-%.*s\r\n", (int)n, line);
}

void front_take_name(struct session *s, struct str name, bool esmtp)
{
	const struct xclient *told = session_told(s);
	struct front *f = &s->front;

	if (told != NULL && told->given & SMTP_XATTR_HELO)
		name = str_from(told->helo);
	bool same = f->helo != NULL && str_eq(str_from(f->helo), name) && f->esmtp == esmtp;
	char *copy = xstrndup(name.p, name.n);
	free(f->helo);
	f->helo = copy;
	f->esmtp = esmtp;
	if (!same)
		s->epoch++;
}

/* Counts the connection as the new client's. */
static enum client_verdict count_anew(struct session *s)
{
	const struct listener_config *cf = s->lv->config;
	int64_t now = loop_now_ms(s->w->loop);

	if (s->counted != NULL)
		clients_leave(s->run->clients, s->counted, now);
	s->counted = NULL;
	if (cf->exempt.present && cidr_match_any(cf->exempt.v, cf->exempt.n, &s->client))
		return CLIENT_OK;
	return clients_enter(s->run->clients, &s->client, &cf->caps, now, &s->counted);
}

/* The checks of a new connection. False: the session is over. */
static bool admit(struct session *s)
{
	if (listener_refuses(s->lv->config, &s->client) != NULL) {
		metrics_add(s->run->m_connections[ACCEPT_DENIED], 1);
		session_close(s, CLOSE_DENIED);
		return false;
	}
	enum client_verdict verdict = count_anew(s);
	if (verdict == CLIENT_OK)
		return true;
	metrics_add(s->run->m_connections[verdict == CLIENT_TOO_MANY ? ACCEPT_CLIENT_FULL : ACCEPT_CLIENT_RATE], 1);
	session_close(s, CLOSE_CLIENT_FULL);
	return false;
}

static void take_login(struct session *s)
{
	const struct xclient *x = session_told(s);

	if (x->given & SMTP_XATTR_LOGIN)
		s->front.user = xstrdup(x->login);
}

/* Reads what is said over what was said before. An address other than the one that was named before names another
 * client, of whom nothing was said yet: NAME, HELO and LOGIN of the former one must not pass for his. False: refused.
 */
static bool read_told(const struct session *s, struct str args, struct xclient *ret, struct smtp_refusal *why)
{
	const unsigned addr = SMTP_XATTR_ADDR;
	const struct xclient *told = session_told(s);
	struct xclient alone = { 0 };

	*ret = told != NULL ? *told : alone;
	if (!xclient_parse(args, SMTP_XCLIENT_ATTRS, ret, why) || !xclient_parse(args, SMTP_XCLIENT_ATTRS, &alone, why))
		return false;
	bool other = told != NULL && (alone.given | alone.unavailable) & addr &&
		     (told->given | told->unavailable) & addr && !addr_eq_ip(&alone.addr, &told->addr);
	if (other)
		*ret = alone;
	return true;
}

static void forget_user(struct session *s)
{
	free(s->front.user);
	s->front.user = NULL;
	s->front.user_is_ours = false;
}

static void begin_anew(struct session *s)
{
	struct front *f = &s->front;

	free(f->helo);
	f->helo = NULL;
	if (s->login_pool != NULL)
		back_pin_forget_login(s);
	forget_user(s); /* a login is that of the client who made it */
	f->greeted = f->esmtp = false;
	f->exts = f->unknown = 0;
	s->epoch++;
}

static void name_client(struct session *s, const struct xclient *said)
{
	static const struct addr unknown;

	if (s->naming == NULL)
		session_naming(s, &s->client, &unknown);
	struct naming *n = s->naming;
	if (n->told == NULL)
		n->told = xcalloc(1, sizeof(*n->told));
	*n->told = *said;
	s->client = n->origin;
	n->local = n->origin_local;
	session_ends(s, &s->client, &n->local);
	xclient_ends(n->told, &s->client, &n->local);
}

enum step front_xclient_command(struct session *s, struct str args)
{
	struct smtp_refusal why;
	struct xclient said;

	if (!is_trusted(s))
		return front_refuse(s, REJECT_XCLIENT, 550, "5.7.0", "you may not speak for others");
	if (s->txn != NULL)
		return front_refuse(s, REJECT_SEQUENCE, 503, "5.5.1", "not inside a transaction");
	if (!read_told(s, args, &said, &why))
		return front_refuse(s, REJECT_SYNTAX, why.code, why.enhanced, why.text);
	struct addr before = s->client;
	name_client(s, &said);
	begin_anew(s);
	chunk_reset(s);
	take_login(s);
	if (!addr_eq(&before, &s->client) && !admit(s))
		return STEP_DONE;
	session_reply(s, 220, "", "%s ESMTP Postroad %s", s->lv->config->hostname, self_token());
	return STEP_MORE;
}

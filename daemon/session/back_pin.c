/* SPDX-License-Identifier: Apache-2.0
 * Backend connections of one session: those that say who the client is (PROXY, XCLIENT), and the one of its login.
 *
 * The hard thing is that what was said must stay true: a connection is used again only by its session, and only while
 * nothing changed of what the server was told (the session's epoch). A login is lost with its connection, so that one
 * is kept through age and new configurations, which a connection that can be replaced is not.
 */
#include "daemon/session/back_pin.h"

#include <stdlib.h>

#include "daemon/session/back_idle.h"
#include "daemon/session/identity.h"
#include "daemon/session/txn.h"

static bool serves(const struct back *b, const struct pool *p)
{
	return strcmp(b->server->pool, p->config->name) == 0;
}

static bool waits(const struct back *b)
{
	return b->txn == NULL && (b->resting || b->state == BACK_RSET);
}

static void let_go(struct back *b)
{
	if (b->resting)
		back_quit(b);
	else
		back_drop(b);
}

void back_pin(struct back *b, struct session *s)
{
	struct list *tmp;
	struct back *other;

	LIST_FOR_EACH(other, tmp, &s->pinned, pin_link)
		if (serves(other, b->pool) && waits(other))
			let_go(other);
	b->session = s;
	b->reserved = true;
	b->epoch = s->epoch;
	list_append(&s->pinned, &b->pin_link);
}

void back_unpin(struct back *b)
{
	if (b->session == NULL)
		return;
	if (b->login)
		session_login_lost(b->session);
	b->login = false;
	b->session = NULL;
	list_remove(&b->pin_link);
}

void back_pin_login(struct back *b, struct session *s)
{
	b->pass = NULL;
	if (b->session == NULL)
		back_pin(b, s);
	b->epoch = s->epoch;
	b->login = true;
	s->login_pool = xstrdup(b->server->pool);
	back_pin_rest(b);
}

void back_pin_forget_login(struct session *s)
{
	struct list *tmp;
	struct back *b;

	free(s->login_pool);
	s->login_pool = NULL;
	LIST_FOR_EACH(b, tmp, &s->pinned, pin_link) {
		if (!b->login)
			continue;
		b->login = false;
		let_go(b);
	}
}

static bool same_identity(const struct back *b, const struct pool *p)
{
	const struct identity_config *was = &b->pool->config->identity, *is = &p->config->identity;

	if (was->proxy != is->proxy || was->xclient != is->xclient)
		return false;
	return b->epoch == b->session->epoch || !identity_pins(is);
}

static bool is_true(const struct back *b, const struct pool *p)
{
	if (b->login || !same_identity(b, p))
		return same_identity(b, p);
	return pool_tls_same(&b->pool->config->tls, &p->config->tls) &&
	       pool_auth_same(&b->pool->config->auth, &p->config->auth) &&
	       loop_now_ms(b->w->loop) - b->opened_ms < p->config->reuse.max_age_ms;
}

struct server *back_pinned_server(struct session *s, const struct pool *p)
{
	struct list *tmp;
	struct back *b;

	LIST_FOR_EACH(b, tmp, &s->pinned, pin_link) {
		if (!serves(b, p) || !waits(b))
			continue;
		if (is_true(b, p))
			return b->server;
		let_go(b);
	}
	return NULL;
}

struct back *back_pin_take(struct session *s, const struct pool *p, const struct server *server)
{
	struct list *tmp;
	struct back *b;

	LIST_FOR_EACH(b, tmp, &s->pinned, pin_link) {
		if (b->server != server || !waits(b) || !is_true(b, p))
			continue;
		if (b->resting) { /* an RSET on its way keeps its own deadline */
			back_idle_leave(b);
			timer_stop(&b->timer);
		}
		b->resting = false;
		return b;
	}
	return NULL;
}

static bool may_rest(const struct back *b)
{
	const struct reuse_config *cf = &b->pool->config->reuse;

	if (b->session == NULL || b->session->closing || b->session->detached || b->w->stopping ||
	    !back_idle_server_is_usable(b->server))
		return false;
	return b->login || (cf->idle > 0 && loop_now_ms(b->w->loop) - b->opened_ms < cf->max_age_ms);
}

void back_pin_rest(struct back *b)
{
	if (!may_rest(b)) {
		back_quit(b);
		return;
	}
	b->resting = true;
	if (!b->login) { /* a login cannot be made anew for a session: it makes room for nobody */
		back_idle_rest(b);
		return;
	}
	b->state = BACK_READY;
	b->txn = NULL;
	b->reused = true;
	timer_set_in(b->w->loop, &b->timer, b->pool->config->reuse.idle_timeout_ms);
}

void back_pins_end(struct session *s)
{
	struct list *tmp;
	struct back *b;

	LIST_FOR_EACH(b, tmp, &s->pinned, pin_link) {
		back_unpin(b);
		if (b->resting)
			back_quit(b);
	}
}

void back_pin_prune(struct worker *w)
{
	struct list *tmp;
	struct back *b;

	LIST_FOR_EACH(b, tmp, &w->backs, link)
		if (b->resting && !back_idle_server_is_usable(b->server))
			back_quit(b);
}

/* ---- XCLIENT ---- */

bool back_xclient_make(struct back *b)
{
	unsigned attrs = b->pool->config->identity.xclient & b->xclient;
	struct xclient_client c;

	if (attrs == 0)
		return false;
	identity_client(b->session, NULL, &c);
	xclient_commands(&b->commands, attrs, &c);
	if (attrs & SMTP_XATTR_HELO && c.helo.n > 0) {
		/* From here on we speak for the client; a name of ours would hide the one that was told. */
		free(b->helo);
		b->helo = xstrndup(c.helo.p, c.helo.n);
	}
	return true;
}

bool back_xclient_next(struct back *b)
{
	struct str line;
	size_t len;

	if (b->commands_at == b->commands.n)
		return false;
	if (smtp_line(b->commands.p + b->commands_at, b->commands.n - b->commands_at, SMTP_LINE_MAX, &len, &line) !=
	    SMTP_LINE_OK)
		return false;
	back_say(b, b->commands.p + b->commands_at, len);
	b->commands_at += len;
	b->told = true;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0
 * The envelope on its way to the server: XFORWARD, MAIL, RCPT, and what opens the content.
 *
 * The hard thing is that it is sent more than once: what is to be sent is a state per recipient, not a position in a
 * script, so a new server simply starts with everything unsent and the same pump sends it.
 */
#include <stdio.h>

#include "daemon/pool/self.h"
#include "daemon/session/back_content.h"
#include "daemon/session/identity.h"
#include "daemon/session/txn_server.h"

static size_t mail_line(const struct txn *t, char *out, size_t cap)
{
	const struct smtp_mail *m = &t->mail;
	unsigned exts = t->back->exts;
	int n = snprintf(out, cap, "MAIL FROM:<%.*s>", STR_ARG(m->path.mailbox));

	/* Only what this server announced; pool_pick() saw to it that what matters was. */
	if (m->has_size && exts & SMTP_EXT_SIZE)
		n += snprintf(out + n, cap - (size_t)n, " SIZE=%llu", (unsigned long long)m->size);
	if (m->body != SMTP_BODY_NONE && exts & SMTP_EXT_8BITMIME)
		n += snprintf(out + n, cap - (size_t)n, " BODY=%s", m->body == SMTP_BODY_7BIT ? "7BIT" : "8BITMIME");
	if (m->smtputf8)
		n += snprintf(out + n, cap - (size_t)n, " SMTPUTF8");
	/* RFC 4954 5: of a client that nobody knows, its word for who sent the message counts for nothing. */
	if (m->auth.p != NULL && exts & SMTP_EXT_AUTH)
		n += snprintf(out + n, cap - (size_t)n, " AUTH=%.*s",
			      STR_ARG(t->s->front.user != NULL ? m->auth : STR("<>")));
	if (m->ret.p != NULL)
		n += snprintf(out + n, cap - (size_t)n, " RET=%.*s", STR_ARG(m->ret));
	if (m->envid.p != NULL)
		n += snprintf(out + n, cap - (size_t)n, " ENVID=%.*s", STR_ARG(m->envid));
	if (exts & SMTP_EXT_XHOPS)
		n += snprintf(out + n, cap - (size_t)n, " XHOPS=%.*s%s%s", STR_ARG(m->hops), m->hops.n > 0 ? "," : "",
			      self_token());
	n += snprintf(out + n, cap - (size_t)n, "\r\n");
	ASSERT((size_t)n < cap);
	return (size_t)n;
}

static void send_mail(struct txn *t)
{
	char line[SMTP_LINE_MAX + 128 + SMTP_HOPS_MAX * (SMTP_HOP_TOKEN + 1)];

	t->mail_state = RCPT_SENT;
	back_command(t->back, DUE_MAIL, NULL, line, mail_line(t, line, sizeof(line)));
}

/* Without PIPELINING a command goes out only when nothing is due. */
static bool may_send(const struct txn *t)
{
	return back_may_send(t->back) && (t->back->due_n == 0 || t->back->exts & SMTP_EXT_PIPELINING);
}

void txn_forget_xforward(struct txn *t)
{
	sbuf_reset(&t->xforward);
	t->xforward_at = 0;
	t->xforward_made = false;
}

static void make_xforward(struct txn *t)
{
	struct xclient_client c;
	char id[SESSION_ID_MAX + 16];

	t->xforward_made = true;
	if (!t->pool->config->identity.xforward || t->back->xforward == 0)
		return;
	session_id(t->s, id);
	snprintf(id + strlen(id), 16, ".%u", t->s->n_txns);
	identity_client(t->s, id, &c);
	xforward_commands(&t->xforward, t->back->xforward, &c);
}

/* Holds for one transaction, so it goes before each MAIL. False: some of it could not be sent yet. */
static bool send_xforward(struct txn *t)
{
	struct str line;
	size_t len;

	if (!t->xforward_made)
		make_xforward(t);
	while (t->xforward_at < t->xforward.n) {
		const char *p = t->xforward.p + t->xforward_at;
		if (!may_send(t) ||
		    smtp_line(p, t->xforward.n - t->xforward_at, SMTP_LINE_MAX, &len, &line) != SMTP_LINE_OK)
			return false;
		back_command(t->back, DUE_XFORWARD, NULL, p, len);
		t->xforward_at += len;
	}
	return true;
}

static void send_envelope(struct txn *t)
{
	if (t->mail_state == RCPT_UNSENT && !send_xforward(t))
		return;
	if (t->mail_state == RCPT_UNSENT && may_send(t))
		send_mail(t);
	while (t->unsent != NULL && t->mail_state != RCPT_UNSENT && may_send(t)) {
		struct rcpt *rc = t->unsent;
		t->unsent = txn_next_rcpt(t, rc);
		rc->state = RCPT_SENT;
		back_command(t->back, DUE_RCPT, rc, rc->line, rc->line_n);
	}
}

static bool goes_by_bdat(const struct txn *t)
{
	enum pool_chunking when = t->pool->config->chunking;

	return t->back->exts & SMTP_EXT_CHUNKING &&
	       (when == POOL_CHUNKING_ALWAYS || (when == POOL_CHUNKING_CLIENT && t->chunked));
}

void txn_pump(struct txn *t)
{
	if (t->state == TXN_HELD)
		txn_seek(t);
	if (t->state != TXN_ENVELOPE)
		return;
	send_envelope(t);
	if (!t->data_wanted || t->back->due_n > 0 || t->n_out > 0)
		return;
	if (goes_by_bdat(t)) {
		back_content_chunked(t->back);
		txn_begin_content(t);
		return;
	}
	t->state = TXN_DATA;
	back_content_ask(t->back);
}

/* What went to the old server counts for nothing on the new one. */
void txn_unsend(struct txn *t)
{
	struct list *tmp;
	struct rcpt *rc;

	t->mail_state = RCPT_UNSENT;
	txn_forget_xforward(t);
	t->sent = 0;
	t->n_out = 0;
	LIST_FOR_EACH(rc, tmp, &t->rcpts, link) {
		rc->state = RCPT_UNSENT;
		t->n_out++;
	}
	t->unsent = list_empty(&t->rcpts) ? NULL : LIST_FIRST(&t->rcpts, struct rcpt, link);
}

/* SPDX-License-Identifier: Apache-2.0
 * The Received field, RFC 5321 4.4 and RFC 3848.
 *
 * The hard thing is that HELO is the client's word: it goes into a comment-free position only as the parser let it
 * through (no spaces, no control characters), and the address beside it is ours.
 */
#include "daemon/base/clock.h"
#include "daemon/session/txn.h"

#define FIELD_TYPICAL 400 /* bytes */

bool received_wanted(const struct txn *t)
{
	enum add_received mode = t->s->lv->config->add_received;

	/* A server that is told who the client is says so in its own field. */
	if (mode == ADD_RECEIVED_AUTO)
		return t->pool == NULL || !identity_pins(&t->pool->config->identity);
	return mode == ADD_RECEIVED_ALWAYS;
}

/* Pieces, not a format: this is done for each message, and formatting cost a tenth of all it takes. */
static void put(struct sbuf *out, const char *const *pieces)
{
	for (; *pieces != NULL; pieces++)
		sbuf_puts(out, *pieces);
}

static void put_for(struct sbuf *out, struct str address)
{
	sbuf_puts(out, "\r\n\tfor <");
	sbuf_add(out, address.p, address.n);
	sbuf_putc(out, '>');
}

void received_field(const struct txn *t, struct sbuf *out)
{
	const struct session *s = t->s;
	char ip[ADDR_TEXT_MAX], id[SESSION_ID_MAX], date[40];
	const char *helo = s->front.helo != NULL ? s->front.helo : "unknown";
	const char *v6 = s->client.sa.sa_family == AF_INET6 ? "IPv6:" : "";
	/* RFC 3848 and 6531 4.3 */
	const char *with = t->mail.smtputf8 ? "UTF8SMTP" : s->front.esmtp ? "ESMTP" : "SMTP";
	const char *secure = s->front.tls != NULL && s->front.esmtp ? "S" : "";
	const char *known = s->front.user != NULL && s->front.esmtp ? "A" : "";

	sbuf_reserve(out, FIELD_TYPICAL);
	put(out, (const char *const[]) { "Received: from ", helo, " ([", v6, addr_format_ip(&s->client, ip),
					 "])\r\n\tby ", s->lv->config->hostname, " (Postroad) with ", with, secure,
					 known, " id ", session_id(s, id), NULL });
	sbuf_printf(out, ".%u", s->n_txns);
	if (t->n_promised == 1) {
		struct list *tmp;
		const struct rcpt *rc;
		LIST_FOR_EACH(rc, tmp, &t->rcpts, link)
			if (rc->promised && rc->address.n < 200)
				put_for(out, rc->address);
	}
	put(out, (const char *const[]) { ";\r\n\t", clock_rfc5322(clock_wall(), date), "\r\n", NULL });
}

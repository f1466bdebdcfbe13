/* SPDX-License-Identifier: Apache-2.0
 * XCLIENT and XFORWARD, sent.
 *
 * The hard thing: a client chooses its HELO name and what DNS says about its address, so each value is written as
 * xtext, in which nothing can end an attribute or a line; and a line is bounded, so what does not fit goes into one of
 * its own, the attributes after which we may lose the right to go on being last.
 */
#include "daemon/smtp/xclient.h"

#include "daemon/smtp/chars.h"
#include "daemon/smtp/path.h"

/* ---- values ---- */

#define UNAVAILABLE "[UNAVAILABLE]"

static void put_text(struct sbuf *out, struct str v)
{
	if (v.n == 0 || v.n > XCLIENT_VALUE_MAX)
		sbuf_puts(out, UNAVAILABLE);
	else
		smtp_xtext_encode(out, v);
}

/* What DNS gave may be anything; only what could be a host's name is told. */
static void put_name(struct sbuf *out, const struct xclient_client *c)
{
	bool good = smtp_all(c->name, smtp_is_domain) && !smtp_has_8bit(c->name) &&
		    smtp_labels_valid(c->name, SMTP_LABEL_MAX);

	if (good)
		put_text(out, c->name);
	else
		sbuf_puts(out, c->name.n == 0 && c->name_tempfail ? "[TEMPUNAVAIL]" : UNAVAILABLE);
}

static void put_ip(struct sbuf *out, const struct addr *a)
{
	char text[ADDR_TEXT_MAX];
	struct addr plain = *a;

	addr_unmap(&plain);
	if (plain.sa.sa_family == 0)
		sbuf_puts(out, UNAVAILABLE);
	else
		sbuf_printf(out, "%s%s", plain.sa.sa_family == AF_INET6 ? "IPV6:" : "", addr_format_ip(&plain, text));
}

static void put_port(struct sbuf *out, const struct addr *a)
{
	if (a->sa.sa_family == 0 || addr_port(a) == 0)
		sbuf_puts(out, UNAVAILABLE);
	else
		sbuf_printf(out, "%u", addr_port(a));
}

static void put_value(struct sbuf *out, unsigned bit, const struct xclient_client *c)
{
	switch (bit) {
	case SMTP_XATTR_NAME:
		put_name(out, c);
		break;
	case SMTP_XATTR_ADDR:
		put_ip(out, &c->src);
		break;
	case SMTP_XATTR_PORT:
		put_port(out, &c->src);
		break;
	case SMTP_XATTR_PROTO:
		sbuf_puts(out, c->esmtp ? "ESMTP" : "SMTP");
		break;
	case SMTP_XATTR_HELO:
		put_text(out, c->helo);
		break;
	case SMTP_XATTR_LOGIN:
		put_text(out, c->login);
		break;
	case SMTP_XATTR_DESTADDR:
		put_ip(out, &c->dst);
		break;
	case SMTP_XATTR_DESTPORT:
		put_port(out, &c->dst);
		break;
	case SMTP_XATTR_SOURCE:
		sbuf_puts(out, c->local ? "LOCAL" : "REMOTE");
		break;
	case SMTP_XATTR_IDENT:
		put_text(out, c->ident);
		break;
	}
}

/* ---- lines ---- */

struct writer {
	struct sbuf *out;
	const char *verb;
	size_t line; /* bytes of the command being written, without CRLF; 0 = none is open */
	unsigned count;
};

static void end_line(struct writer *w)
{
	if (w->line > 0)
		sbuf_puts(w->out, "\r\n");
	w->line = 0;
}

/* Puts " NAME=value …" into the line, or into the next one where this one has no room. */
static void put_words(struct writer *w, const struct sbuf *words)
{
	if (w->line > 0 && w->line + words->n + 2 > XCLIENT_LINE_MAX)
		end_line(w);
	if (w->line == 0) {
		sbuf_puts(w->out, w->verb);
		w->line = strlen(w->verb);
		w->count++;
	}
	sbuf_add(w->out, words->p, words->n);
	w->line += words->n;
}

/* Appends " NAME=value" to words; a value that makes it longer than any line is not told. */
static void add_word(struct sbuf *words, unsigned i, const struct writer *w, const struct xclient_client *c)
{
	struct sbuf value = { 0 };
	const char *name = smtp_xattr_names[i];

	put_value(&value, 1u << i, c);
	if (strlen(w->verb) + 1 + strlen(name) + 1 + value.n + 2 > XCLIENT_LINE_MAX) {
		sbuf_reset(&value);
		sbuf_puts(&value, UNAVAILABLE);
	}
	sbuf_printf(words, " %s=", name);
	sbuf_add(words, value.p, value.n);
	sbuf_fini(&value);
}

/* User and id are told where there is one that can be told. */
static bool is_told(unsigned bit, const struct xclient_client *c)
{
	const struct str *v = bit == SMTP_XATTR_LOGIN ? &c->login : bit == SMTP_XATTR_IDENT ? &c->ident : NULL;
	struct sbuf coded = { 0 };

	if (v == NULL)
		return true;
	if (v->n == 0 || v->n > XCLIENT_VALUE_MAX)
		return false;
	smtp_xtext_encode(&coded, *v);
	bool fits = sizeof("XFORWARD LOGIN=\r\n") - 1 + coded.n <= XCLIENT_LINE_MAX;
	sbuf_fini(&coded);
	return fits;
}

static unsigned write_commands(struct writer *w, unsigned attrs, const struct xclient_client *c)
{
	const unsigned last = SMTP_XATTR_NAME | SMTP_XATTR_ADDR;
	struct sbuf words = { 0 };

	for (unsigned i = 0; i < SMTP_XATTR_COUNT; i++) {
		if ((attrs & ~last & 1u << i) == 0 || !is_told(1u << i, c))
			continue;
		sbuf_reset(&words);
		add_word(&words, i, w, c);
		put_words(w, &words);
	}
	sbuf_reset(&words);
	for (unsigned i = 0; i < SMTP_XATTR_COUNT; i++) /* bounded: a host name has nothing to escape */
		if ((attrs & last & 1u << i) != 0)
			add_word(&words, i, w, c);
	if (words.n > 0)
		put_words(w, &words);
	end_line(w);
	sbuf_fini(&words);
	return w->count;
}

unsigned xclient_commands(struct sbuf *out, unsigned attrs, const struct xclient_client *c)
{
	return write_commands(&(struct writer) { .out = out, .verb = "XCLIENT" }, attrs & SMTP_XCLIENT_ATTRS, c);
}

unsigned xforward_commands(struct sbuf *out, unsigned attrs, const struct xclient_client *c)
{
	return write_commands(&(struct writer) { .out = out, .verb = "XFORWARD" }, attrs & SMTP_XFORWARD_ATTRS, c);
}

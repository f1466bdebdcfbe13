/* SPDX-License-Identifier: Apache-2.0
 * Replies of a server, one whole reply at a time (RFC 5321 4.2, RFC 2034).
 *
 * The hard thing: the text is passed on to our client as received, so every byte of it is checked here; and the verdict
 * on some bytes never changes when more arrive: what is refused early would have been refused in full.
 */
#include "daemon/smtp/smtp.h"

#include "daemon/smtp/chars.h"

/* What a line says. */
struct line {
	unsigned code;
	bool more; /* "250-" */
	struct str text;
};

/* ---- one line ---- */

static const char *check_text(struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c == '\r')
			return "bare CR in reply";
		if ((c < ' ' && c != '\t') || c == 0x7f)
			return "control character in reply";
	}
	return NULL;
}

/* 2xx to 5xx; the second digit is not held to RFC 5321 4.2's 0-5, servers have invented others. */
static bool code_is_possible(struct str s)
{
	return (s.n < 1 || (s.p[0] >= '2' && s.p[0] <= '5')) && (s.n < 2 || smtp_is_digit((unsigned char)s.p[1])) &&
	       (s.n < 3 || smtp_is_digit((unsigned char)s.p[2]));
}

/* s is a line without its ending, or, complete = false, what is there of one. */
static const char *read_line(struct str s, bool complete, struct line *ret)
{
	if (!code_is_possible(s) || (complete && s.n < 3))
		return "malformed reply code";
	if (s.n > 3 && s.p[3] != ' ' && s.p[3] != '-')
		return "no space behind reply code";
	if (s.n < 3)
		return NULL;
	ret->code = (unsigned)((s.p[0] - '0') * 100 + (s.p[1] - '0') * 10 + (s.p[2] - '0'));
	ret->more = s.n > 3 && s.p[3] == '-';
	ret->text = smtp_skip(s, s.n > 3 ? 4 : 3);
	return check_text(ret->text);
}

/* ---- enhanced codes ---- */

/* Up to three digits and the character behind them. */
static bool take_number(struct str *s, unsigned *ret)
{
	size_t n = smtp_span(*s, smtp_is_digit);
	uint64_t v;

	if (n > 3 || !smtp_u64((struct str) { s->p, n }, &v))
		return false;
	*ret = (unsigned)v;
	*s = smtp_skip(*s, n);
	return true;
}

static bool take_dot(struct str *s)
{
	if (s->n == 0 || s->p[0] != '.')
		return false;
	*s = smtp_skip(*s, 1);
	return true;
}

/* "4.3.2 text". A class that contradicts the reply code says nothing (RFC 2034 4). */
static void read_enhanced(struct smtp_reply *r)
{
	struct str s = r->last;
	unsigned v[3];

	if (!take_number(&s, &v[0]) || !take_dot(&s) || !take_number(&s, &v[1]) || !take_dot(&s) ||
	    !take_number(&s, &v[2]))
		return;
	if ((s.n > 0 && s.p[0] != ' ') || v[0] != r->code / 100)
		return;
	memcpy(r->enhanced, v, sizeof(v));
}

/* ---- a reply ---- */

static enum smtp_parse bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return SMTP_PARSE_BAD;
}

/* The tail of the buffer that has no LF yet. */
static enum smtp_parse read_partial(struct str s, struct smtp_reply *r, const char **ret_why)
{
	struct line line = { 0 };

	if (s.n > 0 && s.p[s.n - 1] == '\r')
		s.n--;
	const char *wrong = read_line(s, false, &line);
	if (wrong == NULL && line.code != 0 && r->lines > 0 && line.code != r->code)
		wrong = "reply codes differ";
	return wrong != NULL ? bad(ret_why, wrong) : SMTP_PARSE_MORE;
}

static const char *read_complete(struct str s, struct smtp_reply *r, bool *ret_more)
{
	struct line line = { 0 };

	if (s.n == 0 || s.p[s.n - 1] != '\r')
		return "bare LF in reply";
	s.n--;
	const char *wrong = read_line(s, true, &line);
	if (wrong != NULL)
		return wrong;
	if (r->lines > 0 && line.code != r->code)
		return "reply codes differ";
	r->code = line.code;
	r->last = line.text;
	*ret_more = line.more;
	return ++r->lines >= SMTP_REPLY_LINES_MAX && line.more ? "reply has too many lines" : NULL;
}

enum smtp_parse smtp_reply_parse(const char *p, size_t n, struct smtp_reply *ret, size_t *ret_len, const char **ret_why)
{
	struct smtp_reply r = { 0 };
	size_t at = 0, limit = n < SMTP_REPLY_BYTES_MAX ? n : SMTP_REPLY_BYTES_MAX;

	for (bool more = true; more;) {
		struct str rest = { p + at, limit - at };
		const char *lf = rest.n > 0 ? memchr(rest.p, '\n', rest.n) : NULL;
		if (lf == NULL && limit == SMTP_REPLY_BYTES_MAX)
			return bad(ret_why, "reply too long");
		if (lf == NULL)
			return read_partial(rest, &r, ret_why);
		rest.n = (size_t)(lf - rest.p);
		const char *wrong = read_complete(rest, &r, &more);
		if (wrong != NULL)
			return bad(ret_why, wrong);
		at += rest.n + 1;
	}
	r.text = (struct str) { p, at };
	read_enhanced(&r);
	*ret = r;
	*ret_len = at;
	return SMTP_PARSE_OK;
}

bool smtp_reply_is_server_trouble(const struct smtp_reply *r)
{
	return r->code == 421 || (smtp_reply_is(r, 4) && r->enhanced[0] == 4 && r->enhanced[1] == 3);
}

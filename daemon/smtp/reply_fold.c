/* SPDX-License-Identifier: Apache-2.0
 * Replies with lines that are too long to be passed on (RFC 5321 4.5.3.1.5): folded into more lines.
 *
 * The hard thing is that each line of a reply is read by itself: the code and the enhanced code, which RFC 2034 4 wants
 * alike on all of them, stand on each, and no character of UTF-8 is cut.
 */
#include "daemon/smtp/smtp.h"

#include "daemon/smtp/chars.h"

#define CODE_LEN 4 /* "250-" */

static struct str take_line(struct str *rest)
{
	const char *lf = memchr(rest->p, '\n', rest->n);
	struct str line = { rest->p, lf != NULL ? (size_t)(lf - rest->p) + 1 : rest->n };

	*rest = smtp_skip(*rest, line.n);
	return line;
}

bool smtp_reply_is_long(struct str reply)
{
	while (reply.n > SMTP_REPLY_LINE_MAX)
		if (take_line(&reply).n > SMTP_REPLY_LINE_MAX)
			return true;
	return false;
}

/* The code with what follows it, and the enhanced code with its space, if it is there. */
static size_t prefix_len(struct str line)
{
	struct str s = smtp_skip(line, CODE_LEN);

	if (s.n == 0 || s.p[0] != line.p[0])
		return CODE_LEN;
	for (int part = 0; part < 3; part++) {
		size_t n = smtp_span(s, smtp_is_digit);
		if (n == 0 || n > 3 || n == s.n || s.p[n] != (part < 2 ? '.' : ' '))
			return CODE_LEN;
		s = smtp_skip(s, n + 1);
	}
	return line.n - s.n;
}

/* Where text that is longer than room ends for now: at a space not too far back, or between two characters. */
static size_t cut_at(struct str text, size_t room)
{
	for (size_t i = room; i > room / 2; i--)
		if (text.p[i] == ' ')
			return i;
	size_t cut = room;
	while (cut > room - 3 && ((unsigned char)text.p[cut] & 0xc0) == 0x80)
		cut--;
	return cut;
}

static void put_line(struct sbuf *out, struct str prefix, char separator, struct str text)
{
	sbuf_add(out, prefix.p, CODE_LEN - 1);
	sbuf_add(out, &separator, 1);
	sbuf_add(out, prefix.p + CODE_LEN, prefix.n - CODE_LEN);
	sbuf_add(out, text.p, text.n);
	sbuf_add(out, "\r\n", 2);
}

static void fold_line(struct str line, struct sbuf *out)
{
	struct str prefix = { line.p, prefix_len(line) };
	struct str text = smtp_skip((struct str) { line.p, line.n - 2 }, prefix.n);
	size_t room = SMTP_REPLY_LINE_MAX - 2 - prefix.n;

	while (text.n > room) {
		size_t cut = cut_at(text, room);
		put_line(out, prefix, '-', (struct str) { text.p, cut });
		text = smtp_skip(text, text.p[cut] == ' ' ? cut + 1 : cut);
	}
	put_line(out, prefix, line.p[CODE_LEN - 1], text);
}

void smtp_reply_fold(struct str reply, struct sbuf *out)
{
	while (reply.n > 0) {
		struct str line = take_line(&reply);
		if (line.n > SMTP_REPLY_LINE_MAX)
			fold_line(line, out);
		else
			sbuf_add(out, line.p, line.n);
	}
}

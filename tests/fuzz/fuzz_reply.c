/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: smtp_reply_parse(). Invariants: a verdict other than MORE on a prefix is the verdict on the whole; a reply that
 * is OK holds nothing that could break a client's dialogue, and parsed alone it is itself. The first byte chooses where
 * the prefix ends.
 */
#include <stdlib.h>

#include "daemon/smtp/smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct smtp_reply *r)
{
	unsigned lines = 0;

	ASSERT(r->text.n >= 5 && r->text.n <= SMTP_REPLY_BYTES_MAX);
	ASSERT(memcmp(r->text.p + r->text.n - 2, "\r\n", 2) == 0);
	for (size_t i = 0; i < r->text.n; i++) {
		unsigned char c = (unsigned char)r->text.p[i];
		ASSERT(c >= ' ' || c == '\t' || c == '\r' || c == '\n');
		ASSERT(c != 0x7f);
		ASSERT(c != '\r' || r->text.p[i + 1] == '\n');
		ASSERT(c != '\n' || r->text.p[i - 1] == '\r');
		lines += c == '\n';
	}
	ASSERT(lines == r->lines && lines <= SMTP_REPLY_LINES_MAX);
	ASSERT(r->code >= 200 && r->code <= 599);
	ASSERT(r->enhanced[0] == 0 || r->enhanced[0] == r->code / 100);
	ASSERT(r->last.p >= r->text.p && r->last.p + r->last.n == r->text.p + r->text.n - 2);
}

/* What a client gets of it: no line is too long, each has the code, and only the last one is the last. */
static void check_folded(const struct smtp_reply *r)
{
	struct sbuf out = { 0 };

	smtp_reply_fold(r->text, &out);
	for (size_t at = 0; at < out.n;) {
		const char *line = out.p + at, *lf = memchr(line, '\n', out.n - at);
		ASSERT(lf != NULL && lf[-1] == '\r' && lf + 1 - line <= SMTP_REPLY_LINE_MAX);
		at += (size_t)(lf + 1 - line);
		ASSERT(memcmp(line, r->text.p, 3) == 0 && (line[3] == '-') == (at < out.n));
	}
	sbuf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	const char *p = (const char *)data + 1, *why = NULL;
	size_t n = size - 1, cut = n * data[0] / 256, len = 0, again = 0;
	struct smtp_reply r, other;

	enum smtp_parse part = smtp_reply_parse(p, cut, &other, &again, &why);
	ASSERT(part != SMTP_PARSE_BAD || why != NULL);
	enum smtp_parse whole = smtp_reply_parse(p, n, &r, &len, &why);
	ASSERT(part == SMTP_PARSE_MORE || part == whole);
	ASSERT(part != SMTP_PARSE_OK || again == len);
	ASSERT(whole != SMTP_PARSE_MORE || n < SMTP_REPLY_BYTES_MAX);
	if (whole != SMTP_PARSE_OK)
		return 0;
	ASSERT(r.text.p == p && r.text.n == len);
	check_text(&r);
	check_folded(&r);
	ASSERT(smtp_reply_parse(r.text.p, r.text.n, &other, &again, &why) == SMTP_PARSE_OK);
	ASSERT(again == len && other.code == r.code);
	return 0;
}

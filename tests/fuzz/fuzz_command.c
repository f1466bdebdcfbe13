/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: smtp_line() and smtp_command_parse(). Invariants: a line is judged once and for all: a prefix gets MORE or the
 * verdict of the whole; a line that is OK holds no CR, LF or NUL; word and arguments lie within the line, in this
 * order. The first byte chooses where the prefix ends and the longest line.
 */
#include <stdlib.h>

#include "daemon/smtp/smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_command(struct str line)
{
	struct smtp_command c;

	smtp_command_parse(line, &c);
	ASSERT(c.verb < SMTP_VERB_COUNT);
	ASSERT(c.word.p == line.p && c.word.n <= line.n);
	ASSERT(c.args.p >= c.word.p + c.word.n && c.args.p + c.args.n <= line.p + line.n);
	ASSERT(c.verb == SMTP_UNKNOWN || str_ieq(c.word, str_from(smtp_verb_names[c.verb])));
	ASSERT(c.args.n == 0 || (c.args.p[0] != ' ' && c.args.p[c.args.n - 1] != ' '));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	const char *p = (const char *)data + 1;
	size_t n = size - 1, max = data[0] % 2 != 0 ? 32 : SMTP_LINE_MAX, cut = n * data[0] / 256, len, cut_len;
	struct str line, cut_line;

	enum smtp_line_status whole = smtp_line(p, n, max, &len, &line);
	enum smtp_line_status part = smtp_line(p, cut, max, &cut_len, &cut_line);
	ASSERT(len <= n && (len == 0) == (whole == SMTP_LINE_MORE));
	ASSERT(part == SMTP_LINE_MORE || part == whole);
	ASSERT(part == SMTP_LINE_MORE || part == SMTP_LINE_TOO_LONG || cut_len == len);
	if (whole != SMTP_LINE_OK)
		return 0;
	ASSERT(len <= max && line.n + 2 == len && memcmp(p + line.n, "\r\n", 2) == 0);
	for (size_t i = 0; i < line.n; i++)
		ASSERT(line.p[i] != '\r' && line.p[i] != '\n' && line.p[i] != '\0');
	check_command(line);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * Command lines: finding one in a buffer, splitting it into verb and arguments (RFC 5321 4.1.1).
 *
 * The hard thing: a line is judged only when its LF is there, so that the same bytes get the same verdict however they
 * arrive; and LF alone never ends a command, or two servers in a row would see two different dialogues.
 */
#include "daemon/smtp/smtp.h"

#include "daemon/smtp/chars.h"

const char *const smtp_verb_names[SMTP_VERB_COUNT] = {
	[SMTP_UNKNOWN] = "unknown", [SMTP_EHLO] = "EHLO",       [SMTP_HELO] = "HELO",         [SMTP_MAIL] = "MAIL",
	[SMTP_RCPT] = "RCPT",       [SMTP_DATA] = "DATA",       [SMTP_RSET] = "RSET",         [SMTP_NOOP] = "NOOP",
	[SMTP_VRFY] = "VRFY",       [SMTP_HELP] = "HELP",       [SMTP_QUIT] = "QUIT",         [SMTP_EXPN] = "EXPN",
	[SMTP_ETRN] = "ETRN",       [SMTP_TURN] = "TURN",       [SMTP_STARTTLS] = "STARTTLS", [SMTP_AUTH] = "AUTH",
	[SMTP_BDAT] = "BDAT",       [SMTP_XCLIENT] = "XCLIENT",
};

const char *const smtp_ext_names[SMTP_EXT_COUNT] = {
	"PIPELINING",          "SIZE",     "8BITMIME", "SMTPUTF8", "DSN",
	"ENHANCEDSTATUSCODES", "CHUNKING", "STARTTLS", "AUTH",     "XHOPS",
};

enum smtp_line_status smtp_line(const char *p, size_t n, size_t max, size_t *ret_len, struct str *ret_line)
{
	const char *lf = n > 0 ? memchr(p, '\n', n) : NULL;
	size_t len = lf != NULL ? (size_t)(lf - p) + 1 : n;

	*ret_len = 0;
	*ret_line = (struct str) { p, 0 };
	if (lf == NULL && n < max)
		return SMTP_LINE_MORE;
	*ret_len = len;
	if (lf == NULL || len > max)
		return SMTP_LINE_TOO_LONG;
	ret_line->n = len - 1;
	if (len < 2 || p[len - 2] != '\r')
		return SMTP_LINE_BARE_LF;
	ret_line->n = len - 2;
	if (memchr(p, '\r', len - 2) != NULL || memchr(p, '\0', len - 2) != NULL)
		return SMTP_LINE_BAD_BYTE;
	return SMTP_LINE_OK;
}

void smtp_command_parse(struct str line, struct smtp_command *ret)
{
	struct str rest = line;

	*ret = (struct smtp_command) { .verb = SMTP_UNKNOWN };
	ret->word = smtp_word(&rest);
	ret->args = smtp_trim(rest);
	for (unsigned v = SMTP_UNKNOWN + 1; v < SMTP_VERB_COUNT; v++) {
		if (str_ieq(ret->word, str_from(smtp_verb_names[v]))) {
			ret->verb = (enum smtp_verb)v;
			return;
		}
	}
}

/* SPDX-License-Identifier: Apache-2.0
 * Capabilities from a server's answer to EHLO (RFC 5321 4.1.1.1).
 *
 * Where a server contradicts itself, what it can surely do is believed: of two SIZE lines the smaller (RFC 1870 4; 0 is
 * "no limit") and of two limits of a kind likewise; attributes and mechanisms of several lines are taken together. The
 * pre-standard "AUTH=PLAIN" is read as AUTH.
 */
#include "daemon/smtp/smtp.h"

#include "daemon/smtp/chars.h"

#define PREFIX_LEN 4 /* "250-" */

const char *const smtp_xattr_names[SMTP_XATTR_COUNT] = {
	"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT", "SOURCE", "IDENT",
};

const char *const smtp_auth_names[SMTP_AUTH_COUNT] = {
	"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2",
};

static bool is_not_separator(unsigned char c)
{
	return c != ' ' && c != '\t' && c != '=';
}

static void read_size(struct str args, struct smtp_ehlo *ret)
{
	uint64_t size;

	if (smtp_u64(smtp_word(&args), &size) && size > 0 && (ret->size == 0 || size < ret->size))
		ret->size = size;
}

/* A bit for each word that the table has. */
static unsigned bits_of(struct str args, const char *const *names, unsigned count)
{
	unsigned bits = 0;

	while (args.n > 0) {
		struct str word = smtp_word(&args);
		for (unsigned i = 0; i < count; i++)
			if (str_ieq(word, str_from(names[i])))
				bits |= 1u << i;
	}
	return bits;
}

static unsigned xattrs_of(struct str args)
{
	return bits_of(args, smtp_xattr_names, SMTP_XATTR_COUNT);
}

static void read_limits(struct str args, struct smtp_ehlo *ret)
{
	ret->has_limits = true;
	smtp_limits_read(args, &ret->limits);
}

static void read_auth(struct str args, struct smtp_ehlo *ret)
{
	ret->auth |= bits_of(args, smtp_auth_names, SMTP_AUTH_COUNT);
	if (ret->auth_names.n == 0)
		ret->auth_names = args;
}

static void read_keyword(struct str line, struct smtp_ehlo *ret)
{
	size_t n = smtp_span(line, is_not_separator);
	struct str word = { line.p, n };
	struct str args = smtp_trim(smtp_skip(line, n < line.n ? n + 1 : n));

	for (unsigned i = 0; i < SMTP_EXT_COUNT; i++)
		if (str_ieq(word, str_from(smtp_ext_names[i])))
			ret->exts |= 1u << i;
	if (str_ieq(word, STR("SIZE")))
		read_size(args, ret);
	else if (str_ieq(word, STR("AUTH")))
		read_auth(args, ret);
	else if (str_ieq(word, STR("XCLIENT")))
		ret->xclient |= SMTP_XATTR_OFFERED | (xattrs_of(args) & SMTP_XCLIENT_ATTRS);
	else if (str_ieq(word, STR("XFORWARD")))
		ret->xforward |= SMTP_XATTR_OFFERED | (xattrs_of(args) & SMTP_XFORWARD_ATTRS);
	else if (str_ieq(word, STR("LIMITS")))
		read_limits(args, ret);
	else if (str_ieq(word, STR("REQUIRETLS")))
		ret->requiretls = true;
}

/* Takes a line with its CRLF off *rest; returns what stands behind the code. */
static struct str take_text(struct str *rest)
{
	const char *lf = memchr(rest->p, '\n', rest->n);
	size_t len = lf != NULL ? (size_t)(lf - rest->p) + 1 : rest->n;
	struct str line = { rest->p, len };

	*rest = smtp_skip(*rest, len);
	while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
		line.n--;
	return smtp_skip(line, line.n < PREFIX_LEN ? line.n : PREFIX_LEN);
}

void smtp_ehlo_parse(const struct smtp_reply *r, struct smtp_ehlo *ret)
{
	struct str rest = r->text;

	*ret = (struct smtp_ehlo) { 0 };
	if (rest.n == 0)
		return;
	struct str first = take_text(&rest);
	ret->hostname = smtp_word(&first);
	while (rest.n > 0)
		read_keyword(smtp_trim(take_text(&rest)), ret);
}

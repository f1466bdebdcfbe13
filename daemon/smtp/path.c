/* SPDX-License-Identifier: Apache-2.0
 * Paths: "<local@domain>", "<>", "<postmaster>", with an old source route stripped (RFC 5321 4.1.2, 3.6.1; RFC
 * 6531 3.3).
 *
 * The hard thing is to be exactly as liberal as mail servers are: dots anywhere in a local part and underscores in
 * domains exist in real addresses, so they pass; whatever could make a server see another mailbox than we do (a source
 * route that is passed on, a quote that does not end, a control character) does not.
 */
#include "daemon/smtp/path.h"

#include "daemon/smtp/chars.h"

#define PATH_MAX_BYTES 513 /* local part, @, domain and brackets; RFC 5321 4.5.3.1.3 asks for 256 at least */

/* ---- pieces ---- */

static bool is_local(unsigned char c)
{
	return smtp_is_atext(c) || c == '.';
}

/* Length of the quoted string at s, 0 = it does not end or holds what it must not. */
static size_t quoted_span(struct str s)
{
	for (size_t i = 1; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '"')
			return i + 1;
		if (c == '\\') {
			i++;
			c = i < s.n ? (unsigned char)s.p[i] : 0;
			if (c >= 0x80)
				return 0; /* quoted-pairSMTP is ASCII even under RFC 6531 */
		}
		if (c < ' ' || c == 0x7f)
			return 0;
	}
	return 0;
}

static size_t local_span(struct str s)
{
	return s.n > 0 && s.p[0] == '"' ? quoted_span(s) : smtp_span(s, is_local);
}

bool smtp_literal_valid(struct str s)
{
	return s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']' &&
	       smtp_all((struct str) { s.p + 1, s.n - 2 }, smtp_is_dcontent);
}

bool smtp_labels_valid(struct str domain, size_t max)
{
	size_t label = 0;

	for (size_t i = 0; i < domain.n; i++) {
		label = domain.p[i] == '.' ? 0 : label + 1;
		bool empty = label == 0 && (i == 0 || domain.p[i - 1] == '.');
		if (empty || label > max)
			return false;
	}
	return domain.n > 0;
}

/* Length of the domain or address literal at s, 0 = there is none. */
static size_t domain_span(struct str s)
{
	size_t n;

	if (s.n > 0 && s.p[0] == '[') {
		n = smtp_span(smtp_skip(s, 1), smtp_is_dcontent) + 2;
		return n <= s.n && smtp_literal_valid((struct str) { s.p, n }) ? n : 0;
	}
	n = smtp_span(s, smtp_is_domain);
	struct str domain = { s.p, n };
	return smtp_labels_valid(domain, smtp_has_8bit(domain) ? SMTP_DOMAIN_MAX : SMTP_LABEL_MAX) ? n : 0;
}

static bool take_char(struct str *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = smtp_skip(*s, 1);
	return true;
}

/* ---- the whole ---- */

/* "@a,@b:" in front of the mailbox. To be accepted and ignored (RFC 5321 4.1.1.3): a server that obeyed it would
 * deliver elsewhere than the domain says that our routes are chosen by. */
static bool take_route(struct str *s)
{
	if (s->n == 0 || s->p[0] != '@')
		return true;
	do {
		size_t n = take_char(s, '@') ? domain_span(*s) : 0;
		if (n == 0)
			return false;
		*s = smtp_skip(*s, n);
	} while (take_char(s, ','));
	return take_char(s, ':');
}

static const char *take_mailbox(struct str *s, struct smtp_path *ret)
{
	ret->local = (struct str) { s->p, local_span(*s) };
	ret->mailbox = ret->local;
	ret->domain = (struct str) { s->p + ret->local.n, 0 };
	if (ret->local.n == 0)
		return "malformed local part";
	*s = smtp_skip(*s, ret->local.n);
	if (take_char(s, '@')) {
		ret->domain = (struct str) { s->p, domain_span(*s) };
		if (ret->domain.n == 0)
			return "malformed domain";
		ret->mailbox.n += 1 + ret->domain.n;
		*s = smtp_skip(*s, ret->domain.n);
	}
	ret->utf8 = smtp_has_8bit(ret->mailbox);
	if (ret->utf8 && !smtp_utf8_valid(ret->mailbox))
		return "address is not UTF-8";
	if (ret->local.n > SMTP_LOCAL_MAX)
		return "local part too long";
	if (ret->domain.n > SMTP_DOMAIN_MAX || ret->mailbox.n + 2 > PATH_MAX_BYTES)
		return "address too long";
	return NULL;
}

const char *smtp_path_take(struct str *in, struct smtp_path *ret)
{
	struct str s = *in;
	struct smtp_path path = { 0 };

	if (!take_char(&s, '<'))
		return "address must be in angle brackets";
	path.mailbox = path.local = path.domain = (struct str) { s.p, 0 };
	if (!take_char(&s, '>')) {
		if (!take_route(&s))
			return "malformed source route";
		const char *wrong = take_mailbox(&s, &path);
		if (wrong != NULL)
			return wrong;
		if (!take_char(&s, '>'))
			return "malformed address";
	}
	path.raw = (struct str) { path.mailbox.p - 1, path.mailbox.n + 2 };
	*in = s;
	*ret = path;
	return NULL;
}

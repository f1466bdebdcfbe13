/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: MAIL and RCPT with their parameters. Invariants: what was accepted, written anew as "<mailbox> parameters", is
 * accepted again with the same parts; it holds no control character; a refusal is complete; folding a folded domain
 * changes nothing. The first byte chooses the command, the second the extensions.
 */
#include <stdlib.h>

#include "daemon/smtp/smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is compared of either command. */
struct seen {
	bool accepted;
	struct smtp_path path;
	struct str params, values[5];
	uint64_t size;
};

static struct seen parse(struct str args, bool rcpt, unsigned exts)
{
	struct smtp_refusal why = { 0 };
	struct seen s;

	if (rcpt) {
		struct smtp_rcpt r;
		s.accepted = smtp_rcpt_parse(args, exts, &r, &why);
		s = (struct seen) { s.accepted, r.path, r.params, { r.notify, r.orcpt }, 0 };
	} else {
		struct smtp_mail m;
		s.accepted = smtp_mail_parse(args, exts, &m, &why);
		s = (struct seen) { s.accepted,
				    m.path,
				    m.params,
				    { m.ret, m.envid, m.auth },
				    m.size + m.body + m.smtputf8 + m.has_size };
	}
	if (!s.accepted) {
		ASSERT(why.code == 501 || why.code == 553 || why.code == 555);
		ASSERT(why.enhanced != NULL && why.text != NULL && why.text[0] != '\0');
	}
	return s;
}

static void check_clean(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		ASSERT((unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f);
}

static void check_fold(struct str domain)
{
	char once[SMTP_DOMAIN_MAX + 1], twice[SMTP_DOMAIN_MAX + 1];

	if (!smtp_domain_fold(domain, once))
		return;
	ASSERT(smtp_domain_fold(str_from(once), twice));
	ASSERT(strcmp(once, twice) == 0);
}

static void check_again(const struct seen *a, bool rcpt, unsigned exts)
{
	struct sbuf text = { 0 };

	sbuf_printf(&text, "%s:<%.*s> %.*s", rcpt ? "TO" : "FROM", STR_ARG(a->path.mailbox), STR_ARG(a->params));
	struct seen b = parse((struct str) { text.p, text.n }, rcpt, exts);
	ASSERT(b.accepted && a->size == b.size && a->path.utf8 == b.path.utf8);
	ASSERT(str_eq(a->path.mailbox, b.path.mailbox) && str_eq(a->path.local, b.path.local));
	ASSERT(str_eq(a->path.domain, b.path.domain) && str_eq(a->params, b.params));
	for (size_t i = 0; i < ARRAY_LEN(a->values); i++)
		ASSERT(str_eq(a->values[i], b.values[i]));
	sbuf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	bool rcpt = data[0] % 2 != 0;
	unsigned exts = (unsigned)data[1] | (data[0] & 2 ? SMTP_EXT_AUTH : 0);
	struct str args = { (const char *)data + 2, size - 2 };

	check_fold(args);
	UNUSED(smtp_helo_valid(args));
	struct seen s = parse(args, rcpt, exts);
	if (!s.accepted)
		return 0;
	ASSERT(s.path.local.n <= SMTP_LOCAL_MAX && s.path.domain.n <= SMTP_DOMAIN_MAX);
	check_clean(s.path.mailbox);
	check_clean(s.params);
	check_fold(s.path.domain);
	check_again(&s, rcpt, exts);
	return 0;
}

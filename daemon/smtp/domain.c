/* SPDX-License-Identifier: Apache-2.0
 * Domains made comparable (lower-case A-labels), and the argument of HELO and EHLO.
 *
 * Nearly every domain on the wire is plain ASCII and never reaches the library. The rest goes through libidn2 as a
 * look-up would (RFC 5891 5, non-transitional); its answer is checked again, as its mappings can yield characters that
 * no domain has.
 */
#include "daemon/smtp/path.h"

#include <idn2.h>

#include "daemon/smtp/chars.h"

/* ---- folding ---- */

static bool fold_ascii(struct str d, char *out)
{
	if (d.n > 0 && d.p[d.n - 1] == '.')
		d.n--;
	if (d.n > SMTP_DOMAIN_MAX || !smtp_labels_valid(d, SMTP_LABEL_MAX) || d.p[d.n - 1] == '.')
		return false;
	if (smtp_has_8bit(d) || !smtp_all(d, smtp_is_domain))
		return false;
	memcpy(out, d.p, d.n);
	out[d.n] = '\0';
	ascii_lower(out, d.n);
	return true;
}

static bool fold_idn(struct str d, char *out)
{
	uint8_t in[SMTP_DOMAIN_MAX + 1], *found = NULL;

	if (!smtp_utf8_valid(d) || memchr(d.p, '\0', d.n) != NULL)
		return false;
	memcpy(in, d.p, d.n);
	in[d.n] = '\0';
	if (idn2_lookup_u8(in, &found, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
		return false;
	bool folded = fold_ascii(str_from((const char *)found), out);
	idn2_free(found);
	return folded;
}

bool smtp_domain_fold(struct str domain, char out[SMTP_DOMAIN_MAX + 1])
{
	if (domain.n == 0 || domain.n > SMTP_DOMAIN_MAX)
		return false;
	if (domain.p[0] == '[') {
		if (!smtp_literal_valid(domain))
			return false;
		memcpy(out, domain.p, domain.n);
		out[domain.n] = '\0';
		ascii_lower(out, domain.n);
		return true;
	}
	return smtp_has_8bit(domain) ? fold_idn(domain, out) : fold_ascii(domain, out);
}

/* ---- HELO ---- */

static bool is_helo(unsigned char c)
{
	return smtp_is_alnum(c) || (c != '\0' && strchr(".-_:+/", c) != NULL);
}

bool smtp_helo_valid(struct str arg)
{
	if (arg.n == 0 || arg.n > SMTP_DOMAIN_MAX)
		return false;
	if (arg.p[0] == '[') /* parentheses and quotes mean something in a Received field */
		return smtp_literal_valid(arg) && smtp_all((struct str) { arg.p + 1, arg.n - 2 }, is_helo);
	return smtp_all(arg, is_helo);
}

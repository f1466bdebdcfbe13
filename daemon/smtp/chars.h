/* SPDX-License-Identifier: Apache-2.0
 * Private to this room: the character classes of the grammar, and runs of them.
 */
#ifndef POSTROAD_SMTP_CHARS_H
#define POSTROAD_SMTP_CHARS_H

#include "daemon/base/str.h"

typedef bool smtp_char_fn(unsigned char c);

smtp_char_fn smtp_is_digit;
smtp_char_fn smtp_is_alnum;
smtp_char_fn smtp_is_atext;    /* RFC 5322 3.2.3, and any byte above 0x7f (RFC 6531 3.3) */
smtp_char_fn smtp_is_domain;   /* letters, digits, hyphen, underscore, dot; bytes above 0x7f */
smtp_char_fn smtp_is_dcontent; /* RFC 5321 4.1.3: what an address literal may hold */
smtp_char_fn smtp_is_keyword;  /* esmtp-keyword, RFC 5321 4.1.2 */

/* How many leading bytes are of the class. */
size_t smtp_span(struct str s, smtp_char_fn *is);
static inline bool smtp_all(struct str s, smtp_char_fn *is)
{
	return smtp_span(s, is) == s.n;
}
static inline struct str smtp_skip(struct str s, size_t n)
{
	return (struct str) { s.p + n, s.n - n };
}
/* Cuts spaces and tabs off both ends. */
struct str smtp_trim(struct str s);
/* Takes s up to the first space or tab off *rest, and the blanks behind it. */
struct str smtp_word(struct str *rest);
bool smtp_has_8bit(struct str s);
/* Well-formed UTF-8 (RFC 3629 4): no surrogates, nothing overlong, nothing above U+10FFFF. */
bool smtp_utf8_valid(struct str s);
/* All digits, at least one, fits. */
bool smtp_u64(struct str s, uint64_t *ret) MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Character classes of the grammar, and the few string walks that all parsers of this room share.
 *
 * Nothing here asks the C library's ctype: its answers depend on the locale, the protocol's do not.
 */
#include "daemon/smtp/chars.h"

/* ---- classes ---- */

bool smtp_is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

bool smtp_is_alnum(unsigned char c)
{
	return smtp_is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

bool smtp_is_atext(unsigned char c)
{
	return smtp_is_alnum(c) || c >= 0x80 || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

bool smtp_is_domain(unsigned char c)
{
	return smtp_is_alnum(c) || c == '-' || c == '.' || c == '_' || c >= 0x80;
}

bool smtp_is_dcontent(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '[' && c != ']' && c != '\\';
}

bool smtp_is_keyword(unsigned char c)
{
	return smtp_is_alnum(c) || c == '-';
}

/* ---- walks ---- */

size_t smtp_span(struct str s, smtp_char_fn *is)
{
	size_t i = 0;

	while (i < s.n && is((unsigned char)s.p[i]))
		i++;
	return i;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct str smtp_trim(struct str s)
{
	while (s.n > 0 && is_blank(s.p[0]))
		s = smtp_skip(s, 1);
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct str smtp_word(struct str *rest)
{
	struct str word = *rest;
	size_t i = 0;

	while (i < word.n && !is_blank(word.p[i]))
		i++;
	word.n = i;
	while (i < rest->n && is_blank(rest->p[i]))
		i++;
	*rest = smtp_skip(*rest, i);
	return word;
}

bool smtp_has_8bit(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return true;
	return false;
}

/* Length of the UTF-8 sequence at p, 0 = malformed (RFC 3629 4, the ABNF row by row). */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
	static const struct {
		unsigned char first_min, first_max, second_min, second_max, len;
	} rows[] = {
		{ 0x00, 0x7f, 0x80, 0xbf, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	size_t r = 0;

	while (r < ARRAY_LEN(rows) && (p[0] < rows[r].first_min || p[0] > rows[r].first_max))
		r++;
	if (r == ARRAY_LEN(rows) || rows[r].len > n)
		return 0;
	if (rows[r].len > 1 && (p[1] < rows[r].second_min || p[1] > rows[r].second_max))
		return 0;
	for (size_t i = 2; i < rows[r].len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return rows[r].len;
}

bool smtp_utf8_valid(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	for (size_t i = 0, len; i < s.n; i += len) {
		len = utf8_sequence(p + i, s.n - i);
		if (len == 0)
			return false;
	}
	return true;
}

bool smtp_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!smtp_is_digit((unsigned char)s.p[i]))
			return false;
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
			return false;
	}
	*ret = v;
	return true;
}

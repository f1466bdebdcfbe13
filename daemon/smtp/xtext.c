/* SPDX-License-Identifier: Apache-2.0
 * xtext (RFC 3461 4): how values that a client chose travel in a parameter or an XCLIENT attribute.
 */
#include "daemon/smtp/smtp.h"

static bool is_xchar(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '+' && c != '=';
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

void smtp_xtext_encode(struct sbuf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (is_xchar(c))
			sbuf_putc(out, (char)c);
		else
			sbuf_printf(out, "+%02X", c);
	}
}

bool smtp_xtext_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (is_xchar((unsigned char)s.p[i]))
			continue;
		if (s.p[i] != '+' || s.n - i < 3 || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2]))
			return false;
		i += 2;
	}
	return true;
}

/* -1: no digit. */
static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool smtp_xtext_decode(struct str s, char *out, size_t max, size_t *ret_len)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '+') {
			int high = s.n - i >= 3 ? hex_value(s.p[i + 1]) : -1,
			    low = high < 0 ? -1 : hex_value(s.p[i + 2]);
			if (low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (!is_xchar((unsigned char)c)) {
			return false;
		}
		if (n == max)
			return false;
		out[n++] = c;
	}
	*ret_len = n;
	return true;
}

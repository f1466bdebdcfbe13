/* SPDX-License-Identifier: Apache-2.0
 * Base64 (RFC 4648 4).
 *
 * The hard thing is to accept one spelling only: what differs in text must differ in bytes, or two values that compare
 * unequal mean the same.
 */
#include "daemon/base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(const void *p, size_t n, char *out)
{
	const unsigned char *in = p;
	size_t k = 0;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)in[i] << 16;
		v |= i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0;
		v |= i + 2 < n ? in[i + 2] : 0;
		out[k++] = alphabet[v >> 18];
		out[k++] = alphabet[v >> 12 & 63];
		out[k++] = i + 1 < n ? alphabet[v >> 6 & 63] : '=';
		out[k++] = i + 2 < n ? alphabet[v & 63] : '=';
	}
	out[k] = '\0';
	return k;
}

/* -1 = not of the alphabet. */
static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters of which the last `pad` are padding; false = some other is not of the alphabet, or unused bits are
 * set. */
static bool group(const char *p, unsigned pad, uint32_t *ret)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 4; i++) {
		int one = i < 4 - pad ? value_of(p[i]) : 0;
		if (one < 0)
			return false;
		v = v << 6 | (uint32_t)one;
	}
	*ret = v;
	return (v & ((1u << (8 * pad)) - 1)) == 0;
}

bool base64_decode(struct str text, void *out, size_t max, size_t *ret_n)
{
	unsigned char *to = out;
	size_t n = 0;

	if (text.n % 4 != 0)
		return false;
	for (size_t i = 0; i < text.n; i += 4) {
		bool is_last = i + 4 == text.n;
		unsigned pad = !is_last || text.p[i + 3] != '=' ? 0 : text.p[i + 2] != '=' ? 1 : 2;
		uint32_t v;
		if (!group(text.p + i, pad, &v) || n + 3 - pad > max)
			return false;
		for (unsigned k = 0; k < 3 - pad; k++)
			to[n++] = (unsigned char)(v >> (16 - 8 * k));
	}
	*ret_n = n;
	return true;
}

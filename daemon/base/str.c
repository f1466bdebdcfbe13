/* SPDX-License-Identifier: Apache-2.0
 * Borrowed strings and a string builder.
 */
#include "daemon/base/str.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- views ---- */

bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Not strncasecmp(): it stops at a NUL and follows the locale. */
bool str_ieq(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

void ascii_lower(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = lower(p[i]);
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

unsigned str_distance(const char *a, const char *b, unsigned cap)
{
	unsigned row[65];
	size_t la = strlen(a), lb = strlen(b);

	if (la > 64 || lb > 64)
		return cap;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned diag = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned up = row[j];
			row[j] = min3(up + 1, row[j - 1] + 1, diag + (a[i - 1] == b[j - 1] ? 0 : 1));
			diag = up;
		}
	}
	return row[lb] < cap ? row[lb] : cap;
}

/* ---- builder ---- */

void sbuf_reserve(struct sbuf *b, size_t n)
{
	if (b->cap - b->n > n)
		return;
	size_t cap = b->cap < 64 ? 128 : b->cap * 2;
	while (cap - b->n <= n)
		cap *= 2;
	b->p = xrealloc(b->p, cap);
	b->cap = cap;
}

void sbuf_fini(struct sbuf *b)
{
	free(b->p);
	*b = (struct sbuf) { 0 };
}

void sbuf_reset(struct sbuf *b)
{
	b->n = 0;
	if (b->p != NULL)
		b->p[0] = '\0';
}

void sbuf_wipe(struct sbuf *b)
{
	if (b->p != NULL)
		explicit_bzero(b->p, b->cap);
	b->n = 0;
}

char *sbuf_extend(struct sbuf *b, size_t n)
{
	sbuf_reserve(b, n);
	b->n += n;
	b->p[b->n] = '\0';
	return b->p + b->n - n;
}

void sbuf_add(struct sbuf *b, const void *p, size_t n)
{
	char *to = sbuf_extend(b, n);

	if (n > 0)
		memcpy(to, p, n);
}

void sbuf_puts(struct sbuf *b, const char *s)
{
	sbuf_add(b, s, strlen(s));
}

void sbuf_putc(struct sbuf *b, char c)
{
	sbuf_add(b, &c, 1);
}

/* Formats into the room there is; only where that is too small, a second time. */
void sbuf_vprintf(struct sbuf *b, const char *fmt, va_list ap)
{
	va_list again;

	sbuf_reserve(b, 64);
	va_copy(again, ap);
	int n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
	ASSERT(n >= 0);
	if ((size_t)n >= b->cap - b->n) {
		sbuf_reserve(b, (size_t)n);
		vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	b->n += (size_t)n;
}

void sbuf_printf(struct sbuf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sbuf_vprintf(b, fmt, ap);
	va_end(ap);
}

char *sbuf_steal(struct sbuf *b)
{
	char *p = b->p != NULL ? b->p : xstrdup("");

	*b = (struct sbuf) { 0 };
	return p;
}

/* SPDX-License-Identifier: Apache-2.0
 * Borrowed strings (pointer and length, not NUL-terminated) and a string builder.
 */
#ifndef POSTROAD_BASE_STR_H
#define POSTROAD_BASE_STR_H

#include <stdarg.h>
#include <string.h>

#include "daemon/base/obj.h"

/* A view of bytes owned by somebody else. */
struct str {
	const char *p;
	size_t n;
};

#define STR(lit) ((struct str) { (lit), sizeof(lit) - 1 })
#define STR_ARG(s) (int)(s).n, (s).p /* for "%.*s" */

static inline struct str str_from(const char *c)
{
	return (struct str) { c, c == NULL ? 0 : strlen(c) };
}

bool str_eq(struct str a, struct str b);
/* ASCII case-insensitive. */
bool str_ieq(struct str a, struct str b);
/* ASCII lower case in place. */
void ascii_lower(char *p, size_t n);
/* Edit distance (Levenshtein) capped at `cap`; used to suggest the nearest known name. */
unsigned str_distance(const char *a, const char *b, unsigned cap);

/* A growing byte buffer, always NUL-terminated once something was added. Zero-initialise; sbuf_fini() frees. */
struct sbuf {
	char *p;
	size_t n, cap;
};

void sbuf_fini(struct sbuf *b);
void sbuf_reset(struct sbuf *b); /* keeps the memory */
void sbuf_wipe(struct sbuf *b);  /* the same, and overwrites what was in it: for secrets */
/* Room for n more bytes without another allocation. */
void sbuf_reserve(struct sbuf *b, size_t n);
void sbuf_add(struct sbuf *b, const void *p, size_t n);
/* Makes the buffer n bytes longer and returns where they begin; the caller writes all of them. */
char *sbuf_extend(struct sbuf *b, size_t n);
void sbuf_puts(struct sbuf *b, const char *s);
void sbuf_putc(struct sbuf *b, char c);
void sbuf_printf(struct sbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sbuf_vprintf(struct sbuf *b, const char *fmt, va_list ap);
/* The string, owned by the caller; the builder is empty afterwards. Never NULL. */
char *sbuf_steal(struct sbuf *b);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Allocation that cannot fail, and the one way to die of a broken invariant.
 */
#include "daemon/base/obj.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"

_Noreturn void base_panic(const char *file, int line, const char *what)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "postroad: panic at %s:%d: %s", file, line, what);

	log_last_words(text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
	abort();
}

static void *or_die(void *p)
{
	if (p == NULL)
		base_panic(__FILE__, __LINE__, "out of memory");
	return p;
}

void *xcalloc(size_t n, size_t size)
{
	return or_die(calloc(n == 0 ? 1 : n, size == 0 ? 1 : size));
}

void *xmalloc(size_t size)
{
	return or_die(malloc(size == 0 ? 1 : size));
}

void *xrealloc(void *p, size_t size)
{
	return or_die(realloc(p, size == 0 ? 1 : size));
}

char *xstrdup(const char *s)
{
	return or_die(strdup(s));
}

char *xstrndup(const char *s, size_t n)
{
	return or_die(strndup(s, n));
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *out = NULL;

	va_start(ap, fmt);
	int n = vasprintf(&out, fmt, ap);
	va_end(ap);
	return or_die(n < 0 ? NULL : out);
}

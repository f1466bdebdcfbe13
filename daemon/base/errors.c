/* SPDX-License-Identifier: Apache-2.0
 * A list of validation errors.
 */
#include "daemon/base/errors.h"

#include <stdarg.h>
#include <stdlib.h>

#include "daemon/base/str.h"

static char *dup_or_null(const char *s)
{
	return s == NULL ? NULL : xstrdup(s);
}

/* Cut between characters: the text goes out as JSON, which must be UTF-8. */
static char *dup_cut(const char *s)
{
	size_t n = ERRORS_FOUND_MAX;

	if (s == NULL || strlen(s) <= n)
		return dup_or_null(s);
	while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
		n--;
	return xasprintf("%.*s…", (int)n, s);
}

void errors_add(struct errors *e, const char *path, const char *found, const char *allowed, const char *suggestion,
		const char *detail_fmt, ...)
{
	struct sbuf detail = { 0 };
	va_list ap;

	if (e->n == ERRORS_MAX) {
		e->dropped++;
		return;
	}
	if (e->n == e->cap) {
		e->cap = e->cap == 0 ? 8 : e->cap * 2;
		e->list = xrealloc(e->list, e->cap * sizeof(*e->list));
	}
	va_start(ap, detail_fmt);
	sbuf_vprintf(&detail, detail_fmt, ap);
	va_end(ap);
	e->list[e->n++] = (struct error) { .path = xstrdup(path),
					   .detail = sbuf_steal(&detail),
					   .found = dup_cut(found),
					   .allowed = dup_or_null(allowed),
					   .suggestion = dup_or_null(suggestion) };
}

void errors_fini(struct errors *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->list[i].path);
		free(e->list[i].detail);
		free(e->list[i].found);
		free(e->list[i].allowed);
		free(e->list[i].suggestion);
	}
	free(e->list);
	*e = (struct errors) { 0 };
}

char *errors_text(const struct errors *e)
{
	struct sbuf b = { 0 };

	for (size_t i = 0; i < e->n; i++) {
		const struct error *x = &e->list[i];
		sbuf_printf(&b, "%s: %s", x->path[0] == '\0' ? "(document)" : x->path, x->detail);
		if (x->found != NULL)
			sbuf_printf(&b, "; found %s", x->found);
		if (x->allowed != NULL)
			sbuf_printf(&b, "; allowed: %s", x->allowed);
		if (x->suggestion != NULL)
			sbuf_printf(&b, "; did you mean \"%s\"?", x->suggestion);
		sbuf_putc(&b, '\n');
	}
	if (e->dropped > 0)
		sbuf_printf(&b, "and %zu more\n", e->dropped);
	return sbuf_steal(&b);
}

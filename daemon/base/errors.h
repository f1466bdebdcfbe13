/* SPDX-License-Identifier: Apache-2.0
 * A list of validation errors: all of them at once, each with where, what was found and what is allowed.
 */
#ifndef POSTROAD_BASE_ERRORS_H
#define POSTROAD_BASE_ERRORS_H

#include "daemon/base/obj.h"

struct error {
	char *path;       /* JSON pointer, RFC 6901; "" = the whole document */
	char *detail;     /* a sentence */
	char *found;      /* what stands there, as JSON text, cut to a bounded length; NULL = nothing */
	char *allowed;    /* what may stand there; NULL = said in detail */
	char *suggestion; /* the nearest known name; NULL = none */
};

/* Zero-initialise; errors_fini() frees. */
struct errors {
	struct error *list;
	size_t n, cap;
	size_t dropped; /* beyond ERRORS_MAX */
};

#define ERRORS_MAX 200
#define ERRORS_FOUND_MAX 256 /* bytes of `found` that are kept, before "…" */

/* Copies all strings; found, allowed, suggestion may be NULL. */
void errors_add(struct errors *e, const char *path, const char *found, const char *allowed, const char *suggestion,
		const char *detail_fmt, ...) PRINTF_LIKE(6, 7);
void errors_fini(struct errors *e);
/* One line per error for people, to standard error style output; returns a string the caller frees. */
char *errors_text(const struct errors *e);

#endif

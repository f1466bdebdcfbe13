/* SPDX-License-Identifier: Apache-2.0
 * Object magic, assertions and allocation that cannot fail.
 *
 * Every long-lived struct starts with a `uint32_t magic`. Each callback entry checks it, so that a stale pointer
 * ends the process at once instead of corrupting a message. Allocation failure ends the process too: a balancer
 * that keeps no queue loses nothing by a clean crash, and error paths that nobody can test would.
 */
#ifndef POSTROAD_BASE_OBJ_H
#define POSTROAD_BASE_OBJ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define UNUSED(x) ((void)(x))

/* Ends the process with a message on standard error and a core; never returns. */
_Noreturn void base_panic(const char *file, int line, const char *what);

#define ASSERT(cond) ((cond) ? (void)0 : base_panic(__FILE__, __LINE__, #cond))
#define CHECK_OBJ(ptr, want) ASSERT((ptr) != NULL && (ptr)->magic == (want))

/* Zeroed memory; never NULL. Free with free(). */
void *xcalloc(size_t n, size_t size);
void *xmalloc(size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
/* Formatted copy; the caller frees. */
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

#define NEW_OBJ(ptr, value) ((ptr) = xcalloc(1, sizeof(*(ptr))), (ptr)->magic = (value))
/* Wipes the magic so that a later CHECK_OBJ on a stale pointer fails, then frees. */
#define FREE_OBJ(ptr) ((ptr)->magic = 0, free(ptr), (ptr) = NULL)

#endif

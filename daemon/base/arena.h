/* SPDX-License-Identifier: Apache-2.0
 * Arena: allocations that live and die together (a transaction, a parsed configuration).
 */
#ifndef POSTROAD_BASE_ARENA_H
#define POSTROAD_BASE_ARENA_H

#include "daemon/base/obj.h"

struct arena;

/* block = bytes taken from the heap at a time; larger single requests get their own block. */
struct arena *arena_new(size_t block);
/* Frees all that came from it. Accepts NULL. */
void arena_free(struct arena *a);
/* Zeroed, 16-byte aligned, never NULL. */
void *arena_alloc(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
/* Bytes taken from the heap so far. */
size_t arena_size(const struct arena *a);

#endif

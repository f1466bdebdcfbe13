/* SPDX-License-Identifier: Apache-2.0
 * SipHash-1-3 and a string-keyed map.
 *
 * Keys come from clients (domains, addresses), so the map's hash is keyed with a random value per process and cannot be
 * flooded; hash_stable() uses a fixed key, for choices that all nodes must make alike (consistent hashing).
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012).
 */
#ifndef POSTROAD_BASE_HASH_H
#define POSTROAD_BASE_HASH_H

#include "daemon/base/str.h"

uint64_t hash_random(const void *p, size_t n);
uint64_t hash_stable(const void *p, size_t n);
/* Fills p from the kernel's generator. */
void random_bytes(void *p, size_t n);
/* A fast per-thread generator for jitter and load balancing; never for secrets. */
uint64_t random_u64(void);

/* Map from byte strings to non-NULL pointers; keys are copied. Not safe for concurrent writers; concurrent readers are
 * fine. */
struct map;

struct map *map_new(void);
/* Calls free_value (may be NULL) on each value. Accepts a NULL map. */
void map_free(struct map *m, void (*free_value)(void *));
/* Returns the value that stood there before, or NULL. */
void *map_put(struct map *m, struct str key, void *value);
void *map_get(const struct map *m, struct str key);
/* Returns the removed value, or NULL. */
void *map_remove(struct map *m, struct str key);
size_t map_count(const struct map *m);
/* Iteration in no order: start with *pos = 0; false at the end. The map must not change meanwhile. */
bool map_next(const struct map *m, size_t *pos, struct str *ret_key, void **ret_value);

#endif

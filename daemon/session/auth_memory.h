/* SPDX-License-Identifier: Apache-2.0
 * Logins that succeeded a moment ago, so that a client that logs in for each message does not cost a password hash each
 * time.
 *
 * What is kept is a keyed hash over user, stored hash and password, under a key this process made and never shows: it
 * is of no use to who reads it, and a changed password is another entry. Bounded, and shared by all threads.
 */
#ifndef POSTROAD_SESSION_AUTH_MEMORY_H
#define POSTROAD_SESSION_AUTH_MEMORY_H

#include "daemon/base/str.h"

#define AUTH_MEMORY_MS 60000 /* how long a success is remembered; using it does not lengthen it */

struct auth_memory;

struct auth_memory *auth_memory_new(void);
void auth_memory_free(struct auth_memory *m);

struct auth_memory_key {
	unsigned char mac[32];
};

/* The key of one attempt: strings of at most 255, 160 and 255 bytes. */
void auth_memory_key(const struct auth_memory *m, const char *user, const char *hash, const char *password,
		     struct auth_memory_key *ret);
/* Was this attempt good less than AUTH_MEMORY_MS ago? now_ms is monotonic. */
bool auth_memory_has(struct auth_memory *m, const struct auth_memory_key *key, int64_t now_ms);
/* It is good. */
void auth_memory_add(struct auth_memory *m, const struct auth_memory_key *key, int64_t now_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Passwords as crypt(5) hashes: what is stored of a user for mechanisms that send the password itself.
 *
 * Accepted are yescrypt ($y$), gost-yescrypt ($gy$), bcrypt ($2a$ $2b$ $2y$), SHA-512 ($6$) and SHA-256 ($5$), each up
 * to a cost that a login can bear; the judgement is the same on every machine, whatever its libcrypt can do.
 */
#ifndef POSTROAD_BASE_PASSWORD_H
#define POSTROAD_BASE_PASSWORD_H

#include "daemon/base/str.h"

#define PASSWORD_MAX 255      /* bytes; RFC 4616 2 asks for as many */
#define PASSWORD_HASH_MAX 160 /* characters of any accepted hash */

/* 1 to PASSWORD_MAX bytes of UTF-8 or any other encoding, no control characters. *ret_why is static text. */
bool password_valid(struct str password, const char **ret_why) MUST_CHECK;
/* Is the text a hash of an accepted kind and cost? *ret_why is static text and never holds the hash. */
bool password_hash_valid(const char *hash, const char **ret_why) MUST_CHECK;
/* A new yescrypt hash with a salt of its own, at the cost libxcrypt recommends. Takes some 20 ms. False = this
 * machine's libcrypt cannot. */
bool password_hash_make(const char *password, char out[PASSWORD_HASH_MAX + 1]) MUST_CHECK;

enum password_verdict { PASSWORD_GOOD, PASSWORD_BAD, PASSWORD_FAILED };

/* Memory for one check at a time, to be used again and again; the caller frees it with password_scratch_free(). */
struct password_scratch;
struct password_scratch *password_scratch_new(void);
void password_scratch_free(struct password_scratch *s);
/* Blocks for as long as the hash costs. Compares in constant time. FAILED: this machine's libcrypt does not know the
 * kind, or had no memory. */
enum password_verdict password_check(struct password_scratch *s, const char *password, const char *hash) MUST_CHECK;

#endif

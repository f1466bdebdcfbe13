/* SPDX-License-Identifier: Apache-2.0
 * Sealed streams: bytes under a passphrase, so that nobody reads them, changes them, or cuts a part off unseen.
 *
 * scrypt (RFC 7914) makes the key of the passphrase, AES-256-GCM seals pieces of 64 KiB, each with its number and
 * whether it is the last. A piece is handed on only when it was found to be genuine. Memory is bounded, whatever the
 * length.
 */
#ifndef POSTROAD_CLUSTER_TRUST_SEAL_H
#define POSTROAD_CLUSTER_TRUST_SEAL_H

#include "daemon/base/str.h"

enum {
	SEAL_PASSPHRASE_MIN = 8, /* bytes */
	SEAL_PASSPHRASE_MAX = 1024,
	SEAL_COST = 16, /* scrypt's N = 2^16, r = 8: 64 MiB, a fifth of a second */
	SEAL_COST_MIN = 10,
	SEAL_COST_MAX = 18,
	SEAL_PIECE = 64 * 1024,
	SEAL_HEAD_LEN = 32,
	SEAL_TAG_LEN = 16,
};

/* Takes bytes, 0 or a negative errno, which ends it all. */
typedef int seal_sink_fn(void *arg, struct str bytes);

struct seal;
/* cost: SEAL_COST; less for tests. NULL: *ret_why is a static sentence. The passphrase is the caller's to wipe. */
struct seal *seal_new(struct str passphrase, unsigned cost, seal_sink_fn *sink, void *arg,
		      const char **ret_why) MUST_CHECK;
/* 0, or the sink's error. */
int seal_write(struct seal *s, struct str bytes) MUST_CHECK;
/* The end. Without it, what was written is a cut file. */
int seal_end(struct seal *s) MUST_CHECK;
/* Accepts NULL. Keys and what was not written yet are wiped. */
void seal_free(struct seal *s);

struct unseal;
/* The reverse; the passphrase is copied, and wiped once the key is made. */
struct unseal *unseal_new(struct str passphrase, seal_sink_fn *sink, void *arg);
/* 0; -EBADMSG: see unseal_why(); or the sink's error. After an error every call gives it again. */
int unseal_write(struct unseal *u, struct str bytes) MUST_CHECK;
/* 0: all of it came. */
int unseal_end(struct unseal *u) MUST_CHECK;
/* What is wrong, a static sentence; "" = nothing. */
const char *unseal_why(const struct unseal *u);
void unseal_free(struct unseal *u);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Corosync's key: random bytes that whoever hears and speaks on the ring has. Nodes hand it to each other over mutual
 * TLS; the log has its hash.
 */
#ifndef POSTROAD_CLUSTER_TRUST_COROSYNC_KEY_H
#define POSTROAD_CLUSTER_TRUST_COROSYNC_KEY_H

#include "daemon/base/str.h"

enum { COROSYNC_KEY_LEN = 128, COROSYNC_KEY_HASH_LEN = 32 };

/* False = no randomness. */
bool corosync_key_make(uint8_t ret[COROSYNC_KEY_LEN]) MUST_CHECK;
/* SHA-256. */
void corosync_key_hash(const uint8_t key[COROSYNC_KEY_LEN], uint8_t ret[COROSYNC_KEY_HASH_LEN]);
/* Whether bytes that came from elsewhere are the key with this hash. */
bool corosync_key_is(struct str bytes, const uint8_t hash[COROSYNC_KEY_HASH_LEN]) MUST_CHECK;

#endif

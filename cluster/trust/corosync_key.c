/* SPDX-License-Identifier: Apache-2.0
 * Corosync's key. The hash of 1024 random bits tells nothing of them.
 */
#include "cluster/trust/corosync_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

bool corosync_key_make(uint8_t ret[COROSYNC_KEY_LEN])
{
	return RAND_priv_bytes(ret, COROSYNC_KEY_LEN) == 1;
}

void corosync_key_hash(const uint8_t key[COROSYNC_KEY_LEN], uint8_t ret[COROSYNC_KEY_HASH_LEN])
{
	ASSERT(EVP_Digest(key, COROSYNC_KEY_LEN, ret, NULL, EVP_sha256(), NULL) == 1);
}

bool corosync_key_is(struct str bytes, const uint8_t hash[COROSYNC_KEY_HASH_LEN])
{
	uint8_t is[COROSYNC_KEY_HASH_LEN];

	if (bytes.n != COROSYNC_KEY_LEN)
		return false;
	corosync_key_hash((const uint8_t *)bytes.p, is);
	return CRYPTO_memcmp(is, hash, sizeof(is)) == 0;
}

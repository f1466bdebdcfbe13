/* SPDX-License-Identifier: Apache-2.0
 * Entries from bytes. What decodes must encode to the same bytes; and, as a fuzzer cannot guess a SHA-256, every input
 * is tried once more with the right hash put in front.
 */
#include <openssl/evp.h>
#include <stdlib.h>

#include "cluster/core/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_decode(struct str in)
{
	struct entry e;
	struct sbuf again = { 0 };

	if (!entry_decode(in, &e))
		return;
	entry_encode(&e, &again);
	ASSERT(str_eq((struct str) { again.p, again.n }, in));
	sbuf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sbuf hashed = { 0 };
	uint8_t hash[ENTRY_HASH_LEN];

	try_decode((struct str) { (const char *)data, size });
	if (size < ENTRY_HASH_LEN)
		return 0;
	ASSERT(EVP_Digest(data + ENTRY_HASH_LEN, size - ENTRY_HASH_LEN, hash, NULL, EVP_sha256(), NULL) == 1);
	sbuf_add(&hashed, hash, sizeof(hash));
	sbuf_add(&hashed, data + ENTRY_HASH_LEN, size - ENTRY_HASH_LEN);
	try_decode((struct str) { hashed.p, hashed.n });
	sbuf_fini(&hashed);
	return 0;
}

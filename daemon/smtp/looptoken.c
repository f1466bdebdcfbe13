/* SPDX-License-Identifier: Apache-2.0
 * Tokens of our own in what a peer says: HMAC-SHA-256, cut to 64 bits.
 *
 * 64 bits are plenty: who guesses one wins that we hang up on him.
 */
#include "daemon/smtp/looptoken.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdio.h>

#define PREFIX STR("pr1.")
#define NONCE_DIGITS 16

/* Not to be mistaken for the same secret's MAC of something else. */
static const unsigned char purpose[] = "postroad loop token";

static void mac(const void *key, size_t key_len, const void *p, size_t n, unsigned char out[32])
{
	unsigned len = 0;

	ASSERT(HMAC(EVP_sha256(), key, (int)key_len, p, n, out, &len) != NULL && len == 32);
}

void looptoken_key(const void *secret, size_t n, struct looptoken_key *ret)
{
	mac(secret, n, purpose, sizeof(purpose), ret->bytes);
}

/* "pr1." and the nonce's digits are in out; appends the digits of their MAC. */
static void seal(const struct looptoken_key *key, char out[LOOPTOKEN_LEN + 1])
{
	const size_t head = PREFIX.n + NONCE_DIGITS;
	unsigned char sum[32];

	mac(key->bytes, sizeof(key->bytes), out, head, sum);
	for (unsigned i = 0; i < 8; i++)
		snprintf(out + head + 2 * (size_t)i, 3, "%02x", sum[i]);
	OPENSSL_cleanse(sum, sizeof(sum));
}

void looptoken_make(const struct looptoken_key *key, uint64_t nonce, char out[LOOPTOKEN_LEN + 1])
{
	snprintf(out, LOOPTOKEN_LEN + 1, "pr1.%016llx", (unsigned long long)nonce);
	seal(key, out);
}

static bool is_token(const struct looptoken_key *key, const char *p)
{
	const size_t head = PREFIX.n + NONCE_DIGITS;
	char want[LOOPTOKEN_LEN + 1];

	memcpy(want, p, head);
	seal(key, want);
	return CRYPTO_memcmp(want + head, p + head, LOOPTOKEN_LEN - head) == 0;
}

bool looptoken_find(const struct looptoken_key *key, struct str text)
{
	const struct str prefix = PREFIX;

	while (text.n >= LOOPTOKEN_LEN) {
		const char *at = memmem(text.p, text.n, prefix.p, prefix.n);
		size_t left = at != NULL ? text.n - (size_t)(at - text.p) : 0;
		if (left < LOOPTOKEN_LEN)
			return false;
		if (is_token(key, at))
			return true;
		text = (struct str) { at + prefix.n, left - prefix.n };
	}
	return false;
}

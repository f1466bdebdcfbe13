/* SPDX-License-Identifier: Apache-2.0
 * Join tokens: text, verifier, proof.
 *
 * The hard thing: people copy them from one window to another. A token that lost its end or changed a letter must be
 * told from one that is merely refused, so the text ends in a checksum of its own.
 */
#include "cluster/trust/token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>

#include "daemon/base/base64.h"

/*	0 id [8], 8 expires u64, big-endian, 16 authority [32], 48 secret [32], 80 number of addresses u8, then each:
 *family u8 (4 or 6), address [4 or 16], port u16; at the end the first four bytes of the SHA-256 of all before. */
enum {
	OFF_EXPIRES = TOKEN_ID_LEN / 2,
	OFF_AUTHORITY = OFF_EXPIRES + 8,
	OFF_SECRET = OFF_AUTHORITY + TOKEN_HASH_LEN,
	OFF_COUNT = OFF_SECRET + TOKEN_SECRET_LEN,
	OFF_ADDRESSES = OFF_COUNT + 1,
	SUM_LEN = 4,
	BINARY_MAX = OFF_ADDRESSES + TOKEN_ADDRESSES_MAX * 19 + SUM_LEN,
};

_Static_assert(sizeof(TOKEN_PREFIX) + BASE64_LEN(BINARY_MAX) <= TOKEN_TEXT_MAX, "the longest token has its place");

static void hash(const void *p, size_t n, uint8_t ret[TOKEN_HASH_LEN])
{
	ASSERT(EVP_Digest(p, n, ret, NULL, EVP_sha256(), NULL) == 1);
}

static void id_text(const uint8_t *bytes, char ret[TOKEN_ID_LEN + 1])
{
	for (size_t i = 0; i < TOKEN_ID_LEN / 2; i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

bool token_make(struct token *ret, const uint8_t authority[TOKEN_HASH_LEN], uint64_t expires)
{
	uint8_t id[TOKEN_ID_LEN / 2];

	*ret = (struct token) { .expires = expires };
	memcpy(ret->authority, authority, TOKEN_HASH_LEN);
	if (RAND_bytes(id, sizeof(id)) != 1 || RAND_bytes(ret->secret, sizeof(ret->secret)) != 1)
		return false;
	id_text(id, ret->id);
	return true;
}

void token_wipe(struct token *t)
{
	OPENSSL_cleanse(t, sizeof(*t));
}

/* ---- text ---- */

static size_t put_address(const struct addr *a, uint8_t *p)
{
	bool six = a->sa.sa_family == AF_INET6;
	size_t n = six ? 16 : 4;
	unsigned port = addr_port(a);

	p[0] = six ? 6 : 4;
	memcpy(p + 1, six ? (const void *)&a->in6.sin6_addr : (const void *)&a->in.sin_addr, n);
	p[1 + n] = (uint8_t)(port >> 8);
	p[2 + n] = (uint8_t)port;
	return n + 3;
}

/* Bytes taken, 0 = not an address. */
static size_t get_address(const uint8_t *p, size_t left, struct addr *ret)
{
	size_t n = left > 0 && p[0] == 6 ? 16 : left > 0 && p[0] == 4 ? 4 : 0;

	*ret = (struct addr) { 0 };
	if (n == 0 || left < n + 3)
		return 0;
	ret->sa.sa_family = n == 16 ? AF_INET6 : AF_INET;
	memcpy(n == 16 ? (void *)&ret->in6.sin6_addr : (void *)&ret->in.sin_addr, p + 1, n);
	addr_set_port(ret, (unsigned)(p[1 + n] << 8 | p[2 + n]));
	return addr_port(ret) == 0 ? 0 : n + 3;
}

static int nibble(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

void token_format(const struct token *t, char ret[TOKEN_TEXT_MAX])
{
	uint8_t b[BINARY_MAX] = { 0 }, sum[TOKEN_HASH_LEN];
	size_t n = OFF_ADDRESSES, prefix = strlen(TOKEN_PREFIX);

	ASSERT(t->n >= 1 && t->n <= TOKEN_ADDRESSES_MAX);
	for (size_t i = 0; i < TOKEN_ID_LEN / 2; i++)
		b[i] = (uint8_t)(nibble(t->id[2 * i]) << 4 | nibble(t->id[2 * i + 1]));
	for (size_t i = 0; i < 8; i++)
		b[OFF_EXPIRES + i] = (uint8_t)(t->expires >> (56 - 8 * i));
	memcpy(b + OFF_AUTHORITY, t->authority, TOKEN_HASH_LEN);
	memcpy(b + OFF_SECRET, t->secret, TOKEN_SECRET_LEN);
	b[OFF_COUNT] = (uint8_t)t->n;
	for (size_t i = 0; i < t->n; i++)
		n += put_address(&t->addresses[i], b + n);
	hash(b, n, sum);
	memcpy(b + n, sum, SUM_LEN);
	memcpy(ret, TOKEN_PREFIX, prefix);
	size_t len = base64_encode(b, n + SUM_LEN, ret + prefix);
	/* RFC 4648 5, so that no shell, URL or mouse stumbles over it. */
	for (char *p = ret + prefix; *p != '\0'; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	while (len > 0 && ret[prefix + len - 1] == '=')
		ret[prefix + --len] = '\0';
	OPENSSL_cleanse(b, sizeof(b));
}

static bool take(const uint8_t *b, size_t n, struct token *ret)
{
	uint8_t sum[TOKEN_HASH_LEN];

	if (n < OFF_ADDRESSES + SUM_LEN)
		return false;
	n -= SUM_LEN;
	hash(b, n, sum);
	if (memcmp(sum, b + n, SUM_LEN) != 0 || b[OFF_COUNT] < 1 || b[OFF_COUNT] > TOKEN_ADDRESSES_MAX)
		return false;
	id_text(b, ret->id);
	for (size_t i = 0; i < 8; i++)
		ret->expires = ret->expires << 8 | b[OFF_EXPIRES + i];
	memcpy(ret->authority, b + OFF_AUTHORITY, TOKEN_HASH_LEN);
	memcpy(ret->secret, b + OFF_SECRET, TOKEN_SECRET_LEN);
	size_t at = OFF_ADDRESSES;
	for (ret->n = 0; ret->n < b[OFF_COUNT]; ret->n++) {
		size_t used = get_address(b + at, n - at, &ret->addresses[ret->n]);
		if (used == 0)
			return false;
		at += used;
	}
	return at == n;
}

static struct str trimmed(struct str s)
{
	while (s.n > 0 && strchr(" \t\r\n", s.p[0]) != NULL && s.p[0] != '\0') {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && strchr(" \t\r\n", s.p[s.n - 1]) != NULL && s.p[s.n - 1] != '\0')
		s.n--;
	return s;
}

/* Back to RFC 4648 4 with its padding. */
static size_t standard(struct str s, char *out)
{
	size_t n = 0;

	for (; n < s.n; n++)
		out[n] = s.p[n] == '-' ? '+' : s.p[n] == '_' ? '/' : s.p[n] == '+' || s.p[n] == '/' ? '!' : s.p[n];
	while (n % 4 != 0)
		out[n++] = '=';
	return n;
}

bool token_parse(struct str text, struct token *ret, const char **ret_why)
{
	char b64[TOKEN_TEXT_MAX + 4];
	uint8_t b[BINARY_MAX];
	size_t n = 0, prefix = strlen(TOKEN_PREFIX);
	bool good = false;

	*ret = (struct token) { 0 };
	text = trimmed(text);
	if (text.n < prefix || memcmp(text.p, TOKEN_PREFIX, prefix) != 0) {
		*ret_why = "This is no join token: one begins with " TOKEN_PREFIX;
		return false;
	}
	text.p += prefix;
	text.n -= prefix;
	if (text.n >= TOKEN_TEXT_MAX) {
		*ret_why = "This is too long to be a join token: is there more than one?";
		return false;
	}
	size_t len = standard(text, b64);
	good = base64_decode((struct str) { b64, len }, b, sizeof(b), &n) && take(b, n, ret);
	if (!good) {
		*ret_why = "The join token lost a part or has a letter changed: copy the whole line again";
		token_wipe(ret);
	}
	OPENSSL_cleanse(b, sizeof(b));
	OPENSSL_cleanse(b64, sizeof(b64));
	return good;
}

/* ---- proof ---- */

static void mac(const uint8_t key[TOKEN_HASH_LEN], struct str a, struct str b, uint8_t ret[TOKEN_HASH_LEN])
{
	uint8_t digests[2 * TOKEN_HASH_LEN];
	unsigned n = 0;

	/* Of hashes, so that no part can run into the next. */
	hash(a.p, a.n, digests);
	hash(b.p, b.n, digests + TOKEN_HASH_LEN);
	ASSERT(HMAC(EVP_sha256(), key, TOKEN_HASH_LEN, digests, sizeof(digests), ret, &n) != NULL &&
	       n == TOKEN_HASH_LEN);
}

static void client_key(const struct token *t, uint8_t ret[TOKEN_HASH_LEN])
{
	mac(t->secret, STR("postroad join"), str_from(t->id), ret);
}

void token_stored(const struct token *t, uint8_t ret[TOKEN_HASH_LEN])
{
	uint8_t key[TOKEN_HASH_LEN];

	client_key(t, key);
	hash(key, sizeof(key), ret);
	OPENSSL_cleanse(key, sizeof(key));
}

void token_prove(const struct token *t, const uint8_t binding[TOKEN_HASH_LEN], struct str request,
		 uint8_t ret_proof[TOKEN_HASH_LEN])
{
	uint8_t key[TOKEN_HASH_LEN], stored[TOKEN_HASH_LEN], signature[TOKEN_HASH_LEN];

	client_key(t, key);
	hash(key, sizeof(key), stored);
	mac(stored, (struct str) { (const char *)binding, TOKEN_HASH_LEN }, request, signature);
	for (size_t i = 0; i < TOKEN_HASH_LEN; i++)
		ret_proof[i] = key[i] ^ signature[i];
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(signature, sizeof(signature));
}

bool token_check(const uint8_t stored[TOKEN_HASH_LEN], const uint8_t binding[TOKEN_HASH_LEN], struct str request,
		 const uint8_t proof[TOKEN_HASH_LEN])
{
	uint8_t key[TOKEN_HASH_LEN], again[TOKEN_HASH_LEN], signature[TOKEN_HASH_LEN];

	mac(stored, (struct str) { (const char *)binding, TOKEN_HASH_LEN }, request, signature);
	for (size_t i = 0; i < TOKEN_HASH_LEN; i++)
		key[i] = proof[i] ^ signature[i];
	hash(key, sizeof(key), again);
	OPENSSL_cleanse(key, sizeof(key));
	return CRYPTO_memcmp(again, stored, TOKEN_HASH_LEN) == 0;
}

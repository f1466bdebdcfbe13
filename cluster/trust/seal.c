/* SPDX-License-Identifier: Apache-2.0
 * Sealed streams.
 *
 * The hard thing: a file that was cut at the end of a piece consists of genuine pieces alone. So the last one is sealed
 * as the last, and whoever opens holds each piece back until it knows whether another one follows.
 */
#include "cluster/trust/seal.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdlib.h>

/* Head: 0 "PRSEAL", 6 version u8, 7 cost u8, 8 salt [16], 24 nonce [7], 31 zero. Authenticated with every piece.
 * Nonce of a piece: the head's seven bytes, its number u32 big-endian, 1 where it is the last, else 0. */
enum {
	SEAL_MAGIC = 0x7365616c,
	UNSEAL_MAGIC = 0x756e7365,
	VERSION = 1,
	OFF_VERSION = 6,
	OFF_COST = 7,
	OFF_SALT = 8,
	SALT_LEN = 16,
	OFF_NONCE = OFF_SALT + SALT_LEN,
	NONCE_LEN = 12,
	NONCE_FIXED = 7,
	KEY_LEN = 32,
	SCRYPT_R = 8,
};
static const char magic[OFF_VERSION] = { 'P', 'R', 'S', 'E', 'A', 'L' };

struct sealing {
	uint8_t head[SEAL_HEAD_LEN];
	uint8_t key[KEY_LEN];
	uint32_t piece;
	EVP_CIPHER_CTX *cipher;
};

struct seal {
	uint32_t magic;
	struct sealing s;
	seal_sink_fn *sink;
	void *arg;
	int rc;
	bool head_written;
	size_t n; /* bytes held */
	char held[SEAL_PIECE];
	char out[SEAL_PIECE + SEAL_TAG_LEN];
};

struct unseal {
	uint32_t magic;
	struct sealing s;
	seal_sink_fn *sink;
	void *arg;
	int rc;
	const char *why;
	char passphrase[SEAL_PASSPHRASE_MAX];
	size_t passphrase_len;
	size_t head_len, n;
	char held[SEAL_PIECE + SEAL_TAG_LEN];
	char out[SEAL_PIECE];
};

static bool make_key(struct sealing *s, struct str passphrase)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "SCRYPT", NULL);
	EVP_KDF_CTX *ctx = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
	uint64_t n = 1ull << s->head[OFF_COST], memory = 0;
	uint32_t r = SCRYPT_R, p = 1;

	/* 128 N r bytes, and some. */
	memory = 2 * 128 * n * r;
	OSSL_PARAM params[] = {
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)(uintptr_t)passphrase.p, passphrase.n),
		OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, s->head + OFF_SALT, SALT_LEN),
		OSSL_PARAM_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
		OSSL_PARAM_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
		OSSL_PARAM_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
		OSSL_PARAM_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory),
		OSSL_PARAM_END,
	};
	bool good = ctx != NULL && EVP_KDF_derive(ctx, s->key, KEY_LEN, params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return good;
}

static void nonce_of(const struct sealing *s, bool last, uint8_t ret[NONCE_LEN])
{
	memcpy(ret, s->head + OFF_NONCE, NONCE_FIXED);
	for (unsigned i = 0; i < 4; i++)
		ret[NONCE_FIXED + i] = (uint8_t)(s->piece >> (24 - 8 * i));
	ret[NONCE_LEN - 1] = last;
}

static bool begin_piece(struct sealing *s, bool last, bool encrypt)
{
	uint8_t nonce[NONCE_LEN];
	int n = 0;

	nonce_of(s, last, nonce);
	return EVP_CipherInit_ex2(s->cipher, EVP_aes_256_gcm(), s->key, nonce, encrypt, NULL) == 1 &&
	       EVP_CipherUpdate(s->cipher, NULL, &n, s->head, SEAL_HEAD_LEN) == 1;
}

static void wipe(struct sealing *s)
{
	EVP_CIPHER_CTX_free(s->cipher);
	OPENSSL_cleanse(s, sizeof(*s));
}

/* ---- sealing ---- */

struct seal *seal_new(struct str passphrase, unsigned cost, seal_sink_fn *sink, void *arg, const char **ret_why)
{
	struct seal *s;

	if (passphrase.n < SEAL_PASSPHRASE_MIN || passphrase.n > SEAL_PASSPHRASE_MAX) {
		*ret_why = "A passphrase has 8 to 1024 bytes";
		return NULL;
	}
	ASSERT(cost >= SEAL_COST_MIN && cost <= SEAL_COST_MAX);
	NEW_OBJ(s, SEAL_MAGIC);
	s->sink = sink;
	s->arg = arg;
	memcpy(s->s.head, magic, sizeof(magic));
	s->s.head[OFF_VERSION] = VERSION;
	s->s.head[OFF_COST] = (uint8_t)cost;
	s->s.cipher = EVP_CIPHER_CTX_new();
	if (s->s.cipher != NULL && RAND_bytes(s->s.head + OFF_SALT, SALT_LEN + NONCE_FIXED) == 1 &&
	    make_key(&s->s, passphrase))
		return s;
	*ret_why = "A key cannot be made of the passphrase: is there too little memory?";
	seal_free(s);
	return NULL;
}

static int flush(struct seal *s, bool last)
{
	uint8_t *out = (uint8_t *)s->out;
	int n = 0, more = 0;

	if (!s->head_written) {
		s->head_written = true;
		s->rc = s->sink(s->arg, (struct str) { (const char *)s->s.head, SEAL_HEAD_LEN });
	}
	if (s->rc == 0 && s->s.piece == UINT32_MAX)
		s->rc = -EFBIG;
	if (s->rc != 0)
		return s->rc;
	ASSERT(begin_piece(&s->s, last, true));
	ASSERT(EVP_CipherUpdate(s->s.cipher, out, &n, (const uint8_t *)s->held, (int)s->n) == 1);
	ASSERT(EVP_CipherFinal_ex(s->s.cipher, out + n, &more) == 1 && (size_t)(n + more) == s->n);
	ASSERT(EVP_CIPHER_CTX_ctrl(s->s.cipher, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_LEN, out + s->n) == 1);
	s->rc = s->sink(s->arg, (struct str) { s->out, s->n + SEAL_TAG_LEN });
	s->s.piece++;
	s->n = 0;
	return s->rc;
}

int seal_write(struct seal *s, struct str bytes)
{
	CHECK_OBJ(s, SEAL_MAGIC);
	while (bytes.n > 0 && s->rc == 0) {
		if (s->n == SEAL_PIECE && flush(s, false) != 0)
			break;
		size_t take = bytes.n < SEAL_PIECE - s->n ? bytes.n : SEAL_PIECE - s->n;
		memcpy(s->held + s->n, bytes.p, take);
		s->n += take;
		bytes.p += take;
		bytes.n -= take;
	}
	return s->rc;
}

int seal_end(struct seal *s)
{
	CHECK_OBJ(s, SEAL_MAGIC);
	return s->rc != 0 ? s->rc : flush(s, true);
}

void seal_free(struct seal *s)
{
	if (s == NULL)
		return;
	CHECK_OBJ(s, SEAL_MAGIC);
	wipe(&s->s);
	OPENSSL_cleanse(s->held, sizeof(s->held));
	FREE_OBJ(s);
}

/* ---- opening ---- */

struct unseal *unseal_new(struct str passphrase, seal_sink_fn *sink, void *arg)
{
	struct unseal *u;

	NEW_OBJ(u, UNSEAL_MAGIC);
	u->sink = sink;
	u->arg = arg;
	u->why = "";
	/* Too long a one cannot have sealed anything: cut, it will not open anything either. */
	u->passphrase_len = passphrase.n < SEAL_PASSPHRASE_MAX ? passphrase.n : SEAL_PASSPHRASE_MAX;
	if (u->passphrase_len > 0)
		memcpy(u->passphrase, passphrase.p, u->passphrase_len);
	u->s.cipher = EVP_CIPHER_CTX_new();
	ASSERT(u->s.cipher != NULL);
	return u;
}

static int bad(struct unseal *u, const char *why)
{
	u->why = why;
	u->rc = -EBADMSG;
	return u->rc;
}

static int open_head(struct unseal *u)
{
	const uint8_t *h = u->s.head;

	if (memcmp(h, magic, sizeof(magic)) != 0)
		return bad(u, "This is not a sealed file of Postroad");
	if (h[OFF_VERSION] != VERSION)
		return bad(u, "This file was sealed by a newer version: open it with that one");
	if (h[OFF_COST] < SEAL_COST_MIN || h[OFF_COST] > SEAL_COST_MAX || h[SEAL_HEAD_LEN - 1] != 0)
		return bad(u, "The head of the sealed file is damaged");
	bool made = make_key(&u->s, (struct str) { u->passphrase, u->passphrase_len });
	OPENSSL_cleanse(u->passphrase, sizeof(u->passphrase));
	return made ? 0 : bad(u, "A key cannot be made of the passphrase: is there too little memory?");
}

static int open_piece(struct unseal *u, bool last)
{
	const uint8_t *in = (const uint8_t *)u->held;
	uint8_t *out = (uint8_t *)u->out;
	int n = 0, more = 0;

	if (u->n < SEAL_TAG_LEN || (u->n == SEAL_TAG_LEN && u->s.piece > 0))
		return bad(u, "The sealed file was cut short");
	size_t len = u->n - SEAL_TAG_LEN;
	bool genuine = begin_piece(&u->s, last, false) && EVP_CipherUpdate(u->s.cipher, out, &n, in, (int)len) == 1 &&
		       EVP_CIPHER_CTX_ctrl(u->s.cipher, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_LEN, u->held + len) == 1 &&
		       EVP_CipherFinal_ex(u->s.cipher, out + n, &more) == 1;
	if (!genuine)
		return bad(u, u->s.piece == 0
				      ? "The passphrase is another one, or the sealed file is damaged or cut short"
				      : "The sealed file is damaged or cut short");
	u->rc = len == 0 ? 0 : u->sink(u->arg, (struct str) { u->out, len });
	u->s.piece++;
	u->n = 0;
	return u->rc;
}

int unseal_write(struct unseal *u, struct str bytes)
{
	CHECK_OBJ(u, UNSEAL_MAGIC);
	while (bytes.n > 0 && u->rc == 0) {
		bool head = u->head_len < SEAL_HEAD_LEN;
		if (!head && u->n == sizeof(u->held) && open_piece(u, false) != 0)
			break;
		size_t room = head ? SEAL_HEAD_LEN - u->head_len : sizeof(u->held) - u->n;
		size_t take = bytes.n < room ? bytes.n : room;
		memcpy(head ? (char *)u->s.head + u->head_len : u->held + u->n, bytes.p, take);
		bytes.p += take;
		bytes.n -= take;
		if (!head)
			u->n += take;
		else if ((u->head_len += take) == SEAL_HEAD_LEN)
			(void)open_head(u);
	}
	return u->rc;
}

int unseal_end(struct unseal *u)
{
	CHECK_OBJ(u, UNSEAL_MAGIC);
	if (u->rc != 0)
		return u->rc;
	if (u->head_len < SEAL_HEAD_LEN)
		return bad(u, "This is not a sealed file of Postroad, or it was cut short");
	return open_piece(u, true);
}

const char *unseal_why(const struct unseal *u)
{
	CHECK_OBJ(u, UNSEAL_MAGIC);
	return u->why;
}

void unseal_free(struct unseal *u)
{
	if (u == NULL)
		return;
	CHECK_OBJ(u, UNSEAL_MAGIC);
	wipe(&u->s);
	OPENSSL_cleanse(u->passphrase, sizeof(u->passphrase));
	OPENSSL_cleanse(u->out, sizeof(u->out));
	FREE_OBJ(u);
}

/* SPDX-License-Identifier: Apache-2.0
 * Ticket keys: sealing and opening session tickets, rotation, moving keys to other nodes.
 *
 * The hard thing is that whoever learns a key can read every TLS 1.2 session it sealed: keys are random, live for a few
 * rotations, are in memory only, and each copy is wiped where its use ends.
 */
#include "daemon/net/tls_private.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define TICKETS_MAGIC 0x7474636bu
#define EXPORT_VERSION 1
#define NAME_LEN 16
#define IV_LEN 16

struct ticket_key {
	uint8_t name[NAME_LEN]; /* goes out with each ticket, in clear */
	uint8_t aes[32], mac[32];
};

_Static_assert(sizeof(struct ticket_key) == TLS_TICKET_KEY_LEN, "exported as it is");

struct tls_tickets {
	uint32_t magic;
	_Atomic unsigned refs;
	pthread_rwlock_t lock; /* for all below */
	struct ticket_key keys[TLS_TICKETS_MAX];
	size_t n;
};

static void random_key(struct ticket_key *k)
{
	/* No key rather than a weak one. */
	ASSERT(RAND_bytes(k->name, sizeof(k->name)) == 1);
	ASSERT(RAND_priv_bytes(k->aes, sizeof(k->aes)) == 1);
	ASSERT(RAND_priv_bytes(k->mac, sizeof(k->mac)) == 1);
}

struct tls_tickets *tls_tickets_new(void)
{
	struct tls_tickets *t;

	NEW_OBJ(t, TICKETS_MAGIC);
	atomic_init(&t->refs, 1);
	pthread_rwlock_init(&t->lock, NULL);
	random_key(&t->keys[0]);
	t->n = 1;
	return t;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *t)
{
	CHECK_OBJ(t, TICKETS_MAGIC);
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void tls_tickets_unref(struct tls_tickets *t)
{
	if (t == NULL)
		return;
	CHECK_OBJ(t, TICKETS_MAGIC);
	if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	pthread_rwlock_destroy(&t->lock);
	OPENSSL_cleanse(t->keys, sizeof(t->keys));
	FREE_OBJ(t);
}

void tls_tickets_rotate(struct tls_tickets *t)
{
	struct ticket_key fresh;

	random_key(&fresh);
	pthread_rwlock_wrlock(&t->lock);
	if (t->n < TLS_TICKETS_MAX)
		t->n++;
	memmove(&t->keys[1], &t->keys[0], (t->n - 1) * sizeof(t->keys[0]));
	t->keys[0] = fresh;
	pthread_rwlock_unlock(&t->lock);
	OPENSSL_cleanse(&fresh, sizeof(fresh));
}

size_t tls_tickets_export(struct tls_tickets *t, uint8_t out[TLS_TICKETS_EXPORT_MAX])
{
	pthread_rwlock_rdlock(&t->lock);
	size_t n = t->n;
	out[0] = EXPORT_VERSION;
	out[1] = (uint8_t)n;
	memcpy(out + 2, t->keys, n * sizeof(t->keys[0]));
	pthread_rwlock_unlock(&t->lock);
	return 2 + n * sizeof(t->keys[0]);
}

bool tls_tickets_import(struct tls_tickets *t, const uint8_t *p, size_t n)
{
	if (n < 2 || p[0] != EXPORT_VERSION || p[1] == 0 || p[1] > TLS_TICKETS_MAX)
		return false;
	if (n != 2 + p[1] * sizeof(t->keys[0]))
		return false;
	pthread_rwlock_wrlock(&t->lock);
	OPENSSL_cleanse(t->keys, sizeof(t->keys));
	t->n = p[1];
	memcpy(t->keys, p + 2, t->n * sizeof(t->keys[0]));
	pthread_rwlock_unlock(&t->lock);
	return true;
}

/* ---- one ticket ---- */

static bool set_mac(EVP_MAC_CTX *mac, struct ticket_key *k)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac)),
				OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
				OSSL_PARAM_construct_end() };

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* The age of the key of that name (0 = the one that seals), copied; -1 = unknown. */
static int find_key(struct tls_tickets *t, const unsigned char *name, struct ticket_key *ret)
{
	int found = -1;

	pthread_rwlock_rdlock(&t->lock);
	for (size_t i = 0; i < t->n && found < 0; i++) {
		if (name != NULL && memcmp(t->keys[i].name, name, NAME_LEN) != 0)
			continue;
		*ret = t->keys[i];
		found = (int)i;
	}
	pthread_rwlock_unlock(&t->lock);
	return found;
}

int tls_tickets_crypt(struct tls_tickets *t, unsigned char *key_name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		      EVP_MAC_CTX *mac, int enc)
{
	struct ticket_key k;
	int age = find_key(t, enc ? NULL : key_name, &k), ok;

	if (age < 0)
		return 0; /* a full handshake, and a ticket of a key that we know */
	if (enc) {
		memcpy(key_name, k.name, NAME_LEN);
		ok = RAND_bytes(iv, IV_LEN) == 1 && EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.aes, iv);
	} else {
		ok = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.aes, iv);
	}
	ok = ok && set_mac(mac, &k);
	OPENSSL_cleanse(&k, sizeof(k));
	if (!ok)
		return -1;
	return !enc && age > 0 ? 2 : 1; /* 2: opened, and a newer one is due */
}

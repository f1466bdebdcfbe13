/* SPDX-License-Identifier: Apache-2.0
 * Logins that succeeded a moment ago.
 *
 * The hard thing is to stay bounded without trusting anybody: the memory is one table of fixed size, where an entry may
 * stand in a few places only, and the oldest of these gives way. As the place comes from a keyed hash, nobody can aim.
 */
#include "daemon/session/auth_memory.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdlib.h>

#include "daemon/base/hash.h"
#include "daemon/base/password.h"

#define N_SHARDS 16
#define N_SETS 64
#define N_WAYS 4

struct entry {
	struct auth_memory_key key;
	int64_t until_ms; /* 0 = empty */
};

struct shard {
	pthread_mutex_t lock;
	struct entry sets[N_SETS][N_WAYS];
};

struct auth_memory {
	unsigned char secret[32];
	struct shard shards[N_SHARDS];
};

struct auth_memory *auth_memory_new(void)
{
	struct auth_memory *m = xcalloc(1, sizeof(*m));

	random_bytes(m->secret, sizeof(m->secret));
	for (size_t i = 0; i < N_SHARDS; i++)
		pthread_mutex_init(&m->shards[i].lock, NULL);
	return m;
}

void auth_memory_free(struct auth_memory *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < N_SHARDS; i++)
		pthread_mutex_destroy(&m->shards[i].lock);
	OPENSSL_cleanse(m, sizeof(*m));
	free(m);
}

/* Length first, so that no two triples read alike. */
static size_t put_part(unsigned char *to, const char *text, size_t max)
{
	size_t n = strlen(text);

	ASSERT(n <= max);
	to[0] = (unsigned char)n;
	memcpy(to + 1, text, n);
	return n + 1;
}

void auth_memory_key(const struct auth_memory *m, const char *user, const char *hash, const char *password,
		     struct auth_memory_key *ret)
{
	unsigned char text[3 + 255 + PASSWORD_HASH_MAX + PASSWORD_MAX];
	size_t n = 0;
	unsigned len;

	n += put_part(text + n, user, 255);
	n += put_part(text + n, hash, PASSWORD_HASH_MAX);
	n += put_part(text + n, password, PASSWORD_MAX);
	ASSERT(HMAC(EVP_sha256(), m->secret, sizeof(m->secret), text, n, ret->mac, &len) != NULL);
	OPENSSL_cleanse(text, sizeof(text));
}

static struct entry *set_of(struct shard *sh, const struct auth_memory_key *key)
{
	return sh->sets[key->mac[1] % N_SETS];
}

bool auth_memory_has(struct auth_memory *m, const struct auth_memory_key *key, int64_t now_ms)
{
	struct shard *sh = &m->shards[key->mac[0] % N_SHARDS];
	bool found = false;

	pthread_mutex_lock(&sh->lock);
	for (size_t i = 0; i < N_WAYS; i++) {
		const struct entry *e = &set_of(sh, key)[i];
		bool is_same = CRYPTO_memcmp(e->key.mac, key->mac, sizeof(key->mac)) == 0;
		found |= is_same && e->until_ms > now_ms;
	}
	pthread_mutex_unlock(&sh->lock);
	return found;
}

void auth_memory_add(struct auth_memory *m, const struct auth_memory_key *key, int64_t now_ms)
{
	struct shard *sh = &m->shards[key->mac[0] % N_SHARDS];
	struct entry *at;

	pthread_mutex_lock(&sh->lock);
	at = set_of(sh, key);
	for (size_t i = 0; i < N_WAYS; i++) {
		struct entry *e = &set_of(sh, key)[i];
		if (memcmp(e->key.mac, key->mac, sizeof(key->mac)) == 0) {
			at = e;
			break;
		}
		if (e->until_ms < at->until_ms)
			at = e;
	}
	at->key = *key;
	at->until_ms = now_ms + AUTH_MEMORY_MS;
	pthread_mutex_unlock(&sh->lock);
}

/* SPDX-License-Identifier: Apache-2.0
 * SipHash-1-3 and a string-keyed map (open addressing, linear probing, backward-shift deletion).
 */
#include "daemon/base/hash.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

/* ---- hashing ---- */

static uint64_t rotl(uint64_t x, int b)
{
	return x << b | x >> (64 - b);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static uint64_t siphash13(const uint64_t key[2], const uint8_t *p, size_t n)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL,
			  key[0] ^ 0x6c7967656e657261ULL, key[1] ^ 0x7465646279746573ULL };
	uint64_t m, last = (uint64_t)n << 56;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&m, p, 8);
		v[3] ^= m;
		sip_round(v);
		v[0] ^= m;
	}
	for (size_t i = 0; i < n; i++)
		last |= (uint64_t)p[i] << (8 * i);
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint64_t process_key[2];
static pthread_once_t process_key_once = PTHREAD_ONCE_INIT;

static void make_process_key(void)
{
	random_bytes(process_key, sizeof(process_key));
}

uint64_t hash_random(const void *p, size_t n)
{
	pthread_once(&process_key_once, make_process_key);
	return siphash13(process_key, p, n);
}

uint64_t hash_stable(const void *p, size_t n)
{
	static const uint64_t key[2] = { 0x706f7374726f6164ULL, 0x6c6f616462616c61ULL };

	return siphash13(key, p, n);
}

void random_bytes(void *p, size_t n)
{
	uint8_t *out = p;

	while (n > 0) {
		ssize_t got = getrandom(out, n, 0);
		if (got > 0) {
			out += got;
			n -= (size_t)got;
		}
	}
}

uint64_t random_u64(void)
{
	static _Thread_local uint64_t state;

	if (state == 0)
		random_bytes(&state, sizeof(state));
	state += 0x9e3779b97f4a7c15ULL; /* splitmix64 */
	uint64_t z = state;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* ---- map ---- */

struct slot {
	uint64_t hash;
	char *key; /* NULL = free */
	size_t len;
	void *value;
};

struct map {
	struct slot *slots;
	size_t cap, count; /* cap is a power of two */
};

struct map *map_new(void)
{
	struct map *m = xcalloc(1, sizeof(*m));

	m->cap = 16;
	m->slots = xcalloc(m->cap, sizeof(*m->slots));
	return m;
}

void map_free(struct map *m, void (*free_value)(void *))
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->cap; i++) {
		if (m->slots[i].key == NULL)
			continue;
		if (free_value != NULL)
			free_value(m->slots[i].value);
		free(m->slots[i].key);
	}
	free(m->slots);
	free(m);
}

/* The slot that holds the key, or the free one where it belongs. */
static struct slot *find(const struct map *m, uint64_t hash, struct str key)
{
	for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct slot *s = &m->slots[i];
		if (s->key == NULL || (s->hash == hash && str_eq((struct str) { s->key, s->len }, key)))
			return s;
	}
}

static void grow(struct map *m)
{
	struct map old = *m;

	m->cap *= 2;
	m->slots = xcalloc(m->cap, sizeof(*m->slots));
	for (size_t i = 0; i < old.cap; i++) {
		struct slot *s = &old.slots[i];
		if (s->key != NULL)
			*find(m, s->hash, (struct str) { s->key, s->len }) = *s;
	}
	free(old.slots);
}

void *map_put(struct map *m, struct str key, void *value)
{
	ASSERT(value != NULL);
	if ((m->count + 1) * 4 > m->cap * 3)
		grow(m);
	uint64_t hash = hash_random(key.p, key.n);
	struct slot *s = find(m, hash, key);
	void *before = s->key != NULL ? s->value : NULL;
	if (s->key == NULL) {
		s->key = xmalloc(key.n + 1);
		if (key.n > 0)
			memcpy(s->key, key.p, key.n);
		s->key[key.n] = '\0';
		s->len = key.n;
		s->hash = hash;
		m->count++;
	}
	s->value = value;
	return before;
}

void *map_get(const struct map *m, struct str key)
{
	const struct slot *s = find(m, hash_random(key.p, key.n), key);

	return s->key != NULL ? s->value : NULL;
}

/* Closes the hole at i so that later members of the probe run stay reachable (Knuth 6.4, algorithm R). */
static void shift_back(struct map *m, size_t i)
{
	for (size_t j = (i + 1) & (m->cap - 1); m->slots[j].key != NULL; j = (j + 1) & (m->cap - 1)) {
		size_t home = m->slots[j].hash & (m->cap - 1);
		bool may_move = i <= j ? home <= i || home > j : home <= i && home > j;
		if (may_move) {
			m->slots[i] = m->slots[j];
			i = j;
		}
	}
	m->slots[i] = (struct slot) { 0 };
}

void *map_remove(struct map *m, struct str key)
{
	struct slot *s = find(m, hash_random(key.p, key.n), key);

	if (s->key == NULL)
		return NULL;
	void *value = s->value;
	free(s->key);
	shift_back(m, (size_t)(s - m->slots));
	m->count--;
	return value;
}

size_t map_count(const struct map *m)
{
	return m->count;
}

bool map_next(const struct map *m, size_t *pos, struct str *ret_key, void **ret_value)
{
	for (; *pos < m->cap; (*pos)++) {
		const struct slot *s = &m->slots[*pos];
		if (s->key == NULL)
			continue;
		*ret_key = (struct str) { s->key, s->len };
		*ret_value = s->value;
		(*pos)++;
		return true;
	}
	return false;
}

/* SPDX-License-Identifier: Apache-2.0
 * Logins that failed a moment ago.
 *
 * The hard thing is to be bounded under a flood of names and addresses that are all different, and yet not to forget
 * who is guessing in earnest: an entry may stand in a few places of one fixed table, and there the one that counts
 * least gives way. The place comes from a hash with a random key, so nobody can aim at another's.
 */
#include "daemon/session/auth_failures.h"

#include <pthread.h>
#include <stdlib.h>

#include "daemon/base/hash.h"

#define N_SHARDS 16
#define N_WAYS 4
#define COUNT_MAX 64.0f /* what one may owe: decays within some minutes whatever was tried */

enum kind { KIND_CLIENT = 'c', KIND_USER = 'u' };

struct entry {
	uint64_t tag; /* hash of kind and key */
	int64_t at_ms;
	float count; /* as of at_ms; 0 = empty */
};

struct shard {
	pthread_mutex_t lock;
	struct entry *sets; /* n_sets of N_WAYS */
};

struct auth_failures {
	size_t n_sets; /* per shard */
	struct shard shards[N_SHARDS];
};

struct auth_failures *auth_failures_new(size_t n)
{
	struct auth_failures *f = xcalloc(1, sizeof(*f));

	f->n_sets = n / (N_SHARDS * N_WAYS) > 0 ? n / (N_SHARDS * N_WAYS) : 1;
	for (size_t i = 0; i < N_SHARDS; i++) {
		pthread_mutex_init(&f->shards[i].lock, NULL);
		f->shards[i].sets = xcalloc(f->n_sets * N_WAYS, sizeof(struct entry));
	}
	return f;
}

void auth_failures_free(struct auth_failures *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < N_SHARDS; i++) {
		pthread_mutex_destroy(&f->shards[i].lock);
		free(f->shards[i].sets);
	}
	free(f);
}

/* ---- keys ---- */

static uint64_t tag_of(enum kind kind, const void *p, size_t n)
{
	char key[1 + 256];

	ASSERT(n < sizeof(key));
	key[0] = (char)kind;
	memcpy(key + 1, p, n);
	return hash_random(key, n + 1);
}

static uint64_t client_tag(const struct auth_attempt *a)
{
	struct addr key;

	memset(&key, 0, sizeof(key));
	if (a->client->sa.sa_family == AF_INET6)
		key.in6 = a->client->in6;
	else
		key.in = a->client->in;
	addr_mask(&key, key.sa.sa_family == AF_INET6 ? a->caps->client_prefix_v6 : a->caps->client_prefix_v4);
	return tag_of(KIND_CLIENT, &key, sizeof(key));
}

/* Names that differ in case are one: a guesser would have many otherwise. */
static uint64_t user_tag(const char *user)
{
	char name[255];
	size_t n = strnlen(user, sizeof(name));

	memcpy(name, user, n);
	ascii_lower(name, n);
	return tag_of(KIND_USER, name, n);
}

/* ---- entries ---- */

/* Halves are exact; in between, a straight line is near enough. */
static float count_now(const struct entry *e, int64_t now_ms)
{
	int64_t age = now_ms > e->at_ms ? now_ms - e->at_ms : 0;
	float count = e->count;

	for (; age >= AUTH_FAILURES_HALF_LIFE_MS && count >= 0.5f; age -= AUTH_FAILURES_HALF_LIFE_MS)
		count /= 2;
	count *= age < AUTH_FAILURES_HALF_LIFE_MS ? 1 - (float)age / (2 * AUTH_FAILURES_HALF_LIFE_MS) : 0;
	return count < 0.5f ? 0 : count;
}

static int64_t delay_of(float count)
{
	int64_t ms = AUTH_FAILURES_FIRST_MS;

	for (float i = 1.5f; i <= count && ms < AUTH_FAILURES_MAX_MS; i++)
		ms *= 2;
	return count <= 0 ? 0 : ms < AUTH_FAILURES_MAX_MS ? ms : AUTH_FAILURES_MAX_MS;
}

static struct shard *shard_of(struct auth_failures *f, uint64_t tag)
{
	return &f->shards[tag % N_SHARDS];
}

static struct entry *set_of(struct auth_failures *f, uint64_t tag)
{
	return shard_of(f, tag)->sets + tag / N_SHARDS % f->n_sets * N_WAYS;
}

/* NULL = none. */
static struct entry *find(struct auth_failures *f, uint64_t tag)
{
	struct entry *set = set_of(f, tag);

	for (size_t i = 0; i < N_WAYS; i++)
		if (set[i].tag == tag && set[i].count > 0)
			return &set[i];
	return NULL;
}

static struct entry *least(struct auth_failures *f, uint64_t tag, int64_t now_ms)
{
	struct entry *set = set_of(f, tag), *best = &set[0];

	for (size_t i = 1; i < N_WAYS; i++)
		if (count_now(&set[i], now_ms) < count_now(best, now_ms))
			best = &set[i];
	return best;
}

/* Counts one failure; returns the count. */
static float add_one(struct auth_failures *f, uint64_t tag, int64_t now_ms)
{
	struct shard *sh = shard_of(f, tag);
	float count;

	pthread_mutex_lock(&sh->lock);
	struct entry *e = find(f, tag);
	if (e == NULL) {
		e = least(f, tag, now_ms);
		*e = (struct entry) { .tag = tag };
	}
	count = count_now(e, now_ms) + 1;
	e->count = count < COUNT_MAX ? count : COUNT_MAX;
	e->at_ms = now_ms;
	count = e->count;
	pthread_mutex_unlock(&sh->lock);
	return count;
}

/* ---- entry points ---- */

int64_t auth_failures_wait(struct auth_failures *f, const struct auth_attempt *a, int64_t now_ms)
{
	uint64_t tag = client_tag(a);
	struct shard *sh = shard_of(f, tag);
	int64_t wait = 0;

	pthread_mutex_lock(&sh->lock);
	const struct entry *e = find(f, tag);
	if (e != NULL && count_now(e, now_ms) > AUTH_FAILURES_FREE)
		wait = e->at_ms + delay_of(count_now(e, now_ms)) - now_ms;
	pthread_mutex_unlock(&sh->lock);
	return wait > 0 ? wait : 0;
}

static int64_t what_is_left(int64_t delay, int64_t took)
{
	if (took > delay)
		delay = (took + AUTH_FAILURES_FIRST_MS - 1) / AUTH_FAILURES_FIRST_MS * AUTH_FAILURES_FIRST_MS;
	return took > 0 ? delay - took : delay;
}

int64_t auth_failures_add(struct auth_failures *f, const struct auth_attempt *a, int64_t now_ms)
{
	int64_t client = delay_of(add_one(f, client_tag(a), now_ms)), user = 0;

	if (a->user[0] != '\0')
		user = delay_of(add_one(f, user_tag(a->user), now_ms));
	return what_is_left(client > user ? client : user, a->since_ms > 0 ? now_ms - a->since_ms : 0);
}

void auth_failures_forget_user(struct auth_failures *f, const char *user)
{
	uint64_t tag = user_tag(user);
	struct shard *sh = shard_of(f, tag);

	pthread_mutex_lock(&sh->lock);
	struct entry *e = find(f, tag);
	if (e != NULL)
		*e = (struct entry) { 0 };
	pthread_mutex_unlock(&sh->lock);
}

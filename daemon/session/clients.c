/* SPDX-License-Identifier: Apache-2.0
 * Clients of one listener, counted per address prefix.
 *
 * The hard thing is to bound memory under a flood of addresses: an entry lives only while it has connections, or while
 * its rate bucket is not full again; those are swept a few at a time at every entry.
 */
#include "daemon/session/clients.h"

#include <pthread.h>
#include <stdlib.h>

#include "daemon/base/hash.h"

#define N_SHARDS 16
#define CLIENT_MAGIC 0x434c4e54u

struct client {
	uint32_t magic;
	unsigned shard;
	struct addr key;
	uint32_t connections;
	/* When the rate buckets are full again: GCRA's theoretical arrival times. A fraction of a millisecond is a
	 * whole connection where thousands may come in a second. */
	double full_at_ms, txns_full_at_ms;
	struct list idle; /* in the shard's idle list while connections == 0 */
	pool_load load;
};

struct shard {
	pthread_mutex_t lock;
	struct map *map;
	struct list idle; /* without connections, oldest first */
};

struct clients {
	struct shard shards[N_SHARDS];
};

struct clients *clients_new(void)
{
	struct clients *c = xcalloc(1, sizeof(*c));

	for (size_t i = 0; i < N_SHARDS; i++) {
		pthread_mutex_init(&c->shards[i].lock, NULL);
		c->shards[i].map = map_new();
		list_init(&c->shards[i].idle);
	}
	return c;
}

void clients_free(struct clients *c)
{
	for (size_t i = 0; i < N_SHARDS; i++) {
		map_free(c->shards[i].map, free);
		pthread_mutex_destroy(&c->shards[i].lock);
	}
	free(c);
}

static struct str key_bytes(const struct addr *a)
{
	return (struct str) { (const char *)a, sizeof(*a) };
}

static void drop(struct shard *sh, struct client *cl)
{
	list_remove(&cl->idle);
	map_remove(sh->map, key_bytes(&cl->key));
	FREE_OBJ(cl);
}

static bool is_forgotten(const struct client *cl, int64_t now_ms)
{
	return cl->full_at_ms <= (double)now_ms && cl->txns_full_at_ms <= (double)now_ms;
}

static void sweep(struct shard *sh, int64_t now_ms)
{
	for (int i = 0; i < 2 && !list_empty(&sh->idle); i++) {
		struct client *cl = LIST_FIRST(&sh->idle, struct client, idle);
		list_remove(&cl->idle);
		if (is_forgotten(cl, now_ms))
			drop(sh, cl);
		else /* its buckets fill at different times: let it not stand in the way */
			list_append(&sh->idle, &cl->idle);
	}
}

/* Generic cell rate algorithm (ITU-T I.371): one number per bucket. */
static bool rate_allows(const struct rate *r, double *full_at_ms, int64_t now_ms)
{
	if (r->n == UNLIMITED)
		return true;
	if (r->n == 0)
		return false;
	double each = (double)r->per_ms / (double)r->n;
	double burst = each * (double)(r->burst != 0 ? r->burst : r->n);
	double now = (double)now_ms, base = *full_at_ms > now ? *full_at_ms : now;
	/* Half of one connection more, so that what rounding does to the sum of many does not cost one. */
	if (base + each > now + burst + each / 2)
		return false;
	*full_at_ms = base + each;
	return true;
}

static struct client *find_or_add(struct shard *sh, unsigned shard, const struct addr *key)
{
	struct client *cl = map_get(sh->map, key_bytes(key));

	if (cl != NULL)
		return cl;
	NEW_OBJ(cl, CLIENT_MAGIC);
	cl->shard = shard;
	cl->key = *key;
	list_init(&cl->idle);
	map_put(sh->map, key_bytes(key), cl);
	return cl;
}

enum client_verdict clients_enter(struct clients *c, const struct addr *a, const struct listener_caps *caps,
				  int64_t now_ms, struct client **ret_client)
{
	struct addr key;

	memset(&key, 0, sizeof(key));
	if (a->sa.sa_family == AF_INET6)
		key.in6 = a->in6;
	else
		key.in = a->in;
	addr_mask(&key, key.sa.sa_family == AF_INET6 ? caps->client_prefix_v6 : caps->client_prefix_v4);
	unsigned shard = (unsigned)(hash_random(&key, sizeof(key)) >> 32) % N_SHARDS;
	struct shard *sh = &c->shards[shard];
	enum client_verdict verdict = CLIENT_OK;

	pthread_mutex_lock(&sh->lock);
	sweep(sh, now_ms);
	struct client *cl = find_or_add(sh, shard, &key);
	if (cl->connections >= caps->connections_per_client)
		verdict = CLIENT_TOO_MANY;
	else if (!rate_allows(&caps->connection_rate, &cl->full_at_ms, now_ms))
		verdict = CLIENT_TOO_FAST;
	if (verdict == CLIENT_OK)
		cl->connections++;
	list_remove(&cl->idle);
	if (cl->connections == 0)
		list_append(&sh->idle, &cl->idle);
	pthread_mutex_unlock(&sh->lock);
	*ret_client = verdict == CLIENT_OK ? cl : NULL;
	return verdict;
}

bool clients_transaction(struct clients *c, struct client *cl, const struct listener_caps *caps, int64_t now_ms)
{
	CHECK_OBJ(cl, CLIENT_MAGIC);
	struct shard *sh = &c->shards[cl->shard];

	if (caps->transactions.n == UNLIMITED)
		return true;
	pthread_mutex_lock(&sh->lock);
	bool allowed = rate_allows(&caps->transactions, &cl->txns_full_at_ms, now_ms);
	pthread_mutex_unlock(&sh->lock);
	return allowed;
}

pool_load *clients_load(struct client *cl)
{
	CHECK_OBJ(cl, CLIENT_MAGIC);
	return &cl->load;
}

void clients_leave(struct clients *c, struct client *cl, int64_t now_ms)
{
	CHECK_OBJ(cl, CLIENT_MAGIC);
	struct shard *sh = &c->shards[cl->shard];

	pthread_mutex_lock(&sh->lock);
	ASSERT(cl->connections > 0);
	if (--cl->connections == 0) {
		ASSERT(atomic_load_explicit(&cl->load, memory_order_relaxed) == 0);
		if (is_forgotten(cl, now_ms))
			drop(sh, cl);
		else
			list_append(&sh->idle, &cl->idle);
	}
	pthread_mutex_unlock(&sh->lock);
}

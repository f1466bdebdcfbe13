/* SPDX-License-Identifier: Apache-2.0
 * What the files of this room share and no other room includes (but its own tests).
 */
#ifndef POSTROAD_POOL_PRIVATE_H
#define POSTROAD_POOL_PRIVATE_H

#include <pthread.h>

#include "daemon/pool/pool.h"

#define SERVER_MAGIC 0x73727672u
#define POOL_MAGIC 0x706f6f6cu
#define POOL_SHARED_MAGIC 0x70736864u

/* ---- the state word: facts, not the state; the state is derived from them (server_word.c) ---- */

enum {
	WORD_ADMIN_MASK = 0x03,  /* enum server_admin */
	WORD_HEALTH_MASK = 0x0c, /* by checks */
	WORD_HEALTH_UNKNOWN = 0x00,
	WORD_HEALTH_UP = 0x04,
	WORD_HEALTH_DOWN = 0x08,
	WORD_EJECTED = 0x10,
	WORD_BUSY = 0x20,
	WORD_STARTING = 0x40,
	WORD_FACTS = 0x7f,
};
#define WORD_WEIGHT_SHIFT 8
#define WORD_WEIGHT_MASK (0xffffull << WORD_WEIGHT_SHIFT)
#define WORD_EPOCH_SHIFT 32

enum server_state server_word_state(uint64_t word);
/* Clears, then sets bits below the epoch, in one step; tells the control thread when a fact changed. From any thread.
 */
void server_word_update(struct server *s, uint64_t clear, uint64_t set);
void server_set_weight(struct server *s, unsigned effective);
void server_set_health(struct server *s, unsigned word_health);
bool server_state_usable(enum server_state st); /* up, starting or busy */
/* Usable and of a weight above 0. */
bool server_is_usable(const struct server *s);
/* At max_connections with no idle connection to lend. */
bool server_is_full(const struct server *s);
/* Posts one message (coalesced) that makes the control thread look at the server. */
void server_notify(struct server *s);
/* The peak EWMA as of now: it decays while nothing is measured, so that a server once slow is tried again. */
uint64_t server_latency_now(const struct server *s, int64_t now_ms);

struct server_identity {
	const char *name, *config_name;
	const struct addr *addr;
};
struct server *server_new(struct pool_shared *shared, const struct server_identity *id, struct loop *control);

/* ---- what outlives views: one per pool name ---- */

struct pool_shared {
	uint32_t magic;
	char *name;
	pthread_mutex_t lock; /* the queue; ejections */
	struct list waiters;  /* struct pool_waiter.link, in order of arrival */
	uint64_t offers;      /* releases that woke somebody */
	struct pool_series series;
	series_id queue_series;
	_Alignas(64) _Atomic uint32_t n_waiting; /* = length of waiters */
	_Alignas(64) _Atomic uint32_t turn;      /* round robin's position */
	_Atomic uint32_t refs;
};

struct pool_shared *pool_shared_new(const char *name);
struct pool_shared *pool_shared_ref(struct pool_shared *sh);
void pool_shared_unref(struct pool_shared *sh);
/* Wakes the waiter whose turn it is, if any. From any thread. */
void pool_shared_wake(struct pool_shared *sh);
/* Something of s that waiters want became free: counts it, then wakes one of them. From any thread. */
void server_freed(struct server *s);
/* Before a pick looks at the servers of p: from here on pool_wait() notices what becomes free. */
void pool_wait_mark(const struct pool *p);

/* ---- views ---- */

/* An empty view with room for n servers: fill the arrays with pool_add(), then pool_finish(). */
struct pool *pool_new(const struct pool_config *config, struct pool_shared *shared, size_t n);
void pool_add(struct pool *p, struct server *s, const struct server_config *sc, unsigned priority, unsigned weight);
void pool_finish(struct pool *p);

/* ---- balancing ---- */

struct candidate {
	struct server *server;
	unsigned index; /* in the view */
	unsigned weight, n_txns;
};

/* One of c[0..n), n > 0. */
size_t balance_pick(struct pool *p, const struct pick_query *q, const struct candidate *c, size_t n);
bool balance_is_hash(enum balance b);
/* The slot of turn in a weighted rotation: over sum(weight)/gcd turns in a row each gets exactly its share, well mixed.
 */
size_t balance_rotate(const struct candidate *c, size_t n, uint32_t turn);

struct ring;
struct ring *ring_new(const struct pool *p);
void ring_free(struct ring *r);
size_t ring_pick(const struct pool *p, const struct pick_query *q, const struct candidate *c, size_t n);

/* ---- outliers ---- */

/* The server is in trouble by its own word (traffic or a check said so). */
void outlier_busy(struct server *s, const struct outlier_config *oc, int64_t now_ms);
/* Control thread: ends holds that are over; returns the time of the next one to end, 0 = none. */
int64_t outlier_expire(struct server *s, int64_t now_ms);

#endif

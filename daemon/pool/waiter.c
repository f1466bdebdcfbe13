/* SPDX-License-Identifier: Apache-2.0
 * Transactions that wait for a free connection: one queue per pool name, fair between clients, first come first served
 * among equals.
 *
 * The hard thing is a wake-up that crosses a cancellation. A wake-up is a message on its way to another thread and
 * cannot be called back; so it is an object of its own that the waiter can disown. A disowned wake-up is handed to the
 * next waiter at once: one freed slot wakes one waiter that is still there.
 *
 * Fairness is by what clients hold at the moment of waking, which no order of the list can keep up with: the queue is
 * looked through. It is short (pool_config.queue), and looked at only when servers are full; the look has a bound.
 */
#include <stdlib.h>

#include "daemon/pool/pool_private.h"

#define WAKE_MAGIC 0x77616b65u

struct pool_wake {
	uint32_t magic;
	/* NULL = disowned. Touched on the waiter's thread, or before the message is posted. */
	struct pool_waiter *waiter;
};

static void on_wake(void *arg)
{
	struct pool_wake *wake = arg;
	struct pool_waiter *w;

	CHECK_OBJ(wake, WAKE_MAGIC);
	w = wake->waiter;
	FREE_OBJ(wake);
	if (w == NULL)
		return;
	pool_shared_unref(w->queued_in);
	w->wake = NULL;
	w->queued_in = NULL;
	w->fn(w->arg);
}

#define LOOK_MAX 1024      /* waiters looked at in one search */
#define ANYBODY UINT64_MAX /* no release is later */

enum which { LEAST, MOST };

static _Atomic uint32_t n_waiting_anywhere;

static void count_waiter(struct pool_shared *sh, int change)
{
	atomic_fetch_add(&sh->n_waiting, (uint32_t)change);
	atomic_fetch_add_explicit(&n_waiting_anywhere, (uint32_t)change, memory_order_relaxed);
}

static uint64_t load_of(const struct pool_waiter *w)
{
	return w->load == NULL ? 0 : atomic_load_explicit(w->load, memory_order_relaxed);
}

/* Takes w out of the queue and sends it a message. Posted under the lock: a cancellation on the waiter's thread finds
 * either a queued waiter or a posted wake-up. */
static void wake(struct pool_shared *sh, struct pool_waiter *w)
{
	struct pool_wake *wake;

	list_remove(&w->link);
	count_waiter(sh, -1);
	NEW_OBJ(wake, WAKE_MAGIC);
	wake->waiter = w;
	w->wake = wake;
	loop_post(w->loop, on_wake, wake);
}

/* Of those that were not woken for this release or a later one, the first whose client has least; or the last whose
 * client has most. NULL = there is none. The lock is held. */
static struct pool_waiter *find(const struct pool_shared *sh, uint64_t release, enum which which, uint64_t *ret_load)
{
	struct pool_waiter *w, *found = NULL;
	unsigned looked = 0;
	struct list *tmp;

	*ret_load = which == LEAST ? UINT64_MAX : 0;
	LIST_FOR_EACH(w, tmp, &sh->waiters, link) {
		if (looked++ == LOOK_MAX)
			break;
		uint64_t load = load_of(w);
		bool beyond = which == LEAST ? load < *ret_load : load >= *ret_load;
		if (w->offer >= release || (found != NULL && !beyond))
			continue;
		found = w;
		*ret_load = load;
	}
	return found;
}

static void offer(struct pool_shared *sh, uint64_t release)
{
	uint64_t load;
	struct pool_waiter *best = find(sh, release, LEAST, &load);

	if (best == NULL)
		return;
	best->offer = release;
	wake(sh, best);
}

void pool_shared_wake(struct pool_shared *sh)
{
	CHECK_OBJ(sh, POOL_SHARED_MAGIC);
	pthread_mutex_lock(&sh->lock);
	if (!list_empty(&sh->waiters))
		offer(sh, ++sh->offers);
	pthread_mutex_unlock(&sh->lock);
}

/* What w was woken for it cannot use; another may. Each is asked once for each release, so this comes to an end. One
 * that has been asked for a later release has seen this one as well. */
static void pass_on(struct pool_shared *sh, const struct pool_waiter *w)
{
	pthread_mutex_lock(&sh->lock);
	offer(sh, w->offer);
	pthread_mutex_unlock(&sh->lock);
}

/* ---- what is released between a pick and the waiting ---- */

/* A release counts itself, then looks for waiters; a waiter queues itself, then looks at the counts. All four are
 * sequentially consistent, so one of the two sees the other. The count is on the cache line that a release has just
 * written; the look costs what a relaxed load costs on the machines we know. */
void server_freed(struct server *s)
{
	atomic_fetch_add(&s->n_frees, 1);
	if (atomic_load(&s->shared->n_waiting) > 0)
		pool_shared_wake(s->shared);
}

static uint64_t count_frees(const struct pool *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->n_servers; i++)
		n += atomic_load(&p->servers[i]->n_frees);
	return n;
}

/* Per thread, not per query: a pick and its waiting are one turn, and a session need not carry the mark from one to the
 * other. */
static _Thread_local struct {
	const struct pool *pool; /* compared only, never followed */
	uint64_t frees;
} mark;

void pool_wait_mark(const struct pool *p)
{
	mark.pool = p;
	mark.frees = count_frees(p);
}

/* ---- waiting ---- */

/* By ticket, from the end: nearly always the last. */
static void insert(struct pool_shared *sh, struct pool_waiter *w)
{
	struct list *at = sh->waiters.prev;

	while (at != &sh->waiters && CONTAINER_OF(at, struct pool_waiter, link)->ticket > w->ticket)
		at = at->prev;
	list_insert_between(&w->link, at, at->next);
}

static bool has_room(const struct pool *p)
{
	for (size_t i = 0; i < p->n_servers; i++)
		if (server_is_usable(p->servers[i]) && !server_is_full(p->servers[i]))
			return true;
	return false;
}

/* Makes room in a full queue for a client that has less than another: the last to come of one that has most leaves. */
static bool evict_for(struct pool_shared *sh, const struct pool_waiter *newcomer)
{
	uint64_t most;
	struct pool_waiter *worst = find(sh, ANYBODY, MOST, &most);

	if (worst == NULL || most <= load_of(newcomer) + 1)
		return false;
	worst->evicted = true;
	wake(sh, worst);
	return true;
}

bool pool_wait(struct pool *p, struct pool_waiter *w)
{
	static _Atomic uint64_t tickets; /* of all pools: a transaction may come to wait for another one */
	struct pool_shared *sh = p->shared;
	bool again = w->ticket != 0;

	CHECK_OBJ(p, POOL_MAGIC);
	ASSERT(w->queued_in == NULL);
	if (!again)
		w->ticket = atomic_fetch_add_explicit(&tickets, 1, memory_order_relaxed) + 1;
	pthread_mutex_lock(&sh->lock);
	bool queued = again || atomic_load(&sh->n_waiting) < p->config->queue || evict_for(sh, w);
	if (queued) {
		w->evicted = false;
		w->queued_in = pool_shared_ref(sh);
		w->wake = NULL;
		insert(sh, w);
		count_waiter(sh, 1);
	}
	pthread_mutex_unlock(&sh->lock);
	if (queued && (mark.pool != p || count_frees(p) != mark.frees))
		pool_shared_wake(sh);
	else if (again && has_room(p))
		pass_on(sh, w);
	return queued;
}

void pool_wait_cancel(struct pool_waiter *w)
{
	struct pool_shared *sh = w->queued_in;

	if (sh == NULL)
		return;
	CHECK_OBJ(sh, POOL_SHARED_MAGIC);
	pthread_mutex_lock(&sh->lock);
	struct pool_wake *wake = w->wake;

	if (wake == NULL) {
		list_remove(&w->link);
		count_waiter(sh, -1);
	} else {
		wake->waiter = NULL;
	}
	w->wake = NULL;
	w->queued_in = NULL;
	pthread_mutex_unlock(&sh->lock);
	if (wake != NULL)
		pool_shared_wake(sh);
	pool_shared_unref(sh);
}

bool pool_anybody_waits(void)
{
	return atomic_load_explicit(&n_waiting_anywhere, memory_order_relaxed) > 0;
}

uint64_t pool_waiting_least(const struct pool *p)
{
	struct pool_shared *sh = p->shared;
	uint64_t least;

	pthread_mutex_lock(&sh->lock);
	(void)find(sh, ANYBODY, LEAST, &least);
	pthread_mutex_unlock(&sh->lock);
	return least;
}

unsigned pool_waiting(const struct pool *p)
{
	return atomic_load_explicit(&p->shared->n_waiting, memory_order_relaxed);
}

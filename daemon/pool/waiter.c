/* SPDX-License-Identifier: Apache-2.0
 * Transactions that wait for a free connection: one queue per pool name, first come first served.
 *
 * The hard thing is a wake-up that crosses a cancellation. A wake-up is a message on its way to another thread and cannot be called
 * back; so it is an object of its own that the waiter can disown. A disowned wake-up is handed to the next waiter at once: one freed slot
 * wakes one waiter that is still there.
 */
#include <stdlib.h>

#include "daemon/pool/pool_private.h"

#define WAKE_MAGIC 0x77616b65u

struct pool_wake {
	uint32_t magic;
	struct pool_waiter *waiter; /* NULL = disowned. Touched on the waiter's thread, or before the message is posted */
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

void pool_shared_wake(struct pool_shared *sh)
{
	CHECK_OBJ(sh, POOL_SHARED_MAGIC);
	pthread_mutex_lock(&sh->lock);
	if (!list_empty(&sh->waiters)) {
		struct pool_waiter *w = LIST_FIRST(&sh->waiters, struct pool_waiter, link);
		struct pool_wake *wake;

		list_remove(&w->link);
		atomic_fetch_sub(&sh->n_waiting, 1);
		NEW_OBJ(wake, WAKE_MAGIC);
		wake->waiter = w;
		w->wake = wake;
		/* Posted under the lock: a cancellation on the waiter's thread finds either a queued waiter or a posted wake-up. */
		loop_post(w->loop, on_wake, wake);
	}
	pthread_mutex_unlock(&sh->lock);
}

static bool has_room(const struct pool *p, bool want_slot)
{
	for (size_t i = 0; i < p->n_servers; i++) {
		const struct server *s = p->servers[i];
		if (!server_is_usable(s))
			continue;
		if (want_slot ? atomic_load(&s->n_conns) < atomic_load(&s->max_connections) : !server_is_full(s))
			return true;
	}
	return false;
}

bool pool_wait(struct pool *p, struct pool_waiter *w)
{
	CHECK_OBJ(p, POOL_MAGIC);
	struct pool_shared *sh = p->shared;

	pthread_mutex_lock(&sh->lock);
	bool queued = atomic_load(&sh->n_waiting) < p->config->queue;
	if (queued) {
		w->queued_in = pool_shared_ref(sh);
		w->wake = NULL;
		if (w->again)
			list_push(&sh->waiters, &w->link);
		else
			list_append(&sh->waiters, &w->link);
		atomic_fetch_add(&sh->n_waiting, 1);
	}
	pthread_mutex_unlock(&sh->lock);
	/* A slot that was released since the pick found none has woken nobody: see wake_if_waiting(). */
	if (queued && has_room(p, w->want_slot))
		pool_shared_wake(sh);
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
		atomic_fetch_sub(&sh->n_waiting, 1);
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

unsigned pool_waiting(const struct pool *p)
{
	return atomic_load_explicit(&p->shared->n_waiting, memory_order_relaxed);
}

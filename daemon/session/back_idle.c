/* SPDX-License-Identifier: Apache-2.0
 * Idle backend connections of one worker, newest first, so that few stay warm.
 *
 * The hard thing is the cap of a server: a connection that nobody uses must make room for a transaction that waits, be
 * it one that cannot be lent because it belongs to a session.
 */
#include "daemon/session/back_idle.h"

#include <stdlib.h>

#include "daemon/base/hash.h"
#include "daemon/session/back_pin.h"

struct idle_list {
	struct server *server; /* referenced */
	struct list head;      /* of back.idle_link, newest first */
	struct list resting;   /* likewise: those that wait for the next transaction of their session */
};

static struct str key_of(struct server *const *s)
{
	return (struct str) { (const char *)s, sizeof(*s) };
}

void back_idle_init(struct worker *w)
{
	w->idle = map_new();
}

bool back_idle_server_is_usable(const struct server *s)
{
	enum server_state state = server_state(s);

	return state != SERVER_DRAIN && state != SERVER_MAINT && state != SERVER_DOWN;
}

bool back_idle_worthy(const struct back *b)
{
	const struct reuse_config *cf = &b->pool->config->reuse;

	return !b->reserved && cf->idle > 0 && b->errors < cf->max_errors && !b->w->stopping &&
	       loop_now_ms(b->w->loop) - b->opened_ms < cf->max_age_ms &&
	       atomic_load_explicit(&b->server->n_idle, memory_order_relaxed) < cf->idle &&
	       back_idle_server_is_usable(b->server);
}

static struct idle_list *list_for(struct worker *w, struct server *s)
{
	struct idle_list *il = map_get(w->idle, key_of(&s));

	if (il != NULL)
		return il;
	il = xcalloc(1, sizeof(*il));
	il->server = server_ref(s);
	list_init(&il->head);
	list_init(&il->resting);
	map_put(w->idle, key_of(&s), il);
	return il;
}

static void enter(struct back *b, struct list *where)
{
	b->state = BACK_READY;
	b->txn = NULL;
	b->is_idle = b->reused = true;
	list_push(where, &b->idle_link);
	atomic_fetch_add_explicit(&b->server->n_idle, 1, memory_order_relaxed);
	timer_set_in(b->w->loop, &b->timer, b->pool->config->reuse.idle_timeout_ms);
	server_idle_available(b->server);
}

void back_idle_enter(struct back *b)
{
	ASSERT(!b->reserved);
	enter(b, &list_for(b->w, b->server)->head);
}

void back_idle_rest(struct back *b)
{
	ASSERT(b->session != NULL && !b->login);
	enter(b, &list_for(b->w, b->server)->resting);
}

void back_idle_leave(struct back *b)
{
	if (!b->is_idle)
		return;
	b->is_idle = false;
	list_remove(&b->idle_link);
	timer_stop(&b->timer);
	atomic_fetch_sub_explicit(&b->server->n_idle, 1, memory_order_relaxed);
}

struct back *back_idle_take(struct worker *w, struct server *s, const char *helo, const struct pool_config *cf)
{
	struct idle_list *il = map_get(w->idle, key_of(&s));
	struct list *tmp;
	struct back *b;

	if (il == NULL)
		return NULL;
	LIST_FOR_EACH(b, tmp, &il->head, idle_link) {
		if (strcmp(b->helo, helo) != 0 || loop_now_ms(w->loop) - b->opened_ms >= cf->reuse.max_age_ms ||
		    !pool_tls_same(&b->pool->config->tls, &cf->tls) ||
		    !pool_auth_same(&b->pool->config->auth, &cf->auth))
			continue;
		back_idle_leave(b);
		return b;
	}
	return NULL;
}

void back_shed(struct worker *w, struct server *s)
{
	struct idle_list *il = map_get(w->idle, key_of(&s));

	if (il == NULL)
		return;
	struct list *from = list_empty(&il->head) ? &il->resting : &il->head;
	if (!list_empty(from))
		back_quit(LIST_LAST(from, struct back, idle_link)); /* the oldest is the least warm */
}

/* Ends the idle connections of il; all, or those whose server may not be used. True: il is empty. */
static bool prune(struct idle_list *il, bool all)
{
	struct list *tmp;
	struct back *b;

	if (!all && back_idle_server_is_usable(il->server))
		return list_empty(&il->head) && list_empty(&il->resting);
	LIST_FOR_EACH(b, tmp, &il->head, idle_link)
		back_quit(b);
	LIST_FOR_EACH(b, tmp, &il->resting, idle_link)
		back_quit(b);
	return true;
}

static void prune_all(struct worker *w, bool all)
{
	struct map *kept = map_new();
	size_t pos = 0;
	struct str key;
	void *value;

	while (map_next(w->idle, &pos, &key, &value)) {
		struct idle_list *il = value;
		if (!prune(il, all)) {
			map_put(kept, key, il);
			continue;
		}
		server_unref(il->server);
		free(il);
	}
	map_free(w->idle, NULL);
	w->idle = kept;
}

void back_idle_prune(struct worker *w)
{
	prune_all(w, false);
	back_pin_prune(w);
}

void back_idle_fini(struct worker *w)
{
	prune_all(w, true);
	map_free(w->idle, NULL);
	w->idle = NULL;
}

/* SPDX-License-Identifier: Apache-2.0
 * Idle backend connections of one worker, newest first, so that few stay warm.
 */
#ifndef POSTROAD_SESSION_BACK_IDLE_H
#define POSTROAD_SESSION_BACK_IDLE_H

#include "daemon/session/back.h"

/* May it be kept for another transaction? By age, errors, the server's state and the cap on idle connections. */
bool back_idle_worthy(const struct back *b);
void back_idle_enter(struct back *b);
/* One that serves a session waits for its next transaction: not to be taken by others, but back_shed() may end it.
 * Where the session has logged in on it nothing may: it does not come here. */
void back_idle_rest(struct back *b);
/* Not idle, or at rest, any more; does nothing if it was not. */
void back_idle_leave(struct back *b);
/* Neither down nor on its way out. */
bool back_idle_server_is_usable(const struct server *s);
/* Frees the cache. */
void back_idle_fini(struct worker *w);
/* The newest one to s that greeted as helo and is young enough, or NULL. It has left the cache. */
struct back *back_idle_take(struct worker *w, struct server *s, const char *helo, const struct pool_config *cf);

#endif

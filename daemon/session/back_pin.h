/* SPDX-License-Identifier: Apache-2.0
 * Backend connections that belong to one session: those that say who the client is (PROXY, XCLIENT), and the one on
 * which its login was passed on. They serve its transactions with their pool, rest in between, and end with it.
 */
#ifndef POSTROAD_SESSION_BACK_PIN_H
#define POSTROAD_SESSION_BACK_PIN_H

#include "daemon/session/back.h"

/* From now on it serves this session only. Others of the same pool end: there is one for a pool. */
void back_pin(struct back *b, struct session *s);
/* It serves it no more, and nobody else either. One with the session's login takes that along. */
void back_unpin(struct back *b);
/* The session's login was passed on over b and succeeded: b is its connection to the pool, and rests. */
void back_pin_login(struct back *b, struct session *s);
/* The session begins anew as somebody else's: ends the connection with its login; the session may log in again. */
void back_pin_forget_login(struct session *s);
/* The session's connection to server, if it rests or is about to and still tells the truth; it does not rest any more.
 * NULL = none. */
struct back *back_pin_take(struct session *s, const struct pool *p, const struct server *server);
/* Its transaction is over: waits for the session's next one, for `reuse.idle_timeout`, or ends. */
void back_pin_rest(struct back *b);
/* Ends those that rest at servers that may not be used. */
void back_pin_prune(struct worker *w);

/* The beginning of a conversation of which the server is told the client by XCLIENT: sends the next of its commands.
 * False: there is no more. */
bool back_xclient_next(struct back *b);
/* Makes the commands out of what EHLO offered. False: the server does not take what it has to be told. */
bool back_xclient_make(struct back *b);

#endif

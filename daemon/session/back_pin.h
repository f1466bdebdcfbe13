/* SPDX-License-Identifier: Apache-2.0
 * Backend connections that say who the client is: they serve one session, rest between its transactions, and end with
 * it.
 */
#ifndef POSTROAD_SESSION_BACK_PIN_H
#define POSTROAD_SESSION_BACK_PIN_H

#include "daemon/session/back.h"

/* From now on it serves this session only. Others of the same pool end: there is one for a pool. */
void back_pin(struct back *b, struct session *s);
void back_unpin(struct back *b);
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

/* SPDX-License-Identifier: Apache-2.0
 * AUTH from clients (RFC 4954): which mechanisms are announced, and the exchange.
 */
#ifndef POSTROAD_SESSION_FRONT_AUTH_H
#define POSTROAD_SESSION_FRONT_AUTH_H

#include "daemon/session/front.h"

struct auth_exchange;

/* Makes the series of a mechanism's attempts, so that they are there from the start. */
void front_auth_init(void);
/* Appends the mechanisms that this session may use now, each behind a space. False: there are none, and AUTH is not
 * announced. */
bool front_auth_offer(const struct session *s, struct sbuf *out);
/* An attempt failed and was answered: counts it, and ends the session where it was one too many. */
void front_auth_refused(struct session *s);
/* An attempt ended without a verdict, which was told: counts an error. */
void front_auth_unanswered(struct session *s);
/* The exchange is over, and dropped: commands again, or the session's end where that had to wait for the exchange. */
void front_auth_over(struct session *s);
/* The command. */
enum step front_auth_command(struct session *s, struct str args);
/* A line of the exchange, without its end. */
enum step front_auth_line(struct session *s, struct str line);
/* The exchange is given up: the session ends. Idempotent. */
void front_auth_drop(struct session *s);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * AUTH that is passed on (`auth.mode` "passthrough"): a server decides, line by line, and keeps the session.
 *
 * The server is one of the pool that routes choose for a client of whom no more is known than listener, address, HELO
 * name and certificate. A login that succeeds ties the connection to the session: it serves the session's transactions
 * that go to this pool, and no others (back_pin.h); it counts in `max_connections`, and it lasts as long as the client
 * stays and brings mail within `reuse.idle_timeout`. Once it is gone, whoever ended it, the next command is answered
 * with 421: the client has to log in anew.
 */
#ifndef POSTROAD_SESSION_FRONT_PASS_H
#define POSTROAD_SESSION_FRONT_PASS_H

#include "daemon/session/back.h"
#include "daemon/session/front.h"

struct front_pass;

/* Makes the series of attempts. */
void front_pass_init(void);
/* The mechanisms that may be announced now: what all servers of the pool had when last seen, as mechanisms_of() gives
 * it. Those that bind to the TLS connection are left out: it ends here. */
uint64_t front_pass_mechanisms(const struct session *s);
/* The command: it may be run now, and this is its mechanism and initial response (p NULL = none). */
enum step front_pass_command(struct session *s, struct str name, struct str initial);
/* A line of the exchange, without its end. */
void front_pass_line(struct session *s, struct str line);
/* The exchange is given up: the session ends. Idempotent. */
void front_pass_drop(struct session *s);

/* ---- what the back tells its borrower ---- */

void front_pass_on_ready(struct front_pass *p);
void front_pass_on_reply(struct front_pass *p, const struct smtp_reply *r);
/* The connection failed and is gone already; r is the reply that did it, NULL = none. */
void front_pass_on_failed(struct front_pass *p, enum reply_stage stage, enum back_trouble why,
			  const struct smtp_reply *r);
struct session *front_pass_session(const struct front_pass *p);

#endif

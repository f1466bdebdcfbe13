/* SPDX-License-Identifier: Apache-2.0
 * What back.c, back_greet.c and back_dues.c share.
 */
#ifndef POSTROAD_SESSION_BACK_PRIVATE_H
#define POSTROAD_SESSION_BACK_PRIVATE_H

#include "daemon/session/back.h"

static inline const struct back_timeouts *back_timeouts(const struct back *b)
{
	return &b->pool->config->timeouts;
}

/* ---- back.c ---- */

/* Another state, which may last this long. */
void back_set_state(struct back *b, enum back_state state, int64_t timeout_ms);
/* Shows p[0..n) in the trace of the session it serves, if that is traced. side: 'b' = we said it, 'B' = the server. */
void back_trace(const struct back *b, char side, const char *p, size_t n);
/* Notes how things stand, for a borrower to whom a failure or a reply is told next. */
void back_note_standing(struct back *b);
/* Ends it and tells the borrower. r may be NULL. */
void back_fail(struct back *b, enum back_trouble why, const struct smtp_reply *r);

/* ---- back_dues.c ---- */

/* Where the conversation stands: the stage at which a failure now would happen. */
enum reply_stage back_stage(const struct back *b);
/* Counts a reply and the time it took since since_us. r NULL: the time alone. */
void back_observe(struct back *b, enum reply_stage stage, const struct smtp_reply *r, int64_t since_us);
/* The newest command is DATA, or content is open: after a 354 an RSET would be content. */
bool back_in_content(const struct back *b);
/* The time is over. True: content is under way and the server has taken some of it meanwhile, so it gets more time. */
bool back_took_content(struct back *b);
/* A reply in BACK_READY or BACK_RSET. */
void back_due_reply(struct back *b, const struct smtp_reply *r);

#endif

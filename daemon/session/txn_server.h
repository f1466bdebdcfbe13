/* SPDX-License-Identifier: Apache-2.0
 * What txn.c, txn_server.c, txn_seek.c, txn_envelope.c and txn_log.c share.
 */
#ifndef POSTROAD_SESSION_TXN_SERVER_H
#define POSTROAD_SESSION_TXN_SERVER_H

#include "daemon/session/txn.h"

#define TXN_ROUTE_RELAY_DENIED (-2)

/* ---- txn_seek.c ---- */

void txn_server_init(struct txn *t);
/* Picks a server and goes to it, or waits, or gives up. */
void txn_seek(struct txn *t);
/* A connection to t->server, which was claimed. */
void txn_borrow(struct txn *t);
/* Gives the claim on t->server back; the connection is gone already. */
void txn_leave_server(struct txn *t);
/* The session's login at this pool went with its connection: no other server knows it. */
bool txn_lost_login(const struct txn *t);

/* ---- txn_envelope.c ---- */

/* What went to the old server counts for nothing on the new one. */
void txn_unsend(struct txn *t);
/* What the server was told by XFORWARD counts no more. */
void txn_forget_xforward(struct txn *t);

/* ---- txn_server.c ---- */

/* Another server was sought after a failure: and found, or not. */
void txn_count_retry(struct txn *t, bool goes_on);
/* No other server: tells the client what happened. dot_left: it may have been delivered. */
void txn_final_failure(struct txn *t, const struct failure *f, bool dot_left);
/* The client got an answer: no failure is being worked on any more. */
void txn_progress(struct txn *t);
/* The server is ready for content. */
void txn_begin_content(struct txn *t);

/* ---- txn.c, txn_log.c ---- */

/* The next in t->rcpts, NULL at the end. */
struct rcpt *txn_next_rcpt(const struct txn *t, const struct rcpt *rc);
/* The server's verdict on one recipient, or on MAIL: the client's answer. */
void txn_rcpt_verdict(struct txn *t, struct rcpt *rc, const struct smtp_reply *r);
void txn_mail_verdict(struct txn *t, const struct smtp_reply *r);
/* Says what was decided and ends. */
void txn_say_outcome(struct txn *t);
/* One refused recipient, for the log. */
struct rcpt_refusal {
	struct str to;
	unsigned code;
	const char *reason; /* ours, as in rejected_total; NULL = the server's, whose reply is t->last_reply */
	const char *route;  /* of ours; NULL = none */
};

void txn_log_rcpt(const struct txn *t, const struct rcpt_refusal *r);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * What txn.c, txn_server.c and txn_log.c share.
 */
#ifndef POSTROAD_SESSION_TXN_SERVER_H
#define POSTROAD_SESSION_TXN_SERVER_H

#include "daemon/session/txn.h"

#define TXN_ROUTE_RELAY_DENIED (-2)

void txn_server_init(struct txn *t);
/* What the server was told by XFORWARD counts no more. */
void txn_forget_xforward(struct txn *t);
/* The next in t->rcpts, NULL at the end. */
struct rcpt *txn_next_rcpt(const struct txn *t, const struct rcpt *rc);
/* The client got an answer: no failure is being worked on any more. */
void txn_progress(struct txn *t);
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

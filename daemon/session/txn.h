/* SPDX-License-Identifier: Apache-2.0
 * One mail transaction: the envelope, the server chosen for it, the verdicts, the retries, the content.
 *
 * The promise lives here: the client's final 250 is the backend's final 250 for exactly those bytes. Commit points are
 * in one function, txn_may_retry(): before content any server may be tried; with content only while the replay buffer
 * holds all of it; once the final dot may have left, never.
 */
#ifndef POSTROAD_SESSION_TXN_H
#define POSTROAD_SESSION_TXN_H

#include "daemon/base/arena.h"
#include "daemon/session/back.h"
#include "daemon/session/session.h"

#define TXN_MAGIC 0x54584e00u

enum txn_state {
	TXN_HELD,     /* MAIL was answered by us; no server yet */
	TXN_SEEKING,  /* waiting for a free connection, or for one to become ready */
	TXN_ENVELOPE, /* MAIL and RCPT go to the server */
	TXN_DATA,     /* DATA is with the server */
	TXN_BODY,     /* content flows; behind its end: replies to chunks are awaited */
	TXN_DRAIN,    /* the outcome is known, the rest of the content is read and dropped */
	TXN_DOT,      /* the final dot, or BDAT with LAST, is on its way; its reply is due */
	TXN_OVER,     /* logged and counted; freed at the end of the turn */
	TXN_STATE_COUNT
};

enum txn_result { RESULT_ACCEPTED, RESULT_TEMPFAIL, RESULT_PERMFAIL, RESULT_NONE, RESULT_COUNT };
enum txn_cause {
#define CAUSE(ID, name, results) CAUSE_##ID,
#include "daemon/session/txn_cause.tbl.h"
#undef CAUSE
	CAUSE_COUNT
};
extern const char *const txn_result_names[RESULT_COUNT];
extern const char *const txn_cause_names[CAUSE_COUNT];

struct txn_series {
	series_id outcome[RESULT_COUNT][CAUSE_COUNT];
};

/* What a failure means: fail.c. */
struct failure {
	enum server_verdict blame;
	bool blamed;
	unsigned code;
	const char *enhanced, *text;
	enum txn_cause cause;
};

enum rcpt_state { RCPT_UNSENT, RCPT_SENT, RCPT_ACCEPTED, RCPT_REFUSED };

struct rcpt {
	struct list link;
	char *line; /* as it goes to the server, with CRLF */
	size_t line_n;
	struct str address;
	uint8_t state;
	bool answered; /* the client has its verdict; it was 2xx if `promised` */
	bool promised;
};

/* What will be said at the end of data when the balancer itself decided. */
struct outcome {
	unsigned code; /* 0 = not decided */
	const char *enhanced, *text;
	enum txn_cause cause;
};

struct txn {
	uint32_t magic;
	uint8_t state, mail_state; /* mail_state: enum rcpt_state, for MAIL */
	bool data_wanted;          /* the client has sent DATA, or its first BDAT */
	bool data_promised;        /* the client has its 354, or a server was ready for its BDAT */
	bool chunked;              /* content comes by BDAT */
	bool content_started;      /* the client has sent content: bytes are owed to a server */
	bool eod;                  /* the client has sent its end of data */
	bool client_gone;
	bool logged;
	struct session *s;
	struct arena *arena;
	struct snapshot *snapshot; /* referenced */
	/* envelope */
	struct smtp_mail mail;
	struct str sender;
	char sender_domain[SMTP_DOMAIN_MAX + 1];
	unsigned need_exts;
	struct list rcpts;   /* but those refused: nothing is sent for them again */
	struct rcpt *unsent; /* the first that was not sent to the present server; NULL = all were */
	unsigned n_rcpts;    /* asked for, refused ones included */
	size_t rcpt_bytes;   /* of all recipients that went to a server, refused ones included */
	unsigned n_unanswered, n_promised, n_refused;
	unsigned n_out; /* in rcpts without a verdict of the present server */
	/* route and server */
	int route; /* -1 = the listener's own pool */
	bool routed;
	struct pool *pool;     /* referenced by the snapshot */
	uint64_t balance_hash; /* of the first recipient of the route */
	struct server *server;
	const char *server_name; /* of the newest server, in the arena: for the log */
	struct back *back;
	struct pool_waiter waiter;
	pool_load *load;        /* its client's; NULL = not counted */
	uint64_t load_share;    /* what of it is this transaction's */
	int64_t quiet_since_ms; /* see pressure.c */
	uint64_t quiet_out;
	bool waiting;
	struct sbuf xforward; /* commands of this server's XFORWARD, sent up to xforward_at */
	size_t xforward_at;
	bool xforward_made;
	struct timer timer; /* queue timeout, retry budget */
	const struct server *tried[PICK_TRIED_MAX];
	unsigned n_tried, n_retries;
	bool fresh_only;   /* a reused connection was dead: a new one to the same server */
	bool was_bored;    /* a server had closed for want of commands; once is no failure */
	bool skip_full;    /* waited long enough: servers at their limit do not count any more */
	bool retrying;     /* a server failed, as `failure` says; another is being sought */
	bool mail_refused; /* by the backend: mail_reply is the answer to each recipient */
	char *mail_reply;
	unsigned mail_code;
	unsigned last_code; /* of the newest refusal, and what it is put down to */
	enum txn_cause last_cause;
	char *last_reply; /* the backend's newest reply worth showing, one line, for the log */
	/* content */
	struct smtp_eod scan;
	struct smtp_hops hops;
	struct sbuf replay; /* canonical content so far, while replay_whole */
	bool replay_whole;
	uint64_t replay_taken; /* of the node's memory */
	uint64_t sent;         /* content bytes given to the present connection, what it has gathered included */
	struct outcome outcome;
	struct failure failure;
	enum reply_stage failed_stage;
	char *outcome_reply; /* a backend's early verdict on the content, relayed at the end of data instead of
				outcome.text */
	uint64_t drained;
	bool received_due;                   /* the Received field goes before the first content */
	int64_t last_data_ms, rate_since_ms; /* see keep_pace() in relay.c */
	uint64_t rate_bytes;
	/* times, microseconds */
	int64_t started_us, dot_us, wait_us, wait_since_us;
	int64_t failing_since_us, failing_us; /* time spent on failures: what the retry budget bounds */
};

/* Opens the session's transaction for the arguments of a MAIL that smtp_mail_parse() accepts; they are copied. */
void txn_open(struct session *s, struct str args);
/* One line about a MAIL that is refused because it came round. */
void txn_log_loop(const struct session *s, const struct smtp_mail *m);
/* RCPT: *ret_wait = the command must wait for verdicts before it. Otherwise it was answered or will be. */
void txn_rcpt(struct txn *t, const struct smtp_rcpt *r, bool *ret_wait);
void txn_data(struct txn *t);
/* RSET, EHLO, QUIT, or the session's end: gives up. Logs the transaction. */
void txn_abort(struct txn *t, enum txn_cause cause);
/* The client has sent all of it and it is with a server, but for the end that may wait for replies to chunks. */
static inline bool txn_is_complete(const struct txn *t)
{
	return t->state == TXN_DOT || (t->state == TXN_BODY && t->eod);
}
/* Recipients whose verdict is not in. */
static inline unsigned txn_pending(const struct txn *t)
{
	return t == NULL ? 0 : t->n_unanswered;
}

/* ---- content: relay.c ---- */

/* Content from the client; returns bytes used. Less than n: the end of data was reached, or back-pressure (*ret_pause).
 */
size_t relay_feed(struct txn *t, const char *p, size_t n, bool *ret_pause);
/* The last chunk is complete: ends the content and sends the dot, unless something is wrong with it. In TXN_BODY. */
void relay_finish(struct txn *t);
/* We were the ones to wait: the clock by which the client is too slow starts anew. */
void relay_grant_pace(struct txn *t);
/* DATA or the first BDAT was said: from here on it is known how content comes, also where the server refuses it. */
void relay_expect(struct txn *t);
/* How many octets are read and dropped before the session ends. */
uint64_t relay_drain_max(const struct session *s);
/* 354 came, or the server takes BDAT: the client may send, or the replay buffer goes first. */
void relay_start(struct txn *t);
void relay_drained(struct txn *t);
/* The server took a chunk: there is room for another, or for the last. */
void relay_on_chunk(struct txn *t);
void relay_drop_replay(struct txn *t);
/* The outcome is known before the end of data: reads on and drops. */
void relay_begin_drain(struct txn *t);
/* When a client that stays silent in its content has been waited for long enough. */
int64_t relay_deadline_ms(const struct txn *t);
/* The Received field of this transaction, RFC 5321 4.4 (received.c). */
void received_field(const struct txn *t, struct sbuf *out);
bool received_wanted(const struct txn *t);

/* ---- what the back tells its borrower ---- */

void txn_on_ready(struct txn *t);
void txn_on_reply(struct txn *t, const struct due *d, const struct smtp_reply *r, int64_t took_us);
/* A reply that nothing asked for (421 while idle in a transaction, or an early verdict on content). */
void txn_on_early_reply(struct txn *t, const struct smtp_reply *r);
/* The connection failed and is gone already. r may be NULL. */
void txn_on_back_failed(struct txn *t, enum reply_stage stage, enum back_trouble why, const struct smtp_reply *r);
void txn_on_back_drained(struct txn *t);

/* ---- for the other files of this part ---- */

void fail_policy(enum reply_stage stage, enum back_trouble why, const struct smtp_reply *r, struct failure *ret);
/* The one place that knows the commit points. */
bool txn_may_retry(const struct txn *t, bool dot_left);

/* Decides the end here: the reply goes out now, or after the rest of the content was drained. */
void txn_decide(struct txn *t, unsigned code, const char *enhanced, const char *text, enum txn_cause cause);
/* Sends what may be sent. */
void txn_pump(struct txn *t);
/* Ends: logs, counts, gives the connection back, tells the session. The client has its answer. */
void txn_finish(struct txn *t, enum txn_result result, enum txn_cause cause);
void txn_release_back(struct txn *t);
/* The client's connection ends before the transaction, which is then no longer one of the client's. */
void txn_leave_client(struct txn *t);
void txn_note_reply(struct txn *t, const struct smtp_reply *r);
/* The server at hand has said nothing worth showing. */
void txn_forget_reply(struct txn *t);
/* The log line of a transaction: txn_log.c. */
void txn_log(struct txn *t, enum txn_result result, enum txn_cause cause);

#endif

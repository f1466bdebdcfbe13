/* SPDX-License-Identifier: Apache-2.0
 * The leg on which we are the client: one connection to one server, lent to one transaction at a time.
 *
 * A connection is opened, greets and says EHLO by itself; then it is idle or lent. What it still owes is a FIFO of
 * dues: with pipelining the next reply is read by the head of that queue, not by a state. A connection holds one slot
 * of its server from back_open() to its end, and dies by itself when idle too long, too old, or too often refused.
 */
#ifndef POSTROAD_SESSION_BACK_H
#define POSTROAD_SESSION_BACK_H

#include "daemon/net/stream.h"
#include "daemon/session/worker.h"
#include "daemon/smtp/smtp.h"

#define BACK_MAGIC 0x4241434bu
#define BACK_DUES 64 /* replies outstanding at most: the pipeline's bound */

struct txn;
struct session;
struct front_pass;

enum back_state {
	BACK_NONE,
	BACK_CONNECT,
	BACK_BANNER,
	BACK_STARTTLS,
	BACK_TLS, /* the handshake */
	BACK_EHLO,
	BACK_HELO,
	BACK_AUTH,  /* our own login */
	BACK_READY, /* idle, or lent to a transaction */
	BACK_RSET,  /* clearing what a transaction left, then idle */
	BACK_QUIT,
	BACK_STATE_COUNT
};

/* What the next reply answers. */
enum due_kind { DUE_MAIL, DUE_RCPT, DUE_DATA, DUE_DOT, DUE_RSET, DUE_AUTH, DUE_KIND_COUNT };

struct due {
	uint8_t kind;
	int64_t sent_us;
	void *about; /* DUE_RCPT: the recipient */
};

struct back {
	uint32_t magic;
	struct worker *w;
	struct list link; /* in the worker's list of all */
	struct list idle_link;
	struct stream st;
	struct timer timer;
	struct server *server;   /* referenced; its slot is ours */
	struct pool *pool;       /* referenced: of the transaction that opened it, for timeouts and names */
	struct txn *txn;         /* the borrower; NULL = none */
	struct front_pass *pass; /* or the login that borrows it */
	struct session *owner;   /* whose login succeeded on it: it serves nobody else; NULL = nobody */
	uint8_t state;
	bool is_idle;
	bool spoke, secure; /* its banner came; TLS is on */
	bool reused;        /* it has served before: an EOF before any reply is no failure */
	bool any_reply;     /* since it was lent */
	bool body_open;     /* DATA was answered by 354 and no final reply came: only a close may follow */
	/* How things stood when it last did something, for a borrower whom it failed: */
	bool dot_left;            /* the final dot had been given to the kernel */
	bool was_bored;           /* nothing was due: it had waited for our client for too long */
	int64_t asked_us;         /* since when it had owed us something */
	unsigned errors;          /* error replies since the last 250 to a message */
	unsigned announced, exts; /* SMTP_EXT_* of its EHLO, and of these what the pool lets count */
	unsigned mechanisms;      /* SMTP_AUTH_* of an EHLO before STARTTLS */
	char *error;              /* why a handshake or our login failed, for the log */
	struct sasl_client sasl;  /* BACK_AUTH: reads the pool's configuration */
	char *helo;               /* how we greeted: connections are shared only under the same name */
	uint64_t size;
	int64_t opened_ms, since_us;
	uint64_t bytes_mark; /* bytes_out when the block timeout was armed */
	unsigned due_at, due_n;
	struct due dues[BACK_DUES];
};

/* How a connection failed its borrower. */
enum back_trouble {
	BACK_OK,
	BACK_REFUSED, /* connect failed */
	BACK_EOF,
	BACK_TIMED_OUT,
	BACK_MALFORMED,   /* a reply that is none */
	BACK_SAID_NO,     /* 421 or 4.3.x, or an error at banner or EHLO */
	BACK_TLS_FAILED,  /* no STARTTLS where it is needed, or the handshake failed */
	BACK_AUTH_FAILED, /* it does not take our login */
	BACK_INCAPABLE,   /* its EHLO lacks what the envelope needs: nobody's fault */
	BACK_LOOP,        /* it is ourselves */
	BACK_TROUBLE_COUNT
};

/* A connection for t to s: an idle one of this worker, or a new one. NULL: the server is at its cap. If it is ready
 * already (*ret_ready), no event follows; else txn_on_ready() or txn_on_back_failed() comes. */
struct back *back_borrow(struct worker *w, struct pool *p, struct server *s, struct txn *t, bool fresh_only,
			 bool *ret_ready) MUST_CHECK;
/* A new connection for a login that is passed on: front_pass_on_ready() or front_pass_on_failed() comes. NULL: the
 * server is at its cap. */
struct back *back_open_for_login(struct worker *w, struct pool *p, struct server *s,
				 struct front_pass *pass) MUST_CHECK;
/* Queues a line of that login, which traces do not show, and expects a reply. */
void back_secret(struct back *b, const char *line, size_t n);
/* The login succeeded: the connection belongs to the session from here on, as session.pinned. */
void back_pin(struct back *b, struct session *s);
/* The session ends: so does the connection. */
void back_unpin(struct back *b);
/* The session's own connection for t, which goes to the same pool. NULL: its server may not be used any more, and it
 * was given up. As for *ret_ready see back_borrow(). */
struct back *back_borrow_pinned(struct back *b, struct pool *p, struct txn *t, bool *ret_ready) MUST_CHECK;
/* Gives it back, clean: after a final reply, or before anything was sent. */
void back_return(struct back *b);
/* Gives it back in the middle of an envelope: RSET first, or the end if content is open. */
void back_abandon(struct back *b);
/* Ends it at once, without a word. */
void back_drop(struct back *b);
/* Ends an idle one with QUIT; its slot is held until the server has let go of it too. */
void back_quit(struct back *b);

/* Room for one more due? */
bool back_may_send(const struct back *b);
/* Queues a command line (with CRLF) and expects a reply for it. */
void back_command(struct back *b, enum due_kind kind, void *about, const char *line, size_t n);
/* The final dot: ends the content. */
void back_dot(struct back *b);
/* The head of the dues, NULL = nothing is due. */
const struct due *back_due(const struct back *b);
/* While content flows there is no due, but writing must make progress: arms the block timeout, anew when bytes have
 * left. */
void back_body_progress(struct back *b);
/* All queued bytes, the dot included, went to the kernel. */
bool back_all_sent(const struct back *b);

/* ---- idle connections of a worker ---- */

void back_idle_init(struct worker *w);
/* Ends every connection of the worker, idle or not; no transaction may be open any more. */
void back_fini(struct worker *w);
/* Closes one idle connection to s, if there is one. */
void back_shed(struct worker *w, struct server *s);
/* Closes all idle connections to servers that may not be used, or that no pool has any more. */
void back_idle_prune(struct worker *w);

#endif

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
	BACK_XCLIENT, /* telling who the client is; EHLO again follows */
	BACK_HELO,
	BACK_AUTH,  /* our own login */
	BACK_READY, /* idle, or lent to a transaction */
	BACK_RSET,  /* clearing what a transaction left, then idle */
	BACK_QUIT,
	BACK_STATE_COUNT
};

/* What the next reply answers. */
enum due_kind {
	DUE_MAIL,
	DUE_RCPT,
	DUE_DATA,
	DUE_CHUNK, /* BDAT without LAST: its reply promises nothing */
	DUE_DOT,   /* the end of the content: the final dot, or BDAT with LAST */
	DUE_RSET,
	DUE_XFORWARD,
	DUE_AUTH,
	DUE_KIND_COUNT
};

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
	uint8_t state;
	bool is_idle;       /* counted in server.n_idle, linked by idle_link */
	bool spoke, secure; /* its banner came; TLS is on */
	/* Of those that serve one session (back_pin.h): */
	struct session *session; /* which they serve; NULL = shared, or the session has ended */
	struct list pin_link;
	unsigned epoch;       /* of the session when it was told */
	bool reserved;        /* it served a session: nobody else may have it, even behind the session's end */
	bool resting;         /* between the session's transactions */
	bool login;           /* the session has logged in on it, and can do so nowhere else */
	bool told;            /* the server knows who the client is, by PROXY or XCLIENT */
	bool introduced;      /* all XCLIENT commands have been said */
	struct sbuf commands; /* of XCLIENT, said up to commands_at */
	size_t commands_at;
	unsigned xclient, xforward; /* SMTP_XATTR_* of its EHLO */
	bool reused;                /* it has served before: an EOF before any reply is no failure */
	bool any_reply;             /* since it was lent */
	bool refused;               /* its newest reply was a refusal: that it ends now may be part of that */
	/* Content is under way (back_content.h): DATA was answered by 354, or it goes by BDAT, and no final reply came:
	 * only a close may follow. */
	bool body_open;
	bool chunked;            /* by BDAT */
	struct smtp_eod unstuff; /* towards BDAT: undoes what DATA needs */
	struct sbuf gathered;    /* for the next chunk */
	/* How things stood when it last did something, for a borrower whom it failed: */
	bool dot_left;            /* the final dot had been given to the kernel */
	bool was_bored;           /* nothing was due: it had waited for our client for too long */
	int64_t asked_us;         /* since when it had owed us something */
	unsigned errors;          /* error replies since the last 250 to a message */
	unsigned announced, exts; /* SMTP_EXT_* of its EHLO, and of these what the pool lets count */
	unsigned mechanisms;      /* SMTP_AUTH_* of its newest EHLO */
	uint64_t auth_names;      /* all of its AUTH line, as mechanisms_of() gives them */
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
	BACK_VERDICT,     /* a refusal of the client, whom it was told */
	BACK_NO_XCLIENT,  /* it cannot be told who the client is: its configuration, or ours */
	BACK_TROUBLE_COUNT
};

/* A connection for t to s: an idle one of this worker, or a new one. NULL: the server is at its cap. If it is ready
 * already (*ret_ready), no event follows; else txn_on_ready() or txn_on_back_failed() comes. */
struct back *back_borrow(struct worker *w, struct pool *p, struct server *s, struct txn *t, bool fresh_only,
			 bool *ret_ready) MUST_CHECK;
/* The server to which this session has a connection that waits for its next transaction; NULL = none. */
struct server *back_pinned_server(struct session *s, const struct pool *p);
/* The session ends: so do the connections that serve it. */
void back_pins_end(struct session *s);
/* A refusal that is about the client, whom the server was told, and not about the server: x.7.x, and any other than
 * 4.3.x to what stands before MAIL. */
bool back_is_verdict(const struct back *b, enum reply_stage stage, const struct smtp_reply *r);
/* A new connection for a login that is passed on: front_pass_on_ready() or front_pass_on_failed() comes. NULL: the
 * server is at its cap. */
struct back *back_open_for_login(struct worker *w, struct pool *p, struct server *s,
				 struct front_pass *pass) MUST_CHECK;
/* Queues a line of that login, which traces do not show, and expects a reply. */
void back_secret(struct back *b, const char *line, size_t n);
/* Gives it back, clean: after a final reply, or before anything was sent. */
void back_return(struct back *b);
/* Gives it back in the middle of an envelope: RSET first, or the end if content is open. */
void back_abandon(struct back *b);
/* Ends it at once, without a word. */
void back_drop(struct back *b);
/* Ends an idle one with QUIT; its slot is held until the server has let go of it too. */
void back_quit(struct back *b);

/* A line to which no due belongs. */
void back_say(struct back *b, const char *line, size_t n);
/* Room for one more due? */
bool back_may_send(const struct back *b);
/* Queues a command line (with CRLF) and expects a reply for it. */
void back_command(struct back *b, enum due_kind kind, void *about, const char *line, size_t n);
/* The stage at which a reply of this kind comes: label of metrics, and of failures. */
enum reply_stage back_due_stage(enum due_kind kind);
/* The head of the dues, NULL = nothing is due. */
const struct due *back_due(const struct back *b);
/* While content flows and nothing is due, writing must make progress: arms the block timeout, anew when bytes have
 * left. */
void back_body_progress(struct back *b);
/* All queued bytes, the dot included, went to the kernel. */
bool back_all_sent(const struct back *b);

/* ---- idle connections of a worker ---- */

void back_idle_init(struct worker *w);
/* Ends every connection of the worker, idle or not; no transaction may be open any more. */
void back_fini(struct worker *w);
/* Closes one connection to s that is idle, or rests for its session, if there is one. */
void back_shed(struct worker *w, struct server *s);
/* Closes all idle connections to servers that may not be used, or that no pool has any more. */
void back_idle_prune(struct worker *w);

#endif

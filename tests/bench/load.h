/* SPDX-License-Identifier: Apache-2.0
 * What the files of postroad-load share: options, the messages to send, a session, the results.
 */
#ifndef POSTROAD_TESTS_BENCH_LOAD_H
#define POSTROAD_TESTS_BENCH_LOAD_H

#include "daemon/base/addr.h"
#include "daemon/base/str.h"
#include "tests/bench/histogram.h"

typedef struct ssl_st SSL;

/* ---- options ---- */

enum tls_use { TLS_NONE, TLS_STARTTLS, TLS_IMPLICIT };

struct options {
	struct addr to;
	struct addr source; /* family 0 = the system's choice */
	uint64_t messages;  /* 0 = unlimited, until `seconds` are over */
	unsigned seconds;
	unsigned parallel;
	unsigned per_connection; /* messages; 0 = unlimited */
	unsigned size;           /* bytes, with the header */
	bool pipelining;
	unsigned rate; /* messages per second; 0 = as fast as the sessions go (closed loop) */
	unsigned rcpts;
	unsigned retries, retry_delay_ms; /* of a message refused with 4xx or lost with its connection */
	unsigned timeout_ms;              /* for each answer */
	unsigned idle;                    /* > 0: hold that many sessions instead of sending */
	bool progress;
	enum tls_use tls;
	bool resume;     /* offer the newest ticket instead of full handshakes */
	bool handshakes; /* a message is one handshake, up to the server's first bytes behind it */
	char **logins;   /* whole AUTH commands, one per connection in turn; NULL = nobody logs in */
	size_t n_logins;
	const char *helo, *from, *rcpt; /* "%n" = the message's number */
	const char *run;                /* first part of the message ids */
	char **domains;                 /* of recipients, taken in turn; NULL = as in `rcpt` */
	size_t n_domains;
	int ids_fd; /* -1 = none: a line per message */
};

extern struct options options; /* written by load_options_parse() */

void load_options_parse(int argc, char **argv);

/* ---- messages ---- */

struct message {
	uint64_t number;
	int64_t due_us; /* when it was to be sent: latencies count from here */
	unsigned tries;
	unsigned unanswered; /* tries whose end mark left and whose connection was lost before an answer */
	unsigned put_off;    /* tries answered 4xx behind the end mark */
};

enum outcome { OUTCOME_ACCEPTED, OUTCOME_TEMPFAIL, OUTCOME_PERMFAIL, OUTCOME_LOST, OUTCOME_COUNT };

void messages_init(int64_t start_us);
/* The next message that is due. False = none now. */
bool messages_next(int64_t now_us, struct message *ret);
/* When the next one falls due; -1 = none is waiting for its time. */
int64_t messages_next_due(void);
/* Ends one try of a message; may queue it again. code 0 = the connection was lost. */
void messages_done(const struct message *m, enum outcome outcome, unsigned code);
/* Nothing is left to be sent and nothing is under way. */
bool messages_finished(int64_t now_us);
/* No new messages from now on. */
void messages_stop(void);
/* Appends one command line of the envelope with its CRLF: index 0 = MAIL, 1..rcpts = RCPT, then DATA. */
void messages_command(const struct message *m, unsigned index, struct sbuf *out);
/* The header section that differs from message to message. */
void messages_header(const struct message *m, struct sbuf *out);
/* What follows it, the same for all: empty line, text, end mark. */
struct str messages_body(void);

/* ---- results ---- */

enum stage {
	STAGE_CONNECT,
	STAGE_TLS,
	STAGE_BANNER,
	STAGE_EHLO,
	STAGE_STARTTLS,
	STAGE_AUTH,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,
	STAGE_DOT,
	STAGE_QUIT,
	STAGE_COUNT,
	STAGE_READY = STAGE_COUNT, /* connected, nothing under way */
	STAGE_FREE,                /* no connection */
};

extern const char *const stage_names[STAGE_COUNT];

struct results {
	struct histogram stages[STAGE_COUNT];
	struct histogram transaction;
	uint64_t outcomes[OUTCOME_COUNT]; /* of messages, after their last try */
	uint64_t retries;
	uint64_t codes[600]; /* answers that were not what was hoped for; [0] = connection failed or lost, [1] = timeout
			      */
	uint64_t lost_at[STAGE_COUNT]; /* connections that failed or went while a message was under way, by what was due
					*/
	uint64_t connections, bytes;
	uint64_t handshakes, resumed;
	char tls[96]; /* of the first handshake: version/cipher/group */
};

extern struct results results;

/* ---- sessions ---- */

#define SESSION_MAGIC 0x10ad001u
#define REPLY_MAX 2048

struct session {
	uint32_t magic;
	int fd;   /* -1 = none */
	SSL *tls; /* NULL = not yet, or never */
	int stage;
	struct message m;
	bool has_message;
	bool held;        /* --idle: reached its resting place */
	unsigned failure; /* first refusal within the transaction; it is finished before it is given up */
	unsigned index;   /* within the stage: which recipient */
	unsigned accepted_rcpts;
	unsigned sent_messages; /* on this connection */
	int64_t since_us;       /* when the current stage began */
	int64_t deadline_us;
	size_t body_sent, body_size; /* header and body together; body_size 0 = nothing to write */
	struct sbuf header;
	struct session *next_free;
	size_t n_in;
	char in[REPLY_MAX];
};

/* The loop's side: told by sessions. */
void load_session_idle(struct session *s);   /* connected and ready for a message, or held */
void load_session_closed(struct session *s); /* no connection any more; stage and held still say what it was */
int load_epoll_fd(void);

void session_start(struct session *s, const struct message *m, int64_t now_us); /* m NULL with --idle */
void session_event(struct session *s, unsigned events);
/* Ends a session whose answer is overdue. */
void session_timeout(struct session *s);
/* Says goodbye: QUIT, or a plain close where nothing was said yet. */
void session_quit(struct session *s);

/* ---- TLS ---- */

/* Once, where options ask for TLS. Certificates are not verified: what is measured is the balancer. */
void load_tls_init(void);
/* Puts TLS on the session's socket. */
bool load_tls_begin(struct session *s);

enum tls_step { TLS_DONE, TLS_AGAIN, TLS_FAILED };

enum tls_step load_tls_handshake(struct session *s);
/* As recv() and send() on a non-blocking socket: -1 with errno EAGAIN, 0 = the server ended. */
ssize_t load_tls_recv(struct session *s, char *p, size_t n);
ssize_t load_tls_send(struct session *s, const char *p, size_t n);
/* Says so to the server where it still listens. Idempotent. */
void load_tls_end(struct session *s);

#endif

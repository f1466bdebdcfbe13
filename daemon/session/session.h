/* SPDX-License-Identifier: Apache-2.0
 * One client's session: the mediator between the front (we are the server), the transaction and the back (we are the
 * client).
 *
 * The legs never see each other. front calls session_on_command() and the like; back calls what its borrower, the
 * transaction, gave it. One exit: session_close(s, reason), a row per reason in session_close.tbl.h.
 */
#ifndef POSTROAD_SESSION_SESSION_H
#define POSTROAD_SESSION_SESSION_H

#include "daemon/net/stream.h"
#include "daemon/session/clients.h"
#include "daemon/session/worker.h"
#include "daemon/smtp/bdat.h"
#include "daemon/smtp/smtp.h"

#define SESSION_MAGIC 0x53455353u
#define SESSION_ID_MAX 96

enum close_reason {
	CLOSE_NONE,
#define CLOSE(ID, name, code, enhanced, text, level) CLOSE_##ID,
#include "daemon/session/session_close.tbl.h"
#undef CLOSE
	CLOSE_COUNT
};

/* Why the balancer itself refused something: label of rejected_total. */
enum reject_reason {
#define REJECT(ID, name) REJECT_##ID,
#include "daemon/session/reject.tbl.h"
#undef REJECT
	REJECT_COUNT
};

/* What became of a connection at accept: label of connections_total. */
enum accept_result {
#define ACCEPT(ID, name) ACCEPT_##ID,
#include "daemon/session/accept.tbl.h"
#undef ACCEPT
	ACCEPT_COUNT
};
extern const char *const reject_reason_names[REJECT_COUNT];
extern const char *const accept_result_names[ACCEPT_COUNT];

enum front_state {
	FRONT_NONE,
	FRONT_TLS,       /* the handshake is under way */
	FRONT_GREETING,  /* the greeting is held back: nothing may come */
	FRONT_AUTH,      /* a line of an AUTH exchange is due */
	FRONT_AUTH_WAIT, /* the exchange waits, for a verdict or until a delay is over */
	FRONT_COMMAND,   /* a command line is due */
	FRONT_WAIT,      /* a command waits for the backend; more may be in the buffer */
	FRONT_BODY,      /* message content is due */
	FRONT_CHUNK,     /* octets of a BDAT are due, or its reply */
	FRONT_DOT,       /* the final reply is due from the backend */
	FRONT_GONE,      /* the client has left; the transaction may still wait for its final reply */
	FRONT_STATE_COUNT
};

/* The leg on which we are the server. */
struct front {
	struct stream st;
	struct timer timer;
	uint8_t state;
	bool esmtp, greeted; /* EHLO or HELO was accepted */
	bool spoke;          /* the greeting went out */
	bool discarding;     /* the rest of a line that was too long */
	bool ending;         /* at the next edge, which is due now */
	bool yielding;       /* enough commands for one turn */
	bool after_auth;     /* the newest command was AUTH: what is no command now may be a response of it */
	bool partial;        /* an incomplete command line is there since line_since_ms */
	uint32_t errors, junk;
	unsigned exts;    /* announced at the last EHLO */
	unsigned unknown; /* those that nobody could know of then: no server was ever seen */
	char *helo;
	size_t rest;       /* bytes behind the command at hand, in the same read */
	char *user;        /* who logged in; NULL = nobody */
	bool user_is_ours; /* of the configuration's users, not a server's or by the word of XCLIENT */
	struct auth_exchange *auth;
	struct front_pass *pass; /* a login that is passed on, under way */
	unsigned auth_failures;
	const char *tls;                          /* version, static; NULL = plaintext */
	struct envelope_certificate *certificate; /* a verified one of the client's; NULL = none */
	int64_t line_since_ms, idle_since_ms;
	struct chunking *chunking; /* chunk.c's; NULL = no BDAT yet */
};

/* What others said of the client. */
struct naming {
	struct addr peer;                /* the other end of the connection */
	struct addr origin;              /* who the client was before XCLIENT: decides who may use that */
	struct addr local, origin_local; /* where the client connected to; family 0 = where the peer did */
	struct xclient *told;            /* by XCLIENT; NULL = nothing */
};

struct session {
	uint32_t magic;
	bool closing, detached; /* detached: the client is gone, the final reply is awaited */
	struct list link;
	struct worker *w;
	struct snapshot *snapshot; /* referenced; the newest between transactions */
	const struct listener_view *lv;
	struct listener_runtime *run; /* referenced */
	struct client *counted;       /* NULL = exempt from the caps per client */
	struct addr client;           /* who it is: the peer, or whom PROXY or XCLIENT named */
	struct naming *naming;        /* NULL = nobody named a client: it is the other end of the connection */
	struct list pinned;           /* struct back.pin_link: connections that serve this session only */
	unsigned epoch;               /* grows when servers would have to be told something else about the client */
	uint64_t number;
	int64_t started_ms;
	struct front front;
	struct txn *txn;  /* NULL = none open */
	char *login_pool; /* where its login was passed on to (back.login); NULL = nowhere */
	bool login_lost;  /* that connection is gone: the session can only end */
	uint32_t n_txns;
	bool traced;
};

/* Takes over an accepted connection of an smtp listener. */
void session_accept(struct worker *w, const struct listener_view *lv, const struct arrival *a);
/* The ends of the client's connection, as far as they are known: *ret_local is where it connected to. */
void session_ends(const struct session *s, struct addr *ret_client, struct addr *ret_local);
/* From now on others name the client: so far s->client. local: where it connected to, family 0 = where the peer did. */
void session_naming(struct session *s, const struct addr *peer, const struct addr *local);
/* The other end of the connection, if that is not the client; else NULL. */
const struct addr *session_via(const struct session *s);
/* What XCLIENT said; NULL = nothing. */
static inline const struct xclient *session_told(const struct session *s)
{
	return s->naming == NULL ? NULL : s->naming->told;
}
/* The one exit: says the reason's reply, if it has one, logs, counts, closes. A transaction in its dot state keeps the
 * session alive, without its client, until the final reply. */
void session_close(struct session *s, enum close_reason reason);
/* Called when the transaction is over: the client's next command is due. */
void session_txn_over(struct session *s);
/* Something ended that a stop or the removal of the listener had to wait for: if that is due, ends the session soon. */
void session_end_if_due(struct session *s);
/* Verdicts came in: a command that waited may go on. */
void session_go_on(struct session *s);
/* Moves to the worker's newest snapshot, at a transaction edge. False: the session must end here (its listener is gone,
 * the node drains) and was closed. */
bool session_at_edge(struct session *s) MUST_CHECK;
/* Nothing is under way: no transaction, and the client's turn to speak or to shake hands, or the greeting held back. */
static inline bool session_is_between(const struct session *s)
{
	return s->txn == NULL &&
	       (s->front.state == FRONT_COMMAND || s->front.state == FRONT_GREETING || s->front.state == FRONT_TLS);
}
/* "n1-00abc…", into out[SESSION_ID_MAX]; returns out. */
const char *session_id(const struct session *s, char *out);
const char *session_id_of(const struct engine *e, uint64_t number, char *out);
const char *session_stage(const struct session *s);

/* ---- replies to the client ---- */

/* "CODE ENHANCED text [id]" — the id only on 4xx and 5xx. Counts errors. */
void session_reply(struct session *s, unsigned code, const char *enhanced, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* A backend's reply, already canonical; under `mask_backend` only its codes. */
void session_relay_text(struct session *s, struct str reply);
void session_reject(struct session *s, enum reject_reason why);
/* The connection on which its login was passed on has ended, or is about to. */
void session_login_lost(struct session *s);

static inline bool session_tracing(const struct session *s)
{
	return s->traced;
}
void session_trace(struct session *s, char side, const char *p, size_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The SMTP engine: the workers and what the control plane may ask of them. The public header of this folder, with
 * snapshot.h.
 *
 * All functions are for the control thread. Answers that need the workers come back on the control loop.
 */
#ifndef POSTROAD_SESSION_ENGINE_H
#define POSTROAD_SESSION_ENGINE_H

#include "daemon/net/loop.h"
#include "daemon/session/snapshot.h"

struct engine;

struct engine_options {
	unsigned workers;       /* 0 = one per CPU the process may use */
	const char *node;       /* in session ids */
	uint64_t replay_memory; /* bytes, all replay buffers of the node together */
	int64_t shutdown_grace_ms;
};

struct engine *engine_new(struct loop *control, const struct engine_options *o);
/* After engine_stop() has reported. */
void engine_free(struct engine *e);

/* Makes a snapshot the one in force, from the next transaction of each session on. Takes the caller's reference.
 * Sockets of binds that are new are opened, those gone are closed: their sessions end at transaction edges. A bind that
 * cannot be had is left out, false and *errors with its path, and its listener keeps those it had. Before
 * engine_listen() no socket is opened.
 */
struct errors;
bool engine_publish(struct engine *e, struct snapshot *s, struct errors *errors) MUST_CHECK;
/* Opens the listeners: once the first round of health checks is in. False: no bind of any can be had, and nothing was
 * opened. Binds that cannot be had are in *errors. */
bool engine_listen(struct engine *e, struct errors *errors) MUST_CHECK;
/* Tries binds again that could not be had. True: there is none any more. */
bool engine_try_again(struct engine *e, struct errors *errors) MUST_CHECK;
/* How many those are. */
size_t engine_missing(const struct engine *e);
bool engine_is_listening(const struct engine *e);
/* The snapshot in force, not referenced. */
struct snapshot *engine_snapshot(struct engine *e);
/* A listener of ours would take a connection to this address. */
bool engine_is_own_address(struct engine *e, const struct addr *a);

/* Stops accepting, 421 at transaction edges, calls done when the last session is gone or the grace is over. drain =
 * true keeps the workers (a node set to drain that may be set ready again with engine_resume()). */
void engine_stop(struct engine *e, loop_fn *done, void *arg);
/* After engine_stop(): the grace is over now. */
void engine_stop_now(struct engine *e);
/* No effect after engine_stop(). */
void engine_set_draining(struct engine *e, bool draining);
bool engine_is_draining(const struct engine *e);
/* Milliseconds since the slowest worker's loop turned. */
int64_t engine_worker_silence_ms(struct engine *e);
unsigned engine_workers(const struct engine *e);
/* How much there is to do: a sample. */
struct engine_load;
void engine_load(struct engine *e, struct engine_load *ret);
uint64_t engine_session_count(struct engine *e);

/* ---- sessions, for the API ---- */

struct session_info {
	char id[96];
	char client[ADDR_TEXT_MAX];
	char listener[64];
	char helo[256];
	char user[256];                     /* who logged in, "" = nobody */
	char stage[24];                     /* "command", "envelope", "data", "dot", "tcp" … */
	char backend[128];                  /* pool/server, "" = none */
	int64_t age_ms, transaction_age_ms; /* the latter 0 without one */
	uint64_t bytes_in, bytes_out;
	uint64_t transactions;
	bool traced;
};

/* Live sessions, at most `limit` and never more than ENGINE_SESSIONS_MAX; total = how many there are. Called once on
 * the control loop. list is freed after the call. */
#define ENGINE_SESSIONS_MAX ((size_t)100000)
typedef void engine_sessions_fn(const struct session_info *list, size_t n, size_t total, void *arg);
void engine_sessions(struct engine *e, size_t limit, engine_sessions_fn *fn, void *arg);

/* Ends a session: at once, whatever it does (421, then close). found = false: no such session. */
typedef void engine_kill_fn(bool found, void *arg);
void engine_session_kill(struct engine *e, const char *id, engine_kill_fn *fn, void *arg);

/* The dialogue of one session as it goes, a line per call on the control loop: 'C' from the client, 'c' to it, 'B' from
 * the backend, 'b' to it, 'i' what the balancer decided; body bytes only as a count. end = the session is gone, nothing
 * more comes. The first call says whether there is something to trace, also of a session that is silent: a line (of
 * side 'i') if so, otherwise end with found false and the text "no such session", or "busy" where somebody traces it
 * already. Sessions of TCP listeners have no dialogue: "no such session". fn is never called from inside
 * engine_trace_start(). */
struct engine_trace;
typedef void engine_trace_fn(char side, const char *text, double wall, bool end, bool found, void *arg);
struct engine_trace *engine_trace_start(struct engine *e, const char *id, engine_trace_fn *fn, void *arg);
/* Once for each trace, also after its end; may be called from fn. No call of fn comes afterwards. */
void engine_trace_stop(struct engine_trace *t);

#endif

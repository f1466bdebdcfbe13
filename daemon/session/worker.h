/* SPDX-License-Identifier: Apache-2.0
 * One worker: a thread with its loop, its listening sockets, its sessions and its idle backend connections.
 *
 * All of it is touched by that thread only, but for `turns` inside the loop and what the engine posts as messages.
 */
#ifndef POSTROAD_SESSION_WORKER_H
#define POSTROAD_SESSION_WORKER_H

#include <pthread.h>

#include "daemon/net/linger.h"
#include "daemon/net/listener.h"
#include "daemon/session/engine.h"

#define WORKER_MAGIC 0x574f524bu

struct back;
struct session;

/* What of a listener outlives configurations: counts and series, keyed by its name. Shared by all workers. */
struct listener_runtime {
	char *name;
	_Atomic uint64_t connections, cap; /* cap: of the configuration in force, for the metric */
	struct clients *clients;
	struct map *txn_series; /* pool name to struct txn_series; written by the control thread before a snapshot is
				   published */
	pthread_rwlock_t lock;  /* of txn_series: grows while workers read */
	series_id m_connections[8]; /* by enum accept_result */
	series_id m_rejected[24];   /* by enum reject_reason */
	_Atomic uint32_t refs;
};

/* A socket of this worker. */
struct worker_socket {
	struct list link;
	struct worker *w;
	struct addr at;
	struct listener_runtime *run;
	struct listener *listener;
};

/* What an EHLO may offer, worked out at most once a second per listener. */
struct offer {
	int64_t until_ms;
	unsigned exts;
	uint64_t size;
	bool known; /* a server behind the listener was seen at some time */
};

/* A connection that came, and whose it is. */
struct arrival {
	int fd;
	struct addr peer;       /* its other end */
	struct addr client;     /* the peer, or whom its PROXY header names */
	struct addr local;      /* where the client connected to, by the header; family 0 = ask the socket */
	bool is_proxied;        /* there was a header */
	bool is_own;            /* of the proxy itself, which is let in */
	struct client *counted; /* NULL = exempt from the caps per client */
};

struct worker {
	uint32_t magic;
	struct engine *engine;
	unsigned index;
	struct loop *loop;
	pthread_t thread;
	struct snapshot *snapshot; /* for new sessions and transactions */
	struct offer *offers;      /* by listener index of that snapshot */
	struct list sessions, tcp_sessions;
	size_t n_sessions;   /* of both */
	struct list proxied; /* connections whose PROXY header is due */
	size_t n_proxied;
	struct list sockets;
	struct lingers lingers; /* ended at an edge, and the client has not closed yet */
	struct list backs;      /* all backend connections, lent, idle or ending */
	struct map *idle;       /* server pointer to struct idle_list */
	bool draining;          /* sessions end at transaction edges */
	bool stopping;          /* and new ones are not taken */
	uint64_t next_id;
	struct timer beat; /* tells the engine that this loop turns */
	_Atomic int64_t beat_at_ms;
	char name[24];           /* of the thread */
	series_id m_bytes[2][2]; /* [client, server][in, out] */
	series_id m_message_bytes;
};

const struct listener_view *worker_listener(const struct worker *w, const struct listener_runtime *run);
/* The offer of a listener, fresh enough. */
const struct offer *worker_offer(struct worker *w, const struct listener_view *lv);

/* The series of one listener and pool ("" = none). */
struct txn_series *listener_runtime_series(struct listener_runtime *run, const char *pool);
struct listener_runtime *listener_runtime_new(const char *name);
struct listener_runtime *listener_runtime_ref(struct listener_runtime *r);
void listener_runtime_unref(struct listener_runtime *r);

/* ---- engine services for workers (thread-safe) ---- */

const char *engine_node(const struct engine *e);
/* Replay buffers: false = the node's memory for them is used up. */
bool engine_replay_take(struct engine *e, size_t n) MUST_CHECK;
void engine_replay_give(struct engine *e, size_t n);
/* Passwords: there once a configuration has users. */
struct hashing;
struct auth_failures;
struct hashing *engine_hashing(struct engine *e);
struct auth_failures *engine_auth_failures(struct engine *e);
/* Asks every worker but `from` to close one idle connection to s: somebody waits for a slot. */
struct server;
void engine_shed_idle(struct engine *e, struct worker *from, struct server *s);
/* A worker has no session left while it is stopping. */
void engine_worker_empty(struct engine *e);
/* What is traced, on its way to the control loop, line by line. */
void engine_trace_line(struct engine *e, uint64_t session, char side, const char *p, size_t n, bool end);

#endif

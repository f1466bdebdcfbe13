/* SPDX-License-Identifier: Apache-2.0
 * The inside of the adapter: the functions of corosync's libraries behind a table, and the border between its thread
 * and the control thread.
 */
#ifndef POSTROAD_CLUSTER_COROSYNC_COROSYNC_PRIVATE_H
#define POSTROAD_CLUSTER_COROSYNC_COROSYNC_PRIVATE_H

#include "cluster/corosync/corosync.h"
#include "cluster/corosync/queue.h"
#include "cluster/corosync/view.h"
#include "daemon/base/list.h"

/* ---- the libraries ---- */

/* What a connection tells, from within engine->dispatch(). */
struct engine_events {
	void *arg;
	/* The processes of the group; nodes: since nodes came or went, so that ring() follows. */
	void (*group)(void *arg, const struct ring_process *list, size_t n, bool nodes);
	void (*ring)(void *arg, struct ring_id ring);
	void (*deliver)(void *arg, struct ring_process sender, struct str bytes);
};

/* A connection to corosync. Every function may block for as long as corosync hangs, and returns 0 or: -EAGAIN, not now;
 * -EACCES, corosync does not let this user in; -ENOMEM, no room for the shared memory; -ENOTCONN, the connection is
 * gone: close() is the only thing left. */
struct engine {
	void *arg;
	int (*open)(void *arg, const char *group, const struct engine_events *events, uint32_t *ret_id);
	int (*fd)(void *arg); /* readable when dispatch() has something; after open() */
	/* Who is in the group, as this node's corosync knows it. */
	int (*group)(void *arg, struct ring_process list[RING_PROCESSES_MAX], size_t *ret_n);
	int (*join)(void *arg);
	int (*multicast)(void *arg, struct str head, struct str body);
	/* At most one event; -EAGAIN: none is there. */
	int (*dispatch)(void *arg);
	int (*measure)(void *arg, uint32_t own, struct corosync_ring *ret);
	void (*close)(void *arg);
	void (*free)(void *arg);
};

/* The real one. */
struct engine cpg_engine(void);

/* cmap, for cpg_engine's measure(): zeroed at first. Returns as an engine does. */
struct cmap_reader {
	uint64_t stats, icmap; /* handles */
	bool open;
	uint32_t nodes[CORE_MEMBERS_MAX];
	size_t n_nodes;
	unsigned rounds; /* until the list of nodes is read again */
	uint64_t generation; /* of the file it was read with */
};
int cmap_reader_read(struct cmap_reader *r, uint32_t own, struct corosync_ring *ret);
void cmap_reader_close(struct cmap_reader *r);

/* ---- bounds ---- */

/* Milliseconds. Tests have it faster. */
struct pace {
	int64_t idle;     /* a sign of life after so long without a message of one's own */
	int64_t hung;     /* nothing came back for so long: send nothing */
	int64_t probe;    /* but a sign of life so often, in case that what was sent is lost */
	int64_t give_up;  /* nothing came back for so long: connect anew */
	int64_t backlog;  /* the control thread takes nothing for so long: leave, so that corosync need not keep it all
			   */
	int64_t announce; /* an announcement that did not open a view is made again */
	int64_t join;     /* a join that was refused is tried again */
	int64_t retry_min, retry_max; /* between attempts to connect */
	int64_t second;               /* another process of this node is in the group: look again */
	int64_t resync;               /* a rejoin that takes longer is told as disconnected */
	int64_t measure;
	int64_t stop;
};
extern const struct pace pace_usual;

enum {
	/* libqb rings a doorbell for each message and spins when the socket takes no more (at 278): so few are out. */
	IN_FLIGHT_MAX = 32,
	DATA_IN_FLIGHT_MAX = 28, /* of the caller's messages; the rest is for the adapter's own */
	WAITING_MAX = 32,
	DISPATCH_MAX = 64,     /* events in one turn */
	THREAD_STACK = 8 << 20 /* libcpg has a megabyte on it */
};

/* ---- the border: boundary.c. Everything takes its lock ---- */

struct boundary;
struct thread_start;

/* For the control thread. Copies start, takes its engine; one reference, boundary_unref() or boundary_stop() gives it
 * back. */
struct boundary *boundary_new(const struct thread_start *start);
void boundary_unref(struct boundary *b);
/* Starts the thread; negative errno. */
int boundary_run(struct boundary *b);
/* Ends the thread, or leaves it behind after a while. */
void boundary_stop(struct boundary *b);
/* Copies a message for the view of this generation. 0 or -EAGAIN. */
int boundary_send(struct boundary *b, uint64_t generation, struct str bytes);
void boundary_resync(struct boundary *b, uint64_t generation);
int boundary_ready_fd(const struct boundary *b);
struct queue_event *boundary_take(struct boundary *b);
void boundary_ask(struct boundary *b, struct corosync_status *ret);

/* The rest is for the adapter's thread. */

struct waiting {
	struct list link;
	size_t n;
	char bytes[];
};

struct commands {
	bool stop, resync;
};
/* What the control thread wants; resync is taken by this. */
struct commands boundary_commands(struct boundary *b);
/* Readable when there are commands, messages or room. */
int boundary_wake_fd(const struct boundary *b);
void boundary_woken(struct boundary *b);

/* Whether another message has room; asked before one is read. empty: whether nothing waits at all. */
bool boundary_room(struct boundary *b, bool empty);
void boundary_message(struct boundary *b, uint32_t sender, struct str bytes);
void boundary_view(struct boundary *b, const struct ring_view *v);
/* The view ended for senders: what waits belongs to it no more. */
void boundary_closed(struct boundary *b);
void boundary_disconnected(struct boundary *b);

/* The oldest message, of the view that is open; NULL = none. It stays the first until boundary_sent(). */
const struct waiting *boundary_next(struct boundary *b);
void boundary_sent(struct boundary *b);

/* Around each call of the engine. */
void boundary_calls(struct boundary *b);
void boundary_returned(struct boundary *b);
/* What the thread alone knows, for corosync_status(). */
struct thread_status {
	bool connected;
	const char *why;
	uint32_t id;
	struct ring_id ring;
	int64_t waiting_since_ms, refused_since_ms, returned_ms;
	unsigned in_flight;
	uint64_t connections, resyncs, lost;
};
void boundary_status(struct boundary *b, const struct thread_status *s);
void boundary_measured(struct boundary *b, const struct corosync_ring *ring);

/* ---- the thread: thread.c ---- */

struct thread_start {
	struct boundary *boundary;
	struct engine engine;
	struct pace pace;
	char group[129];
	uint32_t id;
};
/* Runs until boundary_commands() says stop. */
void thread_run(const struct thread_start *start);

/* corosync_start() with another engine and pace. Takes the engine. */
struct corosync *corosync_start_with(const struct corosync_options *options, const struct transport_events *events,
				     const struct engine *engine, const struct pace *pace, char **ret_why) MUST_CHECK;

#endif

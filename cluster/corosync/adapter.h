/* SPDX-License-Identifier: Apache-2.0
 * What the two halves of the adapter's thread share: thread.c (the connection) and traffic.c (what goes over it).
 * Private to this room, and to that thread.
 */
#ifndef POSTROAD_CLUSTER_COROSYNC_ADAPTER_H
#define POSTROAD_CLUSTER_COROSYNC_ADAPTER_H

#include "cluster/corosync/corosync_private.h"

enum state { CLOSED, JOINING, JOINED };

/* Why this node is in no view. */
enum why {
	WHY_STARTING,
	WHY_ABSENT,
	WHY_ACCESS,
	WHY_MEMORY,
	WHY_OTHER_ID,
	WHY_SECOND,
	WHY_LOST,
	WHY_RESYNC,
	WHY_LEFT,
	WHY_SILENT,
	WHY_BACKLOG,
	WHY_JOINING,
	WHY_NO_VIEW,
	WHY_MANY,
	WHY_AMBIGUOUS,
	WHY_COUNT,
	WHY_NOT /* it is in one */
};

struct adapter {
	struct boundary *b;
	const struct engine *engine;
	const struct pace *pace;
	const struct thread_start *start;
	enum state state;
	struct thread_status status;
	enum why why;
	struct ring_view view;
	struct ring_process own;
	int fd;
	int64_t now;
	/* Numbers: of this connection, from 1; `base` tells frames of an earlier one with the same process id apart. */
	uint64_t base, sent, returned, view_first;
	int64_t sent_at, probe_at, announce_at, measure_at;
	int64_t again_at, again_wait;
	int64_t retry_at, retry_wait;
	int64_t full_since;
	bool told;                         /* the control thread has a view */
	int64_t tell_at;                   /* a view that ended is told as disconnected then; 0 = not */
	bool drained;                      /* nothing was left to read in this turn */
	unsigned strays;                   /* turns in which the descriptor promised something that was not there */
	unsigned astray[CORE_MEMBERS_MAX]; /* frames of a member that belong to another view */
	int called;                        /* by CALL() */
	enum why lose;                     /* set where the connection cannot be closed: in the middle of a dispatch */
};

/* Whoever asks for the status sees how long a call takes. */
#define CALL(a, expression) (boundary_calls((a)->b), (a)->called = (expression), boundary_returned((a)->b), (a)->called)

static inline void sooner(int64_t *at, int64_t other)
{
	if (other < *at)
		*at = other;
}

/* ---- thread.c ---- */

void adapter_say(struct adapter *a, enum why why);
/* The connection's end; another is tried after a while. */
void adapter_lose(struct adapter *a, enum why why);
/* The same, because messages are missing: at once, and without an end for the control thread if it is quick. */
void adapter_rejoin(struct adapter *a);
enum why adapter_why(int rc);

/* ---- traffic.c ---- */

/* Own messages that did not come back. */
unsigned adapter_in_flight(const struct adapter *a);
/* Nothing comes back for so long that nothing more is sent. */
bool adapter_hung(const struct adapter *a);
struct engine_events traffic_events(struct adapter *a);
/* Reads until nothing is left, the control thread has enough, or others must have their turn. */
void traffic_receive(struct adapter *a, bool room);
/* Sends what is due. */
void traffic_transmit(struct adapter *a);
/* When there is something to send, if nothing happens before. */
int64_t traffic_due(const struct adapter *a, int64_t latest);

#endif

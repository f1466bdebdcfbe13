/* SPDX-License-Identifier: Apache-2.0
 * cluster/transport.h over corosync: an ordered multicast with membership (CPG), and what corosync says of its ring and
 * links (cmap).
 *
 * Corosync's libraries block for as long as corosync does not answer, so a thread of the adapter's own calls them and
 * no other does. Everything here is for the control thread, never blocks (corosync_stop() for a bounded time), and
 * works whether or not corosync runs: without it the adapter is disconnected and tries again.
 */
#ifndef POSTROAD_CLUSTER_COROSYNC_COROSYNC_H
#define POSTROAD_CLUSTER_COROSYNC_COROSYNC_H

#include "cluster/transport.h"

struct corosync;

struct corosync_options {
	const char *group; /* of CPG, at most 128 bytes; NULL = "postroad" */
	uint32_t id; /* this node's; corosync's must be the same, or nothing is joined. 0 = whatever corosync's is */
};

/* Starts the thread, which connects as soon as corosync is there. `events` are called by corosync_dispatch() alone, in
 * the order of transport.h; the struct is copied. NULL = failed, *ret_why is a sentence the caller frees. */
struct corosync *corosync_start(const struct corosync_options *options, const struct transport_events *events,
				char **ret_why) MUST_CHECK;

/* Leaves the group and ends the thread. Waits 1 s at most: a thread that hangs in a library's call, since corosync is
 * stopped, is left behind and cleans up after itself when the call returns. No event comes any more. Not from within an
 * event. Accepts NULL. */
void corosync_stop(struct corosync *c);

/* Valid until corosync_stop(). multicast() answers -EAGAIN while a new view is on its way, or corosync takes no more,
 * or is stopped: an event follows when that ends. -EMSGSIZE beyond CORE_MESSAGE_MAX. */
const struct transport *corosync_transport(struct corosync *c);

/* Readable when corosync_dispatch() has something to do; level-triggered. */
int corosync_fd(const struct corosync *c);
/* Calls the events that wait, up to a bound, so that the rest of the control thread has its turn. */
void corosync_dispatch(struct corosync *c);

enum { COROSYNC_LINKS_MAX = 8, /* to each node */ COROSYNC_LINK_ROWS_MAX = CORE_MEMBERS_MAX * 2 };

/* How one link to another node is. */
struct corosync_link {
	uint32_t node;
	uint8_t link;
	bool enabled, connected;
	uint32_t latency_us; /* average of a ping and its answer */
	uint32_t mtu;        /* 0 = not known yet */
	uint64_t downs;      /* how often it went down since corosync's start */
};

/* What corosync measures. Zero until it was asked once; asked every 2 s, but not while it hangs. */
struct corosync_ring {
	int64_t asked_ms;           /* when, on the clock of clock_mono_ms(); 0 = never */
	uint64_t token_us;          /* mean time of a rotation of the token */
	uint64_t retransmits;       /* of multicasts, since corosync's start */
	uint64_t continuous_gather; /* attempts to form a ring without success; some = a link works in one direction */
	uint64_t generation;        /* totem.config_version of the file that corosync has read; 0 = not known */
	bool nic_failure;           /* a firewall or a network card keeps this node from all others */
	struct corosync_link links[COROSYNC_LINK_ROWS_MAX];
	size_t n_links; /* of this node to the others */
};

/* All times are on the clock of clock_mono_ms(); 0 = not so. */
struct corosync_status {
	bool connected;  /* this node is in a view */
	const char *why; /* why not; "" if it is. A text that stays */
	uint32_t id;     /* this node's, as corosync says; 0 = not known yet */
	uint64_t ring;   /* of totem: sequence number and lowest node */
	uint32_t ring_lowest;
	struct core_view_id view;
	uint32_t members[CORE_MEMBERS_MAX];
	size_t n_members;
	/* Corosync does not answer a call, or gives back nothing of what it was given, since then; said after 2 s.
	 * Whoever supervises it may kill it when that has lasted too long (30 s): nothing else ends it. */
	int64_t hung_since_ms;
	int64_t refused_since_ms; /* corosync answers that it takes no messages now (a ring is being formed) */
	int64_t returned_ms;      /* when a message of this node last came back to it */
	unsigned in_flight;       /* own messages that did not come back yet */
	unsigned waiting;         /* handed over and not yet given to corosync */
	unsigned events;          /* that the control thread did not take yet */
	uint64_t views, connections, resyncs, lost; /* since the start; lost: own messages that never came back */
	struct corosync_ring totem;
};

void corosync_status(struct corosync *c, struct corosync_status *ret);

#endif

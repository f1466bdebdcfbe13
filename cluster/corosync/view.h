/* SPDX-License-Identifier: Apache-2.0
 * From what CPG tells of a group and of the ring to views that all members number alike. Pure; private to this room.
 */
#ifndef POSTROAD_CLUSTER_COROSYNC_VIEW_H
#define POSTROAD_CLUSTER_COROSYNC_VIEW_H

#include "cluster/core/core.h"

enum { RING_PROCESSES_MAX = 128 }; /* CPG has no larger groups */

/* A member of a CPG group. */
struct ring_process {
	uint32_t id, pid;
};

/* Totem's name of a ring: never used twice. */
struct ring_id {
	uint64_t seq;
	uint32_t lowest;
};

/* What a member proposes, and the first that fits opens. */
struct ring_announcement {
	struct ring_id ring;
	uint32_t nonce;
	struct ring_process members[CORE_MEMBERS_MAX]; /* one of each node */
	size_t n;
};

struct ring_view {
	struct ring_process own;
	struct ring_id ring;
	bool have_ring;
	bool first;       /* this process was its node's only one */
	bool awaits_ring; /* the group changed because the ring did, and the ring's name follows */
	struct ring_process group[RING_PROCESSES_MAX];
	size_t n_group;
	bool open; /* nothing changed since `now` was announced */
	struct core_view_id id;
	struct ring_process now[CORE_MEMBERS_MAX]; /* the last view, heard until the next opens */
	size_t n_now;
};

/* Joined as this process; nothing is known yet. */
void ring_view_init(struct ring_view *v, struct ring_process own);
/* The processes of the group from here on. awaits_ring: since nodes came or went. */
void ring_view_group(struct ring_view *v, const struct ring_process *list, size_t n, bool awaits_ring);
void ring_view_ring(struct ring_view *v, struct ring_id ring);

enum ring_proposal {
	RING_PROPOSED,
	RING_UNKNOWN,   /* this process is not in the group, or the ring has no name yet */
	RING_AMBIGUOUS, /* a node has two processes in the group, and which one is its member others must say */
	RING_SECOND,    /* this node has two, and the other one was first */
	RING_TOO_MANY
};
/* What this process would announce, without nonce. */
enum ring_proposal ring_view_propose(const struct ring_view *v, struct ring_announcement *ret);

enum ring_opening {
	RING_IGNORED, /* the view is open already, or the announcement is of another one */
	RING_OPENED,
	RING_EXCLUDED /* the view opens with another process of this node */
};
enum ring_opening ring_view_announced(struct ring_view *v, struct ring_process sender,
				      const struct ring_announcement *a);

/* Which member of the last view this process is; -1 = none. */
int ring_view_member(const struct ring_view *v, struct ring_process p);
/* The nonce that named the last view. */
uint32_t ring_view_tag(const struct ring_view *v);
bool ring_contains(const struct ring_process *list, size_t n, struct ring_process p);
/* Whether another process of that node is in the list. */
bool ring_second(const struct ring_process *list, size_t n, struct ring_process own);

#endif

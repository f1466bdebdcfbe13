/* SPDX-License-Identifier: Apache-2.0
 * Which node may hold which VIP. Pure: from what is configured, and what each node says of itself, to this node's part.
 *
 * Every node decides about itself alone, by the same rules; keepalived then finds one owner among those who may.
 * Nothing depends on the nodes knowing the same at the same time: what one knows late costs a moment without a
 * preference.
 */
#ifndef POSTROAD_CLUSTER_VIP_VIP_H
#define POSTROAD_CLUSTER_VIP_VIP_H

#include "cluster/vip/ha_protocol.h"

enum {
	VIP_WORKER_MS = 1000,   /* a worker that has not beaten for so long is a fault */
	VIP_START_MS = 10000,   /* after its start a node waits so long for the others' state, then goes on without */
	VIP_GOOD_MS = 2000,     /* after a fault a node must be well for so long */
	VIP_UNABLE_MS = 2000,   /* a soft reason must last so long */
	VIP_FRESH_MS = 3000,    /* what another node said counts for so long */
	VIP_UNAWARE_MS = 10000, /* so long a node waits for others, who do not have it, to know that it takes part */
	VIP_MOVE_MS = 3000,     /* a planned move gives its target so long to take the VIP */
	VIP_PRIORITY_TOP = 250  /* of the first in order; each next has 10 less: so little skew (256 - priority) */
};

/* ---- the health of a node ---- */

/* What a node knows of itself. */
struct vip_health {
	int64_t worker_ms;  /* since the beat of the worker that beat longest ago */
	int64_t started_ms; /* since its start */
	bool listeners;     /* all are bound */
	bool configuration; /* one is loaded */
	bool synced;        /* it has the cluster's state, or is no part of a cluster */
	bool pools;         /* a pool has a usable server, for each listener that needs one */
	bool overloaded;
};

/* Hard reasons: a node for which one holds must not have a VIP, whatever the others are. */
enum vip_fault { VIP_WELL, VIP_WORKER, VIP_LISTENERS, VIP_CONFIGURATION, VIP_STARTING, VIP_FAULT_COUNT };
extern const char *const vip_fault_texts[VIP_FAULT_COUNT];

enum vip_fault vip_fault_of(const struct vip_health *h);
/* No soft reason: mail that comes here can go on. */
bool vip_is_able(const struct vip_health *h);

/* ---- the nodes ---- */

struct vip_node {
	uint32_t id;
	char name[HA_NAME_MAX + 1];
	struct addr address4, address6; /* its own on the VIPs' network; family 0 = none */
	/* What it said last, and when. Of this node itself: what is so now, age 0. */
	int64_t age_ms; /* INT64_MAX = it has said nothing, or is not in the view */
	enum vip_fault fault;
	bool able;
	bool draining;
	bool keepalived;     /* runs there */
	uint64_t generation; /* of the table in force at its postroad-ha */
};

struct vip_nodes {
	uint32_t self;
	size_t unheard; /* members that are not in the list, as nothing is known of them */
	size_t n;
	struct vip_node list[HA_NODES_MAX];
};

/* ---- a VIP ---- */

enum vip_probe { VIP_NOT_PROBED, VIP_FREE, VIP_TAKEN };

struct vip {
	char name[HA_NAME_MAX + 1];
	char interface[HA_INTERFACE_MAX + 1]; /* on this node */
	uint8_t vrid;
	uint16_t advert_ms, garp_s;
	bool failback;
	size_t n_order;
	uint32_t order[HA_VIP_NODES_MAX]; /* node ids; the first is preferred */
	size_t n_addresses;
	struct ha_address addresses[HA_ADDRESSES_MAX];
	/* Its first table with this set of nodes: a node that is new in it waits until the others know it. */
	uint64_t since_generation;
	/* By hand, or by a rebalance: first in order from now on. 0 = nobody. */
	uint32_t pinned;
	/* A planned move is under way to this node (0 = none), and the one before has let go, or is about to, for so
	 * long. */
	uint32_t to;
	int64_t to_ms;
	uint32_t holder; /* whose kernel has it, as far as is known; 0 = nobody */
	bool preparing;  /* its flows are being handed over: planned reasons wait */
	bool cut;        /* keepalived was not told that this node may hold it, or has been away, since the last look */
	enum vip_probe probe;
};

/* Kept by the caller from one decision about a VIP to the next; zero at the start. */
struct vip_memory {
	int64_t well_since, unable_since, unaware_since; /* 0 = it is not so */
	bool was_up;
};

struct vip_verdict {
	uint8_t priority; /* 0 = this node has no part in the VIP */
	bool up;
	bool wants_probe;             /* the caller asks the network and says so in struct vip: VIP_FREE or VIP_TAKEN */
	char reason[HA_TEXT_MAX + 1]; /* why it is not up; empty when it is */
};

/* What this node's part in a VIP is. now_ms: monotonic, not 0. */
void vip_decide(const struct vip_nodes *nodes, const struct vip *vip, int64_t now_ms, struct vip_memory *memory,
		struct vip_verdict *ret);
/* The priority of a node; 0 = it has no part. */
uint8_t vip_priority(const struct vip *vip, uint32_t node);
/* Of those who are able and come before this node in order, as a move by hand may have changed it, the first: to whom
 * it fails back. 0 = nobody. */
uint32_t vip_better(const struct vip_nodes *nodes, const struct vip *vip);
/* Whether a node, as it said last, could take a VIP. */
bool vip_could(const struct vip_nodes *nodes, uint32_t node);
/* Whether another node could take the VIP from this one: a drain of the last one cuts mail off. */
bool vip_has_other(const struct vip_nodes *nodes, const struct vip *vip, uint32_t node);
/* Whether a node is in the VIP's tables: it has part in it, and an address of the family in which its nodes speak. */
bool vip_is_peer(const struct vip_nodes *nodes, const struct vip *vip, uint32_t node);

/* This node's table for postroad-ha: the VIPs it has part in. NULL, or a sentence into why that names the VIP. */
const char *vip_table(const struct vip_nodes *nodes, const struct vip *vips, size_t n, struct ha_table *ret,
		      char why[HA_TEXT_MAX + 1]) MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The simulated cluster: nodes with the real core, disks that can fail, a network of views, and what must always hold.
 */
#ifndef POSTROAD_CLUSTER_SIM_SIM_H
#define POSTROAD_CLUSTER_SIM_SIM_H

#include "cluster/core/core.h"
#include "cluster/core/planted.h"
#include "cluster/core/voters.h"

/* What can go wrong, each by its own name in the count. */
enum sim_fault {
	FAULT_SPLIT,
	FAULT_DISCONNECT,
	FAULT_CRASH,
	FAULT_POWER, /* of all */
	FAULT_LOST_WRITE,
	FAULT_PAUSE,
	FAULT_ONE_WAY,
	FAULT_DAMAGE,
	FAULT_NEW_DISK,
	FAULT_OLD_DISK,
	FAULT_LOST_MESSAGE,
	FAULT_FULL_DISK,
	FAULT_BROKEN_DISK,
	FAULT_SLOW_DISK,
	FAULT_COMPACTION,
	FAULT_CHANGED_SIDES,
	FAULT_NEXT_VIEW, /* messages delivered in the view behind theirs */
	FAULT_TABLE,     /* voters changed */
	FAULT_TIE_BREAKER,
	FAULT_FORCED,       /* in a schedule: a quorum was forced */
	FAULT_FORCED_TWICE, /* and on sides that did not hear of each other */
	SIM_FAULTS
};

enum { SIM_NODES_MAX = 16, SIM_POSITIONS_MAX = 512, SIM_OPS_MAX = 512, SIM_EPOCHS_MAX = 1024 };

/* ---- disk.c ---- */

struct blob { /* an entry as it lies on disks, shared by all that have it */
	unsigned refs;
	struct sbuf bytes;
	struct entry entry;
};

struct disk {
	struct blob *entries[SIM_POSITIONS_MAX];
	size_t n;
	struct sbuf meta, answers;
	bool damaged; /* what was durable is missing, and the store knows */
};

struct pending_write {
	bool open;
	uint64_t token;
	struct core_write write; /* its bytes are below */
	struct sbuf meta, entries, answers;
};

void disk_fini(struct disk *d);
void disk_copy(struct disk *to, const struct disk *from);
void disk_add(struct disk *d, struct str bytes);
void disk_apply(struct disk *d, const struct core_write *w);
void disk_cut(struct disk *d, size_t keep); /* damage: only the first so many entries are left */
void disk_compact(struct disk *d, uint64_t committed);
const struct entry *disk_entry(const struct disk *d, uint64_t position);
uint64_t disk_next(const struct disk *d, uint64_t position);
uint64_t disk_last(const struct disk *d);
uint64_t disk_adopted(const struct disk *d);
uint64_t disk_committed(const struct disk *d);
void pending_fini(struct pending_write *p);

/* ---- nodes ---- */

struct packet {
	unsigned refs;
	uint32_t sender;
	uint64_t views; /* of its sender, when it was sent */
	struct sbuf bytes;
};

struct in_event { /* a message, or (packet NULL) a view */
	struct packet *packet;
	uint64_t ring;
	uint64_t index; /* of the message in its ring */
	size_t n;
	uint32_t members[SIM_NODES_MAX];
};

struct in_queue {
	struct in_event *list;
	size_t first, n, cap;
};

struct written { /* what a node ever had on stable storage at a position */
	uint8_t hash[ENTRY_HASH_LEN];
	uint64_t epoch;
	bool any;
};

struct sim;

struct node {
	struct sim *sim;
	uint32_t id;
	uint64_t instance;
	struct core *core; /* NULL = down */
	struct disk disk, snapshot;
	bool has_snapshot, full, wants_view;
	bool breaks;    /* the next write fails, and what of it is on disk is not known until the next start */
	bool broken;    /* it did: no write works until then */
	bool forgetful; /* something durable was taken from it and it has not got it back */
	struct pending_write write;
	struct pending_write maybe;        /* broken: that write */
	uint64_t paused_until, slow_until; /* slow: no write ends */
	uint64_t deaf_until, mute_until;   /* loss in one direction: it hears nothing, or is not heard */
	unsigned component;
	/* network */
	uint64_t ring; /* installed */
	uint64_t delivered;
	struct in_queue in;
	struct packet *out[64];
	size_t n_out;
	uint64_t views;       /* that its core was given */
	unsigned outstanding; /* multicasts of this view that did not come back */
	/* what it did */
	uint64_t applied, newest[ENTRY_KIND_COUNT];
	struct written written[SIM_POSITIONS_MAX];
	struct written told[SIM_POSITIONS_MAX]; /* forcing: what it said is lost */
};

struct sim_op {
	unsigned key; /* 0 = none */
	enum entry_kind kind;
	uint64_t expect, ticket, applied_at, answered_at;
	uint32_t node;
	unsigned life; /* of the node: its answers after a restart are for others */
	bool answered, denied, lost_sight;
	enum core_result result;
};

struct sim_committed {
	bool any;
	uint8_t hash[ENTRY_HASH_LEN];
	enum entry_kind kind;
	unsigned op;
	struct blob *blob;
};

struct sim_ordered { /* entries of different epochs at one position */
	unsigned n;
	uint64_t epoch[8];
	uint8_t hash[8][ENTRY_HASH_LEN];
};

struct sim {
	uint64_t seed, random, now_ms, ring;
	size_t n;
	struct node nodes[SIM_NODES_MAX];
	unsigned life[SIM_NODES_MAX];
	uint64_t next_index;
	struct sim_op ops[SIM_OPS_MAX];
	size_t n_ops;
	unsigned keys, membership_open;
	struct sim_committed committed[SIM_POSITIONS_MAX];
	uint32_t donors[SIM_EPOCHS_MAX];
	struct sim_ordered ordered[SIM_POSITIONS_MAX];
	uint64_t highest;
	bool calm;    /* no more faults */
	bool forcing; /* quorums are forced: writes are lost by intention */
	uint64_t tables;
	bool holding; /* the network stays as it is: a node came back with an old disk */
	bool trace;
	uint64_t inputs, view_changes, faults;
	uint64_t by_fault[SIM_FAULTS], sizes; /* sizes: bits of those that were run */
	char failed[256];                     /* what does not hold; "" = all does */
};

uint64_t sim_random(struct sim *s, uint64_t below);
void sim_fail(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sim_trace(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Runs one schedule, of ret_counts->n nodes where that is not 0. NULL = everything held; or what did not, for the
 * caller to free. */
char *sim_run(uint64_t seed, bool trace, struct sim *ret_counts);

/* ---- net.c ---- */
bool net_order_one(struct sim *s, struct node *n);
bool net_deliver_one(struct sim *s, struct node *n);
void net_install(struct sim *s, unsigned component);
void net_clear(struct node *n);
int net_multicast(void *arg, struct str bytes);

/* ---- node.c ---- */
void node_start(struct node *n);
void node_crash(struct node *n, bool keep_write);
bool node_disk_one(struct node *n);
/* Whether nothing but time or a start could make it write. */
bool node_disk_waits(const struct node *n);
bool node_runs(const struct node *n);

/* ---- oracle.c ---- */
void oracle_written(struct node *n);
/* What a node that starts has in force. */
void oracle_started(struct node *n);
/* Bounds that must hold at each step. */
void oracle_bounds(struct node *n);
void oracle_apply(struct node *n, const struct entry *e);
void oracle_answer(struct node *n, uint64_t ticket, enum core_result result, uint64_t position);
const struct entry *oracle_table(struct sim *s, struct voters *ret);
void oracle_end(struct sim *s);

/* ---- client.c ---- */
void client_write(struct sim *s, struct node *n);
bool client_membership(struct sim *s, struct node *n);

/* ---- faults.c ---- */
void faults_one(struct sim *s);
void faults_heal(struct sim *s);

/* ---- forced.c ---- */
/* Behind a schedule that held: all run, are together and have everything. */
void forced_run(struct sim *s);

#endif

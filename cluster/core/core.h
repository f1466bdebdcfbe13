/* SPDX-License-Identifier: Apache-2.0
 * The replicated log of a cluster as a pure state machine: nodes that share views of an ordered multicast agree on one
 * sequence of entries, each durable at a quorum before it is applied anywhere.
 *
 * Pure: time, storage and transport come in as calls and go out through struct core_env. No function here blocks, and
 * none of the environment's functions may call back into the core: results come later, from the caller's loop. Nothing
 * is safe for two threads. README.md has the protocol, its proof and its tables.
 */
#ifndef POSTROAD_CLUSTER_CORE_CORE_H
#define POSTROAD_CLUSTER_CORE_CORE_H

#include "cluster/core/entry.h"

struct core;

/* Tests of upgrades build a version that is one ahead. */
#ifndef POSTROAD_FEATURES_HIGH
#define POSTROAD_FEATURES_HIGH 1
#endif

/* The simulator's own build has small ones, so that its short schedules meet every bound. */
#ifdef CORE_PLANTED
#define CORE_BOUND(real, simulated) (simulated)
#else
#define CORE_BOUND(real, simulated) (real)
#endif

enum {
	CORE_MEMBERS_MAX = 32,                              /* of a view, and of the table of voters */
	CORE_MESSAGE_MAX = CORE_BOUND(60 * 1024, 2048),     /* bytes of a multicast, header included */
	CORE_IN_FLIGHT_MAX = CORE_BOUND(32, 4),             /* own multicasts that did not come back yet */
	CORE_PROPOSALS_MAX = CORE_BOUND(32, 8),             /* own proposals that are not answered yet: so many, */
	CORE_PROPOSED_MAX = CORE_BOUND(32 << 20, 24 << 10), /* and of so many bytes */
	CORE_SOFT_MAX = CORE_BOUND(16 * 1024, 512),         /* bytes of a soft state */
	CORE_DOCUMENT_MAX = CORE_BOUND(8 << 20, 16 << 10),  /* bytes of a document that is replicated */
	CORE_SUFFIX_MAX = CORE_BOUND(64 << 20, 40 << 10),   /* bytes of entries sent to a member that lacks them */
	CORE_TAIL_MAX = CORE_BOUND(1024, 24), /* entries in memory because they are not durable or not applied */
	CORE_DEADLINE_MS = 10000,             /* of a proposal, where its caller has no other */
	CORE_FEATURES_LOW = 1,
	CORE_FEATURES_HIGH = POSTROAD_FEATURES_HIGH, /* the protocol's levels this version speaks */
};

/* A view of the transport: the ring's sequence number and its lowest member. No two views have the same. */
struct core_view_id {
	uint64_t ring;
	uint32_t lowest;
};

enum core_state {
	CORE_OFFLINE,  /* no view */
	CORE_SYNC,     /* a view that has not settled whose log is the newest, or this node has not got it yet */
	CORE_MINORITY, /* a view without a quorum of voters: reads only */
	CORE_ACTIVE    /* writes */
};

enum core_event {
	CORE_EVENT_STATE,        /* the state changed */
	CORE_EVENT_RESYNC,       /* messages are missing: asked the transport for a new view */
	CORE_EVENT_DISK,         /* a write failed, or works again */
	CORE_EVENT_BEHIND,       /* too much is not durable: follows no longer until the disk works */
	CORE_EVENT_DIVERGED,     /* this node's log differs from the log in force */
	CORE_EVENT_UNTRUSTED,    /* a member forgot what it had promised (an old copy of its disk) */
	CORE_EVENT_INCOMPATIBLE, /* a member is of another cluster, or speaks no feature level that this one does */
	CORE_EVENT_BAD_MESSAGE,  /* a message could not be read */
	CORE_EVENT_COUNT
};

/* What a write to stable storage holds. All of it becomes durable at once or not at all. */
enum core_write_kind {
	CORE_WRITE_META,   /* meta alone */
	CORE_WRITE_APPEND, /* entries behind what is kept; what is kept behind `after` is cut off first */
	CORE_WRITE_WHOLE   /* entries and answers replace everything; positions may have gaps */
};

struct core_write {
	enum core_write_kind kind;
	struct str meta;    /* at most CORE_META_MAX bytes: given back to core_new() */
	uint64_t after;     /* CORE_WRITE_APPEND */
	struct str entries; /* each a length (u32, little-endian) and an encoding as in entry.h */
	struct str answers; /* CORE_WRITE_WHOLE: as core_answers() makes them */
};
#define CORE_META_MAX 2048

enum core_result {
	CORE_COMMITTED, /* durable at a quorum, at `position` */
	CORE_STALE,     /* the entry of that kind is no longer the one expected */
	CORE_DUPLICATE, /* this operation or key was already committed, at `position` */
	CORE_REFUSED,   /* a membership that must not follow the present one, or a second while one is under way */
	CORE_NO_QUORUM, /* never sent to anybody: certainly not made */
	CORE_FULL,      /* too few voters can write to their disks: certainly not made */
	CORE_UNKNOWN    /* the deadline passed, or the disk failed; it may be made yet: ask core_find() on any node */
};

/* The environment's functions. `arg` is the first argument of each. None may call the core. */
struct core_env {
	void *arg;
	/* Sends to all members of the view, this node too. 0, or -EAGAIN: not now, tried again at the next input. */
	int (*multicast)(void *arg, struct str bytes);
	/* Begins to make w durable; bytes are the environment's to copy. One is under way at a time; its end comes by
	 * core_persisted(). */
	void (*persist)(void *arg, const struct core_write *w, uint64_t token);
	/* The durable entry at a position, NULL = not kept. Valid until the next call of this. */
	const struct entry *(*entry)(void *arg, uint64_t position);
	/* The lowest position at or behind this one whose entry is kept; 0 = none. */
	uint64_t (*next_kept)(void *arg, uint64_t position);
	/* A committed entry: in order of positions, each once in the life of this core. */
	void (*apply)(void *arg, const struct entry *e);
	/* What was applied is void (another generation's log is in force): what comes starts from nothing. */
	void (*reset)(void *arg);
	/* What became of an own proposal. position: of the entry, 0 = none. */
	void (*answer)(void *arg, uint64_t ticket, enum core_result result, uint64_t position);
	/* An entry of this node's log that is not part of the log in force. committed: it had been applied here. */
	void (*lost_suffix)(void *arg, const struct entry *e, bool committed);
	/* Leave the group and join it again: a new view is needed. */
	void (*resync)(void *arg);
	void (*event)(void *arg, enum core_event event, const char *text);
};

/* What a node knows of itself at start. */
struct core_config {
	uint32_t id;       /* not 0, never given to another node */
	uint64_t instance; /* random, made with the store: a node set up anew is another instance under its old id */
	uint64_t cluster;  /* random, made with the cluster and learnt when joining: members of another are not heard */
	char node[64];     /* its name */
	bool damaged;    /* the store lost something that was durable: no vote until resynced. To be said at each start
			  * until a write after it was durable */
	bool alone;      /* a log without a table of voters is this node's own, while no other member is in its view */
	struct str meta; /* of the last durable write; empty = none (a new store, or one of a single node) */
	struct str answers; /* as core_answers() made them, for entries no longer kept; may be empty */
};

/* Environment and texts are copied. Entries are read through env->entry; those up to the last known committed
 * position are taken to be applied (core_applied()). Malformed meta is a damaged store. Never NULL. */
struct core *core_new(const struct core_config *config, const struct core_env *env);
/* Writes under way are forgotten; no callback comes. */
void core_free(struct core *c);

/* ---- inputs ---- */

/* A new view; members are ids in any order, this node's among them, at most CORE_MEMBERS_MAX. */
void core_view(struct core *c, struct core_view_id view, const uint32_t *members, size_t n);
/* A message in the order of the view. Bytes are untrusted in content and bounded here. */
void core_deliver(struct core *c, uint32_t sender, struct str bytes);
/* The transport is gone: OFFLINE until the next view. */
void core_disconnected(struct core *c);
/* At least each second. Milliseconds of a clock that never goes backwards. */
void core_tick(struct core *c, uint64_t now_ms);
/* The write with this token is durable (0) or was not made (-ENOSPC, -EDQUOT, -EMSGSIZE): the store is then as before.
 * With any other error it is as before to whoever reads it, and whether the write is there shows at the next start;
 * where it may be, no write works until then. */
void core_persisted(struct core *c, uint64_t token, int rc);

struct core_proposal {
	enum entry_kind kind;
	uint64_t expect_position;                 /* of that kind's last entry; UINT64_MAX = whatever */
	const char *operation, *author, *comment; /* operation: not "", no other write's */
	const char *idempotency_key;              /* "" or NULL = none */
	const uint8_t *request_hash;              /* [ENTRY_HASH_LEN] or NULL */
	double wall;                              /* seconds since 1970 */
	struct str document;                      /* ENTRY_MEMBERSHIP: begins as voters.h says */
	uint64_t deadline_ms;                     /* on the clock of core_tick() */
};
/* 0 and a ticket: exactly one answer comes. -ENOTCONN: no quorum; -EBUSY: CORE_PROPOSALS_MAX or CORE_PROPOSED_MAX;
 * -EFBIG, -EINVAL: cannot be an entry. */
int core_propose(struct core *c, const struct core_proposal *p, uint64_t *ret_ticket) MUST_CHECK;

/* This node's soft state: sent with the next tick and each second, the latest wins. -EFBIG beyond CORE_SOFT_MAX. */
int core_soft(struct core *c, struct str bytes) MUST_CHECK;

/* For an administrator who knows that the absent voters will not come back as they are: begins a new generation whose
 * only voters are those of the present table that are in this view. -EAGAIN: not in MINORITY, or a member of the view
 * has more of the log and must be asked instead. Asked for again before it shows, it is still the same one: 0. The loss
 * on the other side is shown there by env->lost_suffix. wall: seconds since 1970, as the clock says. Where sides that
 * did not hear of each other were forced and meet, the one forced later goes on, by the hour; within one hour the
 * higher id. */
int core_force_quorum(struct core *c, double wall) MUST_CHECK;
/* A generation (epoch >> 32) that was forced is its hour, above the low bits of the id of who was forced. The hour is
 * the clock's, or one more than any heard of where that is later. */
enum { CORE_FORCED_ID_BITS = 12 };
/* The hour that a clock says, as generations have it. 0: it says none that can be. */
uint64_t core_forced_hour(double wall);

/* Who of the view has the newest log, and may be asked for that: 0 = not all have spoken yet, or none has a whole one.
 */
uint32_t core_newest(const struct core *c);

/* The log becomes a cluster's: from here on its members are heard, and no others. -EBUSY: another member is in the
 * view.
 */
int core_set_cluster(struct core *c, uint64_t cluster) MUST_CHECK;

/* ---- questions ---- */

enum core_state core_state(const struct core *c);
uint64_t core_committed(const struct core *c);
/* Up to here the disk holds what is committed and applied: a store may forget entries up to here and no further. */
uint64_t core_settled(const struct core *c);
uint64_t core_applied(const struct core *c);
size_t core_in_memory(const struct core *c); /* entries held there: at most CORE_TAIL_MAX */
uint64_t core_epoch(const struct core *c);   /* the one followed in this view, or the last adopted */
bool core_can_vote(const struct core *c);    /* its store is whole and its disk works */
uint32_t core_donor(const struct core *c);   /* who orders entries in this epoch; 0 = nobody */
/* The position of a committed write with this operation id or Idempotency-Key, 0 = none in 24 h of log time. */
uint64_t core_find(const struct core *c, const char *operation, const char *idempotency_key);
/* Whether the write made under this Idempotency-Key may have been made by the request of this hash: its entry may be
 * gone, half of its hash is kept as long as the key. False: another request used it. True also where nothing is known.
 */
bool core_same_request(const struct core *c, const char *idempotency_key, const uint8_t request_hash[ENTRY_HASH_LEN]);
/* A member's newest soft state; empty = none. Valid until the next input. */
struct str core_soft_of(const struct core *c, uint32_t id);
/* Appends the table of answers, for a store that is about to forget entries: in the same durable step, and none behind
 * core_settled(). The newest up to there of each kind and the two newest tables of voters are never forgotten. */
void core_answers(const struct core *c, struct sbuf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The public header of cluster/: durable, ordered documents, on one node or on several.
 *
 * Guarantee: a write that was answered CORE_COMMITTED is on stable storage at a quorum and survives kill -9 and loss of
 * power; after a crash at any byte of a write, store_open() finds what was answered, and nothing torn.
 *
 * Everything here is called on one thread, the control thread, and nothing blocks but where it says so. The store has a
 * descriptor to be watched (store_fd) and wants to be told the time (store_tick); its callbacks come from
 * store_dispatch(), store_tick() and the transport's events, never from within a call that asks for something.
 * Callbacks may call the store, but for store_close().
 */
#ifndef POSTROAD_CLUSTER_STORE_H
#define POSTROAD_CLUSTER_STORE_H

#include "cluster/core/core.h"

struct store;
struct transport;
struct transport_events;

#define STORE_HISTORY_MAX 100 /* configuration revisions kept */
#define STORE_OPERATION_LEN 32

/* ---- life ---- */

/* Opens or creates the store below dir (mode 0700, files 0600), locked against a second process. NULL = failed;
 * *ret_why is a sentence the caller frees (names the file). *ret_warning (the caller frees) says that a tail that was
 * never reported was cut off, or that the log is damaged and will be fetched from the other members: a node that has no
 * others, or whose table names no other voter, does not open then. Blocks while it reads. Nothing is written to the log
 * before store_start(). */
struct store *store_open(const char *dir, const char *node, char **ret_why, char **ret_warning) MUST_CHECK;
/* From here on it takes part: alone as a view of itself, or with the transport that was attached before. 0 or -errno:
 * no thread can be started. */
int store_start(struct store *s) MUST_CHECK;
/* Waits for the write under way. What is not answered yet is answered CORE_UNKNOWN from within this call. */
void store_close(struct store *s);

/* Readable when store_dispatch() has something to do. */
int store_fd(const struct store *s);
void store_dispatch(struct store *s);
/* At least each second. Milliseconds of a clock that never goes backwards. */
void store_tick(struct store *s, uint64_t now_ms);
/* Dispatches on this thread until nothing is under way and no proposal waits, at most so long. For starts and tests. */
bool store_wait(struct store *s, int64_t ms);

/* What happens here, whoever asked for it. Entries are valid during the call. */
struct store_hooks {
	void *arg;
	/* A committed entry is in force: in order, each once since the store was opened (what it held then is not
	 * told). Several may have been applied at once: store_last() can be newer. */
	void (*applied)(const struct entry *e, void *arg);
	/* All that was applied is void, other entries follow: this node's log was not the cluster's. */
	void (*reset)(void *arg);
	/* An entry of this node that is not part of the log in force. committed: it had been applied here. */
	void (*lost)(const struct entry *e, bool committed, void *arg);
	void (*event)(enum core_event event, const char *text, void *arg);
};
/* Copied; any of them may be NULL. */
void store_set_hooks(struct store *s, const struct store_hooks *hooks);

/* ---- reading ---- */

/* The newest entry of a kind that is in force, or NULL. Valid until the next call that writes or dispatches. */
const struct entry *store_last(const struct store *s, enum entry_kind kind);
/* One revision of the configuration, NULL = not kept, or not on this disk yet. Valid until the next call of this, or
 * one that writes or dispatches. */
const struct entry *store_revision(struct store *s, uint64_t revision);
/* The kept revisions, newest first: header fields only (document empty). Returns how many were called. */
typedef void store_revision_fn(const struct entry *e, void *arg);
size_t store_each_revision(struct store *s, store_revision_fn *fn, void *arg);
uint64_t store_revision_number(const struct store *s);

/* Idempotency: the write made under this key within 24 h (by log time), or NULL. Kept with the log, also over restarts.
 * A member that was given the log in short does not know of keys whose entry was left out: a second write under such a
 * key is answered CORE_DUPLICATE all the same, and store_same_request() tells whether it was the same. */
struct store_answer {
	uint8_t request_hash[ENTRY_HASH_LEN];
	uint64_t position, revision;
	enum entry_kind kind;
	double wall;
};
const struct store_answer *store_answer_find(struct store *s, const char *key);
/* As core_same_request(): for a key whose answer is not known here. */
bool store_same_request(const struct store *s, const char *key, const uint8_t request_hash[ENTRY_HASH_LEN]);

/* ---- writing ---- */

struct store_write {
	enum entry_kind kind;
	const char *operation; /* id of this write and no other's; NULL or "" = one is made */
	const char *author, *comment;
	struct str document;
	uint64_t expect_position; /* of the last entry of this kind the writer saw; UINT64_MAX = whatever */
	/* Idempotency-Key of the request (1 to ENTRY_TEXT_MAX bytes), recorded with the entry in the same write; NULL =
	 * none. The answer given under that key is this status and the ETag of the entry (revision and position), so no
	 * body is stored. */
	const char *idempotency_key;
	const uint8_t *request_hash; /* [ENTRY_HASH_LEN] */
};

struct store_result {
	enum core_result result;
	/* Why a disk does not take writes, where that is known: -ENOSPC, -EDQUOT, -EIO …; with CORE_FULL never 0. After
	 * -EIO from a disk that fails to sync, what the next open finds is not known. */
	int error;
	uint64_t position, revision; /* of the entry: CORE_COMMITTED, CORE_DUPLICATE; revision 0 = no longer known */
	const struct entry *entry;   /* as above; NULL = no longer kept. During the call. */
};
typedef void store_done_fn(const struct store_result *r, void *arg);

/* Proposes an entry. 0: fn is called exactly once, after `applied` of the entry where it was committed, at the latest
 * when CORE_DEADLINE_MS are over. -ENOTCONN: no quorum; -EBUSY: too many are under way; -EINVAL, -EFBIG: a text or the
 * document is beyond the bounds in entry.h and core.h. */
int store_propose(struct store *s, const struct store_write *w, store_done_fn *fn, void *arg) MUST_CHECK;
/* An id for a write, not used before. */
void store_operation_new(char out[STORE_OPERATION_LEN + 1]);

enum operation_state {
	OPERATION_UNHEARD,   /* nothing is known of it here */
	OPERATION_PENDING,   /* asked on this node, not answered yet */
	OPERATION_COMMITTED, /* on any node, within 24 h of log time */
	OPERATION_NOT_MADE,  /* asked on this node, and certainly not made */
	OPERATION_UNKNOWN    /* asked on this node: it may be made yet */
};
struct store_operation {
	enum operation_state state;
	uint64_t position, revision; /* revision 0 = no longer known */
};
struct store_operation store_operation_find(struct store *s, const char *operation);

/* ---- the group ---- */

/* Writes are possible. */
bool store_quorate(const struct store *s);
enum core_state store_state(const struct store *s);
/* Why this node's disk does not take writes, 0 = it does. */
int store_disk_error(const struct store *s);
/* How long the last write to this node's disk took, or the one under way has lasted, whichever is longer. */
int64_t store_disk_ms(const struct store *s);
/* The members of the view, this node among them. Returns how many; 0 = in none. */
size_t store_members(const struct store *s, uint32_t ids[CORE_MEMBERS_MAX]);
/* Who orders entries, 0 = nobody; whether this node's log is whole and its disk works. */
uint32_t store_donor(const struct store *s);
bool store_can_vote(const struct store *s);
uint64_t store_position(const struct store *s); /* of the last entry in force */
/* Its hash [ENTRY_HASH_LEN], which tells all entries before it too; NULL = nothing is in force. Valid until the next call
 * that writes or dispatches. */
const uint8_t *store_hash(const struct store *s);

struct store_identity {
	uint32_t id;       /* 1 on a node that was never in a cluster */
	uint64_t instance; /* of this node's log: another one after each store_join() */
	uint64_t cluster;  /* 0 = in none */
	bool joined;       /* false: the log began here */
};
struct store_identity store_identity(const struct store *s);

/* From here on the group is the transport's, which must outlive the store or be detached (NULL: a view of itself
 * again). What was proposed and not sent waits for the next view, or is answered at its deadline. */
void store_attach(struct store *s, const struct transport *t);
/* What the transport is to call. */
const struct transport_events *store_events(struct store *s);

/* A running single node becomes the first member of a cluster of this number (random, not 0): what it was stays as it
 * is. table: as voters_encode() makes it, with this node as the only voter, by the id and instance of store_identity();
 * text may follow. fn is told of the first membership entry as by store_propose(). Before store_attach(). -EBUSY: a
 * write is under way, try again; -EINVAL: the table; -EALREADY: the log has a table, its cluster is this one now (a
 * call before was interrupted), unless the table names others: then it keeps its number; -EPERM: it joined another's;
 * -ENOTCONN: it cannot write. Blocks for two syncs. */
int store_found(struct store *s, uint64_t cluster, struct str table, store_done_fn *fn, void *arg) MUST_CHECK;
/* Forgets everything and becomes a fresh member of an existing cluster under an id that was never given to another; the
 * log comes from the others once a transport is attached. instance: of the new log, random, as the table of nodes has
 * it; 0 = one is made, store_identity() tells which. The `reset` hook is called. The log of before stays in the
 * directory as store.log.before. -EBUSY as above, or a transport is attached. Blocks for two syncs. */
int store_join(struct store *s, uint32_t id, uint64_t cluster, uint64_t instance) MUST_CHECK;
/* The reverse: forgets the cluster and its log and is a single node with an empty one. Errors as above. */
int store_leave(struct store *s) MUST_CHECK;
/* As core_force_quorum(), and who may be asked for it, as core_newest(). */
int store_force_quorum(struct store *s) MUST_CHECK;
uint32_t store_newest(const struct store *s);

/* As core_soft() and core_soft_of(). */
int store_soft(struct store *s, struct str bytes) MUST_CHECK;
struct str store_soft_of(const struct store *s, uint32_t id);

#endif

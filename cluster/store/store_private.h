/* SPDX-License-Identifier: Apache-2.0
 * The store's inside: its parts and what they call of each other. Tests look at it, too. Private to store.
 */
#ifndef POSTROAD_CLUSTER_STORE_PRIVATE_H
#define POSTROAD_CLUSTER_STORE_PRIVATE_H

#include "cluster/journal/disk.h"
#include "cluster/journal/writer.h"
#include "cluster/store.h"
#include "cluster/transport.h"

#define STORE_MAGIC 0x53544f52u /* "STOR" */

/* An entry in memory; its texts and document point into bytes. */
struct held {
	unsigned refs;
	struct entry entry;
	struct sbuf bytes;
};

/* What is in force: everything that was applied, as far as it is kept. */
struct applied {
	uint64_t position, revision;               /* of the last entry */
	struct held *last[ENTRY_KIND_COUNT];       /* the newest of each kind, whole */
	struct held *revisions[STORE_HISTORY_MAX]; /* ascending, without documents */
	size_t n_revisions;
	struct answers answers;
	struct sbuf scratch; /* what store_revision() handed out */
	struct entry found;
};

struct proposal { /* of this node's, not answered yet */
	struct list link;
	uint64_t ticket; /* 0 = the core has not got it */
	char *operation;
	store_done_fn *fn;
	void *arg;
};

enum note_kind { NOTE_APPLIED, NOTE_RESET, NOTE_LOST, NOTE_EVENT, NOTE_ANSWER };
struct note { /* to be told once the core has returned */
	struct list link;
	enum note_kind kind;
	struct held *held;
	bool committed;
	enum core_event event;
	char *text;
	struct proposal *proposal;
	enum core_result result;
	uint64_t position;
};

struct packet { /* of a node that is alone, on its way to itself */
	struct list link;
	struct sbuf bytes;
};

enum { OPERATIONS_KEPT = 256 };
struct operation { /* of this node's, answered */
	char *id;
	enum core_result result;
	uint64_t position;
};

struct store {
	uint32_t magic;
	char *node;
	double (*wall)(void);
	uint64_t now_ms;
	int fd; /* eventfd */
	bool started, running;
	struct store_hooks hooks;
	struct core *core;
	struct applied applied;
	struct list notes;
	/* writing to disk */
	struct disk disk;
	struct writer *writer;
	bool busy;   /* the thread has a job */
	bool wanted; /* the core wants this to be written: */
	struct core_write write;
	struct sbuf meta, entries, answers;
	uint64_t token;
	int disk_error;
	int64_t began_ms, took_ms; /* the write under way, by the clock; how long the last one took */
	bool compact_now;          /* tests */
	/* proposals */
	struct list proposals;
	struct operation operations[OPERATIONS_KEPT];
	size_t next_operation;
	/* the group */
	const struct transport *transport; /* NULL = alone */
	struct transport_events events;
	struct list packets;
	bool wants_view;
	uint64_t ring;
	uint32_t members[CORE_MEMBERS_MAX];
	size_t n_members;
};

/* ---- store.c ---- */

/* Makes progress wherever there is any to make, and tells what came of it. */
void store_run(struct store *s);
/* store_run() soon, from store_dispatch(). */
void store_wake(struct store *s);
bool store_is_idle(const struct store *s);
void note_add(struct store *s, const struct note *note);

/* ---- environment.c ---- */

/* A core for the log as it is on disk. */
void store_make_core(struct store *s);

/* ---- applied.c ---- */

struct held *held_new(const struct entry *e);
void held_unref(struct held *h);
void applied_init(struct applied *a);
void applied_fini(struct applied *a);
/* What the disk holds up to a position. 0, or the position of an entry that cannot be read any more. */
uint64_t applied_load(struct store *s, uint64_t up_to) MUST_CHECK;
/* One more. Takes over a reference. */
void applied_put(struct applied *a, struct held *h);
/* An entry in force by its position, NULL = not kept. Valid until the next call. */
const struct entry *applied_entry(struct store *s, uint64_t position);

/* ---- propose.c ---- */

void propose_answered(struct store *s, uint64_t ticket, enum core_result result, uint64_t position);
void propose_tell(struct store *s, const struct note *n);
/* The log is another one: what had been committed is forgotten, and all where nothing of before can come again. */
void propose_void(struct store *s, bool all);
/* Those that wait end as unknown. */
void propose_fini(struct store *s);

/* ---- group.c ---- */

void group_init(struct store *s);
void group_fini(struct store *s);
int group_multicast(struct store *s, struct str bytes);
void group_resync(struct store *s);
/* Without a transport: a view of itself. */
void group_view_of_self(struct store *s);
/* A table of voters is in force: whether there are others is kept beside the log, which may be damaged one day. */
void group_table(struct store *s, const struct entry *e);
/* Delivers one packet of this node's to itself. False: none is there. */
bool group_deliver_one(struct store *s);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * What the core wants durable, as records of the journal: entries by position, and the bytes it keeps beside them.
 *
 * A write is made in three steps: disk_job() on the control thread says what is to be written, disk_run() on another
 * thread writes it, disk_done() on the control thread makes it what is read. Between the first and the last only
 * reading is allowed. All else is for one thread.
 */
#ifndef POSTROAD_CLUSTER_JOURNAL_DISK_H
#define POSTROAD_CLUSTER_JOURNAL_DISK_H

#include "cluster/core/core.h"
#include "cluster/journal/answers.h"
#include "cluster/journal/identity.h"
#include "cluster/journal/journal.h"

#define DISK_COMPACT_MIN (1024u * 1024)

struct disk_entry { /* where an entry is, and what must be known of it without reading it */
	uint64_t position, revision, offset;
	size_t size;
	enum entry_kind kind;
	uint8_t hash[ENTRY_HASH_LEN];
};

struct disk {
	char *dir, *path;
	int dir_fd, lock_fd;
	struct identity identity; /* whose the log is to be */
	bool saved;               /* the identity has a file */
	bool save;                /* which says less than is known now: with the next write */
	struct journal journal;   /* the thread's while a job is under way */
	int fd;                   /* the file that is read; -1 = none */
	struct disk_entry *entries;
	size_t n, cap;
	struct sbuf meta, answers; /* as the core gave them in its last write, and with the file */
	struct identity log_of;    /* whose log it says it is; instance 0 = it does not say */
	bool head;                 /* while reading: no write was seen yet */
	bool damaged;              /* something that was durable is missing; until a write */
	bool replace;              /* the next write makes a new file: this one cannot be added to */
	bool set_aside;            /* and the old one stays under another name */
	uint64_t compact_at;       /* the journal's size from which compaction is considered */
	struct sbuf scratch;
};

/* Opens or creates the directory, and locks it. False: *ret_why is a sentence the caller frees. Then disk_load(), or
 * disk_close(). */
bool disk_open(struct disk *d, const char *dir, char **ret_why) MUST_CHECK;
/* Who the node is, and its log. Answers under Idempotency-Keys whose entry is no longer kept go into the table. False
 * as above. *ret_warning: a tail that was never reported was cut off; or the log of a cluster's member is damaged,
 * which the others mend (d->damaged). */
bool disk_load(struct disk *d, struct answers *answers, char **ret_why, char **ret_warning) MUST_CHECK;
void disk_close(struct disk *d);
/* Another life: nothing is kept, and the next write makes a new file. Durable is only who it is. 0, or -errno: it is
 * who it was; where that is not certain for the next start, every write fails from here on. */
int disk_become(struct disk *d, const struct identity *i) MUST_CHECK;

/* The index of an entry, NULL = not kept. Valid until disk_done(). */
const struct disk_entry *disk_find(const struct disk *d, uint64_t position);
/* The lowest position at or behind this one that is kept, 0 = none. */
uint64_t disk_next(const struct disk *d, uint64_t position);
uint64_t disk_last(const struct disk *d);
/* Reads an entry into bytes, which it then points into. False: not kept, or it cannot be read any more. */
bool disk_read(const struct disk *d, uint64_t position, struct sbuf *bytes, struct entry *ret) MUST_CHECK;
/* Only records that follow: NULL, or what is wrong. */
const char *disk_add(struct disk *d, const struct entry *e, uint64_t offset, size_t size);
void disk_cut(struct disk *d, uint64_t after);

/* ---- writing (job.c) ---- */

enum { RECORD_ENTRY = 1, RECORD_ANSWER = 2, RECORD_WRITE = 3, RECORD_BASE = 4, RECORD_IDENTITY = 5 };

struct disk_keep {               /* what compaction may forget */
	uint64_t settled;        /* up to here, but for what is kept for ever or long */
	struct str core_answers; /* of what is forgotten */
	const struct answers *answers;
	bool now; /* where it would not be due, too */
};

struct job;
struct job *disk_job(struct disk *d, const struct core_write *w, const struct disk_keep *keep);
/* Whether the core's answers are wanted for this write. */
bool disk_will_replace(const struct disk *d, const struct core_write *w, const struct disk_keep *keep);
void disk_run(struct disk *d, struct job *j);
/* Frees the job. 0, or what the write failed with: then all is as before. */
int disk_done(struct disk *d, struct job *j);
void job_free(struct job *j);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The store's inside, shared by its two files and looked at by its tests. Private to solo.
 */
#ifndef POSTROAD_CLUSTER_SOLO_STORE_PRIVATE_H
#define POSTROAD_CLUSTER_SOLO_STORE_PRIVATE_H

#include "cluster/solo/answers.h"
#include "cluster/solo/journal.h"
#include "cluster/store.h"

/* Types of records in the journal. */
enum { RECORD_ENTRY = 1, RECORD_ANSWER = 2 };

/* An entry in memory; its texts, and its document where `whole`, point into bytes. */
struct held {
	struct entry entry;
	struct sbuf bytes;
	uint64_t offset; /* of its record */
	size_t size;     /* of its record */
};

struct store {
	uint32_t magic;
	int dir_fd, lock_fd;
	char *node;
	double (*wall)(void);
	struct journal journal;
	uint64_t position, revision; /* of the last entry */
	uint8_t tip[ENTRY_HASH_LEN];
	double last_wall;
	struct held last[ENTRY_KIND_COUNT];       /* the newest of each kind, whole */
	struct held revisions[STORE_HISTORY_MAX]; /* ascending, without documents; the last is last[ENTRY_CONFIG] */
	size_t n_revisions;
	struct held scratch; /* what store_revision() handed out */
	struct answers answers;
	uint64_t compact_at; /* the journal's size from which compaction is considered */
};

#define STORE_COMPACT_MIN (1024u * 1024)

/* compact.c: rewrites the journal without what is no longer kept, if that is worth it. What is kept stays readable
 * whether it works or not. */
void store_compact_if_due(struct store *s);
int store_compact(struct store *s) MUST_CHECK;

#endif

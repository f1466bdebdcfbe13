/* SPDX-License-Identifier: Apache-2.0
 * What other nodes say by calls of the table of nodes, and when that is enough to act on it. Pure.
 *
 * Who is asked is a member by the table this node has. That may be old, and one who was removed since is then still
 * believed to be a member: what one node says alone is not enough where more could say it.
 */
#ifndef POSTROAD_DAEMON_CLUSTER_WORDS_H
#define POSTROAD_DAEMON_CLUSTER_WORDS_H

#include "cluster/members/members.h"

enum {
	WORDS_FRESH_MS = 5000,  /* what was said counts for so long */
	WORDS_ALONE_MS = 30000, /* one node has said the same, and no other of them anything against it */
	WORDS_AHEAD = 1 << 20,  /* positions that are plausible on the word of one node; of its generation: */
	WORDS_AHEAD_FORCED = 24 /* hours after now, or after what is known where that is later */
};

/* How new a table is. A quorum that was forced begins a generation of the log, whose positions are below those of what
 * it made void. */
struct cluster_stamp {
	uint64_t generation, position; /* epoch >> 32 and position of the table's entry */
};
bool cluster_newer(struct cluster_stamp a, struct cluster_stamp b);

struct word {
	uint32_t id;             /* 0 = free */
	int64_t at_ms, since_ms; /* the last table it told, and since when that one without a pause */
	struct cluster_stamp at;
	uint8_t hash[MEMBERS_HASH_LEN]; /* of the document */
	bool quorate;                   /* it says so */
	bool removed;                   /* … and that this node is no member any more */
	int64_t removed_ms;
};
struct words {
	struct word list[MEMBERS_MAX]; /* the oldest gives way */
};

/* A node has told its table. quorate: it says that it can write. */
void words_table(struct words *w, uint32_t id, struct cluster_stamp at, struct str document, bool quorate, int64_t now);
/* A node has told whether this one was removed. */
void words_removed(struct words *w, uint32_t id, bool removed, int64_t now);
/* It has told the same table for WORDS_ALONE_MS without a pause. */
bool words_insists(const struct words *w, uint32_t id, int64_t now);

/* Who judges is `own`, this node's table; `self` is this node. A majority of the other voters is enough, and one node
 * where this one is no full member by its own table (it joins, or leaves). */
enum words_verdict {
	WORDS_NOT_YET,
	WORDS_ONE, /* nobody else was heard for WORDS_ALONE_MS but what has no quorum or says the same, and it is
		    * plausible: enough for the way to the others, not for giving up being a member */
	WORDS_ENOUGH
};
/* What is known here of the log, and of the time: a table that says to be newer than any log will soon be would never
 * give way to the log's. */
struct words_known {
	struct cluster_stamp at; /* the newest table */
	double wall;             /* seconds since 1970, as the clock says */
};
/* Of the table that `id` told last. */
enum words_verdict words_judge(const struct words *w, const struct members *own, uint32_t self, uint32_t id,
			       const struct words_known *known, int64_t now);
/* Enough say that this node was removed; and how many do. */
bool words_is_removed(const struct words *w, const struct members *own, uint32_t self, int64_t now);
size_t words_count_removed(const struct words *w, const struct members *own, uint32_t self, int64_t now);

#endif

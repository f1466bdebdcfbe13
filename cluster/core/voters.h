/* SPDX-License-Identifier: Apache-2.0
 * The table of voters: who may decide, how many votes each has, and what a quorum is. Part of the log (membership
 * entries), never of the configuration.
 */
#ifndef POSTROAD_CLUSTER_CORE_VOTERS_H
#define POSTROAD_CLUSTER_CORE_VOTERS_H

#include "cluster/core/core.h"

enum { VOTERS_NAME_MAX = 63, VOTERS_VOTES_MAX = 16 };

struct voter {
	uint32_t id;
	uint64_t instance;
	uint16_t votes;  /* 0 = a member that does not vote */
	bool voter_only; /* carries no mail */
	char name[VOTERS_NAME_MAX + 1];
};

struct voters {
	size_t n;
	uint32_t tie_breaker; /* of two voters, the one that may write alone; 0 = none: both are needed */
	bool forced;          /* made by core_force_quorum(): stands without the agreement of the table before */
	struct voter list[CORE_MEMBERS_MAX];
};

/* The head of a membership entry's document, little-endian; text of others may follow it.
 *	0 "PRVT", 4 count u8, forced u8, zero u16, 8 tie-breaker u32, 12 then each member (84 bytes):
 *	  0 id u32, 4 instance u64, 12 votes u16, 14 voter_only u8, zero u8, 16 name length u32, 20 name [64] */
void voters_encode(const struct voters *v, struct sbuf *out);
/* False: not such a head, or a table that cannot be: no votes, an id twice, a tie-breaker that is no voter. */
bool voters_decode(struct str document, struct voters *ret) MUST_CHECK;
/* NULL = fine, or what is wrong with the table. */
const char *voters_check(const struct voters *v);

/* The index of a member, or -1. The instance must be the same. */
int voters_index(const struct voters *v, uint32_t id, uint64_t instance);

/* Sets of members are bits by index. */
typedef uint32_t voters_set;

/* Whether `done` is a quorum. `able`: members that are present and can write; matters for two voters only, where one
 * that is present and able must have done it too. */
bool voters_quorum(const struct voters *v, voters_set done, voters_set able);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The layout of a report's bytes, for encode.c and decode.c. Private to the room.
 *
 *	0 version u8, then fields: kind u8, length u16, body. All numbers little-endian; a text is its length (u8) and
 *	its bytes.
 */
#ifndef POSTROAD_CLUSTER_REPORT_PRIVATE_H
#define POSTROAD_CLUSTER_REPORT_PRIVATE_H

#include "cluster/report/report.h"

enum { REPORT_FORMAT = 1, FIELD_HEAD_LEN = 3 };

enum field_kind {
	FIELD_NODE = 1, /* id u32, features u16 u16, started u64, sequence u64, name, version. Comes first, in every
			   version */
	FIELD_STATE,    /* wall u64, state u8, flags u8, sessions u64, transactions u64, view changes u16 */
	FIELD_REASON,   /* text; one field each, as for those below */
	FIELD_CONFIG,   /* revision u64, flags u8, hash, unapplied u16, text */
	FIELD_VIP,  /* flags u8, state u8, priority u8, since u32, name, reason; peers u64, addresses: length u8, bytes
		     */
	FIELD_LINK, /* peer u32, link u8, flags u8, latency u32, downs u32 */
	FIELD_KEY,  /* serial u64, maker u32, age u32, bytes */
	FIELD_VERDICTS, /* flags u8, count u16, then rows of 8 bytes: key u48, state and weight u16 */
	FIELD_FILES,    /* instance u64, generations u64 u64 u64, hash, flags u8 */
	FIELD_KIND_COUNT
};

enum {
	STATE_DRAIN = 1,
	STATE_VOTER_ONLY = 2,
	STATE_IS_READY = 4,
	STATE_SOFT = 8,
	STATE_SAFE = 16,
	STATE_OVERLOADED = 32
};
enum { CONFIG_HASH = 1, VIP_UP = 1, VIP_KERNEL = 2, LINK_UP = 1, VERDICTS_PARTIAL = 1, FILES_SYNCED = 1 };

enum {
	NODE_FIXED = 4 + 2 + 2 + 8 + 8,
	STATE_FIXED = 8 + 1 + 1 + 8 + 8 + 2,
	CONFIG_FIXED = 8 + 1 + ENTRY_HASH_LEN + 2,
	VIP_FIXED = 1 + 1 + 1 + 4,
	VIP_PEERS = 8 + 1 + 4 + 1 + 16,
	LINK_FIXED = 4 + 1 + 1 + 4 + 4,
	KEY_FIXED = 8 + 4 + 4 + TICKET_KEY_LEN,
	VERDICTS_FIXED = 1 + 2,
	FILES_FIXED = 4 * 8 + ENTRY_HASH_LEN + 1
};

/* What the VIPs may take of a report. Reasons share what the names leave of it. */
enum {
	VIPS_MAX_BYTES = 6900,
	VIP_FULL = FIELD_HEAD_LEN + VIP_FIXED + 1 + REPORT_NAME_MAX + 1 + VIP_PEERS,
	VERDICT_ROWS_MAX = CORE_SOFT_MAX / REPORT_VERDICT_LEN
};

#define VERDICT_KEY_BITS 48
#define VERDICT_KEY_MASK ((1ull << VERDICT_KEY_BITS) - 1)
#define VERDICT_STATE_SHIFT 12

/* Of rows in any order: at most max, the worst first where there are more (then *ret_all is false); sorted by key, each
 * key once. Returns how many. */
size_t verdicts_choose(struct report_verdict *list, size_t n, size_t max, bool *ret_all);

#endif

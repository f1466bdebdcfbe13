/* SPDX-License-Identifier: Apache-2.0
 * Which operation and which Idempotency-Key stands at which position, for a day of log time. Private to core.
 */
#ifndef POSTROAD_CLUSTER_CORE_OPS_H
#define POSTROAD_CLUSTER_CORE_OPS_H

#include "cluster/core/entry.h"
#include "daemon/base/list.h"

#define OPS_KEEP_SEC (24 * 3600)
enum { OPS_MAX = 200000 }; /* oldest first out beyond */

/* Zero-initialise, then ops_init(). */
struct ops {
	struct map *by_key;
	struct list all; /* by time */
	size_t n;
};

void ops_init(struct ops *o);
void ops_fini(struct ops *o);
/* Notes the operation and the key of an entry, and forgets what is a day older than it. */
void ops_note(struct ops *o, const struct entry *e);
/* Forgets what stands behind a position: those entries were cut off. */
void ops_cut(struct ops *o, uint64_t after);
/* Positions, 0 = not known. Either may be NULL or "". */
uint64_t ops_find(const struct ops *o, const char *operation, const char *idempotency_key);
/* Whether the request that was made under the key may have been this one; false: it was another. */
bool ops_same_request(const struct ops *o, const char *idempotency_key, const uint8_t request_hash[ENTRY_HASH_LEN]);
/* What stands up to a position as bytes, and back; what may still be cut off must not be kept apart from its entry.
 * ops_decode() adds to what is there, false = malformed. */
void ops_encode(const struct ops *o, uint64_t up_to, struct sbuf *out);
bool ops_decode(struct ops *o, struct str in) MUST_CHECK;

#endif

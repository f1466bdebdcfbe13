/* SPDX-License-Identifier: Apache-2.0
 * The public header of cluster/: durable, ordered documents. The adapter `solo` (one node, quorum of one) implements it
 * now; the corosync adapter implements the same calls.
 *
 * Guarantee: once store_append() reports 0, the entry is on stable storage and survives kill -9 and power loss; after a
 * crash at any byte of a write, store_open() finds the last entry that was reported, and nothing torn.
 */
#ifndef POSTROAD_CLUSTER_STORE_H
#define POSTROAD_CLUSTER_STORE_H

#include "cluster/core/entry.h"

struct store;

#define STORE_HISTORY_MAX 100 /* configuration revisions kept */

/* Opens or creates the store below dir (mode 0700, files 0600), locked against a second process. NULL = failed;
 * *ret_why is a sentence the caller frees (names the file). A damaged tail that was never reported is cut off and
 * mentioned in *ret_warning. */
struct store *store_open(const char *dir, const char *node, char **ret_why, char **ret_warning) MUST_CHECK;
void store_close(struct store *s);

/* The newest entry of a kind, or NULL. Valid until the next append or close. */
const struct entry *store_last(const struct store *s, enum entry_kind kind);
/* One revision of the configuration, NULL = not kept. Valid until the next call of this, append or close. */
const struct entry *store_revision(struct store *s, uint64_t revision);
/* The kept revisions, newest first: header fields only (document empty). Returns how many were called. */
typedef void store_revision_fn(const struct entry *e, void *arg);
size_t store_each_revision(struct store *s, store_revision_fn *fn, void *arg);
uint64_t store_revision_number(const struct store *s);

struct store_write {
	enum entry_kind kind;
	const char *operation, *author, *comment;
	struct str document;
	uint64_t expect_position; /* of the last entry of this kind the writer saw; UINT64_MAX = whatever */
	/* Idempotency-Key of the request (1 to ENTRY_TEXT_MAX bytes), recorded with the entry in the same write; NULL =
	 * none. The answer given under that key is this status and the ETag of the entry (revision and position), so no
	 * body is stored. */
	const char *idempotency_key;
	const uint8_t *request_hash; /* [ENTRY_HASH_LEN] */
};

/* Makes the entry durable. 0; -ESTALE: expect_position is not the last; -ENOSPC, -EDQUOT: full disk; -EIO and others.
 * On failure the store is as before. -EEXIST: a write was already made under this key (store_answer_find() has it);
 * -EINVAL, -EFBIG: a text or the document is beyond the bounds in entry.h. After -EIO from a disk that fails to sync,
 * what the next open finds is not known: the store then takes no more writes and is not quorate. Called on the control
 * thread; it blocks for one fdatasync. ret_entry may be NULL. */
int store_append(struct store *s, const struct store_write *w, const struct entry **ret_entry) MUST_CHECK;

/* Idempotency: the write made under this key within 24 h (by log time), or NULL. Kept with the log, also over restarts.
 */
struct store_answer {
	uint8_t request_hash[ENTRY_HASH_LEN];
	uint64_t position, revision;
	enum entry_kind kind;
	double wall;
};
const struct store_answer *store_answer_find(struct store *s, const char *key);

bool store_quorate(const struct store *s);

#endif

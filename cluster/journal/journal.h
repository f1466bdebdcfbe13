/* SPDX-License-Identifier: Apache-2.0
 * The file under the store: checked records, one after the other, each durable before it is reported. Private to
 * journal.
 *
 * It knows nothing of entries. A record that was reported is there at the next open, or the open fails and says where
 * the file is damaged; a record that was never reported may be there whole or not at all.
 */
#ifndef POSTROAD_CLUSTER_JOURNAL_JOURNAL_H
#define POSTROAD_CLUSTER_JOURNAL_JOURNAL_H

#include "daemon/base/str.h"

#define JOURNAL_HEADER_LEN 40
#define JOURNAL_RECORD_LEN 16 /* in front of each payload */
#define JOURNAL_PAYLOAD_MAX (128u * 1024 * 1024)

struct journal {
	char *path;
	int dir_fd;     /* borrowed */
	int fd;         /* -1 = not open */
	uint64_t size;  /* everything before it is durable records */
	uint64_t start; /* a number of the caller's, written with the file and never changed */
	uint64_t mark;  /* how much the file's header says is durable */
	uint32_t format;
	int broken; /* not 0: what is on disk is unknown; every write fails with this */
};

/* A payload seen at replay; returns NULL, or what is wrong with it. */
typedef const char *journal_record_fn(uint32_t type, struct str payload, uint64_t offset, void *arg);

/* Opens what exists. 0, -ENOENT (no message), or another error with a sentence for the caller to free. */
int journal_open(struct journal *j, int dir_fd, const char *path, char **ret_why) MUST_CHECK;
/* Calls fn for each record. A tail that was never reported is cut off and described in *ret_warning. */
int journal_replay(struct journal *j, journal_record_fn *fn, void *arg, char **ret_why, char **ret_warning) MUST_CHECK;
void journal_close(struct journal *j);

/* Durable when 0. On failure the file is as it was. -ENOSPC also where a limit on the file's size is met. */
int journal_append(struct journal *j, uint32_t type, struct str payload, uint64_t *ret_offset) MUST_CHECK;
/* All n bytes at an offset of the file, or -EIO (also where it ends before). Also while another thread appends. */
int journal_bytes(int fd, void *bytes, size_t n, uint64_t offset) MUST_CHECK;

/* Replacing the file: begin, add (nothing is durable yet), then commit or abort. Commit makes *next the journal under
 * the path of *j, atomically; the old file's descriptor (-1 = none) is the caller's to close then, since another thread
 * may be reading there. A failed commit leaves *j in force. */
int journal_begin(struct journal *next, const struct journal *j, uint64_t start) MUST_CHECK;
int journal_add(struct journal *next, uint32_t type, struct str payload, uint64_t *ret_offset) MUST_CHECK;
int journal_commit(struct journal *next, struct journal *j, int *ret_old_fd) MUST_CHECK;
void journal_abort(struct journal *next);

#endif

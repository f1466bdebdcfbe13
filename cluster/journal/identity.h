/* SPDX-License-Identifier: Apache-2.0
 * Who a node is among others: kept in a file of its own, `identity`, so that it outlives a log that is damaged or lost.
 */
#ifndef POSTROAD_CLUSTER_JOURNAL_IDENTITY_H
#define POSTROAD_CLUSTER_JOURNAL_IDENTITY_H

#include "daemon/base/str.h"

struct identity {
	uint32_t id;       /* 1 on a node that was never in a cluster */
	bool joined;       /* its log is the cluster's, never one of its own */
	uint64_t instance; /* random, made with the log: a node set up anew is another one under its old id */
	uint64_t cluster;  /* 0 = in none */
	bool alone;        /* of a cluster whose table names no other voter: nobody else has the log. File only */
};

#define IDENTITY_FILE "identity"
#define IDENTITY_ENCODED 24

/* 0; -ENOENT: there is none; another error with a sentence for the caller to free. */
int identity_load(int dir_fd, const char *dir, struct identity *ret, char **ret_why) MUST_CHECK;
/* Durable when 0. Otherwise what was there before is still there; but where it was the directory that could not be
 * synced, this one has the name and may or may not keep it. Blocks for two syncs. */
int identity_save(int dir_fd, const struct identity *i) MUST_CHECK;
/* For a node that is new. */
struct identity identity_new(uint32_t id, uint64_t cluster, bool joined);

/* As it stands in a log, so that a log says whose it is. */
void identity_encode(const struct identity *i, uint8_t out[IDENTITY_ENCODED]);
bool identity_decode(struct str in, struct identity *ret) MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0
 * One entry of the replicated log: a whole resulting document, with who wrote it, when, and what came before.
 *
 * Documents are opaque here. Each entry carries the hash of the one before it, so that equal hashes at a position mean equal logs.
 */
#ifndef POSTROAD_CLUSTER_CORE_ENTRY_H
#define POSTROAD_CLUSTER_CORE_ENTRY_H

#include "daemon/base/str.h"

enum entry_kind {
	ENTRY_CONFIG = 1, /* the configuration document; counting these gives the revision */
	ENTRY_RUNTIME = 2, /* run-time state: admin states and weights; never changes the revision */
	ENTRY_MEMBERSHIP = 3 /* reserved for the cluster */
};

#define ENTRY_HASH_LEN 32

struct entry {
	uint64_t epoch;	   /* 1 on a single node */
	uint64_t position; /* 1, 2, 3 … without gaps */
	uint64_t revision; /* of the configuration, after this entry */
	enum entry_kind kind;
	uint8_t previous[ENTRY_HASH_LEN]; /* SHA-256 of the entry before; zero for the first */
	uint8_t hash[ENTRY_HASH_LEN];	  /* SHA-256 over all other fields */
	double wall;			  /* seconds since 1970 */
	const char *operation; /* operation id or idempotency key, "" = none */
	const char *author;    /* token name, or "local:uid" */
	const char *node;
	const char *comment; /* what changed, one line; "" = none */
	struct str document;
};

#endif

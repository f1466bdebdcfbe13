/* SPDX-License-Identifier: Apache-2.0
 * One entry of the replicated log: a whole resulting document, with who wrote it, when, and what came before.
 *
 * Documents are opaque here. Each entry carries the hash of the one before it, so that equal hashes at a position mean
 * equal logs.
 */
#ifndef POSTROAD_CLUSTER_CORE_ENTRY_H
#define POSTROAD_CLUSTER_CORE_ENTRY_H

#include "daemon/base/str.h"

enum entry_kind {
	ENTRY_CONFIG = 1,     /* the configuration document; counting these gives the revision */
	ENTRY_RUNTIME = 2,    /* run-time state: admin states and weights; never changes the revision */
	ENTRY_MEMBERSHIP = 3, /* reserved for the cluster */
	ENTRY_KIND_COUNT
};

#define ENTRY_HASH_LEN 32
#define ENTRY_TEXT_MAX 1024                    /* bytes of each text field */
#define ENTRY_DOCUMENT_MAX (64u * 1024 * 1024) /* bytes of the document */
#define ENTRY_ENCODED_MAX (ENTRY_DOCUMENT_MAX + 16 * 1024)

struct entry {
	uint64_t epoch;    /* 1 on a single node */
	uint64_t position; /* 1, 2, 3 … without gaps */
	uint64_t revision; /* of the configuration, after this entry */
	enum entry_kind kind;
	uint8_t previous[ENTRY_HASH_LEN]; /* SHA-256 of the entry before; zero for the first */
	uint8_t hash[ENTRY_HASH_LEN];     /* SHA-256 over all other fields */
	double wall;                      /* seconds since 1970 */
	const char *operation;            /* operation id or idempotency key, "" = none */
	const char *author;               /* token name, or "local:uid" */
	const char *node;
	const char *comment;                  /* what changed, one line; "" = none */
	const char *idempotency_key;          /* of the request that made it, "" = none */
	uint8_t request_hash[ENTRY_HASH_LEN]; /* of that request; zero without a key */
	struct str document;
};

/* Whether all fields can be encoded: kind known, texts and document within their bounds. */
bool entry_fits(const struct entry *e);
/* Sets e->hash and appends the encoding. The entry must fit. */
void entry_encode(struct entry *e, struct sbuf *out);
/* The reverse. Texts and document point into `in`, texts are NUL-terminated there. False: not an encoding, or its hash
 * is not that of its content. */
bool entry_decode(struct str in, struct entry *ret) MUST_CHECK;

#endif

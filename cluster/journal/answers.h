/* SPDX-License-Identifier: Apache-2.0
 * Which write was made under which Idempotency-Key, for a day of log time; a table in memory, and as records.
 */
#ifndef POSTROAD_CLUSTER_JOURNAL_ANSWERS_H
#define POSTROAD_CLUSTER_JOURNAL_ANSWERS_H

#include "cluster/store.h"
#include "daemon/base/list.h"

#define ANSWER_KEEP_SEC (24 * 3600)
/* Oldest first out beyond this many: at 10 writes a second under keys of their own, three hours' worth. */
#define ANSWERS_MAX 100000

struct answer {
	struct list link; /* in order of recording */
	char *key;
	struct store_answer public;
};

/* Zero-initialise, then answers_init(). */
struct answers {
	struct map *by_key;
	struct list all;
	size_t bytes; /* what the encodings of all take */
};

void answers_init(struct answers *a);
void answers_fini(struct answers *a);
/* Replaces what was recorded under the key. */
void answers_put(struct answers *a, const char *key, const struct store_answer *answer);
const struct store_answer *answers_find(const struct answers *a, const char *key);
/* Forgets what is older than a day at this time. */
void answers_expire(struct answers *a, double now);

/* As a record of its own, for answers whose entry is no longer kept. */
void answer_encode(const struct answer *a, struct sbuf *out);
/* Into the table; false = malformed. */
bool answers_decode(struct answers *a, struct str in) MUST_CHECK;

#endif

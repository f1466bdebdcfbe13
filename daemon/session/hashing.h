/* SPDX-License-Identifier: Apache-2.0
 * Checking passwords without holding up a worker: a small pool of threads that do nothing but hash.
 *
 * A question comes from a loop's thread and its answer goes back there as a message. Questions are bounded in number;
 * beyond that the asker is told at once (454 4.7.0). Logins that succeeded a moment ago are answered from memory
 * (auth_memory.h).
 */
#ifndef POSTROAD_SESSION_HASHING_H
#define POSTROAD_SESSION_HASHING_H

#include "daemon/net/loop.h"

struct hashing;
struct hashing_job;

/* threads: hashes at a time (yescrypt takes 16 MiB each), at least 1. max_jobs: questions whose answers were not
 * given yet. Makes one hash of its own, for users that do not exist; hence blocks for some 20 ms. */
struct hashing *hashing_new(unsigned threads, unsigned max_jobs);
/* Waits for the hashes at work; questions still waiting are answered HASHING_FAILED. The loops that asked must still
 * exist; their messages run by the end of loop_free(). */
void hashing_free(struct hashing *h);

enum hashing_verdict {
	HASHING_GOOD,
	HASHING_BAD,
	HASHING_FAILED, /* nobody can tell: this machine's libcrypt cannot, or we are stopping (454 4.7.0) */
};

typedef void hashing_fn(enum hashing_verdict verdict, void *arg);

struct hashing_question {
	const char *user, *password; /* at most 255 bytes each; copied, and the password is wiped after use */
	/* What is stored of the user (password_hash_valid()); NULL = there is no such user: the work is done all the
	 * same and the verdict is BAD. */
	const char *hash;
	/* For a user who does not exist: a hash of somebody else, whose cost is then paid. NULL = yescrypt at its
	 * usual cost. */
	const char *like;
	hashing_fn *fn; /* called once, on the loop's thread, in a later turn, unless cancelled */
	void *arg;
};

enum hashing_submit {
	HASHING_ASKED,      /* *ret_job may be cancelled until fn is called */
	HASHING_REMEMBERED, /* good: it was a moment ago. fn is not called */
	HASHING_FULL,       /* fn is not called */
};

/* From the loop's own thread. */
enum hashing_submit hashing_ask(struct hashing *h, struct loop *l, const struct hashing_question *q,
				struct hashing_job **ret_job) MUST_CHECK;
/* Nobody wants the answer any more: fn will not be called. From the loop's own thread, before fn was. A hash not yet
 * begun is not begun. */
void hashing_cancel(struct hashing_job *job);

#endif

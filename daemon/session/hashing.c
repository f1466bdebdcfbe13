/* SPDX-License-Identifier: Apache-2.0
 * Checking passwords in threads of their own.
 *
 * The hard thing is a session that ends while its password is hashed. A job therefore always goes the whole way back to
 * the loop that asked and is freed there and nowhere else; a cancelled one just calls nobody. The callback is touched
 * on that loop's thread only.
 */
#include "daemon/session/hashing.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/password.h"
#include "daemon/session/auth_memory.h"

#define HASHING_MAGIC 0x48415348u
#define JOB_MAGIC 0x484a4f42u

struct hashing_job {
	uint32_t magic;
	struct list link; /* in the queue */
	struct hashing *pool;
	struct loop *loop;
	bool is_known;
	_Atomic bool is_cancelled;
	char hash[PASSWORD_HASH_MAX + 1];
	char password[PASSWORD_MAX + 1];
	struct auth_memory_key key;
	enum hashing_verdict verdict;
	hashing_fn *fn; /* NULL = cancelled */
	void *arg;
};

struct hashing {
	uint32_t magic;
	struct auth_memory *memory;
	char nobody[PASSWORD_HASH_MAX + 1]; /* for users that do not exist; "" = libcrypt cannot */
	unsigned n_threads, max_jobs;
	pthread_t *threads;
	_Atomic unsigned n_jobs; /* not yet delivered */
	_Atomic unsigned refs;   /* its owner's and one per job: the last may be delivered after hashing_free() */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list queue; /* under lock, as is_stopping */
	bool is_stopping;
};

/* ---- the way back ---- */

static void unref(struct hashing *h)
{
	if (atomic_fetch_sub(&h->refs, 1) == 1)
		FREE_OBJ(h);
}

static void deliver(void *arg)
{
	struct hashing_job *job = arg;

	CHECK_OBJ(job, JOB_MAGIC);
	atomic_fetch_sub(&job->pool->n_jobs, 1);
	unref(job->pool);
	if (job->fn != NULL)
		job->fn(job->verdict, job->arg);
	OPENSSL_cleanse(job, sizeof(*job));
	free(job);
}

static void send_back(struct hashing_job *job, enum hashing_verdict verdict)
{
	OPENSSL_cleanse(job->password, sizeof(job->password));
	job->verdict = verdict;
	loop_post(job->loop, deliver, job);
}

/* ---- the threads ---- */

static enum hashing_verdict check(struct hashing_job *job, struct password_scratch *scratch)
{
	if (atomic_load(&job->is_cancelled))
		return HASHING_FAILED;
	switch (password_check(scratch, job->password, job->hash)) {
	case PASSWORD_GOOD:
		return job->is_known ? HASHING_GOOD : HASHING_BAD;
	case PASSWORD_BAD:
		return HASHING_BAD;
	case PASSWORD_FAILED:
		break;
	}
	return HASHING_FAILED;
}

/* Sessions of one user that came together ask the same: once one of them was right, the others need no hash. What is
 * remembered is not added again, as using it must not lengthen it. */
static enum hashing_verdict answer(struct hashing *h, struct hashing_job *job, struct password_scratch *scratch)
{
	if (job->is_known && auth_memory_has(h->memory, &job->key, clock_mono_ms()))
		return HASHING_GOOD;
	enum hashing_verdict verdict = check(job, scratch);

	if (verdict == HASHING_GOOD)
		auth_memory_add(h->memory, &job->key, clock_mono_ms());
	return verdict;
}

/* The next job; NULL = the pool ends. */
static struct hashing_job *take(struct hashing *h)
{
	struct hashing_job *job = NULL;

	pthread_mutex_lock(&h->lock);
	while (list_empty(&h->queue) && !h->is_stopping)
		pthread_cond_wait(&h->wake, &h->lock);
	if (!h->is_stopping) {
		job = LIST_FIRST(&h->queue, struct hashing_job, link);
		list_remove(&job->link);
	}
	pthread_mutex_unlock(&h->lock);
	return job;
}

static void *run(void *arg)
{
	struct hashing *h = arg;
	struct password_scratch *scratch = password_scratch_new();
	struct hashing_job *job;

	while ((job = take(h)) != NULL) {
		CHECK_OBJ(job, JOB_MAGIC);
		send_back(job, answer(h, job, scratch));
	}
	password_scratch_free(scratch);
	return NULL;
}

/* Signals are the control thread's. */
static void start_threads(struct hashing *h)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 0; i < h->n_threads; i++)
		if (pthread_create(&h->threads[i], NULL, run, h) != 0)
			base_panic(__FILE__, __LINE__, "pthread_create");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- the pool ---- */

/* A hash of something nobody knows. */
static void make_nobody(struct hashing *h)
{
	char password[65];
	unsigned char raw[32];

	random_bytes(raw, sizeof(raw));
	for (size_t i = 0; i < sizeof(raw); i++) {
		password[2 * i] = (char)('a' + (raw[i] >> 4));
		password[2 * i + 1] = (char)('a' + (raw[i] & 15));
	}
	password[64] = '\0';
	if (!password_hash_make(password, h->nobody))
		h->nobody[0] = '\0';
	OPENSSL_cleanse(password, sizeof(password));
	OPENSSL_cleanse(raw, sizeof(raw));
}

struct hashing *hashing_new(unsigned threads, unsigned max_jobs)
{
	struct hashing *h;

	ASSERT(threads > 0);
	NEW_OBJ(h, HASHING_MAGIC);
	h->memory = auth_memory_new();
	h->n_threads = threads;
	h->max_jobs = max_jobs;
	h->threads = xcalloc(threads, sizeof(*h->threads));
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->wake, NULL);
	list_init(&h->queue);
	atomic_init(&h->refs, 1);
	make_nobody(h);
	start_threads(h);
	return h;
}

void hashing_free(struct hashing *h)
{
	if (h == NULL)
		return;
	CHECK_OBJ(h, HASHING_MAGIC);
	pthread_mutex_lock(&h->lock);
	h->is_stopping = true;
	pthread_cond_broadcast(&h->wake);
	pthread_mutex_unlock(&h->lock);
	for (unsigned i = 0; i < h->n_threads; i++)
		pthread_join(h->threads[i], NULL);
	while (!list_empty(&h->queue)) {
		struct hashing_job *job = LIST_FIRST(&h->queue, struct hashing_job, link);
		list_remove(&job->link);
		send_back(job, HASHING_FAILED);
	}
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->lock);
	auth_memory_free(h->memory);
	free(h->threads);
	unref(h);
}

/* ---- questions ---- */

/* Counts one job more; false = there are enough. */
static bool enter(struct hashing *h)
{
	if (atomic_fetch_add(&h->n_jobs, 1) < h->max_jobs)
		return true;
	atomic_fetch_sub(&h->n_jobs, 1);
	return false;
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t n = strlen(from);

	ASSERT(n < size);
	memcpy(to, from, n + 1);
}

enum hashing_submit hashing_ask(struct hashing *h, struct loop *l, const struct hashing_question *q,
				struct hashing_job **ret_job)
{
	const char *hash = q->hash != NULL ? q->hash : q->like != NULL ? q->like : h->nobody;
	struct auth_memory_key key;
	struct hashing_job *job;

	CHECK_OBJ(h, HASHING_MAGIC);
	auth_memory_key(h->memory, q->user, hash, q->password, &key);
	bool is_remembered = auth_memory_has(h->memory, &key, clock_mono_ms());
	if (is_remembered && q->hash != NULL)
		return HASHING_REMEMBERED;
	if (!enter(h))
		return HASHING_FULL;
	NEW_OBJ(job, JOB_MAGIC);
	list_init(&job->link);
	job->pool = h;
	atomic_fetch_add(&h->refs, 1);
	job->loop = l;
	job->is_known = q->hash != NULL;
	atomic_init(&job->is_cancelled, false);
	copy_text(job->hash, sizeof(job->hash), hash);
	copy_text(job->password, sizeof(job->password), q->password);
	job->key = key;
	job->fn = q->fn;
	job->arg = q->arg;
	pthread_mutex_lock(&h->lock);
	list_append(&h->queue, &job->link);
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->lock);
	*ret_job = job;
	return HASHING_ASKED;
}

void hashing_cancel(struct hashing_job *job)
{
	CHECK_OBJ(job, JOB_MAGIC);
	job->fn = NULL;
	atomic_store(&job->is_cancelled, true);
}

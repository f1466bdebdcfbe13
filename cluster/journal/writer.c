/* SPDX-License-Identifier: Apache-2.0
 * A thread that does one slow thing at a time.
 *
 * The hard thing is that nothing else may be shared: a job belongs to the thread from writer_start() to writer_take(),
 * and the lock between the two makes what it did visible.
 */
#include "cluster/journal/writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define WRITER_MAGIC 0x57524954u /* "WRIT" */

struct writer {
	uint32_t magic;
	writer_fn *fn;
	void *arg;
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	void *job, *done; /* under the lock */
	bool quit;
};

static void tell(struct writer *w)
{
	uint64_t one = 1;

	/* Full only if it is readable already. */
	ASSERT(write(w->fd, &one, sizeof(one)) == (ssize_t)sizeof(one) || errno == EAGAIN);
}

static void *run(void *arg)
{
	struct writer *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (w->job == NULL && !w->quit)
			pthread_cond_wait(&w->changed, &w->lock);
		if (w->job == NULL)
			break;
		void *job = w->job;
		pthread_mutex_unlock(&w->lock);
		w->fn(job, w->arg);
		pthread_mutex_lock(&w->lock);
		w->job = NULL;
		w->done = job;
		tell(w);
		pthread_cond_broadcast(&w->changed);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Signals are for the thread that has a loop. */
static int start_thread(struct writer *w)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

struct writer *writer_new(writer_fn *fn, void *arg, int fd)
{
	struct writer *w;

	NEW_OBJ(w, WRITER_MAGIC);
	w->fn = fn;
	w->arg = arg;
	w->fd = fd;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	int err = start_thread(w);
	if (err == 0)
		return w;
	FREE_OBJ(w);
	errno = err;
	return NULL;
}

void *writer_free(struct writer *w)
{
	if (w == NULL)
		return NULL;
	CHECK_OBJ(w, WRITER_MAGIC);
	pthread_mutex_lock(&w->lock);
	w->quit = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	void *left = w->done;
	FREE_OBJ(w);
	return left;
}

void writer_start(struct writer *w, void *job)
{
	CHECK_OBJ(w, WRITER_MAGIC);
	pthread_mutex_lock(&w->lock);
	ASSERT(w->job == NULL && w->done == NULL);
	w->job = job;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

void *writer_take(struct writer *w)
{
	CHECK_OBJ(w, WRITER_MAGIC);
	pthread_mutex_lock(&w->lock);
	void *done = w->done;
	w->done = NULL;
	pthread_mutex_unlock(&w->lock);
	return done;
}

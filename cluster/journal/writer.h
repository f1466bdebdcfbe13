/* SPDX-License-Identifier: Apache-2.0
 * A thread that does one slow thing at a time, so that whoever asks need not wait for a disk.
 */
#ifndef POSTROAD_CLUSTER_JOURNAL_WRITER_H
#define POSTROAD_CLUSTER_JOURNAL_WRITER_H

#include "daemon/base/obj.h"

struct writer;

/* What the thread does with a job. It sees job and arg alone: it logs nothing and counts nothing. */
typedef void writer_fn(void *job, void *arg);

/* Starts the thread. fd: an eventfd of the caller's, to which 1 is added when a job is done. NULL: it cannot be started
 * (errno). */
struct writer *writer_new(writer_fn *fn, void *arg, int fd) MUST_CHECK;
/* Waits for the job under way. Returns the job that nobody took, NULL = none. */
void *writer_free(struct writer *w);

/* Begins a job; none may be under way. */
void writer_start(struct writer *w, void *job);
/* The job that is done, NULL = still under way, or none. */
void *writer_take(struct writer *w);

#endif

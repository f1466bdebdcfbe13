/* SPDX-License-Identifier: Apache-2.0
 * Child processes: started with a list of arguments (never a shell), told to end when this process ends, their output
 * read line by line, their end awaited without blocking.
 */
#ifndef POSTROAD_AGENTS_HA_JOBS_H
#define POSTROAD_AGENTS_HA_JOBS_H

#include <sys/types.h>

#include "agents/ha/turn.h"
#include "daemon/base/list.h"

enum { JOB_LINE_MAX = 512, JOB_LINES_PER_SECOND = 50, JOB_REAL_TIME_PRIORITY = 50, JOB_REAL_TIME_US = 2000000 };

struct job;

struct job_spec {
	const char *const *argv; /* NULL at the end; argv[0] is looked for in PATH. Or NULL: */
	/* What this process cannot wait for, done by a copy of it that has no descriptors but its output: the status it
	 * ends with. It has its own copy of what work_arg points to. */
	int (*work)(void *arg);
	void *work_arg;
	int64_t limit_ms;        /* killed after this time; 0 = it may run for ever */
	int parent_death_signal; /* what it gets when this process dies */
	bool real_time; /* before all others, at JOB_REAL_TIME_PRIORITY; ended if it runs on for JOB_REAL_TIME_US */
	/* Each line it prints, cut to JOB_LINE_MAX; beyond JOB_LINES_PER_SECOND they are dropped. May be NULL. */
	void (*line)(const char *line, void *arg);
	/* It has ended, with this status of waitpid(2); the job is gone when this returns. May be NULL. */
	void (*end)(int status, void *arg);
	void *arg;
};

struct jobs {
	struct list list;
};

void jobs_init(struct jobs *jobs);
/* NULL and errno when there is no process to be had. A program that cannot be executed ends with 127. */
struct job *job_start(struct jobs *jobs, const struct job_spec *spec);
pid_t job_pid(const struct job *job);
void job_signal(struct job *job, int signal);
/* Nobody is called for it any more; it is killed. */
void job_abandon(struct job *job);
void jobs_turn(struct jobs *jobs, struct turn *turn);
/* After each turn: ended children, and those beyond their limit. */
void jobs_reap(struct jobs *jobs, int64_t now_ms);
bool jobs_any(const struct jobs *jobs);
/* Whether a job would get real time: 0 or -errno. Asked of a child, and answered at once. */
int jobs_try_real_time(void) MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Child processes.
 *
 * The hard thing: a child must not outlive this process, however that ends, nor ever wait for it. So each asks the
 * kernel for a signal at the parent's death, and writes into a pipe that drops what nobody reads.
 */
#include "agents/ha/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/clock.h"

#define JOB_MAGIC 0x4a4f4221
#define OTHERS_MAX 65536 /* descriptors, where the kernel does not close them all at once */

struct job {
	uint32_t magic;
	struct list link;
	struct job_spec spec;
	pid_t pid;
	int output;
	int64_t kill_at; /* 0 = never */
	int64_t second;  /* in which `lines` were passed on */
	unsigned lines;
	size_t n;
	char text[JOB_LINE_MAX];
};

void jobs_init(struct jobs *jobs)
{
	list_init(&jobs->list);
}

/* Where that is refused it runs like any other: adverts may then come late when the machine is busy. 0 or an errno. */
static int hurry(void)
{
	struct sched_param priority = { .sched_priority = JOB_REAL_TIME_PRIORITY };
	struct rlimit limit = { JOB_REAL_TIME_US, JOB_REAL_TIME_US };

	if (setrlimit(RLIMIT_RTTIME, &limit) != 0 || sched_setscheduler(0, SCHED_RR, &priority) != 0)
		return errno;
	return 0;
}

int jobs_try_real_time(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(hurry());
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

/* A connection is over when its last descriptor is closed, and a copy of this process may live longer than it. */
static void close_others(void)
{
	if (close_range(3, ~0U, 0) == 0)
		return;
	for (int fd = 3, n = (int)sysconf(_SC_OPEN_MAX); fd < n && fd < OTHERS_MAX; fd++)
		close(fd);
}

_Noreturn static void become(const struct job_spec *spec, pid_t parent, int output)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
		_exit(126);
	if (spec->parent_death_signal != 0 && prctl(PR_SET_PDEATHSIG, spec->parent_death_signal) != 0)
		_exit(126);
	if (spec->real_time)
		(void)hurry();   /* jobs_try_real_time() has told */
	if (getppid() != parent) /* it died before the kernel was asked */
		_exit(126);
	if (spec->argv == NULL) {
		close_others();
		_exit(spec->work(spec->work_arg));
	}
	execvp(spec->argv[0], (char *const *)(uintptr_t)spec->argv);
	dprintf(2, "%s: %s\n", spec->argv[0], strerror(errno));
	_exit(127);
}

struct job *job_start(struct jobs *jobs, const struct job_spec *spec)
{
	struct job *job;
	int ends[2];
	pid_t parent = getpid();

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return NULL;
	pid_t pid = fork();
	if (pid == 0)
		become(spec, parent, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return NULL;
	}
	NEW_OBJ(job, JOB_MAGIC);
	job->spec = *spec;
	job->spec.argv = NULL; /* the caller's */
	job->pid = pid;
	job->output = ends[0];
	job->kill_at = spec->limit_ms > 0 ? clock_mono_ms() + spec->limit_ms : 0;
	list_append(&jobs->list, &job->link);
	return job;
}

pid_t job_pid(const struct job *job)
{
	return job->pid;
}

void job_signal(struct job *job, int signal)
{
	CHECK_OBJ(job, JOB_MAGIC);
	kill(job->pid, signal);
}

void job_abandon(struct job *job)
{
	CHECK_OBJ(job, JOB_MAGIC);
	job->spec.line = NULL;
	job->spec.end = NULL;
	job_signal(job, SIGKILL);
}

/* ---- output ---- */

static void end_line(struct job *job)
{
	int64_t second = clock_mono_ms() / 1000;

	job->text[job->n] = '\0';
	if (second != job->second)
		job->lines = 0;
	job->second = second;
	if (job->n > 0 && job->spec.line != NULL && job->lines++ < JOB_LINES_PER_SECOND)
		job->spec.line(job->text, job->spec.arg);
	job->n = 0;
}

static void take(struct job *job, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n')
			end_line(job);
		else if (job->n < sizeof(job->text) - 1)
			job->text[job->n++] = p[i];
	}
}

static void read_output(void *arg)
{
	struct job *job = arg;
	char buf[4096];

	CHECK_OBJ(job, JOB_MAGIC);
	for (int i = 0; i < 16 && job->output >= 0; i++) { /* a child that floods does not keep the loop */
		ssize_t n = read(job->output, buf, sizeof(buf));
		if (n > 0) {
			take(job, buf, (size_t)n);
			continue;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			close(job->output);
			job->output = -1;
		}
		return;
	}
}

void jobs_turn(struct jobs *jobs, struct turn *turn)
{
	struct job *job;
	struct list *tmp;

	LIST_FOR_EACH(job, tmp, &jobs->list, link) {
		turn_wait_for(turn, job->output, read_output, job);
		turn_end_at(turn, job->kill_at);
	}
}

/* ---- the end ---- */

static void end(struct job *job, int status)
{
	struct job_spec spec = job->spec;

	read_output(job);
	end_line(job);
	if (job->output >= 0)
		close(job->output);
	list_remove(&job->link);
	FREE_OBJ(job);
	if (spec.end != NULL)
		spec.end(status, spec.arg);
}

static struct job *find(struct jobs *jobs, pid_t pid)
{
	struct job *job;
	struct list *tmp;

	LIST_FOR_EACH(job, tmp, &jobs->list, link)
		if (job->pid == pid)
			return job;
	return NULL;
}

void jobs_reap(struct jobs *jobs, int64_t now_ms)
{
	struct job *job;
	struct list *tmp;
	int status;
	pid_t pid;

	LIST_FOR_EACH(job, tmp, &jobs->list, link) {
		if (job->kill_at != 0 && now_ms >= job->kill_at) {
			job->kill_at = 0;
			job_signal(job, SIGKILL);
		}
	}
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		job = find(jobs, pid);
		if (job != NULL)
			end(job, status);
	}
}

bool jobs_any(const struct jobs *jobs)
{
	return !list_empty(&jobs->list);
}

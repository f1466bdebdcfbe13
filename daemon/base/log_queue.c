/* SPDX-License-Identifier: Apache-2.0
 * The log's own thread: whoever logs leaves a line in memory, and this thread waits for those who read it.
 *
 * The hard thing is the end: lines must be out before a process aborts, and whoever reads them may be what hangs. So
 * the end waits for this thread, which writes as always, and never for longer than LOG_END_MS; nobody else writes, so
 * that order is kept.
 *
 * Writing at once where that does not wait was looked at: it costs each message a system call, and neither a file nor,
 * on many kernels, a pipe can be asked not to wait.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/base/clock.h"
#include "daemon/base/log_private.h"

/* Where lines come faster than this the writer rests so long after it has written: those that come meanwhile are
 * written in one go and wake nobody. */
#define REST_MS 5
/* In the locked memory of some who log; what syslog(3) takes is small. */
#define STACK_BYTES (128 * 1024)
/* Of the queue this much is for warnings and errors alone. */
#define RESERVE (LOG_QUEUE_BYTES / 8)

struct buffer {
	char *p;
	size_t n;
	uint64_t dropped; /* lines that would have come behind these */
};

/* Under the lock, but for `written`, which is the writer's, and what is atomic. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct buffer filled, written;
static bool idle, stop;
static pthread_t thread;
static _Atomic bool runs;
static _Atomic size_t unwritten; /* bytes in both buffers, and one for each line to be told of */
static _Atomic uint64_t dropped_total;
static _Thread_local bool is_writer;

/* ---- who logs ---- */

static void drop(void)
{
	if (filled.dropped++ == 0)
		unwritten++;
	atomic_fetch_add_explicit(&dropped_total, 1, memory_order_relaxed);
}

static void append(enum log_level level, const char *text, size_t n)
{
	char *at = filled.p + filled.n;

	at[0] = (char)level;
	memcpy(at + 1, text, n);
	at[1 + n] = '\n';
	filled.n += n + 2;
	unwritten += n + 2;
}

bool log_queue_put(enum log_level level, const char *text, size_t n)
{
	size_t room = level >= LOG_LEVEL_WARNING ? LOG_QUEUE_BYTES : LOG_QUEUE_BYTES - RESERVE;

	if (!atomic_load_explicit(&runs, memory_order_acquire) || is_writer)
		return false;
	pthread_mutex_lock(&lock);
	bool taken = runs, wake = idle;
	if (!taken)
		wake = false;
	else if (filled.n + n + 2 > room || (filled.dropped > 0 && level < LOG_LEVEL_WARNING)) /* a gap is one gap */
		drop();
	else
		append(level, text, n);
	idle = false;
	pthread_mutex_unlock(&lock);
	if (wake)
		pthread_cond_signal(&more);
	return taken;
}

uint64_t log_dropped(void)
{
	return atomic_load_explicit(&dropped_total, memory_order_relaxed);
}

/* ---- the writer ---- */

static size_t count_lines(const char *p, size_t n)
{
	size_t lines = 0;

	for (const char *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
		lines++;
	return lines;
}

/* False: it is not told. */
static bool tell(uint64_t dropped)
{
	struct logline l;

	if (!log_enabled(LOG_LEVEL_WARNING))
		return true;
	log_begin(&l, LOG_LEVEL_WARNING, "log_dropped");
	log_int(&l, "lines", (int64_t)dropped);
	log_cstr(&l, "msg", "nobody read the log in time: lines are missing here");
	memmove(l.text + 1, l.text, l.n);
	l.text[0] = (char)l.level;
	l.text[l.n + 1] = '\n';
	return log_write(l.text, l.n + 2);
}

/* Waits until there is something. False: it is over, and nothing is left. */
static bool take(void)
{
	struct buffer empty = { .p = written.p };

	pthread_mutex_lock(&lock);
	while (filled.n == 0 && filled.dropped == 0 && !stop) {
		idle = true;
		pthread_cond_wait(&more, &lock);
	}
	idle = false;
	written = filled;
	filled = empty;
	bool any = written.n > 0 || written.dropped > 0;
	if (!any)
		runs = false; /* who logs from here on writes */
	pthread_mutex_unlock(&lock);
	return any;
}

static void *run(void *arg)
{
	const struct timespec rest = { .tv_nsec = REST_MS * 1000000l };
	int64_t before_ms, now_ms = 0;
	uint64_t untold = 0;

	pthread_setname_np(pthread_self(), "log");
	is_writer = true;
	while (take()) {
		if (!log_write(written.p, written.n))
			atomic_fetch_add_explicit(&dropped_total, count_lines(written.p, written.n),
						  memory_order_relaxed);
		untold += written.dropped;
		if (untold > 0 && tell(untold))
			untold = 0;
		unwritten -= written.n + (written.dropped > 0);
		before_ms = now_ms;
		now_ms = clock_mono_ms();
		if (now_ms - before_ms <= 2 * REST_MS)
			nanosleep(&rest, NULL);
	}
	return arg;
}

/* ---- the end ---- */

static bool is_out(void)
{
	return unwritten == 0 || is_writer;
}

static bool is_over(void)
{
	return !runs;
}

/* For LOG_END_MS at most; safe in a signal's handler. */
static bool wait_until(bool (*done)(void))
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	int64_t until_ms = clock_mono_ms() + LOG_END_MS;

	while (runs && !done() && clock_mono_ms() < until_ms)
		nanosleep(&moment, NULL);
	return !runs || done();
}

/* A signal that ends the process: what is queued gets its time first. The signal comes again by itself, or by raise(),
 * and then does what it would have done. */
static void on_fatal(int sig, siginfo_t *info, void *context)
{
	UNUSED(context);
	(void)wait_until(is_out);
	if (info->si_code <= 0)
		raise(sig);
}

static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

static void catch_fatal(void)
{
	struct sigaction ours = { .sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | (int)SA_RESETHAND }, theirs;

	for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
		if (sigaction(fatal[i], NULL, &theirs) == 0 && theirs.sa_handler == SIG_DFL)
			sigaction(fatal[i], &ours, NULL);
}

static void release_fatal(void)
{
	struct sigaction ours;

	for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
		if (sigaction(fatal[i], NULL, &ours) == 0 && ours.sa_sigaction == on_fatal)
			signal(fatal[i], SIG_DFL);
}

/* ---- a child of fork(2) has no writer: it writes itself ---- */

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void in_parent(void)
{
	pthread_mutex_unlock(&lock);
}

static void in_child(void)
{
	if (runs)
		release_fatal();
	runs = false;
	pthread_mutex_unlock(&lock);
}

/* ---- start and stop ---- */

static void watch_forks(void)
{
	if (pthread_atfork(before_fork, in_parent, in_child) != 0)
		base_panic(__FILE__, __LINE__, "pthread_atfork");
}

void log_start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_attr_t attr;
	sigset_t signals, before;

	ASSERT(!runs);
	pthread_once(&once, watch_forks);
	filled = (struct buffer) { .p = xmalloc(LOG_QUEUE_BYTES) };
	written = (struct buffer) { .p = xmalloc(LOG_QUEUE_BYTES) };
	stop = idle = false;
	unwritten = 0;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigfillset(&signals); /* they are for the thread that has a loop */
	pthread_sigmask(SIG_SETMASK, &signals, &before);
	if (pthread_create(&thread, &attr, run, NULL) != 0)
		base_panic(__FILE__, __LINE__, "cannot start the log's thread");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	catch_fatal();
	atomic_store_explicit(&runs, true, memory_order_release);
}

bool log_stop(void)
{
	if (!runs)
		return true;
	pthread_mutex_lock(&lock);
	stop = true;
	pthread_mutex_unlock(&lock);
	pthread_cond_signal(&more);
	if (!wait_until(is_over))
		return false; /* it waits for whoever reads; the process's end is its own */
	pthread_join(thread, NULL);
	release_fatal();
	free(filled.p);
	free(written.p);
	return true;
}

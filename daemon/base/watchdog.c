/* SPDX-License-Identifier: Apache-2.0
 * A thread that watches the others.
 *
 * The hard thing is to be wrong never: a process that is ended while nothing is wrong with it cuts sessions for
 * nothing. So no time is compared with that of another thread; what counts is how often this one looked and saw nothing
 * move.
 */
#include "daemon/base/watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/list.h"
#include "daemon/base/log.h"

/* A thread that holds the log, or whose end nobody reads, must not keep the process alive. */
#define LOG_SECONDS 1

struct watched {
	struct list link; /* of all; under the lock */
	const char *name;
	_Atomic uint32_t beats, waits;
	/* the watchdog's own */
	uint32_t seen;
	int64_t silent_ms;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list all = { &all, &all };
static _Thread_local struct watched *own;

static struct {
	pthread_t thread;
	bool runs, stop; /* stop: under the lock */
	pthread_cond_t changed;
	void (*round)(void *arg);
	void *arg;
	int64_t looked_ms; /* 0 = no round yet */
} dog;

/* ---- what is watched ---- */

void watchdog_enter(const char *name)
{
	ASSERT(own == NULL);
	own = xcalloc(1, sizeof(*own));
	own->name = name;
	if (syscall(SYS_gettid) != (long)getpid())
		pthread_setname_np(pthread_self(), name); /* a longer one than the kernel takes is left out */
	pthread_mutex_lock(&lock);
	list_append(&all, &own->link);
	pthread_mutex_unlock(&lock);
}

void watchdog_beat(void)
{
	if (own != NULL)
		atomic_fetch_add_explicit(&own->beats, 1, memory_order_relaxed);
}

void watchdog_wait(void)
{
	if (own != NULL)
		atomic_fetch_add_explicit(&own->waits, 1, memory_order_relaxed);
}

void watchdog_waited(void)
{
	if (own == NULL)
		return;
	/* Having come back is to have come round. */
	watchdog_beat();
	atomic_fetch_sub_explicit(&own->waits, 1, memory_order_relaxed);
}

void watchdog_exit(void)
{
	if (own == NULL)
		return;
	pthread_mutex_lock(&lock);
	list_remove(&own->link);
	pthread_mutex_unlock(&lock);
	free(own);
	own = NULL;
}

/* ---- who watches ---- */

static void look(struct watched *w, int64_t passed_ms)
{
	uint32_t beats = atomic_load_explicit(&w->beats, memory_order_relaxed);

	if (beats != w->seen || atomic_load_explicit(&w->waits, memory_order_relaxed) > 0)
		w->silent_ms = 0;
	else
		w->silent_ms += passed_ms;
	w->seen = beats;
}

const char *watchdog_round(int64_t now_ms, int64_t *ret_silent_ms)
{
	int64_t passed = dog.looked_ms == 0 ? 0 : now_ms - dog.looked_ms;
	const char *name = NULL;
	struct list *tmp;
	struct watched *w;

	if (passed > WATCHDOG_GAP_MS)
		passed = WATCHDOG_GAP_MS;
	dog.looked_ms = now_ms;
	pthread_mutex_lock(&lock);
	LIST_FOR_EACH(w, tmp, &all, link) {
		look(w, passed);
		if (w->silent_ms < WATCHDOG_LIMIT_MS || name != NULL)
			continue;
		name = w->name;
		*ret_silent_ms = w->silent_ms;
	}
	pthread_mutex_unlock(&lock);
	return name;
}

_Noreturn static void end_process(const char *name, int64_t silent_ms)
{
	sigset_t alarms;

	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	signal(SIGALRM, SIG_DFL);
	pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
	alarm(LOG_SECONDS);
	log_msg(LOG_LEVEL_ERROR, "watchdog", "thread %s has not come round for %lld ms; the process ends", name,
		(long long)silent_ms);
	abort();
}

/* False: it is over. */
static bool rest(void)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += WATCHDOG_ROUND_MS * 1000000l;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_nsec -= 1000000000l;
		until.tv_sec++;
	}
	pthread_mutex_lock(&lock);
	while (!dog.stop && pthread_cond_timedwait(&dog.changed, &lock, &until) == 0)
		;
	bool stop = dog.stop;
	pthread_mutex_unlock(&lock);
	return !stop;
}

static void *watch(void *arg)
{
	int64_t silent_ms = 0;

	pthread_setname_np(pthread_self(), "watchdog");
	do {
		const char *name = watchdog_round(clock_mono_ms(), &silent_ms);
		if (name != NULL)
			end_process(name, silent_ms);
		if (dog.round != NULL)
			dog.round(dog.arg);
	} while (rest());
	return arg;
}

void watchdog_start(void (*round)(void *arg), void *arg)
{
	pthread_condattr_t attr;
	sigset_t signals, before;

	dog.round = round;
	dog.arg = arg;
	dog.stop = false;
	dog.looked_ms = 0;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&dog.changed, &attr);
	pthread_condattr_destroy(&attr);
	sigfillset(&signals); /* they are for the thread that has a loop */
	pthread_sigmask(SIG_SETMASK, &signals, &before);
	if (pthread_create(&dog.thread, NULL, watch, NULL) != 0)
		base_panic(__FILE__, __LINE__, "cannot start the watchdog");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	dog.runs = true;
}

void watchdog_stop(void)
{
	if (!dog.runs)
		return;
	pthread_mutex_lock(&lock);
	dog.stop = true;
	pthread_cond_signal(&dog.changed);
	pthread_mutex_unlock(&lock);
	pthread_join(dog.thread, NULL);
	pthread_cond_destroy(&dog.changed);
	dog.runs = false;
}

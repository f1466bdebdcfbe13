/* SPDX-License-Identifier: Apache-2.0
 * postroad-load: sends mail to a server and measures it; or holds idle sessions.
 *
 * The hard thing is not to measure oneself: one thread, no system call that a message does not need, messages built
 * beforehand, and a timer of microseconds for the timetable of --rate.
 */
#include "tests/bench/load.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "daemon/base/clock.h"

#define EVENTS_MAX 256
#define IDLE_BURST 100 /* sessions under construction at a time with --idle */

const char *const stage_names[STAGE_COUNT] = { "connect", "tls",  "banner", "ehlo", "starttls", "auth",
					       "mail",    "rcpt", "data",   "dot",  "quit" };
struct results results;

/* All of it belongs to the one thread. */
static int epoll_fd, timer_fd, signal_fd;
static struct session *sessions;
static unsigned n_sessions;
static struct session *idle_list; /* the most recently used first */
static unsigned n_held, n_building, n_lost;
static bool ending;

int load_epoll_fd(void)
{
	return epoll_fd;
}

/* ---- giving messages to sessions ---- */

/* A session is never started from inside its own callback: the loop does it, so that errors cannot recurse. */
void load_session_idle(struct session *s)
{
	if (options.idle > 0) {
		n_building--;
		n_held++;
		return;
	}
	s->next_free = idle_list;
	idle_list = s;
}

void load_session_closed(struct session *s)
{
	if (options.idle > 0) {
		n_lost++;
		if (s->held)
			n_held--;
		else
			n_building--;
	} else if (s->stage != STAGE_READY) { /* else it stands in the list already */
		load_session_idle(s);
	}
}

static void start_due(int64_t now)
{
	struct message m;

	while (idle_list != NULL && messages_next(now, &m)) {
		struct session *s = idle_list;

		idle_list = s->next_free;
		session_start(s, &m, now);
	}
}

static void arm_timer(void)
{
	static int64_t armed = -1;
	int64_t due = messages_next_due();
	struct itimerspec its = { .it_value = { .tv_sec = due / 1000000, .tv_nsec = due % 1000000 * 1000 } };

	if (due < 0 || due == armed || idle_list == NULL)
		return;
	armed = due;
	timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static void check_deadlines(int64_t now)
{
	for (unsigned i = 0; i < n_sessions; i++)
		if (sessions[i].stage < STAGE_COUNT && sessions[i].deadline_us < now)
			session_timeout(&sessions[i]);
}

/* ---- output ---- */

static void print_codes(FILE *out)
{
	bool first = true;

	fprintf(out, "\"errors\": {");
	for (unsigned i = 0; i < ARRAY_LEN(results.codes); i++) {
		if (results.codes[i] == 0)
			continue;
		fprintf(out, "%s\"", first ? "" : ", ");
		if (i <= 1)
			fprintf(out, "%s", i == 0 ? "connection" : "timeout");
		else
			fprintf(out, "%u", i);
		fprintf(out, "\": %lu", (unsigned long)results.codes[i]);
		first = false;
	}
	fprintf(out, "}");
}

static void print_lost_at(FILE *out)
{
	const char *separator = "";

	fprintf(out, ", \"lost_at\": {");
	for (unsigned i = 0; i < STAGE_COUNT; i++) {
		if (results.lost_at[i] == 0)
			continue;
		fprintf(out, "%s\"%s\": %lu", separator, stage_names[i], (unsigned long)results.lost_at[i]);
		separator = ", ";
	}
	fprintf(out, "}");
}

static void print_counts(FILE *out, double seconds)
{
	const uint64_t *o = results.outcomes;

	fprintf(out, "\"seconds\": %.6f, \"accepted\": %lu, \"tempfail\": %lu, \"permfail\": %lu, \"lost\": %lu, ",
		seconds, (unsigned long)o[OUTCOME_ACCEPTED], (unsigned long)o[OUTCOME_TEMPFAIL],
		(unsigned long)o[OUTCOME_PERMFAIL], (unsigned long)o[OUTCOME_LOST]);
	fprintf(out, "\"retries\": %lu, \"connections\": %lu, \"bytes\": %lu, ", (unsigned long)results.retries,
		(unsigned long)results.connections, (unsigned long)results.bytes);
	if (options.tls != TLS_NONE)
		fprintf(out, "\"handshakes\": %lu, \"resumed\": %lu, \"tls\": \"%s\", ",
			(unsigned long)results.handshakes, (unsigned long)results.resumed, results.tls);
	print_codes(out);
	print_lost_at(out);
}

static void print_results(double seconds)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	printf("{");
	print_counts(stdout, seconds);
	printf(", \"messages_per_second\": %.1f, \"bytes_per_second\": %.0f, \"cpu_seconds\": %.3f, \"latency_us\": {",
	       (double)results.outcomes[OUTCOME_ACCEPTED] / seconds, (double)results.bytes / seconds,
	       (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
	printf("\"transaction\": ");
	histogram_print(&results.transaction, stdout);
	for (unsigned i = 0; i < STAGE_COUNT; i++) {
		printf(", \"%s\": ", stage_names[i]);
		histogram_print(&results.stages[i], stdout);
	}
	printf("}}\n");
}

/* ---- the loop ---- */

static void on_signal(void)
{
	struct signalfd_siginfo si;

	if (read(signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (ending)
		_exit(1); /* asked twice: do not wait for answers */
	ending = true;
	messages_stop();
}

static void wait_for_events(int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t expirations;
	int n = epoll_wait(epoll_fd, events, EVENTS_MAX, timeout_ms);

	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr == &signal_fd)
			on_signal();
		else if (events[i].data.ptr == &timer_fd)
			UNUSED(read(timer_fd, &expirations, sizeof(expirations)) < 0);
		else
			session_event(events[i].data.ptr, events[i].events);
	}
}

/* Once a second: overdue answers, and a line of progress where asked for. */
static void every_second(int64_t now, int64_t start)
{
	static int64_t next;

	if (now < next)
		return;
	next = now + 1000000;
	check_deadlines(now);
	if (options.progress) {
		fprintf(stderr, "{");
		print_counts(stderr, (double)(now - start) / 1e6);
		fprintf(stderr, "}\n");
	}
}

static void quit_all(void)
{
	for (unsigned i = 0; i < n_sessions; i++)
		if (sessions[i].stage == STAGE_READY)
			session_quit(&sessions[i]);
	/* The goodbyes are waited for, but no longer than any answer. */
	int64_t deadline = clock_mono_us() + (int64_t)options.timeout_ms * 1000;
	unsigned open = 1;

	while (open > 0 && clock_mono_us() < deadline) {
		open = 0;
		for (unsigned i = 0; i < n_sessions; i++)
			open += sessions[i].stage < STAGE_COUNT;
		if (open > 0)
			wait_for_events(100);
	}
}

static int run_load(void)
{
	int64_t start = clock_mono_us(), now = start;

	messages_init(start);
	for (unsigned i = n_sessions; i > 0; i--)
		load_session_idle(&sessions[i - 1]);
	while (!messages_finished(now)) {
		start_due(now);
		arm_timer();
		wait_for_events(1000);
		now = clock_mono_us();
		every_second(now, start);
	}
	int64_t end = clock_mono_us();

	quit_all();
	print_results((double)(end - start) / 1e6);
	return results.outcomes[OUTCOME_ACCEPTED] > 0 && results.outcomes[OUTCOME_PERMFAIL] +
									 results.outcomes[OUTCOME_TEMPFAIL] +
									 results.outcomes[OUTCOME_LOST] ==
								 0
		       ? 0
		       : 1;
}

/* Opens the sessions, says so, holds them until TERM or INT. */
static int run_idle(void)
{
	unsigned started = 0;
	bool said = false;

	while (!ending) {
		while (started < n_sessions && n_building < IDLE_BURST) {
			n_building++;
			session_start(&sessions[started++], NULL, clock_mono_us());
		}
		if (!said && started == n_sessions && n_building == 0) {
			printf("{\"idle\": %u, \"failed\": %u}\n", n_held, n_sessions - n_held);
			fflush(stdout);
			said = true;
		}
		wait_for_events(1000);
		every_second(clock_mono_us(), 0);
	}
	printf("{\"held\": %u, \"lost\": %u}\n", n_held, n_lost); /* the end of the process closes them */
	return n_lost == 0 ? 0 : 1;
}

/* ---- start ---- */

static void raise_file_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static void watch(int fd, void *ptr)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = ptr };

	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

int main(int argc, char **argv)
{
	sigset_t set;

	load_options_parse(argc, argv);
	raise_file_limit();
	signal(SIGPIPE, SIG_IGN); /* libssl writes without MSG_NOSIGNAL */
	if (options.tls != TLS_NONE)
		load_tls_init();
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	watch(timer_fd, &timer_fd);
	watch(signal_fd, &signal_fd);
	n_sessions = options.idle > 0 ? options.idle : options.parallel;
	sessions = xcalloc(n_sessions, sizeof(*sessions));
	for (unsigned i = 0; i < n_sessions; i++) {
		sessions[i].magic = SESSION_MAGIC;
		sessions[i].fd = -1;
		sessions[i].stage = STAGE_FREE;
	}
	int status = options.idle > 0 ? run_idle() : run_load();

	fflush(stdout);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0
 * Promises of the log's own thread: nobody who logs waits for those who read, what is lost is told where it is missing,
 * and what is queued is out before the process ends, however that ends.
 *
 * Each program under test is a child of its own, whose standard error is read here, or is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/log.h"

enum { LIMIT_SECONDS = 20, N_THREADS = 4, N_LINES = 1000 };
enum kind { PIPE, SOCKET };

struct run {
	pid_t pid;
	int log;    /* our end of its standard error */
	int says;   /* a byte of it: it has come so far */
	int goes;   /* a byte of ours: it may go on */
	char *text; /* what was read */
};

/* The child's own ends. */
static int to_parent, from_parent;

static void say(void)
{
	if (write(to_parent, "s", 1) != 1)
		_exit(99);
}

static void await_go(void)
{
	char c;

	if (read(from_parent, &c, 1) != 1)
		_exit(98);
}

static void begin(struct run *r, enum kind kind, int (*program)(void))
{
	const struct rlimit no_core = { 0, 0 };
	int log[2], says[2], goes[2];

	*r = (struct run) { 0 };
	assert_int_equal(kind == PIPE ? pipe(log) : socketpair(AF_UNIX, SOCK_STREAM, 0, log), 0);
	assert_true(pipe(says) == 0 && pipe(goes) == 0);
	fflush(NULL);
	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0) {
		alarm(LIMIT_SECONDS); /* one that waits shows as SIGALRM */
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGPIPE, SIG_IGN);
		signal(SIGFPE, SIG_DFL); /* the test's own has nothing to say in here */
		to_parent = says[1];
		from_parent = goes[0];
		dup2(log[1], STDERR_FILENO);
		close(log[0]);
		close(log[1]);
		close(says[0]);
		close(goes[1]);
		log_init(LOG_TARGET_STDERR, LOG_LEVEL_INFO);
		log_start();
		_exit(program());
	}
	close(log[1]);
	close(says[1]);
	close(goes[0]);
	r->log = log[0];
	r->says = says[0];
	r->goes = goes[1];
}

static void await_said(struct run *r)
{
	char c;

	assert_int_equal(read(r->says, &c, 1), 1);
}

static void go(struct run *r)
{
	assert_int_equal(write(r->goes, "g", 1), 1);
}

/* Until the child's end of it is closed. */
static void read_all(struct run *r)
{
	size_t n = 0, cap = 1 << 16;
	ssize_t got;

	r->text = xmalloc(cap + 1);
	while ((got = read(r->log, r->text + n, cap - n)) > 0) {
		n += (size_t)got;
		if (n == cap)
			r->text = xrealloc(r->text, (cap *= 2) + 1);
	}
	r->text[n] = '\0';
}

static int end(struct run *r)
{
	int status;

	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	close(r->log);
	close(r->says);
	close(r->goes);
	return status;
}

/* So much that the next line finds no room: bytes that are no line. */
static void fill_stderr(void)
{
	int flags = fcntl(STDERR_FILENO, F_GETFL);
	static char junk[1024];

	memset(junk, '.', sizeof(junk));
	fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
	for (size_t n = sizeof(junk); n > 0; n /= 2)
		while (write(STDERR_FILENO, junk, n) > 0)
			;
	fcntl(STDERR_FILENO, F_SETFL, flags);
}

static void log_number(enum log_level level, const char *event, int i)
{
	struct logline l;

	log_begin(&l, level, event);
	log_int(&l, "n", i);
	log_cstr(&l, "pad", "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567");
	log_end(&l);
}

/* The next line at *at, ended; the value of `key` in it, -1 if it has none. NULL at the end. */
static const char *next_line(char **at)
{
	char *line = *at, *stop = strchr(line, '\n');

	if (stop == NULL)
		return NULL;
	*stop = '\0';
	*at = stop + 1;
	return line;
}

static long number_in(const char *line, const char *key)
{
	const char *p = strstr(line, key);

	return p == NULL ? -1 : strtol(p + strlen(key), NULL, 10);
}

/* ---- nobody reads ---- */

#define TOO_MANY (4 * LOG_QUEUE_BYTES / 100)

static int logs_more_than_there_is_room_for(void)
{
	for (int i = 0; i < TOO_MANY; i++)
		log_number(LOG_LEVEL_INFO, "line", i);
	log_number(LOG_LEVEL_WARNING, "heard", 0); /* it has room of its own */
	say();
	await_go();
	bool out = log_stop();
	return out && log_dropped() > 0 ? 0 : 1;
}

/* Each gap in the numbers is told where it is, with its size. */
static void assert_gaps_are_told(char *text)
{
	long want = 0, told = 0, n;
	bool heard = false;
	const char *line;

	while ((line = next_line(&text)) != NULL) {
		assert_int_equal(strncmp(line, "time=", 5), 0);
		if ((n = number_in(line, "event=log_dropped lines=")) >= 0) {
			assert_true(n > 0 && strstr(line, "level=warning") != NULL);
			told += n;
			want += n;
		} else if (number_in(line, "event=heard n=") >= 0) {
			heard = true;
		} else {
			assert_int_equal(number_in(line, "event=line n="), want);
			want++;
		}
	}
	assert_int_equal(*text, '\0');
	assert_int_equal(want, TOO_MANY);
	assert_true(told > 0 && heard);
}

static void nobody_who_logs_waits_for_those_who_read(enum kind kind)
{
	struct run r;

	begin(&r, kind, logs_more_than_there_is_room_for);
	await_said(&r); /* and nothing was read */
	go(&r);
	read_all(&r);
	assert_int_equal(end(&r), 0);
	assert_gaps_are_told(r.text);
	free(r.text);
}

static void who_logs_never_waits_for_a_pipe_that_is_full(void **state)
{
	UNUSED(state);
	nobody_who_logs_waits_for_those_who_read(PIPE);
}

static void who_logs_never_waits_for_a_socket_that_is_full(void **state)
{
	UNUSED(state);
	nobody_who_logs_waits_for_those_who_read(SOCKET);
}

static int stops_with_nobody_reading(void)
{
	fill_stderr();
	log_number(LOG_LEVEL_INFO, "line", 0);
	return log_stop() ? 1 : 0;
}

static void an_end_with_nobody_reading_is_an_end(void **state)
{
	struct run r;

	UNUSED(state);
	begin(&r, PIPE, stops_with_nobody_reading);
	assert_int_equal(end(&r), 0);
}

static int aborts_with_nobody_reading(void)
{
	fill_stderr();
	log_number(LOG_LEVEL_ERROR, "line", 0);
	abort();
}

static void an_abort_with_nobody_reading_is_an_abort(void **state)
{
	struct run r;

	UNUSED(state);
	begin(&r, PIPE, aborts_with_nobody_reading);
	int status = end(&r);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static int loses_its_reader(void)
{
	await_go();
	log_number(LOG_LEVEL_INFO, "line", 0);
	bool out = log_stop();
	return out && log_dropped() == 1 ? 0 : 1;
}

static void lines_for_a_reader_that_is_gone_are_counted(void **state)
{
	struct run r;

	UNUSED(state);
	begin(&r, SOCKET, loses_its_reader);
	close(r.log);
	go(&r);
	r.log = -1;
	assert_int_equal(end(&r), 0);
}

/* ---- the end comes at once ---- */

static int aborts(void)
{
	fill_stderr(); /* so nothing is out before it aborts */
	for (int i = 0; i < N_LINES; i++)
		log_number(LOG_LEVEL_INFO, "line", i);
	say();
	abort();
}

static int panics(void)
{
	fill_stderr();
	for (int i = 0; i < N_LINES; i++)
		log_number(LOG_LEVEL_INFO, "line", i);
	say();
	ASSERT(N_LINES == 0);
	return 0;
}

static int gets_a_signal(void)
{
	fill_stderr();
	for (int i = 0; i < N_LINES; i++)
		log_number(LOG_LEVEL_INFO, "line", i);
	say();
	raise(SIGFPE);
	return 0;
}

/* How it ended, and whether all lines came. */
static int run_to_the_end(struct run *r, int (*program)(void))
{
	char *at;
	const char *line;
	int n = 0;

	begin(r, PIPE, program);
	await_said(r);
	read_all(r);
	at = strstr(r->text, "time=");
	assert_non_null(at);
	for (; n < N_LINES && (line = next_line(&at)) != NULL; n++)
		assert_int_equal(number_in(line, "event=line n="), n);
	assert_int_equal(n, N_LINES);
	memmove(r->text, at, strlen(at) + 1);
	return end(r);
}

static void what_was_logged_before_an_abort_is_out(void **state)
{
	struct run r;

	UNUSED(state);
	int status = run_to_the_end(&r, aborts);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	free(r.text);
}

static void a_broken_invariant_is_told_behind_what_was_logged(void **state)
{
	struct run r;

	UNUSED(state);
	int status = run_to_the_end(&r, panics);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_int_equal(strncmp(r.text, "postroad: panic at ", 19), 0);
	assert_string_equal(strchr(r.text, '\n'), "\n");
	free(r.text);
}

static void a_fault_ends_the_process_as_ever_when_the_lines_are_out(void **state)
{
	struct run r;

	UNUSED(state);
	int status = run_to_the_end(&r, gets_a_signal);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGFPE);
	free(r.text);
}

/* ---- threads and children ---- */

static void *log_many(void *arg)
{
	char event[16];

	snprintf(event, sizeof(event), "thread%d", (int)(intptr_t)arg);
	for (int i = 0; i < N_LINES; i++)
		log_number(LOG_LEVEL_INFO, event, i);
	return NULL;
}

static int has_threads(void)
{
	pthread_t threads[N_THREADS];

	for (int i = 0; i < N_THREADS; i++)
		if (pthread_create(&threads[i], NULL, log_many, (void *)(intptr_t)i) != 0)
			return 1;
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	return log_stop() && log_dropped() == 0 ? 0 : 1;
}

static void lines_of_threads_are_whole_and_each_in_its_order(void **state)
{
	int next[N_THREADS] = { 0 };
	const char *line;
	struct run r;

	UNUSED(state);
	begin(&r, PIPE, has_threads);
	read_all(&r);
	assert_int_equal(end(&r), 0);
	for (char *at = r.text; (line = next_line(&at)) != NULL;) {
		long i = number_in(line, "event=thread");
		assert_true(i >= 0 && i < N_THREADS);
		assert_int_equal(number_in(line, " n="), next[i]);
		next[i]++;
		assert_string_equal(line + strlen(line) - 4, "4567");
	}
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(next[i], N_LINES);
	free(r.text);
}

static int has_a_child(void)
{
	int status;

	for (int i = 0; i < 50; i++) {
		log_number(LOG_LEVEL_INFO, "parent", i);
		pid_t pid = fork();
		if (pid == 0) {
			log_number(LOG_LEVEL_INFO, "child", i);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status != 0)
			return 1;
	}
	log_number(LOG_LEVEL_INFO, "parent", 50);
	return log_stop() ? 0 : 1;
}

static void a_child_writes_its_own_lines_and_none_of_its_parent(void **state)
{
	int parent = 0, child = 0;
	const char *line;
	struct run r;

	UNUSED(state);
	begin(&r, PIPE, has_a_child);
	read_all(&r);
	assert_int_equal(end(&r), 0);
	for (char *at = r.text; (line = next_line(&at)) != NULL;) {
		if (strstr(line, "event=child ") != NULL)
			assert_int_equal(number_in(line, " n="), child++);
		else
			assert_int_equal(number_in(line, "event=parent n="), parent++);
	}
	assert_int_equal(parent, 51);
	assert_int_equal(child, 50);
	free(r.text);
}

static int has_a_descriptor_that_does_not_wait(void)
{
	fcntl(STDERR_FILENO, F_SETFL, O_WRONLY | O_NONBLOCK);
	for (int i = 0; i < N_LINES; i++)
		log_number(LOG_LEVEL_INFO, "line", i);
	say();
	return log_stop() && log_dropped() == 0 ? 0 : 1;
}

static void a_descriptor_that_others_made_non_blocking_loses_nothing(void **state)
{
	const char *line;
	struct run r;
	int n = 0;

	UNUSED(state);
	begin(&r, PIPE, has_a_descriptor_that_does_not_wait);
	await_said(&r);
	read_all(&r);
	assert_int_equal(end(&r), 0);
	for (char *at = r.text; (line = next_line(&at)) != NULL; n++)
		assert_int_equal(number_in(line, "event=line n="), n);
	assert_int_equal(n, N_LINES);
	free(r.text);
}

static int stops_and_goes_on(void)
{
	log_number(LOG_LEVEL_INFO, "line", 0);
	bool out = log_stop();
	log_number(LOG_LEVEL_INFO, "line", 1);
	log_start();
	log_number(LOG_LEVEL_INFO, "line", 2);
	out = log_stop() && out;
	return out && log_stop() ? 0 : 1;
}

static void who_logs_after_the_stop_is_heard(void **state)
{
	const char *line;
	struct run r;
	int n = 0;

	UNUSED(state);
	begin(&r, PIPE, stops_and_goes_on);
	read_all(&r);
	assert_int_equal(end(&r), 0);
	for (char *at = r.text; (line = next_line(&at)) != NULL; n++)
		assert_int_equal(number_in(line, "event=line n="), n);
	assert_int_equal(n, 3);
	free(r.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_logs_never_waits_for_a_pipe_that_is_full),
		cmocka_unit_test(who_logs_never_waits_for_a_socket_that_is_full),
		cmocka_unit_test(an_end_with_nobody_reading_is_an_end),
		cmocka_unit_test(an_abort_with_nobody_reading_is_an_abort),
		cmocka_unit_test(lines_for_a_reader_that_is_gone_are_counted),
		cmocka_unit_test(what_was_logged_before_an_abort_is_out),
		cmocka_unit_test(a_broken_invariant_is_told_behind_what_was_logged),
		cmocka_unit_test(a_fault_ends_the_process_as_ever_when_the_lines_are_out),
		cmocka_unit_test(lines_of_threads_are_whole_and_each_in_its_order),
		cmocka_unit_test(a_child_writes_its_own_lines_and_none_of_its_parent),
		cmocka_unit_test(a_descriptor_that_others_made_non_blocking_loses_nothing),
		cmocka_unit_test(who_logs_after_the_stop_is_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Files that are exchanged whole, in directories of one's own; children that are read, limited and reaped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agents/ha/files.h"
#include "agents/ha/jobs.h"
#include "daemon/base/clock.h"

static char dir[64];

static int make_dir(void **state)
{
	UNUSED(state);
	snprintf(dir, sizeof(dir), "/tmp/ha-files-XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
	UNUSED(state);
	files_remove(dir, "name");
	files_remove(dir, "link");
	files_remove(dir, ".name.new");
	return rmdir(dir);
}

static void expect_file(const char *want)
{
	struct sbuf b = { 0 };

	assert_int_equal(files_read(dir, "name", 100, &b), 0);
	assert_string_equal(b.p, want);
	sbuf_fini(&b);
}

static void a_file_is_replaced_whole_and_gets_its_mode(void **state)
{
	UNUSED(state);
	char path[128];
	struct stat st;

	assert_int_equal(files_replace(dir, "name", STR("one\n"), 0644, false), 0);
	expect_file("one\n");
	assert_int_equal(files_replace(dir, "name", STR("2"), 0400, true), 0);
	expect_file("2");
	snprintf(path, sizeof(path), "%s/name", dir);
	assert_return_code(stat(path, &st), errno);
	assert_int_equal(st.st_mode & 07777, 0400);
}

static void what_was_left_half_written_is_no_obstacle(void **state)
{
	UNUSED(state);
	assert_int_equal(files_replace(dir, ".name.new", STR("rest"), 0644, false), 0);
	assert_int_equal(files_replace(dir, "name", STR("new"), 0644, false), 0);
	expect_file("new");
	struct sbuf b = { 0 };
	assert_int_equal(files_read(dir, ".name.new", 100, &b), -ENOENT);
	sbuf_fini(&b);
}

static void a_link_is_not_followed(void **state)
{
	UNUSED(state);
	char path[128];
	struct sbuf b = { 0 };

	snprintf(path, sizeof(path), "%s/link", dir);
	assert_return_code(symlink("/etc/passwd", path), errno);
	assert_int_equal(files_read(dir, "link", 100000, &b), -ELOOP);
	char *why = files_directory(path, 0755);
	assert_non_null(why);
	free(why);
	sbuf_fini(&b);
}

static void more_than_was_wanted_is_an_error(void **state)
{
	UNUSED(state);
	struct sbuf b = { 0 };

	assert_int_equal(files_replace(dir, "name", STR("12345"), 0644, false), 0);
	assert_int_equal(files_read(dir, "name", 5, &b), 0);
	assert_int_equal(files_read(dir, "name", 4, &b), -EFBIG);
	sbuf_fini(&b);
}

static void a_directory_that_others_can_write_to_is_refused(void **state)
{
	UNUSED(state);
	char *why = files_directory(dir, 0755);

	assert_null(why);
	assert_return_code(chmod(dir, 0775), errno);
	why = files_directory(dir, 0755);
	assert_non_null(why);
	free(why);
}

static void paths_that_would_mean_something_in_a_file_are_refused(void **state)
{
	UNUSED(state);
	assert_true(files_path_ok("/run/postroad-ha"));
	assert_false(files_path_ok("run/postroad"));
	assert_false(files_path_ok("/run/a b"));
	assert_false(files_path_ok("/run/\"a"));
	assert_false(files_path_ok("/run/a\n"));
}

/* ---- jobs ---- */

struct heard {
	int lines, ended, status;
	char first[JOB_LINE_MAX];
};

static void on_line(const char *line, void *arg)
{
	struct heard *h = arg;

	if (h->lines++ == 0)
		snprintf(h->first, sizeof(h->first), "%s", line);
}

static void on_end(int status, void *arg)
{
	struct heard *h = arg;

	h->ended++;
	h->status = status;
}

static void run_out(struct jobs *jobs)
{
	while (jobs_any(jobs)) {
		struct turn turn;
		turn_begin(&turn, clock_mono_ms(), 10);
		jobs_turn(jobs, &turn);
		turn_run(&turn);
		jobs_reap(jobs, clock_mono_ms());
	}
	alarm(0);
}

/* Runs a shell's command to its end; whoever waits for it in vain is ended by the alarm. */
static struct heard run(const char *command, int64_t limit_ms)
{
	const char *argv[] = { "sh", "-c", command, NULL };
	struct heard h = { 0 };
	struct jobs jobs;

	alarm(60);
	jobs_init(&jobs);
	assert_non_null(job_start(&jobs, &(struct job_spec) { .argv = argv,
							      .limit_ms = limit_ms,
							      .parent_death_signal = SIGKILL,
							      .line = on_line,
							      .end = on_end,
							      .arg = &h }));
	run_out(&jobs);
	assert_int_equal(h.ended, 1);
	return h;
}

static void a_child_is_read_by_lines_and_its_end_is_told(void **state)
{
	UNUSED(state);
	struct heard h = run("echo one; echo two >&2; printf three; exit 4", 0);

	assert_int_equal(h.lines, 3);
	assert_string_equal(h.first, "one");
	assert_true(WIFEXITED(h.status) && WEXITSTATUS(h.status) == 4);
}

static void a_child_beyond_its_limit_is_killed(void **state)
{
	UNUSED(state);
	struct heard h = run("trap '' TERM; exec sleep 600", 50);

	assert_true(WIFSIGNALED(h.status) && WTERMSIG(h.status) == SIGKILL);
}

static void long_lines_are_cut_and_floods_dropped(void **state)
{
	UNUSED(state);
	struct heard h = run("head -c 5000 /dev/zero | tr '\\0' x; echo; yes | head -n 100000", 0);

	assert_int_equal(strlen(h.first), JOB_LINE_MAX - 1);
	assert_in_range(h.lines, 1, 100 * JOB_LINES_PER_SECOND);
}

static void a_program_that_is_not_there_ends_with_127(void **state)
{
	UNUSED(state);
	struct heard h = run("exec /nowhere/at/all", 0);

	assert_true(WIFEXITED(h.status) && WEXITSTATUS(h.status) == 127);
}

static int read_of_parent(void *arg)
{
	const int *pipe_of_parent = arg;
	char byte;

	if (read(pipe_of_parent[0], &byte, 1) >= 0)
		return 9; /* it has it too */
	puts("done");
	fflush(stdout);
	return 3;
}

/* What a connection needs to be over: no copy of it anywhere. */
static void work_is_done_by_a_copy_that_has_no_descriptors_of_ours(void **state)
{
	UNUSED(state);
	int g[2];
	struct heard h = { 0 };
	struct jobs jobs;

	alarm(60);
	assert_return_code(pipe(g), errno);
	assert_int_equal(write(g[1], "x", 1), 1);
	jobs_init(&jobs);
	assert_non_null(job_start(
		&jobs, &(struct job_spec) {
			       .work = read_of_parent, .work_arg = g, .line = on_line, .end = on_end, .arg = &h }));
	run_out(&jobs);
	assert_int_equal(h.ended, 1);
	assert_string_equal(h.first, "done");
	assert_true(WIFEXITED(h.status) && WEXITSTATUS(h.status) == 3);
	close(g[0]);
	close(g[1]);
}

static void it_is_known_whether_real_time_is_to_be_had_and_nothing_is_left_of_asking(void **state)
{
	UNUSED(state);
	struct rlimit none = { 0, 0 };
	pid_t child = fork();

	if (child == 0) { /* an unprivileged one that may not */
		int r = setrlimit(RLIMIT_RTPRIO, &none) == 0 && setgid(65534) == 0 && setuid(65534) == 0
				? jobs_try_real_time()
				: 1;
		_exit(r == -EPERM && sched_getscheduler(0) == SCHED_OTHER ? 0 : 1);
	}
	int status = -1;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(geteuid() != 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(a_file_is_replaced_whole_and_gets_its_mode),
		FILE_TEST(what_was_left_half_written_is_no_obstacle),
		FILE_TEST(a_link_is_not_followed),
		FILE_TEST(more_than_was_wanted_is_an_error),
		FILE_TEST(a_directory_that_others_can_write_to_is_refused),
		cmocka_unit_test(paths_that_would_mean_something_in_a_file_are_refused),
		cmocka_unit_test(a_child_is_read_by_lines_and_its_end_is_told),
		cmocka_unit_test(a_child_beyond_its_limit_is_killed),
		cmocka_unit_test(long_lines_are_cut_and_floods_dropped),
		cmocka_unit_test(a_program_that_is_not_there_ends_with_127),
		cmocka_unit_test(work_is_done_by_a_copy_that_has_no_descriptors_of_ours),
		cmocka_unit_test(it_is_known_whether_real_time_is_to_be_had_and_nothing_is_left_of_asking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

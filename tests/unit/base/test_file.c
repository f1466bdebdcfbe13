/* SPDX-License-Identifier: Apache-2.0
 * Small files and a loss of power: which calls were made of the disk, in which order, and what one that fails leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/file.h"

static char calls[64]; /* w, f (a file synced), r, d (a directory synced) */
static char fail_at;

static bool seen(char what)
{
	size_t n = strlen(calls);

	calls[n] = what;
	calls[n + 1] = '\0';
	errno = EIO;
	return what != fail_at;
}

/* ---- in place of the C library's ---- */

ssize_t write(int fd, const void *p, size_t n)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !seen('w'))
		n /= 2; /* full in the middle */
	return syscall(SYS_write, fd, p, n);
}

int fsync(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && seen(S_ISDIR(st.st_mode) ? 'd' : 'f') ? 0 : -1;
}

int rename(const char *from, const char *to)
{
	return seen('r') ? (int)syscall(SYS_rename, from, to) : -1;
}

/* ---- tests ---- */

static int replace(const char *path, const char *text, char fails)
{
	calls[0] = '\0';
	fail_at = fails;
	int err = file_replace(path, str_from(text));
	fail_at = 0;
	return err;
}

static void assert_is(const char *path, const char *text)
{
	char buf[64] = "";
	struct stat st;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0 && read(fd, buf, sizeof(buf) - 1) >= 0 && fstat(fd, &st) == 0);
	close(fd);
	assert_string_equal(buf, text);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_file_is_synced_before_it_has_the_name_and_the_name_after(void **state)
{
	UNUSED(state);
	char dir[] = "/tmp/postroad-file-XXXXXX", path[64], fresh[80];

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/f", dir);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	assert_int_equal(replace(path, "first", 0), 0);
	assert_string_equal(calls, "wfrd");
	assert_is(path, "first");
	for (const char *at = "wfr"; *at != '\0'; at++) {
		assert_true(replace(path, "second", *at) < 0);
		assert_is(path, "first");
		assert_int_equal(access(fresh, F_OK), -1);
	}
	assert_int_equal(replace(path, "second", 'd'), -EIO); /* not said to be durable */
	assert_is(path, "second");
	unlink(path);
	rmdir(dir);
}

static void where_there_is_no_directory_nothing_is_written(void **state)
{
	UNUSED(state);
	assert_int_equal(replace("/nonexistent/postroad/f", "x", 0), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_synced_before_it_has_the_name_and_the_name_after),
		cmocka_unit_test(where_there_is_no_directory_nothing_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

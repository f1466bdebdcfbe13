/* SPDX-License-Identifier: Apache-2.0
 * Promises about what a dead corosync leaves in memory: all of it goes, and nothing of anybody else's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agents/ha/shm.h"
#include "daemon/base/obj.h"

static char dir[64];

static void path_of(char out[256], const char *name)
{
	snprintf(out, 256, "%s/%s", dir, name);
}

static void make(const char *name)
{
	char path[256];

	path_of(path, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_return_code(fd, errno);
	close(fd);
}

static void make_folder(const char *name)
{
	char path[256];

	path_of(path, name);
	assert_return_code(mkdir(path, 0770), errno);
}

static bool is_there(const char *name)
{
	char path[256];

	path_of(path, name);
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int begin(void **state)
{
	UNUSED(state);
	snprintf(dir, sizeof(dir), "/tmp/ha-shm-XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int end(void **state)
{
	char command[96];

	UNUSED(state);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void all_of_the_dead_one_goes(void **state)
{
	UNUSED(state);
	make("qb-corosync-123-blackbox-header");
	make("qb-corosync-123-blackbox-data");
	make_folder("qb-123-77-25-AbCdEf");
	make("qb-123-77-25-AbCdEf/qb-request-cpg-header");
	make("qb-123-77-25-AbCdEf/qb-request-cpg-data");
	assert_int_equal(shm_remove(dir, 123), 4);
	assert_return_code(rmdir(dir), errno);
	assert_return_code(mkdir(dir, 0700), errno);
}

static void what_is_of_others_stays(void **state)
{
	static const char *const others[] = { "qb-corosync-1234-blackbox-data", "qb-corosync-12-blackbox-data",
					      "qb-corosync-123-other",          "corosync-123-blackbox-data",
					      "qb-1234-77-25-AbCdEf",           "qb-12-123-25-AbCdEf",
					      "qb-pacemaker-123-blackbox-data" };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		make(others[i]);
	assert_int_equal(shm_remove(dir, 123), 0);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_true(is_there(others[i]));
}

static void nothing_is_followed(void **state)
{
	char target[256], link[256];

	UNUSED(state);
	make_folder("elsewhere");
	make("elsewhere/qb-request-cpg-header");
	path_of(target, "elsewhere");
	path_of(link, "qb-123-1-1-AbCdEf");
	assert_return_code(symlink(target, link), errno);
	make_folder("qb-123-2-2-AbCdEf");
	make_folder("qb-123-2-2-AbCdEf/qb-folder");
	make("qb-123-2-2-AbCdEf/mine");
	assert_int_equal(shm_remove(dir, 123), 0);
	assert_true(is_there("elsewhere/qb-request-cpg-header"));
	assert_true(is_there("qb-123-2-2-AbCdEf/qb-folder") && is_there("qb-123-2-2-AbCdEf/mine"));
}

static void a_number_that_is_none_removes_nothing(void **state)
{
	UNUSED(state);
	make("qb-corosync-0-blackbox-data");
	assert_int_equal(shm_remove(dir, 0), 0);
	assert_int_equal(shm_remove(dir, -1), 0);
	assert_int_equal(shm_remove("/nonexistent", 1), 0);
	assert_true(is_there("qb-corosync-0-blackbox-data"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_of_the_dead_one_goes, begin, end),
		cmocka_unit_test_setup_teardown(what_is_of_others_stays, begin, end),
		cmocka_unit_test_setup_teardown(nothing_is_followed, begin, end),
		cmocka_unit_test_setup_teardown(a_number_that_is_none_removes_nothing, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * The directory of the socket, when postroad-ha comes before postroadd.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agents/ha/server.h"

static char above[64], dir[96];

static int set_up(void **state)
{
	UNUSED(state);
	snprintf(above, sizeof(above), "/tmp/ha-server-XXXXXX");
	if (mkdtemp(above) == NULL)
		return -1;
	snprintf(dir, sizeof(dir), "%s/run", above);
	return 0;
}

static int tear_down(void **state)
{
	UNUSED(state);
	(void)rmdir(dir);
	return rmdir(above);
}

static uid_t owner_after_a_start(const char *user)
{
	struct server s;
	struct stat st;
	char *why = server_open(&s, dir, user);

	if (why != NULL)
		fail_msg("%s", why);
	server_close(&s);
	assert_int_equal(lstat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0755);
	return st.st_uid;
}

static void the_directory_is_made_where_there_is_no_such_user(void **state)
{
	UNUSED(state);
	assert_int_equal(owner_after_a_start("no-such-user"), geteuid());
}

static void the_directory_is_the_users(void **state)
{
	const struct passwd *p = getpwnam("nobody");

	UNUSED(state);
	if (geteuid() != 0 || p == NULL)
		skip();
	uid_t uid = p->pw_uid;
	assert_int_equal(owner_after_a_start("nobody"), uid);
}

static void one_that_is_there_is_not_given_away(void **state)
{
	UNUSED(state);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(owner_after_a_start("nobody"), geteuid());
}

static void no_directory_above_it_is_told_with_what_to_do(void **state)
{
	struct server s;
	char deep[128];

	UNUSED(state);
	snprintf(deep, sizeof(deep), "%s/run", dir);
	char *why = server_open(&s, deep, "nobody");
	assert_non_null(why);
	assert_non_null(strstr(why, "make the directories above it"));
	free(why);
	server_close(&s);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_directory_is_made_where_there_is_no_such_user),
		CASE(the_directory_is_the_users),
		CASE(one_that_is_there_is_not_given_away),
		CASE(no_directory_above_it_is_told_with_what_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

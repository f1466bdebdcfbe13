/* SPDX-License-Identifier: Apache-2.0
 * Not being root.
 *
 * The hard thing: what is given up must be gone. So user and group are set three times over (real, effective, saved),
 * what is permitted is set and not only what is effective, and the bounding set is emptied while that may be done.
 */
#include "daemon/main/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/log.h"

static char *failed(const char *what)
{
	return xasprintf("%s: %s", what, strerror(errno));
}

/* One that is there already is whose it is. */
static char *make_own(const char *path, const struct passwd *p, mode_t mode)
{
	if (mkdir(path, mode) == 0)
		return lchown(path, p->pw_uid, p->pw_gid) == 0 ? NULL : failed(path);
	return errno == EEXIST || errno == ENOENT ? NULL : failed(path); /* parents: said later, and better */
}

static bool keep_one_capability(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	data[0].permitted = data[0].effective = 1u << CAP_NET_BIND_SERVICE;
	return syscall(SYS_capset, &head, data) == 0;
}

static void empty_bounding_set(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (cap != CAP_NET_BIND_SERVICE)
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static char *become(const struct passwd *p)
{
	empty_bounding_set();
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || initgroups(p->pw_name, p->pw_gid) != 0 ||
	    setresgid(p->pw_gid, p->pw_gid, p->pw_gid) != 0 || setresuid(p->pw_uid, p->pw_uid, p->pw_uid) != 0)
		return failed("the user cannot be changed");
	if (!keep_one_capability() || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0)
		return failed("capabilities cannot be given up");
	if (setuid(0) == 0)
		return xasprintf("root is still within reach");
	/* Else its own /proc/self would be root's: the count of open files is in it. */
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return NULL;
}

static bool is_refused(const char *dir)
{
	char *lock = xasprintf("%s/store.lock", dir); /* of a store that root had open */
	bool refused = (access(dir, R_OK | W_OK | X_OK) != 0 && errno == EACCES) ||
		       (access(lock, R_OK | W_OK) != 0 && errno == EACCES);

	free(lock);
	return refused;
}

/* What is there already is not given away, as it may be anybody's: root says whether it shall be. */
static char *try_directories(const struct node_config *config, const char *user)
{
	bool state = is_refused(config->state_dir), run = is_refused(config->run_dir);
	const char *first = state ? config->state_dir : "", *second = run ? config->run_dir : "";
	const char *blank = state && run ? " " : "";

	if (!state && !run)
		return NULL;
	return xasprintf(
		"%s%s%s: another user's, and this process becomes %s: `chown -R %s: %s%s%s` as root, or --user "
		"names whose that is",
		first, blank, second, user, user, first, blank, second);
}

char *privileges_drop(const struct node_config *config, const char *user)
{
	const struct passwd *p;
	char *why;

	if (geteuid() != 0 || (user != NULL && strcmp(user, "root") == 0))
		return NULL;
	errno = 0;
	p = getpwnam(user != NULL ? user : PRIVILEGES_USER);
	if (p == NULL && user != NULL)
		return xasprintf("there is no user \"%s\"", user);
	if (p == NULL) {
		log_msg(LOG_LEVEL_NOTICE, "privileges",
			"there is no user " PRIVILEGES_USER ": this process runs as root");
		return NULL;
	}
	why = make_own(config->state_dir, p, 0700);
	if (why == NULL)
		why = make_own(config->run_dir, p, 0755);
	if (why == NULL)
		why = become(p);
	if (why == NULL)
		why = try_directories(config, p->pw_name);
	return why;
}

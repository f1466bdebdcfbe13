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
	return why != NULL ? why : become(p);
}

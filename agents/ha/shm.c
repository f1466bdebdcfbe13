/* SPDX-License-Identifier: Apache-2.0
 * What a corosync that was killed leaves in /dev/shm.
 *
 * The hard thing: root removes, where everybody may have put something. So a name must be of the one process all
 * through, folders are opened without following, and their folders are left alone.
 */
#include "agents/ha/shm.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/obj.h"

/* The blackbox is made of files, a connection is a folder of them. */
enum { PREFIX_MAX = 48 };

static bool starts(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static DIR *open_folder(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL && fd >= 0)
		close(fd);
	return d;
}

static unsigned remove_starting(DIR *d, const char *prefix)
{
	const struct dirent *e;
	unsigned n = 0;

	while ((e = readdir(d)) != NULL)
		if (starts(e->d_name, prefix))
			n += unlinkat(dirfd(d), e->d_name, 0) == 0;
	return n;
}

static unsigned remove_connection(DIR *at, const char *name)
{
	DIR *d = open_folder(dirfd(at), name);

	if (d == NULL)
		return 0;
	unsigned n = remove_starting(d, "qb-");
	closedir(d);
	(void)unlinkat(dirfd(at), name, AT_REMOVEDIR); /* the client may have been quicker */
	return n;
}

unsigned shm_remove(const char *dir, pid_t pid)
{
	char files[PREFIX_MAX], folders[PREFIX_MAX];
	DIR *d = pid > 0 ? open_folder(AT_FDCWD, dir) : NULL;
	const struct dirent *e;

	if (d == NULL)
		return 0;
	snprintf(files, sizeof(files), "qb-corosync-%d-blackbox-", (int)pid);
	snprintf(folders, sizeof(folders), "qb-%d-", (int)pid);
	unsigned n = remove_starting(d, files);
	rewinddir(d);
	while ((e = readdir(d)) != NULL)
		if (starts(e->d_name, folders))
			n += remove_connection(d, e->d_name);
	closedir(d);
	return n;
}

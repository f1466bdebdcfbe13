/* SPDX-License-Identifier: Apache-2.0
 * Small files that must be whole, and there, after a loss of power.
 *
 * The hard thing is the name: a file that was synced is gone with the power all the same while its directory was not.
 */
#include "daemon/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/watchdog.h"

static int write_new(const char *path, struct str bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	ssize_t done = write(fd, bytes.p, bytes.n);
	int err = done < 0 ? -errno : (size_t)done != bytes.n ? -ENOSPC : 0;
	if (err == 0 && fsync(fd) != 0)
		err = -errno;
	close(fd);
	return err;
}

int file_sync_directory_of(const char *path)
{
	char *copy = xstrdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) != 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	free(copy);
	return err;
}

static int replace(const char *path, struct str bytes)
{
	char *fresh = xasprintf("%s.new", path);
	int err = write_new(fresh, bytes);

	if (err == 0 && rename(fresh, path) != 0)
		err = -errno;
	if (err != 0)
		unlink(fresh);
	free(fresh);
	return err != 0 ? err : file_sync_directory_of(path);
}

int file_replace(const char *path, struct str bytes)
{
	watchdog_wait(); /* a disk that hangs is none of this thread's doing */
	int err = replace(path, bytes);
	watchdog_waited();
	return err;
}

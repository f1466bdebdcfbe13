/* SPDX-License-Identifier: Apache-2.0
 * Files and directories of root's own.
 *
 * The hard thing: keepalived runs what its file says, as root. So directories are looked at by descriptor, not by name,
 * and what belongs to another user, or can be written by one, is refused.
 */
#include "agents/ha/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_directory(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

char *files_directory(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) != 0 && errno != EEXIST)
		return xasprintf("cannot make %s: %s", path, strerror(errno));
	int fd = open_directory(path);
	if (fd < 0 || fstat(fd, &st) != 0) {
		char *why = xasprintf("cannot open the directory %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return why;
	}
	close(fd);
	if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
		return xasprintf("%s belongs to another user, or others can write to it; remove it", path);
	return NULL;
}

static int write_all(int fd, struct str bytes)
{
	while (bytes.n > 0) {
		ssize_t n = write(fd, bytes.p, bytes.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes.p += n;
		bytes.n -= (size_t)n;
	}
	return 0;
}

/* The new file beside its place. Its name begins with a dot: nobody reads such a one. */
static int write_beside(int dir, const char *temporary, struct str bytes, mode_t mode)
{
	unlinkat(dir, temporary, 0);
	int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	int r = write_all(fd, bytes);
	if (r == 0 && fchmod(fd, mode) != 0)
		r = -errno;
	return r != 0 ? (close(fd), r) : fd;
}

int files_replace(const char *dir, const char *name, struct str bytes, mode_t mode, bool durable)
{
	char temporary[FILES_PATH_MAX];
	int at = open_directory(dir);

	if (at < 0)
		return -errno;
	snprintf(temporary, sizeof(temporary), ".%s.new", name);
	int fd = write_beside(at, temporary, bytes, mode);
	int r = fd < 0 ? fd : 0;
	if (r == 0 && durable && fsync(fd) != 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	if (r == 0 && renameat(at, temporary, at, name) != 0)
		r = -errno;
	if (r == 0 && durable && fsync(at) != 0)
		r = -errno;
	if (r != 0)
		unlinkat(at, temporary, 0);
	close(at);
	return r;
}

int files_sync(const char *dir)
{
	int at = open_directory(dir), r = 0;

	if (at < 0)
		return -errno;
	if (fsync(at) != 0)
		r = -errno;
	close(at);
	return r;
}

int files_sync_above(const char *dir)
{
	int at = open_directory(dir), r = 0;

	if (at < 0)
		return -errno;
	int above = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (above < 0 || fsync(above) != 0)
		r = -errno;
	if (above >= 0)
		close(above);
	close(at);
	return r;
}

int files_read(const char *dir, const char *name, size_t max, struct sbuf *out)
{
	int at = open_directory(dir);
	ssize_t n = 1;

	if (at < 0)
		return -errno;
	int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : 0;
	close(at);
	sbuf_reset(out);
	while (r == 0 && n > 0 && out->n <= max) {
		char buf[4096];
		n = read(fd, buf, sizeof(buf));
		if (n > 0)
			sbuf_add(out, buf, (size_t)n);
		else if (n < 0 && errno != EINTR)
			r = -errno;
	}
	if (fd >= 0)
		close(fd);
	return r == 0 && out->n > max ? -EFBIG : r;
}

void files_remove(const char *dir, const char *name)
{
	int at = open_directory(dir);

	if (at < 0)
		return;
	unlinkat(at, name, 0);
	close(at);
}

bool files_path_ok(const char *path)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
	size_t n = strlen(path);

	return path[0] == '/' && n < FILES_PATH_MAX / 2 && strspn(path, allowed) == n;
}

/* SPDX-License-Identifier: Apache-2.0
 * The node file's section on the cluster.
 *
 * The hard thing: a file that is half written keeps the daemon from starting, so it is exchanged as a whole; and when
 * the power goes after it was said to be there, it must be there.
 */
#include "daemon/cli/node_file.h"

#include "daemon/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_beside(const char *beside, const json_t *j, const struct stat *st)
{
	FILE *f;
	int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), err = 0;

	if (fd < 0)
		return -errno;
	if (fchown(fd, st->st_uid, st->st_gid) != 0 || fchmod(fd, st->st_mode & 07777) != 0)
		err = -errno;
	f = fdopen(fd, "w");
	if (f == NULL) {
		close(fd);
		return -ENOMEM;
	}
	if (err == 0 &&
	    (json_dumpf(j, f, JSON_INDENT(2)) != 0 || fputc('\n', f) == EOF || fflush(f) != 0 || fsync(fd) != 0))
		err = errno != 0 ? -errno : -EIO;
	if (fclose(f) != 0 && err == 0)
		err = -errno;
	return err;
}

static bool exchange(const char *path, const json_t *j, char **ret_why)
{
	char *beside = xasprintf("%s.new", path);
	struct stat st;
	int err = stat(path, &st) != 0 ? -errno : write_beside(beside, j, &st);

	if (err == 0 && rename(beside, path) != 0)
		err = -errno;
	if (err != 0)
		unlink(beside);
	else
		err = file_sync_directory_of(path);
	if (err != 0)
		*ret_why = xstrdup(strerror(-err));
	free(beside);
	return err == 0;
}

bool node_file_set_cluster(const char *path, const char *listen, char **ret_why)
{
	json_error_t error;
	json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

	if (!json_is_object(j)) {
		json_decref(j);
		*ret_why = xstrdup(error.text[0] != '\0' ? error.text : "it is no JSON object");
		return false;
	}
	if (listen == NULL)
		json_object_set_new(j, "cluster", json_pack("{s:s}", "engine", "none"));
	else
		json_object_set_new(j, "cluster", json_pack("{s:s, s:[s]}", "engine", "corosync", "listen", listen));
	bool ok = exchange(path, j, ret_why);
	json_decref(j);
	return ok;
}

/* SPDX-License-Identifier: Apache-2.0
 * Files and directories of root's own: made if they are missing, never where somebody else can exchange them.
 */
#ifndef POSTROAD_AGENTS_HA_FILES_H
#define POSTROAD_AGENTS_HA_FILES_H

#include <sys/types.h>

#include "daemon/base/str.h"

enum { FILES_PATH_MAX = 512 };

/* Makes the directory (its parent must be there) or checks that it is this user's alone to write in. Kept as it is: a
 * watcher inside stays connected. NULL, or a sentence the caller frees. */
char *files_directory(const char *path, mode_t mode) MUST_CHECK;
/* Replaces dir/name as a whole: a reader sees the old bytes or the new ones. With `durable` they are on stable storage
 * when this returns. 0 or -errno. */
int files_replace(const char *dir, const char *name, struct str bytes, mode_t mode, bool durable) MUST_CHECK;
/* The bytes, at most max of them. -ENOENT, -EFBIG, … */
int files_read(const char *dir, const char *name, size_t max, struct sbuf *out) MUST_CHECK;
/* Names in dir, as they are now, are on stable storage when this returns. 0 or -errno. */
int files_sync(const char *dir) MUST_CHECK;
/* The same of the name that dir itself has. */
int files_sync_above(const char *dir) MUST_CHECK;
/* No error when it is not there. */
void files_remove(const char *dir, const char *name);
/* Whether a path can stand in a configuration file as it is: absolute, "[A-Za-z0-9_./-]", and not too long for the
 * names below it. */
bool files_path_ok(const char *path);

#endif

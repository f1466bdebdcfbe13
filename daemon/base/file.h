/* SPDX-License-Identifier: Apache-2.0
 * Small files that must be whole, and there, after a loss of power.
 */
#ifndef POSTROAD_BASE_FILE_H
#define POSTROAD_BASE_FILE_H

#include "daemon/base/str.h"

/* Puts bytes in the place of what is at path (mode 0600), at once or not at all: by way of PATH.new, the file synced
 * before it gets the name and the directory after. 0 when durable, or -errno: then the old file is there, or the new
 * one, whole. Blocks for two syncs. */
int file_replace(const char *path, struct str bytes) MUST_CHECK;

/* Makes names in the directory that path is in durable: after a rename, say. 0, or -errno. Blocks for a sync. */
int file_sync_directory_of(const char *path) MUST_CHECK;

#endif

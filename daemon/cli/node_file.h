/* SPDX-License-Identifier: Apache-2.0
 * The node file's section on the cluster, written for the administrator.
 */
#ifndef POSTROAD_CLI_NODE_FILE_H
#define POSTROAD_CLI_NODE_FILE_H

#include "daemon/base/obj.h"

/* Sets "cluster" to engine corosync with that address, or, with listen NULL, to none; all else stays, owner and mode
 * too; whole or not at all. False: *ret_why is a sentence the caller frees. */
bool node_file_set_cluster(const char *path, const char *listen, char **ret_why) MUST_CHECK;

#endif

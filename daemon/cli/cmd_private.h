/* SPDX-License-Identifier: Apache-2.0
 * What the files of more than one command need: tables, and calls.
 */
#ifndef POSTROAD_CLI_CMD_PRIVATE_H
#define POSTROAD_CLI_CMD_PRIVATE_H

#include "daemon/cli/cli.h"

/* An object of pools, as GET /pools answers it. */
void cmd_server_table(const struct cli *c, json_t *pools);
/* An object of nodes, as GET /nodes answers it. */
void cmd_node_table(const struct cli *c, json_t *nodes);
/* One call of the API with a body (NULL = none), which is stolen. Returns as http_call(). */
int cmd_cluster_call(struct cli *c, const char *method, const char *path, json_t *stolen,
		     struct http_reply *ret) MUST_CHECK;

#endif

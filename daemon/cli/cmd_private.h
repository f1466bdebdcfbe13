/* SPDX-License-Identifier: Apache-2.0
 * Tables that more than one command prints.
 */
#ifndef POSTROAD_CLI_CMD_PRIVATE_H
#define POSTROAD_CLI_CMD_PRIVATE_H

#include "daemon/cli/cli.h"

/* An object of pools, as GET /pools answers it. */
void cmd_server_table(const struct cli *c, json_t *pools);
/* An object of nodes, as GET /nodes answers it. */
void cmd_node_table(const struct cli *c, json_t *nodes);

#endif

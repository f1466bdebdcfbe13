/* SPDX-License-Identifier: Apache-2.0
 * One node: the store, the registry, the engine and the API put together, and its life from start to the last session.
 */
#ifndef POSTROAD_MAIN_NODE_H
#define POSTROAD_MAIN_NODE_H

#include "daemon/conf/conf.h"

#define EXIT_FAILED 1
#define EXIT_INVALID 2

/* Runs until a signal ends it; returns the exit status. */
int node_run(const struct node_config *n, const char *node_file) MUST_CHECK;
/* Validates the configuration that a start would use. Exit status; says on standard error what is wrong. */
int node_check(const struct node_config *n) MUST_CHECK;

#endif

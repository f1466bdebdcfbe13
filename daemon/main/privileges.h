/* SPDX-License-Identifier: Apache-2.0
 * Not being root: who starts postroadd as root gets a process of the user postroad, as the unit does.
 */
#ifndef POSTROAD_MAIN_PRIVILEGES_H
#define POSTROAD_MAIN_PRIVILEGES_H

#include "daemon/conf/conf.h"

#define PRIVILEGES_USER "postroad"

/* Where this process is root: becomes this user with its groups, and keeps CAP_NET_BIND_SERVICE alone. Directories of
 * the node file that do not exist are made first and are that user's; one that it may not use is refused. user NULL =
 * PRIVILEGES_USER if there is one, else nothing; "root" = nothing. Before there is any thread. NULL, or a sentence the
 * caller frees. */
char *privileges_drop(const struct node_config *config, const char *user) MUST_CHECK;

#endif

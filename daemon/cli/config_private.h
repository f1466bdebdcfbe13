/* SPDX-License-Identifier: Apache-2.0
 * Between cmd_config.c and cmd_edit.c.
 */
#ifndef POSTROAD_CLI_CONFIG_PRIVATE_H
#define POSTROAD_CLI_CONFIG_PRIVATE_H

#include "daemon/cli/cli.h"

#define CONFIG_MAX ((size_t)8 << 20) /* what the API takes */

/* An object, or NULL with the line and column on standard error. */
json_t *config_parse_text(const char *name, const char *text, size_t n) MUST_CHECK;
/* Difference, then PUT under the ETag; says what changed, or that nothing did. */
int config_put(struct cli *c, const json_t *doc, const char *etag, bool dry_run) MUST_CHECK;

#endif

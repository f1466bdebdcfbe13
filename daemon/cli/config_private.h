/* SPDX-License-Identifier: Apache-2.0
 * Between cmd_config.c and cmd_edit.c.
 */
#ifndef POSTROAD_CLI_CONFIG_PRIVATE_H
#define POSTROAD_CLI_CONFIG_PRIVATE_H

#include "daemon/cli/cli.h"

#define CONFIG_MAX ((size_t)8 << 20) /* what the API takes */

/* An object, or NULL with the line and column on standard error. */
json_t *config_parse_text(const char *name, const char *text, size_t n) MUST_CHECK;
struct config_change {
	const json_t *before; /* the whole document as it is, of etag */
	const json_t *after;
	const char *etag;
	bool dry_run;
};

/* Difference, then PUT under the ETag; says what changed, or that nothing did. Asks first where all users or all tokens
 * would be gone: they come by commands of their own, and a file may know nothing of them. */
int config_put(struct cli *c, const struct config_change *change) MUST_CHECK;

#endif

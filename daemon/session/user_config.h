/* SPDX-License-Identifier: Apache-2.0
 * A user who may log in, as the configuration has him. Immutable; belongs to the configuration.
 */
#ifndef POSTROAD_SESSION_USER_CONFIG_H
#define POSTROAD_SESSION_USER_CONFIG_H

#include "daemon/session/snapshot.h"

struct user_config {
	const char *name;
	/* Secrets of which at least one is there; NULL = none. */
	const char *password;     /* crypt(5), see daemon/base/password.h */
	const char *scram_sha256; /* valid text for scram_verifier_parse() */
	struct cidr_list allow;   /* absent = from everywhere */
};

#endif

/* SPDX-License-Identifier: Apache-2.0
 * What postroad-ha needs of the machine: programs, a user, systemd; and what to do where it is missing.
 *
 * Each returns NULL where it is there, or a sentence that the caller frees. They may wait for a directory service or a
 * disk: not for the thread that keeps leases.
 */
#ifndef POSTROAD_AGENTS_HA_NEEDS_H
#define POSTROAD_AGENTS_HA_NEEDS_H

#include "agents/ha/corosync.h"

/* A path, or a name that is looked for in PATH. package: what brings it, on Debian. */
char *needs_program(const char *program, const char *package) MUST_CHECK;
char *needs_user(const char *user) MUST_CHECK;
/* Of a corosync that is not a child. */
char *needs_systemd(void) MUST_CHECK;
/* All that a corosync started as `o` says needs, in one sentence that a message can carry. */
char *needs_corosync(const struct corosync_options *o) MUST_CHECK;

#endif

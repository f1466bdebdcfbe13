/* SPDX-License-Identifier: Apache-2.0
 * Whether a process runs, from /proc.
 */
#ifndef POSTROAD_AGENTS_HA_PROCESS_H
#define POSTROAD_AGENTS_HA_PROCESS_H

#include <sys/types.h>

#include "daemon/base/str.h"

enum process_state { PROCESS_GONE, PROCESS_STOPPED, PROCESS_RUNS };

/* From the bytes of /proc/PID/stat. False = not of that form. */
bool process_parse(struct str stat, char *ret_state, pid_t *ret_parent) MUST_CHECK;
/* parent 0 = whichever. A zombie, and one with another parent, is gone. */
enum process_state process_look(pid_t pid, pid_t parent);
/* The number in dir/name; 0 = there is none. */
pid_t process_of_file(const char *dir, const char *name);
/* The first child of the first thread of a process; 0 = it has none. */
pid_t process_child_of(pid_t parent);

#endif

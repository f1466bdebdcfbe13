/* SPDX-License-Identifier: Apache-2.0
 * What a corosync that was killed leaves in /dev/shm: 8 MiB of its own log in memory, and 3 MiB for each connection.
 */
#ifndef POSTROAD_AGENTS_HA_SHM_H
#define POSTROAD_AGENTS_HA_SHM_H

#include <sys/types.h>

#define SHM_DIR "/dev/shm"

/* Removes from dir what libqb made there for the corosync with this process id, which has ended. Everybody may write to
 * dir, so nothing is followed, and nothing removed but files in folders of that name. Returns how many. */
unsigned shm_remove(const char *dir, pid_t pid);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Telling systemd, by the protocol of sd_notify(3).
 */
#ifndef POSTROAD_AGENTS_HA_NOTIFY_H
#define POSTROAD_AGENTS_HA_NOTIFY_H

/* "READY=1", "WATCHDOG=1", "STOPPING=1". Does nothing where nobody asked for it, and never waits. */
void notify_send(const char *state);

#endif

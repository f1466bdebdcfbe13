/* SPDX-License-Identifier: Apache-2.0
 * Telling systemd (sd_notify(3)): a datagram to a socket named in the environment, nothing where there is none.
 */
#ifndef POSTROAD_MAIN_NOTIFY_H
#define POSTROAD_MAIN_NOTIFY_H

#include "daemon/base/obj.h"

/* "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=…"; several separated by line feeds. */
void notify_send(const char *state);
/* How often WATCHDOG=1 is expected, in milliseconds; 0 = not at all. */
int64_t notify_watchdog_ms(void);

#endif

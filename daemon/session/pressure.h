/* SPDX-License-Identifier: Apache-2.0
 * What is given up while transactions wait because servers are full.
 *
 * A slot of a server is worth little to a client that does not use it: one that stays silent behind its RCPT, or sends
 * its content by drops. As long as nobody else wants the slot it may keep it until the ordinary deadlines. When a
 * client that holds fewer waits for one, it may keep it for PRESSURE_MS without progress.
 */
#ifndef POSTROAD_SESSION_PRESSURE_H
#define POSTROAD_SESSION_PRESSURE_H

#include "daemon/session/worker.h"

/* Progress: a command that was answered, or content of at least caps.min_data_rate. */
#define PRESSURE_MS 2000

/* Ends sessions of w that hold back what others wait for. To be called a few times a second; costs nothing while nobody
 * waits. */
void pressure_look(struct worker *w);

#endif

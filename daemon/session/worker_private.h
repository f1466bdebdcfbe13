/* SPDX-License-Identifier: Apache-2.0
 * What the engine calls in a worker.
 */
#ifndef POSTROAD_SESSION_WORKER_PRIVATE_H
#define POSTROAD_SESSION_WORKER_PRIVATE_H

#include "daemon/session/worker.h"

/* A connection came; arg is the struct worker_socket. */
void worker_on_accept(int fd, const struct addr *peer, void *arg);

#endif

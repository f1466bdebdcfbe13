/* SPDX-License-Identifier: Apache-2.0
 * What the engine calls in a worker.
 */
#ifndef POSTROAD_SESSION_WORKER_PRIVATE_H
#define POSTROAD_SESSION_WORKER_PRIVATE_H

#include "daemon/session/worker.h"

/* A connection came; arg is the struct worker_socket. */
void worker_on_accept(int fd, const struct addr *peer, void *arg);
/* Lets a client in, or not: the checks of a new connection, once its PROXY header has told whose it is. It is counted
 * in the listener's connections already; a->fd is taken over. */
void worker_admit(struct worker *w, struct listener_runtime *run, struct arrival *a);

#endif

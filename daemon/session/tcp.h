/* SPDX-License-Identifier: Apache-2.0
 * Sessions of `mode: tcp` listeners: bytes through, nothing understood.
 */
#ifndef POSTROAD_SESSION_TCP_H
#define POSTROAD_SESSION_TCP_H

#include "daemon/session/clients.h"
#include "daemon/session/worker.h"

struct tcp_session;

void tcp_accept(struct worker *w, const struct listener_view *lv, const struct arrival *a);
/* Ends all of a worker's; at a drain's end or when their listener is gone (run NULL = all). */
void tcp_close_all(struct worker *w, const struct listener_runtime *run);
void tcp_each(struct worker *w, void (*fn)(const struct session_info *info, void *arg), void *arg);
bool tcp_kill(struct worker *w, uint64_t number);

#endif

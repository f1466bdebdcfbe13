/* SPDX-License-Identifier: Apache-2.0
 * Connections from proxies (`accept_proxy`): nothing is said, and no TLS begun, until the PROXY header is there.
 */
#ifndef POSTROAD_SESSION_PROXIED_H
#define POSTROAD_SESSION_PROXIED_H

#include "daemon/session/worker.h"

/* This peer has to send a PROXY header. */
bool proxied_is_due(const struct listener_config *cf, const struct addr *peer);
/* Waits for it, then worker_admit(). fd is taken over; the connection is counted in the listener's. */
void proxied_await(struct worker *w, const struct listener_view *lv, int fd, const struct addr *peer);
/* Ends those that wait; of one listener, or all (run NULL). */
void proxied_close_all(struct worker *w, const struct listener_runtime *run);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * TLS handshakes, counted: tls_handshakes_total.
 */
#ifndef POSTROAD_NET_HANDSHAKES_H
#define POSTROAD_NET_HANDSHAKES_H

#include "daemon/net/stream_tls.h"

/* With clients, with servers for mail, and with servers for health checks. */
enum handshake_side { HANDSHAKE_CLIENT, HANDSHAKE_SERVER, HANDSHAKE_CHECK, HANDSHAKE_SIDES };
extern const char *const handshake_side_names[HANDSHAKE_SIDES];

/* Makes the series, so that they are there from the start. Before any worker. */
void handshakes_init(void);
/* One more; the stream's handshake is complete. */
void handshakes_succeeded(enum handshake_side side, const struct stream_tls_info *info);
void handshakes_failed(enum handshake_side side);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * TLS handshakes, counted: tls_handshakes_total.
 */
#ifndef POSTROAD_SESSION_HANDSHAKES_H
#define POSTROAD_SESSION_HANDSHAKES_H

#include "daemon/net/stream_tls.h"

enum handshake_side { HANDSHAKE_CLIENT, HANDSHAKE_SERVER, HANDSHAKE_SIDES };

/* Makes the series, so that they are there from the start. Before any worker. */
void handshakes_init(void);
/* One more; the stream's handshake is complete. */
void handshakes_succeeded(enum handshake_side side, const struct stream_tls_info *info);
void handshakes_failed(enum handshake_side side);

#endif

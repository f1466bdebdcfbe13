/* SPDX-License-Identifier: Apache-2.0
 * A connection to a server before it is ready (BACK_BANNER to BACK_AUTH): from the connection to BACK_READY, or to its
 * failure. The borrower is told either.
 */
#ifndef POSTROAD_SESSION_BACK_GREET_H
#define POSTROAD_SESSION_BACK_GREET_H

#include "daemon/session/back.h"

/* The connection stands: PROXY, then TLS or the banner. */
void back_greet_connected(struct back *b);
/* The handshake is complete: what was said before is forgotten. Of stream_ops; owner is the back. */
void back_greet_on_tls(struct stream *st, void *owner);
/* A reply. False: not in a state of these, it answers something else. */
bool back_greet_reply(struct back *b, const struct smtp_reply *r);
/* What it announced counts as far as its pool lets it: again when that changes. */
void back_greet_use_exts(struct back *b);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * BDAT from the client, RFC 3030: chunks in, one reply each. How their content goes on is back_content.h.
 */
#ifndef POSTROAD_SESSION_CHUNK_H
#define POSTROAD_SESSION_CHUNK_H

#include "daemon/session/front.h"

/* The command. Its octets are due afterwards, whatever it is answered. */
enum step chunk_begin(struct session *s, struct str args);
/* Octets in FRONT_CHUNK; returns how many were used. Less than n: the chunk ended, or back-pressure (*ret_pause). */
size_t chunk_feed(struct session *s, const char *p, size_t n, bool *ret_pause);
/* The transaction takes content now, or its outcome is known: reads on, and ends a chunk that is complete. */
void chunk_go_on(struct session *s);
/* A chunk of this transaction came. */
bool chunk_any(const struct session *s);
/* MAIL, RSET, EHLO, HELO were accepted: chunks may be content again. */
void chunk_reset(struct session *s);
/* When a client that stays silent in a chunk has been waited for long enough. */
int64_t chunk_deadline_ms(const struct session *s);

#endif

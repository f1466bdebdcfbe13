/* SPDX-License-Identifier: Apache-2.0
 * Recognising ourselves: a server's address may lead back to our own listeners in ways that comparing addresses does
 * not show (address translation, a forwarder), and a server may be another balancer that has us for a server. RFC 5321
 * 6.3 asks for it.
 */
#ifndef POSTROAD_POOL_SELF_H
#define POSTROAD_POOL_SELF_H

#include "daemon/base/str.h"

/* What our greetings end with: of this process alone, made at random at the first call. Any thread. */
const char *self_token(void);
/* The greeting of a server (one reply, RFC 5321 4.2) holds our token: we are talking to ourselves. */
bool self_greets(struct str greeting);
/* The value of XHOPS (smtp.h) holds our token: what begins there passed this process before. */
bool self_passed(struct str hops);

#endif

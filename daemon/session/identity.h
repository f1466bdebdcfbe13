/* SPDX-License-Identifier: Apache-2.0
 * Who the client of a session is, in the words in which servers are told.
 */
#ifndef POSTROAD_SESSION_IDENTITY_H
#define POSTROAD_SESSION_IDENTITY_H

#include "daemon/session/session.h"
#include "daemon/smtp/proxy.h"
#include "daemon/smtp/xclient.h"

/* The PROXY header of this session's connections; its length. */
size_t identity_proxy(const struct session *s, enum identity_proxy version, char out[PROXY_SEND_MAX]);
/* The same where there is no more than a connection from client to local, with an id. */
size_t identity_proxy_plain(enum identity_proxy version, const struct addr ends[2], const char *id,
			    char out[PROXY_SEND_MAX]);
/* Views point into the session; ident may be NULL. */
void identity_client(const struct session *s, const char *ident, struct xclient_client *ret);

#endif

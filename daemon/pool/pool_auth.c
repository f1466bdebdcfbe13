/* SPDX-License-Identifier: Apache-2.0
 * Our own login at servers: whether it may be sent there, and when two logins are the same.
 *
 * The hard thing is that a password once sent in the clear cannot be called back: what the configuration's check has
 * allowed is looked at again for each connection, since a server may drop STARTTLS or move to another address.
 */
#include "daemon/pool/pool.h"

#include <string.h>

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool pool_auth_same(const struct pool_auth_config *a, const struct pool_auth_config *b)
{
	return same_text(a->user, b->user) && same_text(a->password, b->password);
}

const char *pool_auth_hindrance(const struct pool_auth_config *a, const struct addr *server, bool secure,
				unsigned offered)
{
	if (!secure && !a->plaintext && !addr_is_loopback(server))
		return "no login without TLS";
	if (offered & (a->mechanism == SASL_PLAIN ? SMTP_AUTH_PLAIN : SMTP_AUTH_LOGIN))
		return NULL;
	return a->mechanism == SASL_PLAIN ? "the server does not offer AUTH PLAIN"
					  : "the server does not offer AUTH LOGIN";
}

void pool_auth_begin(const struct pool_auth_config *a, struct sasl_client *ret)
{
	sasl_client_init(ret, a->mechanism, str_from(a->user), str_from(a->password));
}

/* SPDX-License-Identifier: Apache-2.0
 * Connections to servers: their names for TLS, and what makes two alike.
 */
#include "daemon/pool/pool.h"

const char *const identity_proxy_names[IDENTITY_PROXY_COUNT] = { "none", "v1", "v2" };
const char *const pool_tls_names[POOL_TLS_COUNT] = { "none", "may", "encrypt", "verify" };

const char *pool_tls_name(const struct pool_config *cf, const struct server *s)
{
	if (cf->tls.server_name != NULL)
		return cf->tls.server_name;
	for (size_t i = 0; i < cf->n_servers; i++)
		if (cf->servers[i].source == SERVER_FROM_DNS && strcmp(cf->servers[i].name, s->config_name) == 0)
			return cf->servers[i].dns_name;
	return NULL;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool pool_tls_same(const struct pool_tls_config *a, const struct pool_tls_config *b)
{
	return a->mode == b->mode && a->implicit == b->implicit && same_text(a->ca_file, b->ca_file) &&
	       same_text(a->server_name, b->server_name) &&
	       (a->mode != POOL_TLS_VERIFY || tls_client_same_trust(a->client, b->client));
}

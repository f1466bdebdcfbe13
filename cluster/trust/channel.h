/* SPDX-License-Identifier: Apache-2.0
 * TLS between nodes: contexts, and who the other end is. No socket and no loop; whoever has those makes an SSL of a
 * context here.
 *
 * TLS 1.3 alone, no resumption, so that each connection is judged by the table of nodes as it is then. A member shows
 * its node certificate and demands one. A node that joins has none: it believes whoever has a certificate of the
 * authority whose fingerprint its token names, and proves the token inside (token.h), bound to this connection.
 */
#ifndef POSTROAD_CLUSTER_TRUST_CHANNEL_H
#define POSTROAD_CLUSTER_TRUST_CHANNEL_H

#include <openssl/ssl.h>

#include "cluster/trust/ca.h"

enum { CHANNEL_BINDING_LEN = 32 };

/* Whether this node may speak now: by the table of nodes (members_certified()). Asked in the handshake, after the
 * authority's signature and the cluster's name were found right. */
typedef bool channel_member_fn(void *arg, const struct ca_identity *peer);

struct channel_config {
	const struct ca *ca;                 /* copied into the context */
	struct str certificate_pem, key_pem; /* this node's; the key is a secret */
	channel_member_fn *member;
	void *arg;
};

/* For SSL_free()d connections; SSL_CTX_free(). NULL: *ret_why is a sentence that the caller frees.
 * The server takes connections without a certificate, too: whoever sits above it lets those do nothing but join, see
 * channel_peer(). The authority's certificate goes along, as a joining node has not got it. A client without a
 * certificate (certificate_pem and key_pem empty) shows none, and judges the server as any other. */
SSL_CTX *channel_server(const struct channel_config *c, char **ret_why) MUST_CHECK;
SSL_CTX *channel_client(const struct channel_config *c, char **ret_why) MUST_CHECK;
/* Of a node that has nothing but the fingerprint of the authority from its token. */
SSL_CTX *channel_joiner(const uint8_t authority[CA_FINGERPRINT_LEN], char **ret_why) MUST_CHECK;

enum channel_peer { CHANNEL_NOBODY, CHANNEL_STRANGER, CHANNEL_NODE };
/* After the handshake. NODE: *ret says which; on a connection that lives long, ask the table again before each answer.
 * STRANGER: a server's view of one without a certificate. NOBODY: the handshake is not over. */
enum channel_peer channel_peer(const SSL *ssl, struct ca_identity *ret);
/* The authority's certificate as a joiner's server showed it, appended as PEM. False = not a joiner's, or not yet. */
bool channel_authority_pem(const SSL *ssl, struct sbuf *out) MUST_CHECK;

/* What a proof is bound to: the same at both ends of one connection and of no other (RFC 8446 7.5, RFC 5705). False:
 * the handshake is not over. */
bool channel_binding(SSL *ssl, uint8_t ret[CHANNEL_BINDING_LEN]) MUST_CHECK;

#endif

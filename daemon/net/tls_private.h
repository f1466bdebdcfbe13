/* SPDX-License-Identifier: Apache-2.0
 * What the files of TLS share: the contexts' side of a connection.
 */
#ifndef POSTROAD_NET_TLS_PRIVATE_H
#define POSTROAD_NET_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "daemon/net/tls.h"

#define TLS_HASH_MAX 64 /* bytes of the longest hash */

/* What a connection keeps for its context's callbacks, by SSL_set_app_data(). */
struct tls_link {
	struct tls_server *server; /* one of the two is set; references */
	struct tls_client *client;
	char *key; /* client: under which sessions are remembered; NULL = they are not */
	char *sni; /* server: the name the client asked for, in lower case; NULL = none */
};

/* A new SSL of this side, `link` filled in and attached; end with tls_link_fini() after SSL_free(). */
SSL *tls_server_ssl(struct tls_server *s, struct tls_link *link);
/* `name` is for SNI and verification, may be an address, may be NULL or "": then there is no SNI and `addr` is
 * verified. */
SSL *tls_client_ssl(struct tls_client *c, const struct addr *addr, const char *name, struct tls_link *link);
void tls_link_fini(struct tls_link *link);

/* Whether this context verifies chain and name. */
bool tls_client_verifies(const struct tls_client *c);
/* A handshake is complete; the sessions that OpenSSL does not tell of are remembered too. */
void tls_client_done(SSL *ssl);
/* A handshake failed: what was remembered for that key is forgotten, so that it cannot fail the next one too. */
void tls_client_forget(struct tls_client *c, const char *key);
/* The certificate a server has if it has one only, or NULL: which one a resumed session began with is not known. */
X509 *tls_server_only_certificate(const struct tls_server *s);

/* Puts the certificate into a context or a connection (the other is NULL). False: OpenSSL's error queue says why. */
bool tls_certificate_use(const struct tls_certificate *c, SSL_CTX *ctx, SSL *ssl) MUST_CHECK;
X509 *tls_certificate_x509(const struct tls_certificate *c);
bool tls_certificate_same_kind(const struct tls_certificate *a, const struct tls_certificate *b);

/* Seals (enc 1) or opens a ticket; the callback of SSL_CTX_set_tlsext_ticket_key_evp_cb(3). */
int tls_tickets_crypt(struct tls_tickets *t, unsigned char *key_name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		      EVP_MAC_CTX *mac, int enc);

/* What both sides' contexts have in common. */
void tls_common_options(SSL_CTX *ctx, enum tls_version min);

/* What is wrong with a file before it is opened, or NULL; static text. What is no regular file (a fifo, a device) could
 * hold up the thread for ever. */
const char *tls_file_trouble(const char *file);

/* What OpenSSL's error queue says, in words for an operator; empties the queue. Never NULL; the caller frees. */
char *tls_error_text(void);
/* Why a handshake failed, the verdict on the peer's certificate included. Empties the queue; the caller frees. */
char *tls_handshake_error(const SSL *ssl);

#endif

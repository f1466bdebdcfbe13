/* SPDX-License-Identifier: Apache-2.0
 * What TLS needs besides a connection: certificates, contexts for the server's and the client's side, ticket keys.
 *
 * All four are counted references and may be shared between threads: certificates and contexts never change after they
 * are made, ticket keys and the sessions a client context remembers are locked. A connection holds the context it was
 * started with, so a new configuration takes nothing away from it.
 *
 * Where a `char **ret_why` is filled, it is one sentence for an operator, with the certificate's name and the file; the
 * caller frees it.
 */
#ifndef POSTROAD_NET_TLS_H
#define POSTROAD_NET_TLS_H

#include "daemon/base/addr.h"
#include "daemon/base/str.h"

enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };

/* ---- certificates ---- */

struct tls_certificate;

/* Reads a chain (leaf first) and its key from PEM files. key_file NULL or "" = the key is in certificate_file. The key
 * must match and be strong enough; the dates are not judged. `name` is what errors call it. */
struct tls_certificate *tls_certificate_load(const char *name, const char *certificate_file, const char *key_file,
					     char **ret_why) MUST_CHECK;
/* The same from PEM text; both may be the same text. */
struct tls_certificate *tls_certificate_parse(const char *name, struct str certificate_pem, struct str key_pem,
					      char **ret_why) MUST_CHECK;
struct tls_certificate *tls_certificate_ref(struct tls_certificate *c);
void tls_certificate_unref(struct tls_certificate *c);
const char *tls_certificate_name(const struct tls_certificate *c);
/* Seconds since 1970: when the leaf ceases to be valid. */
int64_t tls_certificate_not_after(const struct tls_certificate *c);
/* "RSA", "EC", "ED25519", …: OpenSSL's name of the key's kind. */
const char *tls_certificate_kind(const struct tls_certificate *c);
/* The i-th DNS name it is good for, in lower case, or NULL behind the last: the subject alternative names, or the
 * common name where there are none (RFC 6125 6.4.4). */
const char *tls_certificate_dns_name(const struct tls_certificate *c, size_t i);
/* Whether it is good for that host name. "*." stands for exactly one label (RFC 6125 6.4.3); exact_only passes those
 * over. */
bool tls_certificate_covers(const struct tls_certificate *c, const char *host, bool exact_only);

/* ---- ticket keys ---- */

/* The keys that seal session tickets (RFC 5077 4, RFC 8446 4.6.1). The newest seals; the older ones still open, and who
 * shows a ticket of theirs gets a new one. Contexts and nodes that share the keys resume each other's sessions. */
struct tls_tickets;

#define TLS_TICKETS_MAX 4 /* keys: one that seals and those before it */
#define TLS_TICKETS_LIFETIME_S 7200
#define TLS_TICKETS_HEAD_LEN 2 /* version, number of keys */
#define TLS_TICKET_KEY_LEN 80
#define TLS_TICKETS_EXPORT_MAX (TLS_TICKETS_HEAD_LEN + TLS_TICKETS_MAX * TLS_TICKET_KEY_LEN)

/* With one fresh random key. */
struct tls_tickets *tls_tickets_new(void);
struct tls_tickets *tls_tickets_ref(struct tls_tickets *t);
void tls_tickets_unref(struct tls_tickets *t);
/* A fresh key becomes the newest; the oldest beyond TLS_TICKETS_MAX is forgotten. To be called no more often than every
 * TLS_TICKETS_LIFETIME_S / (TLS_TICKETS_MAX - 1) seconds, or tickets die before their time. From any thread. */
void tls_tickets_rotate(struct tls_tickets *t);
/* The keys as bytes, for the other nodes: the head, then each key, the newest first. Secret: OPENSSL_cleanse() them
 * after use. Returns the length. */
size_t tls_tickets_export(struct tls_tickets *t, uint8_t out[TLS_TICKETS_EXPORT_MAX]);
/* Takes the place of all keys. False, and nothing has changed: not what tls_tickets_export() wrote. */
bool tls_tickets_import(struct tls_tickets *t, const uint8_t *p, size_t n) MUST_CHECK;

/* ---- the server's side ---- */

struct tls_server;

struct tls_server_conf {
	/* Who this is, the same on all nodes: a ticket is taken only by a context of the same id and client CA. */
	const char *id;
	struct tls_certificate *const *certificates; /* the first is the default; references are taken */
	size_t n_certificates;                       /* at least 1 */
	enum tls_version min_version;
	/* NULL or "" = client certificates are not asked for. With it they are asked for and never required: one that
	 * does not verify is recorded as such and the handshake goes on, because a mail server shows the certificate it
	 * has to whoever asks, and refusing would lose its mail. Whoever decides by certificate looks at `verified`. */
	const char *client_ca_file;
	struct tls_tickets *tickets; /* NULL = no resumption; a reference is taken */
};

/* AEAD ciphers with forward secrecy only, the server's order. A client that offers application protocols (RFC 7301)
 * must offer "smtp" among them: what speaks HTTP to a mail port is up to no good (ALPACA, CVE-2021-3618).
 *
 * By SNI, all certificates good for the name are candidates, exact names before wildcards; of those the first of each
 * kind of key, so that RSA and ECDSA stand side by side. Without a match (or SNI): the first certificate, and what is
 * good for its names too. */
struct tls_server *tls_server_new(const struct tls_server_conf *conf, char **ret_why) MUST_CHECK;
struct tls_server *tls_server_ref(struct tls_server *s);
void tls_server_unref(struct tls_server *s);

/* ---- the client's side ---- */

struct tls_client;

struct tls_client_conf {
	bool verify;         /* chain and name; false = any certificate will do */
	const char *ca_file; /* PEM; NULL or "" = the system's store */
	enum tls_version min_version;
	size_t sessions_max; /* remembered for resumption; 0 = none */
};

/* Sessions are remembered per server address and name within this one context, and never meet another's
 * (CVE-2014-3616). */
struct tls_client *tls_client_new(const struct tls_client_conf *conf, char **ret_why) MUST_CHECK;
struct tls_client *tls_client_ref(struct tls_client *c);
void tls_client_unref(struct tls_client *c);
/* What one of them accepted, the other would: both verify, by the same authorities, or neither does. NULL is like NULL
 * alone. The system's store is taken to be always the same. */
bool tls_client_same_trust(const struct tls_client *a, const struct tls_client *b);
/* Sessions remembered now. */
size_t tls_client_sessions(struct tls_client *c);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The cluster's certificate authority and the certificates of its nodes.
 *
 * P-256 with SHA-256: what every TLS library in use takes, those in FIPS mode too. A node makes its own key and asks
 * with a PKCS #10 request (RFC 2986), of which only the public key is taken: who it is, the table of nodes says. No
 * clock: the time is the caller's.
 */
#ifndef POSTROAD_CLUSTER_TRUST_CA_H
#define POSTROAD_CLUSTER_TRUST_CA_H

#include <openssl/x509.h>

#include "daemon/base/str.h"

enum {
	CA_FINGERPRINT_LEN = 32, /* SHA-256 of the certificate's DER */
	CA_PEM_MAX = 16 * 1024,  /* bytes of anything that is read here */
	CA_NAME_MAX = 63,
	CA_YEARS = 20,
	CA_NODE_DAYS = 365,
	CA_RENEW_DAYS = 120,     /* a node's certificate is renewed when it has less than this left */
	CA_BACKDATE_SEC = 86400, /* clocks that are behind take it, too */
};

struct ca;

/* Whom a node certificate names: its subjectAltName has URI:postroad:CLUSTER:ID and DNS:NAME (RFC 5280 4.2.1.6). */
struct ca_identity {
	char cluster[CA_NAME_MAX + 1], name[CA_NAME_MAX + 1];
	uint32_t id;
	uint8_t fingerprint[CA_FINGERPRINT_LEN];
	double not_after; /* seconds since 1970 */
};

/* A new authority. cluster: letters, digits, dots, dashes, underscores. NULL = OpenSSL failed; *ret_why is a sentence
 * that the caller frees, as everywhere here. */
struct ca *ca_make(const char *cluster, double now, char **ret_why) MUST_CHECK;
/* From PEM. key empty = this node can verify and not issue. NULL: not such, or the key is another's. */
struct ca *ca_load(struct str certificate, struct str key, char **ret_why) MUST_CHECK;
/* Accepts NULL. The key is wiped. */
void ca_free(struct ca *ca);
bool ca_can_issue(const struct ca *ca);
/* Borrowed. */
X509 *ca_x509(const struct ca *ca);
void ca_fingerprint(const struct ca *ca, uint8_t ret[CA_FINGERPRINT_LEN]);
double ca_not_after(const struct ca *ca);
/* Append PEM. The key's text is a secret: wipe it. ca_key_pem() appends nothing where there is none. */
void ca_certificate_pem(const struct ca *ca, struct sbuf *out);
void ca_key_pem(const struct ca *ca, struct sbuf *out);

/* A node's new key (a secret) and the request for its certificate, as PEM. False = OpenSSL failed. */
bool ca_request_make(struct sbuf *key_pem, struct sbuf *request_pem) MUST_CHECK;
/* The certificate for a request, appended as PEM; `who` names cluster, name and id; its fingerprint and end come out.
 * False: not a request, its signature is not by its key, another kind of key, no key of the authority here. */
bool ca_issue(const struct ca *ca, struct str request_pem, struct ca_identity *who, double now, struct sbuf *out,
	      char **ret_why) MUST_CHECK;
/* What a certificate says of whom it is for, verified by nobody. False: not of such a form. */
bool ca_identity_of(const X509 *x, struct ca_identity *ret) MUST_CHECK;
/* The same of PEM. */
bool ca_read(struct str certificate_pem, struct ca_identity *ret) MUST_CHECK;
/* PEM to identity: issued by this authority, of this cluster, in its time. */
bool ca_verify(const struct ca *ca, struct str certificate_pem, double now, struct ca_identity *ret,
	       char **ret_why) MUST_CHECK;
/* Whether a certificate is for a key, both PEM. */
bool ca_key_fits(struct str certificate_pem, struct str key_pem) MUST_CHECK;
bool ca_renewal_due(const struct ca_identity *i, double now);

/* Fingerprint of a certificate. */
void ca_x509_fingerprint(const X509 *x, uint8_t ret[CA_FINGERPRINT_LEN]);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Certificates made on the spot, for the tests of TLS.
 */
#ifndef POSTROAD_TESTS_UNIT_NET_TLS_MADE_H
#define POSTROAD_TESTS_UNIT_NET_TLS_MADE_H

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/net/tls.h"

struct made {
	X509 *x;
	EVP_PKEY *key;
	char *cert_pem, *key_pem;
};

struct made_like {
	const char *cn;
	const char *san;       /* "DNS:a.example, IP:127.0.0.1"; NULL = none */
	const struct made *ca; /* who signs; NULL = itself, and it may sign others */
	int rsa_bits;          /* 0 = an elliptic curve */
	bool expired;
};

static inline char *made_text(BIO *bio)
{
	char *p = NULL;
	long n = BIO_get_mem_data(bio, &p);
	char *text = xstrndup(p, (size_t)n);

	BIO_free(bio);
	return text;
}

static inline void made_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ASSERT(e != NULL && X509_add_ext(x, e, -1) == 1);
	X509_EXTENSION_free(e);
}

static inline struct made made(struct made_like like)
{
	static long serial;
	struct made m = { .x = X509_new() };
	const time_t day = 86400;

	m.key = like.rsa_bits > 0 ? EVP_RSA_gen((unsigned)like.rsa_bits) : EVP_EC_gen("P-256");
	X509_set_version(m.x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(m.x), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(m.x), -2 * day);
	X509_gmtime_adj(X509_getm_notAfter(m.x), like.expired ? -day : 30 * day);
	X509_set_pubkey(m.x, m.key);
	X509_NAME *name = X509_get_subject_name(m.x);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)like.cn, -1, -1, 0);
	X509_set_issuer_name(m.x, like.ca != NULL ? X509_get_subject_name(like.ca->x) : name);
	made_extension(m.x, NID_basic_constraints, like.ca == NULL ? "critical,CA:TRUE" : "CA:FALSE");
	if (like.san != NULL)
		made_extension(m.x, NID_subject_alt_name, like.san);
	ASSERT(X509_sign(m.x, like.ca != NULL ? like.ca->key : m.key, EVP_sha256()) > 0);
	BIO *cert = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(cert, m.x);
	PEM_write_bio_PrivateKey(key, m.key, NULL, NULL, 0, NULL, NULL);
	m.cert_pem = made_text(cert);
	m.key_pem = made_text(key);
	return m;
}

static inline void made_free(struct made *m)
{
	X509_free(m->x);
	EVP_PKEY_free(m->key);
	free(m->cert_pem);
	free(m->key_pem);
	*m = (struct made) { 0 };
}

/* The certificate as the daemon has it. */
static inline struct tls_certificate *made_certificate(const struct made *m)
{
	char *why = NULL;
	struct tls_certificate *c = tls_certificate_parse("test", str_from(m->cert_pem), str_from(m->key_pem), &why);

	if (c == NULL)
		base_panic(__FILE__, __LINE__, why);
	return c;
}

/* A file in /tmp with that text; its name goes into path[32]. The test removes it. */
static inline const char *made_file(const char *text, char path[32])
{
	snprintf(path, 32, "/tmp/postroad-tls-XXXXXX");
	int fd = mkstemp(path);
	ASSERT(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	return path;
}

#endif

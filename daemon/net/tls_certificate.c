/* SPDX-License-Identifier: Apache-2.0
 * Certificates: a chain and its key, read from PEM, checked once, never changed.
 *
 * The hard thing is to say in the configuration's words what is wrong, before the first client finds out: the pair is
 * put into a throw-away context, which judges it by the same rules as the real one.
 */
#include "daemon/net/tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CERTIFICATE_MAGIC 0x74637274u
#define PEM_MAX (1024 * 1024)

struct tls_certificate {
	uint32_t magic;
	_Atomic unsigned refs;
	char *name;
	X509 *leaf;
	STACK_OF(X509) * chain; /* above the leaf */
	EVP_PKEY *key;
	int64_t not_after;
	char **names;
	size_t n_names;
};

/* ---- reading ---- */

/* Keys with a passphrase are refused: nobody is there to type it. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	UNUSED(buf);
	UNUSED(size);
	UNUSED(rwflag);
	*(bool *)arg = true;
	return -1;
}

static bool read_chain(struct tls_certificate *c, struct str pem)
{
	BIO *bio = BIO_new_mem_buf(pem.n == 0 ? "" : pem.p, (int)pem.n);
	X509 *x;

	c->leaf = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
	c->chain = sk_X509_new_null();
	while (c->leaf != NULL && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		sk_X509_push(c->chain, x);
	BIO_free(bio);
	/* Reading ends with "no start line" at the end of the text, and with something else at a damaged block. */
	unsigned long e = ERR_peek_last_error();
	bool damaged = ERR_GET_LIB(e) != ERR_LIB_PEM || ERR_GET_REASON(e) != PEM_R_NO_START_LINE;
	ERR_clear_error();
	return c->leaf != NULL && !damaged;
}

/* Returns what is wrong, or NULL. */
static const char *read_key(struct tls_certificate *c, struct str pem)
{
	BIO *bio = BIO_new_mem_buf(pem.n == 0 ? "" : pem.p, (int)pem.n);
	bool asked = false;

	c->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
	BIO_free(bio);
	ERR_clear_error();
	if (asked)
		return "the key has a passphrase, which cannot be asked for";
	return c->key == NULL ? "no private key in PEM form" : NULL;
}

/* ---- names ---- */

static void add_name(struct tls_certificate *c, const ASN1_STRING *text)
{
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, text);

	/* A NUL inside is an attempt to be taken for somebody else. */
	if (n > 0 && memchr(utf8, '\0', (size_t)n) == NULL) {
		c->names = xrealloc(c->names, (c->n_names + 1) * sizeof(*c->names));
		c->names[c->n_names] = xstrndup((char *)utf8, (size_t)n);
		ascii_lower(c->names[c->n_names++], (size_t)n);
	}
	OPENSSL_free(utf8);
}

static void read_names(struct tls_certificate *c)
{
	GENERAL_NAMES *alt = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
	const X509_NAME *subject = X509_get_subject_name(c->leaf);

	for (int i = 0; i < sk_GENERAL_NAME_num(alt); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(alt, i);
		if (g->type == GEN_DNS)
			add_name(c, g->d.dNSName);
	}
	GENERAL_NAMES_free(alt);
	if (c->n_names > 0)
		return;
	for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;)
		add_name(c, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

static int64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm = { 0 };

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* ---- making ---- */

static void destroy(struct tls_certificate *c)
{
	for (size_t i = 0; i < c->n_names; i++)
		free(c->names[i]);
	free(c->names);
	free(c->name);
	X509_free(c->leaf);
	sk_X509_pop_free(c->chain, X509_free);
	EVP_PKEY_free(c->key);
	FREE_OBJ(c);
}

/* Whether a server would take the pair. NULL = yes; otherwise why not, the caller frees. */
static char *judge(const struct tls_certificate *c)
{
	SSL_CTX *ctx;

	if (X509_check_private_key(c->leaf, c->key) != 1) {
		ERR_clear_error();
		return xstrdup("key does not match");
	}
	ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_security_level(ctx, 2);
	char *why = tls_certificate_use(c, ctx, NULL) ? NULL : tls_error_text();
	SSL_CTX_free(ctx);
	return why;
}

/* Where the texts came from, for errors; NULL = from no file. */
struct origin {
	const char *certificate_file, *key_file;
};

static char *in_file(const char *name, const char *what, const char *file)
{
	if (file == NULL)
		return xasprintf("certificate %s: %s", name, what);
	return xasprintf("certificate %s: %s (%s)", name, what, file);
}

static struct tls_certificate *make(const char *name, struct str cert_pem, struct str key_pem,
				    const struct origin *from, char **ret_why)
{
	struct tls_certificate *c;
	const char *wrong;

	NEW_OBJ(c, CERTIFICATE_MAGIC);
	atomic_init(&c->refs, 1);
	c->name = xstrdup(name);
	*ret_why = NULL;
	ERR_clear_error();
	if (!read_chain(c, cert_pem)) {
		*ret_why = in_file(name, "no certificate in PEM form, or a damaged one", from->certificate_file);
	} else if ((wrong = read_key(c, key_pem)) != NULL) {
		*ret_why = in_file(name, wrong, from->key_file);
	} else {
		char *verdict = judge(c);
		if (verdict != NULL)
			*ret_why = in_file(name, verdict, from->key_file);
		free(verdict);
	}
	if (*ret_why != NULL) {
		destroy(c);
		return NULL;
	}
	read_names(c);
	ERR_clear_error();
	c->not_after = seconds_of(X509_get0_notAfter(c->leaf));
	return c;
}

struct tls_certificate *tls_certificate_parse(const char *name, struct str certificate_pem, struct str key_pem,
					      char **ret_why)
{
	const struct origin nowhere = { 0 };

	if (certificate_pem.n > PEM_MAX || key_pem.n > PEM_MAX) {
		*ret_why = xasprintf("certificate %s: longer than %d bytes", name, PEM_MAX);
		return NULL;
	}
	return make(name, certificate_pem, key_pem, &nowhere, ret_why);
}

/* The whole file into buf[PEM_MAX]; what is wrong, or NULL. Unbuffered: no copy of a key stays in stdio's memory. */
static const char *read_file(const char *file, char *buf, struct str *ret)
{
	const char *trouble = tls_file_trouble(file);

	if (trouble != NULL)
		return trouble;
	FILE *f = fopen(file, "re");
	if (f == NULL)
		return strerror(errno);
	setvbuf(f, NULL, _IONBF, 0);
	size_t n = fread(buf, 1, PEM_MAX, f);
	const char *wrong = ferror(f) ? strerror(errno) : n == PEM_MAX ? "too long" : NULL;
	fclose(f);
	*ret = (struct str) { buf, n };
	return wrong;
}

struct tls_certificate *tls_certificate_load(const char *name, const char *certificate_file, const char *key_file,
					     char **ret_why)
{
	bool joint = key_file == NULL || key_file[0] == '\0';
	const struct origin from = { certificate_file, joint ? certificate_file : key_file };
	char *cert_buf = xmalloc(PEM_MAX), *key_buf = xmalloc(PEM_MAX);
	struct str cert = { 0 }, key = { 0 };
	struct tls_certificate *c = NULL;
	const char *wrong = read_file(from.certificate_file, cert_buf, &cert), *wrong_key = NULL;

	if (wrong == NULL)
		wrong_key = read_file(from.key_file, key_buf, &key);
	if (wrong != NULL)
		*ret_why = in_file(name, wrong, from.certificate_file);
	else if (wrong_key != NULL)
		*ret_why = in_file(name, wrong_key, from.key_file);
	else
		c = make(name, cert, key, &from, ret_why);
	OPENSSL_cleanse(cert_buf, cert.n);
	OPENSSL_cleanse(key_buf, key.n);
	free(cert_buf);
	free(key_buf);
	return c;
}

/* ---- using ---- */

struct tls_certificate *tls_certificate_ref(struct tls_certificate *c)
{
	CHECK_OBJ(c, CERTIFICATE_MAGIC);
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void tls_certificate_unref(struct tls_certificate *c)
{
	if (c == NULL)
		return;
	CHECK_OBJ(c, CERTIFICATE_MAGIC);
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
		destroy(c);
}

const char *tls_certificate_name(const struct tls_certificate *c)
{
	return c->name;
}

int64_t tls_certificate_not_after(const struct tls_certificate *c)
{
	return c->not_after;
}

const char *tls_certificate_kind(const struct tls_certificate *c)
{
	const char *kind = EVP_PKEY_get0_type_name(c->key);

	return kind == NULL ? "unknown" : kind;
}

const char *tls_certificate_dns_name(const struct tls_certificate *c, size_t i)
{
	return i < c->n_names ? c->names[i] : NULL;
}

static bool name_covers(const char *name, const char *host, bool exact_only)
{
	if (str_ieq(str_from(name), str_from(host)))
		return true;
	if (exact_only || strncmp(name, "*.", 2) != 0)
		return false;
	const char *dot = strchr(host, '.');
	return dot != NULL && dot != host && str_ieq(str_from(name + 1), str_from(dot));
}

bool tls_certificate_covers(const struct tls_certificate *c, const char *host, bool exact_only)
{
	for (size_t i = 0; i < c->n_names; i++)
		if (name_covers(c->names[i], host, exact_only))
			return true;
	return false;
}

bool tls_certificate_use(const struct tls_certificate *c, SSL_CTX *ctx, SSL *ssl)
{
	if (ssl != NULL)
		return SSL_use_cert_and_key(ssl, c->leaf, c->key, c->chain, 1) == 1;
	return SSL_CTX_use_cert_and_key(ctx, c->leaf, c->key, c->chain, 1) == 1;
}

X509 *tls_certificate_x509(const struct tls_certificate *c)
{
	return c->leaf;
}

bool tls_certificate_same_kind(const struct tls_certificate *a, const struct tls_certificate *b)
{
	return EVP_PKEY_get_base_id(a->key) == EVP_PKEY_get_base_id(b->key);
}

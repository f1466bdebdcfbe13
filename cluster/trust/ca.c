/* SPDX-License-Identifier: Apache-2.0
 * The cluster's certificate authority.
 *
 * The hard thing: any full member issues, also while the others are away, so nothing here may need an agreed counter.
 * Serial numbers are random, and whether a certificate still counts is not asked of a list of revoked ones but of the
 * table of nodes: ids are never given again.
 */
#include "cluster/trust/ca.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

enum { CA_MAGIC = 0x63657274, SERIAL_LEN = 16, CURVE_BITS = 256, DAY = 86400 };
#define URI_PREFIX "postroad:"

struct ca {
	uint32_t magic;
	X509 *x;
	EVP_PKEY *key; /* NULL = cannot issue */
	char cluster[CA_NAME_MAX + 1];
};

static void *failed(char **ret_why, const char *what)
{
	char text[128] = "no reason is known";
	unsigned long e = ERR_peek_last_error();

	if (e != 0)
		ERR_error_string_n(e, text, sizeof(text));
	*ret_why = e != 0 ? xasprintf("%s: %s", what, text) : xstrdup(what);
	ERR_clear_error();
	return NULL;
}

static bool name_is_plain(const char *name)
{
	size_t n = strnlen(name, CA_NAME_MAX + 1);

	return n > 0 && n <= CA_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

/* ---- parts of certificates ---- */

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool good = e != NULL && X509_add_ext(x, e, -1) == 1;
	X509_EXTENSION_free(e);
	return good;
}

static bool set_serial(X509 *x)
{
	uint8_t bytes[SERIAL_LEN];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, and of one length */
	BIGNUM *n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	bool good = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
	BN_free(n);
	return good;
}

static bool set_name(X509_NAME *to, const char *organisation, const char *common)
{
	return X509_NAME_add_entry_by_txt(to, "O", MBSTRING_ASC, (const unsigned char *)organisation, -1, -1, 0) == 1 &&
	       X509_NAME_add_entry_by_txt(to, "CN", MBSTRING_ASC, (const unsigned char *)common, -1, -1, 0) == 1;
}

static bool set_times(X509 *x, double from, double to)
{
	return ASN1_TIME_set(X509_getm_notBefore(x), (time_t)from) != NULL &&
	       ASN1_TIME_set(X509_getm_notAfter(x), (time_t)to) != NULL;
}

static double end_of(const X509 *x)
{
	struct tm tm;

	return ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1 ? (double)timegm(&tm) : 0;
}

static bool key_is_of_the_curve(const EVP_PKEY *key)
{
	char group[32];
	size_t n;

	return key != NULL && EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) == CURVE_BITS &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), &n) == 1 && strcmp(group, "prime256v1") == 0;
}

/* ---- PEM ---- */

static void drain(BIO *from, struct sbuf *out)
{
	char *p = NULL;
	long n = BIO_get_mem_data(from, &p);

	/* One piece of the right size: growing would leave copies of a secret behind. */
	if (n > 0) {
		sbuf_add(out, p, (size_t)n);
		OPENSSL_cleanse(p, (size_t)n);
	}
	BIO_free(from);
}

static void put_x509(const X509 *x, struct sbuf *out)
{
	BIO *b = BIO_new(BIO_s_mem());

	ASSERT(b != NULL && PEM_write_bio_X509(b, x) == 1);
	drain(b, out);
}

static void put_key(const EVP_PKEY *key, struct sbuf *out)
{
	BIO *b = BIO_new(BIO_s_secmem());

	ASSERT(b != NULL && PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1);
	drain(b, out);
}

/* Nobody is asked for a passphrase. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	UNUSED(buf);
	UNUSED(size);
	UNUSED(writing);
	UNUSED(arg);
	return -1;
}

static BIO *reader_of(struct str pem)
{
	return pem.n == 0 || pem.n > CA_PEM_MAX ? NULL : BIO_new_mem_buf(pem.p, (int)pem.n);
}

static X509 *get_x509(struct str pem)
{
	BIO *b = reader_of(pem);
	X509 *x = b == NULL ? NULL : PEM_read_bio_X509(b, NULL, no_passphrase, NULL);

	BIO_free(b);
	return x;
}

static EVP_PKEY *get_key(struct str pem)
{
	BIO *b = reader_of(pem);
	EVP_PKEY *key = b == NULL ? NULL : PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL);

	BIO_free(b);
	return key;
}

/* ---- the authority ---- */

static bool fill_authority(X509 *x, EVP_PKEY *key, const char *cluster, double now)
{
	X509_NAME *name = X509_get_subject_name(x);

	return X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) && set_name(name, "Postroad", cluster) &&
	       X509_set_issuer_name(x, name) == 1 &&
	       set_times(x, now - CA_BACKDATE_SEC, now + (double)CA_YEARS * 365.25 * DAY) &&
	       X509_set_pubkey(x, key) == 1 &&
	       add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	       add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	       add_extension(x, x, NID_subject_key_identifier, "hash") && X509_sign(x, key, EVP_sha256()) > 0;
}

struct ca *ca_make(const char *cluster, double now, char **ret_why)
{
	struct ca *ca;

	if (!name_is_plain(cluster))
		return failed(ret_why, "The name of the cluster cannot stand in a certificate");
	NEW_OBJ(ca, CA_MAGIC);
	snprintf(ca->cluster, sizeof(ca->cluster), "%s", cluster);
	ca->x = X509_new();
	ca->key = EVP_EC_gen("P-256");
	if (ca->x != NULL && ca->key != NULL && fill_authority(ca->x, ca->key, cluster, now))
		return ca;
	ca_free(ca);
	return failed(ret_why, "A certificate authority cannot be made");
}

static bool cluster_of(const X509 *x, char ret[CA_NAME_MAX + 1])
{
	int n = X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, ret, CA_NAME_MAX + 1);

	return n > 0 && (size_t)n == strlen(ret) && name_is_plain(ret);
}

struct ca *ca_load(struct str certificate, struct str key, char **ret_why)
{
	struct ca *ca;

	NEW_OBJ(ca, CA_MAGIC);
	ca->x = get_x509(certificate);
	ca->key = key.n > 0 ? get_key(key) : NULL;
	if (ca->x == NULL || X509_check_ca(ca->x) != 1 || !cluster_of(ca->x, ca->cluster) ||
	    X509_verify(ca->x, X509_get0_pubkey(ca->x)) != 1)
		failed(ret_why, "This is not the certificate of a cluster's authority");
	else if (key.n > 0 && (ca->key == NULL || X509_check_private_key(ca->x, ca->key) != 1))
		failed(ret_why, "The key of the cluster's authority cannot be read, or belongs to another certificate");
	else
		return ca;
	ca_free(ca);
	return NULL;
}

void ca_free(struct ca *ca)
{
	if (ca == NULL)
		return;
	CHECK_OBJ(ca, CA_MAGIC);
	X509_free(ca->x);
	EVP_PKEY_free(ca->key);
	FREE_OBJ(ca);
}

bool ca_can_issue(const struct ca *ca)
{
	CHECK_OBJ(ca, CA_MAGIC);
	return ca->key != NULL;
}

X509 *ca_x509(const struct ca *ca)
{
	CHECK_OBJ(ca, CA_MAGIC);
	return ca->x;
}

void ca_x509_fingerprint(const X509 *x, uint8_t ret[CA_FINGERPRINT_LEN])
{
	unsigned n = 0;

	ASSERT(X509_digest(x, EVP_sha256(), ret, &n) == 1 && n == CA_FINGERPRINT_LEN);
}

void ca_fingerprint(const struct ca *ca, uint8_t ret[CA_FINGERPRINT_LEN])
{
	ca_x509_fingerprint(ca_x509(ca), ret);
}

double ca_not_after(const struct ca *ca)
{
	return end_of(ca_x509(ca));
}

void ca_certificate_pem(const struct ca *ca, struct sbuf *out)
{
	put_x509(ca_x509(ca), out);
}

void ca_key_pem(const struct ca *ca, struct sbuf *out)
{
	if (ca_can_issue(ca))
		put_key(ca->key, out);
}

/* ---- nodes ---- */

bool ca_request_make(struct sbuf *key_pem, struct sbuf *request_pem)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_REQ *r = X509_REQ_new();
	BIO *b = BIO_new(BIO_s_mem());
	bool good = key != NULL && r != NULL && b != NULL && X509_REQ_set_version(r, X509_REQ_VERSION_1) == 1 &&
		    X509_REQ_set_pubkey(r, key) == 1 && X509_REQ_sign(r, key, EVP_sha256()) > 0 &&
		    PEM_write_bio_X509_REQ(b, r) == 1;

	if (good) {
		put_key(key, key_pem);
		drain(b, request_pem);
		b = NULL;
	}
	BIO_free(b);
	X509_REQ_free(r);
	EVP_PKEY_free(key);
	return good;
}

static bool fill_node(X509 *x, const struct ca *ca, EVP_PKEY *key, const struct ca_identity *who, double now)
{
	char alt[2 * CA_NAME_MAX + 64];
	double last = ca_not_after(ca), end = now + (double)CA_NODE_DAYS * DAY;

	end = end < last ? end : last;
	snprintf(alt, sizeof(alt), "URI:" URI_PREFIX "%s:%u,DNS:%s", ca->cluster, who->id, who->name);
	return X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
	       set_name(X509_get_subject_name(x), ca->cluster, who->name) &&
	       X509_set_issuer_name(x, X509_get_subject_name(ca->x)) == 1 && set_times(x, now - CA_BACKDATE_SEC, end) &&
	       X509_set_pubkey(x, key) == 1 && add_extension(x, ca->x, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(x, ca->x, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(x, ca->x, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       add_extension(x, ca->x, NID_subject_key_identifier, "hash") &&
	       add_extension(x, ca->x, NID_authority_key_identifier, "keyid:always") &&
	       add_extension(x, ca->x, NID_subject_alt_name, alt) && X509_sign(x, ca->key, EVP_sha256()) > 0;
}

bool ca_issue(const struct ca *ca, struct str request_pem, struct ca_identity *who, double now, struct sbuf *out,
	      char **ret_why)
{
	BIO *b = reader_of(request_pem);
	X509_REQ *r = b == NULL ? NULL : PEM_read_bio_X509_REQ(b, NULL, no_passphrase, NULL);
	EVP_PKEY *key = r == NULL ? NULL : X509_REQ_get0_pubkey(r);
	X509 *x = X509_new();
	bool good = false;

	CHECK_OBJ(ca, CA_MAGIC);
	if (ca->key == NULL)
		failed(ret_why, "This node has no key of the cluster's authority: ask a full member");
	else if (!name_is_plain(who->name) || who->id == 0 || strcmp(who->cluster, ca->cluster) != 0)
		failed(ret_why, "The node has no name or id, or is of another cluster");
	else if (!key_is_of_the_curve(key) || X509_REQ_verify(r, key) != 1)
		failed(ret_why,
		       "This is not a request for a node's certificate (PKCS #10, a P-256 key that signed it)");
	else if (x == NULL || !fill_node(x, ca, key, who, now))
		failed(ret_why, "The certificate cannot be made");
	else
		good = true;
	if (good) {
		ca_x509_fingerprint(x, who->fingerprint);
		who->not_after = end_of(x);
		put_x509(x, out);
	}
	X509_free(x);
	X509_REQ_free(r);
	BIO_free(b);
	return good;
}

/* ---- who is it ---- */

static bool copy_name(const ASN1_STRING *s, char ret[CA_NAME_MAX + 1])
{
	int n = ASN1_STRING_length(s);

	if (n < 1 || n > CA_NAME_MAX)
		return false;
	memcpy(ret, ASN1_STRING_get0_data(s), (size_t)n);
	ret[n] = '\0';
	return strlen(ret) == (size_t)n && name_is_plain(ret);
}

/* postroad:CLUSTER:ID */
static bool parse_uri(const ASN1_STRING *s, struct ca_identity *ret)
{
	char text[2 * CA_NAME_MAX], *colon, again[16];
	int n = ASN1_STRING_length(s);

	if (n < 1 || (size_t)n >= sizeof(text))
		return false;
	memcpy(text, ASN1_STRING_get0_data(s), (size_t)n);
	text[n] = '\0';
	if (strlen(text) != (size_t)n || strncmp(text, URI_PREFIX, strlen(URI_PREFIX)) != 0 ||
	    (colon = strrchr(text, ':')) == text + strlen(URI_PREFIX) - 1)
		return false;
	*colon = '\0';
	const char *cluster = text + strlen(URI_PREFIX);
	ret->id = (uint32_t)strtoul(colon + 1, NULL, 10);
	snprintf(again, sizeof(again), "%u", ret->id);
	if (!name_is_plain(cluster) || ret->id == 0 || strcmp(again, colon + 1) != 0)
		return false;
	snprintf(ret->cluster, sizeof(ret->cluster), "%.*s", CA_NAME_MAX, cluster);
	return true;
}

bool ca_identity_of(const X509 *x, struct ca_identity *ret)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	int uris = 0, hosts = 0, n = names == NULL ? 0 : sk_GENERAL_NAME_num(names);
	bool good = true;

	*ret = (struct ca_identity) { 0 };
	for (int i = 0; i < n && good; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		if (g->type == GEN_URI) {
			good = parse_uri(g->d.uniformResourceIdentifier, ret);
			uris++;
		} else if (g->type == GEN_DNS) {
			good = copy_name(g->d.dNSName, ret->name);
			hosts++;
		}
	}
	GENERAL_NAMES_free(names);
	if (!good || uris != 1 || hosts != 1)
		return false;
	ca_x509_fingerprint(x, ret->fingerprint);
	ret->not_after = end_of(x);
	return true;
}

static bool chains(const struct ca *ca, X509 *x, double now, char **ret_why)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool good = store != NULL && ctx != NULL && X509_STORE_add_cert(store, ca->x) == 1 &&
		    X509_STORE_CTX_init(ctx, store, x, NULL) == 1;

	if (good) {
		X509_STORE_CTX_set_time(ctx, 0, (time_t)now);
		good = X509_verify_cert(ctx) == 1;
	}
	if (!good)
		*ret_why = xasprintf("The certificate is not good here: %s",
				     ctx == NULL ? "no memory"
						 : X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	ERR_clear_error();
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return good;
}

bool ca_read(struct str certificate_pem, struct ca_identity *ret)
{
	X509 *x = get_x509(certificate_pem);
	bool good = x != NULL && ca_identity_of(x, ret);

	X509_free(x);
	return good;
}

bool ca_verify(const struct ca *ca, struct str certificate_pem, double now, struct ca_identity *ret, char **ret_why)
{
	X509 *x = get_x509(certificate_pem);
	bool good = false;

	CHECK_OBJ(ca, CA_MAGIC);
	if (x == NULL)
		failed(ret_why, "This is not a certificate");
	else if (!chains(ca, x, now, ret_why))
		good = false;
	else if (!ca_identity_of(x, ret) || strcmp(ret->cluster, ca->cluster) != 0)
		failed(ret_why, "The certificate is not that of a node of this cluster");
	else
		good = true;
	X509_free(x);
	return good;
}

bool ca_key_fits(struct str certificate_pem, struct str key_pem)
{
	X509 *x = get_x509(certificate_pem);
	EVP_PKEY *key = get_key(key_pem);
	bool fits = x != NULL && key != NULL && X509_check_private_key(x, key) == 1;

	EVP_PKEY_free(key);
	X509_free(x);
	ERR_clear_error();
	return fits;
}

bool ca_renewal_due(const struct ca_identity *i, double now)
{
	return i->not_after - now < (double)CA_RENEW_DAYS * DAY;
}

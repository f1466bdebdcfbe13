/* SPDX-License-Identifier: Apache-2.0
 * The certificate of the admin listeners: the administrator's files, or a self-signed one made once.
 *
 * The self-signed one proves nothing by itself: a client pins its SHA-256 fingerprint, which /status shows on the local
 * socket. So it must stay the same over restarts, and its key must never be readable by others, not even for a moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/api/api_private.h"

#define VALID_SECONDS (10L * 365 * 24 * 3600)

/* ---- making one ---- */

static bool add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

/* Node names are host names more often than not, but need not be: one that is no DNS label is left out. */
static bool is_dns_name(const char *s)
{
	return *s != '\0' && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == strlen(s);
}

static char *alternative_names(const struct node_config *n)
{
	struct sbuf b = { 0 };
	char host[256] = "";

	sbuf_puts(&b, "DNS:localhost,IP:127.0.0.1,IP:::1");
	if (is_dns_name(n->node))
		sbuf_printf(&b, ",DNS:%s", n->node);
	if (gethostname(host, sizeof(host) - 1) == 0 && is_dns_name(host))
		sbuf_printf(&b, ",DNS:%s", host);
	for (size_t i = 0; i < n->n_admin_listen; i++) {
		char ip[ADDR_TEXT_MAX];
		if (!addr_is_any(&n->admin_listen[i]))
			sbuf_printf(&b, ",IP:%s", addr_format_ip(&n->admin_listen[i], ip));
	}
	return sbuf_steal(&b);
}

static X509 *self_signed(EVP_PKEY *key, const struct node_config *n)
{
	X509 *cert = X509_new();
	char *names = alternative_names(n);
	uint64_t serial;

	ASSERT(cert != NULL);
	random_bytes(&serial, sizeof(serial));
	X509_NAME *name = X509_get_subject_name(cert);
	bool ok = X509_set_version(cert, 2) == 1 &&
		  ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1) == 1 &&
		  X509_gmtime_adj(X509_getm_notBefore(cert), -3600) != NULL &&
		  X509_gmtime_adj(X509_getm_notAfter(cert), VALID_SECONDS) != NULL && X509_set_pubkey(cert, key) == 1 &&
		  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)n->node, -1, -1, 0) == 1 &&
		  X509_set_issuer_name(cert, name) == 1 && add_extension(cert, NID_subject_alt_name, names) &&
		  add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
		  add_extension(cert, NID_ext_key_usage, "serverAuth") && X509_sign(cert, key, EVP_sha256()) > 0;
	free(names);
	if (ok)
		return cert;
	X509_free(cert);
	return NULL;
}

/* Under a temporary name and then renamed: a crash leaves no half of a file. */
static bool write_pem(const char *path, X509 *cert, EVP_PKEY *key)
{
	char *temp = xasprintf("%s.tmp", path);
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	bool ok = f != NULL && fchmod(fd, 0600) == 0 &&
		  (cert != NULL ? PEM_write_X509(f, cert) : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL)) ==
			  1 &&
		  fflush(f) == 0 && fsync(fd) == 0;

	if (f != NULL)
		ok = fclose(f) == 0 && ok;
	else if (fd >= 0)
		close(fd);
	ok = ok && rename(temp, path) == 0;
	if (!ok)
		unlink(temp);
	free(temp);
	return ok;
}

static bool make_pair(const struct node_config *n, const char *cert_file, const char *key_file)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = key == NULL ? NULL : self_signed(key, n);
	bool ok = cert != NULL && write_pem(key_file, NULL, key) && write_pem(cert_file, cert, NULL);

	X509_free(cert);
	EVP_PKEY_free(key);
	return ok;
}

/* ---- using one ---- */

static void fingerprint_of(SSL_CTX *ctx, char out[96])
{
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	out[0] = '\0';
	if (X509_digest(SSL_CTX_get0_certificate(ctx), EVP_sha256(), md, &n) != 1)
		return;
	for (unsigned i = 0; i < n && i < 32; i++)
		snprintf(out + (size_t)3 * i, 4, i + 1 < n ? "%02X:" : "%02X", md[i]);
}

static SSL_CTX *context_from(const char *cert_file, const char *key_file, char **ret_why)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	ASSERT(ctx != NULL);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) == 1 &&
	    SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(ctx) == 1)
		return ctx;
	const char *why = ERR_reason_error_string(ERR_get_error());
	*ret_why = xasprintf("admin.tls: %s and %s: %s", cert_file, key_file, why != NULL ? why : "cannot be read");
	ERR_clear_error();
	SSL_CTX_free(ctx);
	return NULL;
}

static SSL_CTX *context_auto(const struct node_config *n, char **ret_why)
{
	char *cert_file = xasprintf("%s/admin.crt", n->state_dir), *key_file = xasprintf("%s/admin.key", n->state_dir);
	SSL_CTX *ctx = NULL;

	if (access(cert_file, F_OK) != 0 && !make_pair(n, cert_file, key_file))
		*ret_why = xasprintf("admin.tls: %s cannot be made: %s", cert_file, strerror(errno));
	else
		ctx = context_from(cert_file, key_file, ret_why);
	free(cert_file);
	free(key_file);
	return ctx;
}

SSL_CTX *tls_admin_context(const struct node_config *n, char fingerprint[96], char **ret_why)
{
	SSL_CTX *ctx = n->admin_tls == ADMIN_TLS_AUTO ? context_auto(n, ret_why)
						      : context_from(n->admin_certificate, n->admin_key, ret_why);

	if (ctx != NULL)
		fingerprint_of(ctx, fingerprint);
	return ctx;
}

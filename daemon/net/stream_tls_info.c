/* SPDX-License-Identifier: Apache-2.0
 * What a handshake found out: version and cipher, the peer's certificate, channel bindings.
 *
 * The hard thing is that names in a certificate are a stranger's text: nothing with a control character or a NUL inside
 * is passed on, for it would be believed, or written into a log.
 */
#include "daemon/net/stream_private.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

static bool peer_is_verified(const struct stream_tls *t)
{
	if (SSL_get0_peer_certificate(t->ssl) == NULL)
		return false;
	if (t->link.client != NULL && !tls_client_verifies(t->link.client))
		return false;
	return SSL_get_verify_result(t->ssl) == X509_V_OK;
}

bool stream_tls_info(const struct stream *st, struct stream_tls_info *ret)
{
	if (!stream_tls_is_on(st))
		return false;
	struct stream_tls *t = st->tls;
	const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);
	*ret = (struct stream_tls_info) {
		.version = SSL_get_version(t->ssl),
		.cipher = SSL_CIPHER_get_name(cipher),
		.bits = (unsigned)SSL_CIPHER_get_bits(cipher, NULL),
		.sni = t->link.server != NULL ? t->link.sni : SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name),
		.resumed = SSL_session_reused(t->ssl) == 1,
		.peer_certificate = SSL_get0_peer_certificate(t->ssl) != NULL,
		.peer_verified = peer_is_verified(t),
	};
	return true;
}

/* ---- the peer's certificate ---- */

/* prefix and text as UTF-8, or NULL where it is no plain text. The caller frees. */
static char *plain_text(const char *prefix, const ASN1_STRING *s, bool lower)
{
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, s);
	bool plain = n > 0;

	for (int i = 0; i < n && plain; i++)
		plain = utf8[i] >= 0x20 && utf8[i] != 0x7f;
	char *text = plain ? xasprintf("%s%.*s", prefix, n, (char *)utf8) : NULL;
	if (text != NULL && lower)
		ascii_lower(text, strlen(text));
	OPENSSL_free(utf8);
	return text;
}

static char *ip_text(const ASN1_OCTET_STRING *ip)
{
	char text[INET6_ADDRSTRLEN] = "";
	int n = ASN1_STRING_length(ip);

	if (n == 4)
		inet_ntop(AF_INET, ASN1_STRING_get0_data(ip), text, sizeof(text));
	else if (n == 16)
		inet_ntop(AF_INET6, ASN1_STRING_get0_data(ip), text, sizeof(text));
	return text[0] == '\0' ? NULL : xasprintf("ip:%s", text);
}

static char *name_text(const GENERAL_NAME *g)
{
	switch (g->type) {
	case GEN_DNS:
		return plain_text("dns:", g->d.dNSName, true);
	case GEN_EMAIL:
		return plain_text("email:", g->d.rfc822Name, true);
	case GEN_URI:
		return plain_text("uri:", g->d.uniformResourceIdentifier, false);
	case GEN_IPADD:
		return ip_text(g->d.iPAddress);
	default:
		return NULL;
	}
}

static void read_names(struct stream_tls_peer *peer, const X509 *x)
{
	GENERAL_NAMES *alt = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(alt) && peer->n_names < STREAM_TLS_NAMES_MAX; i++) {
		char *text = name_text(sk_GENERAL_NAME_value(alt, i));
		if (text != NULL)
			peer->names[peer->n_names++] = text;
	}
	GENERAL_NAMES_free(alt);
}

static char *subject_text(const X509_NAME *subject)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p = NULL;

	X509_NAME_print_ex(bio, subject, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	long n = BIO_get_mem_data(bio, &p);
	char *text = n > 0 ? xstrndup(p, (size_t)n) : xstrdup("");
	BIO_free(bio);
	return text;
}

bool stream_tls_peer(const struct stream *st, struct stream_tls_peer *ret)
{
	X509 *x = stream_tls_is_on(st) ? SSL_get0_peer_certificate(st->tls->ssl) : NULL;
	unsigned n = 0;

	*ret = (struct stream_tls_peer) { 0 };
	if (x == NULL)
		return false;
	const X509_NAME *subject = X509_get_subject_name(x);
	/* Of several common names the last one, the most specific. */
	for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
		free(ret->common_name);
		ret->common_name = plain_text("", X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), false);
	}
	ret->subject = subject_text(subject);
	read_names(ret, x);
	X509_digest(x, EVP_sha256(), ret->sha256, &n);
	ret->verified = peer_is_verified(st->tls);
	ERR_clear_error();
	return true;
}

void stream_tls_peer_fini(struct stream_tls_peer *peer)
{
	free(peer->subject);
	free(peer->common_name);
	for (size_t i = 0; i < peer->n_names; i++)
		free(peer->names[i]);
	*peer = (struct stream_tls_peer) { 0 };
}

/* ---- channel bindings ---- */

size_t stream_tls_exporter(const struct stream *st, uint8_t out[STREAM_TLS_BINDING_MAX])
{
	static const char label[] = "EXPORTER-Channel-Binding";

	if (!stream_tls_is_on(st))
		return 0;
	SSL *ssl = st->tls->ssl;
	/* RFC 9266 4.2: without one of the two the master secret may be shared with another connection. */
	if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1)
		return 0;
	return SSL_export_keying_material(ssl, out, 32, label, sizeof(label) - 1, (const uint8_t *)"", 0, 1) == 1 ? 32
														  : 0;
}

/* RFC 5929 4.1: the hash of the certificate's own signature; SHA-256 in the place of MD5 and SHA-1. */
static const EVP_MD *end_point_hash(const X509 *x)
{
	int hash = NID_undef;

	if (X509_get_signature_info((X509 *)(uintptr_t)x, &hash, NULL, NULL, NULL) != 1 || hash == NID_undef)
		return NULL;
	if (hash == NID_md5 || hash == NID_sha1 || hash == NID_md5_sha1)
		hash = NID_sha256;
	return EVP_get_digestbynid(hash);
}

static const X509 *server_certificate(const struct stream_tls *t)
{
	if (t->link.client != NULL)
		return SSL_get0_peer_certificate(t->ssl);
	if (SSL_session_reused(t->ssl))
		return tls_server_only_certificate(t->link.server);
	return SSL_get_certificate(t->ssl);
}

size_t stream_tls_end_point(const struct stream *st, uint8_t out[STREAM_TLS_BINDING_MAX])
{
	const X509 *x = stream_tls_is_on(st) ? server_certificate(st->tls) : NULL;
	const EVP_MD *hash = x == NULL ? NULL : end_point_hash(x);
	unsigned n = 0;

	if (hash == NULL || X509_digest(x, hash, out, &n) != 1)
		n = 0;
	ERR_clear_error();
	return n;
}

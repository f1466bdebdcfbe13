/* SPDX-License-Identifier: Apache-2.0
 * OpenSSL's errors and those of files in words for an operator, and what both sides' contexts have in common.
 *
 * The hard thing is which of several queued errors tells the cause: it is the first one, the others are the layers
 * above that passed it on.
 */
#include "daemon/net/tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

const char *tls_file_trouble(const char *file)
{
	struct stat st;

	if (stat(file, &st) != 0)
		return strerror(errno);
	return S_ISREG(st.st_mode) ? NULL : "not a regular file";
}

/* Alerts that came from the peer carry the protocol's name in front; what matters is that the peer said it. */
static char *reason_text(const char *reason)
{
	static const char *const fronts[] = { "tlsv1 alert ", "sslv3 alert ", "tlsv13 alert ", "ssl/tls alert ",
					      "tlsv1 " };

	for (size_t i = 0; i < ARRAY_LEN(fronts); i++) {
		size_t n = strlen(fronts[i]);
		if (strncmp(reason, fronts[i], n) == 0)
			return xasprintf("alert from the peer: %s", reason + n);
	}
	return xstrdup(reason);
}

char *tls_error_text(void)
{
	unsigned long e = ERR_get_error();
	const char *reason = e == 0 ? NULL : ERR_reason_error_string(e);

	ERR_clear_error();
	if (e == 0)
		return xstrdup("unknown error");
	return reason == NULL ? xasprintf("error %lx", e) : reason_text(reason);
}

char *tls_handshake_error(const SSL *ssl)
{
	unsigned long e = ERR_peek_error();
	long verdict = SSL_get_verify_result(ssl);

	if (ERR_GET_LIB(e) != ERR_LIB_SSL || ERR_GET_REASON(e) != SSL_R_CERTIFICATE_VERIFY_FAILED ||
	    verdict == X509_V_OK)
		return tls_error_text();
	ERR_clear_error();
	return xasprintf("certificate not accepted: %s", X509_verify_cert_error_string(verdict));
}

void tls_common_options(SSL_CTX *ctx, enum tls_version min)
{
	char groups[] = "X25519:P-256:P-384";

	SSL_CTX_set_min_proto_version(ctx, min == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	/* An idle connection gives its record buffers back; reading ahead takes header and body in one call. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_max_cert_list(ctx, 64 * 1024);
	ASSERT(SSL_CTX_set1_groups_list(ctx, groups) == 1);
	X509_VERIFY_PARAM_set_hostflags(SSL_CTX_get0_param(ctx), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
}

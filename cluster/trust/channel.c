/* SPDX-License-Identifier: Apache-2.0
 * TLS between nodes.
 *
 * The hard thing: a certificate that was good for years is not enough, its node may have been removed a minute ago; and
 * a node that joins has nobody to trust but a fingerprint. Both are judged in the handshake, by a function of ours in
 * place of OpenSSL's, so that nothing is ever sent to or taken from the wrong end.
 */
#include "cluster/trust/channel.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

enum { JUDGE_MAGIC = 0x6a756467 };
#define BINDING_LABEL "EXPORTER-postroad-join"

/* What hangs on a context. */
struct judge {
	uint32_t magic;
	X509 *authority; /* NULL = known by its fingerprint alone */
	uint8_t fingerprint[CA_FINGERPRINT_LEN];
	char cluster[CA_NAME_MAX + 1]; /* "" = whichever the authority is of */
	channel_member_fn *member;
	void *arg;
};

static int judge_index(void);

static void judge_freed(void *parent, void *p, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	struct judge *j = p;

	UNUSED(parent);
	UNUSED(ad);
	UNUSED(index);
	UNUSED(argl);
	UNUSED(argp);
	if (j == NULL)
		return;
	X509_free(j->authority);
	FREE_OBJ(j);
}

static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
static int ex_index = -1;

static void make_index(void)
{
	ex_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, judge_freed);
}

static int judge_index(void)
{
	ASSERT(CRYPTO_THREAD_run_once(&once, make_index) == 1 && ex_index >= 0);
	return ex_index;
}

/* ---- the judgement ---- */

/* The certificate with the fingerprint among those that were sent. */
static X509 *find_authority(X509_STORE_CTX *ctx, const uint8_t fingerprint[CA_FINGERPRINT_LEN])
{
	STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(ctx);

	for (int i = 0; sent != NULL && i < sk_X509_num(sent); i++) {
		uint8_t is[CA_FINGERPRINT_LEN];
		ca_x509_fingerprint(sk_X509_value(sent, i), is);
		if (CRYPTO_memcmp(is, fingerprint, sizeof(is)) == 0)
			return sk_X509_value(sent, i);
	}
	return NULL;
}

static bool is_of(X509 *leaf, X509 *authority, bool by_server)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool good =
		store != NULL && ctx != NULL && X509_STORE_add_cert(store, authority) == 1 &&
		X509_STORE_CTX_init(ctx, store, leaf, NULL) == 1 &&
		X509_STORE_CTX_set_purpose(ctx, by_server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT) == 1 &&
		X509_verify_cert(ctx) == 1;

	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return good;
}

/* RFC 5280 6.1 by OpenSSL, then what this cluster thinks of who it is. */
static int judge(X509_STORE_CTX *ctx, void *arg)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct judge *j = arg;
	X509 *leaf = X509_STORE_CTX_get0_cert(ctx), *authority;
	struct ca_identity who;

	CHECK_OBJ(j, JUDGE_MAGIC);
	authority = j->authority != NULL ? j->authority : find_authority(ctx, j->fingerprint);
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
	if (leaf == NULL || authority == NULL || !is_of(leaf, authority, SSL_is_server(ssl) == 0))
		return 0;
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
	if (!ca_identity_of(leaf, &who) || (j->cluster[0] != '\0' && strcmp(j->cluster, who.cluster) != 0) ||
	    (j->member != NULL && !j->member(j->arg, &who)))
		return 0;
	X509_STORE_CTX_set_error(ctx, X509_V_OK);
	return 1;
}

/* ---- contexts ---- */

static SSL_CTX *failed(SSL_CTX *ctx, char **ret_why, const char *what)
{
	char text[128] = "no reason is known";
	unsigned long e = ERR_peek_last_error();

	if (e != 0)
		ERR_error_string_n(e, text, sizeof(text));
	*ret_why = xasprintf("%s: %s", what, text);
	ERR_clear_error();
	SSL_CTX_free(ctx);
	return NULL;
}

static SSL_CTX *context(const SSL_METHOD *method, struct judge *j)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ex_data(ctx, judge_index(), j) != 1) {
		SSL_CTX_free(ctx);
		X509_free(j->authority);
		FREE_OBJ(j);
		return NULL;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_cert_verify_callback(ctx, judge, j);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

static bool use_pem(SSL_CTX *ctx, const struct channel_config *c)
{
	BIO *cert = c->certificate_pem.n > CA_PEM_MAX
			    ? NULL
			    : BIO_new_mem_buf(c->certificate_pem.p, (int)c->certificate_pem.n);
	BIO *secret = c->key_pem.n > CA_PEM_MAX ? NULL : BIO_new_mem_buf(c->key_pem.p, (int)c->key_pem.n);
	X509 *x = cert == NULL ? NULL : PEM_read_bio_X509(cert, NULL, NULL, NULL);
	/* The last argument stands for a passphrase: there is none, and nobody is asked. */
	EVP_PKEY *key = secret == NULL ? NULL : PEM_read_bio_PrivateKey(secret, NULL, NULL, (void *)(uintptr_t) "");
	bool good = x != NULL && key != NULL && SSL_CTX_use_certificate(ctx, x) == 1 &&
		    SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1 &&
		    SSL_CTX_add1_chain_cert(ctx, ca_x509(c->ca)) == 1;

	EVP_PKEY_free(key);
	X509_free(x);
	BIO_free(secret);
	BIO_free(cert);
	return good;
}

static SSL_CTX *of_member(const SSL_METHOD *method, const struct channel_config *c, char **ret_why)
{
	struct judge *j;
	struct ca_identity self;
	SSL_CTX *ctx;

	ASSERT(c->member != NULL);
	NEW_OBJ(j, JUDGE_MAGIC);
	j->member = c->member;
	j->arg = c->arg;
	j->authority = ca_x509(c->ca);
	X509_up_ref(j->authority);
	ctx = context(method, j);
	if (ctx != NULL && c->certificate_pem.n == 0 && method == TLS_client_method())
		return ctx;
	if (ctx == NULL || !use_pem(ctx, c))
		return failed(ctx, ret_why, "This node's certificate or key for the cluster cannot be used");
	if (!ca_identity_of(SSL_CTX_get0_certificate(ctx), &self))
		return failed(ctx, ret_why, "This node's certificate is not one of a cluster's node");
	memcpy(j->cluster, self.cluster, sizeof(j->cluster));
	return ctx;
}

SSL_CTX *channel_server(const struct channel_config *c, char **ret_why)
{
	return of_member(TLS_server_method(), c, ret_why);
}

SSL_CTX *channel_client(const struct channel_config *c, char **ret_why)
{
	return of_member(TLS_client_method(), c, ret_why);
}

SSL_CTX *channel_joiner(const uint8_t authority[CA_FINGERPRINT_LEN], char **ret_why)
{
	struct judge *j;

	NEW_OBJ(j, JUDGE_MAGIC);
	memcpy(j->fingerprint, authority, sizeof(j->fingerprint));
	SSL_CTX *ctx = context(TLS_client_method(), j);
	return ctx != NULL ? ctx : failed(NULL, ret_why, "TLS towards the cluster cannot be set up");
}

/* ---- who is there ---- */

enum channel_peer channel_peer(const SSL *ssl, struct ca_identity *ret)
{
	X509 *x = SSL_get0_peer_certificate(ssl);

	*ret = (struct ca_identity) { 0 };
	if (SSL_is_init_finished(ssl) == 0)
		return CHANNEL_NOBODY;
	if (x == NULL)
		return SSL_is_server(ssl) ? CHANNEL_STRANGER : CHANNEL_NOBODY;
	return SSL_get_verify_result(ssl) == X509_V_OK && ca_identity_of(x, ret) ? CHANNEL_NODE : CHANNEL_NOBODY;
}

bool channel_authority_pem(const SSL *ssl, struct sbuf *out)
{
	const struct judge *j = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), judge_index());
	STACK_OF(X509) *sent = SSL_get_peer_cert_chain(ssl);
	struct ca_identity who;

	if (j == NULL || channel_peer(ssl, &who) != CHANNEL_NODE)
		return false;
	for (int i = 0; sent != NULL && i < sk_X509_num(sent); i++) {
		X509 *x = sk_X509_value(sent, i);
		uint8_t is[CA_FINGERPRINT_LEN];
		char *p = NULL;
		ca_x509_fingerprint(x, is);
		if (CRYPTO_memcmp(is, j->fingerprint, sizeof(is)) != 0)
			continue;
		BIO *b = BIO_new(BIO_s_mem());
		ASSERT(b != NULL && PEM_write_bio_X509(b, x) == 1);
		long n = BIO_get_mem_data(b, &p);
		sbuf_add(out, p, (size_t)n);
		BIO_free(b);
		return true;
	}
	return false;
}

bool channel_binding(SSL *ssl, uint8_t ret[CHANNEL_BINDING_LEN])
{
	return SSL_is_init_finished(ssl) != 0 &&
	       SSL_export_keying_material(ssl, ret, CHANNEL_BINDING_LEN, BINDING_LABEL, strlen(BINDING_LABEL), NULL, 0,
					  0) == 1;
}

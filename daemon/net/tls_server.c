/* SPDX-License-Identifier: Apache-2.0
 * The server's side: one context per listener, the certificate chosen for each connection.
 *
 * The hard thing is several certificates for one name: OpenSSL chooses by what the client can verify, but only among
 * those that were put into the connection, one per kind of key. So the connection gets the best of each kind.
 */
#include "daemon/net/tls_private.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SERVER_MAGIC 0x74737276u
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"
#define SNI_MAX 255
#define KINDS_MAX 4 /* kinds of keys put into one connection */

struct tls_server {
	uint32_t magic;
	_Atomic unsigned refs;
	SSL_CTX *ctx;
	struct tls_certificate **certs;
	size_t n_certs;
	struct tls_tickets *tickets;
};

/* ---- choosing certificates ---- */

struct choice {
	const struct tls_certificate *of[KINDS_MAX];
	size_t n;
};

static void choose(struct choice *ch, const struct tls_certificate *c)
{
	for (size_t i = 0; i < ch->n; i++)
		if (tls_certificate_same_kind(ch->of[i], c))
			return;
	if (ch->n < KINDS_MAX)
		ch->of[ch->n++] = c;
}

static void choose_for(struct choice *ch, const struct tls_server *s, const char *host)
{
	for (int exact = 1; exact >= 0; exact--)
		for (size_t i = 0; i < s->n_certs; i++)
			if (tls_certificate_covers(s->certs[i], host, exact))
				choose(ch, s->certs[i]);
}

/* The first certificate, and of other kinds those good for one of its names. */
static void choose_default(struct choice *ch, const struct tls_server *s)
{
	const char *name;

	choose(ch, s->certs[0]);
	for (size_t i = 0; (name = tls_certificate_dns_name(s->certs[0], i)) != NULL; i++)
		choose_for(ch, s, name);
}

static int on_certificate(SSL *ssl, void *arg)
{
	const struct tls_server *s = arg;
	const struct tls_link *link = SSL_get_app_data(ssl);
	struct choice ch = { 0 };

	if (link->sni != NULL)
		choose_for(&ch, s, link->sni);
	if (ch.n == 0)
		choose_default(&ch, s);
	SSL_certs_clear(ssl);
	for (size_t i = 0; i < ch.n; i++)
		if (!tls_certificate_use(ch.of[i], NULL, ssl))
			return 0;
	return 1;
}

/* ---- what the client asks for ---- */

static bool is_plain_name(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= SNI_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == n;
}

static int on_sni(SSL *ssl, int *alert, void *arg)
{
	struct tls_link *link = SSL_get_app_data(ssl);
	const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	UNUSED(alert);
	UNUSED(arg);
	if (asked == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	char *name = xstrndup(asked, SNI_MAX + 1);
	ascii_lower(name, strlen(name));
	free(link->sni);
	link->sni = is_plain_name(name) ? name : NULL; /* it goes into logs: nothing else than a host name */
	if (link->sni == NULL)
		free(name);
	return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned in_n,
		   void *arg)
{
	static const unsigned char smtp[] = "\4smtp";

	UNUSED(ssl);
	UNUSED(arg);
	for (unsigned at = 0; at < in_n && at + 1 + in[at] <= in_n; at += 1 + in[at]) {
		if (in[at] != smtp[0] || memcmp(in + at + 1, smtp + 1, smtp[0]) != 0)
			continue;
		*out = in + at + 1;
		*out_n = in[at];
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int on_ticket(SSL *ssl, unsigned char *key_name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
		     int enc)
{
	const struct tls_link *link = SSL_get_app_data(ssl);

	return tls_tickets_crypt(link->server->tickets, key_name, iv, cipher, mac, enc);
}

/* The verdict stands in SSL_get_verify_result(); the handshake goes on. */
static int on_client_chain(int ok, X509_STORE_CTX *store)
{
	UNUSED(ok);
	UNUSED(store);
	return 1;
}

/* ---- making ---- */

/* What a ticket is bound to: our id, and who vouched for a client's certificate that the ticket may speak of. */
static void bind_tickets(SSL_CTX *ctx, const char *id, const STACK_OF(X509_NAME) * cas, const X509_STORE *store)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	STACK_OF(X509) *trusted = cas == NULL ? NULL : X509_STORE_get1_all_certs((X509_STORE *)(uintptr_t)store);
	uint8_t hash[TLS_HASH_MAX];
	unsigned n = 0;

	EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	EVP_DigestUpdate(md, id, strlen(id) + 1);
	for (int i = 0; i < sk_X509_num(trusted); i++) {
		X509_digest(sk_X509_value(trusted, i), EVP_sha256(), hash, &n);
		EVP_DigestUpdate(md, hash, n);
	}
	EVP_DigestFinal_ex(md, hash, &n);
	EVP_MD_CTX_free(md);
	sk_X509_pop_free(trusted, X509_free);
	SSL_CTX_set_session_id_context(ctx, hash, n);
}

static bool ask_for_certificates(SSL_CTX *ctx, const char *file, char **ret_why)
{
	const char *trouble = tls_file_trouble(file);
	STACK_OF(X509_NAME) *names = trouble != NULL ? NULL : SSL_load_client_CA_file(file);

	if (names == NULL || SSL_CTX_load_verify_file(ctx, file) != 1) {
		char *text = trouble != NULL ? xstrdup(trouble) : tls_error_text();
		*ret_why = xasprintf("client_ca_file %s: %s", file, text);
		free(text);
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return false;
	}
	SSL_CTX_set_client_CA_list(ctx, names);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_client_chain);
	return true;
}

static void resume_by_tickets(struct tls_server *s, struct tls_tickets *tickets)
{
	SSL_CTX_set_session_cache_mode(s->ctx, SSL_SESS_CACHE_OFF);
	if (tickets == NULL) {
		SSL_CTX_set_options(s->ctx, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(s->ctx, 0);
		return;
	}
	s->tickets = tls_tickets_ref(tickets);
	SSL_CTX_set_timeout(s->ctx, TLS_TICKETS_LIFETIME_S);
	SSL_CTX_set_num_tickets(s->ctx, 1);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(s->ctx, on_ticket);
}

static void set_up(struct tls_server *s, const struct tls_server_conf *conf)
{
	tls_common_options(s->ctx, conf->min_version);
	SSL_CTX_set_security_level(s->ctx, 2);
	SSL_CTX_set_options(s->ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	ASSERT(SSL_CTX_set_cipher_list(s->ctx, CIPHERS_1_2) == 1);
	SSL_CTX_set_cert_cb(s->ctx, on_certificate, s);
	SSL_CTX_set_tlsext_servername_callback(s->ctx, on_sni);
	SSL_CTX_set_alpn_select_cb(s->ctx, on_alpn, NULL);
	resume_by_tickets(s, conf->tickets);
}

struct tls_server *tls_server_new(const struct tls_server_conf *conf, char **ret_why)
{
	bool ask = conf->client_ca_file != NULL && conf->client_ca_file[0] != '\0';
	struct tls_server *s;

	ASSERT(conf->n_certificates > 0);
	NEW_OBJ(s, SERVER_MAGIC);
	atomic_init(&s->refs, 1);
	*ret_why = NULL;
	ERR_clear_error();
	s->ctx = SSL_CTX_new(TLS_server_method());
	ASSERT(s->ctx != NULL);
	s->n_certs = conf->n_certificates;
	s->certs = xcalloc(s->n_certs, sizeof(struct tls_certificate *));
	for (size_t i = 0; i < s->n_certs; i++)
		s->certs[i] = tls_certificate_ref(conf->certificates[i]);
	set_up(s, conf);
	if (ask && !ask_for_certificates(s->ctx, conf->client_ca_file, ret_why)) {
		tls_server_unref(s);
		return NULL;
	}
	bind_tickets(s->ctx, conf->id == NULL ? "" : conf->id, ask ? SSL_CTX_get_client_CA_list(s->ctx) : NULL,
		     SSL_CTX_get_cert_store(s->ctx));
	return s;
}

struct tls_server *tls_server_ref(struct tls_server *s)
{
	CHECK_OBJ(s, SERVER_MAGIC);
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void tls_server_unref(struct tls_server *s)
{
	if (s == NULL)
		return;
	CHECK_OBJ(s, SERVER_MAGIC);
	if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	SSL_CTX_free(s->ctx);
	for (size_t i = 0; i < s->n_certs; i++)
		tls_certificate_unref(s->certs[i]);
	free(s->certs);
	tls_tickets_unref(s->tickets);
	FREE_OBJ(s);
}

SSL *tls_server_ssl(struct tls_server *s, struct tls_link *link)
{
	SSL *ssl = SSL_new(s->ctx);

	ASSERT(ssl != NULL);
	*link = (struct tls_link) { .server = tls_server_ref(s) };
	SSL_set_app_data(ssl, link);
	SSL_set_accept_state(ssl);
	return ssl;
}

X509 *tls_server_only_certificate(const struct tls_server *s)
{
	return s->n_certs == 1 ? tls_certificate_x509(s->certs[0]) : NULL;
}

/* SPDX-License-Identifier: Apache-2.0
 * The client's side: a context per way of verifying, and the sessions it remembers.
 *
 * The hard thing is that a resumed session is not verified again: the verdict is the one of its first handshake. So
 * sessions belong to one context, are found by address and name together, and a changed configuration, being a new
 * context, starts with none.
 */
#include "daemon/net/tls_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/base/hash.h"
#include "daemon/base/list.h"

#define CLIENT_MAGIC 0x74636c69u

struct remembered {
	struct list link;
	char *key;
	SSL_SESSION *session;
};

struct tls_client {
	uint32_t magic;
	_Atomic unsigned refs;
	SSL_CTX *ctx;
	bool verify;
	uint8_t trust[TLS_HASH_MAX]; /* hash of the authorities of a file; zeros: the system's */
	size_t max;
	pthread_mutex_t lock; /* for all below */
	struct map *by_key;
	struct list by_use; /* newest first */
};

/* ---- remembered sessions ---- */

/* Under the lock. */
static void forget(struct tls_client *c, struct remembered *r)
{
	map_remove(c->by_key, str_from(r->key));
	list_remove(&r->link);
	SSL_SESSION_free(r->session);
	free(r->key);
	free(r);
}

/* Takes the reference. Under the lock. */
static void remember(struct tls_client *c, const char *key, SSL_SESSION *session)
{
	struct remembered *r = map_get(c->by_key, str_from(key));

	if (r != NULL)
		forget(c, r);
	else if (map_count(c->by_key) >= c->max)
		forget(c, LIST_LAST(&c->by_use, struct remembered, link));
	r = xcalloc(1, sizeof(*r));
	r->key = xstrdup(key);
	r->session = session;
	map_put(c->by_key, str_from(key), r);
	list_push(&c->by_use, &r->link);
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	const struct tls_link *link = SSL_get_app_data(ssl);
	struct tls_client *c = link->client;

	if (link->key == NULL || !SSL_SESSION_is_resumable(session))
		return 0;
	/* A copy of our own: the connection goes on changing its session. */
	SSL_SESSION *copy = SSL_SESSION_dup(session);
	if (copy == NULL)
		return 0;
	pthread_mutex_lock(&c->lock);
	remember(c, link->key, copy);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

/* A TLS 1.2 server that resumes may send a new ticket, and OpenSSL's callback is silent about it. Were the old one
 * kept, resuming would end when its key is forgotten. */
void tls_client_done(SSL *ssl)
{
	if (SSL_session_reused(ssl) && SSL_version(ssl) < TLS1_3_VERSION)
		on_session(ssl, SSL_get_session(ssl));
}

static bool is_fresh(const SSL_SESSION *session)
{
	return SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session) > (long)time(NULL);
}

/* A copy of the session remembered for that key, or NULL: other threads may use the same one at the same time. */
static SSL_SESSION *recall(struct tls_client *c, const char *key)
{
	SSL_SESSION *copy = NULL;

	pthread_mutex_lock(&c->lock);
	struct remembered *r = map_get(c->by_key, str_from(key));
	if (r != NULL && !is_fresh(r->session)) {
		forget(c, r);
	} else if (r != NULL) {
		copy = SSL_SESSION_dup(r->session);
		list_remove(&r->link);
		list_push(&c->by_use, &r->link);
	}
	pthread_mutex_unlock(&c->lock);
	return copy;
}

void tls_client_forget(struct tls_client *c, const char *key)
{
	pthread_mutex_lock(&c->lock);
	struct remembered *r = map_get(c->by_key, str_from(key));
	if (r != NULL)
		forget(c, r);
	pthread_mutex_unlock(&c->lock);
}

size_t tls_client_sessions(struct tls_client *c)
{
	pthread_mutex_lock(&c->lock);
	size_t n = map_count(c->by_key);
	pthread_mutex_unlock(&c->lock);
	return n;
}

/* ---- making ---- */

static void note_trust(struct tls_client *c)
{
	STACK_OF(X509) *all = X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(c->ctx));
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t hash[TLS_HASH_MAX];
	unsigned n = 0;

	EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	for (int i = 0; i < sk_X509_num(all); i++) {
		X509_digest(sk_X509_value(all, i), EVP_sha256(), hash, &n);
		EVP_DigestUpdate(md, hash, n);
	}
	EVP_DigestFinal_ex(md, c->trust, NULL);
	EVP_MD_CTX_free(md);
	sk_X509_pop_free(all, X509_free);
}

static bool set_trust(struct tls_client *c, const char *ca_file, char **ret_why)
{
	SSL_CTX *ctx = c->ctx;

	if (ca_file == NULL || ca_file[0] == '\0') {
		SSL_CTX_set_default_verify_paths(ctx);
		ERR_clear_error();
		return true;
	}
	const char *trouble = tls_file_trouble(ca_file);
	if (trouble == NULL && SSL_CTX_load_verify_file(ctx, ca_file) == 1) {
		note_trust(c);
		return true;
	}
	char *text = trouble != NULL ? xstrdup(trouble) : tls_error_text();
	*ret_why = xasprintf("ca_file %s: %s", ca_file, text);
	free(text);
	return false;
}

static void set_up(struct tls_client *c, const struct tls_client_conf *conf)
{
	tls_common_options(c->ctx, conf->min_version);
	/* Whoever takes any certificate would rather have old ciphers than none at all. */
	SSL_CTX_set_security_level(c->ctx, conf->verify ? 2 : 1);
	ASSERT(SSL_CTX_set_cipher_list(c->ctx, conf->verify ? "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
							    : "HIGH:!aNULL:!PSK:!SRP") == 1);
	SSL_CTX_set_verify(c->ctx, conf->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	if (conf->sessions_max == 0) {
		SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
		return;
	}
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c->ctx, on_session);
}

struct tls_client *tls_client_new(const struct tls_client_conf *conf, char **ret_why)
{
	struct tls_client *c;

	NEW_OBJ(c, CLIENT_MAGIC);
	atomic_init(&c->refs, 1);
	*ret_why = NULL;
	ERR_clear_error();
	c->verify = conf->verify;
	c->max = conf->sessions_max;
	pthread_mutex_init(&c->lock, NULL);
	c->by_key = map_new();
	list_init(&c->by_use);
	c->ctx = SSL_CTX_new(TLS_client_method());
	ASSERT(c->ctx != NULL);
	set_up(c, conf);
	if (conf->verify && !set_trust(c, conf->ca_file, ret_why)) {
		tls_client_unref(c);
		return NULL;
	}
	return c;
}

struct tls_client *tls_client_ref(struct tls_client *c)
{
	CHECK_OBJ(c, CLIENT_MAGIC);
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void tls_client_unref(struct tls_client *c)
{
	if (c == NULL)
		return;
	CHECK_OBJ(c, CLIENT_MAGIC);
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	while (!list_empty(&c->by_use))
		forget(c, LIST_FIRST(&c->by_use, struct remembered, link));
	map_free(c->by_key, NULL);
	SSL_CTX_free(c->ctx);
	pthread_mutex_destroy(&c->lock);
	FREE_OBJ(c);
}

bool tls_client_same_trust(const struct tls_client *a, const struct tls_client *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return a->verify == b->verify && memcmp(a->trust, b->trust, sizeof(a->trust)) == 0;
}

bool tls_client_verifies(const struct tls_client *c)
{
	return c->verify;
}

/* ---- one connection ---- */

/* A context that verifies must have something to verify: without a name it is the address. */
static void expect(SSL *ssl, const struct addr *addr, const char *name, bool verify)
{
	char text[ADDR_TEXT_MAX];
	struct addr parsed;
	bool is_ip = name[0] == '\0' || addr_parse_ip(name, &parsed);

	if (!is_ip)
		SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)name);
	if (!verify)
		return;
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	int ok = is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, addr_format_ip(name[0] == '\0' ? addr : &parsed, text))
		       : X509_VERIFY_PARAM_set1_host(param, name, 0);
	ASSERT(ok == 1);
}

SSL *tls_client_ssl(struct tls_client *c, const struct addr *addr, const char *name, struct tls_link *link)
{
	SSL *ssl = SSL_new(c->ctx);
	char text[ADDR_TEXT_MAX];

	ASSERT(ssl != NULL);
	if (name == NULL)
		name = "";
	*link = (struct tls_link) { .client = tls_client_ref(c) };
	SSL_set_app_data(ssl, link);
	expect(ssl, addr, name, c->verify);
	SSL_set_connect_state(ssl);
	if (c->max == 0)
		return ssl;
	link->key = xasprintf("%s|%s", addr_format(addr, text), name);
	SSL_SESSION *session = recall(c, link->key);
	if (session != NULL)
		SSL_set_session(ssl, session);
	SSL_SESSION_free(session);
	return ssl;
}

void tls_link_fini(struct tls_link *link)
{
	tls_server_unref(link->server);
	tls_client_unref(link->client);
	free(link->key);
	free(link->sni);
	*link = (struct tls_link) { 0 };
}

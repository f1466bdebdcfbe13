/* SPDX-License-Identifier: Apache-2.0
 * TLS between nodes: who is let in, and what a proof is bound to. Two ends in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "cluster/trust/channel.h"
#include "cluster/trust/token.h"

struct node {
	struct sbuf key, pem;
	struct ca_identity who;
	uint32_t refuses; /* this id is no member any more */
	unsigned asked;
	struct channel_config config;
};

static bool member(void *arg, const struct ca_identity *peer)
{
	struct node *n = arg;

	n->asked++;
	return peer->id != n->refuses;
}

static void node_init(struct node *n, const struct ca *ca, const char *cluster, uint32_t id)
{
	struct sbuf request = { 0 };
	char *why = NULL;

	*n = (struct node) { .who = { .name = "n", .id = id } };
	memcpy(n->who.cluster, cluster, strlen(cluster) + 1);
	assert_true(ca_request_make(&n->key, &request));
	assert_true(ca_issue(ca, (struct str) { request.p, request.n }, &n->who, (double)time(NULL), &n->pem, &why));
	n->config = (struct channel_config) { ca, { n->pem.p, n->pem.n }, { n->key.p, n->key.n }, member, n };
	sbuf_fini(&request);
}

static void node_fini(struct node *n)
{
	sbuf_fini(&n->key);
	sbuf_fini(&n->pem);
}

struct ends {
	SSL *server, *client;
};

static bool step(SSL *ssl)
{
	char byte;
	int rc = SSL_do_handshake(ssl);

	if (rc == 1)
		rc = SSL_read(ssl, &byte, 1);
	int e = SSL_get_error(ssl, rc);
	return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE;
}

/* Both contexts are freed. True: both ends are through. */
static bool meet(SSL_CTX *server, SSL_CTX *client, struct ends *e)
{
	BIO *a, *b;
	bool alive = true;

	assert_true(server != NULL && client != NULL);
	e->server = SSL_new(server);
	e->client = SSL_new(client);
	assert_int_equal(BIO_new_bio_pair(&a, 65536, &b, 65536), 1);
	SSL_set_bio(e->server, a, a);
	SSL_set_bio(e->client, b, b);
	SSL_set_accept_state(e->server);
	SSL_set_connect_state(e->client);
	for (unsigned i = 0; i < 20 && alive; i++) {
		alive &= step(e->client);
		alive &= step(e->server);
	}
	SSL_CTX_free(server);
	SSL_CTX_free(client);
	return alive && SSL_is_init_finished(e->server) && SSL_is_init_finished(e->client);
}

static void part(struct ends *e)
{
	SSL_free(e->server);
	SSL_free(e->client);
}

static struct ca *authority(const char *cluster)
{
	char *why = NULL;
	struct ca *ca = ca_make(cluster, (double)time(NULL), &why);

	assert_non_null(ca);
	return ca;
}

static void members_know_each_other_by_name(void **state)
{
	UNUSED(state);
	struct ca *ca = authority("mail");
	struct node one, two;
	struct ca_identity seen;
	struct ends e;
	char *why = NULL;

	node_init(&one, ca, "mail", 1);
	node_init(&two, ca, "mail", 2);
	assert_true(meet(channel_server(&one.config, &why), channel_client(&two.config, &why), &e));
	assert_string_equal(SSL_get_version(e.client), "TLSv1.3");
	assert_int_equal(channel_peer(e.server, &seen), CHANNEL_NODE);
	assert_int_equal(seen.id, 2);
	assert_memory_equal(seen.fingerprint, two.who.fingerprint, sizeof(seen.fingerprint));
	assert_int_equal(channel_peer(e.client, &seen), CHANNEL_NODE);
	assert_int_equal(seen.id, 1);
	assert_true(one.asked == 1 && two.asked == 1);
	assert_false(SSL_session_reused(e.client));
	part(&e);
	node_fini(&one);
	node_fini(&two);
	ca_free(ca);
}

static void who_is_no_member_any_more_gets_nowhere(void **state)
{
	UNUSED(state);
	struct ca *ca = authority("mail");
	struct node one, two;
	struct ca_identity seen;
	struct ends e;
	char *why = NULL;

	node_init(&one, ca, "mail", 1);
	node_init(&two, ca, "mail", 2);
	one.refuses = 2;
	assert_false(meet(channel_server(&one.config, &why), channel_client(&two.config, &why), &e));
	assert_int_equal(channel_peer(e.server, &seen), CHANNEL_NOBODY);
	part(&e);
	one.refuses = 0;
	two.refuses = 1;
	assert_false(meet(channel_server(&one.config, &why), channel_client(&two.config, &why), &e));
	part(&e);
	node_fini(&one);
	node_fini(&two);
	ca_free(ca);
}

static void another_authority_or_cluster_is_not_asked_about(void **state)
{
	UNUSED(state);
	struct ca *ca = authority("mail"), *other = authority("mail");
	struct node one, stranger;
	struct ends e;
	char *why = NULL;

	node_init(&one, ca, "mail", 1);
	node_init(&stranger, other, "mail", 2);
	assert_false(meet(channel_server(&one.config, &why), channel_client(&stranger.config, &why), &e));
	part(&e);
	assert_int_equal(one.asked, 0);
	/* A certificate from elsewhere under the own authority's context: the server shows it, the client of the
	 * cluster refuses. */
	stranger.config.ca = ca;
	assert_false(meet(channel_server(&stranger.config, &why), channel_client(&one.config, &why), &e));
	part(&e);
	assert_int_equal(one.asked, 0);
	node_fini(&one);
	node_fini(&stranger);
	ca_free(ca);
	ca_free(other);
}

static void who_joins_believes_the_fingerprint_alone(void **state)
{
	UNUSED(state);
	struct ca *ca = authority("mail"), *other = authority("mail");
	struct node one, stranger;
	struct ca_identity seen;
	struct sbuf pem = { 0 }, own = { 0 };
	uint8_t fingerprint[CA_FINGERPRINT_LEN], leaf[CA_FINGERPRINT_LEN];
	struct ends e;
	char *why = NULL;

	node_init(&one, ca, "mail", 1);
	node_init(&stranger, other, "mail", 1);
	ca_fingerprint(ca, fingerprint);
	assert_true(meet(channel_server(&one.config, &why), channel_joiner(fingerprint, &why), &e));
	assert_int_equal(channel_peer(e.server, &seen), CHANNEL_STRANGER);
	assert_int_equal(channel_peer(e.client, &seen), CHANNEL_NODE);
	assert_string_equal(seen.cluster, "mail");
	assert_true(channel_authority_pem(e.client, &pem));
	assert_false(channel_authority_pem(e.server, &pem));
	ca_certificate_pem(ca, &own);
	assert_true(str_eq((struct str) { pem.p, pem.n }, (struct str) { own.p, own.n }));
	part(&e);
	assert_false(meet(channel_server(&stranger.config, &why), channel_joiner(fingerprint, &why), &e));
	part(&e);
	/* A node's certificate is not an authority's, also where the fingerprint is its own. */
	memcpy(leaf, one.who.fingerprint, sizeof(leaf));
	assert_false(meet(channel_server(&one.config, &why), channel_joiner(leaf, &why), &e));
	part(&e);
	sbuf_fini(&pem);
	sbuf_fini(&own);
	node_fini(&one);
	node_fini(&stranger);
	ca_free(ca);
	ca_free(other);
}

static void a_proof_cannot_be_relayed_to_another_connection(void **state)
{
	UNUSED(state);
	struct ca *ca = authority("mail");
	struct node one;
	uint8_t fingerprint[CA_FINGERPRINT_LEN], stored[TOKEN_HASH_LEN], proof[TOKEN_HASH_LEN];
	uint8_t at_client[CHANNEL_BINDING_LEN], at_server[CHANNEL_BINDING_LEN], elsewhere[CHANNEL_BINDING_LEN];
	struct token t;
	struct ends e, other;
	char *why = NULL;

	node_init(&one, ca, "mail", 1);
	ca_fingerprint(ca, fingerprint);
	assert_true(token_make(&t, fingerprint, 1));
	token_stored(&t, stored);
	assert_true(meet(channel_server(&one.config, &why), channel_joiner(t.authority, &why), &e));
	assert_true(meet(channel_server(&one.config, &why), channel_joiner(t.authority, &why), &other));
	assert_true(channel_binding(e.client, at_client) && channel_binding(e.server, at_server));
	assert_true(channel_binding(other.server, elsewhere));
	assert_memory_equal(at_client, at_server, sizeof(at_client));
	token_prove(&t, at_client, STR("request"), proof);
	assert_true(token_check(stored, at_server, STR("request"), proof));
	assert_false(token_check(stored, elsewhere, STR("request"), proof));
	part(&e);
	part(&other);
	node_fini(&one);
	ca_free(ca);
}

static void older_tls_is_not_spoken(void **state)
{
	UNUSED(state);
	struct ca *ca = authority("mail");
	struct node one;
	struct ends e;
	char *why = NULL;
	SSL_CTX *old = SSL_CTX_new(TLS_client_method());

	node_init(&one, ca, "mail", 1);
	SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION);
	assert_false(meet(channel_server(&one.config, &why), old, &e));
	part(&e);
	node_fini(&one);
	ca_free(ca);
}

static void a_key_that_is_not_the_certificates_is_refused(void **state)
{
	UNUSED(state);
	struct ca *ca = authority("mail");
	struct node one, two;
	struct sbuf own = { 0 }, key = { 0 };
	char *why = NULL;

	node_init(&one, ca, "mail", 1);
	node_init(&two, ca, "mail", 2);
	one.config.key_pem = two.config.key_pem;
	assert_null(channel_server(&one.config, &why));
	assert_non_null(strstr(why, "cannot be used"));
	free(why);
	one.config.key_pem = STR("nonsense");
	assert_null(channel_client(&one.config, &why));
	free(why);
	/* The authority's own is no node's. */
	ca_certificate_pem(ca, &own);
	ca_key_pem(ca, &key);
	one.config.certificate_pem = (struct str) { own.p, own.n };
	one.config.key_pem = (struct str) { key.p, key.n };
	assert_null(channel_server(&one.config, &why));
	assert_non_null(strstr(why, "not one of a cluster's node"));
	free(why);
	sbuf_fini(&own);
	sbuf_fini(&key);
	node_fini(&one);
	node_fini(&two);
	ca_free(ca);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_know_each_other_by_name),
		cmocka_unit_test(who_is_no_member_any_more_gets_nowhere),
		cmocka_unit_test(another_authority_or_cluster_is_not_asked_about),
		cmocka_unit_test(who_joins_believes_the_fingerprint_alone),
		cmocka_unit_test(a_proof_cannot_be_relayed_to_another_connection),
		cmocka_unit_test(older_tls_is_not_spoken),
		cmocka_unit_test(a_key_that_is_not_the_certificates_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * The cluster's authority: what it issues, what it takes for its own, and what it refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#include "cluster/trust/ca.h"
#include "cluster/trust/corosync_key.h"

#define NOW 1800000000.0
#define DAY 86400.0

static struct str text_of(const struct sbuf *b)
{
	return (struct str) { b->p, b->n };
}

static struct ca *made(const char *cluster)
{
	char *why = NULL;
	struct ca *ca = ca_make(cluster, NOW, &why);

	assert_non_null(ca);
	return ca;
}

static struct ca_identity identity(const char *cluster, uint32_t id)
{
	struct ca_identity i = { .name = "n1", .id = id };

	memcpy(i.cluster, cluster, strlen(cluster) + 1);
	return i;
}

static void a_node_certificate_says_who_it_is(void **state)
{
	UNUSED(state);
	struct ca *ca = made("mail");
	struct ca_identity who = identity("mail", 4294967295u), seen;
	struct sbuf key = { 0 }, request = { 0 }, pem = { 0 };
	char *why = NULL;

	assert_true(ca_request_make(&key, &request));
	assert_true(ca_issue(ca, text_of(&request), &who, NOW, &pem, &why));
	assert_true(ca_verify(ca, text_of(&pem), NOW, &seen, &why));
	assert_string_equal(seen.cluster, "mail");
	assert_string_equal(seen.name, "n1");
	assert_true(seen.id == 4294967295u && seen.not_after == NOW + CA_NODE_DAYS * DAY);
	assert_memory_equal(seen.fingerprint, who.fingerprint, CA_FINGERPRINT_LEN);
	assert_false(ca_renewal_due(&seen, NOW));
	assert_true(ca_renewal_due(&seen, NOW + (CA_NODE_DAYS - CA_RENEW_DAYS + 1) * DAY));
	/* A clock that is behind takes it. */
	assert_true(ca_verify(ca, text_of(&pem), NOW - 3600, &seen, &why));
	assert_false(ca_verify(ca, text_of(&pem), NOW + (CA_NODE_DAYS + 1) * DAY, &seen, &why));
	assert_non_null(strstr(why, "expired"));
	free(why);
	ca_free(ca);
	sbuf_fini(&key);
	sbuf_fini(&request);
	sbuf_fini(&pem);
}

static void the_authority_comes_back_from_its_files(void **state)
{
	UNUSED(state);
	struct ca *ca = made("mail"), *other = made("mail"), *back, *blind;
	struct sbuf cert = { 0 }, key = { 0 }, foreign = { 0 }, none = { 0 };
	uint8_t a[CA_FINGERPRINT_LEN], b[CA_FINGERPRINT_LEN];
	char *why = NULL;

	ca_certificate_pem(ca, &cert);
	ca_key_pem(ca, &key);
	ca_key_pem(other, &foreign);
	back = ca_load(text_of(&cert), text_of(&key), &why);
	assert_true(back != NULL && ca_can_issue(back));
	ca_fingerprint(ca, a);
	ca_fingerprint(back, b);
	assert_memory_equal(a, b, sizeof(a));
	ca_fingerprint(other, b);
	assert_memory_not_equal(a, b, sizeof(a));
	blind = ca_load(text_of(&cert), STR(""), &why);
	assert_true(blind != NULL && !ca_can_issue(blind));
	ca_key_pem(blind, &none);
	assert_int_equal(none.n, 0);
	assert_null(ca_load(text_of(&cert), text_of(&foreign), &why));
	assert_non_null(strstr(why, "another certificate"));
	free(why);
	assert_null(ca_load(text_of(&key), text_of(&key), &why));
	free(why);
	assert_null(ca_load(STR(""), STR(""), &why));
	free(why);
	assert_null(ca_make("two words", NOW, &why));
	free(why);
	ca_free(ca);
	ca_free(other);
	ca_free(back);
	ca_free(blind);
	sbuf_fini(&cert);
	sbuf_fini(&key);
	sbuf_fini(&foreign);
}

static void what_is_no_request_gets_no_certificate(void **state)
{
	UNUSED(state);
	struct ca *ca = made("mail");
	struct sbuf key = { 0 }, request = { 0 }, pem = { 0 };
	struct ca_identity who;
	char *why = NULL;

	assert_true(ca_request_make(&key, &request));
	for (unsigned i = 0; i < 6; i++) {
		struct str asked = i == 0 ? STR("") : i == 1 ? text_of(&key) : text_of(&request);
		who = identity(i == 2 ? "post" : "mail", i == 3 ? 0 : 1);
		if (i == 4)
			memcpy(who.name, "a,URI:postroad:mail:2", 22);
		if (i == 5)
			request.p[request.n / 2] ^= 1;
		assert_false(ca_issue(ca, asked, &who, NOW, &pem, &why));
		assert_int_equal(pem.n, 0);
		free(why);
	}
	ca_free(ca);
	sbuf_fini(&key);
	sbuf_fini(&request);
}

static void a_request_with_another_kind_of_key_is_refused(void **state)
{
	UNUSED(state);
	struct ca *ca = made("mail");

	for (unsigned i = 0; i < 3; i++) {
		EVP_PKEY *key = i == 0   ? EVP_RSA_gen(2048)
				: i == 1 ? EVP_EC_gen("P-384")
					 : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		X509_REQ *r = X509_REQ_new();
		BIO *b = BIO_new(BIO_s_mem());
		struct ca_identity who = identity("mail", 1);
		struct sbuf pem = { 0 };
		char *p, *why = NULL;

		assert_int_equal(X509_REQ_set_pubkey(r, key), 1);
		assert_true(X509_REQ_sign(r, key, i == 2 ? NULL : EVP_sha256()) > 0);
		PEM_write_bio_X509_REQ(b, r);
		long n = BIO_get_mem_data(b, &p);
		assert_false(ca_issue(ca, (struct str) { p, (size_t)n }, &who, NOW, &pem, &why));
		assert_non_null(strstr(why, "P-256"));
		free(why);
		BIO_free(b);
		X509_REQ_free(r);
		EVP_PKEY_free(key);
	}
	ca_free(ca);
}

static void a_certificate_of_another_authority_is_not_ours(void **state)
{
	UNUSED(state);
	struct ca *ca = made("mail"), *other = made("mail");
	struct ca_identity who = identity("mail", 1), seen;
	struct sbuf key = { 0 }, request = { 0 }, pem = { 0 }, own = { 0 };
	char *why = NULL;

	assert_true(ca_request_make(&key, &request));
	assert_true(ca_issue(other, text_of(&request), &who, NOW, &pem, &why));
	assert_false(ca_verify(ca, text_of(&pem), NOW, &seen, &why));
	free(why);
	/* The authority itself is no node. */
	ca_certificate_pem(ca, &own);
	assert_false(ca_verify(ca, text_of(&own), NOW, &seen, &why));
	free(why);
	assert_false(ca_verify(ca, text_of(&key), NOW, &seen, &why));
	free(why);
	ca_free(ca);
	ca_free(other);
	sbuf_fini(&key);
	sbuf_fini(&request);
	sbuf_fini(&pem);
	sbuf_fini(&own);
}

static void corosyncs_key_is_known_by_its_hash(void **state)
{
	UNUSED(state);
	uint8_t a[COROSYNC_KEY_LEN], b[COROSYNC_KEY_LEN], hash[COROSYNC_KEY_HASH_LEN];

	assert_true(corosync_key_make(a) && corosync_key_make(b));
	assert_memory_not_equal(a, b, sizeof(a));
	corosync_key_hash(a, hash);
	assert_true(corosync_key_is((struct str) { (char *)a, sizeof(a) }, hash));
	assert_false(corosync_key_is((struct str) { (char *)b, sizeof(b) }, hash));
	assert_false(corosync_key_is((struct str) { (char *)a, sizeof(a) - 1 }, hash));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_certificate_says_who_it_is),
		cmocka_unit_test(the_authority_comes_back_from_its_files),
		cmocka_unit_test(what_is_no_request_gets_no_certificate),
		cmocka_unit_test(a_request_with_another_kind_of_key_is_refused),
		cmocka_unit_test(a_certificate_of_another_authority_is_not_ours),
		cmocka_unit_test(corosyncs_key_is_known_by_its_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Promises of certificates and contexts: what is wrong is said, each name gets its certificate, sessions resume where
 * they may and nowhere else, who cannot be verified is refused.
 */
#include <pthread.h>

#include "tests/unit/net/tls_ends.h"

static struct made ca, other_ca, mail, mail_rsa, b, wild;

static int make_all(void **state)
{
	UNUSED(state);
	ca = made((struct made_like) { .cn = "CA" });
	other_ca = made((struct made_like) { .cn = "Other CA" });
	mail = made((struct made_like) { .cn = "x", .san = "DNS:Mail.Example, IP:192.0.2.1", .ca = &ca });
	mail_rsa = made((struct made_like) { .cn = "x", .san = "DNS:mail.example", .ca = &ca, .rsa_bits = 2048 });
	b = made((struct made_like) { .cn = "b.example", .ca = &ca });
	wild = made((struct made_like) { .cn = "w", .san = "DNS:*.c.example", .ca = &ca });
	return 0;
}

static int free_all(void **state)
{
	struct made *all[] = { &ca, &other_ca, &mail, &mail_rsa, &b, &wild };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		made_free(all[i]);
	return 0;
}

/* A server with up to four certificates; the list ends with NULL. */
static struct tls_server *server_of(const struct made *const *list, struct tls_server_conf conf)
{
	struct tls_certificate *certs[4];
	char *why = NULL;

	for (conf.n_certificates = 0; list[conf.n_certificates] != NULL; conf.n_certificates++)
		certs[conf.n_certificates] = made_certificate(list[conf.n_certificates]);
	conf.certificates = certs;
	struct tls_server *s = tls_server_new(&conf, &why);
	assert_non_null(s);
	for (size_t i = 0; i < conf.n_certificates; i++)
		tls_certificate_unref(certs[i]);
	return s;
}

#define LIST(...) ((const struct made *const[]) { __VA_ARGS__, NULL })

static struct tls_client *client_of(struct tls_client_conf conf)
{
	char *why = NULL;
	struct tls_client *c = tls_client_new(&conf, &why);

	assert_non_null(c);
	return c;
}

static struct tls_client *verifying(const struct made *by)
{
	char path[32];
	struct tls_client *c = client_of((struct tls_client_conf) {
		.verify = true, .ca_file = made_file(by->cert_pem, path), .sessions_max = 8 });

	unlink(path);
	return c;
}

/* ---- certificates ---- */

static void refused(const char *cert, const char *key, const char *text)
{
	char *why = NULL;

	assert_null(tls_certificate_parse("mail", str_from(cert), str_from(key), &why));
	assert_string_equal(why, text);
	free(why);
}

static void what_is_wrong_with_a_certificate_is_said(void **state)
{
	struct made weak = made((struct made_like) { .cn = "weak", .rsa_bits = 1024 });
	BIO *bio = BIO_new(BIO_s_mem());
	char *damaged = xstrdup(mail.cert_pem);

	UNUSED(state);
	PEM_write_bio_PrivateKey(bio, mail.key, EVP_aes_256_cbc(), (const unsigned char *)"x", 1, NULL, NULL);
	char *locked = made_text(bio);
	strchr(damaged, '\n')[5] = '*';
	refused(mail.cert_pem, b.key_pem, "certificate mail: key does not match");
	refused(mail.cert_pem, mail_rsa.key_pem, "certificate mail: key does not match");
	refused(mail.cert_pem, "", "certificate mail: no private key in PEM form");
	refused("", mail.key_pem, "certificate mail: no certificate in PEM form, or a damaged one");
	refused(damaged, mail.key_pem, "certificate mail: no certificate in PEM form, or a damaged one");
	refused(mail.cert_pem, locked, "certificate mail: the key has a passphrase, which cannot be asked for");
	refused(weak.cert_pem, weak.key_pem, "certificate mail: ee key too small");
	char *chain = xasprintf("%s%s", mail.cert_pem, damaged);
	refused(chain, mail.key_pem, "certificate mail: no certificate in PEM form, or a damaged one");
	free(chain);
	free(locked);
	free(damaged);
	made_free(&weak);
}

static void files_are_named_in_errors(void **state)
{
	char cert[32], key[32], *why = NULL, *want;

	UNUSED(state);
	assert_null(tls_certificate_load("mail", "/nonexistent/x.pem", NULL, &why));
	assert_string_equal(why, "certificate mail: No such file or directory (/nonexistent/x.pem)");
	free(why);
	made_file(mail.cert_pem, cert);
	made_file(b.key_pem, key);
	assert_null(tls_certificate_load("mail", cert, key, &why));
	want = xasprintf("certificate mail: key does not match (%s)", key);
	assert_string_equal(why, want);
	free(want);
	free(why);
	unlink(cert);
	unlink(key);
}

static void one_file_may_hold_key_and_chain(void **state)
{
	char path[32], *why = NULL, *text = xasprintf("%s%s%s", mail_rsa.key_pem, mail_rsa.cert_pem, ca.cert_pem);
	struct tls_certificate *c = tls_certificate_load("mail", made_file(text, path), "", &why);

	UNUSED(state);
	assert_non_null(c);
	assert_string_equal(tls_certificate_kind(c), "RSA");
	assert_string_equal(tls_certificate_name(c), "mail");
	time_t left = (time_t)tls_certificate_not_after(c) - time(NULL);
	assert_in_range(left, 29 * 86400, 30 * 86400);
	tls_certificate_unref(c);
	unlink(path);
	free(text);
}

static void a_wildcard_covers_one_label(void **state)
{
	struct tls_certificate *m = made_certificate(&mail), *w = made_certificate(&wild), *cn = made_certificate(&b);

	UNUSED(state);
	assert_string_equal(tls_certificate_dns_name(m, 0), "mail.example");
	assert_null(tls_certificate_dns_name(m, 1));
	assert_true(tls_certificate_covers(m, "MAIL.example", true));
	assert_false(tls_certificate_covers(m, "x", false)); /* the common name, where there are others */
	assert_true(tls_certificate_covers(cn, "b.example", true));
	assert_true(tls_certificate_covers(w, "x.c.example", false));
	assert_false(tls_certificate_covers(w, "x.c.example", true));
	assert_false(tls_certificate_covers(w, "y.x.c.example", false));
	assert_false(tls_certificate_covers(w, "c.example", false));
	assert_false(tls_certificate_covers(w, ".c.example", false));
	tls_certificate_unref(m);
	tls_certificate_unref(w);
	tls_certificate_unref(cn);
}

/* ---- choosing ---- */

/* The client, allowed RSA signatures only or all, gets that certificate. */
static void gets(struct tls_server *s, const char *name, const char *sigalgs, const struct made *want)
{
	struct tls_client *c = client_of((struct tls_client_conf) { 0 });
	struct ends p;

	ends_begin(&p, s, c, name);
	if (sigalgs != NULL) {
		char *list = xstrdup(sigalgs);
		assert_int_equal(SSL_set1_sigalgs_list(ends_ssl(&p.c), list), 1);
		free(list);
	}
	ENDS_UNTIL(&p, ends_settled(&p));
	assert_int_equal(p.c.tls, 1);
	assert_int_equal(X509_cmp(SSL_get0_peer_certificate(ends_ssl(&p.c)), want->x), 0);
	ends_close(&p);
	tls_client_unref(c);
}

static void the_certificate_follows_the_name_asked_for(void **state)
{
	struct made exact = made((struct made_like) { .cn = "e", .san = "DNS:exact.c.example", .ca = &ca });
	struct tls_server *s = server_of(LIST(&mail, &b, &wild, &exact), (struct tls_server_conf) { .id = "in" });

	UNUSED(state);
	gets(s, "mail.example", NULL, &mail);
	gets(s, "b.example", NULL, &b);
	gets(s, "B.Example", NULL, &b);
	gets(s, "x.c.example", NULL, &wild);
	gets(s, "exact.c.example", NULL, &exact); /* before the wildcard that stands first */
	gets(s, "unknown.example", NULL, &mail);
	gets(s, "192.0.2.1", NULL, &mail); /* no SNI with an address */
	gets(s, NULL, NULL, &mail);
	tls_server_unref(s);
	made_free(&exact);
}

static void rsa_stands_beside_ecdsa_for_one_name(void **state)
{
	static const char rsa[] = "RSA-PSS+SHA256:RSA+SHA256", ec[] = "ECDSA+SHA256";
	struct tls_server *s = server_of(LIST(&b, &mail, &mail_rsa), (struct tls_server_conf) { .id = "in" });
	struct tls_server *d = server_of(LIST(&mail_rsa, &b, &mail), (struct tls_server_conf) { .id = "in" });

	UNUSED(state);
	gets(s, "mail.example", rsa, &mail_rsa);
	gets(s, "mail.example", ec, &mail);
	gets(d, NULL, rsa, &mail_rsa);
	gets(d, NULL, ec, &mail); /* the default's name, the other kind */
	tls_server_unref(s);
	tls_server_unref(d);
}

/* ---- resumption ---- */

/* Connects, talks, closes; whether the session was resumed. Both sides must agree. */
static bool resumes_as(struct tls_server *s, struct tls_client *c, const char *name, int version)
{
	struct stream_tls_info at_c, at_s;
	struct ends p;

	ends_begin(&p, s, c, name);
	SSL_set_max_proto_version(ends_ssl(&p.c), version);
	ENDS_UNTIL(&p, ends_settled(&p));
	assert_int_equal(p.c.tls + p.s.tls, 2);
	ends_talk(&p);
	assert_true(stream_tls_info(&p.c.st, &at_c));
	assert_true(stream_tls_info(&p.s.st, &at_s));
	assert_int_equal(at_c.resumed, at_s.resumed);
	assert_string_equal(at_c.version, version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2");
	assert_true(at_c.peer_verified);
	assert_string_equal(at_s.sni, name);
	ends_close(&p);
	return at_c.resumed;
}

static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

static void sessions_resume_also_after_rotations(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct tls_tickets *keys = tls_tickets_new();
		struct tls_server *s = server_of(LIST(&mail), (struct tls_server_conf) { .id = "in", .tickets = keys });
		struct tls_client *c = verifying(&ca);
		assert_false(resumes_as(s, c, "mail.example", versions[i]));
		assert_true(resumes_as(s, c, "mail.example", versions[i]));
		for (int n = 0; n < TLS_TICKETS_MAX - 1; n++)
			tls_tickets_rotate(keys);
		assert_true(resumes_as(s, c, "mail.example", versions[i]));
		tls_tickets_rotate(keys); /* the ticket shown last was of an old key, and replaced */
		assert_true(resumes_as(s, c, "mail.example", versions[i]));
		for (int n = 0; n < TLS_TICKETS_MAX; n++)
			tls_tickets_rotate(keys);
		assert_false(resumes_as(s, c, "mail.example", versions[i]));
		tls_client_unref(c);
		tls_server_unref(s);
		tls_tickets_unref(keys);
	}
}

static void sessions_do_not_cross_contexts(void **state)
{
	struct made both = made((struct made_like) { .cn = "x", .san = "DNS:mail.example, DNS:b.example", .ca = &ca });

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct tls_tickets *keys = tls_tickets_new();
		struct tls_server *in =
			server_of(LIST(&both), (struct tls_server_conf) { .id = "in", .tickets = keys });
		struct tls_server *out =
			server_of(LIST(&both), (struct tls_server_conf) { .id = "out", .tickets = keys });
		struct tls_server *none = server_of(LIST(&both), (struct tls_server_conf) { .id = "in" });
		struct tls_client *c = verifying(&ca), *d = verifying(&ca);
		assert_false(resumes_as(in, c, "mail.example", versions[i]));
		assert_false(resumes_as(in, d, "mail.example", versions[i]));  /* another client context */
		assert_false(resumes_as(in, c, "b.example", versions[i]));     /* another name */
		assert_false(resumes_as(out, c, "mail.example", versions[i])); /* another listener, the same keys */
		assert_false(resumes_as(none, d, "mail.example", versions[i]));
		assert_false(resumes_as(none, d, "mail.example", versions[i]));
		tls_client_unref(c);
		tls_client_unref(d);
		tls_server_unref(in);
		tls_server_unref(out);
		tls_server_unref(none);
		tls_tickets_unref(keys);
	}
	made_free(&both);
}

static void exported_keys_resume_on_another_node(void **state)
{
	struct tls_tickets *here = tls_tickets_new(), *there = tls_tickets_new();
	struct tls_server *s = server_of(LIST(&mail), (struct tls_server_conf) { .id = "in", .tickets = here });
	struct tls_server *t = server_of(LIST(&mail), (struct tls_server_conf) { .id = "in", .tickets = there });
	struct tls_client *c = verifying(&ca);
	uint8_t keys[TLS_TICKETS_EXPORT_MAX], again[TLS_TICKETS_EXPORT_MAX];

	UNUSED(state);
	assert_false(resumes_as(s, c, "mail.example", TLS1_3_VERSION));
	assert_false(resumes_as(t, c, "mail.example", TLS1_3_VERSION));
	assert_false(resumes_as(s, c, "mail.example", TLS1_3_VERSION));
	tls_tickets_rotate(here);
	size_t n = tls_tickets_export(here, keys);
	assert_true(tls_tickets_import(there, keys, n));
	assert_true(resumes_as(t, c, "mail.example", TLS1_3_VERSION));
	assert_int_equal(tls_tickets_export(there, again), n);
	assert_memory_equal(again, keys, n);
	for (size_t cut = 0; cut < n; cut++)
		assert_false(tls_tickets_import(there, keys, cut));
	keys[0]++;
	assert_false(tls_tickets_import(there, keys, n));
	assert_true(resumes_as(t, c, "mail.example", TLS1_3_VERSION));
	tls_client_unref(c);
	tls_server_unref(s);
	tls_server_unref(t);
	tls_tickets_unref(here);
	tls_tickets_unref(there);
}

static void remembered_sessions_are_bounded_and_the_longest_unused_goes(void **state)
{
	struct tls_tickets *keys = tls_tickets_new();
	struct made all = made((struct made_like) { .cn = "x", .san = "DNS:*.c.example", .ca = &ca });
	struct tls_server *s = server_of(LIST(&all), (struct tls_server_conf) { .id = "in", .tickets = keys });
	struct tls_client *c = verifying(&ca);
	char name[32];

	UNUSED(state);
	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "n%d.c.example", i);
		assert_false(resumes_as(s, c, name, TLS1_3_VERSION));
	}
	assert_true(resumes_as(s, c, "n0.c.example", TLS1_3_VERSION));
	assert_false(resumes_as(s, c, "n8.c.example", TLS1_3_VERSION));
	assert_int_equal(tls_client_sessions(c), 8);
	assert_true(resumes_as(s, c, "n0.c.example", TLS1_3_VERSION));
	assert_false(resumes_as(s, c, "n1.c.example", TLS1_3_VERSION));
	tls_client_unref(c);
	tls_server_unref(s);
	tls_tickets_unref(keys);
	made_free(&all);
}

struct shared {
	struct tls_server *s;
	struct tls_client *c;
	struct tls_tickets *keys;
	unsigned resumed;
};

static void *connect_often(void *arg)
{
	struct shared *sh = arg;

	for (int i = 0; i < 20; i++) {
		sh->resumed += resumes_as(sh->s, sh->c, "mail.example", TLS1_3_VERSION);
		if (i % 5 == 0)
			tls_tickets_rotate(sh->keys);
	}
	return NULL;
}

static void contexts_and_keys_are_shared_between_threads(void **state)
{
	struct tls_tickets *keys = tls_tickets_new();
	struct tls_server *s = server_of(LIST(&mail), (struct tls_server_conf) { .id = "in", .tickets = keys });
	struct tls_client *c = verifying(&ca);
	struct shared of[3];
	pthread_t threads[3];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(of); i++) {
		of[i] = (struct shared) { tls_server_ref(s), tls_client_ref(c), tls_tickets_ref(keys), 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, connect_often, &of[i]), 0);
	}
	tls_server_unref(s);
	tls_client_unref(c);
	tls_tickets_unref(keys);
	for (size_t i = 0; i < ARRAY_LEN(of); i++) {
		pthread_join(threads[i], NULL);
		assert_in_range(of[i].resumed, 10, 20); /* but for the first, and where four rotations came between */
		tls_server_unref(of[i].s);
		tls_client_unref(of[i].c);
		tls_tickets_unref(of[i].keys);
	}
}

/* ---- verifying ---- */

static void fails_with(struct tls_server *s, struct tls_client *c, const char *name, const char *at_c, const char *at_s)
{
	struct ends p;

	ends_begin(&p, s, c, name);
	ENDS_UNTIL(&p, p.c.gone > 0);
	assert_int_equal(p.c.tls, 0);
	assert_int_equal(p.c.gone_err, EPROTO);
	assert_string_equal(p.c.why, at_c);
	stream_close(&p.c.st);
	ENDS_UNTIL(&p, p.s.gone > 0);
	assert_string_equal(p.s.why, at_s);
	ends_close(&p);
}

static void a_server_that_cannot_be_verified_is_refused(void **state)
{
	struct made old = made((struct made_like) { .cn = "x", .san = "DNS:mail.example", .ca = &ca, .expired = true });
	struct tls_server *s = server_of(LIST(&mail), (struct tls_server_conf) { .id = "in" });
	struct tls_server *late = server_of(LIST(&old), (struct tls_server_conf) { .id = "in" });
	struct tls_client *c = verifying(&ca), *o = verifying(&other_ca);

	UNUSED(state);
	fails_with(s, o, "mail.example", "certificate not accepted: unable to get local issuer certificate",
		   "alert from the peer: unknown ca");
	fails_with(s, c, "wrong.example", "certificate not accepted: hostname mismatch",
		   "alert from the peer: bad certificate");
	fails_with(s, c, "192.0.2.9", "certificate not accepted: IP address mismatch",
		   "alert from the peer: bad certificate");
	fails_with(late, c, "mail.example", "certificate not accepted: certificate has expired",
		   "alert from the peer: certificate expired");
	tls_server_unref(s);
	tls_server_unref(late);
	tls_client_unref(c);
	tls_client_unref(o);
	made_free(&old);
}

static void without_a_name_the_address_is_verified(void **state)
{
	struct tls_server *s = server_of(LIST(&mail), (struct tls_server_conf) { .id = "in" });
	struct tls_server *no_ip = server_of(LIST(&b), (struct tls_server_conf) { .id = "in" });
	struct tls_client *c = verifying(&ca);
	struct stream_tls_info info;
	struct ends p;

	UNUSED(state);
	ends_begin(&p, s, c, NULL); /* 192.0.2.1 is in its certificate */
	ENDS_UNTIL(&p, ends_settled(&p));
	assert_true(stream_tls_info(&p.c.st, &info));
	assert_true(info.peer_verified);
	ends_close(&p);
	fails_with(no_ip, c, NULL, "certificate not accepted: IP address mismatch",
		   "alert from the peer: bad certificate");
	tls_server_unref(s);
	tls_server_unref(no_ip);
	tls_client_unref(c);
}

static void a_version_below_the_minimum_is_refused(void **state)
{
	struct tls_server *s = server_of(LIST(&mail), (struct tls_server_conf) { .min_version = TLS_VERSION_1_3 });
	struct tls_client *c = client_of((struct tls_client_conf) { 0 });
	struct ends p;

	UNUSED(state);
	ends_begin(&p, s, c, "mail.example");
	SSL_set_max_proto_version(ends_ssl(&p.c), TLS1_2_VERSION);
	ENDS_UNTIL(&p, p.c.gone > 0 && p.s.gone > 0);
	assert_string_equal(p.s.why, "unsupported protocol");
	assert_string_equal(p.c.why, "alert from the peer: protocol version");
	ends_close(&p);
	tls_server_unref(s);
	tls_client_unref(c);
}

/* A TLS 1.2 client with these ciphers only. */
static bool takes_cipher(struct tls_server *s, const char *cipher)
{
	struct tls_client *c = client_of((struct tls_client_conf) { 0 });
	struct ends p;

	ends_begin(&p, s, c, "mail.example");
	SSL_set_security_level(ends_ssl(&p.c), 0);
	SSL_set_max_proto_version(ends_ssl(&p.c), TLS1_2_VERSION);
	assert_int_equal(SSL_set_cipher_list(ends_ssl(&p.c), cipher), 1);
	ENDS_UNTIL(&p, ends_settled(&p));
	bool taken = p.s.tls == 1;
	assert_true(taken || strcmp(p.s.why, "no shared cipher") == 0);
	ends_close(&p);
	tls_client_unref(c);
	return taken;
}

static void only_authenticated_ciphers_with_forward_secrecy_are_taken(void **state)
{
	struct tls_server *s = server_of(LIST(&mail, &mail_rsa), (struct tls_server_conf) { .id = "in" });

	UNUSED(state);
	assert_true(takes_cipher(s, "ECDHE-ECDSA-AES128-GCM-SHA256"));
	assert_true(takes_cipher(s, "ECDHE-RSA-CHACHA20-POLY1305"));
	assert_false(takes_cipher(s, "AES256-GCM-SHA384")); /* RSA key exchange */
	assert_false(takes_cipher(s, "ECDHE-RSA-AES256-SHA"));
	assert_false(takes_cipher(s, "ECDHE-ECDSA-AES128-SHA256"));
	assert_false(takes_cipher(s, "AECDH-AES128-SHA"));
	tls_server_unref(s);
}

static void a_ca_file_that_is_none_is_an_error(void **state)
{
	struct tls_certificate *cert = made_certificate(&mail);
	char *why = NULL;

	UNUSED(state);
	assert_null(tls_client_new(&(struct tls_client_conf) { .verify = true, .ca_file = "/nonexistent" }, &why));
	assert_non_null(strstr(why, "ca_file /nonexistent: "));
	free(why);
	assert_null(tls_server_new(&(struct tls_server_conf) { .certificates = &cert,
							       .n_certificates = 1,
							       .client_ca_file = "/nonexistent" },
				   &why));
	assert_non_null(strstr(why, "client_ca_file /nonexistent: "));
	free(why);
	tls_certificate_unref(cert);
}

static void trust_is_the_same_for_the_same_authorities(void **state)
{
	struct tls_client *one = verifying(&ca), *same = verifying(&ca), *other = verifying(&other_ca);
	struct tls_client *none = client_of((struct tls_client_conf) { 0 });
	struct tls_client *system = client_of((struct tls_client_conf) { .verify = true });

	UNUSED(state);
	assert_true(tls_client_same_trust(one, same));
	assert_false(tls_client_same_trust(one, other));
	assert_false(tls_client_same_trust(one, none));
	assert_false(tls_client_same_trust(one, system));
	assert_false(tls_client_same_trust(none, system));
	assert_false(tls_client_same_trust(one, NULL));
	assert_false(tls_client_same_trust(NULL, one));
	assert_true(tls_client_same_trust(NULL, NULL));
	tls_client_unref(one);
	tls_client_unref(same);
	tls_client_unref(other);
	tls_client_unref(none);
	tls_client_unref(system);
}

/* ---- client certificates ---- */

/* Connects showing that certificate (NULL = none); the caller ends *p. */
static void connect_showing(struct ends *p, struct tls_server *s, struct tls_client *c, const struct made *shown)
{
	ends_begin(p, s, c, "mail.example");
	if (shown != NULL) {
		struct tls_certificate *cert = made_certificate(shown);
		assert_true(tls_certificate_use(cert, NULL, ends_ssl(&p->c)));
		tls_certificate_unref(cert);
	}
	ENDS_UNTIL(p, ends_settled(p));
	assert_int_equal(p->s.tls, 1);
	ends_talk(p);
}

static void client_certificates_are_recorded_verified_or_not(void **state)
{
	struct made good =
		made((struct made_like) { .cn = "App 1", .san = "DNS:App.example, email:A@b.example", .ca = &ca });
	struct made bad = made((struct made_like) { .cn = "App 1", .san = "DNS:app.example", .ca = &other_ca });
	struct tls_tickets *keys = tls_tickets_new();
	char path[32];
	struct tls_server_conf conf = { .id = "in", .client_ca_file = made_file(ca.cert_pem, path), .tickets = keys };
	struct tls_server *s = server_of(LIST(&mail), conf);
	struct stream_tls_peer peer;
	struct ends p;

	UNUSED(state);
	unlink(path);
	for (int resumed = 0; resumed < 2; resumed++) {
		static struct tls_client *c;
		struct stream_tls_info info;
		if (!resumed)
			c = verifying(&ca);
		connect_showing(&p, s, c, &good);
		assert_true(stream_tls_info(&p.s.st, &info));
		assert_int_equal(info.resumed, resumed);
		assert_true(stream_tls_peer(&p.s.st, &peer));
		assert_true(peer.verified);
		assert_string_equal(peer.common_name, "App 1");
		assert_string_equal(peer.subject, "CN=App 1");
		assert_int_equal(peer.n_names, 2);
		assert_string_equal(peer.names[0], "dns:app.example");
		assert_string_equal(peer.names[1], "email:a@b.example");
		stream_tls_peer_fini(&peer);
		ends_close(&p);
		if (resumed)
			tls_client_unref(c);
	}
	struct tls_client *c = verifying(&ca);
	for (int resumed = 0; resumed < 2; resumed++) {
		connect_showing(&p, s, c, &bad);
		assert_true(stream_tls_peer(&p.s.st, &peer));
		assert_false(peer.verified);
		stream_tls_peer_fini(&peer);
		ends_close(&p);
	}
	tls_client_unref(c);
	c = verifying(&ca);
	connect_showing(&p, s, c, NULL);
	assert_false(stream_tls_peer(&p.s.st, &peer));
	ends_close(&p);
	tls_client_unref(c);
	tls_server_unref(s);
	tls_tickets_unref(keys);
	made_free(&good);
	made_free(&bad);
}

static void names_with_control_characters_are_not_passed_on(void **state)
{
	struct made odd = made((struct made_like) { .cn = "a\nb", .san = "DNS:ok.example", .ca = &ca });
	char path[32];
	struct tls_server_conf conf = { .id = "in", .client_ca_file = made_file(ca.cert_pem, path) };
	struct tls_server *s = server_of(LIST(&mail), conf);
	struct tls_client *c = verifying(&ca);
	struct stream_tls_peer peer;
	struct ends p;

	UNUSED(state);
	unlink(path);
	connect_showing(&p, s, c, &odd);
	assert_true(stream_tls_peer(&p.s.st, &peer));
	assert_null(peer.common_name);
	assert_null(strchr(peer.subject, '\n'));
	assert_int_equal(peer.n_names, 1);
	stream_tls_peer_fini(&peer);
	ends_close(&p);
	tls_server_unref(s);
	tls_client_unref(c);
	made_free(&odd);
}

/* ---- application protocols ---- */

static void alpn_is_smtp_or_nothing(void **state)
{
	struct tls_server *s = server_of(LIST(&mail), (struct tls_server_conf) { .id = "in" });
	struct tls_client *c = client_of((struct tls_client_conf) { 0 });
	struct ends p;

	UNUSED(state);
	ends_begin(&p, s, c, "mail.example");
	SSL_set_alpn_protos(ends_ssl(&p.c), (const unsigned char *)"\x2h2\x8http/1.1", 12);
	ENDS_UNTIL(&p, p.c.gone > 0 && p.s.gone > 0);
	assert_string_equal(p.s.why, "no application protocol");
	ends_close(&p);
	ends_begin(&p, s, c, "mail.example");
	SSL_set_alpn_protos(ends_ssl(&p.c), (const unsigned char *)"\x2h2\x4smtp", 8);
	ENDS_UNTIL(&p, ends_settled(&p));
	assert_int_equal(p.c.tls, 1);
	ends_talk(&p);
	ends_close(&p);
	tls_server_unref(s);
	tls_client_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_wrong_with_a_certificate_is_said),
		cmocka_unit_test(files_are_named_in_errors),
		cmocka_unit_test(one_file_may_hold_key_and_chain),
		cmocka_unit_test(a_wildcard_covers_one_label),
		cmocka_unit_test(the_certificate_follows_the_name_asked_for),
		cmocka_unit_test(rsa_stands_beside_ecdsa_for_one_name),
		cmocka_unit_test(sessions_resume_also_after_rotations),
		cmocka_unit_test(sessions_do_not_cross_contexts),
		cmocka_unit_test(exported_keys_resume_on_another_node),
		cmocka_unit_test(remembered_sessions_are_bounded_and_the_longest_unused_goes),
		cmocka_unit_test(contexts_and_keys_are_shared_between_threads),
		cmocka_unit_test(a_server_that_cannot_be_verified_is_refused),
		cmocka_unit_test(without_a_name_the_address_is_verified),
		cmocka_unit_test(a_version_below_the_minimum_is_refused),
		cmocka_unit_test(only_authenticated_ciphers_with_forward_secrecy_are_taken),
		cmocka_unit_test(a_ca_file_that_is_none_is_an_error),
		cmocka_unit_test(trust_is_the_same_for_the_same_authorities),
		cmocka_unit_test(client_certificates_are_recorded_verified_or_not),
		cmocka_unit_test(names_with_control_characters_are_not_passed_on),
		cmocka_unit_test(alpn_is_smtp_or_nothing),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, make_all, free_all);
}

/* SPDX-License-Identifier: Apache-2.0
 * SCRAM-SHA-256 and its PLUS: the exchange of RFC 7677 3, every malformed form, channel bindings, users that do not
 * exist.
 */
#include "tests/unit/smtp/sasl_fixture.h"

#define FIRST "n,,n=user,r=" CLIENT_NONCE
#define SERVER_FIRST "r=" CLIENT_NONCE SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define WITHOUT_PROOF "c=biws,r=" CLIENT_NONCE SERVER_NONCE
#define PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

/* To where the client's proof is due. */
static struct sasl *at_final(const char *first)
{
	struct sasl *s = exchange(SASL_SCRAM_SHA_256);
	struct scram_verifier v = pencil();

	assert_int_equal(start(s, first), SASL_FIND_VERIFIER);
	assert_int_equal(sasl_verifier_found(s, &v), SASL_CHALLENGE);
	return s;
}

static void the_exchange_of_the_rfc_succeeds(void **state)
{
	struct sasl *s = exchange(SASL_SCRAM_SHA_256);
	struct scram_verifier v = pencil();

	UNUSED(state);
	assert_int_equal(sasl_start(s, (struct str) { 0 }), SASL_CHALLENGE);
	assert_string_equal(sasl_challenge(s), "");
	assert_int_equal(say(s, FIRST), SASL_FIND_VERIFIER);
	assert_string_equal(sasl_user(s), "user");
	assert_int_equal(sasl_verifier_found(s, &v), SASL_CHALLENGE);
	assert_string_equal(challenge(s), SERVER_FIRST);
	assert_int_equal(say(s, WITHOUT_PROOF ",p=" PROOF), SASL_CHALLENGE);
	assert_string_equal(challenge(s), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
	assert_int_equal(say(s, ""), SASL_DONE);
	assert_string_equal(sasl_user(s), "user");
	sasl_free(s);
}

static void the_last_answer_must_be_empty(void **state)
{
	struct sasl *s = at_final(FIRST);

	UNUSED(state);
	assert_int_equal(say(s, WITHOUT_PROOF ",p=" PROOF), SASL_CHALLENGE);
	assert_int_equal(say(s, "x"), SASL_MALFORMED);
	sasl_free(s);
	s = at_final(FIRST);
	assert_int_equal(say(s, WITHOUT_PROOF ",p=" PROOF), SASL_CHALLENGE);
	assert_int_equal(sasl_step(s, STR("*")), SASL_CANCELLED);
	sasl_free(s);
}

static void every_other_proof_is_refused(void **state)
{
	unsigned char proof[32];
	char text[45];
	size_t n;

	UNUSED(state);
	assert_true(base64_decode(STR(PROOF), proof, sizeof(proof), &n));
	for (size_t bit = 0; bit < 256; bit++) {
		struct sasl *s = at_final(FIRST);
		char *message;
		proof[bit / 8] ^= (unsigned char)(1 << bit % 8);
		base64_encode(proof, 32, text);
		message = xasprintf("%s,p=%s", WITHOUT_PROOF, text);
		assert_int_equal(say(s, message), SASL_REFUSED);
		proof[bit / 8] ^= (unsigned char)(1 << bit % 8);
		free(message);
		sasl_free(s);
	}
}

static void malformed_first_messages_are_refused(void **state)
{
	static const struct {
		const char *text;
		enum sasl_step want;
	} rows[] = {
		{ FIRST, SASL_FIND_VERIFIER },
		{ "y,,n=user,r=abc", SASL_FIND_VERIFIER },
		{ "n,a=user,n=user,r=abc", SASL_FIND_VERIFIER },
		{ "n,,n=user,r=abc,x=anything", SASL_FIND_VERIFIER },
		{ "n,a=other,n=user,r=abc", SASL_REFUSED },
		{ "", SASL_MALFORMED },
		{ "n", SASL_MALFORMED },
		{ "n,", SASL_MALFORMED },
		{ "n,,", SASL_MALFORMED },
		{ "n,,n=user", SASL_MALFORMED },
		{ "n,,n=user,", SASL_MALFORMED },
		{ "n,,n=user,r=", SASL_MALFORMED },
		{ "n,,n=,r=abc", SASL_MALFORMED },
		{ "n,,r=abc,n=user", SASL_MALFORMED },
		{ "n,n=user,r=abc", SASL_MALFORMED },
		{ "n,user,n=user,r=abc", SASL_MALFORMED },
		{ "n,a=,n=user,r=abc", SASL_MALFORMED },
		{ "N,,n=user,r=abc", SASL_MALFORMED },
		{ "x,,n=user,r=abc", SASL_MALFORMED },
		{ ",,n=user,r=abc", SASL_MALFORMED },
		{ "n,,m=ext,n=user,r=abc", SASL_MALFORMED },
		{ "n,,n=user,r=abc,", SASL_MALFORMED },
		{ "n,,n=user,r=abc,x", SASL_MALFORMED },
		{ "n,,n=user,r=abc,1=x", SASL_MALFORMED },
		{ "n,,n=user,r=a b", SASL_MALFORMED },
		{ "n,,n=user,r=a\x7f", SASL_MALFORMED },
		{ "n,,n=us=er,r=abc", SASL_MALFORMED },
		{ "n,,n=user=,r=abc", SASL_MALFORMED },
		{ "n,,n=user=2,r=abc", SASL_MALFORMED },
		{ "n,,n=user=2c,r=abc", SASL_MALFORMED },
		{ "n,,n=user=00,r=abc", SASL_MALFORMED },
		{ "n,,n=us\ner,r=abc", SASL_MALFORMED },
		{ "n,,n=us\xff,r=abc", SASL_MALFORMED },
		{ "p=tls-exporter,,n=user,r=abc", SASL_MALFORMED },
		{ "p=,,n=user,r=abc", SASL_MALFORMED },
		{ "nn,,n=user,r=abc", SASL_MALFORMED },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sasl *s = exchange(SASL_SCRAM_SHA_256);
		if (start(s, rows[i].text) != rows[i].want)
			fail_msg("%s", rows[i].text);
		sasl_free(s);
	}
}

static void names_and_nonces_have_a_longest_length(void **state)
{
	UNUSED(state);
	for (int n = 254; n <= 256; n++) {
		struct sasl *s = exchange(SASL_SCRAM_SHA_256);
		char *text = xasprintf("n,,n=%0*d,r=abc", n, 0);
		assert_int_equal(start(s, text), n <= SASL_USER_MAX ? SASL_FIND_VERIFIER : SASL_MALFORMED);
		free(text);
		sasl_free(s);
		s = exchange(SASL_SCRAM_SHA_256);
		text = xasprintf("n,,n=user,r=%0*d", n, 0);
		assert_int_equal(start(s, text), n <= 255 ? SASL_FIND_VERIFIER : SASL_MALFORMED);
		if (n <= 255)
			assert_int_equal(sasl_verifier_found(s, NULL), SASL_CHALLENGE);
		free(text);
		sasl_free(s);
	}
}

static void commas_and_equal_signs_in_names_are_escaped(void **state)
{
	struct sasl *s = exchange(SASL_SCRAM_SHA_256);

	UNUSED(state);
	assert_int_equal(start(s, "n,a=a=2Cb=3D=2C,n=a=2Cb=3D=2C,r=abc"), SASL_FIND_VERIFIER);
	assert_string_equal(sasl_user(s), "a,b=,");
	sasl_free(s);
}

static void malformed_final_messages_are_refused(void **state)
{
	static const struct {
		const char *text;
		enum sasl_step want;
	} rows[] = {
		{ "", SASL_MALFORMED },
		{ "c=biws", SASL_MALFORMED },
		{ WITHOUT_PROOF, SASL_MALFORMED },
		{ WITHOUT_PROOF ",p=", SASL_MALFORMED },
		{ WITHOUT_PROOF ",p=AAAA", SASL_MALFORMED },
		{ WITHOUT_PROOF ",p=" PROOF "AAAA", SASL_MALFORMED },
		{ WITHOUT_PROOF ",p=" PROOF ",x=y", SASL_MALFORMED },
		{ WITHOUT_PROOF ",p=" PROOF ",", SASL_MALFORMED },
		{ WITHOUT_PROOF ",x,p=" PROOF, SASL_MALFORMED },
		{ "c=biws,p=" PROOF, SASL_MALFORMED },
		{ "r=" CLIENT_NONCE SERVER_NONCE ",c=biws,p=" PROOF, SASL_MALFORMED },
		{ ",p=" PROOF, SASL_MALFORMED },
		{ "p=" PROOF, SASL_MALFORMED },
		{ WITHOUT_PROOF "x,p=" PROOF, SASL_REFUSED },
		{ "c=biws,r=" CLIENT_NONCE ",p=" PROOF, SASL_REFUSED },
		{ "c=biws,r=,p=" PROOF, SASL_REFUSED },
		{ "c=eSws,r=" CLIENT_NONCE SERVER_NONCE ",p=" PROOF, SASL_REFUSED }, /* "y,," where "n,," was said */
		{ "c=,r=" CLIENT_NONCE SERVER_NONCE ",p=" PROOF, SASL_REFUSED },
		{ "c=!,r=" CLIENT_NONCE SERVER_NONCE ",p=" PROOF, SASL_REFUSED },
		{ WITHOUT_PROOF ",x=y,p=" PROOF, SASL_REFUSED }, /* it is signed with the rest */
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sasl *s = at_final(FIRST);
		if (say(s, rows[i].text) != rows[i].want)
			fail_msg("%s", rows[i].text);
		sasl_free(s);
	}
}

/* ---- users that do not exist ---- */

struct look {
	unsigned iterations;
	size_t salt_len;
};

static char *challenge_like(const char *user, const char *key, const struct look *look)
{
	struct sasl_setup setup = setup_of(SASL_SCRAM_SHA_256);
	char *first = xasprintf("n,,n=%s,r=abc", user);

	setup.unknown_key = str_from(key);
	struct sasl *s = sasl_new(&setup);
	assert_int_equal(start(s, first), SASL_FIND_VERIFIER);
	if (look != NULL)
		sasl_look_like(s, look->iterations, look->salt_len);
	assert_int_equal(sasl_verifier_found(s, NULL), SASL_CHALLENGE);
	char *text = xstrdup(challenge(s));
	sasl_free(s);
	free(first);
	return text;
}

static char *challenge_for(const char *user, const char *key)
{
	return challenge_like(user, key, NULL);
}

static void an_unknown_user_can_look_like_any_other(void **state)
{
	const struct look looks[] = { { 4096, SCRAM_SALT_MIN }, { 1000000, SCRAM_SALT_MAX } };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
		char *text = challenge_like("nobody", "key", &looks[i]);
		const char *salt = strstr(text, ",s=") + 3, *iterations = strstr(salt, ",i=");
		unsigned char bytes[SCRAM_SALT_MAX];
		size_t n;
		assert_true(
			base64_decode((struct str) { salt, (size_t)(iterations - salt) }, bytes, sizeof(bytes), &n));
		assert_int_equal(n, looks[i].salt_len);
		assert_int_equal(atoi(iterations + 3), looks[i].iterations);
		free(text);
	}
}

static void an_unknown_user_has_the_same_salt_each_time(void **state)
{
	char *a = challenge_for("nobody", "key"), *again = challenge_for("nobody", "key");
	char *other = challenge_for("nobodz", "key"), *elsewhere = challenge_for("nobody", "kez");

	UNUSED(state);
	assert_string_equal(a, again);
	assert_string_not_equal(a, other);
	assert_string_not_equal(a, elsewhere);
	assert_non_null(strstr(a, ",i=10000"));
	assert_int_equal(strlen(a), strlen("r=abc" SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=10000"));
	free(a);
	free(again);
	free(other);
	free(elsewhere);
}

static void an_unknown_user_fails_at_the_proof_and_like_a_wrong_password(void **state)
{
	struct sasl *s = exchange(SASL_SCRAM_SHA_256);

	UNUSED(state);
	assert_int_equal(start(s, FIRST), SASL_FIND_VERIFIER);
	assert_int_equal(sasl_verifier_found(s, NULL), SASL_CHALLENGE);
	assert_int_equal(say(s, WITHOUT_PROOF ",p=" PROOF), SASL_REFUSED);
	sasl_free(s);
	s = exchange(SASL_SCRAM_SHA_256);
	assert_int_equal(start(s, FIRST), SASL_FIND_VERIFIER);
	assert_int_equal(sasl_verifier_found(s, NULL), SASL_CHALLENGE);
	assert_int_equal(say(s, WITHOUT_PROOF "x,p=" PROOF), SASL_REFUSED);
	sasl_free(s);
}

/* ---- channel bindings ---- */

#define EXPORTER "exported keying material of 32 b"
#define END_POINT "the hash of a server certificate"

static struct sasl *bound(enum sasl_mechanism mechanism, const char *exporter, const char *end_point)
{
	struct sasl_setup setup = setup_of(mechanism);

	setup.plus_announced = true;
	setup.tls_exporter = str_from(exporter);
	setup.tls_server_end_point = str_from(end_point);
	return sasl_new(&setup);
}

/* A whole exchange of a client that binds to `data` under the name in `flag`. */
static enum sasl_step bind_with(struct sasl *s, const char *flag, const char *data)
{
	struct scram_verifier v = pencil();
	char coded[256], proof[45];
	char *first = xasprintf("%s,,n=user,r=abc", flag), *seen = xasprintf("%s,,%s", flag, data);

	enum sasl_step step = start(s, first);
	if (step == SASL_FIND_VERIFIER) {
		assert_int_equal(sasl_verifier_found(s, &v), SASL_CHALLENGE);
		base64_encode(seen, strlen(seen), coded);
		char *without = xasprintf("c=%s,r=abc%s", coded, SERVER_NONCE);
		char *signed_text = xasprintf("n=user,r=abc,%s,%s", challenge(s), without);
		prove("pencil", &v, signed_text, proof);
		char *final = xasprintf("%s,p=%s", without, proof);
		step = say(s, final);
		free(without);
		free(signed_text);
		free(final);
	}
	if (step == SASL_CHALLENGE)
		step = say(s, "");
	sasl_free(s);
	free(first);
	free(seen);
	return step;
}

static void a_bound_exchange_succeeds(void **state)
{
	const enum sasl_mechanism plus = SASL_SCRAM_SHA_256_PLUS;

	UNUSED(state);
	assert_int_equal(bind_with(bound(plus, EXPORTER, END_POINT), "p=tls-exporter", EXPORTER), SASL_DONE);
	assert_int_equal(bind_with(bound(plus, EXPORTER, END_POINT), "p=tls-server-end-point", END_POINT), SASL_DONE);
	assert_int_equal(bind_with(bound(plus, "", END_POINT), "p=tls-server-end-point", END_POINT), SASL_DONE);
}

static void another_channel_is_refused(void **state)
{
	const enum sasl_mechanism plus = SASL_SCRAM_SHA_256_PLUS;

	UNUSED(state);
	assert_int_equal(bind_with(bound(plus, EXPORTER, END_POINT), "p=tls-exporter", END_POINT), SASL_REFUSED);
	assert_int_equal(bind_with(bound(plus, EXPORTER, END_POINT), "p=tls-exporter", ""), SASL_REFUSED);
	assert_int_equal(bind_with(bound(plus, EXPORTER, END_POINT), "p=tls-exporter", EXPORTER "x"), SASL_REFUSED);
	assert_int_equal(bind_with(bound(plus, "", END_POINT), "p=tls-exporter", ""), SASL_REFUSED);
	assert_int_equal(bind_with(bound(plus, EXPORTER, END_POINT), "p=tls-unique", EXPORTER), SASL_REFUSED);
	assert_int_equal(bind_with(bound(plus, "", ""), "p=", ""), SASL_REFUSED);
}

static void plus_without_a_binding_is_malformed(void **state)
{
	UNUSED(state);
	assert_int_equal(bind_with(bound(SASL_SCRAM_SHA_256_PLUS, EXPORTER, END_POINT), "n", ""), SASL_MALFORMED);
	assert_int_equal(bind_with(bound(SASL_SCRAM_SHA_256_PLUS, EXPORTER, END_POINT), "y", ""), SASL_MALFORMED);
}

static void a_client_that_was_not_told_of_plus_is_refused(void **state)
{
	UNUSED(state);
	assert_int_equal(bind_with(bound(SASL_SCRAM_SHA_256, EXPORTER, END_POINT), "y", ""), SASL_REFUSED);
	assert_int_equal(bind_with(bound(SASL_SCRAM_SHA_256, EXPORTER, END_POINT), "n", ""), SASL_DONE);
	assert_int_equal(bind_with(exchange(SASL_SCRAM_SHA_256), "y", ""), SASL_DONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_exchange_of_the_rfc_succeeds),
		cmocka_unit_test(the_last_answer_must_be_empty),
		cmocka_unit_test(every_other_proof_is_refused),
		cmocka_unit_test(malformed_first_messages_are_refused),
		cmocka_unit_test(names_and_nonces_have_a_longest_length),
		cmocka_unit_test(commas_and_equal_signs_in_names_are_escaped),
		cmocka_unit_test(malformed_final_messages_are_refused),
		cmocka_unit_test(an_unknown_user_can_look_like_any_other),
		cmocka_unit_test(an_unknown_user_has_the_same_salt_each_time),
		cmocka_unit_test(an_unknown_user_fails_at_the_proof_and_like_a_wrong_password),
		cmocka_unit_test(a_bound_exchange_succeeds),
		cmocka_unit_test(another_channel_is_refused),
		cmocka_unit_test(plus_without_a_binding_is_malformed),
		cmocka_unit_test(a_client_that_was_not_told_of_plus_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

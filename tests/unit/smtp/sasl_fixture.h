/* SPDX-License-Identifier: Apache-2.0
 * A SASL exchange played by hand: messages in clear text, base64 on the way.
 */
#ifndef POSTROAD_TESTS_SASL_FIXTURE_H
#define POSTROAD_TESTS_SASL_FIXTURE_H

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/base64.h"
#include "daemon/smtp/sasl.h"

/* User "user" with password "pencil" of RFC 7677 3, and that exchange's nonces. */
#define PENCIL                                                                                                         \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"                    \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"

static inline struct sasl_setup setup_of(enum sasl_mechanism mechanism)
{
	return (struct sasl_setup) { .mechanism = mechanism,
				     .nonce = STR(SERVER_NONCE),
				     .unknown_key = STR("a key that is kept") };
}

static inline struct sasl *exchange(enum sasl_mechanism mechanism)
{
	struct sasl_setup setup = setup_of(mechanism);

	return sasl_new(&setup);
}

static inline struct scram_verifier pencil(void)
{
	struct scram_verifier v;
	const char *why;

	assert_true(scram_verifier_parse(PENCIL, &v, &why));
	return v;
}

/* One response of n bytes, in base64; initial: with AUTH itself. */
static inline enum sasl_step say_bytes(struct sasl *s, bool initial, const void *p, size_t n)
{
	char *line = xmalloc(BASE64_LEN(n) + 1);
	struct str coded = { line, base64_encode(p, n, line) };

	if (n == 0 && initial)
		coded = STR("=");
	enum sasl_step step = initial ? sasl_start(s, coded) : sasl_step(s, coded);
	free(line);
	return step;
}

static inline enum sasl_step say(struct sasl *s, const char *text)
{
	return say_bytes(s, false, text, strlen(text));
}

static inline enum sasl_step start(struct sasl *s, const char *text)
{
	return say_bytes(s, true, text, strlen(text));
}

/* The challenge in clear text, valid until the next call. */
static inline const char *challenge(const struct sasl *s)
{
	static char text[SASL_CHALLENGE_MAX];
	size_t n;

	assert_true(base64_decode(str_from(sasl_challenge(s)), text, sizeof(text) - 1, &n));
	text[n] = '\0';
	return text;
}

/* The client's arithmetic of RFC 5802 3: the proof for `password` under salt and iterations of v, in base64. */
static inline void prove(const char *password, const struct scram_verifier *v, const char *auth_message, char out[45])
{
	unsigned char salted[32], key[32], stored[32], signature[32];
	unsigned n;

	assert_int_equal(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), v->salt, (int)v->salt_len,
					   (int)v->iterations, EVP_sha256(), 32, salted),
			 1);
	HMAC(EVP_sha256(), salted, 32, (const unsigned char *)"Client Key", 10, key, &n);
	EVP_Digest(key, 32, stored, NULL, EVP_sha256(), NULL);
	HMAC(EVP_sha256(), stored, 32, (const unsigned char *)auth_message, strlen(auth_message), signature, &n);
	for (size_t i = 0; i < 32; i++)
		key[i] ^= signature[i];
	base64_encode(key, 32, out);
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Verifiers for SCRAM-SHA-256: derived, written, read.
 *
 *   SaltedPassword = PBKDF2(password, salt, iterations)
 *   StoredKey      = SHA-256(HMAC(SaltedPassword, "Client Key"))
 *   ServerKey      = HMAC(SaltedPassword, "Server Key")
 */
#include "daemon/base/scram_verifier.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/base64.h"
#include "daemon/base/hash.h"

static const char scheme[] = "SCRAM-SHA-256$";

/* ---- derivation ---- */

static bool is_printable_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
	return s.n > 0;
}

static bool hmac(const unsigned char key[SCRAM_KEY_LEN], const char *text, unsigned char out[SCRAM_KEY_LEN])
{
	unsigned n;

	return HMAC(EVP_sha256(), key, SCRAM_KEY_LEN, (const unsigned char *)text, strlen(text), out, &n) != NULL;
}

bool scram_verifier_derive(struct str password, struct scram_verifier *v)
{
	unsigned char salted[SCRAM_KEY_LEN], client[SCRAM_KEY_LEN];

	if (!is_printable_ascii(password))
		return false;
	bool ok = PKCS5_PBKDF2_HMAC(password.p, (int)password.n, v->salt, (int)v->salt_len, (int)v->iterations,
				    EVP_sha256(), sizeof(salted), salted) == 1 &&
		  hmac(salted, "Client Key", client) && hmac(salted, "Server Key", v->server_key) &&
		  EVP_Digest(client, sizeof(client), v->stored_key, NULL, EVP_sha256(), NULL) == 1;
	OPENSSL_cleanse(salted, sizeof(salted));
	OPENSSL_cleanse(client, sizeof(client));
	return ok;
}

bool scram_verifier_make(struct str password, struct scram_verifier *ret)
{
	*ret = (struct scram_verifier) { .iterations = SCRAM_ITERATIONS_DEFAULT, .salt_len = SCRAM_SALT_LEN };
	random_bytes(ret->salt, ret->salt_len);
	return scram_verifier_derive(password, ret);
}

/* ---- text ---- */

const char *scram_verifier_format(const struct scram_verifier *v, char out[SCRAM_VERIFIER_TEXT_MAX])
{
	char salt[BASE64_LEN(SCRAM_SALT_MAX) + 1], stored[BASE64_LEN(SCRAM_KEY_LEN) + 1];
	char server[BASE64_LEN(SCRAM_KEY_LEN) + 1];

	base64_encode(v->salt, v->salt_len, salt);
	base64_encode(v->stored_key, SCRAM_KEY_LEN, stored);
	base64_encode(v->server_key, SCRAM_KEY_LEN, server);
	snprintf(out, SCRAM_VERIFIER_TEXT_MAX, "%s%u:%s$%s:%s", scheme, v->iterations, salt, stored, server);
	return out;
}

/* Cuts *rest at the first `end`, or takes all of it for '\0'. */
static bool take(struct str *rest, char end, struct str *ret)
{
	const char *at = end == '\0' ? rest->p + rest->n : memchr(rest->p, end, rest->n);

	if (at == NULL)
		return false;
	*ret = (struct str) { rest->p, (size_t)(at - rest->p) };
	size_t used = ret->n + (end == '\0' ? 0 : 1);
	*rest = (struct str) { rest->p + used, rest->n - used };
	return true;
}

static bool parse_iterations(struct str s, unsigned *ret)
{
	unsigned v = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || v > SCRAM_ITERATIONS_MAX || (i == 0 && s.p[i] == '0'))
			return false;
		v = v * 10 + (unsigned)(s.p[i] - '0');
	}
	*ret = v;
	return v >= SCRAM_ITERATIONS_MIN && v <= SCRAM_ITERATIONS_MAX;
}

static bool parse_key(struct str s, unsigned char key[SCRAM_KEY_LEN])
{
	size_t n;

	return base64_decode(s, key, SCRAM_KEY_LEN, &n) && n == SCRAM_KEY_LEN;
}

bool scram_verifier_parse(const char *text, struct scram_verifier *ret, const char **ret_why)
{
	struct str rest = str_from(text), iterations, salt, stored, server;

	*ret_why = "it does not begin with SCRAM-SHA-256$";
	if (strncmp(text, scheme, sizeof(scheme) - 1) != 0)
		return false;
	rest = (struct str) { rest.p + sizeof(scheme) - 1, rest.n - (sizeof(scheme) - 1) };
	*ret_why = "it is not of the form SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY";
	if (!take(&rest, ':', &iterations) || !take(&rest, '$', &salt) || !take(&rest, ':', &stored) ||
	    !take(&rest, '\0', &server))
		return false;
	*ret_why = "its iterations are not between 4096 and 1000000";
	if (!parse_iterations(iterations, &ret->iterations))
		return false;
	*ret_why = "its salt is not 8 to 64 bytes in base64";
	if (!base64_decode(salt, ret->salt, sizeof(ret->salt), &ret->salt_len) || ret->salt_len < SCRAM_SALT_MIN)
		return false;
	*ret_why = "its keys are not 32 bytes each in base64";
	return parse_key(stored, ret->stored_key) && parse_key(server, ret->server_key);
}

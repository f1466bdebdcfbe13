/* SPDX-License-Identifier: Apache-2.0
 * The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677).
 *
 * The hard thing is that a user who does not exist must look like one who does, up to the proof: his salt is made from
 * his name and a key, and all work is done for him too. The client's binding of the exchange to its TLS connection is
 * checked by comparing the whole of what it says it saw, not by reading it.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "daemon/base/base64.h"
#include "daemon/smtp/chars.h"
#include "daemon/smtp/sasl_private.h"

#define CLIENT_NONCE_MAX 255

_Static_assert(SCRAM_SALT_MAX <= 64, "the made up salts come from one HMAC-SHA-512");

/* ---- memory ---- */

static void copy_binding(struct sasl_binding *b, struct str from)
{
	ASSERT(from.n <= sizeof(b->p));
	if (from.n > 0)
		memcpy(b->p, from.p, from.n);
	b->n = from.n;
}

void sasl_scram_init(struct sasl_scram *scram, const struct sasl_setup *setup)
{
	ASSERT(setup->nonce.n > 0 && setup->nonce.n <= SASL_NONCE_MAX);
	memcpy(scram->nonce, setup->nonce.p, setup->nonce.n);
	scram->plus_announced = setup->plus_announced;
	copy_binding(&scram->exporter, setup->tls_exporter);
	copy_binding(&scram->end_point, setup->tls_server_end_point);
	ASSERT(setup->unknown_key.n > 0 && setup->unknown_key.n <= sizeof(scram->unknown_key));
	memcpy(scram->unknown_key, setup->unknown_key.p, setup->unknown_key.n);
	scram->unknown_key_len = setup->unknown_key.n;
	scram->unknown_iterations = SCRAM_ITERATIONS_DEFAULT;
	scram->unknown_salt_len = SCRAM_SALT_LEN;
}

void sasl_scram_fini(struct sasl_scram *scram)
{
	sbuf_fini(&scram->gs2_header);
	sbuf_fini(&scram->both_nonces);
	sbuf_fini(&scram->auth_message);
}

void sasl_look_like(struct sasl *s, unsigned iterations, size_t salt_len)
{
	CHECK_OBJ(s, SASL_MAGIC);
	ASSERT(salt_len <= SCRAM_SALT_MAX);
	s->scram.unknown_iterations = iterations;
	s->scram.unknown_salt_len = salt_len;
}

/* ---- grammar (RFC 5802 7) ---- */

/* Takes text up to the next comma off *rest, and the comma. At the end of the message all is taken, and rest->p is
 * NULL. */
static struct str take_part(struct str *rest)
{
	const char *comma = rest->n > 0 ? memchr(rest->p, ',', rest->n) : NULL;
	struct str part = *rest;

	if (comma == NULL) {
		*rest = (struct str) { 0 };
		return part;
	}
	part.n = (size_t)(comma - part.p);
	*rest = smtp_skip(*rest, part.n + 1);
	return part;
}

/* "n=value": true, and the value. */
static bool attribute(struct str part, char name, struct str *ret)
{
	if (part.n < 2 || part.p[0] != name || part.p[1] != '=')
		return false;
	*ret = smtp_skip(part, 2);
	return true;
}

/* Extensions we do not know are left alone, as long as they are attributes; one that must be understood ("m=") is only
 * legal where nobody calls this. */
static bool are_extensions(struct str rest)
{
	while (rest.p != NULL) {
		struct str part = take_part(&rest);
		if (part.n < 3 || part.p[1] != '=' || (part.p[0] | 0x20) < 'a' || (part.p[0] | 0x20) > 'z')
			return false;
	}
	return true;
}

static bool is_nonce(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '!' || s.p[i] > '~' || s.p[i] == ',')
			return false;
	return s.n > 0;
}

/* saslname: '=' and ',' are written =3D and =2C. */
static bool unescape_name(struct str from, char *out, size_t max, struct str *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < from.n; i++) {
		char c = from.p[i];
		if (c == '=') {
			struct str code = { from.p + i, from.n - i < 3 ? 0 : 3 };
			if (!str_eq(code, STR("=2C")) && !str_eq(code, STR("=3D")))
				return false;
			c = code.p[1] == '2' ? ',' : '=';
			i += 2;
		}
		if (n == max)
			return false;
		out[n++] = c;
	}
	*ret = (struct str) { out, n };
	return n > 0;
}

/* ---- client-first-message ---- */

/* gs2-cbind-flag: what the client knows of channel bindings. SASL_CHALLENGE = go on. */
static enum sasl_step take_flag(struct sasl *s, struct str flag)
{
	struct sasl_scram *c = &s->scram;
	bool is_plus = s->mechanism == SASL_SCRAM_SHA_256_PLUS;
	struct str name;

	if (attribute(flag, 'p', &name)) {
		if (!is_plus)
			return SASL_MALFORMED;
		c->binding = str_eq(name, STR("tls-exporter"))           ? &c->exporter
			     : str_eq(name, STR("tls-server-end-point")) ? &c->end_point
									 : NULL;
		return c->binding != NULL && c->binding->n > 0 ? SASL_CHALLENGE : SASL_REFUSED;
	}
	if (is_plus || (!str_eq(flag, STR("n")) && !str_eq(flag, STR("y"))))
		return SASL_MALFORMED;
	return flag.p[0] == 'y' && c->plus_announced ? SASL_REFUSED : SASL_CHALLENGE;
}

/* authzid: empty, or the user himself. */
static enum sasl_step check_authzid(struct sasl *s, struct str part)
{
	char buf[SASL_USER_MAX];
	struct str escaped, name;

	if (part.n == 0)
		return SASL_CHALLENGE;
	if (!attribute(part, 'a', &escaped) || !unescape_name(escaped, buf, sizeof(buf), &name))
		return SASL_MALFORMED;
	return str_eq(name, str_from(s->user)) ? SASL_CHALLENGE : SASL_REFUSED;
}

/* client-first-message-bare: n=user,r=nonce[,extensions] */
static bool take_bare(struct sasl *s, struct str bare)
{
	struct str rest = bare, escaped, user, nonce;
	char buf[SASL_USER_MAX];

	if (!attribute(take_part(&rest), 'n', &escaped) || !unescape_name(escaped, buf, sizeof(buf), &user) ||
	    !sasl_take_user(s, user))
		return false;
	if (rest.p == NULL || !attribute(take_part(&rest), 'r', &nonce))
		return false;
	if (!is_nonce(nonce) || nonce.n > CLIENT_NONCE_MAX || !are_extensions(rest))
		return false;
	sbuf_add(&s->scram.both_nonces, nonce.p, nonce.n);
	sbuf_puts(&s->scram.both_nonces, s->scram.nonce);
	sbuf_add(&s->scram.auth_message, bare.p, bare.n);
	return true;
}

enum sasl_step sasl_scram_first(struct sasl *s, struct str message)
{
	struct str rest = message;
	struct str flag = take_part(&rest), authzid = take_part(&rest);

	if (rest.p == NULL)
		return sasl_end(s, SASL_MALFORMED);
	enum sasl_step step = take_flag(s, flag);
	if (step != SASL_CHALLENGE)
		return sasl_end(s, step);
	if (!take_bare(s, rest))
		return sasl_end(s, SASL_MALFORMED);
	step = check_authzid(s, authzid);
	if (step != SASL_CHALLENGE)
		return sasl_end(s, step);
	sbuf_add(&s->scram.gs2_header, message.p, (size_t)(rest.p - message.p));
	s->state = SASL_AT_VERIFIER;
	return SASL_FIND_VERIFIER;
}

/* ---- server-first-message ---- */

/* A verifier that nobody has the password of. */
static void make_up(struct sasl *s)
{
	struct sasl_scram *c = &s->scram;
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned n;

	ASSERT(HMAC(EVP_sha512(), c->unknown_key, (int)c->unknown_key_len, (const unsigned char *)s->user,
		    strlen(s->user), mac, &n) != NULL);
	c->verifier = (struct scram_verifier) { .iterations = c->unknown_iterations, .salt_len = c->unknown_salt_len };
	memcpy(c->verifier.salt, mac, c->unknown_salt_len);
}

enum sasl_step sasl_scram_challenge(struct sasl *s, const struct scram_verifier *v)
{
	struct sasl_scram *c = &s->scram;
	char salt[BASE64_LEN(SCRAM_SALT_MAX) + 1];
	struct sbuf first = { 0 };

	c->is_known = v != NULL;
	make_up(s);
	if (v != NULL)
		c->verifier = *v;
	base64_encode(c->verifier.salt, c->verifier.salt_len, salt);
	sbuf_printf(&first, "r=%s,s=%s,i=%u", c->both_nonces.p, salt, c->verifier.iterations);
	sbuf_printf(&c->auth_message, ",%s", first.p);
	s->state = SASL_AT_FINAL;
	enum sasl_step step = sasl_challenge_with(s, first.p, first.n);
	sbuf_fini(&first);
	return step;
}

/* ---- client-final-message ---- */

/* c= must be what the client said first and what both ends know of the TLS connection, to the byte. */
static bool is_bound(const struct sasl_scram *c, struct str encoded)
{
	char got[SASL_MESSAGE_MAX], *want = NULL;
	struct sbuf b = { 0 };
	size_t n;

	sbuf_add(&b, c->gs2_header.p, c->gs2_header.n);
	if (c->binding != NULL)
		sbuf_add(&b, c->binding->p, c->binding->n);
	want = b.p;
	bool ok = base64_decode(encoded, got, sizeof(got), &n) && n == b.n && CRYPTO_memcmp(got, want, n) == 0;
	sbuf_fini(&b);
	return ok;
}

/* c=binding,r=nonce[,extensions]; what is wrong, or SASL_CHALLENGE. */
static enum sasl_step check_final(const struct sasl_scram *c, struct str without_proof)
{
	struct str rest = without_proof, binding, nonce;

	if (!attribute(take_part(&rest), 'c', &binding) || rest.p == NULL ||
	    !attribute(take_part(&rest), 'r', &nonce) || !are_extensions(rest))
		return SASL_MALFORMED;
	if (!str_eq(nonce, (struct str) { c->both_nonces.p, c->both_nonces.n }) || !is_bound(c, binding))
		return SASL_REFUSED;
	return SASL_CHALLENGE;
}

static void sign(const struct sasl_scram *c, const unsigned char key[SCRAM_KEY_LEN], unsigned char out[SCRAM_KEY_LEN])
{
	unsigned n;

	ASSERT(HMAC(EVP_sha256(), key, SCRAM_KEY_LEN, (const unsigned char *)c->auth_message.p, c->auth_message.n, out,
		    &n) != NULL);
}

/* ClientKey = proof XOR HMAC(StoredKey, AuthMessage); its hash must be StoredKey. */
static bool is_proof(const struct sasl_scram *c, const unsigned char proof[SCRAM_KEY_LEN])
{
	unsigned char key[SCRAM_KEY_LEN], hash[SCRAM_KEY_LEN];

	sign(c, c->verifier.stored_key, key);
	for (size_t i = 0; i < SCRAM_KEY_LEN; i++)
		key[i] ^= proof[i];
	ASSERT(EVP_Digest(key, sizeof(key), hash, NULL, EVP_sha256(), NULL) == 1);
	bool is_good = CRYPTO_memcmp(hash, c->verifier.stored_key, sizeof(hash)) == 0;
	OPENSSL_cleanse(key, sizeof(key)); /* who has it can log in */
	return is_good & c->is_known;
}

/* server-final-message: we prove that we know the user too. */
static enum sasl_step answer_proof(struct sasl *s)
{
	unsigned char signature[SCRAM_KEY_LEN];
	char text[2 + BASE64_LEN(SCRAM_KEY_LEN) + 1] = "v=";

	sign(&s->scram, s->scram.verifier.server_key, signature);
	size_t n = base64_encode(signature, sizeof(signature), text + 2);
	s->state = SASL_AT_EMPTY;
	return sasl_challenge_with(s, text, n + 2);
}

enum sasl_step sasl_scram_final(struct sasl *s, struct str message)
{
	struct sasl_scram *c = &s->scram;
	unsigned char proof[SCRAM_KEY_LEN];
	const char *comma = message.n > 0 ? memrchr(message.p, ',', message.n) : NULL;
	struct str encoded;
	size_t n;

	if (comma == NULL)
		return sasl_end(s, SASL_MALFORMED);
	struct str without_proof = { message.p, (size_t)(comma - message.p) };
	if (!attribute(smtp_skip(message, without_proof.n + 1), 'p', &encoded) ||
	    !base64_decode(encoded, proof, sizeof(proof), &n) || n != sizeof(proof))
		return sasl_end(s, SASL_MALFORMED);
	enum sasl_step step = check_final(c, without_proof);
	if (step == SASL_CHALLENGE) {
		sbuf_putc(&c->auth_message, ',');
		sbuf_add(&c->auth_message, without_proof.p, without_proof.n);
		step = is_proof(c, proof) ? answer_proof(s) : SASL_REFUSED;
	}
	OPENSSL_cleanse(proof, sizeof(proof));
	return step == SASL_CHALLENGE ? step : sasl_end(s, step);
}

/* SPDX-License-Identifier: Apache-2.0
 * Join tokens: one line that lets one new node in, once, for a while.
 *
 * The text carries where to call, whom to believe (the fingerprint of the cluster's authority) and a random secret. The
 * log keeps a verifier of the secret alone. The proof is bound to one TLS connection and one request, in the manner of
 * RFC 5802 3 with the channel's exporter value (RFC 8446 7.5): who hears a proof can use it nowhere else, and who reads
 * the log cannot make one. The secret is 256 random bits, so nothing needs to make guessing slow.
 */
#ifndef POSTROAD_CLUSTER_TRUST_TOKEN_H
#define POSTROAD_CLUSTER_TRUST_TOKEN_H

#include "daemon/base/addr.h"
#include "daemon/base/str.h"

enum {
	TOKEN_SECRET_LEN = 32,
	TOKEN_HASH_LEN = 32,
	TOKEN_ID_LEN = 16, /* hexadecimal digits */
	TOKEN_ADDRESSES_MAX = 8,
	TOKEN_TEXT_MAX = 512,      /* with its NUL */
	TOKEN_LIFETIME_SEC = 3600, /* where none is asked for */
};
#define TOKEN_PREFIX "postroad1."

struct token {
	char id[TOKEN_ID_LEN + 1];
	uint8_t secret[TOKEN_SECRET_LEN];
	uint8_t authority[TOKEN_HASH_LEN]; /* ca_fingerprint() */
	uint64_t expires;                  /* seconds since 1970 */
	size_t n;
	struct addr addresses[TOKEN_ADDRESSES_MAX]; /* cluster.listen of members; tried in turn */
};

/* Id and secret at random. False = no randomness. */
bool token_make(struct token *ret, const uint8_t authority[TOKEN_HASH_LEN], uint64_t expires) MUST_CHECK;
/* n = 1 … TOKEN_ADDRESSES_MAX. The text is a secret. */
void token_format(const struct token *t, char ret[TOKEN_TEXT_MAX]);
/* White space around it is skipped. *ret_why is a static sentence. Whether it has expired is the caller's to see. */
bool token_parse(struct str text, struct token *ret, const char **ret_why) MUST_CHECK;
void token_wipe(struct token *t);

/* What the table of nodes stores. */
void token_stored(const struct token *t, uint8_t ret[TOKEN_HASH_LEN]);
/* binding: of the connection (channel_binding()); request: all bytes of what is asked, so that they cannot be changed.
 */
void token_prove(const struct token *t, const uint8_t binding[TOKEN_HASH_LEN], struct str request,
		 uint8_t ret_proof[TOKEN_HASH_LEN]);
bool token_check(const uint8_t stored[TOKEN_HASH_LEN], const uint8_t binding[TOKEN_HASH_LEN], struct str request,
		 const uint8_t proof[TOKEN_HASH_LEN]) MUST_CHECK;

#endif

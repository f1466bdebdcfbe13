/* SPDX-License-Identifier: Apache-2.0
 * Private to the files of SASL: one exchange.
 */
#ifndef POSTROAD_SMTP_SASL_PRIVATE_H
#define POSTROAD_SMTP_SASL_PRIVATE_H

#include "daemon/smtp/sasl.h"

#define SASL_MAGIC 0x5341534cu

enum sasl_state {
	SASL_AT_MESSAGE,  /* PLAIN: its one message; LOGIN: the user */
	SASL_AT_PASSWORD, /* LOGIN */
	SASL_AT_VERDICT,  /* the caller checks a password */
	SASL_AT_FIRST,    /* SCRAM: client-first-message */
	SASL_AT_VERIFIER, /* the caller looks one up */
	SASL_AT_FINAL,    /* client-final-message */
	SASL_AT_EMPTY,    /* the empty answer to server-final-message */
	SASL_AT_END,
};

struct sasl_binding {
	unsigned char p[SASL_BINDING_MAX];
	size_t n;
};

struct sasl_scram {
	bool plus_announced, is_known; /* there is such a user */
	char nonce[SASL_NONCE_MAX + 1];
	struct sasl_binding exporter, end_point;
	const struct sasl_binding *binding; /* the one the client chose */
	unsigned char unknown_key[64];
	size_t unknown_key_len;
	unsigned unknown_iterations;
	size_t unknown_salt_len;
	struct scram_verifier verifier;
	/* What the client-final-message must repeat, and what both sides sign. */
	struct sbuf gs2_header, both_nonces, auth_message;
};

struct sasl {
	uint32_t magic;
	enum sasl_mechanism mechanism;
	enum sasl_state state;
	char user[SASL_USER_MAX + 1];
	char password[PASSWORD_MAX + 1];
	char challenge[SASL_CHALLENGE_MAX];
	struct sasl_scram scram;
};

/* Encodes bytes as the challenge; they fit. */
enum sasl_step sasl_challenge_with(struct sasl *s, const void *p, size_t n);
/* Ends the exchange. */
enum sasl_step sasl_end(struct sasl *s, enum sasl_step how);
/* Takes a name of 1 to SASL_USER_MAX bytes, UTF-8 without control characters. False = it is none. */
bool sasl_take_user(struct sasl *s, struct str user) MUST_CHECK;

void sasl_scram_init(struct sasl_scram *scram, const struct sasl_setup *setup);
void sasl_scram_fini(struct sasl_scram *scram);
/* The steps of SCRAM, on decoded messages. */
enum sasl_step sasl_scram_first(struct sasl *s, struct str message);
enum sasl_step sasl_scram_challenge(struct sasl *s, const struct scram_verifier *v);
enum sasl_step sasl_scram_final(struct sasl *s, struct str message);

#endif

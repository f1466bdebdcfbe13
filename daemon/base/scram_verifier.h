/* SPDX-License-Identifier: Apache-2.0
 * What is stored of a user for SCRAM-SHA-256 (RFC 5802 3, RFC 7677): enough to check a proof, not enough to make one.
 *
 * Written as PostgreSQL writes it: SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY, the last three in base64.
 */
#ifndef POSTROAD_BASE_SCRAM_VERIFIER_H
#define POSTROAD_BASE_SCRAM_VERIFIER_H

#include "daemon/base/str.h"

#define SCRAM_KEY_LEN 32
#define SCRAM_SALT_LEN 16 /* of a salt that is made here */
#define SCRAM_SALT_MIN 8
#define SCRAM_SALT_MAX 64
#define SCRAM_ITERATIONS_MIN 4096 /* RFC 7677 4 */
#define SCRAM_ITERATIONS_MAX 1000000
#define SCRAM_ITERATIONS_DEFAULT 10000 /* the client pays for them, at every login */
#define SCRAM_VERIFIER_TEXT_MAX 256    /* with NUL */

struct scram_verifier {
	unsigned iterations;
	size_t salt_len;
	unsigned char salt[SCRAM_SALT_MAX];
	unsigned char stored_key[SCRAM_KEY_LEN], server_key[SCRAM_KEY_LEN];
};

/* Derives the keys from a password and the salt and iterations that *v holds already. The password must be printable
 * ASCII: SASLprep (RFC 4013), which leaves such passwords alone, is not done. False = it is not, or the derivation
 * failed. */
bool scram_verifier_derive(struct str password, struct scram_verifier *v) MUST_CHECK;
/* The same with a new random salt and SCRAM_ITERATIONS_DEFAULT. */
bool scram_verifier_make(struct str password, struct scram_verifier *ret) MUST_CHECK;
/* Writes the text into out; returns out. */
const char *scram_verifier_format(const struct scram_verifier *v, char out[SCRAM_VERIFIER_TEXT_MAX]);
/* *ret_why is static text and never holds the verifier. */
bool scram_verifier_parse(const char *text, struct scram_verifier *ret, const char **ret_why) MUST_CHECK;

#endif

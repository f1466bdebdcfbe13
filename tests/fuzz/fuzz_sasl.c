/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: the server's side of AUTH against any lines. Invariants: an exchange is over after a few steps; its challenges
 * are base64; the user's name holds no control character; and nobody gets in without the password.
 *
 * The first byte chooses the mechanism and what the server has; the lines follow. As a fuzzer is poor at base64, a bit
 * says that the harness encodes them.
 */
#include <stdlib.h>

#include "daemon/base/base64.h"
#include "daemon/smtp/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 4
/* "user", "pencil", and the server's nonce of RFC 7677 3. */
#define PENCIL                                                                                                         \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"                    \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"

enum { MECHANISM = 3, WITH_INITIAL = 4, PLUS_ANNOUNCED = 8, NO_BINDINGS = 16, ENCODE = 32 };

static struct str next_line(struct str *rest)
{
	const char *end = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;
	struct str line = { rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n };
	size_t used = line.n + (end != NULL ? 1 : 0);

	*rest = (struct str) { rest->p + used, rest->n - used };
	return line;
}

static void check_texts(const struct sasl *s)
{
	unsigned char text[SASL_CHALLENGE_MAX];
	const char *c = sasl_user(s);
	size_t n;

	ASSERT(strlen(c) <= SASL_USER_MAX);
	for (; *c != '\0'; c++)
		ASSERT((unsigned char)*c >= ' ' && *c != 0x7f);
	ASSERT(strlen(sasl_challenge(s)) < SASL_CHALLENGE_MAX);
	ASSERT(base64_decode(str_from(sasl_challenge(s)), text, sizeof(text), &n));
}

/* What the session does until the client must speak again. */
static enum sasl_step serve(struct sasl *s, enum sasl_step step)
{
	struct scram_verifier v;
	const char *why;

	check_texts(s);
	if (step == SASL_VERIFY_PASSWORD) {
		ASSERT(strlen(sasl_password(s)) > 0 && strlen(sasl_password(s)) <= PASSWORD_MAX);
		bool is_good = strcmp(sasl_user(s), "user") == 0 && strcmp(sasl_password(s), "pencil") == 0;
		step = sasl_password_verified(s, is_good);
		ASSERT(step == (is_good ? SASL_DONE : SASL_REFUSED));
	}
	if (step == SASL_FIND_VERIFIER) {
		ASSERT(scram_verifier_parse(PENCIL, &v, &why));
		step = sasl_verifier_found(s, strcmp(sasl_user(s), "user") == 0 ? &v : NULL);
		ASSERT(step == SASL_CHALLENGE);
	}
	check_texts(s);
	ASSERT(step < SASL_STEP_COUNT);
	ASSERT(step != SASL_DONE || strcmp(sasl_user(s), "user") == 0);
	return step;
}

static enum sasl_step speak(struct sasl *s, struct str line, bool initial, bool encode)
{
	char *text = xmalloc(BASE64_LEN(line.n) + 1);

	if (encode)
		line = (struct str) { text, base64_encode(line.p, line.n, text) };
	enum sasl_step step = initial ? sasl_start(s, line) : sasl_step(s, line);
	free(text);
	return serve(s, step);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	unsigned what = data[0];
	struct str rest = { (const char *)data + 1, size - 1 };
	struct sasl_setup setup = { .mechanism = (enum sasl_mechanism)(what & MECHANISM),
				    .plus_announced = what & PLUS_ANNOUNCED,
				    .nonce = STR(NONCE),
				    .unknown_key = STR("key") };
	unsigned steps = 1;

	if (!(what & NO_BINDINGS)) {
		setup.tls_exporter = STR("exporter");
		setup.tls_server_end_point = STR("end point");
	}
	struct sasl *s = sasl_new(&setup);
	enum sasl_step step = what & WITH_INITIAL ? speak(s, next_line(&rest), true, what & ENCODE)
						  : serve(s, sasl_start(s, (struct str) { 0 }));
	while (step == SASL_CHALLENGE && rest.n > 0) {
		step = speak(s, next_line(&rest), false, what & ENCODE);
		ASSERT(++steps <= STEPS_MAX);
	}
	sasl_free(s);
	return 0;
}

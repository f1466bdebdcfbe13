/* SPDX-License-Identifier: Apache-2.0
 * The server's side of AUTH: PLAIN and LOGIN, and the frame of every mechanism.
 *
 * The hard thing is that all of it is said by strangers: what is malformed, what is cancelled and what is wrong must be
 * told apart without telling who exists, within fixed bounds, and no copy of a password may stay behind.
 */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "daemon/base/base64.h"
#include "daemon/smtp/chars.h"
#include "daemon/smtp/sasl_private.h"

const char *const sasl_mechanism_names[SASL_MECHANISM_COUNT] = { "PLAIN", "LOGIN", "SCRAM-SHA-256",
								 "SCRAM-SHA-256-PLUS" };

/* ---- names ---- */

bool sasl_mechanism_find(struct str name, enum sasl_mechanism *ret)
{
	for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
		if (!str_ieq(name, str_from(sasl_mechanism_names[i])))
			continue;
		*ret = (enum sasl_mechanism)i;
		return true;
	}
	return false;
}

unsigned sasl_mechanism_set(struct str names)
{
	enum sasl_mechanism one;
	unsigned set = 0;

	for (struct str rest = smtp_trim(names); rest.n > 0;)
		if (sasl_mechanism_find(smtp_word(&rest), &one))
			set |= 1u << one;
	return set;
}

bool sasl_auth_parse(struct str args, struct str *ret_name, struct str *ret_initial)
{
	struct str rest = smtp_trim(args), none = { 0 };

	*ret_name = smtp_word(&rest);
	*ret_initial = rest.n > 0 ? smtp_word(&rest) : none;
	return ret_name->n > 0 && rest.n == 0;
}

/* ---- one exchange ---- */

struct sasl *sasl_new(const struct sasl_setup *setup)
{
	struct sasl *s;

	NEW_OBJ(s, SASL_MAGIC);
	s->mechanism = setup->mechanism;
	s->state = SASL_AT_MESSAGE;
	if (setup->mechanism == SASL_SCRAM_SHA_256 || setup->mechanism == SASL_SCRAM_SHA_256_PLUS) {
		s->state = SASL_AT_FIRST;
		sasl_scram_init(&s->scram, setup);
	}
	return s;
}

void sasl_free(struct sasl *s)
{
	if (s == NULL)
		return;
	CHECK_OBJ(s, SASL_MAGIC);
	sasl_scram_fini(&s->scram);
	OPENSSL_cleanse(s, sizeof(*s));
	free(s);
}

enum sasl_step sasl_challenge_with(struct sasl *s, const void *p, size_t n)
{
	ASSERT(BASE64_LEN(n) < sizeof(s->challenge));
	base64_encode(p, n, s->challenge);
	return SASL_CHALLENGE;
}

enum sasl_step sasl_end(struct sasl *s, enum sasl_step how)
{
	s->state = SASL_AT_END;
	OPENSSL_cleanse(s->password, sizeof(s->password));
	return how;
}

static bool is_control_free(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c < ' ' || c == 0x7f)
			return false;
		if (c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0) /* U+0080 to U+009F */
			return false;
	}
	return true;
}

bool sasl_take_user(struct sasl *s, struct str user)
{
	if (user.n == 0 || user.n > SASL_USER_MAX || !smtp_utf8_valid(user) || !is_control_free(user))
		return false;
	memcpy(s->user, user.p, user.n);
	s->user[user.n] = '\0';
	return true;
}

/* An empty password is an answer, if never the right one: bad credentials without a look. */
static enum sasl_step take_password(struct sasl *s, struct str password)
{
	const char *why;

	if (password.n == 0)
		return sasl_end(s, SASL_REFUSED);
	if (!password_valid(password, &why))
		return sasl_end(s, SASL_MALFORMED);
	memcpy(s->password, password.p, password.n);
	s->password[password.n] = '\0';
	s->state = SASL_AT_VERDICT;
	return SASL_VERIFY_PASSWORD;
}

/* ---- PLAIN (RFC 4616 2): authzid NUL authcid NUL passwd ---- */

static enum sasl_step plain_message(struct sasl *s, struct str m)
{
	const char *end = m.p + m.n, *first = m.n > 0 ? memchr(m.p, '\0', m.n) : NULL;
	const char *second = first != NULL ? memchr(first + 1, '\0', (size_t)(end - first - 1)) : NULL;

	if (second == NULL || memchr(second + 1, '\0', (size_t)(end - second - 1)) != NULL)
		return sasl_end(s, SASL_MALFORMED);
	struct str authzid = { m.p, (size_t)(first - m.p) }, authcid = { first + 1, (size_t)(second - first - 1) };
	if (!sasl_take_user(s, authcid))
		return sasl_end(s, SASL_MALFORMED);
	if (authzid.n > 0 && !str_eq(authzid, authcid)) /* nobody may act for somebody else */
		return sasl_end(s, SASL_REFUSED);
	return take_password(s, (struct str) { second + 1, (size_t)(end - second - 1) });
}

/* ---- LOGIN ---- */

static enum sasl_step login_user(struct sasl *s, struct str m)
{
	if (!sasl_take_user(s, m))
		return sasl_end(s, SASL_MALFORMED);
	s->state = SASL_AT_PASSWORD;
	return sasl_challenge_with(s, "Password:", 9);
}

/* ---- steps ---- */

static enum sasl_step take_message(struct sasl *s, struct str m)
{
	switch (s->state) {
	case SASL_AT_MESSAGE:
		return s->mechanism == SASL_PLAIN ? plain_message(s, m) : login_user(s, m);
	case SASL_AT_PASSWORD:
		return take_password(s, m);
	case SASL_AT_FIRST:
		return sasl_scram_first(s, m);
	case SASL_AT_FINAL:
		return sasl_scram_final(s, m);
	case SASL_AT_EMPTY:
		return sasl_end(s, m.n == 0 ? SASL_DONE : SASL_MALFORMED);
	case SASL_AT_VERDICT:
	case SASL_AT_VERIFIER:
	case SASL_AT_END:
		break;
	}
	base_panic(__FILE__, __LINE__, "a line in between");
}

enum sasl_step sasl_step(struct sasl *s, struct str line)
{
	char message[SASL_MESSAGE_MAX];
	size_t n;

	CHECK_OBJ(s, SASL_MAGIC);
	if (str_eq(line, STR("*")))
		return sasl_end(s, SASL_CANCELLED);
	if (!base64_decode(line, message, sizeof(message), &n)) {
		OPENSSL_cleanse(message, sizeof(message));
		return sasl_end(s, SASL_MALFORMED);
	}
	enum sasl_step step = take_message(s, (struct str) { message, n });
	OPENSSL_cleanse(message, sizeof(message));
	return step;
}

enum sasl_step sasl_start(struct sasl *s, struct str initial)
{
	CHECK_OBJ(s, SASL_MAGIC);
	if (initial.p == NULL)
		return s->mechanism == SASL_LOGIN ? sasl_challenge_with(s, "Username:", 9)
						  : sasl_challenge_with(s, "", 0);
	if (str_eq(initial, STR("*"))) /* cancels only what has begun */
		return sasl_end(s, SASL_MALFORMED);
	return sasl_step(s, str_eq(initial, STR("=")) ? STR("") : initial);
}

enum sasl_step sasl_password_verified(struct sasl *s, bool is_good)
{
	CHECK_OBJ(s, SASL_MAGIC);
	ASSERT(s->state == SASL_AT_VERDICT);
	return sasl_end(s, is_good ? SASL_DONE : SASL_REFUSED);
}

enum sasl_step sasl_verifier_found(struct sasl *s, const struct scram_verifier *v)
{
	CHECK_OBJ(s, SASL_MAGIC);
	ASSERT(s->state == SASL_AT_VERIFIER);
	return sasl_scram_challenge(s, v);
}

/* ---- answers ---- */

const char *sasl_challenge(const struct sasl *s)
{
	CHECK_OBJ(s, SASL_MAGIC);
	return s->challenge;
}

const char *sasl_user(const struct sasl *s)
{
	CHECK_OBJ(s, SASL_MAGIC);
	return s->user;
}

const char *sasl_password(const struct sasl *s)
{
	CHECK_OBJ(s, SASL_MAGIC);
	ASSERT(s->state == SASL_AT_VERDICT);
	return s->password;
}

enum sasl_mechanism sasl_mechanism(const struct sasl *s)
{
	CHECK_OBJ(s, SASL_MAGIC);
	return s->mechanism;
}

void sasl_refusal(enum sasl_step step, struct smtp_refusal *ret)
{
	static const struct smtp_refusal malformed = { 501, "5.5.2", "malformed response" },
					 cancelled = { 501, "5.7.0", "authentication cancelled" },
					 refused = { 535, "5.7.8", "authentication failed" };

	*ret = step == SASL_MALFORMED ? malformed : step == SASL_CANCELLED ? cancelled : refused;
}

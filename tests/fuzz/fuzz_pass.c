/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: a login that passes by, against any lines of the client and any bytes of the server. Invariants: an exchange is
 * over after a bounded number of challenges; a challenge is one line; the name is one that a response showed, whole and
 * fit for a log, and for a LOGIN never a response behind the name that was not asked for as one; nobody has logged in
 * behind a "*".
 *
 * The first byte chooses the mechanism, whether a response comes with the command, and whether the harness encodes what
 * the client says, as a fuzzer is poor at base64. Then come, in turn, the server's reply and the client's line.
 */
#include <stdlib.h>

#include "daemon/base/base64.h"
#include "daemon/smtp/chars.h"
#include "daemon/smtp/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MECHANISM = 7, WITH_INITIAL = 8, ENCODE = 16 };

static const char *const mechanisms[MECHANISM + 1] = { "PLAIN",   "LOGIN",    "SCRAM-SHA-256", "OAUTHBEARER",
						       "XOAUTH2", "CRAM-MD5", "GSSAPI",        "LOGIN" };

#define SAID_MAX (SASL_PASS_CHALLENGES_MAX + 2)

struct play {
	struct sasl_pass pass;
	bool encode, star, asked;               /* asked: the newest challenge names the user */
	char said[SAID_MAX][SASL_USER_MAX + 1]; /* the names that the responses show */
	unsigned n_said;
};

static struct str next_line(struct str *rest)
{
	const char *end = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;
	struct str line = { rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n };
	size_t used = line.n + (end != NULL ? 1 : 0);

	*rest = (struct str) { rest->p + used, rest->n - used };
	return line;
}

static void check_name(const struct play *p)
{
	const char *name = p->pass.user;
	bool found = name[0] == '\0';

	ASSERT(strnlen(name, SASL_USER_MAX + 1) <= SASL_USER_MAX && smtp_utf8_valid(str_from(name)));
	for (const char *c = name; *c != '\0'; c++)
		ASSERT((unsigned char)*c >= ' ' && *c != 0x7f);
	for (unsigned i = 0; i < p->n_said && !found; i++)
		found = strcmp(p->said[i], name) == 0;
	ASSERT(found);
}

static void say(struct play *p, struct str line, bool initial)
{
	char *text = xmalloc(BASE64_LEN(line.n) + 1), before[SASL_USER_MAX + 1];
	bool is_login = strcmp(p->pass.mechanism, "LOGIN") == 0;

	memcpy(before, p->pass.user, sizeof(before));
	if (p->encode && !str_eq(line, STR("*")))
		line = (struct str) { text, base64_encode(line.p, line.n, text) };
	ASSERT(p->n_said < SAID_MAX);
	sasl_name(str_from(p->pass.mechanism), line, p->said[p->n_said++]);
	p->star = !initial && str_eq(line, STR("*"));
	if (initial)
		sasl_pass_init(&p->pass, p->pass.mechanism, line);
	else
		sasl_pass_response(&p->pass, line);
	check_name(p);
	if (is_login && !initial && p->n_said > 1 && !p->asked)
		ASSERT(p->pass.user[0] == '\0' || strcmp(p->pass.user, before) == 0);
	free(text);
}

/* True: the client's turn. */
static bool take_reply(struct play *p, struct str *rest)
{
	struct smtp_reply r;
	const char *why;
	size_t len;

	if (smtp_reply_parse(rest->p, rest->n, &r, &len, &why) != SMTP_PARSE_OK)
		return false;
	*rest = (struct str) { rest->p + len, rest->n - len };
	p->asked = sasl_asks_for_user(r.last);
	enum sasl_pass_step step = sasl_pass_reply(&p->pass, &r);
	ASSERT(step != SASL_PASS_CHALLENGE || (r.code == 334 && r.lines == 1 && !p->star));
	ASSERT(step != SASL_PASS_DONE || (smtp_reply_is(&r, 2) && !p->star));
	ASSERT(step != SASL_PASS_CANCELLED || p->star);
	check_name(p);
	return step == SASL_PASS_CHALLENGE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct play p = { 0 };

	if (size == 0)
		return 0;
	struct str rest = { (const char *)data + 1, size - 1 };
	sasl_pass_init(&p.pass, mechanisms[data[0] & MECHANISM], (struct str) { 0 });
	p.encode = data[0] & ENCODE;
	if (data[0] & WITH_INITIAL)
		say(&p, next_line(&rest), true);
	while (take_reply(&p, &rest))
		say(&p, next_line(&rest), false);
	return 0;
}

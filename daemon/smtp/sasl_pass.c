/* SPDX-License-Identifier: Apache-2.0
 * A login that passes by: who it is about, and what a server's reply means.
 *
 * The hard thing is whose name counts: the server believes the response it took, which is not the first one where it
 * ignored what came with the command and asked again. A name that could be another's is none.
 */
#include "daemon/base/base64.h"
#include "daemon/smtp/chars.h"
#include "daemon/smtp/sasl.h"

static bool is(const struct sasl_pass *p, const char *mechanism)
{
	return str_ieq(str_from(p->mechanism), str_from(mechanism));
}

bool sasl_asks_for_user(struct str prompt)
{
	struct str text = smtp_trim(prompt);
	char decoded[64];
	size_t n;

	return base64_decode(text, decoded, sizeof(decoded), &n) && n >= 4 &&
	       str_ieq((struct str) { decoded, 4 }, STR("user"));
}

/* LOGIN: the name, then the password. A third response means that one of them was ignored, and which is not known. */
static void login_response(struct sasl_pass *p, struct str line)
{
	if (p->name_due) {
		sasl_name(STR("LOGIN"), line, p->user);
		p->n_secrets = 0;
	} else if (++p->n_secrets > 1) {
		p->user[0] = '\0';
	}
	p->shown = p->shown || !p->name_due;
	p->name_due = false;
}

static void take(struct sasl_pass *p, struct str line)
{
	if (is(p, "LOGIN")) {
		login_response(p, line);
		return;
	}
	/* Each message of PLAIN is a whole one. */
	if (p->name_due || is(p, "PLAIN"))
		sasl_name(str_from(p->mechanism), line, p->user);
	p->name_due = false;
	p->shown = true;
}

void sasl_pass_init(struct sasl_pass *p, const char *mechanism, struct str initial)
{
	*p = (struct sasl_pass) { .mechanism = mechanism, .name_due = true };
	if (initial.p != NULL)
		take(p, initial);
}

void sasl_pass_response(struct sasl_pass *p, struct str line)
{
	p->cancels = str_eq(line, STR("*"));
	if (!p->cancels)
		take(p, line);
}

static enum sasl_pass_step challenge(struct sasl_pass *p, const struct smtp_reply *r)
{
	if (r->lines != 1 || p->cancels || ++p->n_challenges > SASL_PASS_CHALLENGES_MAX)
		return SASL_PASS_BROKEN;
	if (is(p, "LOGIN"))
		p->name_due = p->name_due || sasl_asks_for_user(r->last);
	else
		p->name_due =
			p->name_due || smtp_trim(r->last).n == 0; /* what was said with the command did not count */
	return SASL_PASS_CHALLENGE;
}

enum sasl_pass_step sasl_pass_reply(struct sasl_pass *p, const struct smtp_reply *r)
{
	if (r->code == 334)
		return challenge(p, r);
	if (smtp_reply_is(r, 2))
		return p->cancels ? SASL_PASS_BROKEN : SASL_PASS_DONE;
	/* RFC 4954 4: 454 is the server's own trouble. */
	if (r->code == 421 || (r->code == 454 && !p->cancels) || smtp_reply_is(r, 3))
		return SASL_PASS_BUSY;
	return p->cancels && !p->shown ? SASL_PASS_CANCELLED : SASL_PASS_REFUSED;
}

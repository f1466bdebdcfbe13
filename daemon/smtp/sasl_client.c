/* SPDX-License-Identifier: Apache-2.0
 * The client's side of AUTH: how we make ourselves known to a server.
 *
 * The hard thing is that servers differ over LOGIN: some take the user with the command, others ignore what came with
 * it and ask. So a prompt is read, and only where it does not name the user is it taken to ask for the password.
 */
#include <openssl/crypto.h>
#include <stdio.h>

#include "daemon/base/base64.h"
#include "daemon/smtp/chars.h"
#include "daemon/smtp/sasl.h"

#define COMMAND_MAX 512 /* with CRLF, RFC 5321 4.5.3.1.4 */

enum { SENT_NOTHING = 0, SENT_USER = 1u << 0, SENT_USER_AGAIN = 1u << 1, SENT_PASSWORD = 1u << 2 };

void sasl_client_init(struct sasl_client *c, enum sasl_mechanism mechanism, struct str user, struct str password)
{
	ASSERT(mechanism == SASL_PLAIN || mechanism == SASL_LOGIN);
	ASSERT(user.n > 0 && user.n <= SASL_USER_MAX && password.n > 0 && password.n <= PASSWORD_MAX);
	*c = (struct sasl_client) { .mechanism = mechanism, .user = user, .password = password };
}

/* Makes room for all that is added next, so that growing leaves no copy of a secret behind. */
static void make_room(struct sbuf *out)
{
	sbuf_extend(out, COMMAND_MAX + BASE64_LEN(2 + SASL_USER_MAX + PASSWORD_MAX));
	out->n -= COMMAND_MAX + BASE64_LEN(2 + SASL_USER_MAX + PASSWORD_MAX);
	out->p[out->n] = '\0';
}

static void add_encoded(struct sbuf *out, const void *p, size_t n)
{
	base64_encode(p, n, sbuf_extend(out, BASE64_LEN(n)));
}

/* NUL user NUL password (RFC 4616 2). */
static void add_plain(const struct sasl_client *c, struct sbuf *out)
{
	char message[2 + SASL_USER_MAX + PASSWORD_MAX];
	size_t n = 2 + c->user.n + c->password.n;

	message[0] = message[1 + c->user.n] = '\0';
	memcpy(message + 1, c->user.p, c->user.n);
	memcpy(message + 2 + c->user.n, c->password.p, c->password.n);
	add_encoded(out, message, n);
	OPENSSL_cleanse(message, sizeof(message));
}

void sasl_client_start(struct sasl_client *c, struct sbuf *out)
{
	size_t encoded = BASE64_LEN(c->mechanism == SASL_PLAIN ? 2 + c->user.n + c->password.n : c->user.n);

	make_room(out);
	sbuf_puts(out, c->mechanism == SASL_PLAIN ? "AUTH PLAIN" : "AUTH LOGIN");
	c->sent = SENT_NOTHING;
	if (strlen("AUTH PLAIN \r\n") + encoded <= COMMAND_MAX) {
		sbuf_putc(out, ' ');
		if (c->mechanism == SASL_PLAIN)
			add_plain(c, out);
		else
			add_encoded(out, c->user.p, c->user.n);
		c->sent = c->mechanism == SASL_PLAIN ? SENT_USER | SENT_PASSWORD : SENT_USER;
	}
	sbuf_puts(out, "\r\n");
}

/* 334: the server wants something. False = it has all there is. */
static bool answer(struct sasl_client *c, const struct smtp_reply *r, struct sbuf *out)
{
	if (c->sent & SENT_PASSWORD)
		return false;
	make_room(out);
	if (c->mechanism == SASL_PLAIN) {
		add_plain(c, out);
		c->sent = SENT_USER | SENT_PASSWORD;
	} else if (!(c->sent & SENT_USER) || (sasl_asks_for_user(r->last) && !(c->sent & SENT_USER_AGAIN))) {
		add_encoded(out, c->user.p, c->user.n);
		c->sent = SENT_USER | SENT_USER_AGAIN;
	} else {
		add_encoded(out, c->password.p, c->password.n);
		c->sent |= SENT_PASSWORD;
	}
	sbuf_puts(out, "\r\n");
	return true;
}

enum sasl_client_step sasl_client_reply(struct sasl_client *c, const struct smtp_reply *r, struct sbuf *out)
{
	if (r->code == 334)
		return answer(c, r, out) ? SASL_CLIENT_SEND : SASL_CLIENT_BROKEN;
	switch (r->code / 100) {
	case 2:
		return SASL_CLIENT_DONE;
	case 4:
		return SASL_CLIENT_LATER;
	case 5:
		return SASL_CLIENT_REFUSED;
	default:
		return SASL_CLIENT_BROKEN;
	}
}

/* SPDX-License-Identifier: Apache-2.0
 * Whose login passes by: the name that the first response of an exchange shows in the clear.
 *
 * The hard thing is to read no more than that: what stands behind the name may be a password or a token, so only the
 * front of a response is decoded, and all of it is wiped.
 */
#include <openssl/crypto.h>

#include "daemon/base/base64.h"
#include "daemon/smtp/chars.h"
#include "daemon/smtp/sasl.h"

#define FRONT_MAX 1024 /* of the response, in base64: a multiple of 4 that holds two names */

/* The part before the first `end`; *rest is what stands behind it. Without an `end` there is no such part: of a long
 * response only the front is here, and half a name would be another one. */
static struct str take_until(struct str *rest, char end)
{
	const char *at = rest->n > 0 ? memchr(rest->p, end, rest->n) : NULL;
	struct str part = { rest->p, at != NULL ? (size_t)(at - rest->p) : 0 };

	*rest = smtp_skip(*rest, at != NULL ? part.n + 1 : rest->n);
	return part;
}

static struct str behind(struct str s, struct str prefix)
{
	struct str none = { "", 0 };

	if (s.n < prefix.n || memcmp(s.p, prefix.p, prefix.n) != 0)
		return none;
	return smtp_skip(s, prefix.n);
}

/* RFC 4616 2: authzid NUL authcid NUL password. */
static struct str name_in_plain(struct str message)
{
	take_until(&message, '\0');
	return take_until(&message, '\0');
}

/* RFC 5802 5.1: gs2-header, then "n=name,r=…". The name's "=2C" and "=3D" stay as they are. */
static struct str name_in_scram(struct str message)
{
	take_until(&message, ',');
	take_until(&message, ',');
	return behind(take_until(&message, ','), STR("n="));
}

/* RFC 7628 3.1: "n,a=name,". */
static struct str name_in_oauthbearer(struct str message)
{
	take_until(&message, ',');
	return behind(take_until(&message, ','), STR("a="));
}

static struct str name_in_xoauth2(struct str message)
{
	return behind(take_until(&message, '\1'), STR("user="));
}

static struct str name_in_login(struct str message)
{
	return message;
}

static const struct {
	const char *prefix;
	struct str (*read)(struct str message);
} readers[] = {
	{ "PLAIN", name_in_plain },     { "LOGIN", name_in_login },
	{ "SCRAM-", name_in_scram },    { "OAUTHBEARER", name_in_oauthbearer },
	{ "XOAUTH2", name_in_xoauth2 },
};

static bool is_name(struct str s)
{
	if (s.n == 0 || s.n > SASL_USER_MAX || !smtp_utf8_valid(s))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return true;
}

bool sasl_name(struct str mechanism, struct str response, char out[SASL_USER_MAX + 1])
{
	struct str front = { response.p, response.n < FRONT_MAX ? response.n : FRONT_MAX };
	char message[FRONT_MAX];
	size_t n;
	bool found = false;

	out[0] = '\0';
	if (!base64_decode(front, message, sizeof(message), &n))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(readers) && !found; i++) {
		struct str prefix = str_from(readers[i].prefix), head = { mechanism.p, prefix.n };
		if (mechanism.n < prefix.n || !str_ieq(head, prefix))
			continue;
		struct str name = readers[i].read((struct str) { message, n });
		found = is_name(name);
		if (found) {
			memcpy(out, name.p, name.n);
			out[name.n] = '\0';
		}
	}
	OPENSSL_cleanse(message, sizeof(message));
	return found;
}

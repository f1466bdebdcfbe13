/* SPDX-License-Identifier: Apache-2.0
 * The value of the LIMITS keyword, read and written (RFC 9422).
 *
 * A limit is a promise of refusal to come, so a malformed one is worth nothing: it is skipped, and the server's own
 * answer decides.
 */
#include "daemon/smtp/smtp.h"

#include <stdio.h>

#include "daemon/smtp/chars.h"

#define DIGITS_MAX 6

static const struct {
	const char *name;
	size_t offset;
} rows[] = {
	{ "RCPTMAX", offsetof(struct smtp_limits, rcpt_max) },
	{ "MAILMAX", offsetof(struct smtp_limits, mail_max) },
	{ "RCPTDOMAINMAX", offsetof(struct smtp_limits, rcpt_domain_max) },
};

static void read_one(struct str word, struct smtp_limits *io)
{
	const char *equals = memchr(word.p, '=', word.n);
	uint64_t value;

	if (equals == NULL)
		return;
	struct str name = { word.p, (size_t)(equals - word.p) };
	struct str text = smtp_skip(word, name.n + 1);
	if (text.n > DIGITS_MAX || !smtp_u64(text, &value) || text.p[0] == '0')
		return;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned *field = (unsigned *)(void *)((char *)io + rows[i].offset);
		if (str_ieq(name, str_from(rows[i].name)) && (*field == 0 || value < *field))
			*field = (unsigned)value;
	}
}

void smtp_limits_read(struct str value, struct smtp_limits *io)
{
	value = smtp_trim(value);
	while (value.n > 0)
		read_one(smtp_word(&value), io);
}

size_t smtp_limits_write(const struct smtp_limits *l, char out[SMTP_LIMITS_MAX])
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned value = *(const unsigned *)(const void *)((const char *)l + rows[i].offset);
		if (value == 0 || value > SMTP_LIMIT_MAX)
			continue;
		n += (size_t)snprintf(out + n, SMTP_LIMITS_MAX - n, "%s %s=%u", n == 0 ? "LIMITS" : "", rows[i].name,
				      value);
	}
	return n;
}

/* SPDX-License-Identifier: Apache-2.0
 * Field types for what is stored of passwords. An error says what is wrong with a value and never shows it.
 */
#include "daemon/base/password.h"
#include "daemon/base/scram_verifier.h"
#include "daemon/conf/conf_schema.h"

static void store_copy(struct conf_parser *p, const struct conf_field *f, void *base, const char *text)
{
	const char *copy = arena_strdup(p->arena, text);

	conf_store(f, base, &copy, sizeof(copy));
}

/* The name or the password of a login of ours (RFC 4616 2). */
static bool parse_login(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v);

	if (text == NULL)
		return false;
	size_t n = strlen(text);
	bool good = n > 0 && n <= f->max;
	for (size_t i = 0; i < n && good; i++)
		good = (unsigned char)text[i] >= 0x20 && text[i] != 0x7f;
	if (!good) {
		conf_bad(p, f, v, NULL, "not a text of 1 to %llu bytes without control characters",
			 (unsigned long long)f->max);
		return false;
	}
	store_copy(p, f, base, text);
	return true;
}

static void login_allowed(const struct conf_field *f, struct sbuf *out)
{
	sbuf_printf(out, "1 to %llu bytes", (unsigned long long)f->max);
}

const struct conf_type conf_type_login = { "text", parse_login, login_allowed, conf_string_schema };

static bool parse_password_hash(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v), *why;

	if (text == NULL)
		return false;
	if (!password_hash_valid(text, &why)) {
		conf_bad(p, f, v, NULL,
			 "not a password hash: %s. `postroad user add NAME` makes one, or `mkpasswd -m yescrypt`", why);
		return false;
	}
	store_copy(p, f, base, text);
	return true;
}

static void password_hash_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "a crypt(5) hash: yescrypt (\"$y$…\", \"$gy$…\"), bcrypt (\"$2b$…\"), SHA-512 (\"$6$…\") or "
		       "SHA-256 (\"$5$…\")");
}

const struct conf_type conf_type_password_hash = { "password hash", parse_password_hash, password_hash_allowed,
						   conf_string_schema };

static bool parse_scram_verifier(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v), *why;
	struct scram_verifier unused;

	if (text == NULL)
		return false;
	if (!scram_verifier_parse(text, &unused, &why)) {
		conf_bad(p, f, v, NULL, "not a SCRAM verifier: %s. `postroad user add NAME` makes one", why);
		return false;
	}
	store_copy(p, f, base, text);
	return true;
}

static void scram_verifier_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "\"SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY\", 4096 to 1000000 iterations");
}

const struct conf_type conf_type_scram_verifier = { "SCRAM verifier", parse_scram_verifier, scram_verifier_allowed,
						    conf_string_schema };

/* SPDX-License-Identifier: Apache-2.0
 * Field types that are one string: words of a table, names, texts, times, paths.
 */
#include "daemon/conf/conf_schema.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/smtp/smtp.h"

void conf_store(const struct conf_field *f, void *base, const void *value, size_t size)
{
	if (f->offset != CONF_NOWHERE)
		memcpy((char *)base + f->offset, value, size);
}

static void store_text(struct conf_parser *p, const struct conf_field *f, void *base, const char *text)
{
	const char *copy = arena_strdup(p->arena, text);

	conf_store(f, base, &copy, sizeof(copy));
}

const char *conf_want_text(struct conf_parser *p, const struct conf_field *f, json_t *v)
{
	if (!json_is_string(v))
		conf_bad(p, f, v, NULL, "a string is needed here");
	return json_string_value(v);
}

json_t *conf_string_schema(const struct conf_field *f)
{
	char *allowed = conf_field_allowed(f);
	json_t *s = json_pack("{s:s,s:s}", "type", "string", "title", allowed);

	free(allowed);
	return s;
}

/* ---- words ---- */

/* Index of the word; -1 = not one of them, and an error was added. */
static int want_word(struct conf_parser *p, const struct conf_field *f, json_t *v)
{
	const char *text = conf_want_text(p, f, v);
	struct conf_nearest near;

	if (text == NULL)
		return -1;
	conf_nearest_init(&near, text);
	for (size_t i = f->min; i < f->n_names; i++) {
		if (strcmp(f->names[i], text) == 0)
			return (int)i;
		conf_nearest_try(&near, f->names[i]);
	}
	conf_bad(p, f, v, near.best, "not a value of \"%s\"", f->name);
	return -1;
}

static bool parse_enum(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	int i = want_word(p, f, v);

	if (i >= 0)
		conf_store(f, base, &i, sizeof(i));
	return i >= 0;
}

static bool parse_choice(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	int i = want_word(p, f, v);

	if (i >= 0)
		conf_store(f, base, &f->names[i], sizeof(f->names[i]));
	return i >= 0;
}

/* Two words for one bool: the second is true. */
static bool parse_flag(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	int i = want_word(p, f, v);
	bool is_second = i == 1;

	if (i >= 0)
		conf_store(f, base, &is_second, sizeof(is_second));
	return i >= 0;
}

static bool parse_bool(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	bool is_true = json_is_true(v);

	if (!json_is_boolean(v)) {
		conf_bad(p, f, v, NULL, "true or false is needed here");
		return false;
	}
	conf_store(f, base, &is_true, sizeof(is_true));
	return true;
}

static void bool_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "true or false");
}

static json_t *bool_schema(const struct conf_field *f)
{
	UNUSED(f);
	return json_pack("{s:s}", "type", "boolean");
}

const struct conf_type conf_type_bool = { "true or false", parse_bool, bool_allowed, bool_schema };

static void enum_allowed(const struct conf_field *f, struct sbuf *out)
{
	for (size_t i = f->min; i < f->n_names; i++)
		sbuf_printf(out, "%s\"%s\"", i == f->min ? "" : i + 1 < f->n_names ? ", " : " or ", f->names[i]);
}

static json_t *enum_schema(const struct conf_field *f)
{
	json_t *names = json_array();

	for (size_t i = f->min; i < f->n_names; i++)
		json_array_append_new(names, json_string(f->names[i]));
	return json_pack("{s:s,s:o}", "type", "string", "enum", names);
}

const struct conf_type conf_type_enum = { "word", parse_enum, enum_allowed, enum_schema };
const struct conf_type conf_type_flag = { "word", parse_flag, enum_allowed, enum_schema };
const struct conf_type conf_type_choice = { "word", parse_choice, enum_allowed, enum_schema };

static bool parse_enum_or_object(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	int last = (int)f->n_names;

	if (!json_is_object(v))
		return parse_enum(p, f, v, base);
	conf_store(f, base, &last, sizeof(last));
	conf_parse_object(p, f->sub, v, base);
	return true;
}

static void enum_or_object_allowed(const struct conf_field *f, struct sbuf *out)
{
	enum_allowed(f, out);
	sbuf_puts(out, ", or {");
	for (size_t i = 0; i < f->sub->n_fields; i++)
		sbuf_printf(out, "%s\"%s\": …", i == 0 ? "" : ", ", f->sub->fields[i].name);
	sbuf_puts(out, "}");
}

static json_t *enum_or_object_schema(const struct conf_field *f)
{
	char ref[96];

	snprintf(ref, sizeof(ref), "#/components/schemas/%s", f->sub->name);
	return json_pack("{s:[o,{s:s}]}", "anyOf", enum_schema(f), "$ref", ref);
}

const struct conf_type conf_type_enum_or_object = { "word or object", parse_enum_or_object, enum_or_object_allowed,
						    enum_or_object_schema };

/* ---- texts ---- */

static bool parse_name(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v);

	if (text == NULL)
		return false;
	if (!conf_name_valid(text)) {
		conf_bad(p, f, v, NULL, "not a name");
		return false;
	}
	store_text(p, f, base, text);
	return true;
}

static void name_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "1 to 63 letters, digits, \"_\", \".\", \"-\"; a letter or digit first");
}

static json_t *name_schema(const struct conf_field *f)
{
	UNUSED(f);
	return json_pack("{s:s,s:s}", "type", "string", "pattern", "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$");
}

const struct conf_type conf_type_name = { "name", parse_name, name_allowed, name_schema };

static bool parse_host(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v);

	if (text == NULL)
		return false;
	if (strlen(text) > SMTP_DOMAIN_MAX || !smtp_helo_valid(str_from(text))) {
		conf_bad(p, f, v, NULL, "not a host name that may be used in a greeting (RFC 5321 4.1.1.1)");
		return false;
	}
	store_text(p, f, base, text);
	return true;
}

const struct conf_type conf_type_host = { "host name", parse_host, NULL, conf_string_schema };

static bool is_empty(json_t *v)
{
	return json_is_string(v) && json_string_length(v) == 0;
}

/* The empty string is no host name: the member stays NULL. */
static bool parse_host_or_none(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	return is_empty(v) || parse_host(p, f, v, base);
}

const struct conf_type conf_type_host_or_none = { "host name", parse_host_or_none, NULL, conf_string_schema };

/* "client" is stored as it is: conf_parse() makes a flag of it. */
static bool parse_helo(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	if (json_is_string(v) && strcmp(json_string_value(v), "own") == 0)
		return true;
	return parse_host(p, f, v, base);
}

static void helo_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "\"own\", \"client\" or a host name");
}

const struct conf_type conf_type_helo = { "host name", parse_helo, helo_allowed, conf_string_schema };

static bool parse_reply_text(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v);

	if (text == NULL)
		return false;
	size_t n = strlen(text);
	for (size_t i = 0; i < n; i++)
		if (text[i] < ' ' || text[i] > '~') /* RFC 5321 4.2: textstring */
			n = 0;
	if (n == 0 || n > f->max) {
		conf_bad(p, f, v, NULL, "not a text that fits into one line of a reply");
		return false;
	}
	store_text(p, f, base, text);
	return true;
}

static void reply_text_allowed(const struct conf_field *f, struct sbuf *out)
{
	sbuf_printf(out, "1 to %llu printable ASCII characters", (unsigned long long)f->max);
}

const struct conf_type conf_type_reply_text = { "text", parse_reply_text, reply_text_allowed, conf_string_schema };

static bool parse_sha256(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v);

	if (text == NULL)
		return false;
	if (strlen(text) != 64 || strspn(text, "0123456789abcdefABCDEF") != 64) {
		conf_bad(p, f, v, NULL, "not a SHA-256 hash");
		return false;
	}
	char *copy = arena_strdup(p->arena, text);
	ascii_lower(copy, 64);
	conf_store(f, base, &copy, sizeof(copy));
	return true;
}

static void sha256_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "64 hexadecimal digits");
}

const struct conf_type conf_type_sha256 = { "hash", parse_sha256, sha256_allowed, conf_string_schema };

static bool parse_time(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v);
	double wall;

	if (text == NULL)
		return false;
	if (!conf_time_parse(text, &wall)) {
		conf_bad(p, f, v, NULL, "not a time with date and zone (RFC 3339)");
		return false;
	}
	conf_store(f, base, &wall, sizeof(wall));
	return true;
}

static void time_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "RFC 3339, \"2027-01-31T12:00:00Z\"");
}

static json_t *time_schema(const struct conf_field *f)
{
	UNUSED(f);
	return json_pack("{s:s,s:s}", "type", "string", "format", "date-time");
}

const struct conf_type conf_type_time = { "time", parse_time, time_allowed, time_schema };

static bool parse_path(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v);

	if (text == NULL)
		return false;
	if (text[0] != '/' || strlen(text) > f->max) {
		conf_bad(p, f, v, NULL, "not an absolute path, or too long");
		return false;
	}
	store_text(p, f, base, text);
	return true;
}

static void path_allowed(const struct conf_field *f, struct sbuf *out)
{
	sbuf_printf(out, "an absolute path of at most %llu bytes", (unsigned long long)f->max);
}

const struct conf_type conf_type_path = { "path", parse_path, path_allowed, conf_string_schema };

static bool parse_path_or_none(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	return is_empty(v) || parse_path(p, f, v, base);
}

const struct conf_type conf_type_path_or_none = { "path", parse_path_or_none, path_allowed, conf_string_schema };

/* What is in it is judged when it is loaded. */
static bool parse_pem(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = conf_want_text(p, f, v);

	if (text == NULL)
		return false;
	if (strlen(text) > f->max || strstr(text, "-----BEGIN ") == NULL) {
		conf_bad(p, f, v, NULL, "not PEM text, or too long");
		return false;
	}
	store_text(p, f, base, text);
	return true;
}

static void pem_allowed(const struct conf_field *f, struct sbuf *out)
{
	sbuf_printf(out, "PEM text of at most %llu bytes", (unsigned long long)f->max);
}

const struct conf_type conf_type_pem = { "PEM", parse_pem, pem_allowed, conf_string_schema };

/* SPDX-License-Identifier: Apache-2.0
 * Field types that are lists of strings: listeners' names, HELO names, mailboxes, domains, capabilities, attributes,
 * and the domain sets.
 *
 * Lists and sets may have 100,000 members: one pass, one allocation for the list, no look-ups here.
 */
#include "daemon/conf/conf_schema.h"

#include <stdlib.h>

#include "daemon/smtp/sasl.h"

/* Checks one member and gives its typed form (in the arena, or static); NULL = an error was added. */
typedef const char *item_fn(struct conf_parser *p, const struct conf_field *f, json_t *v);

static bool parse_strings(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base, item_fn *item)
{
	struct str_list list = { .present = true };
	json_t *one;
	size_t i;

	if (!json_is_array(v)) {
		conf_bad(p, f, v, NULL, "a list is needed here");
		return false;
	}
	list.v = arena_alloc(p->arena, json_array_size(v) * sizeof(*list.v));
	json_array_foreach(v, i, one) {
		size_t at = conf_path_push_index(&p->path, i);
		const char *s = conf_want_text(p, NULL, one) != NULL ? item(p, f, one) : NULL;
		conf_path_pop(&p->path, at);
		if (s != NULL)
			list.v[list.n++] = s;
	}
	conf_store(f, base, &list, sizeof(list));
	return true;
}

static json_t *list_schema(const struct conf_field *f)
{
	char *allowed = conf_field_allowed(f);
	json_t *s = json_pack("{s:s,s:s,s:{s:s}}", "type", "array", "title", allowed, "items", "type", "string");

	free(allowed);
	return s;
}

/* ---- names ---- */

static const char *name_item(struct conf_parser *p, const struct conf_field *f, json_t *v)
{
	if (conf_name_valid(json_string_value(v)))
		return arena_strdup(p->arena, json_string_value(v));
	conf_bad(p, f, v, NULL, "not a name");
	return NULL;
}

static bool parse_names(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	return parse_strings(p, f, v, base, name_item);
}

const struct conf_type conf_type_names = { "list of names", parse_names, NULL, list_schema };

static const char *helo_item(struct conf_parser *p, const struct conf_field *f, json_t *v)
{
	if (smtp_helo_valid(str_from(json_string_value(v))))
		return arena_strdup(p->arena, json_string_value(v));
	conf_bad(p, f, v, NULL, "not a name that a client could greet with");
	return NULL;
}

static bool parse_helos(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	return parse_strings(p, f, v, base, helo_item);
}

const struct conf_type conf_type_helos = { "list of host names", parse_helos, NULL, list_schema };

/* ---- users, certificates ---- */

static const char *user_item(struct conf_parser *p, const struct conf_field *f, json_t *v)
{
	const char *s = json_string_value(v);

	if (s[0] != '\0' && strlen(s) <= SASL_USER_MAX)
		return arena_strdup(p->arena, s);
	conf_bad(p, f, v, NULL, "not the name of a user: 1 to 255 bytes");
	return NULL;
}

static bool parse_users(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	return parse_strings(p, f, v, base, user_item);
}

static void users_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "names as they are logged in with");
}

const struct conf_type conf_type_users = { "list of users", parse_users, users_allowed, list_schema };

/* "sha256:" and 64 digits; colons between them, as OpenSSL prints a fingerprint, are left out. */
static const char *fingerprint(struct conf_parser *p, const char *s)
{
	char *out = arena_strdup(p->arena, s);
	size_t n = strlen("sha256:");

	for (s += n; *s != '\0'; s++) {
		if (strchr("0123456789abcdef", *s) != NULL)
			out[n++] = *s;
		else if (*s != ':')
			return NULL;
	}
	out[n] = '\0';
	return n == strlen("sha256:") + 64 ? out : NULL;
}

static const char *certificate_item(struct conf_parser *p, const struct conf_field *f, json_t *v)
{
	const char *s = json_string_value(v);
	char *lower = arena_strdup(p->arena, s);

	ascii_lower(lower, strlen(lower));
	if (policy_certificate_kind(lower))
		s = strncmp(lower, "sha256:", 7) == 0 ? fingerprint(p, lower)
		    : strchr(lower, ':')[1] != '\0'   ? lower
						      : NULL;
	else
		s = s[0] != '\0' ? arena_strdup(p->arena, s) : NULL;
	if (s == NULL)
		conf_bad(p, f, v, NULL, "not a name that a certificate could have");
	return s;
}

static bool parse_certificate_names(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	return parse_strings(p, f, v, base, certificate_item);
}

static void certificate_names_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "\"common name\", \"dns:host.example.com\", \"email:user@example.com\", \"sha256:…\" (64 "
		       "hexadecimal digits)");
}

const struct conf_type conf_type_certificate_names = { "list of names in certificates", parse_certificate_names,
						       certificate_names_allowed, list_schema };

/* ---- mailboxes ---- */

static bool mailbox_valid(const char *s)
{
	const char *at = strrchr(s, '@');
	char folded[SMTP_DOMAIN_MAX + 1];

	if (strcmp(s, "<>") == 0)
		return true;
	if (strlen(s) > SMTP_LOCAL_MAX + 1 + SMTP_DOMAIN_MAX)
		return false;
	for (const char *p = s; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == '<' || *p == '>' || *p == 0x7f || (*p == ' ' && s[0] != '"'))
			return false;
	if (at == NULL)
		return strcasecmp(s, "postmaster") == 0; /* RFC 5321 4.5.1: the one mailbox without a domain */
	return at > s && smtp_domain_fold(str_from(at + 1), folded);
}

static const char *mailbox_item(struct conf_parser *p, const struct conf_field *f, json_t *v)
{
	if (mailbox_valid(json_string_value(v)))
		return arena_strdup(p->arena, json_string_value(v));
	conf_bad(p, f, v, NULL, "not a mailbox");
	return NULL;
}

static bool parse_mailboxes(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	return parse_strings(p, f, v, base, mailbox_item);
}

static void mailboxes_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "\"user@example.com\", \"postmaster\", \"<>\" (the null sender)");
}

const struct conf_type conf_type_mailboxes = { "list of mailboxes", parse_mailboxes, mailboxes_allowed, list_schema };

static bool parse_mailbox(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *s = conf_want_text(p, f, v);

	if (s == NULL)
		return false;
	if (!mailbox_valid(s)) {
		conf_bad(p, f, v, NULL, "not a mailbox");
		return false;
	}
	s = strcmp(s, "<>") == 0 ? "" : arena_strdup(p->arena, s);
	conf_store(f, base, &s, sizeof(s));
	return true;
}

const struct conf_type conf_type_mailbox = { "mailbox", parse_mailbox, mailboxes_allowed, conf_string_schema };

/* ---- domains ---- */

const char *conf_domain(struct conf_parser *p, const char *text)
{
	char folded[2 + SMTP_DOMAIN_MAX + 1] = "*.";
	bool is_wild = text[0] == '*' && text[1] == '.';
	char *bare = folded + 2;

	if (!smtp_domain_fold(str_from(is_wild ? text + 2 : text), bare) || (is_wild && bare[0] == '['))
		return NULL;
	return arena_strdup(p->arena, is_wild ? folded : bare);
}

static const char *domain_item(struct conf_parser *p, const struct conf_field *f, json_t *v)
{
	const char *s = json_string_value(v);

	if (s[0] == '@') {
		if (conf_name_valid(s + 1))
			return arena_strdup(p->arena, s);
		conf_bad(p, f, v, NULL, "not the name of a domain set");
		return NULL;
	}
	const char *domain = conf_domain(p, s);
	if (domain == NULL)
		conf_bad(p, f, v, NULL, "not a domain");
	return domain;
}

static bool parse_domains(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	return parse_strings(p, f, v, base, domain_item);
}

static void domains_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "\"example.com\", \"*.example.com\" (subdomains only), \"@set\" (a domain set)");
}

const struct conf_type conf_type_domains = { "list of domains", parse_domains, domains_allowed, list_schema };

/* ---- domain sets ---- */

static void parse_set(struct conf_parser *p, const char *name, json_t *v, struct domain_set_config *set)
{
	const char *key;
	json_t *member;

	set->name = arena_strdup(p->arena, name);
	if (!json_is_object(v)) {
		conf_bad(p, NULL, v, NULL, "a domain set is an object: {\"example.com\": true}");
		return;
	}
	set->domains = arena_alloc(p->arena, json_object_size(v) * sizeof(*set->domains));
	json_object_foreach(v, key, member) {
		if (json_is_null(member) || (strcmp(key, "comment") == 0 && json_is_string(member)))
			continue;
		const char *domain = conf_domain(p, key);
		if (domain != NULL && json_is_true(member)) {
			set->domains[set->n++] = domain;
			continue;
		}
		size_t at = conf_path_push(&p->path, key);
		if (domain == NULL)
			conf_bad(p, NULL, NULL, NULL, "\"%.100s\" is not a domain (nor \"*.\" and a domain)", key);
		else
			conf_bad(p, NULL, member, NULL,
				 "a domain in a set has the value true; leave it out to remove it");
		conf_path_pop(&p->path, at);
	}
}

static bool parse_sets(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	struct domain_set_config *sets;
	size_t n = 0;
	const char *key;
	json_t *one;

	if (!json_is_object(v)) {
		conf_bad(p, f, v, NULL, "an object keyed by name is needed here");
		return false;
	}
	sets = arena_alloc(p->arena, json_object_size(v) * sizeof(*sets));
	json_object_foreach(v, key, one) {
		if (json_is_null(one) || (strcmp(key, "comment") == 0 && json_is_string(one)))
			continue;
		size_t at = conf_path_push(&p->path, key);
		if (!conf_name_valid(key))
			conf_bad(p, NULL, NULL, NULL, "\"%.100s\" is not a name", key);
		parse_set(p, key, one, &sets[n++]);
		conf_path_pop(&p->path, at);
	}
	conf_store(f, base, &sets, sizeof(sets));
	memcpy((char *)base + f->count_offset, &n, sizeof(n));
	return true;
}

static void sets_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "{NAME: {\"example.com\": true, \"*.example.com\": true}}");
}

static json_t *sets_schema(const struct conf_field *f)
{
	UNUSED(f);
	json_t *set = json_pack("{s:s,s:{s:{s:s}},s:{s:b}}", "type", "object", "properties", "comment", "type",
				"string", "additionalProperties", "const", 1);

	return json_pack("{s:s,s:{s:{s:s}},s:o}", "type", "object", "properties", "comment", "type", "string",
			 "additionalProperties", set);
}

const struct conf_type conf_type_sets = { "domain sets", parse_sets, sets_allowed, sets_schema };

/* ---- sets of words ---- */

static bool set_bit(const struct conf_field *f, json_t *v, unsigned *io)
{
	for (size_t i = 0; json_is_string(v) && i < f->n_names; i++) {
		if (strcasecmp(f->names[i], json_string_value(v)) == 0) {
			*io |= 1u << i;
			return true;
		}
	}
	return false;
}

/* A bit for each of the field's names. */
static bool parse_words(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	unsigned mask = 0;
	json_t *one;
	size_t i;

	if (!json_is_array(v)) {
		conf_bad(p, f, v, NULL, "a list is needed here");
		return false;
	}
	json_array_foreach(v, i, one) {
		size_t at = conf_path_push_index(&p->path, i);
		if (!set_bit(f, one, &mask))
			conf_bad(p, f, one, NULL, "not one of the words that may stand here");
		conf_path_pop(&p->path, at);
	}
	conf_store(f, base, &mask, sizeof(mask));
	return true;
}

static void set_allowed(const struct conf_field *f, struct sbuf *out)
{
	for (size_t i = 0; i < f->n_names; i++)
		sbuf_printf(out, "%s\"%s\"", i == 0 ? "" : ", ", f->names[i]);
}

const struct conf_type conf_type_set = { "list of words", parse_words, set_allowed, list_schema };

/* ---- true, or some of the words ---- */

static bool parse_xclient(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	unsigned all = (1u << f->n_names) - 1, mask = json_is_true(v) ? all : 0;

	if (json_is_array(v))
		return parse_words(p, f, v, base);
	if (!json_is_boolean(v)) {
		conf_bad(p, f, v, NULL, "true, false or a list is needed here");
		return false;
	}
	conf_store(f, base, &mask, sizeof(mask));
	return true;
}

static void xclient_allowed(const struct conf_field *f, struct sbuf *out)
{
	sbuf_puts(out, "true, false, or a list of ");
	set_allowed(f, out);
}

static json_t *xclient_schema(const struct conf_field *f)
{
	return json_pack("{s:[{s:s},o]}", "anyOf", "type", "boolean", list_schema(f));
}

const struct conf_type conf_type_xclient = { "boolean or list of words", parse_xclient, xclient_allowed,
					     xclient_schema };

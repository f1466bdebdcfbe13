/* SPDX-License-Identifier: Apache-2.0
 * The description of the configuration: one table per object, a row per field. Private to this folder and its tests.
 *
 * Everything else here walks these tables; a new field is a row (and a cross-check, if it depends on another field).
 */
#ifndef POSTROAD_CONF_SCHEMA_H
#define POSTROAD_CONF_SCHEMA_H

#include <jansson.h>

#include "daemon/base/arena.h"
#include "daemon/base/errors.h"
#include "daemon/base/str.h"
#include "daemon/conf/conf.h"

struct conf_field;
struct conf_object;

/* ---- one parse ---- */

/* An address a listener binds, on one node or on all: kept for the checks, which look at the whole cluster. */
struct conf_bind {
	const void *owner; /* the listener_config */
	const char *node;  /* NULL = all nodes */
	struct addr addr;
	char *path; /* arena */
};

struct conf_parser {
	const struct conf_env *env;
	struct errors *errors;
	struct arena *arena;
	struct sbuf path;  /* JSON pointer to the value at hand */
	const void *owner; /* the object at hand */
	const char *node;  /* inside {"nodes": {NODE: …}} */
	struct conf_bind *binds;
	size_t n_binds, cap_binds;
};

void conf_parser_init(struct conf_parser *p, const struct conf_env *env, struct errors *errors, struct arena *arena);
void conf_parser_fini(struct conf_parser *p);

/* Lengthens the path by one token; returns the length to go back to with conf_path_pop(). */
size_t conf_path_push(struct sbuf *path, const char *token);
size_t conf_path_push_index(struct sbuf *path, size_t i);
void conf_path_pop(struct sbuf *path, size_t len);

/* Parses v as an object of kind o into the struct at base; defaults are filled in, errors added. */
void conf_parse_object(struct conf_parser *p, const struct conf_object *o, json_t *v, void *base);

/* An error at the parser's path: the value found and what the field allows go with it. f may be NULL (then `allowed` is
 * absent). */
void conf_bad(struct conf_parser *p, const struct conf_field *f, json_t *v, const char *suggestion, const char *fmt,
	      ...) PRINTF_LIKE(5, 6);
/* A value as bounded JSON text for an error; containers are not spelled out, since they may hold secrets. Caller frees.
 */
char *conf_found(json_t *v);

/* ---- tables ---- */

struct conf_type {
	const char *label; /* for the manual */
	/* Parses a value that is neither absent nor null into the struct at base. False = an error was added, nothing
	 * stored. */
	bool (*parse)(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base);
	/* What may stand there, for people. NULL: the label says it. */
	void (*allowed)(const struct conf_field *f, struct sbuf *out);
	/* JSON schema of the value, a new reference. */
	json_t *(*schema)(const struct conf_field *f);
};

enum {
	CONF_REQUIRED = 1u << 0,
	CONF_UNLIMITED = 1u << 1, /* "unlimited" is a value */
	CONF_PER_NODE = 1u << 2,  /* may be {"nodes": {NODE: value}} */
	CONF_SECRET = 1u << 3,    /* write-only */
	CONF_TRANSPORT = 1u << 4, /* also for listeners that only pass bytes through */
};

#define CONF_NOWHERE SIZE_MAX

struct conf_field {
	const char *name;
	const struct conf_type *type;
	const char *doc;          /* one line */
	const char *def;          /* the default as JSON text; NULL = null; CONF_DEFAULT_HOSTNAME */
	size_t offset;            /* of the member; CONF_NOWHERE = checked only */
	size_t count_offset;      /* of a list's length */
	size_t set_offset;        /* of a bool that tells whether the field was written; 0 = none */
	uint64_t min, max;        /* in the unit of the member; enums: min = first name that may be written */
	const char *const *names; /* enums: names[min..n_names) */
	size_t n_names;
	const struct conf_object *sub; /* objects, maps and lists of objects */
	unsigned flags;
};

extern const char conf_default_hostname[];
#define CONF_DEFAULT_HOSTNAME conf_default_hostname

struct conf_object {
	const char *name; /* in OpenAPI */
	const char *path; /* in the manual */
	const char *doc;
	size_t size; /* of the struct; maps and lists: of one element, which begins with `const char *name` */
	const struct conf_field *fields;
	size_t n_fields;
};

#define CONF_OBJECT(n, p, d, s, f)                                                                                     \
	{                                                                                                              \
		.name = (n), .path = (p), .doc = (d), .size = sizeof(s), .fields = (f), .n_fields = ARRAY_LEN(f)       \
	}

/* Rows name the type and the member together, so that a member of another C type does not compile. */
#define CONF_MEMBER(c_type, s, m)                                                                                      \
	(offsetof(s, m) + 0 * sizeof(char[__builtin_types_compatible_p(c_type, __typeof__(((s *)0)->m)) ? 1 : -1]))
#define CONF_STORED(kind, c_type, s, m) .type = &conf_type_##kind, .offset = CONF_MEMBER(c_type, s, m)
#define CONF_DURATION(s, m) CONF_STORED(duration, int64_t, s, m)
#define CONF_COUNT(s, m) CONF_STORED(count, uint64_t, s, m)
#define CONF_SIZE(s, m) CONF_STORED(size, uint64_t, s, m)
#define CONF_BOOL(s, m) CONF_STORED(bool, bool, s, m)
#define CONF_UINT(s, m) CONF_STORED(uint, unsigned, s, m)
#define CONF_SET(s, m, list, n) CONF_STORED(set, unsigned, s, m), .names = (list), .n_names = (n)
#define CONF_TEXT(kind, s, m) CONF_STORED(kind, const char *, s, m)
#define CONF_ENUM(c_type, s, m) CONF_STORED(enum, c_type, s, m)
#define CONF_STRINGS(kind, s, m) CONF_STORED(kind, struct str_list, s, m)
/* The client networks of a route have a struct of their own, alike in layout. */
#define CONF_NETWORKS(s, m)                                                                                            \
	.type = &conf_type_networks,                                                                                   \
	.offset = offsetof(s, m) + 0 * sizeof(char[sizeof(((s *)0)->m) == sizeof(struct cidr_list) ? 1 : -1])
#define CONF_INSIDE(table) .type = &conf_type_object, .sub = &(table), .def = "{}"
#define CONF_LIST_AT(s, member, count) .offset = offsetof(s, member), .count_offset = CONF_MEMBER(size_t, s, count)
#define CONF_RANGE(lo, hi) .min = (lo), .max = (hi)
#define CONF_HOURS(n) ((n)*3600000ULL)
#define CONF_MIB(n) ((uint64_t)(n) << 20)
#define CONF_NAMES(list, first) .names = (list), .n_names = ARRAY_LEN(list), .min = (first)

extern const struct conf_object conf_document_object, conf_node_object;
extern const struct conf_object conf_listener_object, conf_caps_object, conf_listener_timeouts_object;
extern const struct conf_object conf_pool_object, conf_route_object, conf_user_object, conf_token_object;
extern const struct conf_object conf_vip_object, conf_certificate_object, conf_listener_tls_object,
	conf_listener_auth_object;
extern const struct conf_object *const conf_pool_parts[]; /* NULL at the end */
extern const struct conf_object conf_when_object;
extern const struct conf_field conf_document_field; /* the document as a value */
/* Every object of the document (false) or the node file (true), outer before inner: index to object, NULL at the end.
 */
const struct conf_object *conf_object_at(bool node_file, size_t i);

const struct conf_field *conf_field_find(const struct conf_object *o, const char *name);
/* The default as a new reference; JSON null where there is none. */
json_t *conf_field_default(const struct conf_field *f, const struct conf_env *env);
/* What may stand there. Caller frees. */
char *conf_field_allowed(const struct conf_field *f);
/* {"nodes": {…}}: returns the inner object, or NULL when v is not of that form (a "comment" may stand beside). */
json_t *conf_nodes(const struct conf_field *f, json_t *v);
/* The nearest of `n` names; NULL when none is near. */
struct conf_nearest {
	const char *wanted, *best;
	unsigned distance;
};
void conf_nearest_init(struct conf_nearest *s, const char *wanted);
void conf_nearest_try(struct conf_nearest *s, const char *name);

/* ---- types ---- */

extern const struct conf_type conf_type_object, conf_type_map, conf_type_list, conf_type_enum_or_object, conf_type_sets;
extern const struct conf_type conf_type_uint, conf_type_count, conf_type_duration, conf_type_size, conf_type_memory;
extern const struct conf_type conf_type_rate, conf_type_data_rate, conf_type_enum, conf_type_choice, conf_type_flag;
extern const struct conf_type conf_type_bool, conf_type_path_or_none, conf_type_host_or_none, conf_type_pem;
extern const struct conf_type conf_type_name, conf_type_host, conf_type_helo, conf_type_mailbox, conf_type_reply_text;
extern const struct conf_type conf_type_login, conf_type_password_hash, conf_type_scram_verifier;
extern const struct conf_type conf_type_sha256, conf_type_time, conf_type_path, conf_type_document;
extern const struct conf_type conf_type_addrs, conf_type_networks, conf_type_source, conf_type_resolvers;
extern const struct conf_type conf_type_server_address, conf_type_set, conf_type_xclient;
extern const struct conf_type conf_type_names, conf_type_helos, conf_type_mailboxes, conf_type_domains;
extern const struct conf_type conf_type_users, conf_type_certificate_names, conf_type_prefixes, conf_type_interface;

/* Writes a member through its offset; the tables have checked that the types fit. */
void conf_store(const struct conf_field *f, void *base, const void *value, size_t size);
/* The string's text; NULL = it is no string, and an error was added. */
const char *conf_want_text(struct conf_parser *p, const struct conf_field *f, json_t *v);
/* A domain as routes compare it ("*.x" keeps its prefix), into the arena; NULL = not a domain. */
const char *conf_domain(struct conf_parser *p, const char *text);
/* Makes a JSON string that holds the field's allowed text the schema's description. */
json_t *conf_string_schema(const struct conf_field *f);

/* ---- units ---- */

bool conf_duration_parse(const char *text, int64_t *ret_ms) MUST_CHECK;
bool conf_size_parse(const char *text, uint64_t *ret) MUST_CHECK;
bool conf_rate_parse(const char *text, struct rate *ret) MUST_CHECK;
bool conf_data_rate_parse(const char *text, uint64_t *ret) MUST_CHECK;
/* RFC 3339. */
bool conf_time_parse(const char *text, double *ret_wall) MUST_CHECK;
/* Exact texts in the largest unit that divides; into out[32]; return out. */
const char *conf_duration_format(int64_t ms, char *out);
const char *conf_size_format(uint64_t bytes, char *out);

/* ---- checks between fields ---- */

void conf_check(struct conf *c, struct conf_parser *p);
/* Wipes the passwords of logins at servers. */
void conf_wipe_auth(struct conf *c);
/* Gives back what the checks loaded. */
void conf_free_tls(struct conf *c);

#endif

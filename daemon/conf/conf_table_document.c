/* SPDX-License-Identifier: Apache-2.0
 * The tables of the document as a whole, of routes, domain sets, users and tokens.
 */
#include "daemon/conf/conf_schema.h"

#define R struct route_config

const char *const token_role_names[ROLE_COUNT] = { "none", "viewer", "operator", "admin" };
/* A route without an action leads to its pool; that is never written. */
static const char *const action_names[] = { [ROUTE_POOL] = "pool", [ROUTE_REJECT] = "reject", [ROUTE_DEFER] = "defer" };

static const struct conf_field when_fields[] = {
	{ "listener", CONF_STRINGS(names, R, listener), .doc = "The listener's name." },
	{ "client", CONF_NETWORKS(R, client), .doc = "The client's address." },
	{ "helo", CONF_STRINGS(helos, R, helo), .doc = "What the client said in EHLO or HELO." },
	{ "user", CONF_STRINGS(users, R, user), .doc = "Who logged in with AUTH, compared whole." },
	{ "client_certificate", CONF_STRINGS(certificate_names, R, client_certificate),
	  .doc = "What the client's certificate says of him: its common name, one of its alternative names as "
		 "\"dns:NAME\" "
		 "or \"email:MAILBOX\", or \"sha256:HEX\", the hash of the whole certificate. Only a certificate that "
		 "the listener's `tls.client_ca_file` vouches for counts." },
	{ "sender", CONF_STRINGS(mailboxes, R, sender), .doc = "The envelope sender; `\"<>\"` = the null sender." },
	{ "sender_domain", CONF_STRINGS(domains, R, sender_domain), .doc = "The domain of the envelope sender." },
	{ "recipient", CONF_STRINGS(mailboxes, R, recipient), .doc = "The recipient." },
	{ "recipient_domain", CONF_STRINGS(domains, R, recipient_domain), .doc = "The recipient's domain." },
};

const struct conf_object conf_when_object = CONF_OBJECT(
	"RouteWhen", "routes/NAME/when",
	"All keys given must match, any value of a key is enough. An empty list matches nothing.", R, when_fields);

static const struct conf_field route_fields[] = {
	{ "name", CONF_TEXT(name, R, name), .flags = CONF_REQUIRED, .doc = "Its name, unique among the routes." },
	{ "when", CONF_INSIDE(conf_when_object), .doc = "What it asks for; nothing: everything." },
	{ "pool", CONF_TEXT(name, R, pool), .doc = "Where the message goes. Either this or `action`." },
	{ "action", CONF_ENUM(enum route_action, R, action), CONF_NAMES(action_names, ROUTE_REJECT),
	  .doc = "Refuse for good (550) or for now (450)." },
	{ "text", CONF_TEXT(reply_text, R, text), .max = 400,
	  .doc = "The text of that reply; it may begin with an enhanced code (\"5.7.1 not from here\"). Null: a plain "
		 "one." },
};

const struct conf_object conf_route_object =
	CONF_OBJECT("Route", "routes/NAME",
		    "From an envelope to a pool or a refusal. The first route that matches counts.", R, route_fields);

#define C struct certificate_config

static const struct conf_field certificate_fields[] = {
	{ "certificate_file", CONF_TEXT(path, C, certificate_file), .max = 4096,
	  .doc = "Chain in PEM, the certificate itself first; present on every node, re-read when it changes." },
	{ "key_file", CONF_TEXT(path, C, key_file), .max = 4096,
	  .doc = "The key in PEM. Absent: it is in `certificate_file`." },
	{ "certificate_pem", CONF_TEXT(pem, C, certificate_pem), .max = 256 * 1024,
	  .doc = "The chain itself instead of a file; replicated. Needs `key_pem`." },
	{ "key_pem", CONF_TEXT(pem, C, key_pem), .max = 64 * 1024, .flags = CONF_SECRET,
	  .doc = "The key itself. Write-only: reads show \"<secret>\", writing that back keeps it." },
};

const struct conf_object conf_certificate_object =
	CONF_OBJECT("Certificate", "certificates/NAME", "A certificate with its key.", C, certificate_fields);

#define U struct user_config

static const struct conf_field user_fields[] = {
	{ "password", CONF_TEXT(password_hash, U, password), .flags = CONF_SECRET,
	  .doc = "The hash of the password, for mechanisms that send the password itself (PLAIN, LOGIN). `postroad "
		 "user "
		 "add` makes it. Write-only: reads show \"<secret>\", writing that back keeps it." },
	{ "scram_sha256", CONF_TEXT(scram_verifier, U, scram_sha256), .flags = CONF_SECRET,
	  .doc = "The verifier for SCRAM-SHA-256, as PostgreSQL writes it. `postroad user add` makes it. Write-only." },
	{ "allow", CONF_NETWORKS(U, allow),
	  .doc = "Where this user may log in from. Absent: from wherever a listener lets clients in." },
};

const struct conf_object conf_user_object = CONF_OBJECT(
	"User", "users/NAME", "Who may log in with AUTH: with `password`, `scram_sha256` or both.", U, user_fields);

static const struct conf_field token_fields[] = {
	{ "role", CONF_ENUM(enum token_role, struct token_config, role), CONF_NAMES(token_role_names, ROLE_VIEWER),
	  .flags = CONF_REQUIRED,
	  .doc = "`viewer` reads; `operator` also changes run-time state; `admin` everything." },
	{ "sha256", CONF_TEXT(sha256, struct token_config, sha256), .flags = CONF_REQUIRED | CONF_SECRET,
	  .doc = "The SHA-256 hash of the token. Write-only: reads show \"<secret>\", writing that back keeps it." },
	{ "expires", CONF_STORED(time, double, struct token_config, expires_wall),
	  .doc = "Refused from then on. Null: never." },
};

const struct conf_object conf_token_object =
	CONF_OBJECT("Token", "tokens/NAME", "Access to the API over TCP.", struct token_config, token_fields);

static const struct conf_field document_fields[] = {
	{ "version", .type = &conf_type_uint, .offset = CONF_NOWHERE, CONF_RANGE(1, 1), .def = "1",
	  .doc = "The version of this format." },
	{ "listeners", .type = &conf_type_map, .sub = &conf_listener_object,
	  CONF_LIST_AT(struct conf, listeners, n_listeners), .def = "{}", .doc = "Where clients connect." },
	{ "pools", .type = &conf_type_map, .sub = &conf_pool_object, CONF_LIST_AT(struct conf, pools, n_pools),
	  .def = "{}", .doc = "Servers that do the same work." },
	{ "domain_sets", .type = &conf_type_sets, CONF_LIST_AT(struct conf, policy.sets, policy.n_sets), .def = "{}",
	  .doc = "Lists of domains, for routes and `accepted_domains` to refer to as \"@NAME\". Any spelling of a "
		 "domain will "
		 "do; the value is always true, so that a merge patch can add and remove members." },
	{ "routes", .type = &conf_type_list, .sub = &conf_route_object,
	  CONF_LIST_AT(struct conf, policy.routes, policy.n_routes), .def = "[]",
	  .doc = "From an envelope to a pool or a refusal; the first that matches counts." },
	{ "vips", .type = &conf_type_map, .sub = &conf_vip_object, CONF_LIST_AT(struct conf, vips, n_vips), .def = "{}",
	  .doc = "Virtual addresses, which move between nodes." },
	{ "certificates", .type = &conf_type_map, .sub = &conf_certificate_object,
	  CONF_LIST_AT(struct conf, certificates, n_certificates), .def = "{}",
	  .doc = "Certificates with their keys." },
	{ "users", .type = &conf_type_map, .sub = &conf_user_object, CONF_LIST_AT(struct conf, users, n_users),
	  .def = "{}", .doc = "Who may log in with AUTH." },
	{ "tokens", .type = &conf_type_map, .sub = &conf_token_object, CONF_LIST_AT(struct conf, tokens, n_tokens),
	  .def = "{}", .doc = "Access to the API over TCP." },
};

const struct conf_object conf_document_object =
	CONF_OBJECT("Config", "(the document)", "The configuration of the cluster: one document for all nodes.",
		    struct conf, document_fields);

const struct conf_field conf_document_field = { .name = "", .type = &conf_type_object, .sub = &conf_document_object };

_Static_assert(offsetof(struct token_config, name) == 0 && offsetof(struct user_config, name) == 0 &&
		       offsetof(struct domain_set_config, name) == 0 && offsetof(C, name) == 0,
	       "maps put the key there");

/* ---- sections ---- */

const char *conf_section(size_t i)
{
	return i + 1 < ARRAY_LEN(document_fields) ? document_fields[i + 1].name : NULL; /* behind "version" */
}

bool conf_section_is_list(const char *section)
{
	const struct conf_field *f = conf_field_find(&conf_document_object, section);

	return f != NULL && f->type == &conf_type_list;
}

/* SPDX-License-Identifier: Apache-2.0
 * Configuration: one table per object describes its fields (name, type, range, unit, default, doc); the parser, the
 * validator, the effective view, the diff, the secrets mask, OpenAPI and the reference manual all come from those
 * tables.
 *
 * Unknown keys are errors with the nearest known name; all errors are reported at once. A field whose feature does not
 * exist is not in the tables, hence an unknown key.
 */
#ifndef POSTROAD_CONF_CONF_H
#define POSTROAD_CONF_CONF_H

#include <jansson.h>

#include "daemon/base/errors.h"
#include "daemon/base/log.h"
#include "daemon/session/snapshot.h"
#include "daemon/session/user_config.h"

/* ---- the node file ---- */

enum admin_tls { ADMIN_TLS_AUTO, ADMIN_TLS_OFF, ADMIN_TLS_FILES };

struct node_config {
	const char *node, *state_dir, *run_dir;
	unsigned workers;
	int64_t shutdown_grace_ms;
	uint64_t replay_memory; /* bytes: a size, or a percentage of the machine's memory */
	enum log_target log_target;
	enum log_level log_level;
	struct addr *admin_listen;
	size_t n_admin_listen;
	enum admin_tls admin_tls;
	const char *admin_certificate, *admin_key; /* ADMIN_TLS_FILES */
	bool metrics_open;                         /* admin.metrics: "open" */
	const char *engine;                        /* cluster.engine: "none", "corosync" */
	struct addr *cluster_listen;
	size_t n_cluster_listen;
	const char *dns_servers; /* "resolver": NULL = the system's */
	json_t *initial_config;  /* NULL = none */
	struct arena *arena;
};

/* Reads and validates a node file. NULL: errors say why (a file that cannot be read is an error with path ""). */
struct node_config *node_config_load(const char *file, struct errors *errors) MUST_CHECK;
void node_config_free(struct node_config *n);

/* ---- the cluster configuration ---- */

enum token_role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN, ROLE_COUNT };
extern const char *const token_role_names[ROLE_COUNT];

struct token_config {
	const char *name;
	enum token_role role;
	const char *sha256;  /* hex, lower case */
	double expires_wall; /* 0 = never */
};

struct certificate_config {
	const char *name;
	const char *certificate_file, *key_file;
	const char *certificate_pem, *key_pem;
	struct tls_certificate *loaded; /* NULL when it cannot be: an error, or in `kept` */
};

enum { VIPS_MAX = 64, VIP_ADDRESSES_MAX = 8 };

struct vip_address {
	struct addr ip; /* without a port */
	unsigned bits;  /* of its network's prefix */
};

struct vip_config {
	const char *name;
	struct vip_address *addresses;
	size_t n_addresses;
	const char *interface; /* of this node; NULL: it has none */
	unsigned vrid;         /* 1 to 255 */
	bool vrid_chosen;      /* written, not following from the name */
	struct str_list nodes; /* preferred first */
	bool failback;
	int64_t advert_ms;
};

/* A parsed, valid configuration: the typed form of one document, for one node. */
struct conf {
	uint32_t magic;
	_Atomic uint32_t refs;
	uint64_t revision; /* set by the caller */
	json_t *document;  /* as written, with secrets */
	struct listener_config *listeners;
	size_t n_listeners;
	struct pool_config *pools; /* also in pool_list, for registry_apply() */
	const struct pool_config **pool_list;
	size_t n_pools;
	struct policy_config policy;
	struct certificate_config *certificates;
	size_t n_certificates;
	struct user_config *users;
	size_t n_users;
	struct vip_config *vips;
	size_t n_vips;
	struct token_config *tokens;
	size_t n_tokens;
	struct errors warnings; /* valid, but an operator should know */
	struct errors kept;     /* files that cannot be used now, and what holds in their place */
	struct arena *arena;
	/* Built by the first conf_snapshot() (control thread), immutable, shared by all snapshots of this
	 * configuration. */
	struct policy *route_policy, *accepted_policy;
	struct policy_config accepted;
	struct users *user_set;
	void (*free_policies)(struct conf *c);
	struct loop *home; /* as in conf_env */
};

struct conf_env {
	const char *node;            /* picks from {"nodes": {…}} */
	const char *hostname;        /* default of a listener's hostname; NULL = "localhost" */
	struct tls_tickets *tickets; /* of the node's server contexts; NULL = no resumption */
	struct loop *home; /* where a configuration is freed, whoever lets it go last: documents share values, and their
			      reference counts are one thread's. NULL = where the last reference is dropped */
	/* The configuration in force: what it has read stays in force where the same file cannot be used any more, and
	 * is no error. NULL = none. */
	const struct conf *before;
	/* It was valid when it was stored: a file that went bad since closes the listeners and empties the pools that
	 * need it, and is no error. */
	bool starting;
};

/* Parses and validates. NULL: errors has every one. The document is referenced, not changed. */
struct conf *conf_parse(json_t *document, const struct conf_env *env, struct errors *errors) MUST_CHECK;
struct conf *conf_ref(struct conf *c);
void conf_unref(struct conf *c);

/* JSON text to a document: duplicates and trailing garbage refused, depth and size bounded; errors have line and column
 * in detail. */
json_t *conf_read_json(const char *text, size_t n, struct errors *errors) MUST_CHECK;

/* ---- working on documents; all return new references ---- */

/* Every default written out. */
json_t *conf_effective(json_t *document, const struct conf_env *env);
/* Secrets replaced by "<secret>". */
json_t *conf_mask(json_t *document);
/* "<secret>" in `next` replaced by what stands at the same place in `stored`; an error where nothing does. */
json_t *conf_unmask(json_t *next, json_t *stored, struct errors *errors);
/* JSON merge patch, RFC 7396. */
json_t *conf_merge_patch(json_t *target, json_t *patch);
/* A list of {"op": add|remove|replace|move, "path", "from", "to"} for people and programs, secrets masked; empty =
 * equal. Routes are compared by name ("/routes/NAME/…"), so that a moved or inserted route does not show the rest as
 * changed; "move" has the old and the new index in "from" and "to". */
json_t *conf_diff(json_t *from, json_t *to);

/* Sections of the document ("listeners", "pools", "domain_sets", "routes", "vips", …): index to name, NULL at
 * the end.
 */
const char *conf_section(size_t i);
/* Is the section an array of named objects (routes)? */
bool conf_section_is_list(const char *section);
/* "comment" is no valid name: every object, also those keyed by name, may hold a free-text comment under that key. */
bool conf_name_valid(const char *name);

/* The JSON schema components of OpenAPI 3.1 ("components/schemas"), from the tables. */
json_t *conf_openapi_schemas(void);
/* The reference manual of the configuration and of the node file, Markdown, from the tables. Caller frees. */
char *conf_manual(void);

/* ---- the snapshot ---- */

/* Ties a parsed configuration to the pools of the registry (which must have been given this configuration's pools). The
 * result holds a reference on c. listens: false = none of its listeners is opened. */
struct snapshot *conf_snapshot(struct conf *c, struct registry *r, bool listens);

#endif

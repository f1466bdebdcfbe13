/* SPDX-License-Identifier: Apache-2.0
 * The table of the node file, and the order in which objects appear in the manual.
 */
#include "daemon/conf/conf_schema.h"

#define N struct node_config

static const char *const log_target_names[] = { [LOG_TARGET_STDERR] = "stderr", [LOG_TARGET_SYSLOG] = "syslog" };
static const char *const metrics_names[] = { "token", "open" };
static const char *const engine_names[] = { "none", "corosync" };
static const char *const tls_names[] = { [ADMIN_TLS_AUTO] = "auto", [ADMIN_TLS_OFF] = "off" };

_Static_assert(ADMIN_TLS_FILES == ARRAY_LEN(tls_names), "an object is the value behind the words");

static const struct conf_field log_fields[] = {
	{ "target", CONF_ENUM(enum log_target, N, log_target), CONF_NAMES(log_target_names, 0), .def = "\"stderr\"",
	  .doc = "Standard error, or syslog (facility mail)." },
	{ "level", CONF_ENUM(enum log_level, N, log_level), CONF_NAMES(log_level_names, 0), .def = "\"info\"",
	  .doc = "Lines below this level are dropped." },
};

static const struct conf_object log_object = CONF_OBJECT("NodeLog", "log", "Where log lines go.", N, log_fields);

static const struct conf_field tls_fields[] = {
	{ "certificate", CONF_TEXT(path, N, admin_certificate), .max = 4095, .flags = CONF_REQUIRED,
	  .doc = "PEM file with the certificate and its chain." },
	{ "key", CONF_TEXT(path, N, admin_key), .max = 4095, .flags = CONF_REQUIRED,
	  .doc = "PEM file with its private key." },
};

static const struct conf_object tls_object =
	CONF_OBJECT("NodeAdminTls", "admin/tls", "A certificate of your own.", N, tls_fields);

static const struct conf_field admin_fields[] = {
	{ "listen", .type = &conf_type_addrs, CONF_LIST_AT(N, admin_listen, n_admin_listen), CONF_RANGE(0, 64),
	  .def = "[\"127.0.0.1:8425\"]", .doc = "Addresses of the API; may be empty." },
	{ "tls", .type = &conf_type_enum_or_object, .sub = &tls_object,
	  .offset = CONF_MEMBER(enum admin_tls, N, admin_tls), CONF_NAMES(tls_names, 0), .def = "\"auto\"",
	  .doc = "`auto`: a self-signed certificate made once; `off`: only where `listen` is all loopback; or files." },
	{ "metrics", CONF_STORED(flag, bool, N, metrics_open), CONF_NAMES(metrics_names, 0), .def = "\"token\"",
	  .doc = "Whether /metrics needs a token." },
};

static const struct conf_object admin_object =
	CONF_OBJECT("NodeAdmin", "admin", "The API of this node.", N, admin_fields);

static const struct conf_field cluster_fields[] = {
	{ "engine", CONF_TEXT(choice, N, engine), CONF_NAMES(engine_names, 0), .def = "\"none\"",
	  .doc = "What makes nodes one system; `none`: this node stands alone. `postroad cluster init` and `join` "
		 "write this section." },
	{ "listen", .type = &conf_type_addrs, CONF_LIST_AT(N, cluster_listen, n_cluster_listen), CONF_RANGE(0, 8),
	  .def = "[]", .doc = "Addresses for other nodes; empty: this node's first link, port 8426." },
};

static const struct conf_object cluster_object =
	CONF_OBJECT("NodeCluster", "cluster", "Other nodes.", N, cluster_fields);

static const struct conf_field fields[] = {
	{ "node", CONF_TEXT(name, N, node), .def = CONF_DEFAULT_HOSTNAME,
	  .doc = "This node's name, unique in the cluster." },
	{ "state_dir", CONF_TEXT(path, N, state_dir), .max = 4000, .def = "\"/var/lib/postroad\"",
	  .doc = "What must outlive a restart." },
	/* sockaddr_un: 108 bytes with its NUL, for the directory and "/admin.sock" */
	{ "run_dir", CONF_TEXT(path, N, run_dir), .max = 96, .def = "\"/run/postroad\"",
	  .doc = "Where the admin socket is made, as `admin.sock`." },
	{ "workers", CONF_UINT(N, workers), CONF_RANGE(0, 128), .def = "0",
	  .doc = "Threads for mail; 0 = one per CPU." },
	{ "shutdown_grace", CONF_DURATION(N, shutdown_grace_ms), CONF_RANGE(0, CONF_HOURS(24)), .def = "\"60s\"",
	  .doc = "How long messages under way may take after SIGTERM." },
	{ "replay_memory", CONF_STORED(memory, uint64_t, N, replay_memory), CONF_RANGE(0, CONF_MIB(1 << 20)),
	  .def = "\"5%\"", .doc = "All replay buffers of the node together." },
	{ "log", CONF_INSIDE(log_object), .doc = "Where log lines go." },
	{ "admin", CONF_INSIDE(admin_object), .doc = "The API of this node." },
	{ "cluster", CONF_INSIDE(cluster_object), .doc = "Other nodes." },
	{ "resolver", CONF_TEXT(resolvers, N, dns_servers), .doc = "DNS servers for `dns:` and `srv:` addresses." },
	{ "initial_config", CONF_STORED(document, json_t *, N, initial_config),
	  .doc = "The cluster configuration to begin with, while the state directory holds none. The API owns it "
		 "afterwards." },
};

const struct conf_object conf_node_object =
	CONF_OBJECT("NodeFile", "(the node file)", "Local to one machine, never replicated. Read at start.", N, fields);

/* ---- all objects ---- */

static const struct conf_object *const node_objects[] = { &conf_node_object, &log_object, &admin_object, &tls_object,
							  &cluster_object };

static const struct conf_object *const document_objects[] = { &conf_document_object,     &conf_listener_object,
							      &conf_listener_tls_object, &conf_listener_auth_object,
							      &conf_caps_object,         &conf_listener_timeouts_object,
							      &conf_pool_object };

static const struct conf_object *const policy_objects[] = { &conf_route_object, &conf_when_object,
							    &conf_vip_object,   &conf_certificate_object,
							    &conf_user_object,  &conf_token_object };

const struct conf_object *conf_object_at(bool node_file, size_t i)
{
	if (node_file)
		return i < ARRAY_LEN(node_objects) ? node_objects[i] : NULL;
	if (i < ARRAY_LEN(document_objects))
		return document_objects[i];
	i -= ARRAY_LEN(document_objects);
	size_t n_parts = 0;
	while (conf_pool_parts[n_parts] != NULL)
		n_parts++;
	if (i < n_parts)
		return conf_pool_parts[i];
	i -= n_parts;
	return i < ARRAY_LEN(policy_objects) ? policy_objects[i] : NULL;
}

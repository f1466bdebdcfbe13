/* SPDX-License-Identifier: Apache-2.0
 * The configuration in force, as workers see it: immutable, reference-counted, swapped whole.
 *
 * A worker takes a reference when a transaction opens and keeps it to that transaction's end; between transactions a
 * session uses the newest. Nothing in here changes after snapshot_publish().
 */
#ifndef POSTROAD_SESSION_SNAPSHOT_H
#define POSTROAD_SESSION_SNAPSHOT_H

#include "daemon/base/addr.h"
#include "daemon/policy/policy.h"
#include "daemon/pool/pool.h"

enum listener_mode { LISTENER_SMTP, LISTENER_TCP, LISTENER_MODE_COUNT };
enum direction { DIRECTION_OUTBOUND, DIRECTION_INBOUND, DIRECTION_COUNT };
enum mixed_recipients { MIXED_DEFER, MIXED_FIRST, MIXED_REJECT, MIXED_COUNT };
enum line_endings { LINE_ENDINGS_NORMALIZE, LINE_ENDINGS_REJECT, LINE_ENDINGS_COUNT };
enum listener_tls {
	LISTENER_TLS_NONE,
	LISTENER_TLS_STARTTLS, /* offered */
	LISTENER_TLS_REQUIRE,  /* no mail before it */
	LISTENER_TLS_IMPLICIT, /* from the first byte */
	LISTENER_TLS_COUNT
};
enum add_received { ADD_RECEIVED_AUTO, ADD_RECEIVED_ALWAYS, ADD_RECEIVED_NEVER, ADD_RECEIVED_COUNT };
extern const char *const listener_mode_names[LISTENER_MODE_COUNT];
extern const char *const direction_names[DIRECTION_COUNT];
extern const char *const mixed_recipients_names[MIXED_COUNT];
extern const char *const line_endings_names[LINE_ENDINGS_COUNT];
extern const char *const listener_tls_names[LISTENER_TLS_COUNT];
extern const char *const add_received_names[ADD_RECEIVED_COUNT];

/* N per period; a token bucket of `burst`. n UNLIMITED = none. */
struct rate {
	uint64_t n;
	int64_t per_ms;
	uint64_t burst; /* 0 = n */
};

struct listener_caps {
	uint64_t connections, connections_per_client;
	struct rate connection_rate; /* of one client */
	unsigned client_prefix_v4, client_prefix_v6;
	uint64_t message_size, recipients, errors, junk_commands, auth_failures;
	struct rate transactions; /* of one client */
	uint64_t min_data_rate;   /* bytes per second, 0 = none */
};

struct listener_timeouts {
	int64_t idle_ms, command_ms, tls_ms, body_ms;
};

struct listener_tls_config {
	enum listener_tls mode;
	struct str_list certificates; /* names; the first is the default */
	const char *min_version;      /* "1.2" or "1.3" */
	const char *client_ca_file;
	struct tls_server *server; /* NULL with mode none; a reference of the configuration */
};

enum listener_auth_mode {
	LISTENER_AUTH_NONE,
	LISTENER_AUTH_OFFER,
	LISTENER_AUTH_REQUIRE,
	LISTENER_AUTH_PASSTHROUGH, /* a server decides */
	LISTENER_AUTH_COUNT
};
extern const char *const listener_auth_names[LISTENER_AUTH_COUNT];

struct listener_auth {
	enum listener_auth_mode mode;
	bool plaintext;      /* without TLS too */
	unsigned mechanisms; /* bits of enum sasl_mechanism */
};

struct cidr_list {
	bool present; /* absent and empty differ: see the contract */
	const struct cidr *v;
	size_t n;
};

struct listener_config {
	const char *name;
	struct addr *bind;
	size_t n_bind;
	bool closed; /* a file it needs cannot be used: its addresses are not bound, n_bind is 0 */
	enum listener_mode mode;
	enum direction direction;
	struct listener_tls_config tls;
	struct listener_auth auth;
	const char *hostname;
	const char *pool;
	struct cidr_list allow, deny, exempt;
	struct cidr_list accept_proxy, accept_xclient; /* who may say that the client is another */
	struct str_list accepted_domains;              /* inbound: as in routes ("*.x", "@set"), A-labels */
	enum mixed_recipients mixed_recipients;
	enum line_endings line_endings;
	enum add_received add_received;
	bool mask_backend;
	int64_t greeting_delay_ms;
	struct listener_caps caps;
	struct listener_timeouts timeouts;
};

/* One listener with all it refers to resolved. */
struct listener_view {
	const struct listener_config *config;
	struct pool *pool;            /* referenced */
	struct listener_runtime *run; /* counters that outlive configurations, keyed by the listener's name */
	struct pool **reach;          /* every pool its mail may go to, each once; worked out by engine_publish() */
	size_t n_reach;
};

#define SNAPSHOT_MAGIC 0x534e4150u

/* Ownership: `listeners` and `route_pools` are heap arrays of the snapshot (free() with it, after pool_unref() of the
 * pools in them); the policies and everything constant belong to `owner`, since several snapshots of one configuration
 * share them. */
struct snapshot {
	uint32_t magic;      /* SNAPSHOT_MAGIC; made with NEW_OBJ */
	uint64_t generation; /* grows with each publish */
	uint64_t revision;   /* of the configuration */
	struct listener_view *listeners;
	size_t n_listeners;
	const struct policy_config *policy_config;
	const struct policy *policy;
	/* accepted_domains of all listeners as a policy: route i = listener i, so policy_route() gives i or -1 (not
	 * accepted). An outbound listener, and an inbound one without accepted_domains, accepts every domain. */
	const struct policy *accepted;
	const struct users *users; /* who may log in */
	struct pool **route_pools; /* by route index; NULL where the action is not a pool; referenced */
	void *owner;               /* the parsed configuration that all pointers lead into */
	void (*owner_unref)(void *);
	_Atomic uint32_t refs;
};

/* What the data path and /explain must do alike. */

/* Why a client may not connect: "in deny", "not in allow"; NULL = it may. */
const char *listener_refuses(const struct listener_config *cf, const struct addr *client);
/* Does the listener take mail for this recipient's domain? One without a domain is "postmaster" (RFC 5321 4.5.1), who
 * is everywhere. */
bool listener_accepts(const struct snapshot *s, const struct listener_config *cf, const struct envelope *e);
/* What a route that rejects or defers says, enhanced code first where the configuration has one; a default included. */
const char *route_refusal(const struct route_config *rt);
/* The key of the balance values that hash, for the first recipient of a transaction; 0 for the others. */
uint64_t balance_hash(const struct pool_config *cf, const struct envelope *e);

struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);

#endif

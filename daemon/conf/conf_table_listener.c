/* SPDX-License-Identifier: Apache-2.0
 * The table of listeners.
 */
#include "daemon/conf/conf_schema.h"
#include "daemon/smtp/sasl.h"

#define L struct listener_config
#define UP_TO_A_DAY CONF_RANGE(1, CONF_HOURS(24))

static const struct conf_field caps_fields[] = {
	{ "connections", CONF_COUNT(L, caps.connections), CONF_RANGE(0, 10000000), .def = "10000",
	  .flags = CONF_UNLIMITED | CONF_TRANSPORT, .doc = "Client connections at once, on each node." },
	{ "connections_per_client", CONF_COUNT(L, caps.connections_per_client), CONF_RANGE(0, 10000000), .def = "200",
	  .flags = CONF_UNLIMITED | CONF_TRANSPORT,
	  .doc = "Connections at once from one client (see `client_prefix_v4`, `client_prefix_v6`), on each node." },
	{ "connection_rate", CONF_STORED(rate, struct rate, L, caps.connection_rate), .def = "\"unlimited\"",
	  .flags = CONF_UNLIMITED | CONF_TRANSPORT, .doc = "New connections of one client, on each node." },
	{ "client_prefix_v4", CONF_UINT(L, caps.client_prefix_v4), CONF_RANGE(1, 32), .def = "32",
	  .flags = CONF_TRANSPORT, .doc = "How many leading bits of an IPv4 address make one client." },
	{ "client_prefix_v6", CONF_UINT(L, caps.client_prefix_v6), CONF_RANGE(1, 128), .def = "64",
	  .flags = CONF_TRANSPORT, .doc = "How many leading bits of an IPv6 address make one client." },
	{ "message_size", CONF_SIZE(L, caps.message_size), CONF_RANGE(1, CONF_MIB(1 << 20)), .def = "\"50MiB\"",
	  .flags = CONF_UNLIMITED, .doc = "Largest message; announced with SIZE, 552 beyond it." },
	{ "recipients", CONF_COUNT(L, caps.recipients), CONF_RANGE(1, 50000), .def = "1000",
	  .doc = "Recipients of one message; 452 4.5.3 beyond it, and beyond 256 KiB of them, though never below 100 "
		 "(RFC 5321)." },
	{ "errors", CONF_COUNT(L, caps.errors), CONF_RANGE(1, 1000000), .def = "20", .flags = CONF_UNLIMITED,
	  .doc = "Error replies in one session before it is ended with 421." },
	{ "junk_commands", CONF_COUNT(L, caps.junk_commands), CONF_RANGE(1, 1000000), .def = "100",
	  .flags = CONF_UNLIMITED,
	  .doc = "NOOP, RSET, VRFY, tiny or rare BDAT and the like between two messages before 421." },
	{ "auth_failures", CONF_COUNT(L, caps.auth_failures), CONF_RANGE(1, 1000), .def = "5", .flags = CONF_UNLIMITED,
	  .doc = "Failed logins in one session before it is ended with 421." },
	{ "transactions", CONF_STORED(rate, struct rate, L, caps.transactions), .def = "\"unlimited\"",
	  .flags = CONF_UNLIMITED, .doc = "Messages begun by one client, on each node; 451 4.7.1 beyond it." },
	{ "min_data_rate", CONF_STORED(data_rate, uint64_t, L, caps.min_data_rate), CONF_RANGE(0, CONF_MIB(1024)),
	  .def = "\"500B/s\"", .doc = "A client that sends a message more slowly is cut off; \"0B/s\" = never." },
};

const struct conf_object conf_caps_object =
	CONF_OBJECT("ListenerCaps", "listeners/NAME/caps", "Bounds on what clients may use.", L, caps_fields);

static const char *const tls_versions[] = { "1.2", "1.3" };

static const struct conf_field tls_fields[] = {
	{ "mode", CONF_ENUM(enum listener_tls, L, tls.mode), CONF_NAMES(listener_tls_names, 0), .def = "\"none\"",
	  .doc = "`starttls` offers it, `require` takes no mail before it, `implicit` begins with it (port 465)." },
	{ "certificates", CONF_STRINGS(names, L, tls.certificates), .def = "[]",
	  .doc = "Names of certificates, chosen by the name a client asks for (SNI) and by kind, RSA or ECDSA; the "
		 "first is "
		 "the default." },
	{ "min_version", CONF_STORED(choice, const char *, L, tls.min_version), CONF_NAMES(tls_versions, 0),
	  .def = "\"1.2\"", .doc = "The oldest version of TLS." },
	{ "client_ca_file", CONF_TEXT(path_or_none, L, tls.client_ca_file), .max = 4096, .def = "\"\"",
	  .doc = "Ask clients for a certificate and verify it against these authorities (PEM). It is not required: "
		 "routes "
		 "decide by `client_certificate`." },
};

const struct conf_object conf_listener_tls_object =
	CONF_OBJECT("ListenerTls", "listeners/NAME/tls", "TLS with clients.", L, tls_fields);

static const struct conf_field auth_fields[] = {
	{ "mode", CONF_ENUM(enum listener_auth_mode, L, auth.mode), CONF_NAMES(listener_auth_names, 0),
	  .def = "\"none\"",
	  .doc = "`offer`: clients may log in as one of `users`; `require`: no mail before that; "
		 "`passthrough`: a server decides, of the pool that routes choose for the client before anybody is "
		 "known, and the session's mail to that pool goes over the same connection; should that be lost, the "
		 "client gets 421. Such pools need TLS (their `tls.mode`), or `auth.plaintext`." },
	{ "plaintext", CONF_BOOL(L, auth.plaintext), .def = "false",
	  .doc = "Offer it without TLS too. PLAIN and LOGIN then send passwords for everybody to read." },
	{ "mechanisms", CONF_SET(L, auth.mechanisms, sasl_mechanism_names, SASL_MECHANISM_COUNT),
	  .def = "[\"PLAIN\", \"LOGIN\", \"SCRAM-SHA-256\"]",
	  .doc = "Not with `passthrough`, where it is what all servers offer. Those that send the password are "
		 "announced where every user has a `password`, SCRAM where every user "
		 "has "
		 "`scram_sha256`; SCRAM-SHA-256-PLUS only under TLS." },
};

const struct conf_object conf_listener_auth_object =
	CONF_OBJECT("ListenerAuth", "listeners/NAME/auth", "Logging in.", L, auth_fields);

static const struct conf_field timeouts_fields[] = {
	{ "idle", CONF_DURATION(L, timeouts.idle_ms), UP_TO_A_DAY, .def = "\"5m\"", .flags = CONF_TRANSPORT,
	  .doc = "Wait for the next command (mode `tcp`: for bytes in either direction). RFC 5321 asks for 5m at "
		 "least." },
	{ "command", CONF_DURATION(L, timeouts.command_ms), UP_TO_A_DAY, .def = "\"1m\"", .flags = CONF_TRANSPORT,
	  .doc = "From the first byte of a command to its end, and for a PROXY header." },
	{ "tls", CONF_DURATION(L, timeouts.tls_ms), UP_TO_A_DAY, .def = "\"30s\"", .doc = "For the TLS handshake." },
	{ "body", CONF_DURATION(L, timeouts.body_ms), UP_TO_A_DAY, .def = "\"3m\"",
	  .doc = "Wait for the next piece of a message." },
};

const struct conf_object conf_listener_timeouts_object =
	CONF_OBJECT("ListenerTimeouts", "listeners/NAME/timeouts", "How long a client may take.", L, timeouts_fields);

static const struct conf_field fields[] = {
	{ "bind", .type = &conf_type_addrs, CONF_LIST_AT(L, bind, n_bind), CONF_RANGE(1, 256),
	  .flags = CONF_REQUIRED | CONF_PER_NODE | CONF_TRANSPORT,
	  .doc = "Addresses to listen on. They need not exist yet on the machine." },
	{ "mode", CONF_ENUM(enum listener_mode, L, mode), CONF_NAMES(listener_mode_names, 0), .def = "\"smtp\"",
	  .flags = CONF_TRANSPORT, .doc = "`smtp`: understand each message; `tcp`: pass bytes through." },
	{ "direction", CONF_ENUM(enum direction, L, direction), CONF_NAMES(direction_names, 0), .def = "\"outbound\"",
	  .doc = "`outbound`: our clients send to the world (needs `allow` outside loopback); `inbound`: the world "
		 "sends to "
		 "our domains (needs `accepted_domains`)." },
	{ "hostname", CONF_TEXT(host, L, hostname), .def = CONF_DEFAULT_HOSTNAME, .flags = CONF_PER_NODE,
	  .doc = "Our name in the greeting, and in EHLO to servers where the pool's `helo` is `own`." },
	{ "pool", CONF_TEXT(name, L, pool), .flags = CONF_REQUIRED | CONF_TRANSPORT,
	  .doc = "The pool for what no route matches." },
	{ "tls", CONF_INSIDE(conf_listener_tls_object), .doc = "TLS with clients." },
	{ "auth", CONF_INSIDE(conf_listener_auth_object), .doc = "Logging in." },
	{ "accept_proxy", CONF_NETWORKS(L, accept_proxy), .def = "[]", .flags = CONF_TRANSPORT,
	  .doc = "Proxies that begin each connection with a PROXY header, version 1 or 2, before TLS and greeting; it "
		 "is "
		 "required of them, and not understood from others. The client it names is the one that `allow`, "
		 "`deny`, `exempt`, the caps, routes and the log see. The proxies themselves need not be allowed: "
		 "LOCAL "
		 "is their own health check; a header that names no client (UNKNOWN) passes only where the proxy is." },
	{ "accept_xclient", CONF_NETWORKS(L, accept_xclient), .def = "[]",
	  .doc = "Clients that may say with XCLIENT for whom they speak, a login included; others are told 550." },
	{ "allow", CONF_NETWORKS(L, allow), .flags = CONF_TRANSPORT,
	  .doc = "Clients that may connect. Absent: everybody, where the safety rule permits." },
	{ "deny", CONF_NETWORKS(L, deny), .def = "[]", .flags = CONF_TRANSPORT,
	  .doc = "Clients that may not, although allowed." },
	{ "exempt", CONF_NETWORKS(L, exempt), .def = "[]", .flags = CONF_TRANSPORT,
	  .doc = "Clients to whom the connection caps do not apply." },
	{ "accepted_domains", CONF_STRINGS(domains, L, accepted_domains),
	  .doc = "Inbound: recipients of other domains are refused. Absent: no restriction." },
	{ "mixed_recipients", CONF_ENUM(enum mixed_recipients, L, mixed_recipients),
	  CONF_NAMES(mixed_recipients_names, 0), .def = "\"defer\"",
	  .doc = "Recipients of another route in one message: `defer` answers 452 4.5.3, `reject` 554, `first` sends "
		 "all "
		 "where the first goes." },
	{ "line_endings", CONF_ENUM(enum line_endings, L, line_endings), CONF_NAMES(line_endings_names, 0),
	  .def = "\"normalize\"",
	  .doc = "A bare CR or LF in a message: make it CRLF, or refuse the message at its end with 550." },
	{ "add_received", CONF_ENUM(enum add_received, L, add_received), CONF_NAMES(add_received_names, 0),
	  .def = "\"auto\"",
	  .doc = "Add a Received: header field; `auto`: when the pool is not told who the client is." },
	{ "mask_backend", CONF_BOOL(L, mask_backend), .def = "false",
	  .doc = "Replies of servers keep their codes, but get a text of our own: no internal names leave. The log has "
		 "them as they were." },
	{ "greeting_delay", CONF_DURATION(L, greeting_delay_ms), CONF_RANGE(0, 60000), .def = "\"0s\"",
	  .doc = "Wait before the greeting; a client that speaks first is refused with 554. `exempt` clients do not "
		 "wait." },
	{ "caps", CONF_INSIDE(conf_caps_object), .flags = CONF_TRANSPORT, .doc = "Bounds on what clients may use." },
	{ "timeouts", CONF_INSIDE(conf_listener_timeouts_object), .flags = CONF_TRANSPORT,
	  .doc = "How long a client may take." },
};

const struct conf_object conf_listener_object =
	CONF_OBJECT("Listener", "listeners/NAME", "Where clients connect.", L, fields);

_Static_assert(offsetof(L, name) == 0, "maps put the key there");

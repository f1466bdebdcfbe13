/* SPDX-License-Identifier: Apache-2.0
 * The tables of pools and servers.
 */
#include "daemon/base/password.h"
#include "daemon/conf/conf_schema.h"
#include "daemon/smtp/sasl.h"

#define P struct pool_config
#define S struct server_config
#define UP_TO_A_DAY CONF_RANGE(1, CONF_HOURS(24))
#define ZERO_TO_A_DAY CONF_RANGE(0, CONF_HOURS(24))

static const struct conf_field server_fields[] = {
	{ "address", .type = &conf_type_server_address, .offset = 0, .flags = CONF_REQUIRED,
	  .doc = "Where it is. Each address that `dns:` or `srv:` finds is a server of its own at run time." },
	{ "weight", CONF_UINT(S, weight), .set_offset = CONF_MEMBER(bool, S, weight_set), CONF_RANGE(0, 1000),
	  .def = "100",
	  .doc = "Its share in relation to the others; 0 = nothing new. Writing it ends a weight set at run time." },
	{ "priority", CONF_UINT(S, priority), CONF_RANGE(1, 1000), .def = "1",
	  .doc = "Lower is used first. An SRV record's priority is added." },
	{ "max_connections", CONF_COUNT(S, max_connections), CONF_RANGE(1, 1000000), .def = "100",
	  .flags = CONF_UNLIMITED, .doc = "Connections of each node, idle ones included, checks excluded." },
};

static const struct conf_object server_object =
	CONF_OBJECT("Server", "pools/NAME/servers/NAME", "One backend.", S, server_fields);

static const struct conf_field health_fields[] = {
	{ "type", CONF_ENUM(enum health_type, P, health.type), CONF_NAMES(health_type_names, 0), .def = "\"smtp\"",
	  .doc = "What decides up and down: an SMTP dialogue, a connection, a TLS handshake from the first byte, or "
		 "nothing." },
	{ "interval", CONF_DURATION(P, health.interval_ms), UP_TO_A_DAY, .def = "\"5s\"",
	  .doc = "Between checks of a server that is up." },
	{ "fast_interval", CONF_DURATION(P, health.fast_interval_ms), UP_TO_A_DAY, .def = "\"1s\"",
	  .doc = "Between checks while the state is about to change, or not yet known." },
	{ "down_interval", CONF_DURATION(P, health.down_interval_ms), UP_TO_A_DAY, .def = "\"10s\"",
	  .doc = "Between checks of a server that is down." },
	{ "timeout", CONF_DURATION(P, health.timeout_ms), UP_TO_A_DAY, .def = "\"15s\"",
	  .doc = "For one whole check." },
	{ "rise", CONF_UINT(P, health.rise), CONF_RANGE(1, 100), .def = "2",
	  .doc = "Good checks in a row until it is up." },
	{ "fall", CONF_UINT(P, health.fall), CONF_RANGE(1, 100), .def = "3",
	  .doc = "Bad checks in a row until it is down." },
	{ "mail_from", CONF_TEXT(mailbox, P, health.mail_from),
	  .doc = "Go on to MAIL with this sender (`\"<>\"` = the null sender). Null: stop after EHLO." },
	{ "starttls", CONF_BOOL(P, health.starttls), .def = "false",
	  .doc = "Checks use STARTTLS although `tls.mode` is `none`; a server without it is down." },
	{ "rcpt_to", CONF_TEXT(mailbox, P, health.rcpt_to),
	  .doc = "Go on to RCPT with this recipient; needs `mail_from`. A 4xx answer is greylisting, not failure." },
	{ "relay_check", CONF_BOOL(P, health.relay_check), .def = "true",
	  .doc = "Ask servers that an inbound listener leads to whether they relay for this node: `RCPT "
		 "TO:<probe@relay-check.invalid>` behind the first good check, then every 12h and when the pool "
		 "changes; no message is sent. A warning says so if they take it. It stands in the server's log. Not "
		 "asked where PROXY or XCLIENT tells the server the client's address." },
};

static const struct conf_object health_object =
	CONF_OBJECT("PoolHealth", "pools/NAME/health", "Checks of the servers.", P, health_fields);

static const struct conf_field outlier_fields[] = {
	{ "consecutive", CONF_UINT(P, outlier.consecutive), CONF_RANGE(0, 1000), .def = "5",
	  .doc = "Failures in a row, seen by traffic, until a server is ejected; 0 = never." },
	{ "eject", CONF_DURATION(P, outlier.eject_ms), UP_TO_A_DAY, .def = "\"30s\"",
	  .doc = "Length of the first ejection; it grows with each further one." },
	{ "max_ejected_pct", CONF_UINT(P, outlier.max_ejected_pct), CONF_RANGE(0, 100), .def = "50",
	  .doc = "No more than this percentage of the pool is ejected at once." },
	{ "busy", CONF_DURATION(P, outlier.busy_ms), ZERO_TO_A_DAY, .def = "\"15s\"",
	  .doc = "A server that said 421 or 4.3.x is used last for this long." },
	{ "busy_max", CONF_DURATION(P, outlier.busy_max_ms), ZERO_TO_A_DAY, .def = "\"5m\"",
	  .doc = "What `busy` grows to when it says so again and again." },
};

static const struct conf_object outlier_object =
	CONF_OBJECT("PoolOutlier", "pools/NAME/outlier", "What traffic itself tells about servers.", P, outlier_fields);

/* Only what is parsed may be announced: PIPELINING to CHUNKING. */
#define N_EXTS 7

static const struct conf_field capabilities_fields[] = {
	{ "off", CONF_SET(P, caps_off, smtp_ext_names, N_EXTS), .def = "[]",
	  .doc = "Never announce these to clients nor use them with the servers, whatever those say. PIPELINING, SIZE "
		 "and CHUNKING are our own and always announced." },
	{ "force", CONF_SET(P, caps_force, smtp_ext_names, N_EXTS), .def = "[]",
	  .doc = "Announce these to clients, whatever the servers say." },
};

static const struct conf_object capabilities_object = CONF_OBJECT(
	"PoolCapabilities", "pools/NAME/capabilities", "Corrections of what EHLO offers.", P, capabilities_fields);

static const struct conf_field reuse_fields[] = {
	{ "idle", CONF_COUNT(P, reuse.idle), CONF_RANGE(0, 100000), .def = "16",
	  .doc = "Idle connections kept to each server, by each node; 0 = no reuse." },
	{ "idle_timeout", CONF_DURATION(P, reuse.idle_timeout_ms), ZERO_TO_A_DAY, .def = "\"30s\"",
	  .doc = "An idle connection is closed after this." },
	{ "max_age", CONF_DURATION(P, reuse.max_age_ms), ZERO_TO_A_DAY, .def = "\"300s\"",
	  .doc = "A connection is not lent again after this." },
	{ "max_errors", CONF_UINT(P, reuse.max_errors), CONF_RANGE(0, 1000000), .def = "5",
	  .doc = "Error replies since the last accepted message after which a connection is not lent again." },
};

static const struct conf_object reuse_object =
	CONF_OBJECT("PoolReuse", "pools/NAME/reuse", "Connections kept for the next message.", P, reuse_fields);

static const struct conf_field retry_fields[] = {
	{ "attempts", CONF_UINT(P, retry.attempts), CONF_RANGE(1, PICK_TRIED_MAX), .def = "3",
	  .doc = "Servers tried for one message, the first included." },
	{ "budget", CONF_DURATION(P, retry.budget_ms), ZERO_TO_A_DAY, .def = "\"4m\"",
	  .doc = "No other server is tried after this." },
	{ "replay_buffer", CONF_SIZE(P, retry.replay_buffer), CONF_RANGE(0, CONF_MIB(64)), .def = "\"256KiB\"",
	  .doc = "The first bytes of a message kept, so that it can be sent to another server." },
};

static const struct conf_object retry_object =
	CONF_OBJECT("PoolRetry", "pools/NAME/retry", "When another server gets the message.", P, retry_fields);

static const struct conf_field tls_fields[] = {
	{ "mode", CONF_ENUM(enum pool_tls, P, tls.mode), CONF_NAMES(pool_tls_names, 0), .def = "\"none\"",
	  .doc = "`may`: where the server offers it; `encrypt`: always, with any certificate; `verify`: always, with a "
		 "certificate of its name from an authority we trust." },
	{ "implicit", CONF_BOOL(P, tls.implicit), .def = "false",
	  .doc = "TLS from the first byte instead of STARTTLS. Needs `encrypt` or `verify`." },
	{ "ca_file", CONF_TEXT(path_or_none, P, tls.ca_file), .max = 4096, .def = "\"\"",
	  .doc = "The authorities that `verify` trusts (PEM); empty: those of the system." },
	{ "server_name", CONF_TEXT(host_or_none, P, tls.server_name), .def = "\"\"",
	  .doc = "The name that is asked for (SNI) and verified; empty: the server's own, as in `address`." },
};

static const struct conf_object tls_object =
	CONF_OBJECT("PoolTls", "pools/NAME/tls", "TLS with servers.", P, tls_fields);

static const char *const auth_mechanisms[] = { [SASL_PLAIN] = "PLAIN", [SASL_LOGIN] = "LOGIN" };

static const struct conf_field auth_fields[] = {
	{ "user", CONF_TEXT(login, P, auth.user), .max = SASL_USER_MAX,
	  .doc = "Who we are to the servers. Null: no login." },
	{ "password", CONF_TEXT(login, P, auth.password), .max = PASSWORD_MAX, .flags = CONF_SECRET,
	  .doc = "The password itself. Write-only: reads show \"<secret>\", writing that back keeps it." },
	{ "password_file", CONF_TEXT(path, P, auth.password_file), .max = 4096,
	  .doc = "The file that has it instead, in its first line; present on every node, re-read when it changes." },
	{ "mechanism", CONF_ENUM(enum sasl_mechanism, P, auth.mechanism), CONF_NAMES(auth_mechanisms, 0),
	  .def = "\"PLAIN\"", .doc = "How it is sent." },
	{ "plaintext", CONF_BOOL(P, auth.plaintext), .def = "false",
	  .doc = "Send it without TLS too, for everybody on the way to read, as also logins of clients that are passed "
		 "on to this pool. To servers on loopback they are sent either way." },
};

static const struct conf_object auth_object = CONF_OBJECT(
	"PoolAuth", "pools/NAME/auth",
	"Our own login at the servers, behind TLS; checks of type `smtp` log in too. A server that refuses it is "
	"broken for us.",
	P, auth_fields);

/* NAME to DESTPORT: the attributes behind them are XFORWARD's. */
#define N_XCLIENT 8
_Static_assert(SMTP_XCLIENT_ATTRS == (1u << N_XCLIENT) - 1, "those of XCLIENT come first");

static const struct conf_field identity_fields[] = {
	{ "proxy", CONF_ENUM(enum identity_proxy, P, identity.proxy), CONF_NAMES(identity_proxy_names, 0),
	  .def = "\"none\"",
	  .doc = "Each connection begins with a PROXY header of this version, those of checks too. `v2` also tells of "
		 "the "
		 "client's TLS and has the session's id." },
	{ "xclient", CONF_STORED(xclient, unsigned, P, identity.xclient), .names = smtp_xattr_names,
	  .n_names = N_XCLIENT, .def = "false",
	  .doc = "Tell the client with XCLIENT: `true` for all that the server takes, or a list of attributes. A "
		 "server "
		 "that does not offer XCLIENT gets no mail: it would take all clients for this balancer. NAME is "
		 "[UNAVAILABLE] but for clients that told one by XCLIENT; Postfix joins an ADDR without NAME with this "
		 "balancer's name. With HELO "
		 "among "
		 "them, EHLO behind it says the client's name." },
	{ "xforward", CONF_BOOL(P, identity.xforward), .def = "false",
	  .doc = "Tell the client with XFORWARD, for the server's log, where it is offered." },
};

static const struct conf_object identity_object = CONF_OBJECT(
	"PoolIdentity", "pools/NAME/identity",
	"Telling servers who the client is. With PROXY and XCLIENT a connection serves one client's session "
	"only; with XFORWARD connections are shared.",
	P, identity_fields);

static const struct conf_field timeouts_fields[] = {
	{ "connect", CONF_DURATION(P, timeouts.connect_ms), UP_TO_A_DAY, .def = "\"10s\"",
	  .doc = "Until the connection stands." },
	{ "tls", CONF_DURATION(P, timeouts.tls_ms), UP_TO_A_DAY, .def = "\"30s\"", .doc = "For the TLS handshake." },
	{ "banner", CONF_DURATION(P, timeouts.banner_ms), UP_TO_A_DAY, .def = "\"60s\"", .doc = "Until the greeting." },
	{ "ehlo", CONF_DURATION(P, timeouts.ehlo_ms), UP_TO_A_DAY, .def = "\"60s\"",
	  .doc = "Until the answer to EHLO." },
	{ "mail", CONF_DURATION(P, timeouts.mail_ms), UP_TO_A_DAY, .def = "\"60s\"",
	  .doc = "Until the answer to MAIL." },
	{ "rcpt", CONF_DURATION(P, timeouts.rcpt_ms), UP_TO_A_DAY, .def = "\"60s\"",
	  .doc = "Until the answer to RCPT." },
	{ "data", CONF_DURATION(P, timeouts.data_ms), UP_TO_A_DAY, .def = "\"2m\"",
	  .doc = "Until the answer to DATA, and to each chunk of BDAT but the last." },
	{ "block", CONF_DURATION(P, timeouts.block_ms), UP_TO_A_DAY, .def = "\"3m\"",
	  .doc = "Until the server takes the next piece of a message." },
	{ "dot", CONF_DURATION(P, timeouts.dot_ms), UP_TO_A_DAY, .def = "\"10m\"",
	  .doc = "Until the answer to the end of a message. RFC 5321 asks for 10m at least: shorter makes "
		 "duplicates." },
	{ "quit", CONF_DURATION(P, timeouts.quit_ms), UP_TO_A_DAY, .def = "\"5s\"",
	  .doc = "Until the answer to QUIT." },
};

static const struct conf_object timeouts_object =
	CONF_OBJECT("PoolTimeouts", "pools/NAME/timeouts", "How long a server may take.", P, timeouts_fields);

static const struct conf_field fields[] = {
	{ "balance", CONF_ENUM(enum balance, P, balance), CONF_NAMES(balance_names, 0), .def = "\"leastconn\"",
	  .doc = "How a server is chosen. `roundrobin`: in turn, by weight; `leastconn`: fewest open messages for its "
		 "weight; `first`: in the order written, the next when one is full; `random`: the better of two; "
		 "`latency`: the soonest final replies. `source` (the client's address), `sender_domain`, "
		 "`recipient_domain` (of the first recipient): the same server for the same value while it is usable "
		 "and has no more than a quarter above its share. `user` likewise, by who logged in; for clients that "
		 "did not, by their address." },
	{ "servers", .type = &conf_type_map, .sub = &server_object, CONF_LIST_AT(P, servers, n_servers), .def = "{}",
	  .doc = "The backends." },
	{ "health", CONF_INSIDE(health_object), .doc = "Checks of the servers." },
	{ "outlier", CONF_INSIDE(outlier_object), .doc = "What traffic itself tells about servers." },
	{ "capabilities", CONF_INSIDE(capabilities_object), .doc = "Corrections of what EHLO offers." },
	{ "chunking", CONF_ENUM(enum pool_chunking, P, chunking), CONF_NAMES(pool_chunking_names, 0),
	  .def = "\"client\"",
	  .doc = "Content to servers that announce CHUNKING (and `capabilities.off` does not name it): `client`, by "
		 "BDAT "
		 "if the client used it; `always`, by BDAT; `never`, by DATA. To all others by DATA." },
	{ "helo", CONF_TEXT(helo, P, helo), .def = "\"own\"",
	  .doc = "Our name in EHLO: `own` = the listener's `hostname`, `client` = what the client said there. "
		 "Connections "
		 "are shared only under the same name." },
	{ "identity", CONF_INSIDE(identity_object), .doc = "Telling servers who the client is." },
	{ "tls", CONF_INSIDE(tls_object), .doc = "TLS with servers." },
	{ "auth", CONF_INSIDE(auth_object), .doc = "Logging in at the servers." },
	{ "reuse", CONF_INSIDE(reuse_object), .doc = "Connections kept for the next message." },
	{ "retry", CONF_INSIDE(retry_object), .doc = "When another server gets the message." },
	{ "timeouts", CONF_INSIDE(timeouts_object), .doc = "How long a server may take." },
	{ "queue", CONF_COUNT(P, queue), CONF_RANGE(0, 1000000), .def = "100",
	  .doc = "Messages that may wait for a free connection, on each node; 451 4.3.2 beyond it. The queue is fair: "
		 "of those that wait, a client that holds fewest connections is served first, and in a full queue one "
		 "of the client with most gives its place to a client with less. While somebody waits, a client that "
		 "holds more and sends nothing for 2 s, or less than `min_data_rate`, gets 421 4.3.2." },
	{ "queue_timeout", CONF_DURATION(P, queue_timeout_ms), ZERO_TO_A_DAY, .def = "\"30s\"",
	  .doc = "How long one waits there." },
	{ "slow_start", CONF_DURATION(P, slow_start_ms), ZERO_TO_A_DAY, .def = "\"30s\"",
	  .doc = "A server that came up grows to its full weight in this time." },
	{ "priority_activation", CONF_UINT(P, priority_activation), CONF_RANGE(1, 1000), .def = "1",
	  .doc = "The next priority is added while fewer servers than this are usable above it." },
	{ "source", .type = &conf_type_source, .offset = 0, .def = "\"\"", .flags = CONF_PER_NODE,
	  .doc = "The local address of connections to the servers." },
};

const struct conf_object conf_pool_object =
	CONF_OBJECT("Pool", "pools/NAME", "Servers that do the same work.", P, fields);

const struct conf_object *const conf_pool_parts[] = {
	&server_object,   &health_object, &outlier_object, &capabilities_object, &tls_object, &auth_object,
	&identity_object, &reuse_object,  &retry_object,   &timeouts_object,     NULL
};

_Static_assert(offsetof(P, name) == 0 && offsetof(S, name) == 0, "maps put the key there");

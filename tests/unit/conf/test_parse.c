/* SPDX-License-Identifier: Apache-2.0
 * The parser: defaults, types, unknown keys, per-node values, all errors at once.
 */
#include "tests/unit/conf/conf_test.h"

#include "daemon/smtp/smtp.h"

#define HASH "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"

/* ---- defaults ---- */

static void a_listener_has_the_documented_defaults(void **state)
{
	struct conf *c = parse_with("{}");
	const struct listener_config *l = &c->listeners[0];
	const struct listener_caps *caps = &l->caps;

	UNUSED(state);
	assert_int_equal(c->n_listeners, 1);
	assert_string_equal(l->name, "l");
	assert_string_equal(l->pool, "p");
	assert_int_equal(l->n_bind, 1);
	assert_int_equal(addr_port(&l->bind[0]), 2525);
	assert_int_equal(l->mode, LISTENER_SMTP);
	assert_int_equal(l->direction, DIRECTION_OUTBOUND);
	assert_string_equal(l->hostname, "mx.example.net");
	assert_false(l->allow.present);
	assert_true(l->deny.present && l->deny.n == 0);
	assert_true(l->exempt.present && l->exempt.n == 0);
	assert_false(l->accepted_domains.present);
	assert_int_equal(l->mixed_recipients, MIXED_DEFER);
	assert_int_equal(l->line_endings, LINE_ENDINGS_NORMALIZE);
	assert_int_equal(l->add_received, ADD_RECEIVED_AUTO);
	assert_true(caps->connections == 10000 && caps->connections_per_client == 200);
	assert_true(caps->connection_rate.n == UNLIMITED);
	assert_true(caps->client_prefix_v4 == 32 && caps->client_prefix_v6 == 64);
	assert_true(caps->message_size == 50 << 20 && caps->recipients == 1000);
	assert_true(caps->errors == 20 && caps->junk_commands == 100 && caps->min_data_rate == 500);
	assert_true(l->timeouts.idle_ms == 300000 && l->timeouts.command_ms == 60000 && l->timeouts.body_ms == 180000);
	conf_unref(c);
}

static void a_pool_has_the_documented_defaults(void **state)
{
	struct conf *c = parse_with("{}");
	const struct pool_config *p = &c->pools[0];
	const struct back_timeouts *t = &p->timeouts;

	UNUSED(state);
	assert_ptr_equal(c->pool_list[0], p);
	assert_int_equal(p->balance, BALANCE_LEASTCONN);
	assert_int_equal(p->health.type, HEALTH_SMTP);
	assert_true(p->health.interval_ms == 5000 && p->health.fast_interval_ms == 1000);
	assert_true(p->health.down_interval_ms == 10000 && p->health.timeout_ms == 15000);
	assert_true(p->health.rise == 2 && p->health.fall == 3);
	assert_null(p->health.mail_from);
	assert_null(p->health.rcpt_to);
	assert_true(p->outlier.consecutive == 5 && p->outlier.eject_ms == 30000 && p->outlier.max_ejected_pct == 50);
	assert_true(p->outlier.busy_ms == 15000 && p->outlier.busy_max_ms == 300000);
	assert_true(p->caps_off == 0 && p->caps_force == 0);
	assert_null(p->helo);
	assert_string_equal(p->check_helo, "mx.example.net");
	assert_true(p->reuse.idle == 16 && p->reuse.idle_timeout_ms == 30000);
	assert_true(p->reuse.max_age_ms == 300000 && p->reuse.max_errors == 5);
	assert_true(p->retry.attempts == 3 && p->retry.budget_ms == 240000 && p->retry.replay_buffer == 256 << 10);
	assert_true(t->connect_ms == 10000 && t->banner_ms == 60000 && t->ehlo_ms == 60000 && t->mail_ms == 60000);
	assert_true(t->rcpt_ms == 60000 && t->data_ms == 120000 && t->block_ms == 180000);
	assert_true(t->dot_ms == 600000 && t->quit_ms == 5000);
	assert_true(p->queue == 100 && p->queue_timeout_ms == 30000 && p->slow_start_ms == 30000);
	assert_int_equal(p->priority_activation, 1);
	assert_true(p->source_v4.sa.sa_family == 0 && p->source_v6.sa.sa_family == 0);
	conf_unref(c);
}

static void a_server_has_the_documented_defaults(void **state)
{
	struct conf *c = parse_with("{}");
	const struct server_config *s = &c->pools[0].servers[0];
	char addr[ADDR_TEXT_MAX];

	UNUSED(state);
	assert_string_equal(s->name, "s");
	assert_int_equal(s->source, SERVER_FROM_ADDRESS);
	assert_string_equal(addr_format(&s->addr, addr), "192.0.2.1:25");
	assert_int_equal(s->weight, 100);
	assert_false(s->weight_set);
	assert_int_equal(s->priority, 1);
	assert_int_equal(s->max_connections, 100);
	conf_unref(c);
}

static void an_empty_document_is_valid_and_empty(void **state)
{
	json_t *v = json_of("{}");
	struct conf *c = parse_ok(v);

	UNUSED(state);
	assert_true(c->n_listeners == 0 && c->n_pools == 0 && c->n_users == 0 && c->n_tokens == 0);
	assert_true(c->policy.n_routes == 0 && c->policy.n_sets == 0);
	conf_unref(c);
	json_decref(v);
}

static void null_is_absent_everywhere(void **state)
{
	json_t *plain = document_with("{}");
	json_t *v = conf_effective(plain, &test_env);
	struct conf *c;
	json_t *l = json_object_get(json_object_get(v, "listeners"), "l"), *one;
	const char *key;

	UNUSED(state);
	json_object_foreach(l, key, one)
		if (strcmp(key, "bind") != 0 && strcmp(key, "pool") != 0)
			json_object_set_new(l, key, json_null());
	json_object_set_new(json_object_get(v, "listeners"), "gone", json_null());
	json_object_set_new(json_object_get(v, "pools"), "gone", json_null());
	c = parse_ok(v);
	assert_int_equal(c->n_listeners, 1);
	assert_int_equal(c->n_pools, 1);
	assert_true(c->listeners[0].caps.connections == 10000);
	conf_unref(c);
	json_decref(v);
	json_decref(plain);
}

/* ---- values ---- */

static void values_are_read(void **state)
{
	struct conf *c = parse_with(
		"{'listeners': {'l': {'hostname': 'Mail.Example', 'allow': ['10.0.0.0/8', '2001:db8::/32', "
		"'192.0.2.7'], 'deny': [],"
		"  'caps': {'connections': 'unlimited', 'connection_rate': '100/min,burst=7', 'message_size': 2097152,"
		"           'min_data_rate': '0B/s'}, 'line_endings': 'reject', 'timeouts': {'idle': '10m'}}},"
		" 'pools': {'p': {'balance': 'sender_domain', 'helo': 'out.example', 'source': ['192.0.2.9', "
		"'2001:db8::9'],"
		"  'health': {'type': 'smtp', 'mail_from': '<>', 'rcpt_to': 'postmaster'}, 'outlier': {'consecutive': "
		"0},"
		"  'capabilities': {'off': ['DSN'], 'force': ['SmtpUtf8', '8BITMIME']},"
		"  'servers': {'s': {'weight': 0, 'max_connections': 'unlimited', 'priority': 9},"
		"              'd': {'address': 'dns:MTA.Example.com:2525'}, 'v': {'address': "
		"'srv:_smtp._tcp.Example.com'},"
		"              'six': {'address': '[2001:db8::1]:25'}}}}}");
	const struct listener_config *l = &c->listeners[0];
	const struct pool_config *p = &c->pools[0];

	UNUSED(state);
	assert_string_equal(l->hostname, "Mail.Example");
	assert_true(l->allow.present && l->allow.n == 3 && l->allow.v[0].bits == 8 && l->allow.v[2].bits == 32);
	assert_true(l->caps.connections == UNLIMITED && l->caps.message_size == 2097152 && l->caps.min_data_rate == 0);
	assert_true(l->caps.connection_rate.n == 100 && l->caps.connection_rate.burst == 7);
	assert_int_equal(l->line_endings, LINE_ENDINGS_REJECT);
	assert_true(l->timeouts.idle_ms == 600000 && l->timeouts.body_ms == 180000);
	assert_int_equal(p->balance, BALANCE_SENDER_DOMAIN);
	assert_string_equal(p->helo, "out.example");
	assert_int_equal(p->source_v4.sa.sa_family, AF_INET);
	assert_int_equal(p->source_v6.sa.sa_family, AF_INET6);
	assert_string_equal(p->health.mail_from, "");
	assert_string_equal(p->health.rcpt_to, "postmaster");
	assert_int_equal(p->outlier.consecutive, 0);
	assert_int_equal(p->caps_off, SMTP_EXT_DSN);
	assert_int_equal(p->caps_force, SMTP_EXT_SMTPUTF8 | SMTP_EXT_8BITMIME);
	assert_int_equal(p->n_servers, 4);
	assert_true(p->servers[0].weight == 0 && p->servers[0].weight_set &&
		    p->servers[0].max_connections == UNLIMITED);
	assert_int_equal(p->servers[0].priority, 9);
	assert_int_equal(p->servers[1].source, SERVER_FROM_DNS);
	assert_string_equal(p->servers[1].dns_name, "mta.example.com");
	assert_int_equal(p->servers[1].port, 2525);
	assert_int_equal(p->servers[2].source, SERVER_FROM_SRV);
	assert_string_equal(p->servers[2].dns_name, "_smtp._tcp.example.com");
	assert_int_equal(p->servers[3].addr.sa.sa_family, AF_INET6);
	conf_unref(c);
}

static void routes_sets_and_tokens_are_read(void **state)
{
	struct conf *c = parse_with(
		"{'domain_sets': {'free': {'gmail.com': true, '*.GMAIL.com': true, 'gone.example': null, 'comment': "
		"'x'}},"
		" 'routes': [{'name': 'a', 'when': {'listener': ['l'], 'client': ['192.0.2.0/24'], 'helo': "
		"['x.example'],"
		"   'sender': ['<>', 'A@b.example'], 'sender_domain': ['@free', 'B\u00fccher.example'], 'recipient': "
		"['postmaster'],"
		"   'recipient_domain': []}, 'pool': 'p'},"
		"  {'name': 'b', 'when': {'recipient_domain': ['*.example']}, 'action': 'reject', 'text': '5.7.1 no'},"
		"  {'name': 'c', 'action': 'defer'}],"
		" 'tokens': {'ops': {'role': 'operator', 'expires': '2027-01-01T00:00:00Z', 'sha256': "
		"  '" HASH "'}}}");
	const struct route_config *a = &c->policy.routes[0], *b = &c->policy.routes[1];

	UNUSED(state);
	assert_int_equal(c->policy.n_sets, 1);
	assert_string_equal(c->policy.sets[0].name, "free");
	assert_int_equal(c->policy.sets[0].n, 2);
	assert_string_equal(c->policy.sets[0].domains[0], "gmail.com");
	assert_string_equal(c->policy.sets[0].domains[1], "*.gmail.com");
	assert_int_equal(c->policy.n_routes, 3);
	assert_string_equal(a->listener.v[0], "l");
	assert_true(a->client.present && a->client.n == 1 && a->client.v[0].bits == 24);
	assert_string_equal(a->sender.v[0], "<>");
	assert_string_equal(a->sender.v[1], "A@b.example");
	assert_string_equal(a->sender_domain.v[0], "@free");
	assert_string_equal(a->sender_domain.v[1], "xn--bcher-kva.example");
	assert_true(a->recipient_domain.present && a->recipient_domain.n == 0);
	assert_true(a->action == ROUTE_POOL && strcmp(a->pool, "p") == 0);
	assert_false(b->sender.present || b->client.present);
	assert_true(b->action == ROUTE_REJECT && b->pool == NULL);
	assert_string_equal(b->text, "5.7.1 no");
	assert_int_equal(c->policy.routes[2].action, ROUTE_DEFER);
	assert_int_equal(c->tokens[0].role, ROLE_OPERATOR);
	assert_string_equal(c->tokens[0].sha256, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	assert_true((int64_t)c->tokens[0].expires_wall == 1798761600);
	conf_unref(c);
}

static void users_are_read(void **state)
{
	struct conf *c = parse_with("{'users': {'both': {'password': '" CRYPT_HASH "', 'scram_sha256': '" SCRAM_VERIFIER
				    "', 'allow': ['10.0.0.0/8', '::1']},"
				    " 'one': {'comment': 'c', 'password': '" CRYPT_HASH "', 'scram_sha256': null},"
				    " 'nowhere': {'scram_sha256': '" SCRAM_VERIFIER "', 'allow': []}}}");

	UNUSED(state);
	assert_int_equal(c->n_users, 3);
	assert_string_equal(c->users[0].name, "both");
	assert_string_equal(c->users[0].password, CRYPT_HASH);
	assert_string_equal(c->users[0].scram_sha256, SCRAM_VERIFIER);
	assert_true(c->users[0].allow.present && c->users[0].allow.n == 2 && c->users[0].allow.v[0].bits == 8);
	assert_string_equal(c->users[1].password, CRYPT_HASH);
	assert_null(c->users[1].scram_sha256);
	assert_false(c->users[1].allow.present);
	assert_null(c->users[2].password);
	assert_true(c->users[2].allow.present && c->users[2].allow.n == 0);
	conf_unref(c);
}

static void a_clear_password_is_refused_with_advice(void **state)
{
	struct errors errors = { 0 };
	json_t *v = document_with("{'users': {'app1': {'password': 'hunter2', 'scram_sha256': 'hunter2'}}}");

	UNUSED(state);
	assert_null(conf_parse(v, &test_env, &errors));
	const struct error *e = error_at(&errors, "/users/app1/password");
	assert_non_null(e);
	assert_non_null(strstr(e->detail, "postroad user add"));
	assert_non_null(strstr(e->allowed, "$y$"));
	assert_non_null(error_at(&errors, "/users/app1/scram_sha256"));
	assert_int_equal(errors.n, 2);
	char *text = errors_text(&errors);
	assert_null(strstr(text, "hunter2"));
	free(text);
	errors_fini(&errors);
	json_decref(v);
}

static void comments_stand_everywhere(void **state)
{
	struct conf *c = parse_with(
		"{'comment': 'c', 'listeners': {'comment': 'c', 'l': {'comment': 'c', 'caps': {'comment': 'c'}, "
		"'timeouts': {'comment': 'c'},"
		"  'hostname': {'comment': 'c', 'nodes': {'n1': 'a.example'}}}},"
		" 'pools': {'comment': 'c', 'p': {'comment': 'c', 'servers': {'comment': 'c', 's': {'comment': 'c'}}}},"
		" 'domain_sets': {'comment': 'c'}, 'routes': [{'comment': 'c', 'name': 'a', 'when': {'comment': 'c'}, "
		"'pool': 'p'}],"
		" 'tokens': {'comment': 'c'}, 'users': {'comment': 'c'}}");

	UNUSED(state);
	assert_int_equal(c->n_listeners, 1);
	assert_int_equal(c->pools[0].n_servers, 1);
	assert_int_equal(c->policy.n_sets, 0);
	assert_string_equal(c->listeners[0].hostname, "a.example");
	conf_unref(c);
	assert_refused("{'pools': {'p': {'comment': 5}}}", "/pools/p/comment", "string");
	assert_refused("{'pools': {'comment': {}}}", "/pools/comment", "not a name");
}

/* ---- bad values, by type ---- */

static const struct {
	const char *patch, *path, *detail;
} bad_values[] = {
	{ "{'version': 2}", "/version", "out of range" },
	{ "{'version': '1'}", "/version", "whole number" },
	{ "{'listeners': []}", "/listeners", "keyed by name" },
	{ "{'listeners': {'l': 5}}", "/listeners/l", "object" },
	{ "{'routes': {}}", "/routes", "list" },
	{ "{'listeners': {'l': {'bind': '127.0.0.1:25'}}}", "/listeners/l/bind", "list" },
	{ "{'listeners': {'l': {'bind': []}}}", "/listeners/l/bind", "list" },
	{ "{'listeners': {'l': {'bind': null}}}", "/listeners/l/bind", "missing" },
	{ "{'listeners': {'l': {'bind': ['127.0.0.1']}}}", "/listeners/l/bind/0", "with a port" },
	{ "{'listeners': {'l': {'bind': ['127.0.0.1:0']}}}", "/listeners/l/bind/0", "with a port" },
	{ "{'listeners': {'l': {'bind': ['localhost:25']}}}", "/listeners/l/bind/0", "with a port" },
	{ "{'listeners': {'l': {'pool': null}}}", "/listeners/l/pool", "missing" },
	{ "{'listeners': {'l': {'pool': 'a b'}}}", "/listeners/l/pool", "not a name" },
	{ "{'listeners': {'l': {'mode': 'http'}}}", "/listeners/l/mode", "not a value" },
	{ "{'listeners': {'l': {'mode': 1}}}", "/listeners/l/mode", "string" },
	{ "{'listeners': {'l': {'hostname': 'a b'}}}", "/listeners/l/hostname", "not a host name" },
	{ "{'listeners': {'l': {'hostname': ''}}}", "/listeners/l/hostname", "not a host name" },
	{ "{'listeners': {'l': {'allow': '10.0.0.0/8'}}}", "/listeners/l/allow", "list of networks" },
	{ "{'listeners': {'l': {'allow': ['10.0.0.1/8']}}}", "/listeners/l/allow/0", "bits" },
	{ "{'listeners': {'l': {'allow': ['10.0.0.0/33']}}}", "/listeners/l/allow/0", "prefix" },
	{ "{'listeners': {'l': {'allow': [5]}}}", "/listeners/l/allow/0", "not an IP address" },
	{ "{'listeners': {'l': {'accepted_domains': ['a b']}}}", "/listeners/l/accepted_domains/0", "not a domain" },
	{ "{'listeners': {'l': {'accepted_domains': ['*']}}}", "/listeners/l/accepted_domains/0", "not a domain" },
	{ "{'listeners': {'l': {'accepted_domains': ['@']}}}", "/listeners/l/accepted_domains/0", "domain set" },
	{ "{'listeners': {'l': {'accepted_domains': 'a'}}}", "/listeners/l/accepted_domains", "list" },
	{ "{'listeners': {'l': {'caps': {'connections': -1}}}}", "/listeners/l/caps/connections", "range" },
	{ "{'listeners': {'l': {'caps': {'connections': 1.5}}}}", "/listeners/l/caps/connections", "whole" },
	{ "{'listeners': {'l': {'caps': {'connections': 'many'}}}}", "/listeners/l/caps/connections", "whole" },
	{ "{'listeners': {'l': {'caps': {'recipients': 'unlimited'}}}}", "/listeners/l/caps/recipients", "whole" },
	{ "{'listeners': {'l': {'caps': {'client_prefix_v4': 33}}}}", "/listeners/l/caps/client_prefix_v4", "range" },
	{ "{'listeners': {'l': {'caps': {'message_size': '50MB'}}}}", "/listeners/l/caps/message_size", "not a size" },
	{ "{'listeners': {'l': {'caps': {'message_size': '5'}}}}", "/listeners/l/caps/message_size", "not a size" },
	{ "{'listeners': {'l': {'caps': {'message_size': 0}}}}", "/listeners/l/caps/message_size", "range" },
	{ "{'listeners': {'l': {'caps': {'connection_rate': 5}}}}", "/listeners/l/caps/connection_rate", "not a rate" },
	{ "{'listeners': {'l': {'caps': {'min_data_rate': 500}}}}", "/listeners/l/caps/min_data_rate", "data rate" },
	{ "{'listeners': {'l': {'timeouts': {'idle': 300}}}}", "/listeners/l/timeouts/idle",
	  "needs its unit: ms, s, m, h or d" },
	{ "{'listeners': {'l': {'timeouts': {'idle': 'soon'}}}}", "/listeners/l/timeouts/idle", "not a duration" },
	{ "{'listeners': {'l': {'timeouts': {'idle': '0s'}}}}", "/listeners/l/timeouts/idle", "range" },
	{ "{'listeners': {'l': {'timeouts': {'idle': '2d'}}}}", "/listeners/l/timeouts/idle", "range" },
	{ "{'listeners': {'l': {'timeouts': {'idle': 'unlimited'}}}}", "/listeners/l/timeouts/idle", "not a duration" },
	{ "{'listeners': {'l': {'timeouts': []}}}", "/listeners/l/timeouts", "object" },
	{ "{'listeners': {'a/b~': null, 'c/d~': {'bind': ['127.0.0.1:1'], 'pool': 'p'}}}", "/listeners/c~1d~0",
	  "not a name" },
	{ "{'listeners': {'-l': {'bind': ['127.0.0.1:1'], 'pool': 'p'}}}", "/listeners/-l", "not a name" },
	{ "{'pools': {'p': {'balance': 'client'}}}", "/pools/p/balance", "not a value" },
	{ "{'listeners': {'l': {'mask_backend': 'yes'}}}", "/listeners/l/mask_backend", "true or false" },
	{ "{'listeners': {'l': {'greeting_delay': '61s'}}}", "/listeners/l/greeting_delay", "range" },
	{ "{'listeners': {'l': {'caps': {'transactions': 5}}}}", "/listeners/l/caps/transactions", "not a rate" },
	{ "{'pools': {'p': {'source': '10.0.0.1:25'}}}", "/pools/p/source", "not an IP address" },
	{ "{'pools': {'p': {'source': ['10.0.0.1', '10.0.0.2']}}}", "/pools/p/source/1", "same family" },
	{ "{'pools': {'p': {'retry': {'attempts': 17}}}}", "/pools/p/retry/attempts", "range" },
	{ "{'pools': {'p': {'capabilities': {'off': ['STARTTLS']}}}}", "/pools/p/capabilities/off/0",
	  "not one of the words" },
	{ "{'pools': {'p': {'capabilities': {'off': 'DSN'}}}}", "/pools/p/capabilities/off", "list" },
	{ "{'pools': {'p': {'health': {'mail_from': ''}}}}", "/pools/p/health/mail_from", "not a mailbox" },
	{ "{'pools': {'p': {'health': {'mail_from': 'a@'}}}}", "/pools/p/health/mail_from", "not a mailbox" },
	{ "{'pools': {'p': {'health': {'mail_from': '<a@b.example>'}}}}", "/pools/p/health/mail_from",
	  "not a mailbox" },
	{ "{'pools': {'p': {'servers': {'s': {'address': null}}}}}", "/pools/p/servers/s/address", "missing" },
	{ "{'pools': {'p': {'servers': {'s': {'address': '192.0.2.1'}}}}}", "/pools/p/servers/s/address",
	  "not a server" },
	{ "{'pools': {'p': {'servers': {'s': {'address': 'dns:a.example'}}}}}", "/pools/p/servers/s/address",
	  "not a server" },
	{ "{'pools': {'p': {'servers': {'s': {'address': 'dns::25'}}}}}", "/pools/p/servers/s/address",
	  "not a server" },
	{ "{'pools': {'p': {'servers': {'s': {'address': 'dns:a:0'}}}}}", "/pools/p/servers/s/address",
	  "not a server" },
	{ "{'pools': {'p': {'servers': {'s': {'address': 'srv:example.com'}}}}}", "/pools/p/servers/s/address",
	  "not a server" },
	{ "{'pools': {'p': {'servers': {'s': {'weight': 1001}}}}}", "/pools/p/servers/s/weight", "range" },
	{ "{'pools': {'p': {'servers': {'s': {'priority': 0}}}}}", "/pools/p/servers/s/priority", "range" },
	{ "{'domain_sets': {'d': []}}", "/domain_sets/d", "object" },
	{ "{'domain_sets': {'d': {'a.example': false}}}", "/domain_sets/d/a.example", "true" },
	{ "{'domain_sets': {'d': {'a b': true}}}", "/domain_sets/d/a b", "not a domain" },
	{ "{'domain_sets': {'d': {'@x': true}}}", "/domain_sets/d/@x", "not a domain" },
	{ "{'domain_sets': {'a b': {}}}", "/domain_sets/a b", "not a name" },
	{ "{'routes': [{'pool': 'p'}]}", "/routes/0/name", "missing" },
	{ "{'routes': [5]}", "/routes/0", "object" },
	{ "{'routes': [{'name': 'a', 'action': 'pool'}]}", "/routes/0/action", "not a value" },
	{ "{'routes': [{'name': 'a', 'action': 'reject', 'text': 'a\\nb'}]}", "/routes/0/text", "one line" },
	{ "{'routes': [{'name': 'a', 'action': 'reject', 'text': ''}]}", "/routes/0/text", "one line" },
	{ "{'routes': [{'name': 'a', 'pool': 'p', 'when': {'helo': ['a b']}}]}", "/routes/0/when/helo/0", "greet" },
	{ "{'routes': [{'name': 'a', 'pool': 'p', 'when': {'sender': ['a']}}]}", "/routes/0/when/sender/0", "mailbox" },
	{ "{'routes': [{'name': 'a', 'pool': 'p', 'when': {'sender': [5]}}]}", "/routes/0/when/sender/0", "string" },
	{ "{'users': {'u': 5}}", "/users/u", "object" },
	{ "{'users': {'a b': {'password': '" CRYPT_HASH "'}}}", "/users/a b", "not a name" },
	{ "{'users': {'u': {}}}", "/users/u", "nothing to log in with" },
	{ "{'users': {'u': {'password': null}}}", "/users/u", "nothing to log in with" },
	{ "{'users': {'u': {'password': 5}}}", "/users/u/password", "string" },
	{ "{'users': {'u': {'password': 'secret'}}}", "/users/u/password", "not a password hash" },
	{ "{'users': {'u': {'password': '$1$a$b'}}}", "/users/u/password", "strong enough" },
	{ "{'users': {'u': {'password': '<secret>'}}}", "/users/u/password", "not a password hash" },
	{ "{'users': {'u': {'scram_sha256': '" CRYPT_HASH "'}}}", "/users/u/scram_sha256", "not a SCRAM verifier" },
	{ "{'users': {'u': {'password': '" CRYPT_HASH "', 'allow': ['x']}}}", "/users/u/allow/0", "not an IP" },
	{ "{'tokens': {'t': {'role': 'none', 'sha256': '" HASH "'}}}", "/tokens/t/role", "not a value" },
	{ "{'tokens': {'t': {'role': 'admin', 'sha256': 'abc'}}}", "/tokens/t/sha256", "not a SHA-256" },
	{ "{'tokens': {'t': {'role': 'admin'}}}", "/tokens/t/sha256", "missing" },
	{ "{'tokens': {'t': {'role': 'admin', 'sha256': '" HASH "', 'expires': 'never'}}}", "/tokens/t/expires",
	  "RFC 3339" },
};

static void bad_values_are_refused(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(bad_values); i++)
		assert_refused(bad_values[i].patch, bad_values[i].path, bad_values[i].detail);
}

static void an_error_says_what_was_found_and_what_is_allowed(void **state)
{
	struct errors errors = { 0 };
	json_t *v = document_with("{'pools': {'p': {'balance': 'leastcon', 'retry': {'attempts': 99}}}}");

	UNUSED(state);
	assert_null(conf_parse(v, &test_env, &errors));
	const struct error *e = error_at(&errors, "/pools/p/balance");
	assert_non_null(e);
	assert_string_equal(e->found, "\"leastcon\"");
	assert_string_equal(e->suggestion, "leastconn");
	assert_non_null(strstr(e->allowed, "\"roundrobin\", "));
	e = error_at(&errors, "/pools/p/retry/attempts");
	assert_string_equal(e->found, "99");
	assert_string_equal(e->allowed, "1 to 16");
	errors_fini(&errors);
	json_decref(v);
}

static void an_unknown_key_suggests_the_nearest(void **state)
{
	static const struct {
		const char *patch, *path, *suggestion;
	} cases[] = {
		{ "{'listener': {}}", "/listener", "listeners" },
		{ "{'listeners': {'l': {'host_name': 'x'}}}", "/listeners/l/host_name", "hostname" },
		{ "{'listeners': {'l': {'timeouts': {'Idle': '1m'}}}}", "/listeners/l/timeouts/Idle", "idle" },
		{ "{'listeners': {'l': {'caps': {'max-size': 1}}}}", "/listeners/l/caps/max-size", NULL },
		{ "{'pools': {'p': {'servers': {'s': {'adress': 'x'}}}}}", "/pools/p/servers/s/adress", "address" },
		{ "{'pools': {'p': {'slow-start': '1s'}}}", "/pools/p/slow-start", "slow_start" },
		{ "{'listeners': {'l': {'auth': {'modes': 'none'}}}}", "/listeners/l/auth/modes", "mode" },
		{ "{'pools': {'p': {'tls': {'authority': 'x'}}}}", "/pools/p/tls/authority", NULL },
		{ "{'routes': [{'name': 'a', 'pool': 'p', 'when': {'users': ['x']}}]}", "/routes/0/when/users",
		  "user" },
		{ "{'routes': [{'name': 'a', 'pool': 'p', 'when': {'sender_domian': ['x']}}]}",
		  "/routes/0/when/sender_domian", "sender_domain" },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct errors errors = { 0 };
		json_t *v = document_with(cases[i].patch);
		assert_null(conf_parse(v, &test_env, &errors));
		assert_int_equal(errors.n, 1);
		assert_string_equal(errors.list[0].path, cases[i].path);
		if (cases[i].suggestion == NULL)
			assert_null(errors.list[0].suggestion);
		else
			assert_string_equal(errors.list[0].suggestion, cases[i].suggestion);
		errors_fini(&errors);
		json_decref(v);
	}
}

static void all_errors_are_reported_at_once(void **state)
{
	static const char *const paths[] = { "/unknown",
					     "/listeners/l/bind/0",
					     "/listeners/l/pool",
					     "/listeners/l/timeouts/idle",
					     "/pools/p/servers/s/address",
					     "/pools/p/health/rcpt_to",
					     "/routes/0/name",
					     "/routes/0" };
	struct errors errors = { 0 };
	json_t *v = document_with(
		"{'unknown': 1, 'listeners': {'l': {'bind': ['x'], 'pool': 'q', 'timeouts': {'idle': 5}}},"
		" 'pools': {'p': {'servers': {'s': {'address': 'x'}}, 'health': {'rcpt_to': 'postmaster'}}},"
		" 'routes': [{'when': {}}]}");

	UNUSED(state);
	assert_null(conf_parse(v, &test_env, &errors));
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (error_at(&errors, paths[i]) == NULL)
			fail_msg("no error at %s in\n%s", paths[i], errors_text(&errors));
	assert_int_equal(errors.n, ARRAY_LEN(paths));
	errors_fini(&errors);
	json_decref(v);
}

static void an_error_never_shows_a_secret(void **state)
{
	struct errors errors = { 0 };
	json_t *v = document_with(
		"{'tokens': {'t': {'role': 'admin', 'sha256': 'hunter2'}, 'u': {'role': 'admin', 'sha265': 'hunter2'},"
		" 'w': ['hunter2']}, 'listeners': {'l': {'hostname': {'password': 'hunter2'}}}}");

	UNUSED(state);
	assert_null(conf_parse(v, &test_env, &errors));
	char *text = errors_text(&errors);
	assert_non_null(error_at(&errors, "/tokens/t/sha256"));
	assert_non_null(error_at(&errors, "/tokens/u/sha265"));
	assert_null(strstr(text, "hunter2"));
	free(text);
	errors_fini(&errors);
	json_decref(v);
}

static void what_is_found_is_cut_between_characters(void **state)
{
	struct sbuf text = { 0 };

	UNUSED(state);
	for (size_t shift = 0; shift < 3; shift++) {
		sbuf_reset(&text);
		for (size_t i = 0; i < shift; i++)
			sbuf_putc(&text, 'a');
		for (size_t i = 0; i < 200; i++)
			sbuf_puts(&text, "\u20ac");
		json_t *v = json_string(text.p);
		char *found = conf_found(v);
		assert_true(strlen(found) <= 123);
		json_t *check = json_string(found); /* NULL unless it is UTF-8 */
		assert_non_null(check);
		json_decref(check);
		json_decref(v);
		free(found);
	}
	sbuf_fini(&text);
}

/* ---- per-node values ---- */

static void a_node_takes_its_own_value(void **state)
{
	struct conf *c = parse_with(
		"{'listeners': {'l': {'bind': {'nodes': {'n1': ['127.0.0.1:1', '127.0.0.1:2'], 'n2': ['127.0.0.2:1']}},"
		"  'hostname': {'nodes': {'n2': 'two.example'}}}},"
		" 'pools': {'p': {'source': {'nodes': {'n1': '192.0.2.8', 'n2': '2001:db8::1'}}}}}");
	struct conf_env other = { .node = "n2", .hostname = "mx.example.net" };
	struct errors errors = { 0 };

	UNUSED(state);
	assert_int_equal(c->listeners[0].n_bind, 2);
	assert_string_equal(c->listeners[0].hostname, "mx.example.net");
	assert_int_equal(c->pools[0].source_v4.sa.sa_family, AF_INET);
	assert_int_equal(c->pools[0].source_v6.sa.sa_family, 0);
	struct conf *d = conf_parse(c->document, &other, &errors);
	assert_non_null(d);
	assert_int_equal(d->listeners[0].n_bind, 1);
	assert_string_equal(d->listeners[0].hostname, "two.example");
	assert_int_equal(d->pools[0].source_v4.sa.sa_family, 0);
	conf_unref(c);
	conf_unref(d);
}

static void a_node_that_is_not_named_binds_nothing_and_warns(void **state)
{
	struct conf *c = parse_with("{'listeners': {'l': {'bind': {'nodes': {'n2': ['127.0.0.2:1']}}}}}");

	UNUSED(state);
	assert_int_equal(c->listeners[0].n_bind, 0);
	assert_true(warns(c, "/listeners/l", "no address to bind on this node"));
	conf_unref(c);
}

static void values_of_other_nodes_are_checked_too(void **state)
{
	UNUSED(state);
	assert_refused("{'listeners': {'l': {'bind': {'nodes': {'n2': ['nowhere']}}}}}", "/listeners/l/bind/nodes/n2/0",
		       "IP address");
	assert_refused("{'listeners': {'l': {'hostname': {'nodes': {'a b': 'x'}}}}}", "/listeners/l/hostname/nodes/a b",
		       "node's name");
	assert_refused("{'listeners': {'l': {'hostname': {'nodes': {'n1': {'nodes': {}}}}}}}",
		       "/listeners/l/hostname/nodes/n1", "string");
	assert_refused("{'pools': {'p': {'queue': {'nodes': {'n1': 5}}}}}", "/pools/p/queue", "whole number");
	assert_refused("{'pools': {'p': {'source': {'nodes': {}, 'x': 1}}}}", "/pools/p/source", "IP address");
}

/* ---- JSON ---- */

static void json_is_bounded_and_strict(void **state)
{
	static const char *const bad[] = {
		"", "{", "{} x", "{\"a\": 1, \"a\": 2}", "[1,]", "{\"a\": \"\\u0000\"}", "5", "{\"a\": \"\xff\"}"
	};
	struct errors errors = { 0 };
	struct sbuf deep = { 0 };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_null(conf_read_json(bad[i], strlen(bad[i]), &errors));
		assert_int_equal(errors.n, i + 1);
		assert_non_null(strstr(errors.list[i].detail, "line "));
	}
	for (size_t i = 0; i < 65; i++)
		sbuf_putc(&deep, '[');
	for (size_t i = 0; i < 65; i++)
		sbuf_putc(&deep, ']');
	assert_null(conf_read_json(deep.p, deep.n, &errors));
	assert_non_null(strstr(errors.list[ARRAY_LEN(bad)].detail, "nested too deeply"));
	json_t *v = conf_read_json(deep.p + 1, deep.n - 2, &errors);
	assert_non_null(v);
	json_decref(v);
	sbuf_fini(&deep);
	errors_fini(&errors);
}

static void every_cut_of_a_document_is_refused(void **state)
{
	static const char text[] =
		"{\"listeners\": {\"l\": {\"bind\": [\"127.0.0.1:25\"], \"pool\": \"p\"}}, \"comment\": \"\\\"[\"}";
	struct errors errors = { 0 };

	UNUSED(state);
	for (size_t n = 0; n < sizeof(text) - 1; n++)
		assert_null(conf_read_json(text, n, &errors));
	json_t *v = conf_read_json(text, sizeof(text) - 1, &errors);
	assert_non_null(v);
	json_decref(v);
	errors_fini(&errors);
}

static void a_large_domain_set_is_read_whole(void **state)
{
	json_t *v = document_with("{'domain_sets': {'big': {}}}");
	json_t *set = json_object_get(json_object_get(v, "domain_sets"), "big");
	char name[64];

	UNUSED(state);
	for (unsigned i = 0; i < 100000; i++) {
		snprintf(name, sizeof(name), "d%u.example", i);
		json_object_set_new(set, name, json_true());
	}
	struct conf *c = parse_ok(v);
	assert_int_equal(c->policy.sets[0].n, 100000);
	assert_string_equal(c->policy.sets[0].domains[99999], "d99999.example");
	conf_unref(c);
	json_decref(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listener_has_the_documented_defaults),
		cmocka_unit_test(a_pool_has_the_documented_defaults),
		cmocka_unit_test(a_server_has_the_documented_defaults),
		cmocka_unit_test(an_empty_document_is_valid_and_empty),
		cmocka_unit_test(null_is_absent_everywhere),
		cmocka_unit_test(values_are_read),
		cmocka_unit_test(routes_sets_and_tokens_are_read),
		cmocka_unit_test(users_are_read),
		cmocka_unit_test(a_clear_password_is_refused_with_advice),
		cmocka_unit_test(comments_stand_everywhere),
		cmocka_unit_test(bad_values_are_refused),
		cmocka_unit_test(an_error_says_what_was_found_and_what_is_allowed),
		cmocka_unit_test(an_unknown_key_suggests_the_nearest),
		cmocka_unit_test(all_errors_are_reported_at_once),
		cmocka_unit_test(an_error_never_shows_a_secret),
		cmocka_unit_test(what_is_found_is_cut_between_characters),
		cmocka_unit_test(a_node_takes_its_own_value),
		cmocka_unit_test(a_node_that_is_not_named_binds_nothing_and_warns),
		cmocka_unit_test(values_of_other_nodes_are_checked_too),
		cmocka_unit_test(json_is_bounded_and_strict),
		cmocka_unit_test(every_cut_of_a_document_is_refused),
		cmocka_unit_test(a_large_domain_set_is_read_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

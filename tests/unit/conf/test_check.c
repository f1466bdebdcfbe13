/* SPDX-License-Identifier: Apache-2.0
 * Checks between fields: the safety rule, names that must exist, addresses bound twice, what mode tcp may say,
 * warnings.
 */
#include "tests/unit/conf/conf_test.h"

#include "daemon/conf/conf_check.h"

static void assert_accepted(const char *patch)
{
	conf_unref(parse_with(patch));
}

/* ---- the safety rule ---- */

static void a_listener_on_loopback_needs_no_more(void **state)
{
	UNUSED(state);
	assert_accepted("{'listeners': {'l': {'bind': ['127.0.0.9:25', '[::1]:25']}}}");
	assert_accepted("{'listeners': {'l': {'direction': 'inbound'}}}");
	assert_accepted("{'listeners': {'l': {'mode': 'tcp'}}}");
}

static void an_outbound_listener_outside_loopback_needs_allow(void **state)
{
	UNUSED(state);
	assert_refused("{'listeners': {'l': {'bind': ['10.0.0.1:25']}}}", "/listeners/l/allow", "relay for the world");
	assert_refused("{'listeners': {'l': {'bind': ['127.0.0.1:25', '0.0.0.0:26']}}}", "/listeners/l/allow", "relay");
	assert_refused("{'listeners': {'l': {'bind': ['[::]:25']}}}", "/listeners/l/allow", "relay");
	assert_refused("{'listeners': {'l': {'bind': ['10.0.0.1:25'], 'accepted_domains': ['a.example']}}}",
		       "/listeners/l/allow", "relay");
	assert_accepted("{'listeners': {'l': {'bind': ['10.0.0.1:25'], 'allow': ['10.0.0.0/8']}}}");
	assert_accepted("{'listeners': {'l': {'bind': ['10.0.0.1:25'], 'allow': []}}}");
}

static void an_inbound_listener_outside_loopback_needs_accepted_domains(void **state)
{
	UNUSED(state);
	assert_refused("{'listeners': {'l': {'bind': ['10.0.0.1:25'], 'direction': 'inbound'}}}",
		       "/listeners/l/accepted_domains", "relay");
	assert_refused(
		"{'listeners': {'l': {'bind': ['10.0.0.1:25'], 'direction': 'inbound', 'allow': ['0.0.0.0/0']}}}",
		"/listeners/l/accepted_domains", "relay");
	assert_accepted("{'listeners': {'l': {'bind': ['10.0.0.1:25'], 'direction': 'inbound', 'accepted_domains': "
			"['a.example']}}}");
	assert_accepted(
		"{'listeners': {'l': {'bind': ['10.0.0.1:25'], 'direction': 'inbound', 'accepted_domains': []}}}");
}

static void a_tcp_listener_outside_loopback_needs_allow(void **state)
{
	UNUSED(state);
	assert_refused("{'listeners': {'l': {'bind': ['10.0.0.1:25'], 'mode': 'tcp'}}}", "/listeners/l/allow", "relay");
	assert_accepted("{'listeners': {'l': {'bind': ['10.0.0.1:25'], 'mode': 'tcp', 'allow': ['0.0.0.0/0']}}}");
}

static void the_safety_rule_looks_at_every_node(void **state)
{
	UNUSED(state);
	assert_refused("{'listeners': {'l': {'bind': {'nodes': {'n1': ['127.0.0.1:25'], 'n2': ['10.0.0.1:25']}}}}}",
		       "/listeners/l/allow", "relay");
}

static void everybody_may_be_written_out_and_warns(void **state)
{
	static const char *const everybody[] = { "0.0.0.0/0", "::/0" };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(everybody); i++) {
		char *patch =
			xasprintf("{'listeners': {'l': {'bind': ['0.0.0.0:25'], 'allow': ['%s']}}}", everybody[i]);
		struct conf *c = parse_with(patch);
		assert_true(warns(c, "/listeners/l/allow", "everybody"));
		conf_unref(c);
		free(patch);
	}
}

/* ---- logins ---- */

#define POOL_AUTH(members) "{'pools': {'p': {'auth': {" members "}}}}"
#define FAR "'servers': {'s': {'address': '192.0.2.1:25'}}"
#define OFFER "'auth': {'mode': 'offer', 'plaintext': true}"

static void a_password_goes_where_nobody_can_read_it(void **state)
{
	UNUSED(state);
	assert_refused("{'pools': {'p': {" FAR ", 'auth': {'user': 'u', 'password': 'p'}}}}", "/pools/p/auth",
		       "without TLS");
	assert_refused("{'pools': {'p': {" FAR ", 'tls': {'mode': 'may'}, 'auth': {'user': 'u', 'password': 'p'}}}}",
		       "/pools/p/auth", "without TLS");
	assert_accepted("{'pools': {'p': {" FAR
			", 'tls': {'mode': 'encrypt'}, 'auth': {'user': 'u', 'password': 'p'}}}}");
	assert_accepted("{'pools': {'p': {" FAR ", 'auth': {'user': 'u', 'password': 'p', 'plaintext': true}}}}");
	assert_accepted("{'pools': {'p': {'servers': {'s': {'address': '127.0.0.9:25'}}, 'auth': {'user': 'u', "
			"'password': 'p'}}}}");
}

static void a_login_at_servers_is_whole(void **state)
{
	UNUSED(state);
	assert_refused(POOL_AUTH("'user': 'u', 'plaintext': true"), "/pools/p/auth", "one password");
	assert_refused(POOL_AUTH("'password': 'p'"), "/pools/p/auth", "of nobody");
	assert_refused(POOL_AUTH("'user': 'u', 'password': 'p', 'password_file': '/x', 'plaintext': true"),
		       "/pools/p/auth", "one password");
	assert_refused(POOL_AUTH("'user': 'u', 'password_file': '/does/not/exist', 'plaintext': true"),
		       "/pools/p/auth/password_file", "No such file");
	assert_refused(POOL_AUTH("'user': 'u', 'password_file': '/dev/null', 'plaintext': true"),
		       "/pools/p/auth/password_file", "not a file");
	assert_refused(POOL_AUTH("'user': '', 'password': 'p'"), "/pools/p/auth/user", "1 to 255");
	assert_refused(POOL_AUTH("'user': 'u', 'password': 'a\\nb'"), "/pools/p/auth/password", "control");
}

#define PASSED_TO(auth) "'pools': {'p': {'auth': " auth "}}}"

static void a_login_passed_on_finds_no_other(void **state)
{
	UNUSED(state);
	assert_refused("{'listeners': {'l': {'auth': {'mode': 'passthrough'}}}, 'pools': {'p': {'auth': {'user': 'u', "
		       "'password': 'p', 'plaintext': true}}}}",
		       "/listeners/l/auth/mode", "one login only");
	assert_accepted("{'listeners': {'l': {'auth': {'mode': 'passthrough'}}}, " PASSED_TO("{'plaintext': true}"));
}

static void a_login_passed_on_is_not_for_everybody_to_read(void **state)
{
	UNUSED(state);
	assert_refused("{'listeners': {'l': {'auth': {'mode': 'passthrough'}}}}", "/listeners/l/auth/mode",
		       "read on the way");
	assert_refused("{'listeners': {'l': {'auth': {'mode': 'passthrough'}}}, 'pools': {'p': {'tls': {'mode': "
		       "'may'}}}}",
		       "/listeners/l/auth/mode", "read on the way");
	assert_accepted("{'listeners': {'l': {'auth': {'mode': 'passthrough'}}}, 'pools': {'p': {'tls': {'mode': "
			"'encrypt'}}}}");
	assert_accepted("{'listeners': {'l': {'auth': {'mode': 'passthrough'}}}, 'pools': {'p': {'servers': {'s': "
			"{'address': '127.0.0.1:25'}}}}}");
}

static void who_logs_in_must_be_told_about_mixed_recipients(void **state)
{
	static const char by_user[] =
		"{'listeners': {'l': {" OFFER "}}, 'routes': [{'name': 'r', 'pool': 'p', 'when': {'user': ['u']}}]}";

	UNUSED(state);
	assert_accepted(by_user);
	assert_refused("{'listeners': {'l': {" OFFER
		       "}}, 'routes': [{'name': 'r', 'pool': 'p', 'when': {'recipient': ['a@b.test']}}]}",
		       "/listeners/l/mixed_recipients", "cannot split");
	assert_accepted("{'listeners': {'l': {'mixed_recipients': 'first', " OFFER
			"}}, 'routes': [{'name': 'r', 'pool': 'p', 'when': {'recipient_domain': ['b.test']}}]}");
	assert_accepted("{'listeners': {'l': {" OFFER "}, 'm': {'pool': 'p', 'bind': ['127.0.0.1:9']}}, 'routes': "
			"[{'name': 'r', 'pool': 'p', 'when': {'listener': ['m'], 'recipient_domain': ['b.test']}}]}");
}

#define CERTIFICATE(name) "{'routes': [{'name': 'r', 'pool': 'p', 'when': {'client_certificate': ['" name "']}}]}"
#define HEX32 "00112233445566778899AABBCCDDEEFF"

static void names_in_certificates_have_one_spelling(void **state)
{
	UNUSED(state);
	struct conf *c = parse_with(CERTIFICATE("DNS:Mail.Test"));
	assert_string_equal(c->policy.routes[0].client_certificate.v[0], "dns:mail.test");
	conf_unref(c);
	c = parse_with(CERTIFICATE("sha256:" HEX32 ":" HEX32));
	assert_int_equal(strlen(c->policy.routes[0].client_certificate.v[0]), 7 + 64);
	assert_non_null(strstr(c->policy.routes[0].client_certificate.v[0], "ddeeff0011"));
	conf_unref(c);
	c = parse_with(CERTIFICATE("Common Name"));
	assert_string_equal(c->policy.routes[0].client_certificate.v[0], "Common Name");
	conf_unref(c);
	assert_refused(CERTIFICATE("sha256:" HEX32), "/routes/0/when/client_certificate/0", "not a name");
	assert_refused(CERTIFICATE("sha256:" HEX32 HEX32 "0"), "/routes/0/when/client_certificate/0", "not a name");
	assert_refused(CERTIFICATE("dns:"), "/routes/0/when/client_certificate/0", "not a name");
	assert_refused(CERTIFICATE(""), "/routes/0/when/client_certificate/0", "not a name");
}

/* ---- binds ---- */

#define SECOND(bind) "{'listeners': {'m': {'pool': 'p', 'bind': " bind "}}}"

static void an_address_is_bound_once(void **state)
{
	UNUSED(state);
	assert_refused(SECOND("['127.0.0.1:2525']"), "/listeners/m/bind/0", "also at /listeners/l/bind/0");
	assert_refused(SECOND("['127.0.0.1:1', '127.0.0.1:1']"), "/listeners/m/bind/1", "bound twice");
	assert_refused(SECOND("{'nodes': {'n2': ['127.0.0.1:2525']}}"), "/listeners/m/bind/nodes/n2/0", "bound twice");
	assert_accepted(SECOND("['127.0.0.1:2526', '127.0.0.2:2525', '[::1]:2525']"));
	assert_accepted(SECOND("{'nodes': {'n1': ['127.0.0.1:1'], 'n2': ['127.0.0.1:1']}}"));
}

static void a_bind_for_all_nodes_meets_an_earlier_one_for_some(void **state)
{
	UNUSED(state);
	assert_refused("{'listeners': {'l': {'bind': {'nodes': {'n2': ['127.0.0.1:9']}}}, 'm': {'pool': 'p', 'bind': "
		       "['127.0.0.1:9']}}}",
		       "/listeners/m/bind/0", "bound twice");
}

/* ---- names ---- */

static void names_must_exist(void **state)
{
	static const struct {
		const char *patch, *path, *suggestion;
	} cases[] = {
		{ "{'listeners': {'l': {'pool': 'mta'}}, 'pools': {'mta1': {}}}", "/listeners/l/pool", "mta1" },
		{ "{'routes': [{'name': 'a', 'pool': 'q'}]}", "/routes/0/pool", "p" },
		{ "{'routes': [{'name': 'a', 'pool': 'p', 'when': {'listener': ['relay']}}]}",
		  "/routes/0/when/listener", NULL },
		{ "{'routes': [{'name': 'a', 'pool': 'p', 'when': {'recipient_domain': ['@set']}}], 'domain_sets': "
		  "{'sets': {}}}",
		  "/routes/0/when/recipient_domain", "sets" },
		{ "{'routes': [{'name': 'a', 'pool': 'p', 'when': {'sender_domain': ['a.example', '@set']}}]}",
		  "/routes/0/when/sender_domain", NULL },
		{ "{'listeners': {'l': {'direction': 'inbound', 'accepted_domains': ['@ours']}}}",
		  "/listeners/l/accepted_domains", NULL },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct errors errors = { 0 };
		json_t *v = document_with(cases[i].patch);
		assert_null(conf_parse(v, &test_env, &errors));
		if (errors.n != 1)
			fail_msg("%s", errors_text(&errors));
		assert_string_equal(errors.list[0].path, cases[i].path);
		if (cases[i].suggestion != NULL)
			assert_string_equal(errors.list[0].suggestion, cases[i].suggestion);
		else
			assert_null(errors.list[0].suggestion);
		errors_fini(&errors);
		json_decref(v);
	}
	assert_accepted("{'routes': [{'name': 'a', 'pool': 'p', 'when': {'listener': ['l'], 'sender_domain': "
			"['@d']}}], 'domain_sets': {'d': {}}}");
}

/* ---- routes ---- */

static void a_route_has_either_a_pool_or_an_action(void **state)
{
	UNUSED(state);
	assert_refused("{'routes': [{'name': 'a'}]}", "/routes/0", "either a pool or an action");
	assert_refused("{'routes': [{'name': 'a', 'pool': 'p', 'action': 'reject'}]}", "/routes/0", "not both");
	assert_refused("{'routes': [{'name': 'a', 'pool': 'p', 'text': 'x'}]}", "/routes/0/text", "needs an action");
	assert_refused("{'routes': [{'name': 'a', 'pool': 'p'}, {'name': 'a', 'pool': 'p'}]}", "/routes/1/name",
		       "another route");
	assert_accepted(
		"{'routes': [{'name': 'a', 'pool': 'p', 'when': {'client': []}}, {'name': 'b', 'action': 'defer'}]}");
}

static void an_enhanced_code_fits_its_action(void **state)
{
	UNUSED(state);
	assert_refused("{'routes': [{'name': 'a', 'action': 'reject', 'text': '4.7.1 later'}]}", "/routes/0/text",
		       "begins with 5");
	assert_refused("{'routes': [{'name': 'a', 'action': 'defer', 'text': '5.7.1'}]}", "/routes/0/text",
		       "begins with 4");
	assert_accepted("{'routes': [{'name': 'a', 'action': 'defer', 'text': '4.7.1 later'}]}");
	assert_accepted("{'routes': [{'name': 'a', 'action': 'reject', 'text': '4.7 beta is closed'}]}");
	assert_accepted("{'routes': [{'name': 'a', 'action': 'reject', 'text': '4'}]}");
}

static void a_route_behind_one_that_matches_everything_warns(void **state)
{
	struct conf *c =
		parse_with("{'routes': [{'name': 'a', 'pool': 'p', 'when': {'helo': []}}, {'name': 'b', 'pool': 'p'},"
			   " {'name': 'c', 'pool': 'p'}]}");

	UNUSED(state);
	assert_true(warns(c, "/routes/2", "never reached"));
	assert_null(error_at(&c->warnings, "/routes/1"));
	conf_unref(c);
}

/* ---- mode tcp ---- */

static void a_tcp_listener_takes_transport_keys_only(void **state)
{
	static const char *const refused[] = {
		"'direction': 'outbound'",     "'hostname': 'a.example'",  "'accepted_domains': []",
		"'mixed_recipients': 'first'", "'line_endings': 'reject'", "'add_received': 'never'",
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		char *patch = xasprintf("{'listeners': {'l': {'mode': 'tcp', %s}}}", refused[i]);
		char path[64];
		snprintf(path, sizeof(path), "/listeners/l/%.*s", (int)strcspn(refused[i] + 1, "'"), refused[i] + 1);
		assert_refused(patch, path, "does not look into");
		free(patch);
	}
	assert_refused("{'listeners': {'l': {'mode': 'tcp', 'caps': {'recipients': 500}}}}",
		       "/listeners/l/caps/recipients", "does not look");
	assert_refused("{'listeners': {'l': {'mode': 'tcp', 'timeouts': {'body': '1m'}}}}",
		       "/listeners/l/timeouts/body", "does not look");
	assert_accepted("{'listeners': {'l': {'mode': 'tcp', 'allow': [], 'deny': [], 'exempt': [], 'hostname': null, "
			"'caps': {'connections': 1,"
			" 'connections_per_client': 1, 'connection_rate': '1/s', 'client_prefix_v4': 24, "
			"'client_prefix_v6': 48},"
			" 'timeouts': {'idle': '1h'}}}}");
}

static void routes_of_a_tcp_listener_ask_for_listener_and_client_only(void **state)
{
	UNUSED(state);
	assert_refused("{'listeners': {'l': {'mode': 'tcp'}}, 'routes': [{'name': 'a', 'pool': 'p', 'when': "
		       "{'listener': ['l'], 'helo': ['x']}}]}",
		       "/routes/0/when/listener", "mode \"tcp\"");
	assert_accepted("{'listeners': {'l': {'mode': 'tcp'}}, 'routes': [{'name': 'a', 'pool': 'p',"
			" 'when': {'listener': ['l'], 'client': ['10.0.0.0/8']}}, {'name': 'b', 'pool': 'p', 'when': "
			"{'helo': ['x']}}]}");
}

/* ---- pools ---- */

static void settings_of_a_pool_fit_together(void **state)
{
	UNUSED(state);
	assert_refused("{'pools': {'p': {'capabilities': {'off': ['DSN'], 'force': ['DSN']}}}}",
		       "/pools/p/capabilities/force", "both");
	assert_refused("{'pools': {'p': {'health': {'rcpt_to': 'a@b.example'}}}}", "/pools/p/health/rcpt_to", "needs");
	assert_refused("{'pools': {'p': {'health': {'mail_from': '<>', 'rcpt_to': '<>'}}}}", "/pools/p/health/rcpt_to",
		       "null sender");
	assert_refused("{'pools': {'p': {'outlier': {'busy': '6m'}}}}", "/pools/p/outlier/busy_max", "shorter");
}

static void doubtful_settings_warn(void **state)
{
	static const struct {
		const char *patch, *path, *detail;
	} cases[] = {
		{ "{'pools': {'p': {'timeouts': {'dot': '9m'}}}}", "/pools/p/timeouts/dot", "4.5.3.2.6" },
		{ "{'listeners': {'l': {'timeouts': {'idle': '1m'}}}}", "/listeners/l/timeouts/idle", "4.5.3.2.7" },
		{ "{'listeners': {'l': {'caps': {'recipients': 99}}}}", "/listeners/l/caps/recipients", "4.5.3.1.8" },
		{ "{'listeners': {'l': {'caps': {'message_size': '63KiB'}}}}", "/listeners/l/caps/message_size",
		  "4.5.3.1.7" },
		{ "{'listeners': {'l': {'accepted_domains': ['a.example']}}}", "/listeners/l/accepted_domains",
		  "no effect" },
		{ "{'pools': {'p': {'servers': {'s': null}}}}", "/pools/p/servers", "no server" },
		{ "{'pools': {'p': {'servers': {'s': {'weight': 0}}}}}", "/pools/p/servers", "weight 0" },
		{ "{'pools': {'q': {'servers': {'s': {'address': '192.0.2.1:25'}}}}}", "/pools/q",
		  "leads to this pool" },
		{ "{'pools': {'p': {'servers': {'t': {'address': '192.0.2.1:25'}}}}}", "/pools/p/servers/t/address",
		  "\"s\"" },
		{ "{'pools': {'p': {'servers': {'t': {'address': '127.0.0.1:2525'}}}}}", "/pools/p/servers/t/address",
		  "loop" },
		{ "{'pools': {'p': {'health': {'type': 'tcp', 'mail_from': '<>'}}}}", "/pools/p/health/mail_from",
		  "no effect" },
		{ "{'pools': {'p': {'identity': {'xclient': ['HELO', 'ADDR']}}}}", "/pools/p/identity/xclient",
		  "without NAME" },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf *c = parse_with(cases[i].patch);
		if (c->warnings.n != 1 || !warns(c, cases[i].path, cases[i].detail))
			fail_msg("%s\nwanted %s: %s\ngot\n%s", cases[i].patch, cases[i].path, cases[i].detail,
				 errors_text(&c->warnings));
		conf_unref(c);
	}
}

static void xclient_of_all_or_without_the_address_does_not_warn(void **state)
{
	static const char *const values[] = { "true", "false", "['NAME', 'ADDR']", "['HELO']", "['NAME', 'LOGIN']" };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		char *patch = xasprintf("{'pools': {'p': {'identity': {'xclient': %s}}}}", values[i]);
		struct conf *c = parse_with(patch);
		assert_int_equal(c->warnings.n, 0);
		conf_unref(c);
		free(patch);
	}
}

static const char *inbound_of(const struct conf *c, const char *pool)
{
	for (size_t i = 0; i < c->n_pools; i++)
		if (strcmp(c->pools[i].name, pool) == 0)
			return c->pools[i].inbound;
	fail_msg("no pool %s", pool);
	return NULL;
}

static void pools_know_the_inbound_listeners_that_lead_to_them(void **state)
{
	UNUSED(state);
	struct conf *c = parse_with(
		"{'listeners': {'l': {'direction': 'inbound'},"
		"               'm': {'bind': ['127.0.0.1:2526'], 'pool': 'q', 'direction': 'inbound'},"
		"               'o': {'bind': ['127.0.0.1:2527'], 'pool': 'r'}},"
		" 'pools': {'q': {}, 'r': {}, 's': {}},"
		" 'routes': [{'name': 'x', 'when': {'listener': ['l'], 'recipient_domain': ['a.test']}, 'pool': 's'},"
		"            {'name': 'y', 'when': {'listener': ['o'], 'recipient_domain': ['b.test']}, 'pool': 'r'},"
		"            {'name': 'z', 'when': {'recipient_domain': ['c.test']}, 'pool': 'q'}]}");
	assert_string_equal(inbound_of(c, "p"), "listener l");
	assert_string_equal(inbound_of(c, "q"), "inbound listeners");
	assert_string_equal(inbound_of(c, "s"), "listener l");
	assert_null(inbound_of(c, "r"));
	conf_unref(c);
}

static void the_defaults_do_not_warn(void **state)
{
	struct conf *c = parse_with("{}");

	UNUSED(state);
	assert_int_equal(c->warnings.n, 0);
	conf_unref(c);
}

static void what_a_search_for_names_to_suggest_may_cost_is_bounded(void **state)
{
	enum { MANY = 5000 };
	json_t *document = document_with("{}"), *routes = json_array(), *pools = json_object_get(document, "pools");
	struct errors errors = { 0 };
	char name[32];

	UNUSED(state);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "pool%u", i);
		json_object_set_new(pools, name, json_pack("{s:{}}", "servers"));
		snprintf(name, sizeof(name), "poll%u", i);
		json_array_append_new(routes, json_pack("{s:s, s:s}", "name", name, "pool", name));
	}
	json_object_set_new(document, "routes", routes);
	json_object_set_new(json_object_get(json_object_get(document, "listeners"), "l"), "pool", json_string("q"));
	assert_null(conf_parse(document, &test_env, &errors));
	assert_int_equal(errors.n, ERRORS_MAX);
	assert_true(errors.dropped >= MANY - ERRORS_MAX);
	/* Each search looks at all pools, the last one at what is left. */
	size_t suggested = 0;
	for (size_t i = 0; i < errors.n; i++)
		suggested += errors.list[i].suggestion != NULL;
	assert_in_range(suggested, 1, CONF_SUGGEST_MAX / MANY + 1);
	errors_fini(&errors);
	json_decref(document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listener_on_loopback_needs_no_more),
		cmocka_unit_test(an_outbound_listener_outside_loopback_needs_allow),
		cmocka_unit_test(an_inbound_listener_outside_loopback_needs_accepted_domains),
		cmocka_unit_test(a_tcp_listener_outside_loopback_needs_allow),
		cmocka_unit_test(the_safety_rule_looks_at_every_node),
		cmocka_unit_test(everybody_may_be_written_out_and_warns),
		cmocka_unit_test(a_password_goes_where_nobody_can_read_it),
		cmocka_unit_test(a_login_at_servers_is_whole),
		cmocka_unit_test(a_login_passed_on_finds_no_other),
		cmocka_unit_test(a_login_passed_on_is_not_for_everybody_to_read),
		cmocka_unit_test(who_logs_in_must_be_told_about_mixed_recipients),
		cmocka_unit_test(names_in_certificates_have_one_spelling),
		cmocka_unit_test(an_address_is_bound_once),
		cmocka_unit_test(a_bind_for_all_nodes_meets_an_earlier_one_for_some),
		cmocka_unit_test(names_must_exist),
		cmocka_unit_test(a_route_has_either_a_pool_or_an_action),
		cmocka_unit_test(an_enhanced_code_fits_its_action),
		cmocka_unit_test(a_route_behind_one_that_matches_everything_warns),
		cmocka_unit_test(a_tcp_listener_takes_transport_keys_only),
		cmocka_unit_test(routes_of_a_tcp_listener_ask_for_listener_and_client_only),
		cmocka_unit_test(settings_of_a_pool_fit_together),
		cmocka_unit_test(doubtful_settings_warn),
		cmocka_unit_test(xclient_of_all_or_without_the_address_does_not_warn),
		cmocka_unit_test(the_defaults_do_not_warn),
		cmocka_unit_test(pools_know_the_inbound_listeners_that_lead_to_them),
		cmocka_unit_test(what_a_search_for_names_to_suggest_may_cost_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

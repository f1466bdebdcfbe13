/* SPDX-License-Identifier: Apache-2.0
 * What TLS calls a server, and when a kept connection may stand for another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/pool/pool.h"

static void a_server_is_called_as_configured_or_as_looked_up(void **state)
{
	struct server_config servers[] = {
		{ .name = "plain", .source = SERVER_FROM_ADDRESS },
		{ .name = "named", .source = SERVER_FROM_DNS, .dns_name = "mx.example.net" },
		{ .name = "found", .source = SERVER_FROM_SRV, .dns_name = "_smtp._tcp.example.net" },
	};
	struct pool_config cf = { .servers = servers, .n_servers = 3 };
	char names[4][8] = { "plain", "named", "found", "gone" };
	struct server plain = { .config_name = names[0] }, named = { .config_name = names[1] };
	struct server found = { .config_name = names[2] }, gone = { .config_name = names[3] };

	UNUSED(state);
	assert_null(pool_tls_name(&cf, &plain));
	assert_string_equal(pool_tls_name(&cf, &named), "mx.example.net");
	assert_null(pool_tls_name(&cf, &found)); /* the name of a service is no host's */
	assert_null(pool_tls_name(&cf, &gone));
	cf.tls.server_name = "all.example.net";
	assert_string_equal(pool_tls_name(&cf, &plain), "all.example.net");
	assert_string_equal(pool_tls_name(&cf, &named), "all.example.net");
	assert_string_equal(pool_tls_name(&cf, &found), "all.example.net");
}

static void connections_are_alike_while_every_setting_is_the_same(void **state)
{
	char ca[] = "/ca.pem", name[] = "mx.example.net"; /* texts of another configuration */
	const struct pool_tls_config like = { .mode = POOL_TLS_VERIFY,
					      .ca_file = "/ca.pem",
					      .server_name = "mx.example.net" };
	struct pool_tls_config other = { .mode = POOL_TLS_VERIFY, .ca_file = ca, .server_name = name };

	UNUSED(state);
	assert_true(pool_tls_same(&like, &other));
	other.mode = POOL_TLS_ENCRYPT;
	assert_false(pool_tls_same(&like, &other));
	other.mode = POOL_TLS_VERIFY;
	other.implicit = true;
	assert_false(pool_tls_same(&like, &other));
	other.implicit = false;
	other.ca_file = NULL;
	assert_false(pool_tls_same(&like, &other));
	other.ca_file = "/other.pem";
	assert_false(pool_tls_same(&like, &other));
	other.ca_file = ca;
	other.server_name = NULL;
	assert_false(pool_tls_same(&like, &other));
	other.server_name = "mx2.example.net";
	assert_false(pool_tls_same(&like, &other));
	other.server_name = name;
	assert_true(pool_tls_same(&like, &other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_is_called_as_configured_or_as_looked_up),
		cmocka_unit_test(connections_are_alike_while_every_setting_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

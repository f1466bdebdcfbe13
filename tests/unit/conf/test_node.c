/* SPDX-License-Identifier: Apache-2.0
 * The node file: defaults, values, refusals.
 */
#include <unistd.h>

#include "tests/unit/conf/conf_test.h"

static struct node_config *load(const char *single_quoted, struct errors *errors)
{
	char file[] = "/tmp/postroad-node-XXXXXX";
	int fd = mkstemp(file);
	char *text = xstrdup(single_quoted);

	assert_true(fd >= 0);
	for (char *p = text; *p != '\0'; p++)
		if (*p == '\'')
			*p = '"';
	assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	free(text);
	struct node_config *n = node_config_load(file, errors);
	unlink(file);
	return n;
}

static struct node_config *load_ok(const char *single_quoted)
{
	struct errors errors = { 0 };
	struct node_config *n = load(single_quoted, &errors);

	if (n == NULL)
		fail_msg("%s", errors_text(&errors));
	return n;
}

static void assert_node_refused(const char *text, const char *path, const char *detail)
{
	struct errors errors = { 0 };
	struct node_config *n = load(text, &errors);

	if (n != NULL)
		fail_msg("accepted: %s", text);
	const struct error *e = error_at(&errors, path);
	if (e == NULL || errors.n != 1 || strstr(e->detail, detail) == NULL)
		fail_msg("%s\nwanted %s: %s\ngot\n%s", text, path, detail, errors_text(&errors));
	errors_fini(&errors);
}

static void an_empty_node_file_has_the_documented_defaults(void **state)
{
	struct node_config *n = load_ok("{}");
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	char host[256] = "", addr[ADDR_TEXT_MAX];

	UNUSED(state);
	gethostname(host, sizeof(host) - 1);
	assert_string_equal(n->node, host);
	assert_string_equal(n->state_dir, "/var/lib/postroad");
	assert_string_equal(n->run_dir, "/run/postroad");
	assert_int_equal(n->workers, 0);
	assert_true(n->shutdown_grace_ms == 60000);
	assert_true(n->replay_memory == memory / 100 * 5);
	assert_int_equal(n->log_target, LOG_TARGET_STDERR);
	assert_int_equal(n->log_level, LOG_LEVEL_INFO);
	assert_int_equal(n->n_admin_listen, 1);
	assert_string_equal(addr_format(&n->admin_listen[0], addr), "127.0.0.1:8425");
	assert_int_equal(n->admin_tls, ADMIN_TLS_AUTO);
	assert_false(n->metrics_open);
	assert_string_equal(n->engine, "none");
	assert_null(n->dns_servers);
	assert_null(n->initial_config);
	node_config_free(n);
}

static void values_of_a_node_file_are_read(void **state)
{
	struct node_config *n = load_ok("{'comment': 'x', 'node': 'n7', 'state_dir': '/tmp/s', 'run_dir': '/tmp/r', "
					"'workers': 3, 'shutdown_grace': '0s',"
					" 'replay_memory': '64MiB', 'log': {'target': 'syslog', 'level': 'warning'},"
					" 'admin': {'listen': ['0.0.0.0:1', '[::1]:2'], 'tls': {'certificate': '/c', "
					"'key': '/k'}, 'metrics': 'open'},"
					" 'cluster': {'engine': 'none', 'listen': []}, 'resolver': "
					"'127.0.0.1:5353,::1', 'initial_config': {'version': 1}}");

	UNUSED(state);
	assert_string_equal(n->node, "n7");
	assert_string_equal(n->state_dir, "/tmp/s");
	assert_string_equal(n->run_dir, "/tmp/r");
	assert_true(n->workers == 3 && n->shutdown_grace_ms == 0 && n->replay_memory == 64 << 20);
	assert_true(n->log_target == LOG_TARGET_SYSLOG && n->log_level == LOG_LEVEL_WARNING);
	assert_int_equal(n->n_admin_listen, 2);
	assert_int_equal(n->admin_tls, ADMIN_TLS_FILES);
	assert_string_equal(n->admin_certificate, "/c");
	assert_string_equal(n->admin_key, "/k");
	assert_true(n->metrics_open);
	assert_string_equal(n->dns_servers, "127.0.0.1:5353,::1");
	assert_json(n->initial_config, "{'version': 1}");
	node_config_free(n);
}

static void tls_is_off_on_loopback_only(void **state)
{
	struct node_config *n = load_ok("{'admin': {'tls': 'off', 'listen': ['127.0.0.1:1', '[::1]:1']}}");

	UNUSED(state);
	assert_int_equal(n->admin_tls, ADMIN_TLS_OFF);
	node_config_free(n);
	node_config_free(load_ok("{'admin': {'tls': 'off', 'listen': []}}"));
	assert_node_refused("{'admin': {'tls': 'off', 'listen': ['127.0.0.1:1', '0.0.0.0:1']}}", "/admin/tls",
			    "0.0.0.0:1 is not loopback");
}

static void bad_node_files_are_refused(void **state)
{
	static const struct {
		const char *text, *path, *detail;
	} bad[] = {
		{ "", "", "not JSON" },
		{ "[]", "", "object" },
		{ "{'node': 'n1', 'node': 'n2'}", "", "duplicate" },
		{ "{'nodes': 'n1'}", "/nodes", "not a known key" },
		{ "{'node': 'a b'}", "/node", "not a name" },
		{ "{'state_dir': 'relative'}", "/state_dir", "absolute" },
		{ "{'run_dir': "
		  "'/"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}",
		  "/run_dir", "too long" },
		{ "{'workers': 129}", "/workers", "range" },
		{ "{'shutdown_grace': 60}", "/shutdown_grace", "unit" },
		{ "{'replay_memory': '91%'}", "/replay_memory", "range" },
		{ "{'replay_memory': '5 %'}", "/replay_memory", "not a size" },
		{ "{'log': {'level': 'warn'}}", "/log/level", "not a value" },
		{ "{'log': {'target': '/var/log/x'}}", "/log/target", "not a value" },
		{ "{'admin': {'tls': 'on'}}", "/admin/tls", "not a value" },
		{ "{'admin': {'tls': {'certificate': '/c'}}}", "/admin/tls/key", "missing" },
		{ "{'admin': {'tls': {'certificate': '/c', 'key': '/k', 'x': 1}}}", "/admin/tls/x", "not a known key" },
		{ "{'admin': {'listen': ['8425']}}", "/admin/listen/0", "with a port" },
		{ "{'cluster': {'engine': 'zookeeper'}}", "/cluster/engine", "not a value" },
		{ "{'cluster': {'listen': ['10.0.0.1']}}", "/cluster/listen/0", "with a port" },
		{ "{'resolver': 'dns.example'}", "/resolver", "dns.example" },
		{ "{'resolver': '127.0.0.1,'}", "/resolver", "not an IP address" },
		{ "{'initial_config': []}", "/initial_config", "object" },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_node_refused(bad[i].text, bad[i].path, bad[i].detail);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	static const char *const files[] = { "/nonexistent/node.json", "/tmp", "/dev/null" };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct errors errors = { 0 };
		assert_null(node_config_load(files[i], &errors));
		assert_int_equal(errors.n, 1);
		assert_string_equal(errors.list[0].path, "");
		assert_non_null(strstr(errors.list[0].detail, "cannot be read: "));
		errors_fini(&errors);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_node_file_has_the_documented_defaults),
		cmocka_unit_test(values_of_a_node_file_are_read),
		cmocka_unit_test(tls_is_off_on_loopback_only),
		cmocka_unit_test(bad_node_files_are_refused),
		cmocka_unit_test(a_file_that_cannot_be_read_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

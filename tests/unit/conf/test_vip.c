/* SPDX-License-Identifier: Apache-2.0
 * Virtual addresses: what is read, what is refused, and that a router id depends on its VIP alone.
 */
#include "tests/unit/conf/conf_test.h"

#define VIP "'addresses': ['192.0.2.10/24'], 'interface': 'eth0', 'nodes': ['n1', 'n2']"

static void a_vip_is_read_as_written(void **state)
{
	UNUSED(state);
	struct conf *c =
		parse_with("{'vips': {'a': {'addresses': ['192.0.2.10/24', '2001:db8::10/64'], 'interface': "
			   "'bond0.12', 'vrid': 7, 'nodes': ['n2', 'n1'], 'failback': true, 'advert': '1s'}}}");
	const struct vip_config *v = &c->vips[0];
	char text[ADDR_TEXT_MAX];

	assert_int_equal(c->n_vips, 1);
	assert_string_equal(v->name, "a");
	assert_int_equal(v->n_addresses, 2);
	assert_string_equal(addr_format_ip(&v->addresses[0].ip, text), "192.0.2.10");
	assert_int_equal(v->addresses[0].bits, 24);
	assert_string_equal(addr_format_ip(&v->addresses[1].ip, text), "2001:db8::10");
	assert_int_equal(v->addresses[1].bits, 64);
	assert_string_equal(v->interface, "bond0.12");
	assert_int_equal(v->vrid, 7);
	assert_string_equal(v->nodes.v[0], "n2");
	assert_true(v->failback);
	assert_int_equal(v->advert_ms, 1000);
	conf_unref(c);
}

static void the_interface_may_differ_per_node(void **state)
{
	UNUSED(state);
	struct conf *c = parse_with("{'vips': {'a': {'addresses': ['192.0.2.10/24'], 'nodes': ['n1', 'n2'], "
				    "'interface': {'nodes': {'n1': 'eth1', 'n2': 'ens3'}}}}}");

	assert_string_equal(c->vips[0].interface, "eth1");
	conf_unref(c);
	assert_refused("{'vips': {'a': {'addresses': ['192.0.2.10/24'], 'nodes': ['n1', 'n2'], "
		       "'interface': {'nodes': {'n1': 'eth1'}}}}}",
		       "/vips/a/interface/nodes", "\"n2\"");
}

static unsigned vrid_of_b(const char *patch)
{
	struct conf *c = parse_with(patch);
	unsigned vrid = 0;

	for (size_t i = 0; i < c->n_vips; i++)
		if (strcmp(c->vips[i].name, "b") == 0)
			vrid = c->vips[i].vrid;
	conf_unref(c);
	return vrid;
}

static void a_router_id_does_not_change_when_other_vips_come_and_go(void **state)
{
	UNUSED(state);
	unsigned alone = vrid_of_b("{'vips': {'b': {" VIP "}}}");
	unsigned third = vrid_of_b("{'vips': {'a': {'addresses': ['192.0.2.11/24'], 'interface': 'eth0', 'nodes': "
				   "['n1']}, 'aa': {'addresses': ['192.0.2.12/24'], 'interface': 'eth0', 'nodes': "
				   "['n1']}, 'b': {" VIP "}}}");

	assert_in_range(alone, 1, 255);
	assert_int_equal(alone, third);
}

static void what_can_be_once_is_not_twice(void **state)
{
	UNUSED(state);
	assert_refused("{'vips': {'a': {" VIP
		       ", 'vrid': 5}, 'b': {'addresses': ['192.0.2.11/24'], 'interface': 'eth0', "
		       "'nodes': ['n1'], 'vrid': 5}}}",
		       "/vips/b/vrid", "\"a\"");
	assert_refused("{'vips': {'a': {" VIP "}, 'b': {" VIP "}}}", "/vips/b/addresses/0", "\"a\"");
	assert_refused("{'vips': {'a': {'addresses': ['192.0.2.10/24', '192.0.2.10/32'], 'interface': 'e', 'nodes': "
		       "['n1']}}}",
		       "/vips/a/addresses/1", "\"a\"");
	assert_refused("{'vips': {'a': {'addresses': ['192.0.2.10/24'], 'interface': 'e', 'nodes': ['n1', 'n1']}}}",
		       "/vips/a/nodes/1", "twice");
}

static void what_cannot_be_is_refused_where_it_stands(void **state)
{
	static const char *const addresses[] = { "192.0.2.10",       "192.0.2.10/0", "192.0.2.10/33", "192.0.2.10/2 4",
						 "192.0.2.10:25/24", "::1/129",      "x/24",          "/24" };
	static const char *const interfaces[] = { "", "..", "eth 0", "eth0;", "abcdefghijklmnop", "a/b" };
	char patch[300];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		snprintf(patch, sizeof(patch),
			 "{'vips': {'a': {'addresses': ['%s'], 'interface': 'e', 'nodes': ['n1']}}}", addresses[i]);
		assert_refused(patch, "/vips/a/addresses/0", "prefix");
	}
	for (size_t i = 0; i < ARRAY_LEN(interfaces); i++) {
		snprintf(patch, sizeof(patch),
			 "{'vips': {'a': {'addresses': ['192.0.2.1/24'], 'interface': '%s', 'nodes': ['n1']}}}",
			 interfaces[i]);
		assert_refused(patch, "/vips/a/interface", "interface");
	}
	assert_refused("{'vips': {'a': {" VIP ", 'advert': '55ms'}}}", "/vips/a/advert", "hundredths");
	assert_refused("{'vips': {'a': {" VIP ", 'vrid': 256}}}", "/vips/a/vrid", "");
	assert_refused("{'vips': {'a': {'addresses': ['192.0.2.1/24'], 'interface': 'e', 'nodes': []}}}",
		       "/vips/a/nodes", "no node");
	assert_refused("{'vips': {'a': {'addresses': ['192.0.2.1/24'], 'interface': 'e'}}}", "/vips/a/nodes",
		       "missing");
}

static void an_address_that_nobody_binds_is_a_warning(void **state)
{
	UNUSED(state);
	struct conf *c = parse_with("{'vips': {'a': {" VIP "}}}");

	assert_int_equal(c->warnings.n, 1);
	assert_string_equal(c->warnings.list[0].path, "/vips/a/addresses/0");
	conf_unref(c);
	c = parse_with("{'listeners': {'l': {'bind': ['192.0.2.10:25'], 'allow': ['10.0.0.0/8']}}, 'vips': {'a': {" VIP
		       "}}}");
	assert_int_equal(c->warnings.n, 0);
	conf_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vip_is_read_as_written),
		cmocka_unit_test(the_interface_may_differ_per_node),
		cmocka_unit_test(a_router_id_does_not_change_when_other_vips_come_and_go),
		cmocka_unit_test(what_can_be_once_is_not_twice),
		cmocka_unit_test(what_cannot_be_is_refused_where_it_stands),
		cmocka_unit_test(an_address_that_nobody_binds_is_a_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

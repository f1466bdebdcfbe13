/* SPDX-License-Identifier: Apache-2.0
 * What nodes say to each other in calls: it comes back as it was, and what is malformed is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "daemon/cluster/cluster_private.h"

static void bytes_of_any_length_come_back(void **state)
{
	char bytes[200];

	UNUSED(state);
	memset(bytes, 7, sizeof(bytes));
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		struct sbuf out = { 0 };
		json_t *j = cluster_json_base64((struct str) { bytes, n });
		assert_true(cluster_json_take_base64(j, n, &out));
		assert_int_equal(out.n, n);
		assert_memory_equal(out.p, bytes, n);
		trust_wipe(&out);
		if (n > 0)
			assert_false(cluster_json_take_base64(j, n - 1, &out));
		sbuf_fini(&out);
		json_decref(j);
	}
}

static void where_a_node_is_comes_back(void **state)
{
	struct members_seen s = { .id = 4000000000u,
				  .instance = 0xfedcba9876543210ull,
				  .synced = true,
				  .staged = 9,
				  .installed = 8,
				  .active = 7,
				  .staged_hash = { 1, 0xff },
				  .features_low = 1,
				  .features_high = 3 },
			    r;

	UNUSED(state);
	json_t *j = cluster_json_seen(&s);
	assert_true(cluster_json_take_seen(j, &r));
	assert_true(r.id == s.id && r.instance == s.instance && r.synced && r.present);
	assert_true(r.staged == 9 && r.installed == 8 && r.active == 7 && r.features_low == 1 && r.features_high == 3);
	assert_memory_equal(r.staged_hash, s.staged_hash, sizeof(s.staged_hash));
	json_decref(j);
}

static void what_is_malformed_is_refused(void **state)
{
	static const struct {
		const char *key, *value;
	} bad[] = { { "id", "0" },	  { "id", "-1" },	{ "id", "4294967296" }, { "id", "\"1\"" },
		    { "instance", "1" },  { "instance", "\"\"" }, { "instance", "\"000000000000000G\"" },
		    { "hash", "\"00\"" }, { "staged", "-1" },	{ "high", "65536" },	{ "active", "null" } };
	struct members_seen s = { .id = 1, .instance = 2 }, r;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		json_t *j = cluster_json_seen(&s);
		json_object_set_new(j, bad[i].key, json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
		if (cluster_json_take_seen(j, &r))
			fail_msg("taken: %s = %s", bad[i].key, bad[i].value);
		json_object_del(j, bad[i].key);
		assert_false(cluster_json_take_seen(j, &r));
		json_decref(j);
	}
	assert_false(cluster_json_take_seen(NULL, &r));
}

static void addresses_have_a_port_or_the_default(void **state)
{
	json_t *bare = json_string("10.0.0.1"), *with = json_string("[2001:db8::1]:99"), *name = json_string("n1");
	struct addr a;

	UNUSED(state);
	assert_true(cluster_json_addr(bare, 0, &a));
	assert_true(cluster_json_addr(bare, 8426, &a) && addr_port(&a) == 8426);
	assert_true(cluster_json_addr(with, 8426, &a) && addr_port(&a) == 99);
	assert_false(cluster_json_addr(with, 0, &a));
	assert_false(cluster_json_addr(name, 8426, &a));
	assert_false(cluster_json_addr(NULL, 0, &a));
	json_decref(bare);
	json_decref(with);
	json_decref(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_of_any_length_come_back),
		cmocka_unit_test(where_a_node_is_comes_back),
		cmocka_unit_test(what_is_malformed_is_refused),
		cmocka_unit_test(addresses_have_a_port_or_the_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

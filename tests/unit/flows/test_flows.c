/* SPDX-License-Identifier: Apache-2.0
 * What goes into the kernel's table and what is read from its answers. What packets do is for tests/lab/test_flows.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "agents/ha/flows/flows_private.h"

static struct addr address(const char *text)
{
	struct addr a;

	assert_true(addr_parse(text, 1, &a));
	return a;
}

static struct flow flow(const char *local, const char *remote)
{
	return (struct flow) { address(local), address(remote) };
}

static void elements_are_written_in_the_words_of_nft(void **state)
{
	UNUSED(state);
	struct flow v4[] = { flow("192.0.2.9:25", "198.51.100.1:4000"), flow("192.0.2.9:587", "198.51.100.2:65535") };
	struct flow v6 = flow("[2001:db8::9]:25", "[2001:db8::1:1]:4000");
	struct addr node = address("192.0.2.1");
	struct text t = { 0 };

	flows_text_elements(&t, &(struct text_batch) { "add", "flows4", &node, 600 }, v4, 2);
	assert_string_equal(t.p, "add element netdev postroad flows4 { "
				 "192.0.2.9 . 25 . 198.51.100.1 . 4000 timeout 600s : 192.0.2.1, "
				 "192.0.2.9 . 587 . 198.51.100.2 . 65535 timeout 600s : 192.0.2.1 }\n");
	text_free(&t);
	flows_text_elements(&t, &(struct text_batch) { "delete", "own6", NULL, 0 }, &v6, 1);
	assert_string_equal(t.p, "delete element netdev postroad own6 { 2001:db8::9 . 25 . 2001:db8::1:1 . 4000 }\n");
	text_free(&t);
}

static void those_of_a_node_stand_together_with_one_time(void **state)
{
	UNUSED(state);
	struct flow f = flow("192.0.2.9:25", "198.51.100.1:4000");
	struct flow_passed list[] = {
		{ f, address("192.0.2.2"), 5 }, { f, address("192.0.2.1"), 7 }, { f, address("192.0.2.2"), 600 },
		{ f, address("192.0.2.1"), 9 }, { f, address("192.0.2.2"), 0 },
	};

	flows_group(list, 0);
	flows_group(list, ARRAY_LEN(list));
	for (size_t i = 0; i < ARRAY_LEN(list); i++) {
		struct addr wanted = address(i < 2 ? "192.0.2.1" : "192.0.2.2");
		assert_true(addr_eq_ip(&list[i].node, &wanted));
		assert_int_equal(list[i].seconds, i < 2 ? 9 : 600);
	}
}

static void flows_have_an_order(void **state)
{
	UNUSED(state);
	struct flow list[] = {
		flow("192.0.2.9:25", "198.51.100.1:4000"),      flow("192.0.2.9:25", "198.51.100.1:4001"),
		flow("192.0.2.9:25", "198.51.100.2:4000"),      flow("192.0.2.9:26", "198.51.100.1:4000"),
		flow("[2001:db8::9]:25", "[2001:db8::1]:4000"),
	};

	for (size_t i = 0; i < ARRAY_LEN(list); i++)
		for (size_t k = 0; k < ARRAY_LEN(list); k++) {
			int r = flows_compare(&list[i], &list[k]);
			assert_int_equal(r < 0 ? -1 : r > 0, i < k ? -1 : i > k);
		}
}

static void no_elements_are_no_command(void **state)
{
	UNUSED(state);
	struct text t = { 0 };

	flows_text_elements(&t, &(struct text_batch) { "add", "own4", NULL, 0 }, NULL, 0);
	assert_int_equal(t.n, 0);
	text_free(&t);
}

static void long_commands_are_whole(void **state)
{
	UNUSED(state);
	struct flow f = flow("192.0.2.9:25", "198.51.100.1:4000");
	struct flow *many = xcalloc(1000, sizeof(*many));
	struct text t = { 0 };
	size_t commas = 0;

	for (int i = 0; i < 1000; i++)
		many[i] = f;
	flows_text_elements(&t, &(struct text_batch) { "add", "own4", NULL, 0 }, many, 1000);
	assert_int_equal(t.n, strlen(t.p));
	for (const char *p = t.p; *p != '\0'; p++)
		commas += *p == ',';
	assert_int_equal(commas, 999);
	assert_string_equal(t.p + t.n - 3, " }\n");
	text_free(&t);
	free(many);
}

static void names_that_need_quoting_are_refused(void **state)
{
	UNUSED(state);
	static const char *const good[] = { "eth0", "eth0.100", "enp0s31f6", "br-lan", "bond_0", "123456789012345" };
	static const char *const bad[] = { "",     "a b",      "eth0\"", "eth0;",     "a\nb",
					   "../x", "a/b",      ".",      "-eth0",     "e{",
					   "e#",   "\303\244", "eth0@",  "$(reboot)", "1234567890123456" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(flows_text_name_ok(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(flows_text_name_ok(bad[i]));
}

static struct inet_diag_msg socket_of(int family, int tcp_state, const char *local, const char *remote)
{
	struct inet_diag_msg m = { .idiag_family = (uint8_t)family, .idiag_state = (uint8_t)tcp_state };

	assert_int_equal(inet_pton(family, local, m.id.idiag_src), 1);
	assert_int_equal(inet_pton(family, remote, m.id.idiag_dst), 1);
	m.id.idiag_sport = htons(25);
	m.id.idiag_dport = htons(4000);
	return m;
}

static bool is_read(const struct inet_diag_msg *m, const char *vip)
{
	struct addr a = address(vip);
	struct flow f;

	return flows_diag_read(m, &a, &f);
}

static void connections_count_from_half_open_to_half_closed(void **state)
{
	UNUSED(state);
	static const int good[] = { TCP_ESTABLISHED, TCP_SYN_RECV, TCP_FIN_WAIT1, TCP_FIN_WAIT2,
				    TCP_CLOSE_WAIT,  TCP_LAST_ACK, TCP_CLOSING,   12 /* TCP_NEW_SYN_RECV */ };
	static const int bad[] = { TCP_SYN_SENT, TCP_TIME_WAIT, TCP_CLOSE, TCP_LISTEN, 0, 13, 32, 255 };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct inet_diag_msg m = socket_of(AF_INET, good[i], "192.0.2.9", "198.51.100.1");
		assert_true(is_read(&m, "192.0.2.9"));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct inet_diag_msg m = socket_of(AF_INET, bad[i], "192.0.2.9", "198.51.100.1");
		assert_false(is_read(&m, "192.0.2.9"));
	}
}

static void connections_of_the_address_alone_are_read(void **state)
{
	UNUSED(state);
	struct inet_diag_msg m = socket_of(AF_INET, TCP_ESTABLISHED, "192.0.2.9", "198.51.100.1");

	assert_false(is_read(&m, "192.0.2.8"));
	assert_false(is_read(&m, "2001:db8::9"));
	m = socket_of(AF_INET, TCP_ESTABLISHED, "192.0.2.9", "192.0.2.9");
	assert_false(is_read(&m, "192.0.2.9"));
	m = socket_of(AF_INET6, TCP_ESTABLISHED, "2001:db8::9", "2001:db8::1");
	assert_true(is_read(&m, "2001:db8::9"));
	m.idiag_family = AF_UNIX;
	assert_false(is_read(&m, "2001:db8::9"));
}

static void mapped_connections_are_those_of_ipv4(void **state)
{
	UNUSED(state);
	struct inet_diag_msg m = socket_of(AF_INET6, TCP_ESTABLISHED, "::ffff:192.0.2.9", "::ffff:198.51.100.1");
	struct addr vip = address("192.0.2.9"), remote = address("198.51.100.1:4000");
	struct flow f;

	assert_true(flows_diag_read(&m, &vip, &f));
	assert_int_equal(f.local.sa.sa_family, AF_INET);
	assert_int_equal(addr_port(&f.local), 25);
	assert_true(addr_eq(&f.remote, &remote));
}

static void elements_are_read_as_the_kernel_tells_them(void **state)
{
	UNUSED(state);
	static const uint8_t key4[] = { 192, 0, 2, 9, 0, 25, 0, 0, 198, 51, 100, 1, 0x0f, 0xa0, 0, 0 };
	struct element e = { .key_n = sizeof(key4), .data = { 192, 0, 2, 1 }, .data_n = 4, .seconds = 5 };
	struct flow f, want = flow("192.0.2.9:25", "198.51.100.1:4000");
	struct addr node, n1 = address("192.0.2.1");

	memcpy(e.key, key4, sizeof(key4));
	assert_true(flows_element_flow(&e, &f));
	assert_true(addr_eq(&f.local, &want.local) && addr_eq(&f.remote, &want.remote));
	assert_true(flows_element_node(&e, &node) && addr_eq_ip(&node, &n1));

	want = flow("[2001:db8::9]:587", "[2001:db8::1]:65535");
	memset(&e, 0, sizeof(e));
	memcpy(e.key, &want.local.in6.sin6_addr, 16);
	memcpy(e.key + 16, &(uint16_t) { htons(587) }, 2);
	memcpy(e.key + 20, &want.remote.in6.sin6_addr, 16);
	memcpy(e.key + 36, &(uint16_t) { htons(65535) }, 2);
	e.key_n = 40;
	assert_true(flows_element_flow(&e, &f));
	assert_true(addr_eq(&f.local, &want.local) && addr_eq(&f.remote, &want.remote));
}

static void elements_of_another_length_are_none(void **state)
{
	UNUSED(state);
	struct addr a;
	struct flow f;

	for (size_t n = 0; n <= 40; n++) {
		struct element e = { .key_n = n, .data_n = n <= 16 ? n : 16 };
		assert_int_equal(flows_element_flow(&e, &f), n == 16 || n == 40);
		assert_int_equal(flows_element_vip(&e, &a), n == 4 || n == 16);
		if (n <= 16)
			assert_int_equal(flows_element_node(&e, &a), n == 4 || n == 16);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(elements_are_written_in_the_words_of_nft),
		cmocka_unit_test(those_of_a_node_stand_together_with_one_time),
		cmocka_unit_test(flows_have_an_order),
		cmocka_unit_test(no_elements_are_no_command),
		cmocka_unit_test(long_commands_are_whole),
		cmocka_unit_test(names_that_need_quoting_are_refused),
		cmocka_unit_test(connections_count_from_half_open_to_half_closed),
		cmocka_unit_test(connections_of_the_address_alone_are_read),
		cmocka_unit_test(mapped_connections_are_those_of_ipv4),
		cmocka_unit_test(elements_are_read_as_the_kernel_tells_them),
		cmocka_unit_test(elements_of_another_length_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

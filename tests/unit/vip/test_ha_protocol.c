/* SPDX-License-Identifier: Apache-2.0
 * Messages between postroadd and postroad-ha: there and back, and nothing else is taken for one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/vip/ha_fixture.h"

static const enum ha_type types[] = { HA_HELLO,      HA_TABLE,      HA_HEALTH,     HA_BEAT,       HA_COROSYNC,
				      HA_PROBE,      HA_FLOWS_LIST, HA_FLOWS_KEEP, HA_FLOWS_DROP, HA_FLOWS_OPEN,
				      HA_FLOWS_TAKE, HA_FLOWS_LOST, HA_WELCOME,    HA_REPORT,     HA_ERROR,
				      HA_DONE,       HA_PROBED,     HA_FLOWS };

static struct str encode(struct ha_message *m, struct sbuf *out)
{
	const char *why = ha_encode(m, out);

	if (why != NULL)
		print_error("type %d: %s\n", (int)m->type, why);
	assert_null(why);
	return (struct str) { out->p, out->n };
}

/* Decodes from memory of just that size, so that a read behind it is seen. */
static const char *decode(struct str in, struct ha_message *ret)
{
	char *copy = xmalloc(in.n + 1);

	if (in.n > 0)
		memcpy(copy, in.p, in.n);
	char *end = xrealloc(copy, in.n > 0 ? in.n : 1);
	const char *why = ha_decode((struct str) { end, in.n }, ret);
	free(end);
	return why;
}

static void each_message_comes_back_as_it_was(void **state)
{
	UNUSED(state);
	struct ha_message *back = xcalloc(1, sizeof(*back));
	struct sbuf one = { 0 }, two = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct ha_message *m = message_of(types[i]);
		struct str bytes = encode(m, &one);
		assert_null(decode(bytes, back));
		assert_int_equal(back->type, types[i]);
		assert_true(str_eq(encode(back, &two), bytes));
		free(m);
	}
	sbuf_fini(&one);
	sbuf_fini(&two);
	free(back);
}

static void a_table_comes_back_field_by_field(void **state)
{
	UNUSED(state);
	struct ha_message *m = message_of(HA_TABLE), *back = xcalloc(1, sizeof(*back));
	struct sbuf bytes = { 0 };

	assert_null(decode(encode(m, &bytes), back));
	const struct ha_vip *v = ha_table_find(&back->table, "out-b");
	assert_non_null(v);
	assert_int_equal(back->table.generation, 7);
	assert_string_equal(v->interface, "eth0");
	assert_true(v->vrid == 52 && v->priority == 250 && v->advert_ms == 200 && v->garp_s == 60 && !v->failback);
	assert_true(v->n_peers == 2 && addr_eq_ip(&v->peers[1], &m->table.vips[1].peers[1]));
	assert_true(v->n_addresses == 2 && addr_eq_ip(&v->addresses[1].ip, &m->table.vips[1].addresses[1].ip));
	assert_int_equal(v->addresses[1].bits, 64);
	assert_null(ha_table_find(&back->table, "out-c"));
	sbuf_fini(&bytes);
	free(m);
	free(back);
}

static void a_message_cut_anywhere_or_with_more_behind_is_none(void **state)
{
	UNUSED(state);
	struct ha_message *back = xcalloc(1, sizeof(*back));
	struct sbuf bytes = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct ha_message *m = message_of(types[i]);
		struct str whole = encode(m, &bytes);
		for (size_t n = 0; n < whole.n; n++) {
			assert_non_null(decode((struct str) { whole.p, n }, back));
			/* Also where its head says that it is that long. */
			struct sbuf cut = { 0 };
			sbuf_add(&cut, whole.p, n);
			if (n >= HA_HEAD_LEN) {
				cut.p[4] = (char)(uint8_t)n;
				cut.p[5] = (char)(uint8_t)(n >> 8);
				assert_non_null(decode((struct str) { cut.p, n }, back));
			}
			sbuf_fini(&cut);
		}
		sbuf_putc(&bytes, 0);
		assert_non_null(decode((struct str) { bytes.p, bytes.n }, back));
		free(m);
	}
	sbuf_fini(&bytes);
	free(back);
}

static void what_has_one_byte_changed_is_refused_or_obeys_the_rules(void **state)
{
	UNUSED(state);
	struct ha_message *back = xcalloc(1, sizeof(*back));
	struct sbuf bytes = { 0 }, again = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct ha_message *m = message_of(types[i]);
		struct str whole = encode(m, &bytes);
		for (size_t at = 0; at < whole.n * 4; at++) {
			static const uint8_t flips[] = { 0x01, 0x80, 0xff, 0x20 };
			bytes.p[at / 4] ^= (char)flips[at % 4];
			if (decode(whole, back) == NULL)
				assert_true(str_eq(encode(back, &again), whole));
			bytes.p[at / 4] ^= (char)flips[at % 4];
		}
		free(m);
	}
	sbuf_fini(&bytes);
	sbuf_fini(&again);
	free(back);
}

static void another_version_is_known_as_such(void **state)
{
	UNUSED(state);
	struct ha_message *m = message_of(HA_HELLO);
	struct sbuf bytes = { 0 };
	struct str whole = encode(m, &bytes);

	assert_false(ha_other_version(whole));
	bytes.p[0] = HA_VERSION + 1;
	assert_true(ha_other_version(whole));
	assert_non_null(decode(whole, m));
	sbuf_fini(&bytes);
	free(m);
}

/* ---- rules ---- */

typedef void breaker(struct ha_message *m);

static void expect_refused(enum ha_type type, breaker *fn, const char *part)
{
	struct ha_message *m = message_of(type);
	struct sbuf bytes = { 0 };

	fn(m);
	const char *why = ha_encode(m, &bytes);
	if (why == NULL || strstr(why, part) == NULL)
		print_error("wanted \"%s\", got \"%s\"\n", part, why == NULL ? "nothing" : why);
	assert_non_null(why);
	assert_non_null(strstr(why, part));
	assert_int_equal(bytes.n, 0);
	sbuf_fini(&bytes);
	free(m);
}

#define BREAK(name, text)                                                                                              \
	static void name(struct ha_message *m)                                                                         \
	{                                                                                                              \
		text;                                                                                                  \
	}

BREAK(newline_in_name, memcpy(m->table.vips[0].name, "a\n}", 4))
BREAK(slash_in_name, memcpy(m->table.vips[0].name, "a/b", 4))
BREAK(dots_as_name, memcpy(m->table.vips[0].name, "..", 3))
BREAK(empty_name, m->table.vips[0].name[0] = '\0')
BREAK(quote_in_interface, memcpy(m->table.vips[0].interface, "e\"0", 4))
BREAK(blank_in_interface, memcpy(m->table.vips[0].interface, "e 0", 4))
BREAK(vrid_0, m->table.vips[0].vrid = 0)
BREAK(priority_255, m->table.vips[0].priority = 255)
BREAK(priority_0, m->table.vips[0].priority = 0)
BREAK(advert_40, m->table.vips[0].advert_ms = 40)
BREAK(advert_205, m->table.vips[0].advert_ms = 205)
BREAK(garp_3601, m->table.vips[0].garp_s = 3601)
BREAK(no_source, m->table.vips[0].source.sa.sa_family = 0)
BREAK(multicast_source, m->table.vips[0].source = ip_of("224.0.0.18"))
BREAK(peer_of_other_family, m->table.vips[0].peers[0] = ip_of("2001:db8::2"))
BREAK(peer_is_source, m->table.vips[0].peers[0] = ip_of("192.0.2.1"))
BREAK(peer_twice, m->table.vips[0].peers[0] = m->table.vips[0].peers[1])
BREAK(bits_33, m->table.vips[0].addresses[0].bits = 33)
BREAK(bits_0, m->table.vips[0].addresses[0].bits = 0)
BREAK(loopback_vip, m->table.vips[0].addresses[0].ip = ip_of("127.0.0.1"))
BREAK(mapped_vip, m->table.vips[0].addresses[1].ip = ip_of("::ffff:192.0.2.9"))
BREAK(vip_is_source, m->table.vips[0].addresses[0].ip = ip_of("192.0.2.1"))
BREAK(vip_is_peer, m->table.vips[0].addresses[0].ip = ip_of("192.0.2.3"))
BREAK(no_address_of_family,
      m->table.vips[0].addresses[0] = (m->table.vips[0].n_addresses = 1, m->table.vips[0].addresses[1]))
BREAK(two_of_one_name, memcpy(m->table.vips[0].name, "out-b", 6))
BREAK(two_of_one_vrid, m->table.vips[0].vrid = 52)
BREAK(two_of_one_address, m->table.vips[0].addresses[1] = m->table.vips[1].addresses[1])
BREAK(address_twice, m->table.vips[0].addresses[1] = m->table.vips[0].addresses[0])

static void a_table_that_breaks_a_rule_is_refused_with_the_reason(void **state)
{
	UNUSED(state);
	static const struct {
		breaker *fn;
		const char *part;
	} cases[] = {
		{ newline_in_name, "name of a VIP" },
		{ slash_in_name, "name of a VIP" },
		{ dots_as_name, "name of a VIP" },
		{ empty_name, "name of a VIP" },
		{ quote_in_interface, "interface" },
		{ blank_in_interface, "interface" },
		{ vrid_0, "VRID" },
		{ priority_255, "priority" },
		{ priority_0, "priority" },
		{ advert_40, "advert" },
		{ advert_205, "advert" },
		{ garp_3601, "gratuitous" },
		{ no_source, "source" },
		{ multicast_source, "source" },
		{ peer_of_other_family, "family" },
		{ peer_is_source, "this node's address" },
		{ peer_twice, "two peers" },
		{ bits_33, "not one that a machine" },
		{ bits_0, "not one that a machine" },
		{ loopback_vip, "not one that a machine" },
		{ mapped_vip, "not one that a machine" },
		{ vip_is_source, "this node's own" },
		{ vip_is_peer, "a peer's own" },
		{ no_address_of_family, "no address of its source's family" },
		{ two_of_one_name, "one name" },
		{ two_of_one_vrid, "one VRID" },
		{ two_of_one_address, "two VIPs have one address" },
		{ address_twice, "address twice" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect_refused(HA_TABLE, cases[i].fn, cases[i].part);
}

BREAK(key_short, m->corosync.key_len = HA_KEY_MIN - 1)
BREAK(cluster_brace, memcpy(m->corosync.cluster, "a{", 3))
BREAK(node_0, m->corosync.nodes[1].id = 0)
BREAK(node_twice, m->corosync.nodes[1].id = 1)
BREAK(node_name_twice, memcpy(m->corosync.nodes[1].name, "n1", 3))
BREAK(node_address_twice, m->corosync.nodes[1].links[0] = m->corosync.nodes[0].links[0])
BREAK(links_differ, m->corosync.nodes[1].n_links = 2)
BREAK(verb_unknown, m->corosync.verb = HA_COROSYNC_VERB_END)
BREAK(generation_0, m->corosync.generation = 0)
BREAK(start_with_generation, m->corosync.verb = HA_COROSYNC_START)
BREAK(reason_newline, memcpy(m->health.vips[0].reason, "a\nb", 4))
BREAK(health_twice, memcpy(m->health.vips[0].name, "out-b", 6))
BREAK(keep_forever, m->about.seconds = 0)
BREAK(list_with_seconds, m->about.seconds = 1)
BREAK(flow_no_port, addr_set_port(&m->flows.list[0].remote, 0))
BREAK(flow_families, m->flows.list[0].remote = endpoint_of("[2001:db8::1]:25"))
BREAK(flow_owner_family, m->flows.owner = ip_of("2001:db8::1"))
BREAK(take_no_owner, memset(&m->flows.owner, 0, sizeof(m->flows.owner)))
BREAK(open_with_flows, m->flows.n = 1)
BREAK(more_present_than_there, m->report.vips[0].present = 3)

static void other_messages_that_break_a_rule_are_refused_with_the_reason(void **state)
{
	UNUSED(state);
	expect_refused(HA_COROSYNC, key_short, "key");
	expect_refused(HA_COROSYNC, cluster_brace, "name");
	expect_refused(HA_COROSYNC, node_0, "number or name");
	expect_refused(HA_COROSYNC, node_twice, "two nodes");
	expect_refused(HA_COROSYNC, node_name_twice, "two nodes");
	expect_refused(HA_COROSYNC, node_address_twice, "two nodes");
	expect_refused(HA_COROSYNC, links_differ, "numbers of links");
	expect_refused(HA_COROSYNC, verb_unknown, "verb");
	expect_refused(HA_COROSYNC, generation_0, "generation");
	expect_refused(HA_COROSYNC, start_with_generation, "generation");
	expect_refused(HA_HEALTH, reason_newline, "characters");
	expect_refused(HA_HEALTH, health_twice, "twice");
	expect_refused(HA_FLOWS_KEEP, keep_forever, "time");
	expect_refused(HA_FLOWS_LIST, list_with_seconds, "time");
	expect_refused(HA_FLOWS_TAKE, flow_no_port, "port");
	expect_refused(HA_FLOWS_TAKE, flow_families, "two machines");
	expect_refused(HA_FLOWS_TAKE, flow_owner_family, "family");
	expect_refused(HA_FLOWS_TAKE, take_no_owner, "owner");
	expect_refused(HA_FLOWS_OPEN, open_with_flows, "before they are there");
	expect_refused(HA_REPORT, more_present_than_there, "report");
}

static void the_largest_table_and_the_most_flows_fit(void **state)
{
	UNUSED(state);
	struct ha_message *m = message_of(HA_TABLE);
	struct sbuf bytes = { 0 };

	m->table.n = HA_VIPS_MAX;
	for (unsigned i = 0; i < HA_VIPS_MAX; i++) {
		struct ha_vip *v = &m->table.vips[i];
		*v = vip_of("x", (uint8_t)(i + 1), "192.0.2.1");
		memset(v->name, 'x', HA_NAME_MAX);
		snprintf(v->name, 6, "n%u", i);
		v->name[strlen(v->name)] = '-';
		v->source = ip_of("2001:db8:1::1");
		for (v->n_peers = 0; v->n_peers < HA_PEERS_MAX; v->n_peers++) {
			v->peers[v->n_peers] = ip_of("2001:db8:2::1");
			v->peers[v->n_peers].in6.sin6_addr.s6_addr[15] = (uint8_t)v->n_peers;
		}
		for (v->n_addresses = 0; v->n_addresses < HA_ADDRESSES_MAX; v->n_addresses++) {
			v->addresses[v->n_addresses] = (struct ha_address) { ip_of("2001:db8:3::1"), 64 };
			v->addresses[v->n_addresses].ip.in6.sin6_addr.s6_addr[14] = (uint8_t)i;
			v->addresses[v->n_addresses].ip.in6.sin6_addr.s6_addr[15] = (uint8_t)v->n_addresses;
		}
	}
	encode(m, &bytes);
	free(m);
	m = message_of(HA_FLOWS_TAKE);
	m->flows.owner = ip_of("2001:db8::9");
	for (m->flows.n = 0; m->flows.n < HA_FLOWS_MAX; m->flows.n++)
		m->flows.list[m->flows.n] =
			(struct ha_flow) { endpoint_of("[2001:db8::1]:25"), endpoint_of("[2001:db8::2]:9") };
	encode(m, &bytes);
	free(m);
	sbuf_fini(&bytes);
}

static void any_text_becomes_one_that_may_be_sent(void **state)
{
	UNUSED(state);
	char out[HA_TEXT_MAX + 1], in[600];

	ha_text(out, "a\nb\x7f\xc3\xa9 c");
	assert_string_equal(out, "a?b??? c");
	memset(in, 'x', sizeof(in));
	in[sizeof(in) - 1] = '\0';
	ha_text(out, in);
	assert_int_equal(strlen(out), HA_TEXT_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_message_comes_back_as_it_was),
		cmocka_unit_test(a_table_comes_back_field_by_field),
		cmocka_unit_test(a_message_cut_anywhere_or_with_more_behind_is_none),
		cmocka_unit_test(what_has_one_byte_changed_is_refused_or_obeys_the_rules),
		cmocka_unit_test(another_version_is_known_as_such),
		cmocka_unit_test(a_table_that_breaks_a_rule_is_refused_with_the_reason),
		cmocka_unit_test(other_messages_that_break_a_rule_are_refused_with_the_reason),
		cmocka_unit_test(the_largest_table_and_the_most_flows_fit),
		cmocka_unit_test(any_text_becomes_one_that_may_be_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

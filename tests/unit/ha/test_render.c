/* SPDX-License-Identifier: Apache-2.0
 * keepalived.conf from typed data.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agents/ha/render.h"
#include "tests/unit/vip/ha_fixture.h"

static void expect_part(const struct sbuf *b, const char *part)
{
	if (strstr(b->p, part) == NULL)
		print_error("not there: \"%s\" in\n%s\n", part, b->p);
	assert_non_null(strstr(b->p, part));
}

static void an_instance_has_one_address_in_its_adverts_and_the_others_beside(void **state)
{
	UNUSED(state);
	struct ha_message *m = message_of(HA_TABLE);
	struct sbuf b = { 0 };

	render_keepalived(&m->table, "/run/ha", &b);
	expect_part(
		&b,
		"vrrp_instance VIP_out-a {\n\tstate BACKUP\n\tinterface eth0\n\tvirtual_router_id 51\n\tpriority 250\n"
		"\tadvert_int 0.20\n\tnopreempt\n\tgarp_master_refresh 60\n\tunicast_src_ip 192.0.2.1\n"
		"\tunicast_peer {\n\t\t192.0.2.2\n\t\t192.0.2.3\n\t}\n"
		"\ttrack_file {\n\t\tVIP_out-a\n\t}\n"
		"\tvirtual_ipaddress {\n\t\t192.0.2.101/24 dev eth0\n\t}\n"
		"\tvirtual_ipaddress_excluded {\n\t\t2001:db8::33/64 dev eth0\n\t}\n}\n");
	expect_part(&b, "track_file VIP_out-a {\n\tfile \"/run/ha/track/out-a\"\n\tweight 0 reverse\n}\n");
	expect_part(&b, "vrrp_instance VIP_out-b {");
	expect_part(&b, "vrrp_version 3\n");
	sbuf_fini(&b);
	free(m);
}

static void nothing_in_the_file_lets_the_kernel_kill_it(void **state)
{
	UNUSED(state);
	struct ha_message *m = message_of(HA_TABLE);
	struct sbuf b = { 0 };

	render_keepalived(&m->table, "/run/ha", &b);
	assert_null(strstr(b.p, "rt_priority"));
	sbuf_fini(&b);
	free(m);
}

static void the_address_in_the_adverts_is_of_the_sources_family(void **state)
{
	UNUSED(state);
	struct ha_message *m = message_of(HA_TABLE);
	struct sbuf b = { 0 };
	struct ha_vip *v = &m->table.vips[0];

	m->table.n = 1;
	v->source = ip_of("2001:db8::1");
	v->peers[0] = ip_of("2001:db8::2");
	v->n_peers = 1;
	v->failback = true;
	v->advert_ms = 1050;
	render_keepalived(&m->table, "/run/ha", &b);
	expect_part(&b, "\tvirtual_ipaddress {\n\t\t2001:db8::33/64 dev eth0\n\t}\n"
			"\tvirtual_ipaddress_excluded {\n\t\t192.0.2.101/24 dev eth0\n\t}\n");
	expect_part(&b, "\tadvert_int 1.05\n\tgarp");
	assert_null(strstr(b.p, "nopreempt"));
	sbuf_fini(&b);
	free(m);
}

/* Another kind of instance than with peers would be restarted when the first one comes. */
static void without_peers_the_group_is_in_their_place(void **state)
{
	UNUSED(state);
	struct ha_message *m = message_of(HA_TABLE);
	struct sbuf b = { 0 };

	m->table.n = 1;
	m->table.vips[0].n_peers = 0;
	render_keepalived(&m->table, "/run/ha", &b);
	expect_part(&b, "\tunicast_src_ip 192.0.2.1\n\tunicast_peer {\n\t\t224.0.0.18\n\t}\n");
	assert_null(strstr(b.p, "mcast"));
	sbuf_reset(&b);
	m->table.vips[0].source = ip_of("2001:db8::1");
	render_keepalived(&m->table, "/run/ha", &b);
	expect_part(&b, "\tunicast_src_ip 2001:db8::1\n\tunicast_peer {\n\t\tff02::12\n\t}\n");
	sbuf_fini(&b);
	free(m);
}

static void a_vip_more_changes_nothing_of_the_others(void **state)
{
	UNUSED(state);
	struct ha_message *m = message_of(HA_TABLE);
	struct sbuf two = { 0 }, one = { 0 };

	render_keepalived(&m->table, "/run/ha", &two);
	m->table.n = 1;
	render_keepalived(&m->table, "/run/ha", &one);
	const char *instance = strstr(one.p, "vrrp_instance");
	assert_non_null(instance);
	assert_non_null(strstr(two.p, instance));
	sbuf_fini(&one);
	sbuf_fini(&two);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_instance_has_one_address_in_its_adverts_and_the_others_beside),
		cmocka_unit_test(nothing_in_the_file_lets_the_kernel_kill_it),
		cmocka_unit_test(the_address_in_the_adverts_is_of_the_sources_family),
		cmocka_unit_test(without_peers_the_group_is_in_their_place),
		cmocka_unit_test(a_vip_more_changes_nothing_of_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

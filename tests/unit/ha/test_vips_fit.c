/* SPDX-License-Identifier: Apache-2.0
 * Which VIPs a machine can have: never one that would take its own addresses away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <net/if.h>

#include "agents/ha/vips_private.h"
#include "tests/unit/vip/ha_fixture.h"

enum { ETH = 4711 };

static struct kernel_address list[2];
static struct kernel kernel = { .n = 2, .list = list };
static struct ha_message *in_force, *left;
static struct vips vips;

/* A machine that has the source, and this address. */
static const struct ha_vip *machine(int interface, const char *ip, bool leased)
{
	static struct ha_vip vip;

	vip = vip_of("a", 51, "192.0.2.101");
	snprintf(vip.interface, sizeof(vip.interface), "lo");
	list[0] = (struct kernel_address) { .interface = ETH, .ip = ip_of("192.0.2.1"), .bits = 24 };
	list[1] = (struct kernel_address) { .interface = interface, .ip = ip_of(ip), .bits = 24, .leased = leased };
	memset(&in_force->table, 0, sizeof(in_force->table));
	memset(&left->table, 0, sizeof(left->table));
	vips = (struct vips) { .kernel = &kernel, .table = &in_force->table };
	return &vip;
}

static void a_vip_that_nobody_has_fits(void **state)
{
	UNUSED(state);
	char why[HA_TEXT_MAX + 1];

	assert_true(vips_fits(&vips, machine(ETH, "192.0.2.7", false), why));
}

static void an_address_of_the_machine_is_refused_whatever_its_interface(void **state)
{
	UNUSED(state);
	char why[HA_TEXT_MAX + 1] = "";

	assert_false(vips_fits(&vips, machine(ETH, "192.0.2.101", false), why));
	assert_string_equal(why, "VIP a: 192.0.2.101 is the machine's own address already");
	assert_false(vips_fits(&vips, machine(ETH + 1, "192.0.2.101", true), why));
	assert_false(vips_fits(&vips, machine(ETH, "2001:db8::33", false), why));
	assert_false(vips_fits(&vips, machine((int)if_nametoindex("lo"), "192.0.2.101", false), why));
}

static void what_is_ours_is_no_obstacle(void **state)
{
	UNUSED(state);
	char why[HA_TEXT_MAX + 1];
	const struct ha_vip *vip = machine(ETH, "192.0.2.101", true);

	in_force->table = (struct ha_table) { .n = 1, .vips = { *vip } };
	assert_true(vips_fits(&vips, vip, why));
	vip = machine(ETH, "192.0.2.101", false);
	left->table = (struct ha_table) { .n = 1, .vips = { *vip } };
	vips.left = &left->table;
	assert_true(vips_fits(&vips, vip, why));
	/* Kept while its flows end. */
	assert_true(vips_fits(&vips, machine((int)if_nametoindex("lo"), "192.0.2.101", true), why));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vip_that_nobody_has_fits),
		cmocka_unit_test(an_address_of_the_machine_is_refused_whatever_its_interface),
		cmocka_unit_test(what_is_ours_is_no_obstacle),
	};

	in_force = xcalloc(1, sizeof(*in_force));
	left = xcalloc(1, sizeof(*left));
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(in_force);
	free(left);
	return failed;
}

/* SPDX-License-Identifier: Apache-2.0
 * What a node says of why it does not have a VIP: the table that postroad-ha is told, and what it answers, are played.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "daemon/cluster/vips_private.h"

enum { NOW = 50000 };

static struct ha_report report;
static bool answers;
static size_t n_told;
static char warned[HA_TEXT_MAX + 1];

int64_t vips_now(const struct vips *v)
{
	UNUSED(v);
	return NOW;
}

const struct ha_report *vips_ha_report(const struct vips *v)
{
	UNUSED(v);
	return answers ? &report : NULL;
}

bool vips_ha_request(struct vips *v, struct ha_message *m, vips_ha_answer_fn *fn, void *arg)
{
	UNUSED(v);
	UNUSED(m);
	UNUSED(fn);
	UNUSED(arg);
	return false;
}

const char *vips_state_name(enum ha_state s)
{
	UNUSED(s);
	return "";
}

void api_warn(struct api *api, const char *key, const char *text)
{
	UNUSED(api);
	if (strcmp(key, "vip/a") == 0)
		snprintf(warned, sizeof(warned), "%s", text != NULL ? text : "");
}

void api_event(struct api *api, const char *type, json_t *fields)
{
	UNUSED(api);
	UNUSED(type);
	json_decref(fields);
}

uint64_t store_position(const struct store *s)
{
	UNUSED(s);
	return 7;
}

const char *ha_client_set_table(struct ha_client *c, const struct ha_table *t)
{
	UNUSED(c);
	n_told = t->n;
	return NULL;
}

const char *ha_client_set_health(struct ha_client *c, const struct ha_health *h)
{
	UNUSED(c);
	UNUSED(h);
	return NULL;
}

/* ---- a node alone with one VIP ---- */

static struct vips v;
static struct vips_item item;
static struct ha_table table;

static struct addr ip_of(const char *text)
{
	struct addr a;

	assert_true(addr_parse_ip(text, &a));
	return a;
}

static void tell(const char *source)
{
	v = (struct vips) { .n_items = 1, .items = { &item }, .table = &table };
	item = (struct vips_item) { .vips = &v, .name = "a", .source4 = ip_of(source) };
	item.vip = (struct vip) { .name = "a", .interface = "eth0", .vrid = 51, .advert_ms = 200, .n_addresses = 1 };
	item.vip.addresses[0].ip = ip_of("192.0.2.10");
	item.vip.addresses[0].bits = 24;
	item.vip.n_order = 1;
	item.vip.order[0] = 1;
	item.nodes = (struct vip_nodes) { .self = 1, .n = 1, .list = { { .id = 1, .name = "n1" } } };
	item.nodes.list[0].address4 = item.source4;
	answers = report.keepalived = true;
	ha_tell_table(&v);
	sbuf_fini(&v.table_bytes);
}

static void what_is_in_the_table_is_not_hindered(void **state)
{
	(void)state;
	tell("192.0.2.1");
	assert_int_equal(n_told, 1);
	assert_string_equal(warned, "");
	assert_null(ha_hinders(&item));
}

static void what_is_left_out_of_the_table_says_what_the_warning_says(void **state)
{
	(void)state;
	tell("127.0.0.1");
	assert_int_equal(n_told, 0);
	assert_non_null(strstr(warned, "source address"));
	assert_string_equal(ha_hinders(&item), warned);
	tell("192.0.2.1");
	assert_null(ha_hinders(&item));
}

static void who_sees_to_the_table_and_does_not_is_named(void **state)
{
	(void)state;
	tell("192.0.2.1");
	report.keepalived = false;
	assert_non_null(strstr(ha_hinders(&item), "keepalived"));
	answers = false;
	assert_non_null(strstr(ha_hinders(&item), "postroad-ha"));
	answers = report.keepalived = v.table_refused = true;
	snprintf(v.refusal, sizeof(v.refusal), "no interface eth0");
	assert_string_equal(ha_hinders(&item), "no interface eth0");
	/* What was in force before stays so. */
	item.holds = true;
	assert_null(ha_hinders(&item));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_in_the_table_is_not_hindered),
		cmocka_unit_test(what_is_left_out_of_the_table_says_what_the_warning_says),
		cmocka_unit_test(who_sees_to_the_table_and_does_not_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Messages that obey the rules, for tests to break.
 */
#ifndef POSTROAD_TESTS_UNIT_VIP_HA_FIXTURE_H
#define POSTROAD_TESTS_UNIT_VIP_HA_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "cluster/vip/ha_protocol.h"

static inline struct addr ip_of(const char *text)
{
	struct addr a;

	ASSERT(addr_parse_ip(text, &a));
	return a;
}

static inline struct addr endpoint_of(const char *text)
{
	struct addr a;

	ASSERT(addr_parse(text, 0, &a));
	return a;
}

static inline struct ha_vip vip_of(const char *name, uint8_t vrid, const char *address)
{
	struct ha_vip v = { .vrid = vrid,
			    .priority = 250,
			    .advert_ms = 200,
			    .garp_s = 60,
			    .source = ip_of("192.0.2.1"),
			    .n_peers = 2,
			    .peers = { ip_of("192.0.2.2"), ip_of("192.0.2.3") },
			    .n_addresses = 2 };

	snprintf(v.name, sizeof(v.name), "%s", name);
	snprintf(v.interface, sizeof(v.interface), "eth0");
	v.addresses[0] = (struct ha_address) { ip_of(address), 24 };
	v.addresses[1] = (struct ha_address) { ip_of("2001:db8::10"), 64 };
	v.addresses[1].ip.in6.sin6_addr.s6_addr[15] = vrid;
	return v;
}

/* On the heap: a message is large. */
static inline struct ha_message *message_of(enum ha_type type)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));

	m->type = type;
	switch (type) {
	case HA_HELLO:
		snprintf(m->hello.node, sizeof(m->hello.node), "n1");
		break;
	case HA_TABLE:
		m->table = (struct ha_table) { .generation = 7, .n = 2 };
		m->table.vips[0] = vip_of("out-a", 51, "192.0.2.101");
		m->table.vips[1] = vip_of("out-b", 52, "192.0.2.102");
		break;
	case HA_HEALTH:
		m->health.n = 2;
		snprintf(m->health.vips[0].name, 9, "out-a");
		snprintf(m->health.vips[1].name, 9, "out-b");
		m->health.vips[0].up = true;
		snprintf(m->health.vips[1].reason, 30, "the node is drained");
		break;
	case HA_COROSYNC:
		m->corosync = (struct ha_corosync) { .ticket = 3,
						     .verb = HA_COROSYNC_STAGE,
						     .generation = 4,
						     .cluster = "mail",
						     .n = 2,
						     .key_len = HA_KEY_MIN };
		for (unsigned i = 0; i < 2; i++) {
			struct ha_corosync_node *n = &m->corosync.nodes[i];
			*n = (struct ha_corosync_node) { .id = i + 1, .n_links = 1, .links = { ip_of("10.0.0.1") } };
			snprintf(n->name, sizeof(n->name), "n%u", i + 1);
			n->links[0].in.sin_addr.s_addr += htonl(i);
		}
		memset(m->corosync.key, 0xa5, HA_KEY_MIN);
		break;
	case HA_FLOWS_OPEN:
	case HA_FLOWS_TAKE:
	case HA_FLOWS:
		m->flows = (struct ha_flows) {
			.ticket = 9, .vip = "out-a", .last = true, .owner = ip_of("192.0.2.2"), .seconds = 60
		};
		m->flows.n = type == HA_FLOWS_OPEN ? 0 : 1;
		m->flows.list[0] =
			(struct ha_flow) { endpoint_of("192.0.2.101:25"), endpoint_of("198.51.100.7:40000") };
		break;
	case HA_FLOWS_LOST:
		m->lost.owner = ip_of("192.0.2.2");
		break;
	case HA_REPORT:
		m->report = (struct ha_report) { .generation = 7, .keepalived = true, .n = 1 };
		m->report.vips[0] = (struct ha_report_vip) { .name = "out-a",
							     .addresses = 2,
							     .present = 1,
							     .up = true,
							     .state = HA_STATE_MASTER,
							     .priority = 250,
							     .since_ms = 12 };
		break;
	case HA_ERROR:
	case HA_DONE:
		m->outcome = (struct ha_outcome) {
			.ticket = 3, .about = HA_TABLE, .generation = 7, .text = "there is no interface"
		};
		break;
	case HA_PROBED:
		m->probed =
			(struct ha_probed) { .ticket = 5, .vip = "out-a", .seen = true, .mac = { 2, 0, 0, 0, 0, 1 } };
		break;
	case HA_PROBE:
	case HA_FLOWS_LIST:
	case HA_FLOWS_KEEP:
	case HA_FLOWS_DROP:
		m->about = (struct ha_about) { .ticket = 6, .vip = "out-a", .seconds = type == HA_FLOWS_KEEP ? 30 : 0 };
		break;
	case HA_WELCOME:
		snprintf(m->welcome.program, 20, "postroad-ha 1");
		break;
	case HA_BEAT:
	case HA_REQUEST_END:
	case HA_ANSWER_END:
	default:
		break;
	}
	return m;
}

#endif

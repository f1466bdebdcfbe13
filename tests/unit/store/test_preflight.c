/* SPDX-License-Identifier: Apache-2.0
 * Before a machine becomes a node: each trouble is named, with what to do, and nothing else is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/members/preflight.h"

static struct addr ip(const char *text)
{
	struct addr a;

	assert_true(addr_parse_ip(text, &a));
	return a;
}

/* A machine on which all is well, joining. */
static struct preflight_facts fine(void)
{
	struct preflight_facts f = { .port = 5405,
				     .addresses = "10.0.0.1, 10.1.0.1",
				     .shm_mib = UINT_MAX,
				     .n_links = 2,
				     .has_peer = true,
				     .peer_name = "n1",
				     .version = "2.0",
				     .peer_version = "2.1",
				     .features_low = 1,
				     .features_high = 2,
				     .level = 2 };
	f.links[0] = (struct preflight_link) { .addr = ip("10.0.0.1"),
					       .here = true,
					       .interface = "eth0",
					       .mtu = 1500,
					       .peer_mtu = 1500,
					       .peer = ip("10.0.0.2") };
	f.links[1] = f.links[0];
	f.links[1].addr = ip("10.1.0.1");
	memcpy(f.links[1].interface, "eth1", 5);
	f.n_heard = f.n_wanted = 1;
	f.heard[0].vrid = 7;
	f.heard[0].from = ip("10.0.0.9");
	f.wanted[0] = 8;
	return f;
}

static void nothing_is_said_of_a_machine_that_is_fit(void **state)
{
	UNUSED(state);
	struct preflight_finding found[PREFLIGHT_FINDINGS_MAX];
	struct preflight_facts f = fine();

	assert_int_equal(preflight_judge(&f, found), 0);
	f.clock_ahead = -2;
	f.links[0].peer_reached = PREFLIGHT_YES;
	f.links[1].mtu = f.links[1].peer_mtu = 9000;
	f.links[0].peer_mtu = 0;
	assert_int_equal(preflight_judge(&f, found), 0);
}

static void spoil(struct preflight_facts *f, unsigned i)
{
	switch (i) {
	case 0:
		f->corosync_pid = 77;
		f->corosync_enabled = f->corosync_conf = true;
		memcpy(f->corosync_cluster, "debian", 7);
		break;
	case 1:
		f->corosync_enabled = f->corosync_conf = true;
		break;
	case 2:
		f->corosync_conf = true;
		break;
	case 3:
		f->keepalived_pid = 78;
		break;
	case 4:
		f->port_used[1] = true;
		break;
	case 5:
		f->shm_mib = 31;
		break;
	case 6:
		f->links[0].addr = ip("127.0.0.1");
		break;
	case 7:
		f->links[0].addr = ip("fe80::1");
		break;
	case 8:
		f->links[1].here = false;
		break;
	case 9:
		memcpy(f->links[1].interface, "eth0", 5);
		break;
	case 10:
		f->links[0].mtu = f->links[0].peer_mtu = 1279;
		break;
	case 11:
		f->links[0].peer_mtu = 9000;
		break;
	case 12:
		f->links[1].peer_reached = PREFLIGHT_NO;
		break;
	case 13:
		f->clock_ahead = 2.5;
		break;
	case 14:
		f->clock_ahead = -301;
		break;
	case 15:
		f->clock_ahead = __builtin_nan("");
		break;
	case 16:
		f->level = 3;
		break;
	case 17:
		f->features_low = 3;
		f->features_high = 4;
		break;
	default:
		f->wanted[0] = 7;
	}
}

static void each_trouble_is_named_with_what_to_do(void **state)
{
	UNUSED(state);
	static const struct {
		const char *id;
		enum preflight_severity severity;
		const char *found, *advice;
	} row[] = {
		{ "corosync-running", PREFLIGHT_ERROR, "process 77, cluster debian", "systemctl disable --now" },
		{ "corosync-enabled", PREFLIGHT_ERROR, "start with this machine", "systemctl disable" },
		{ "corosync-configured", PREFLIGHT_WARNING, "/etc/corosync/corosync.conf", "stays off" },
		{ "keepalived-running", PREFLIGHT_WARNING, "process 78", "systemctl disable --now" },
		{ "port-used", PREFLIGHT_ERROR, "5406", "ss -ulnp" },
		{ "shared-memory", PREFLIGHT_ERROR, "31 MiB", "--shm-size" },
		{ "address-unfit", PREFLIGHT_ERROR, "127.0.0.1", "give an address" },
		{ "address-unfit", PREFLIGHT_ERROR, "fe80::1", "give an address" },
		{ "address-elsewhere", PREFLIGHT_ERROR, "10.1.0.1 is not", "which has: 10.0.0.1, 10.1.0.1" },
		{ "links-share", PREFLIGHT_WARNING, "eth0", "use two networks" },
		{ "mtu-small", PREFLIGHT_ERROR, "1279", "at least 1280" },
		{ "mtu-differs", PREFLIGHT_WARNING, "9000", "Set both alike" },
		{ "peer-unreachable", PREFLIGHT_ERROR, "UDP port 5406", "protocol 112" },
		{ "clock", PREFLIGHT_WARNING, "2.5 s ahead of that of n1", "chrony" },
		{ "clock", PREFLIGHT_ERROR, "301 s behind", "set it" },
		{ "clock", PREFLIGHT_ERROR, "nan", "set it" },
		{ "version", PREFLIGHT_ERROR, "level 3", "Upgrade this node" },
		{ "version", PREFLIGHT_ERROR, "speaks 3 to 4", "Upgrade the cluster first" },
		{ "vrid-used", PREFLIGHT_ERROR, "id 7 is in use by 10.0.0.9", "another `vrid`" },
	};
	for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
		struct preflight_finding found[PREFLIGHT_FINDINGS_MAX];
		struct preflight_facts f = fine();

		spoil(&f, i);
		size_t n = preflight_judge(&f, found);
		if (n != 1 || strcmp(found[0].id, row[i].id) != 0 || found[0].severity != row[i].severity ||
		    strstr(found[0].text, row[i].found) == NULL || strstr(found[0].text, row[i].advice) == NULL)
			fail_msg("row %u: %zu findings, %s: %s", i, n, n > 0 ? found[0].id : "-",
				 n > 0 ? found[0].text : "-");
	}
}

static void errors_come_first(void **state)
{
	UNUSED(state);
	struct preflight_finding found[PREFLIGHT_FINDINGS_MAX];
	struct preflight_facts f = fine();

	spoil(&f, 2);
	spoil(&f, 3);
	spoil(&f, 4);
	spoil(&f, 18);
	assert_int_equal(preflight_judge(&f, found), 4);
	assert_string_equal(found[0].id, "port-used");
	assert_string_equal(found[1].id, "vrid-used");
	assert_string_equal(found[2].id, "corosync-configured");
	assert_string_equal(found[3].id, "keepalived-running");
}

static void findings_are_bounded(void **state)
{
	UNUSED(state);
	struct preflight_finding found[PREFLIGHT_FINDINGS_MAX];
	struct preflight_facts f = fine();

	f.n_heard = f.n_wanted = PREFLIGHT_VRIDS_MAX;
	for (size_t i = 0; i < PREFLIGHT_VRIDS_MAX; i++) {
		f.wanted[i] = f.heard[i].vrid = 1;
		f.heard[i].from = ip("10.0.0.9");
	}
	assert_int_equal(preflight_judge(&f, found), PREFLIGHT_FINDINGS_MAX);
}

/* ---- looking ---- */

static void put(const char *root, const char *path, const char *text)
{
	char full[512];

	assert_true(snprintf(full, sizeof(full), "%s%s", root, path) < (int)sizeof(full));
	for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		(void)mkdir(full, 0700);
		*p = '/';
	}
	FILE *f = fopen(full, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void what_a_machine_says_of_itself_is_found(void **state)
{
	UNUSED(state);
	char root[] = "/tmp/preflight-XXXXXX", command[64];
	struct preflight_facts f;
	struct addr links[2] = { ip("127.0.0.1"), ip("192.0.2.77") };

	assert_non_null(mkdtemp(root));
	preflight_look(root, links, 2, 5405, &f);
	assert_true(f.corosync_pid == 0 && f.keepalived_pid == 0 && !f.corosync_conf && !f.corosync_enabled);
	assert_true(!f.port_used[0] && !f.port_used[1] && f.shm_mib == UINT_MAX);
	assert_true(f.links[0].here && !f.links[1].here && f.links[0].mtu == 0);
	assert_string_equal(f.links[0].interface, "lo");

	put(root, "/proc/12/comm", "sshd\n");
	put(root, "/proc/345/comm", "corosync\n");
	put(root, "/proc/77/comm", "keepalived\n");
	put(root, "/proc/net/udp", "  sl  local_address rem_address\n  12: 0100007F:151E 00000000:0000 07\n");
	put(root, "/proc/net/udp6", "  sl  local_address\n   3: 00000000000000000000000000000000:0035 0:0 07\n");
	put(root, "/run/corosync.pid", "12\n"); /* a leftover: another process has that number now */
	put(root, "/etc/corosync/corosync.conf", "totem {\n\tversion: 2\n\tcluster_name: debian\n}\n");
	put(root, "/etc/systemd/system/multi-user.target.wants/corosync.service", "");
	put(root, "/sys/class/net/lo/mtu", "65536\n");
	preflight_look(root, links, 2, 5405, &f);
	assert_int_equal(f.corosync_pid, 345);
	assert_int_equal(f.keepalived_pid, 77);
	assert_string_equal(f.corosync_cluster, "debian");
	assert_true(f.corosync_conf && f.corosync_enabled);
	assert_true(!f.port_used[0] && f.port_used[1]);
	assert_int_equal(f.links[0].mtu, 65536);
	put(root, "/run/corosync.pid", "345\n");
	preflight_look(root, links, 2, 53, &f);
	assert_int_equal(f.corosync_pid, 345);
	assert_int_equal(f.n_links, 2);
	assert_true(f.port_used[0]);
	/* Those of another life as a node, or of one that has VIPs already, are no strangers. */
	put(root, "/proc/345/cmdline", "corosync -f -c /etc/postroad/corosync/corosync.conf");
	put(root, "/proc/77/cmdline", "keepalived -n -f /run/postroad-ha/keepalived.conf");
	preflight_look(root, links, 2, 53, &f);
	assert_true(f.corosync_pid == 0 && f.keepalived_pid == 0 && !f.port_used[0]);

	assert_true(snprintf(command, sizeof(command), "rm -rf %s", root) > 0);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_said_of_a_machine_that_is_fit),
		cmocka_unit_test(each_trouble_is_named_with_what_to_do),
		cmocka_unit_test(errors_come_first),
		cmocka_unit_test(findings_are_bounded),
		cmocka_unit_test(what_a_machine_says_of_itself_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

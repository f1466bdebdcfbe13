/* SPDX-License-Identifier: Apache-2.0
 * What this machine says of itself before it becomes a node. Reads, and changes nothing.
 *
 * The hard thing: none of it is under a lock, and any file may be missing, half written or a leftover. A pid file is
 * believed only if a process of that name has that number.
 */
#include <ctype.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cluster/members/preflight.h"

enum { PATH_LEN = 512, LINE_LEN = 512, PROCESSES_MAX = 1 << 20 };

static bool path_of(char out[PATH_LEN], const char *root, const char *path)
{
	int n = snprintf(out, PATH_LEN, "%s%s", root, path);

	return n > 0 && n < PATH_LEN;
}

static FILE *opened(const char *root, const char *path)
{
	char full[PATH_LEN];

	return path_of(full, root, path) ? fopen(full, "re") : NULL;
}

/* Links that lead nowhere count, too: systemd's are such on other roots. */
static bool exists(const char *root, const char *path)
{
	char full[PATH_LEN], target[8];

	return path_of(full, root, path) && (access(full, F_OK) == 0 || readlink(full, target, sizeof(target)) >= 0);
}

static bool first_word(const char *root, const char *path, char *out, size_t max)
{
	FILE *f = opened(root, path);
	bool good = f != NULL && fgets(out, (int)max, f) != NULL;

	if (f != NULL)
		(void)fclose(f);
	if (good)
		out[strcspn(out, " \t\r\n")] = '\0';
	return good;
}

/* ---- processes ---- */

static bool is_called(const char *root, const char *pid, const char *name)
{
	char path[PATH_LEN], comm[32];

	if (snprintf(path, sizeof(path), "/proc/%.16s/comm", pid) < 0)
		return false;
	return first_word(root, path, comm, sizeof(comm)) && strcmp(comm, name) == 0;
}

/* Postroad's own have a file below a directory of its name. */
static bool is_ours(const char *root, const char *pid)
{
	char path[PATH_LEN], words[LINE_LEN];

	if (snprintf(path, sizeof(path), "/proc/%.16s/cmdline", pid) < 0)
		return false;
	FILE *f = opened(root, path);
	size_t n = f == NULL ? 0 : fread(words, 1, sizeof(words), f);
	if (f != NULL)
		(void)fclose(f);
	return memmem(words, n, "/postroad", 9) != NULL;
}

/* The first process of that name that is not ours, 0 = none; *ret_ours: there is one that is. */
static unsigned process_named(const char *root, const char *name, bool *ret_ours)
{
	char full[PATH_LEN];
	unsigned found = 0, seen = 0;
	DIR *d = path_of(full, root, "/proc") ? opendir(full) : NULL;
	const struct dirent *e;

	*ret_ours = false;
	while (d != NULL && found == 0 && seen++ < PROCESSES_MAX && (e = readdir(d)) != NULL) {
		if (!isdigit((unsigned char)e->d_name[0]) || !is_called(root, e->d_name, name))
			continue;
		if (is_ours(root, e->d_name))
			*ret_ours = true;
		else
			found = (unsigned)strtoul(e->d_name, NULL, 10);
	}
	if (d != NULL)
		(void)closedir(d);
	return found;
}

/* In another container it may not be seen in /proc by its folder, but by its number. */
static unsigned corosync_by_lock(const char *root)
{
	char pid[16];

	if (!first_word(root, "/run/corosync.pid", pid, sizeof(pid)) &&
	    !first_word(root, "/var/run/corosync.pid", pid, sizeof(pid)))
		return 0;
	return is_called(root, pid, "corosync") && !is_ours(root, pid) ? (unsigned)strtoul(pid, NULL, 10) : 0;
}

/* ---- a foreign cluster ---- */

static void read_cluster_name(const char *root, struct preflight_facts *ret)
{
	FILE *f = opened(root, "/etc/corosync/corosync.conf");
	char line[LINE_LEN], name[64];

	if (f == NULL)
		return;
	ret->corosync_conf = true;
	for (unsigned i = 0; i < 10000 && fgets(line, sizeof(line), f) != NULL; i++)
		if (sscanf(line, " cluster_name: %63s", name) == 1)
			snprintf(ret->corosync_cluster, sizeof(ret->corosync_cluster), "%s", name);
	(void)fclose(f);
}

static bool starts_with_the_machine(const char *root)
{
	return exists(root, "/etc/systemd/system/multi-user.target.wants/corosync.service") ||
	       exists(root, "/etc/systemd/system/default.target.wants/corosync.service");
}

/* ---- ports ---- */

/* Whether /proc/net/udp or udp6 names the local port. */
static bool port_in(const char *root, const char *path, unsigned port)
{
	FILE *f = opened(root, path);
	char line[LINE_LEN];
	bool found = false;

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
		unsigned local = 0;
		found = sscanf(line, " %*u: %*[0-9A-Fa-f]:%x", &local) == 1 && local == port;
	}
	if (f != NULL)
		(void)fclose(f);
	return found;
}

/* ---- addresses ---- */

static unsigned mtu_of(const char *root, const char *interface)
{
	char path[PATH_LEN], text[16];

	if (snprintf(path, sizeof(path), "/sys/class/net/%s/mtu", interface) < 0 ||
	    !first_word(root, path, text, sizeof(text)))
		return 0;
	return (unsigned)strtoul(text, NULL, 10);
}

static bool addr_of(const struct ifaddrs *i, struct addr *ret)
{
	*ret = (struct addr) { 0 };
	if (i->ifa_addr == NULL || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
		return false;
	memcpy(ret, i->ifa_addr,
	       i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
	return true;
}

static void name_address(const struct addr *a, struct preflight_facts *ret)
{
	char text[ADDR_TEXT_MAX];
	size_t n = strlen(ret->addresses);

	if (addr_is_loopback(a) || (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr)))
		return;
	addr_format_ip(a, text);
	if (n + strlen(text) + 3 < sizeof(ret->addresses))
		snprintf(ret->addresses + n, sizeof(ret->addresses) - n, "%s%s", n > 0 ? ", " : "", text);
}

static void look_at_addresses(const char *root, struct preflight_facts *ret)
{
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all) != 0)
		return;
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		struct addr a;
		if (!addr_of(i, &a))
			continue;
		name_address(&a, ret);
		for (size_t k = 0; k < ret->n_links; k++) {
			struct preflight_link *l = &ret->links[k];
			if (!addr_eq_ip(&l->addr, &a))
				continue;
			l->here = true;
			snprintf(l->interface, sizeof(l->interface), "%s", i->ifa_name);
			l->mtu = mtu_of(root, i->ifa_name);
		}
	}
	freeifaddrs(all);
}

static unsigned shm_free(const char *root)
{
	char full[PATH_LEN];
	struct statvfs s;

	if (!path_of(full, root, "/dev/shm") || statvfs(full, &s) != 0)
		return UINT_MAX;
	unsigned long long mib = (unsigned long long)s.f_bavail * s.f_frsize >> 20;
	return mib < UINT_MAX ? (unsigned)mib : UINT_MAX;
}

void preflight_look(const char *root, const struct addr *links, size_t n, unsigned port, struct preflight_facts *ret)
{
	bool ours;

	*ret = (struct preflight_facts) { .port = port, .n_links = n < PREFLIGHT_LINKS_MAX ? n : PREFLIGHT_LINKS_MAX };
	ret->keepalived_pid = process_named(root, "keepalived", &ours);
	ret->corosync_pid = process_named(root, "corosync", &ours);
	if (ret->corosync_pid == 0)
		ret->corosync_pid = corosync_by_lock(root);
	/* Our own corosync is stopped before a node begins anew. */
	for (size_t i = 0; i < ret->n_links; i++) {
		ret->links[i].addr = links[i];
		ret->port_used[i] = !ours && (port_in(root, "/proc/net/udp", port + (unsigned)i) ||
					      port_in(root, "/proc/net/udp6", port + (unsigned)i));
	}
	read_cluster_name(root, ret);
	ret->corosync_enabled = starts_with_the_machine(root);
	ret->shm_mib = shm_free(root);
	look_at_addresses(root, ret);
}

/* SPDX-License-Identifier: Apache-2.0
 * Two settings of an interface that an address on `lo` needs in IPv4: no answers (arp_ignore) and no questions
 * (arp_announce) by ARP in its name. IPv6 asks and answers for the interface's own addresses only, as it is.
 *
 * The hard thing is to put back what was there. It is noted where it lives as long as the settings themselves: in a map
 * of our table in the kernel. Both settings follow the address: once it is on the interface again, it is answered for,
 * also when nobody is there to undo anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agents/ha/flows/flows_private.h"

#define IGNORE_OTHERS 1 /* answer for addresses of the interface that was asked only */
#define ANNOUNCE_BEST 2 /* ask from an address of the interface in the network of who is asked */

static int path_of(char out[96], const char *name, const char *setting)
{
	return snprintf(out, 96, "/proc/sys/net/ipv4/conf/%s/%s", name, setting);
}

static int setting_get(const char *name, const char *setting)
{
	char path[96], digit = '\0';

	path_of(path, name, setting);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, &digit, 1);
	close(fd);
	return n == 1 && digit >= '0' && digit <= '9' ? digit - '0' : -1;
}

static int setting_put(const char *name, const char *setting, int value)
{
	char path[96], digit = (char)('0' + value);

	path_of(path, name, setting);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, &digit, 1);
	close(fd);
	return n == 1 ? 0 : -1;
}

/* The key is the interface's name, padded with NULs; the data is a number in the host's order. */
static bool noted(const struct element *e, char name[IF_NAMESIZE], uint32_t *ret)
{
	if (e->key_n != IF_NAMESIZE || e->data_n != sizeof(*ret) || e->key[IF_NAMESIZE - 1] != '\0')
		return false;
	memcpy(name, e->key, IF_NAMESIZE);
	memcpy(ret, e->data, sizeof(*ret));
	return true;
}

static int note(const char *name, int ignore, int announce, struct flows_why *why)
{
	char known[IF_NAMESIZE];
	struct element *list;
	struct text t = { 0 };
	uint32_t before;
	int n = flows_elements("settings", &list, why), rc = n < 0 ? -1 : 0;

	flows_text_table(&t);
	text_add(&t, "add element netdev " FLOWS_TABLE " settings { \"%s\" : 0x%x }\n", name,
		 (unsigned)(ignore | announce << 8));
	/* What was noted first is what was there before. */
	for (int i = 0; i < n; i++)
		if (noted(&list[i], known, &before) && strcmp(known, name) == 0)
			goto out;
	if (rc == 0)
		rc = flows_nft_run(t.p, why);
out:
	text_free(&t);
	free(list);
	return rc;
}

int flows_settings_change(const char *name, struct flows_why *why)
{
	int ignore = setting_get(name, "arp_ignore"), announce = setting_get(name, "arp_announce");

	if (ignore < 0 || announce < 0)
		return flows_fail(why, "the settings of %s cannot be read", name);
	if (ignore >= IGNORE_OTHERS && announce >= ANNOUNCE_BEST)
		return 0;
	if (note(name, ignore, announce, why) != 0)
		return -1;
	if ((ignore < IGNORE_OTHERS && setting_put(name, "arp_ignore", IGNORE_OTHERS) != 0) ||
	    (announce < ANNOUNCE_BEST && setting_put(name, "arp_announce", ANNOUNCE_BEST) != 0))
		return flows_fail(why, "the settings of %s cannot be changed: %s", name, strerror(errno));
	return 0;
}

/* Only what still is as we left it: somebody's later choice stays. */
static int put_back(const char *name, uint32_t before)
{
	int ignore = (int)(before & 0xff), announce = (int)(before >> 8 & 0xff), rc = 0;

	if (setting_get(name, "arp_ignore") == IGNORE_OTHERS && ignore < IGNORE_OTHERS)
		rc = setting_put(name, "arp_ignore", ignore);
	if (setting_get(name, "arp_announce") == ANNOUNCE_BEST && announce < ANNOUNCE_BEST)
		rc |= setting_put(name, "arp_announce", announce);
	return rc;
}

int flows_settings_restore(struct flows_why *why)
{
	char name[IF_NAMESIZE];
	struct element *list;
	uint32_t before;
	int n = flows_elements("settings", &list, why), rc = n < 0 ? -1 : 0;

	for (int i = 0; i < n; i++) {
		/* An interface that is gone has nothing to restore. */
		if (!noted(&list[i], name, &before) || !flows_text_name_ok(name) || if_nametoindex(name) == 0)
			continue;
		if (put_back(name, before) != 0)
			rc = flows_fail(why, "the settings of %s cannot be put back: %s", name, strerror(errno));
	}
	free(list);
	return rc == 0 && n > 0 ? flows_nft_run("flush map netdev " FLOWS_TABLE " settings\n", why) : rc;
}

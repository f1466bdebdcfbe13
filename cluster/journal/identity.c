/* SPDX-License-Identifier: Apache-2.0
 * Who a node is among others.
 *
 * The hard thing: it says which log is this node's. It is written before a log is begun anew, so after a crash in
 * between the log that is still there is known to be of an earlier life.
 */
#include "cluster/journal/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cluster/core/le.h"
#include "daemon/base/hash.h"
#include "daemon/base/watchdog.h"

#define NEW_FILE IDENTITY_FILE ".new"
#define FORMAT "postroad-identity 1\nid %" SCNu32 "\njoined %u\ninstance %" SCNx64 "\ncluster %" SCNx64 "\nalone %u\n"

enum { TEXT_MAX = 256 };

static bool is_sound(const struct identity *i)
{
	return i->id != 0 && i->instance != 0 && (!i->joined || i->cluster != 0);
}

static void as_text(const struct identity *i, char out[TEXT_MAX])
{
	snprintf(out, TEXT_MAX,
		 "postroad-identity 1\nid %" PRIu32 "\njoined %u\ninstance %016" PRIx64 "\ncluster %016" PRIx64 "\n%s",
		 i->id, i->joined, i->instance, i->cluster, i->alone ? "alone 1\n" : "");
}

/* Only what this code wrote: the text that is read must come out again. */
static bool from_text(const char *text, struct identity *ret)
{
	char again[TEXT_MAX];
	unsigned joined = 0, alone = 0;

	*ret = (struct identity) { 0 };
	if (sscanf(text, FORMAT, &ret->id, &joined, &ret->instance, &ret->cluster, &alone) < 4 || joined > 1)
		return false;
	ret->joined = joined == 1;
	ret->alone = alone == 1;
	as_text(ret, again);
	return strcmp(text, again) == 0 && is_sound(ret);
}

int identity_load(int dir_fd, const char *dir, struct identity *ret, char **ret_why)
{
	char text[TEXT_MAX];
	int fd = openat(dir_fd, IDENTITY_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	int err = n < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	if (err != 0) {
		*ret_why = xasprintf("%s/" IDENTITY_FILE ": %s", dir, strerror(-err));
		return err;
	}
	text[n] = '\0';
	if (from_text(text, ret))
		return 0;
	*ret_why = xasprintf("%s/" IDENTITY_FILE ": not an identity that Postroad wrote", dir);
	return -EBADMSG;
}

static int write_new(int dir_fd, const char *text)
{
	int fd = openat(dir_fd, NEW_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t n = strlen(text);

	if (fd < 0)
		return -errno;
	ssize_t done = write(fd, text, n);
	int err = done < 0 ? -errno : (size_t)done != n ? -ENOSPC : 0;
	if (err == 0 && fsync(fd) != 0)
		err = -errno;
	close(fd);
	return err;
}

int identity_save(int dir_fd, const struct identity *i)
{
	char text[TEXT_MAX];

	ASSERT(is_sound(i));
	as_text(i, text);
	watchdog_wait();
	int err = write_new(dir_fd, text);
	if (err == 0 && renameat(dir_fd, NEW_FILE, dir_fd, IDENTITY_FILE) != 0)
		err = -errno;
	if (err != 0)
		unlinkat(dir_fd, NEW_FILE, 0);
	else if (fsync(dir_fd) != 0)
		err = -errno;
	watchdog_waited();
	return err;
}

struct identity identity_new(uint32_t id, uint64_t cluster, bool joined)
{
	struct identity i = { .id = id, .cluster = cluster, .joined = joined };

	while (i.instance == 0)
		random_bytes(&i.instance, sizeof(i.instance));
	return i;
}

void identity_encode(const struct identity *i, uint8_t out[IDENTITY_ENCODED])
{
	le_put(out, i->id, 4);
	le_put(out + 4, i->joined, 4);
	le_put(out + 8, i->instance, 8);
	le_put(out + 16, i->cluster, 8);
}

bool identity_decode(struct str in, struct identity *ret)
{
	const uint8_t *p = (const uint8_t *)in.p;

	if (in.n != IDENTITY_ENCODED || le_get(p + 4, 4) > 1)
		return false;
	*ret = (struct identity) { .id = (uint32_t)le_get(p, 4),
				   .joined = le_get(p + 4, 4) == 1,
				   .instance = le_get(p + 8, 8),
				   .cluster = le_get(p + 16, 8) };
	return is_sound(ret);
}

/* SPDX-License-Identifier: Apache-2.0
 * What is wrong with this node's store, told while it lasts: a disk that is full, slow or broken, a log that is not
 * sound.
 *
 * The hard thing: most of it costs no mail and no write, since the other nodes go on; so nobody would notice before a
 * second node has it too.
 */
#include <stdlib.h>
#include <sys/statvfs.h>

#include "daemon/base/clock.h"
#include "daemon/main/node_private.h"

enum {
	SLOW_MS = 2000,
	SPACE_LOOK_MS = 5000,
	SPACE_MIN = 1 << 20, /* bytes: less is no room for a log that is written anew */
	NO_VOTE_MS = 2000,   /* shorter is a member that has just come and gets the log */
	EVENT_LASTS_MS = 600000,
};

static void warn(struct node *n, const char *key, const char *text)
{
	if (n->api != NULL)
		api_warn(n->api, key, text);
}

static void look_at_disk(struct node *n, int64_t now)
{
	int err = store_disk_error(n->store);
	struct statvfs st;
	char text[160];

	if (err != 0) {
		snprintf(text, sizeof(text), "the store's disk takes no writes: %s", strerror(-err));
		warn(n, "disk", text);
		return;
	}
	if (n->trouble.space_ms != 0 && now - n->trouble.space_ms < SPACE_LOOK_MS)
		return;
	n->trouble.space_ms = now;
	/* A write of a node that is alone is refused by a full disk; a member's is made by others, if not here. */
	bool full = statvfs(n->config->state_dir, &st) == 0 && (uint64_t)st.f_bavail * st.f_frsize < SPACE_MIN;
	snprintf(text, sizeof(text), "the store's disk has less than 1 MiB left");
	warn(n, "disk", full ? text : NULL);
}

static void look_at_speed(struct node *n)
{
	int64_t took = store_disk_ms(n->store);
	char text[160];

	/* Seconds, so that a write that hangs is not told anew with each look. */
	snprintf(text, sizeof(text), "a write to the store's disk takes more than %d s", SLOW_MS / 1000);
	warn(n, "disk_slow", took > SLOW_MS ? text : NULL);
}

static void look_at_vote(struct node *n, int64_t now)
{
	bool votes = store_identity(n->store).cluster == 0 || store_can_vote(n->store);

	if (votes)
		n->trouble.no_vote_ms = 0;
	else if (n->trouble.no_vote_ms == 0)
		n->trouble.no_vote_ms = now;
	bool tell = !votes && now - n->trouble.no_vote_ms >= NO_VOTE_MS;
	warn(n, "no_vote", tell ? "this node's log is not whole or its disk takes no writes: it does not vote" : NULL);
}

void trouble_look(struct node *n)
{
	int64_t now = clock_mono_ms();

	look_at_disk(n, now);
	look_at_speed(n);
	look_at_vote(n, now);
	if (n->trouble.event_ms != 0 && now - n->trouble.event_ms > EVENT_LASTS_MS) {
		n->trouble.event_ms = 0;
		warn(n, "store_untrusted", NULL);
		warn(n, "store_diverged", NULL);
		warn(n, "cluster_incompatible", NULL);
	}
}

void trouble_event(enum core_event event, const char *text, void *arg)
{
	struct node *n = arg;
	const char *key = event == CORE_EVENT_UNTRUSTED      ? "store_untrusted"
			  : event == CORE_EVENT_DIVERGED     ? "store_diverged"
			  : event == CORE_EVENT_INCOMPATIBLE ? "cluster_incompatible"
							     : NULL;

	CHECK_OBJ(n, NODE_MAGIC);
	if (key == NULL)
		return;
	n->trouble.event_ms = clock_mono_ms();
	warn(n, key, text);
}

/* SPDX-License-Identifier: Apache-2.0
 * What anybody in corosync's group may send: frames and announcements. What parses must be written as the same bytes;
 * and two members that see the same group must make the same of an announcement, the view of which has each node once.
 *
 * The first byte says how many processes the group has, at most 15; each is two bytes, node and process. The rest is a
 * frame.
 */
#include <string.h>

#include "cluster/corosync/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_view(const struct ring_view *v)
{
	ASSERT(v->n_now > 0 && v->n_now <= CORE_MEMBERS_MAX);
	for (size_t i = 0; i < v->n_now; i++) {
		ASSERT(ring_contains(v->group, v->n_group, v->now[i]));
		ASSERT(ring_view_member(v, v->now[i]) == (int)i);
		ASSERT(!ring_second(v->now, v->n_now, v->now[i]));
	}
}

static void announce(const struct ring_process *group, size_t n, const struct ring_announcement *a)
{
	struct ring_view views[2];
	enum ring_opening seen[2];

	for (int i = 0; i < 2; i++) {
		ring_view_init(&views[i], group[i == 0 ? 0 : n - 1]);
		ring_view_group(&views[i], group, n, false);
		ring_view_ring(&views[i], a->ring);
		seen[i] = ring_view_announced(&views[i], group[0], a);
		if (seen[i] != RING_IGNORED)
			check_view(&views[i]);
		ASSERT(ring_view_announced(&views[i], group[0], a) == RING_IGNORED || seen[i] == RING_IGNORED);
	}
	ASSERT((seen[0] == RING_IGNORED) == (seen[1] == RING_IGNORED));
	ASSERT(views[0].id.ring == views[1].id.ring && views[0].n_now == views[1].n_now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ring_process group[16];
	uint8_t head[FRAME_HEAD_LEN], body[FRAME_ANNOUNCEMENT_MAX];
	struct ring_announcement a;
	struct frame f;
	size_t n = size > 0 ? data[0] & 15 : 0;

	if (n == 0 || size < 1 + 2 * n)
		return 0;
	for (size_t i = 0; i < n; i++)
		group[i] = (struct ring_process) { data[1 + 2 * i], data[2 + 2 * i] };
	struct str bytes = { (const char *)data + 1 + 2 * n, size - 1 - 2 * n };
	if (!frame_parse(bytes, &f))
		return 0;
	frame_head(head, &f);
	ASSERT(memcmp(head, bytes.p, sizeof(head)) == 0);
	if (f.kind != FRAME_ANNOUNCEMENT || !frame_announcement_parse(f.body, &a))
		return 0;
	ASSERT(str_eq((struct str) { (char *)body, frame_announcement(body, &a) }, f.body));
	announce(group, n, &a);
	return 0;
}

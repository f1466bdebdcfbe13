/* SPDX-License-Identifier: Apache-2.0
 * What the adapter puts before each multicast, and its own two messages. Pure; private to this room.
 *
 *	0 "PR", 2 version u8, 3 kind u8, 4 tag u32, 8 number u64; then by kind:
 *	data: the bytes · heart: nothing · announcement: ring u64, lowest u32, nonce u32, n u32, n times id u32 and pid
 *u32
 *
 * Numbers are little-endian. What members say to each other in `data` has a checksum of its own.
 */
#ifndef POSTROAD_CLUSTER_COROSYNC_FRAME_H
#define POSTROAD_CLUSTER_COROSYNC_FRAME_H

#include "cluster/corosync/view.h"

enum frame_kind { FRAME_DATA = 1, FRAME_HEART = 2, FRAME_ANNOUNCEMENT = 3 };
enum { FRAME_HEAD_LEN = 16, FRAME_ANNOUNCEMENT_MAX = 20 + 8 * CORE_MEMBERS_MAX };

struct frame {
	enum frame_kind kind;
	uint32_t tag;    /* of the sender's view: the nonce that named it; anything if it had none */
	uint64_t number; /* counts what a connection to corosync sent */
	struct str body; /* in the bytes that were parsed */
};

/* The body follows it. */
void frame_head(uint8_t out[FRAME_HEAD_LEN], const struct frame *f);
/* false: not a frame of this version. */
bool frame_parse(struct str bytes, struct frame *ret) MUST_CHECK;

/* Returns how many bytes it takes. */
size_t frame_announcement(uint8_t out[FRAME_ANNOUNCEMENT_MAX], const struct ring_announcement *a);
bool frame_announcement_parse(struct str body, struct ring_announcement *ret) MUST_CHECK;

#endif

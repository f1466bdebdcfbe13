/* SPDX-License-Identifier: Apache-2.0
 * Frames as bytes and back.
 *
 * Whoever may join the group can send anything: lengths are checked before they are believed.
 */
#include "cluster/corosync/frame.h"

#include "cluster/core/le.h"

enum { VERSION = 1, OFF_VERSION = 2, OFF_KIND = 3, OFF_TAG = 4, OFF_NUMBER = 8 };
enum { ANN_RING = 0, ANN_LOWEST = 8, ANN_NONCE = 12, ANN_COUNT = 16, ANN_MEMBERS = 20, MEMBER_LEN = 8 };

void frame_head(uint8_t out[FRAME_HEAD_LEN], const struct frame *f)
{
	out[0] = 'P';
	out[1] = 'R';
	out[OFF_VERSION] = VERSION;
	out[OFF_KIND] = (uint8_t)f->kind;
	le_put(out + OFF_TAG, f->tag, 4);
	le_put(out + OFF_NUMBER, f->number, 8);
}

bool frame_parse(struct str bytes, struct frame *ret)
{
	const uint8_t *p = (const uint8_t *)bytes.p;

	if (bytes.n < FRAME_HEAD_LEN || p[0] != 'P' || p[1] != 'R' || p[OFF_VERSION] != VERSION)
		return false;
	if (p[OFF_KIND] < FRAME_DATA || p[OFF_KIND] > FRAME_ANNOUNCEMENT)
		return false;
	ret->kind = (enum frame_kind)p[OFF_KIND];
	ret->tag = (uint32_t)le_get(p + OFF_TAG, 4);
	ret->number = le_get(p + OFF_NUMBER, 8);
	ret->body = (struct str) { bytes.p + FRAME_HEAD_LEN, bytes.n - FRAME_HEAD_LEN };
	return true;
}

size_t frame_announcement(uint8_t out[FRAME_ANNOUNCEMENT_MAX], const struct ring_announcement *a)
{
	uint8_t *p = out + ANN_MEMBERS;

	le_put(out + ANN_RING, a->ring.seq, 8);
	le_put(out + ANN_LOWEST, a->ring.lowest, 4);
	le_put(out + ANN_NONCE, a->nonce, 4);
	le_put(out + ANN_COUNT, a->n, 4);
	for (size_t i = 0; i < a->n; i++, p += MEMBER_LEN) {
		le_put(p, a->members[i].id, 4);
		le_put(p + 4, a->members[i].pid, 4);
	}
	return (size_t)(p - out);
}

bool frame_announcement_parse(struct str body, struct ring_announcement *ret)
{
	const uint8_t *p = (const uint8_t *)body.p;

	*ret = (struct ring_announcement) { .n = 0 };
	if (body.n < ANN_MEMBERS)
		return false;
	size_t n = le_get(p + ANN_COUNT, 4);
	if (n > CORE_MEMBERS_MAX || body.n != ANN_MEMBERS + n * MEMBER_LEN)
		return false;
	ret->ring.seq = le_get(p + ANN_RING, 8);
	ret->ring.lowest = (uint32_t)le_get(p + ANN_LOWEST, 4);
	ret->nonce = (uint32_t)le_get(p + ANN_NONCE, 4);
	for (p += ANN_MEMBERS; ret->n < n; p += MEMBER_LEN)
		ret->members[ret->n++] = (struct ring_process) { (uint32_t)le_get(p, 4), (uint32_t)le_get(p + 4, 4) };
	return true;
}

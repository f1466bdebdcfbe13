/* SPDX-License-Identifier: Apache-2.0
 * Messages of broken members, delivered to a core that is in a view with them. Nothing a member says may crash it, make
 * it apply an entry that is not behind the last one, or write a disk it cannot read again.
 *
 * Input: steps. A step is a kind u8 (also what to do besides), an epoch u8, a length u16 and so many bytes: the body of
 * a message of member 2 or 3. Head and checksum are put in front here, as a fuzzer cannot guess them.
 */
#include <stdlib.h>

#include "cluster/core/core_private.h"
#include "tests/unit/store/core_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SENDERS = 4 };

static void check(struct fix *f)
{
	struct fix_node *n = &f->nodes[0];

	for (uint64_t i = 1; i < n->n_applied; i++)
		ASSERT(n->n_reset > 0 || n->applied[i] > n->applied[i - 1]);
	ASSERT(n->n_applied < FIX_ENTRIES / 2);
	for (size_t i = 1; i < n->n_disk; i++)
		ASSERT(n->disk[i].entry.position > n->disk[i - 1].entry.position);
}

/* Own messages come back, writes end, time goes on. */
static void settle(struct fix *f)
{
	for (int i = 0; i < 20 && fix_step(f); i++)
		;
	f->now += 200;
	core_tick(f->nodes[0].core, f->now);
}

static void deliver(struct fix *f, uint32_t sequence[SENDERS], const uint8_t head[2], struct str body)
{
	static struct sbuf frame;
	struct wire_head h = { .kind = (enum wire_kind)(1 + head[0] % (WIRE_KIND_COUNT - 1)),
			       .flags = head[0] & 64 ? WIRE_FIRST | (head[0] & 32 ? 0u : WIRE_LAST)
						     : WIRE_FIRST | WIRE_LAST,
			       .view = { f->ring, 1 },
			       .sender = 2 + (head[0] >> 7),
			       .epoch = head[1] & 128 ? (uint64_t)head[1] << 28 : head[1],
			       .total = (uint32_t)body.n };

	h.total += h.flags == WIRE_FIRST ? 100 : 0;
	h.sequence = ++sequence[h.sender];
	wire_frame(&frame, &h, body);
	core_deliver(f->nodes[0].core, h.sender, (struct str) { frame.p, frame.n });
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fix f;
	uint32_t sequence[SENDERS] = { 0 };

	fix_init(&f, 3, 1);
	fix_stop(&f.nodes[1]);
	fix_stop(&f.nodes[2]);
	f.nodes[0].group = 1;
	FIX_VIEW_OF(&f, 1, 2, 3);
	for (int steps = 0; size >= 4 && steps < 24; steps++) {
		size_t n = data[2] + (size_t)data[3] * 256;
		n = n > size - 4 ? size - 4 : n;
		n = n > WIRE_PART_MAX ? WIRE_PART_MAX : n;
		if (data[0] % 16 == 15)
			(void)!fix_write(&f, 1, "own", STR("x"));
		deliver(&f, sequence, data, (struct str) { (const char *)data + 4, n });
		settle(&f);
		check(&f);
		data += 4 + n;
		size -= 4 + n;
	}
	/* What it wrote can be read again. */
	fix_stop(&f.nodes[0]);
	fix_start(&f, 1, false);
	fix_fini(&f);
	return 0;
}

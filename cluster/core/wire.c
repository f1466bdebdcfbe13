/* SPDX-License-Identifier: Apache-2.0
 * Messages between nodes as bytes, little-endian.
 *
 * The hard thing: a peer may be broken, or of another version, and what it says must be either read whole or not at
 *all. So each body has one length that its content must fill, and nothing read here is an offset or a size of memory.
 *
 *	frame: 0 CRC32C u32 of the rest, 4 version u8, kind u8, flags u8, zero u8, 8 ring u64, 16 lowest u32,
 *	       20 sender u32, 24 epoch u64, 32 sequence u32, 36 total u32, 40 part
 */
#include "cluster/core/wire.h"

#include "cluster/core/le.h"

enum { VERSION = 1, OFF_VERSION = 4, OFF_KIND = 5, OFF_FLAGS = 6, OFF_ZERO = 7, OFF_RING = 8, OFF_LOWEST = 16 };
enum { OFF_SENDER = 20, OFF_EPOCH = 24, OFF_SEQUENCE = 32, OFF_TOTAL = 36 };
enum { STATE_FIXED = 2 * 8 + 4 + 1 + 4 * 8 + ENTRY_HASH_LEN + 1, ACK_LEN = 8 + ENTRY_HASH_LEN };
enum { ORDER_LEN = 4 + 8 + 8 + 1 + 8 + ENTRY_HASH_LEN, SUFFIX_FIXED = 1 + 8 + ENTRY_HASH_LEN + 8 + 8 + 4 + 4 };

_Static_assert(OFF_TOTAL + 4 == WIRE_HEAD_LEN, "the head's fields fill it");
_Static_assert(STATE_FIXED + CORE_MEMBERS_MAX * (int)WIRE_WITNESS_LEN <= (int)WIRE_PART_MAX, "a state is one message");
_Static_assert((int)CORE_SOFT_MAX <= (int)WIRE_PART_MAX, "a soft state is one message");

/* Eight bits at a time by a table made of the polynomial at first use: made of nothing else, so any thread makes it
 * alike. */
uint32_t wire_crc(uint32_t crc, const void *bytes, size_t n)
{
	static uint32_t table[256];
	const uint8_t *p = bytes;

	if (table[1] == 0) {
		for (uint32_t i = 255; i > 0; i--) {
			uint32_t v = i;
			for (int bit = 0; bit < 8; bit++)
				v = v >> 1 ^ (v & 1 ? 0x82f63b78 : 0);
			table[i] = v;
		}
	}
	crc = ~crc;
	for (size_t i = 0; i < n; i++)
		crc = crc >> 8 ^ table[(crc ^ p[i]) & 255];
	return ~crc;
}

/* ---- frames ---- */

void wire_frame(struct sbuf *out, const struct wire_head *h, struct str part)
{
	sbuf_reset(out);
	uint8_t *p = (uint8_t *)sbuf_extend(out, WIRE_HEAD_LEN + part.n);

	ASSERT(part.n <= WIRE_PART_MAX);
	p[OFF_VERSION] = VERSION;
	p[OFF_KIND] = (uint8_t)h->kind;
	p[OFF_FLAGS] = (uint8_t)h->flags;
	p[OFF_ZERO] = 0;
	le_put(p + OFF_RING, h->view.ring, 8);
	le_put(p + OFF_LOWEST, h->view.lowest, 4);
	le_put(p + OFF_SENDER, h->sender, 4);
	le_put(p + OFF_EPOCH, h->epoch, 8);
	le_put(p + OFF_SEQUENCE, h->sequence, 4);
	le_put(p + OFF_TOTAL, h->total, 4);
	if (part.n > 0)
		memcpy(p + WIRE_HEAD_LEN, part.p, part.n);
	le_put(p, wire_crc(0, p + OFF_VERSION, WIRE_HEAD_LEN - OFF_VERSION + part.n), 4);
}

bool wire_other_version(struct str in)
{
	return in.n >= WIRE_HEAD_LEN && (uint8_t)in.p[OFF_VERSION] != VERSION;
}

uint32_t wire_body_max(enum wire_kind kind)
{
	if (kind == WIRE_SUFFIX)
		return CORE_SUFFIX_MAX + (16u << 20);
	if (kind == WIRE_PROPOSE)
		return CORE_DOCUMENT_MAX + 16 * 1024;
	return WIRE_PART_MAX;
}

bool wire_unframe(struct str in, struct wire_head *ret, struct str *ret_part)
{
	const uint8_t *p = (const uint8_t *)in.p;

	if (in.n < WIRE_HEAD_LEN || in.n > CORE_MESSAGE_MAX || p[OFF_VERSION] != VERSION || p[OFF_ZERO] != 0)
		return false;
	if (le_get(p, 4) != wire_crc(0, p + OFF_VERSION, in.n - OFF_VERSION))
		return false;
	*ret = (struct wire_head) { .kind = (enum wire_kind)p[OFF_KIND],
				    .flags = p[OFF_FLAGS],
				    .view = { le_get(p + OFF_RING, 8), (uint32_t)le_get(p + OFF_LOWEST, 4) },
				    .sender = (uint32_t)le_get(p + OFF_SENDER, 4),
				    .epoch = le_get(p + OFF_EPOCH, 8),
				    .sequence = (uint32_t)le_get(p + OFF_SEQUENCE, 4),
				    .total = (uint32_t)le_get(p + OFF_TOTAL, 4) };
	*ret_part = (struct str) { in.p + WIRE_HEAD_LEN, in.n - WIRE_HEAD_LEN };
	if (p[OFF_KIND] < WIRE_STATE || p[OFF_KIND] >= WIRE_KIND_COUNT || ret->flags > (WIRE_FIRST | WIRE_LAST))
		return false;
	bool alone = ret->flags == (WIRE_FIRST | WIRE_LAST);
	if (ret->kind < WIRE_FIRST_BULK && !alone)
		return false;
	return ret->total <= wire_body_max(ret->kind) && (alone ? ret_part->n == ret->total : ret_part->n < ret->total);
}

/* ---- bodies ---- */

static void put(struct sbuf *out, uint64_t v, unsigned n)
{
	uint8_t p[8];

	le_put(p, v, n);
	sbuf_add(out, p, n);
}

/* Reads n bytes off *p; the caller has checked that they are there. */
static uint64_t get(const uint8_t **p, unsigned n)
{
	uint64_t v = le_get(*p, n);

	*p += n;
	return v;
}

static void get_hash(const uint8_t **p, uint8_t hash[ENTRY_HASH_LEN])
{
	memcpy(hash, *p, ENTRY_HASH_LEN);
	*p += ENTRY_HASH_LEN;
}

void wire_put_witness(struct sbuf *out, const struct wire_witness *w)
{
	put(out, w->id, 4);
	put(out, w->instance, 8);
	put(out, w->promised, 8);
	put(out, w->adopted, 8);
	put(out, w->last, 8);
}

struct wire_witness wire_get_witness(const uint8_t *p)
{
	struct wire_witness w;

	w.id = (uint32_t)get(&p, 4);
	w.instance = get(&p, 8);
	w.promised = get(&p, 8);
	w.adopted = get(&p, 8);
	w.last = get(&p, 8);
	return w;
}

/* An epoch near the end of its numbers comes from a broken member, and following it would leave none to use. */
static bool is_sane(uint64_t epoch)
{
	return epoch >> 32 < UINT32_MAX - 1 && (uint32_t)epoch < UINT32_MAX / 2;
}

void wire_state_encode(const struct wire_state *s, struct sbuf *out)
{
	put(out, s->cluster, 8);
	put(out, s->instance, 8);
	put(out, s->features_low, 2);
	put(out, s->features_high, 2);
	put(out, s->flags, 1);
	put(out, s->promised, 8);
	put(out, s->adopted, 8);
	put(out, s->last, 8);
	put(out, s->committed, 8);
	sbuf_add(out, s->hash, ENTRY_HASH_LEN);
	put(out, s->n_witness, 1);
	for (size_t i = 0; i < s->n_witness; i++)
		wire_put_witness(out, &s->witness[i]);
}

bool wire_state_decode(struct str in, struct wire_state *ret)
{
	const uint8_t *p = (const uint8_t *)in.p;

	if (in.n < STATE_FIXED)
		return false;
	ret->cluster = get(&p, 8);
	ret->instance = get(&p, 8);
	ret->features_low = (uint16_t)get(&p, 2);
	ret->features_high = (uint16_t)get(&p, 2);
	ret->flags = (uint8_t)get(&p, 1);
	ret->promised = get(&p, 8);
	ret->adopted = get(&p, 8);
	ret->last = get(&p, 8);
	ret->committed = get(&p, 8);
	get_hash(&p, ret->hash);
	if (!is_sane(ret->promised) || !is_sane(ret->adopted) || ret->last == UINT64_MAX)
		return false;
	ret->n_witness = (size_t)get(&p, 1);
	if (ret->n_witness > CORE_MEMBERS_MAX || in.n != STATE_FIXED + ret->n_witness * WIRE_WITNESS_LEN)
		return false;
	for (size_t i = 0; i < ret->n_witness; i++, p += WIRE_WITNESS_LEN)
		ret->witness[i] = wire_get_witness(p);
	return true;
}

void wire_promise_encode(uint32_t donor, struct sbuf *out)
{
	put(out, donor, 4);
}

bool wire_promise_decode(struct str in, uint32_t *ret)
{
	if (in.n != 4)
		return false;
	*ret = (uint32_t)le_get((const uint8_t *)in.p, 4);
	return true;
}

void wire_ack_encode(const struct wire_ack *a, struct sbuf *out)
{
	put(out, a->position, 8);
	sbuf_add(out, a->hash, ENTRY_HASH_LEN);
}

bool wire_ack_decode(struct str in, struct wire_ack *ret)
{
	const uint8_t *p = (const uint8_t *)in.p;

	if (in.n != ACK_LEN)
		return false;
	ret->position = get(&p, 8);
	get_hash(&p, ret->hash);
	return true;
}

void wire_order_encode(const struct wire_order *o, struct sbuf *out)
{
	put(out, o->proposer, 4);
	put(out, o->ticket, 8);
	put(out, o->position, 8);
	put(out, (uint64_t)o->result, 1);
	put(out, o->revision, 8);
	sbuf_add(out, o->hash, ENTRY_HASH_LEN);
}

bool wire_order_decode(struct str in, struct wire_order *ret)
{
	const uint8_t *p = (const uint8_t *)in.p;

	if (in.n != ORDER_LEN)
		return false;
	ret->proposer = (uint32_t)get(&p, 4);
	ret->ticket = get(&p, 8);
	ret->position = get(&p, 8);
	ret->result = (enum core_result)get(&p, 1);
	ret->revision = get(&p, 8);
	get_hash(&p, ret->hash);
	return ret->result <= CORE_UNKNOWN;
}

void wire_suffix_encode(const struct wire_suffix *s, struct sbuf *out)
{
	put(out, s->whole, 1);
	put(out, s->after, 8);
	sbuf_add(out, s->hash, ENTRY_HASH_LEN);
	put(out, s->last, 8);
	put(out, s->committed, 8);
	put(out, s->n, 4);
	put(out, s->entries.n, 4);
	sbuf_add(out, s->entries.p, s->entries.n);
	sbuf_add(out, s->answers.p, s->answers.n);
}

bool wire_suffix_decode(struct str in, struct wire_suffix *ret)
{
	const uint8_t *p = (const uint8_t *)in.p;

	if (in.n < SUFFIX_FIXED || p[0] > 1)
		return false;
	ret->whole = get(&p, 1) == 1;
	ret->after = get(&p, 8);
	get_hash(&p, ret->hash);
	ret->last = get(&p, 8);
	ret->committed = get(&p, 8);
	ret->n = (uint32_t)get(&p, 4);
	size_t n = (size_t)get(&p, 4);
	if (in.n - SUFFIX_FIXED < n)
		return false;
	ret->entries = (struct str) { in.p + SUFFIX_FIXED, n };
	ret->answers = (struct str) { in.p + SUFFIX_FIXED + n, in.n - SUFFIX_FIXED - n };
	return ret->whole || ret->answers.n == 0;
}

bool wire_next_entry(struct str *entries, struct str *ret_bytes, struct entry *ret)
{
	if (entries->n < 4)
		return false;
	size_t n = (size_t)le_get((const uint8_t *)entries->p, 4);
	if (entries->n - 4 < n)
		return false;
	*ret_bytes = (struct str) { entries->p + 4, n };
	if (!entry_decode(*ret_bytes, ret))
		return false;
	*entries = (struct str) { entries->p + 4 + n, entries->n - 4 - n };
	return true;
}

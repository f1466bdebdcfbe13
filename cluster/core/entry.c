/* SPDX-License-Identifier: Apache-2.0
 * Entries as bytes: the one format of disk and wire, and the hash over it.
 *
 * The hard thing: two nodes must make the same bytes of the same entry, for ever. Everything is little-endian, of fixed
 * width, in one order; there is nothing optional. A change of format is a new format number.
 *
 *	  0  hash [32]            SHA-256 of all that follows
 *	 32  format u8, kind u8, zero u16
 *	 36  epoch u64, position u64, revision u64
 *	 60  wall u64             the bits of an IEEE 754 double
 *	 68  previous [32], request_hash [32]
 *	132  operation, author, node, comment, idempotency_key: each u16 length, bytes, NUL
 *	     document: u32 length, bytes
 */
#include "cluster/core/entry.h"

#include <math.h>
#include <openssl/evp.h>

#include "cluster/core/le.h"

enum {
	FORMAT = 1,
	OFF_FORMAT = 32,
	OFF_KIND = 33,
	OFF_ZERO = 34,
	OFF_EPOCH = 36,
	OFF_POSITION = 44,
	OFF_REVISION = 52,
	OFF_WALL = 60,
	OFF_PREVIOUS = 68,
	OFF_REQUEST = 100,
	FIXED_LEN = 132,
	N_TEXTS = 5
};

_Static_assert(OFF_FORMAT == ENTRY_HASH_LEN, "the hash stands in front of what it covers");
_Static_assert(OFF_EPOCH + 4 * 8 == OFF_PREVIOUS, "four 64-bit fields");
_Static_assert(OFF_PREVIOUS + 2 * ENTRY_HASH_LEN == FIXED_LEN, "two hashes end the fixed part");
_Static_assert(sizeof(double) == sizeof(uint64_t), "a double travels as 64 bits");
_Static_assert(ENTRY_TEXT_MAX <= UINT16_MAX, "a text's length fits 16 bits");
_Static_assert(FIXED_LEN + N_TEXTS * (ENTRY_TEXT_MAX + 3) + 4 + (size_t)ENTRY_DOCUMENT_MAX <= ENTRY_ENCODED_MAX,
	       "the largest entry fits");

static void sha256(const void *p, size_t n, uint8_t out[ENTRY_HASH_LEN])
{
	unsigned len = 0;

	ASSERT(EVP_Digest(p, n, out, &len, EVP_sha256(), NULL) == 1 && len == ENTRY_HASH_LEN);
}

/* ---- encoding ---- */

static bool text_fits(const char *s)
{
	return s != NULL && strnlen(s, ENTRY_TEXT_MAX + 1) <= ENTRY_TEXT_MAX;
}

bool entry_fits(const struct entry *e)
{
	return e->kind >= ENTRY_CONFIG && e->kind < ENTRY_KIND_COUNT && isfinite(e->wall) && text_fits(e->operation) &&
	       text_fits(e->author) && text_fits(e->node) && text_fits(e->comment) && text_fits(e->idempotency_key) &&
	       e->document.n <= ENTRY_DOCUMENT_MAX;
}

static void put_text(struct sbuf *out, const char *s)
{
	size_t n = strlen(s);
	uint8_t len[2];

	le_put(len, n, 2);
	sbuf_add(out, len, 2);
	sbuf_add(out, s, n + 1);
}

void entry_encode(struct entry *e, struct sbuf *out)
{
	uint8_t fixed[FIXED_LEN] = { 0 }, len[4];
	uint64_t wall;
	size_t start = out->n;

	ASSERT(entry_fits(e));
	memcpy(&wall, &e->wall, sizeof(wall));
	fixed[OFF_FORMAT] = FORMAT;
	fixed[OFF_KIND] = (uint8_t)e->kind;
	le_put(fixed + OFF_EPOCH, e->epoch, 8);
	le_put(fixed + OFF_POSITION, e->position, 8);
	le_put(fixed + OFF_REVISION, e->revision, 8);
	le_put(fixed + OFF_WALL, wall, 8);
	memcpy(fixed + OFF_PREVIOUS, e->previous, ENTRY_HASH_LEN);
	memcpy(fixed + OFF_REQUEST, e->request_hash, ENTRY_HASH_LEN);
	sbuf_add(out, fixed, sizeof(fixed));
	put_text(out, e->operation);
	put_text(out, e->author);
	put_text(out, e->node);
	put_text(out, e->comment);
	put_text(out, e->idempotency_key);
	le_put(len, e->document.n, 4);
	sbuf_add(out, len, 4);
	sbuf_add(out, e->document.p, e->document.n);
	sha256(out->p + start + ENTRY_HASH_LEN, out->n - start - ENTRY_HASH_LEN, e->hash);
	memcpy(out->p + start, e->hash, ENTRY_HASH_LEN);
}

/* ---- decoding ---- */

/* Takes one text off the front of *in. */
static bool take_text(struct str *in, const char **ret)
{
	if (in->n < 3)
		return false;
	size_t n = (size_t)le_get((const uint8_t *)in->p, 2);
	if (n > ENTRY_TEXT_MAX || in->n < n + 3 || strnlen(in->p + 2, n + 1) != n)
		return false;
	*ret = in->p + 2;
	*in = (struct str) { in->p + n + 3, in->n - n - 3 };
	return true;
}

static bool take_fixed(struct str *in, struct entry *e)
{
	const uint8_t *p = (const uint8_t *)in->p;
	uint64_t wall;

	if (in->n < FIXED_LEN || p[OFF_FORMAT] != FORMAT || le_get(p + OFF_ZERO, 2) != 0)
		return false;
	e->kind = (enum entry_kind)p[OFF_KIND];
	e->epoch = le_get(p + OFF_EPOCH, 8);
	e->position = le_get(p + OFF_POSITION, 8);
	e->revision = le_get(p + OFF_REVISION, 8);
	wall = le_get(p + OFF_WALL, 8);
	memcpy(&e->wall, &wall, sizeof(wall));
	memcpy(e->hash, p, ENTRY_HASH_LEN);
	memcpy(e->previous, p + OFF_PREVIOUS, ENTRY_HASH_LEN);
	memcpy(e->request_hash, p + OFF_REQUEST, ENTRY_HASH_LEN);
	*in = (struct str) { in->p + FIXED_LEN, in->n - FIXED_LEN };
	return true;
}

bool entry_decode(struct str in, struct entry *ret)
{
	struct str whole = in;
	struct entry e = { 0 };
	uint8_t hash[ENTRY_HASH_LEN];

	if (!take_fixed(&in, &e) || !take_text(&in, &e.operation) || !take_text(&in, &e.author) ||
	    !take_text(&in, &e.node) || !take_text(&in, &e.comment) || !take_text(&in, &e.idempotency_key))
		return false;
	if (in.n < 4 || le_get((const uint8_t *)in.p, 4) != in.n - 4)
		return false;
	e.document = (struct str) { in.p + 4, in.n - 4 };
	if (!entry_fits(&e))
		return false;
	sha256(whole.p + ENTRY_HASH_LEN, whole.n - ENTRY_HASH_LEN, hash);
	if (memcmp(hash, e.hash, ENTRY_HASH_LEN) != 0)
		return false;
	*ret = e;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0
 * Operations by what names them. Names are kept as half a SHA-256, so that a name of any length takes the same place
 * and nobody can choose two that collide.
 *
 * As bytes: "OPS2", zero u32, then records: name [16], position u64, wall u64 (the bits of a double), request [16],
 * little-endian. Before, there was no head, nor a request.
 */
#include "cluster/core/ops.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "cluster/core/le.h"
#include "daemon/base/hash.h"

enum { NAME_LEN = 16, OLD_RECORD_LEN = 32, RECORD_LEN = OLD_RECORD_LEN + NAME_LEN, HEAD_LEN = 8 };

static const char head[HEAD_LEN] = "OPS2";

struct op {
	struct list link;
	uint8_t name[NAME_LEN];
	uint8_t request[NAME_LEN]; /* of a key, the half of its request's hash; zero = not known */
	uint64_t position;
	double wall;
};

static struct str name_str(const uint8_t name[NAME_LEN])
{
	return (struct str) { (const char *)name, NAME_LEN };
}

/* What kind of name it is comes first: an operation never equals a key. */
static void name_of(char what, const char *text, uint8_t ret[NAME_LEN])
{
	uint8_t hash[ENTRY_HASH_LEN];
	char buf[ENTRY_TEXT_MAX + 1];
	size_t n = strnlen(text, ENTRY_TEXT_MAX);

	buf[0] = what;
	memcpy(buf + 1, text, n);
	ASSERT(EVP_Digest(buf, n + 1, hash, NULL, EVP_sha256(), NULL) == 1);
	memcpy(ret, hash, NAME_LEN);
}

void ops_init(struct ops *o)
{
	o->by_key = map_new();
	list_init(&o->all);
	o->n = 0;
}

static void drop(struct ops *o, struct op *op)
{
	map_remove(o->by_key, name_str(op->name));
	list_remove(&op->link);
	free(op);
	o->n--;
}

void ops_fini(struct ops *o)
{
	while (!list_empty(&o->all))
		drop(o, LIST_FIRST(&o->all, struct op, link));
	map_free(o->by_key, NULL);
	o->by_key = NULL;
}

static void put(struct ops *o, const uint8_t name[NAME_LEN], const uint8_t *request, uint64_t position, double wall)
{
	struct op *op = map_get(o->by_key, name_str(name));

	if (op != NULL) /* the first use of a name counts; after a day it may be used again */
		drop(o, op);
	if (o->n == OPS_MAX)
		drop(o, LIST_FIRST(&o->all, struct op, link));
	op = xcalloc(1, sizeof(*op));
	memcpy(op->name, name, NAME_LEN);
	if (request != NULL)
		memcpy(op->request, request, NAME_LEN);
	op->position = position;
	op->wall = wall;
	/* By time: what is loaded comes in no strict order, and one that is young must not hide old ones from expire().
	 */
	struct list *at = o->all.prev;
	while (at != &o->all && CONTAINER_OF(at, struct op, link)->wall > wall)
		at = at->prev;
	list_push(at, &op->link);
	map_put(o->by_key, name_str(name), op);
	o->n++;
}

static void expire(struct ops *o, double now)
{
	while (!list_empty(&o->all) && LIST_FIRST(&o->all, struct op, link)->wall < now - OPS_KEEP_SEC)
		drop(o, LIST_FIRST(&o->all, struct op, link));
}

void ops_note(struct ops *o, const struct entry *e)
{
	uint8_t name[NAME_LEN];

	expire(o, e->wall);
	if (e->operation[0] != '\0') {
		name_of('o', e->operation, name);
		put(o, name, NULL, e->position, e->wall);
	}
	if (e->idempotency_key[0] != '\0') {
		name_of('k', e->idempotency_key, name);
		put(o, name, e->request_hash, e->position, e->wall);
	}
}

void ops_cut(struct ops *o, uint64_t after)
{
	struct op *op;
	struct list *next;

	/* Not only from the end: after a snapshot's answers the order is not strict. */
	LIST_FOR_EACH(op, next, &o->all, link)
		if (op->position > after)
			drop(o, op);
}

static const struct op *find(const struct ops *o, char what, const char *text)
{
	uint8_t name[NAME_LEN];

	if (text == NULL || text[0] == '\0')
		return NULL;
	name_of(what, text, name);
	return map_get(o->by_key, name_str(name));
}

uint64_t ops_find(const struct ops *o, const char *operation, const char *idempotency_key)
{
	const struct op *op = find(o, 'o', operation);

	if (op == NULL)
		op = find(o, 'k', idempotency_key);
	return op == NULL ? 0 : op->position;
}

bool ops_same_request(const struct ops *o, const char *idempotency_key, const uint8_t request_hash[ENTRY_HASH_LEN])
{
	static const uint8_t unknown[NAME_LEN] = { 0 };
	const struct op *op = find(o, 'k', idempotency_key);

	return op == NULL || memcmp(op->request, unknown, NAME_LEN) == 0 ||
	       memcmp(op->request, request_hash, NAME_LEN) == 0;
}

void ops_encode(const struct ops *o, uint64_t up_to, struct sbuf *out)
{
	const struct op *op;
	struct list *next;

	sbuf_add(out, head, HEAD_LEN);
	LIST_FOR_EACH(op, next, &o->all, link) {
		uint8_t p[RECORD_LEN];
		uint64_t wall;
		if (op->position > up_to)
			continue;
		memcpy(&wall, &op->wall, sizeof(wall));
		memcpy(p, op->name, NAME_LEN);
		le_put(p + 16, op->position, 8);
		le_put(p + 24, wall, 8);
		memcpy(p + OLD_RECORD_LEN, op->request, NAME_LEN);
		sbuf_add(out, p, sizeof(p));
	}
}

bool ops_decode(struct ops *o, struct str in)
{
	bool old = in.n < HEAD_LEN || memcmp(in.p, head, HEAD_LEN) != 0;
	size_t record = old ? OLD_RECORD_LEN : RECORD_LEN;

	if (!old)
		in = (struct str) { in.p + HEAD_LEN, in.n - HEAD_LEN };
	if (in.n % record != 0 || in.n / record > OPS_MAX)
		return false;
	for (; in.n > 0; in = (struct str) { in.p + record, in.n - record }) {
		const uint8_t *p = (const uint8_t *)in.p;
		uint64_t bits = le_get(p + 24, 8);
		double wall;
		memcpy(&wall, &bits, sizeof(wall));
		if (!isfinite(wall))
			return false;
		put(o, p, old ? NULL : p + OLD_RECORD_LEN, le_get(p + 16, 8), wall);
	}
	return true;
}

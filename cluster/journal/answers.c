/* SPDX-License-Identifier: Apache-2.0
 * Which write was made under which Idempotency-Key.
 *
 * The hard thing is when an answer ends: by the time written in the log, not by the clock of whoever asks, so that an
 * answer is the same before and after a restart and, later, on every node.
 *
 *	record:  0 format u8, 1 kind u8, 2 zero u16, 4 position u64, 12 revision u64, 20 wall u64,
 *	        28 request hash [32], 60 key
 */
#include "cluster/journal/answers.h"

#include <math.h>
#include <stdlib.h>

#include "cluster/core/le.h"
#include "daemon/base/hash.h"

enum { FORMAT = 1, OFF_KIND = 1, OFF_POSITION = 4, OFF_REVISION = 12, OFF_WALL = 20, OFF_HASH = 28, FIXED_LEN = 60 };

_Static_assert(OFF_HASH + ENTRY_HASH_LEN == FIXED_LEN, "the key follows the hash");

void answers_init(struct answers *a)
{
	a->by_key = map_new();
	list_init(&a->all);
	a->bytes = 0;
}

static void forget(struct answers *a, struct answer *answer)
{
	map_remove(a->by_key, str_from(answer->key));
	list_remove(&answer->link);
	a->bytes -= FIXED_LEN + strlen(answer->key);
	free(answer->key);
	free(answer);
}

void answers_fini(struct answers *a)
{
	while (!list_empty(&a->all))
		forget(a, LIST_FIRST(&a->all, struct answer, link));
	map_free(a->by_key, NULL);
	a->by_key = NULL;
}

void answers_put(struct answers *a, const char *key, const struct store_answer *public)
{
	struct answer *answer = map_get(a->by_key, str_from(key));

	if (answer != NULL)
		forget(a, answer);
	if (map_count(a->by_key) == ANSWERS_MAX)
		forget(a, LIST_FIRST(&a->all, struct answer, link));
	answer = xcalloc(1, sizeof(*answer));
	answer->key = xstrdup(key);
	answer->public = *public;
	map_put(a->by_key, str_from(key), answer);
	list_append(&a->all, &answer->link);
	a->bytes += FIXED_LEN + strlen(key);
}

const struct store_answer *answers_find(const struct answers *a, const char *key)
{
	const struct answer *answer = map_get(a->by_key, str_from(key));

	return answer == NULL ? NULL : &answer->public;
}

/* Stops at the first that is young enough: a clock that was set back makes later ones live a little longer. */
void answers_expire(struct answers *a, double now)
{
	while (!list_empty(&a->all)) {
		struct answer *oldest = LIST_FIRST(&a->all, struct answer, link);
		if (now - oldest->public.wall <= ANSWER_KEEP_SEC)
			return;
		forget(a, oldest);
	}
}

/* ---- as a record ---- */

void answer_encode(const struct answer *a, struct sbuf *out)
{
	uint8_t fixed[FIXED_LEN] = { FORMAT, (uint8_t)a->public.kind };
	uint64_t wall;

	memcpy(&wall, &a->public.wall, sizeof(wall));
	le_put(fixed + OFF_POSITION, a->public.position, 8);
	le_put(fixed + OFF_REVISION, a->public.revision, 8);
	le_put(fixed + OFF_WALL, wall, 8);
	memcpy(fixed + OFF_HASH, a->public.request_hash, ENTRY_HASH_LEN);
	sbuf_add(out, fixed, sizeof(fixed));
	sbuf_puts(out, a->key);
}

bool answers_decode(struct answers *a, struct str in)
{
	const uint8_t *p = (const uint8_t *)in.p;
	struct store_answer public = { 0 };

	if (in.n <= FIXED_LEN || in.n > FIXED_LEN + ENTRY_TEXT_MAX || p[0] != FORMAT || p[2] != 0 || p[3] != 0)
		return false;
	if (p[OFF_KIND] < ENTRY_CONFIG || p[OFF_KIND] >= ENTRY_KIND_COUNT || memchr(p + FIXED_LEN, 0, in.n - FIXED_LEN))
		return false;
	uint64_t wall = le_get(p + OFF_WALL, 8);
	memcpy(&public.wall, &wall, sizeof(wall));
	if (!isfinite(public.wall))
		return false;
	public.kind = (enum entry_kind)p[OFF_KIND];
	public.position = le_get(p + OFF_POSITION, 8);
	public.revision = le_get(p + OFF_REVISION, 8);
	memcpy(public.request_hash, p + OFF_HASH, ENTRY_HASH_LEN);
	char *key = xstrndup((const char *)p + FIXED_LEN, in.n - FIXED_LEN);
	answers_put(a, key, &public);
	free(key);
	return true;
}

/* SPDX-License-Identifier: Apache-2.0
 * The set of ticket keys.
 *
 * The hard thing is that nodes part and meet again in any order without a word in between. So nothing is negotiated:
 * keys have one order that all nodes see, a set is the newest of what was ever heard, and sets that have heard the same
 * are the same.
 */
#include "cluster/report/keys.h"

#include <openssl/crypto.h>

void ticket_keys_wipe(struct ticket_keys *k)
{
	OPENSSL_cleanse(k, sizeof(*k));
}

/* Above 0: a is newer. */
static int compare(const struct ticket_key_entry *a, const struct ticket_key_entry *b)
{
	if (a->serial != b->serial)
		return a->serial > b->serial ? 1 : -1;
	if (a->maker != b->maker)
		return a->maker < b->maker ? 1 : -1;
	return memcmp(a->bytes, b->bytes, TICKET_KEY_LEN);
}

static uint32_t age(const struct ticket_key_entry *e, int64_t now_ms)
{
	int64_t s = (int64_t)e->age_s + (now_ms > e->since_ms ? (now_ms - e->since_ms) / 1000 : 0);

	return s < UINT32_MAX ? (uint32_t)s : UINT32_MAX;
}

/* The older of two ages: a copy that was long under way knows less of it. */
static void take_age(struct ticket_key_entry *mine, const struct ticket_key_entry *theirs, int64_t now_ms)
{
	if (age(mine, now_ms) >= theirs->age_s)
		return;
	mine->age_s = theirs->age_s;
	mine->since_ms = now_ms;
}

static bool insert(struct ticket_keys *k, const struct ticket_key_entry *e, int64_t now_ms)
{
	size_t at = 0;

	while (at < k->n && compare(&k->list[at], e) > 0)
		at++;
	if (at < k->n && compare(&k->list[at], e) == 0) {
		take_age(&k->list[at], e, now_ms);
		return false;
	}
	if (at == TICKET_KEYS_MAX)
		return false;
	if (k->n < TICKET_KEYS_MAX)
		k->n++;
	memmove(&k->list[at + 1], &k->list[at], (k->n - 1 - at) * sizeof(*e));
	k->list[at] = *e;
	k->list[at].since_ms = now_ms;
	return true;
}

void ticket_keys_made(struct ticket_keys *k, uint32_t maker, const uint8_t bytes[TICKET_KEY_LEN], int64_t now_ms)
{
	uint64_t newest = k->n > 0 ? k->list[0].serial : 0;
	struct ticket_key_entry e = { .serial = newest < TICKET_SERIAL_MAX ? newest + 1 : newest, .maker = maker };

	memcpy(e.bytes, bytes, TICKET_KEY_LEN);
	(void)insert(k, &e, now_ms);
	OPENSSL_cleanse(&e, sizeof(e));
}

bool ticket_keys_merge(struct ticket_keys *k, const struct ticket_keys *heard, int64_t now_ms)
{
	bool changed = false;

	for (size_t i = 0; i < heard->n; i++)
		changed |= insert(k, &heard->list[i], now_ms);
	return changed;
}

void ticket_keys_send(const struct ticket_keys *k, struct ticket_keys *ret, int64_t now_ms)
{
	*ret = (struct ticket_keys) { .n = k->n < TICKET_KEYS_SENT ? k->n : TICKET_KEYS_SENT };
	for (size_t i = 0; i < ret->n; i++) {
		ret->list[i] = k->list[i];
		ret->list[i].age_s = age(&k->list[i], now_ms);
		ret->list[i].since_ms = now_ms;
	}
}

bool ticket_keys_due(const struct ticket_keys *k, bool maker, uint32_t period_s, int64_t now_ms)
{
	if (k->n == 0)
		return true;
	return age(&k->list[0], now_ms) >= (maker ? period_s : period_s + period_s / 2);
}

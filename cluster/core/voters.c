/* SPDX-License-Identifier: Apache-2.0
 * The table of voters as bytes, and what a quorum of it is.
 *
 * The hard thing: with two voters no majority survives the loss of one. So one of them, the tie-breaker, is part of
 * every quorum: any two quorums share it, and the other one alone is none. That both must have written while both are
 * there is for the data's sake (two copies) and not needed for agreement.
 */
#include "cluster/core/voters.h"

#include "cluster/core/le.h"
#include "cluster/core/planted.h"

enum { HEAD_LEN = 12, MEMBER_LEN = 84, OFF_COUNT = 4, OFF_FORCED = 5, OFF_TIE = 8 };
enum { M_ID = 0, M_INSTANCE = 4, M_VOTES = 12, M_ONLY = 14, M_NAME_LEN = 16, M_NAME = 20 };

_Static_assert(CORE_MEMBERS_MAX <= 8 * sizeof(voters_set), "a set holds every member");
_Static_assert(M_NAME + VOTERS_NAME_MAX + 1 == MEMBER_LEN, "the member's fields fill it");

static const char magic[4] = { 'P', 'R', 'V', 'T' };

void voters_encode(const struct voters *v, struct sbuf *out)
{
	uint8_t head[HEAD_LEN] = { 0 };

	memcpy(head, magic, sizeof(magic));
	head[OFF_COUNT] = (uint8_t)v->n;
	head[OFF_FORCED] = v->forced;
	le_put(head + OFF_TIE, v->tie_breaker, 4);
	sbuf_add(out, head, sizeof(head));
	for (size_t i = 0; i < v->n; i++) {
		const struct voter *m = &v->list[i];
		uint8_t p[MEMBER_LEN] = { 0 };
		size_t n = strnlen(m->name, VOTERS_NAME_MAX);
		le_put(p + M_ID, m->id, 4);
		le_put(p + M_INSTANCE, m->instance, 8);
		le_put(p + M_VOTES, m->votes, 2);
		p[M_ONLY] = m->voter_only;
		le_put(p + M_NAME_LEN, n, 4);
		memcpy(p + M_NAME, m->name, n);
		sbuf_add(out, p, sizeof(p));
	}
}

static bool decode_member(const uint8_t *p, struct voter *m)
{
	size_t n = (size_t)le_get(p + M_NAME_LEN, 4);

	*m = (struct voter) { .id = (uint32_t)le_get(p + M_ID, 4),
			      .instance = le_get(p + M_INSTANCE, 8),
			      .votes = (uint16_t)le_get(p + M_VOTES, 2),
			      .voter_only = p[M_ONLY] == 1 };
	if (n > VOTERS_NAME_MAX || p[M_ONLY] > 1 || p[M_ONLY + 1] != 0)
		return false;
	memcpy(m->name, p + M_NAME, n);
	return true;
}

bool voters_decode(struct str document, struct voters *ret)
{
	const uint8_t *p = (const uint8_t *)document.p;

	memset(ret, 0, sizeof(*ret));
	if (document.n < HEAD_LEN || memcmp(p, magic, sizeof(magic)) != 0 || p[OFF_FORCED] > 1)
		return false;
	ret->n = p[OFF_COUNT];
	ret->forced = p[OFF_FORCED] == 1;
	ret->tie_breaker = (uint32_t)le_get(p + OFF_TIE, 4);
	if (le_get(p + OFF_FORCED + 1, 2) != 0 || ret->n > CORE_MEMBERS_MAX ||
	    document.n - HEAD_LEN < ret->n * MEMBER_LEN)
		return false;
	for (size_t i = 0; i < ret->n; i++)
		if (!decode_member(p + HEAD_LEN + i * MEMBER_LEN, &ret->list[i]))
			return false;
	return voters_check(ret) == NULL;
}

static bool tie_breaker_votes(const struct voters *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->list[i].id == v->tie_breaker)
			return v->list[i].votes > 0;
	return false;
}

const char *voters_check(const struct voters *v)
{
	size_t voting = 0;

	for (size_t i = 0; i < v->n; i++) {
		if (v->list[i].id == 0)
			return "a member has the id 0";
		if (v->list[i].votes > VOTERS_VOTES_MAX)
			return "a member has too many votes";
		for (size_t k = 0; k < i; k++)
			if (v->list[k].id == v->list[i].id)
				return "an id stands twice";
		voting += v->list[i].votes > 0;
	}
	if (voting == 0)
		return "nobody has a vote";
	if (v->tie_breaker != 0 && !tie_breaker_votes(v))
		return "the tie-breaker has no vote";
	return NULL;
}

int voters_index(const struct voters *v, uint32_t id, uint64_t instance)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->list[i].id == id)
			return v->list[i].instance == instance ? (int)i : -1;
	return -1;
}

static bool quorum_of_two(const struct voters *v, voters_set voting, voters_set done, voters_set able)
{
	voters_set tie = 0;

	if (PLANTED(PLANT_BOTH_HALVES))
		return (done & voting) != 0;
	for (size_t i = 0; i < v->n; i++)
		if (v->list[i].id == v->tie_breaker)
			tie = (voters_set)1 << i;
	if ((done & voting) == voting)
		return true;
	return (done & tie & voting) != 0 && (voting & able & ~done) == 0;
}

bool voters_quorum(const struct voters *v, voters_set done, voters_set able)
{
	unsigned all = 0, have = 0, n = 0;
	voters_set voting = 0;

	for (size_t i = 0; i < v->n; i++) {
		voters_set bit = (voters_set)1 << i;
		if (v->list[i].votes == 0)
			continue;
		voting |= bit;
		n++;
		all += v->list[i].votes;
		have += done & bit ? v->list[i].votes : 0;
	}
	if (n == 2)
		return quorum_of_two(v, voting, done, able);
	return 2 * have > all;
}

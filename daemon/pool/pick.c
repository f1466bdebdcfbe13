/* SPDX-License-Identifier: Apache-2.0
 * Choosing a server: who is a candidate. Which of the candidates is the balancing algorithm's (balance.c).
 *
 * Each server of a view is judged once per pick (enum fit); the answer, its explanation for people, and the reason why
 * nothing was found all come from that one judgement. A server that this transaction has tried, or that cannot do what
 * it asks, counts as not usable for it, so that the next priority group opens; one at its cap does not: waiting is
 * better than waking a reserve.
 */
#include "daemon/pool/pool_private.h"

enum fit {
	FIT_OK,
	FIT_FULL,
	FIT_BUSY, /* only when nothing better is there */
	FIT_BUSY_FULL,
	FIT_INCAPABLE,
	FIT_TOO_BIG,
	FIT_TRIED,
	FIT_NO_WEIGHT,
	FIT_UNUSABLE,
	FIT_COUNT
};

static bool was_tried(const struct pick_query *q, const struct server *s)
{
	for (unsigned i = 0; i < q->n_tried; i++)
		if (q->tried[i] == s)
			return true;
	return false;
}

/* A server never seen is taken at its word later: the session room checks again against the live EHLO. */
static bool lacks(const struct pool *p, const struct pick_query *q, const struct server *s)
{
	if (q->need_exts == 0 || !atomic_load_explicit(&s->caps_known, memory_order_acquire))
		return false;
	unsigned has = atomic_load_explicit(&s->caps, memory_order_relaxed);

	/* `force` is about what clients are offered; a server is never sent what it did not announce. */
	has &= ~p->config->caps_off;
	return (q->need_exts & ~has) != 0;
}

static bool is_too_big(const struct pick_query *q, const struct server *s)
{
	uint64_t size = atomic_load_explicit(&s->size, memory_order_relaxed);

	return size != 0 && q->need_size > size;
}

static enum fit judge(const struct pool *p, const struct pick_query *q, const struct server *s)
{
	enum server_state st = server_state(s);

	if (!server_state_usable(st))
		return FIT_UNUSABLE;
	if (server_weight(s) == 0)
		return FIT_NO_WEIGHT;
	if (was_tried(q, s))
		return FIT_TRIED;
	if (lacks(p, q, s))
		return FIT_INCAPABLE;
	if (is_too_big(q, s))
		return FIT_TOO_BIG;
	bool full = server_is_full(s);
	if (full && q->skip_full)
		return FIT_TRIED;
	if (st == SERVER_BUSY)
		return full ? FIT_BUSY_FULL : FIT_BUSY;
	return full ? FIT_FULL : FIT_OK;
}

/* ---- the survey of a view ---- */

struct survey {
	enum fit fits[POOL_SERVERS_MAX]; /* by index in the view */
	size_t n_active;                 /* of pool.order: the groups in use */
	bool later;                      /* one that cannot be used now might take it later */
	unsigned count[FIT_COUNT];       /* within these, but incapable and too big: anywhere looked at */
};

/* Failed, down or ejected, but big enough: 5xx would be wrong, this message may go another time. */
static bool might_later(const struct pick_query *q, const struct server *s, enum fit fit)
{
	enum server_state st = server_state(s);

	return (fit == FIT_TRIED || fit == FIT_UNUSABLE) && st != SERVER_MAINT && st != SERVER_DRAIN &&
	       !is_too_big(q, s);
}

static void survey(const struct pool *p, const struct pick_query *q, struct survey *sv)
{
	unsigned usable = 0, want = p->config->priority_activation > 0 ? p->config->priority_activation : 1;

	sv->n_active = 0;
	sv->later = false;
	memset(sv->count, 0, sizeof(sv->count));
	for (size_t at = 0; at < p->n_servers; at++) {
		unsigned i = p->order[at];
		bool starts_group = at == 0 || p->priorities[i] != p->priorities[p->order[at - 1]];
		if (starts_group && usable >= want)
			break;
		sv->fits[i] = judge(p, q, p->servers[i]);
		sv->count[sv->fits[i]]++;
		sv->later |= might_later(q, p->servers[i], sv->fits[i]);
		/* A full server is one that works; of a busy one nobody knows. */
		usable += sv->fits[i] == FIT_OK || sv->fits[i] == FIT_FULL;
		sv->n_active = at + 1;
	}
}

static enum pick nothing(const struct survey *sv)
{
	if (sv->count[FIT_FULL] > 0 || sv->count[FIT_BUSY_FULL] > 0)
		return PICK_FULL;
	if (sv->count[FIT_INCAPABLE] > 0)
		return PICK_INCAPABLE;
	return sv->count[FIT_TOO_BIG] > 0 && !sv->later ? PICK_TOO_BIG : PICK_NONE;
}

/* When all are busy, the one whose hold ends first. */
static struct server *least_busy(const struct pool *p, const struct survey *sv)
{
	struct server *best = NULL;
	int64_t best_until = 0;

	for (size_t at = 0; at < sv->n_active; at++) {
		struct server *s = p->servers[p->order[at]];
		int64_t until = atomic_load_explicit(&s->busy_until_ms, memory_order_relaxed);
		if (sv->fits[p->order[at]] != FIT_BUSY)
			continue;
		if (best == NULL || until < best_until) {
			best = s;
			best_until = until;
		}
	}
	return best;
}

static size_t collect(const struct pool *p, const struct survey *sv, struct candidate *c)
{
	size_t n = 0;

	for (size_t at = 0; at < sv->n_active; at++) {
		unsigned i = p->order[at];
		struct server *s = p->servers[i];
		unsigned weight = server_weight(s);
		if (sv->fits[i] != FIT_OK || weight == 0)
			continue;
		c[n++] = (struct candidate) { .server = s,
					      .index = i,
					      .weight = weight,
					      .n_txns = atomic_load_explicit(&s->n_txns, memory_order_relaxed) };
	}
	return n;
}

/* Counts the transaction, then looks again: whoever drains a server either sees the count or is seen here. */
static bool claim(struct server *s)
{
	atomic_fetch_add(&s->n_txns, 1);
	if (server_state_usable(server_word_state(atomic_load(&s->word))))
		return true;
	atomic_fetch_sub(&s->n_txns, 1);
	return false;
}

/* The server with which the asker has a connection already: its being full or another's turn count for nothing. */
static bool claim_preferred(struct pool *p, const struct pick_query *q, struct server **ret_server)
{
	struct pick_query asks = *q;

	asks.skip_full = false;
	for (size_t i = 0; q->prefer != NULL && i < p->n_servers; i++) {
		struct server *s = p->servers[i];
		if (s != q->prefer)
			continue;
		enum fit fit = judge(p, &asks, s);
		if ((fit != FIT_OK && fit != FIT_FULL) || !claim(s))
			return false;
		*ret_server = server_ref(s);
		return true;
	}
	return false;
}

enum pick pool_pick(struct pool *p, const struct pick_query *q, struct server **ret_server)
{
	CHECK_OBJ(p, POOL_MAGIC);
	struct candidate c[POOL_SERVERS_MAX];
	struct survey sv;

	if (claim_preferred(p, q, ret_server))
		return PICK_OK;
	/* A claim fails only when a server changed its state just now; as many changes as there are servers are enough
	 * of them. */
	for (size_t tries = 0; tries <= p->n_servers; tries++) {
		struct server *s;
		pool_wait_mark(p);
		survey(p, q, &sv);
		size_t n = collect(p, &sv, c);
		if (n > 0)
			s = c[n == 1 ? 0 : balance_pick(p, q, c, n)].server;
		else if (sv.count[FIT_FULL] > 0 || (s = least_busy(p, &sv)) == NULL)
			return nothing(&sv);
		if (claim(s)) {
			*ret_server = server_ref(s);
			return PICK_OK;
		}
	}
	return PICK_NONE;
}

bool pool_claim(struct server *s)
{
	CHECK_OBJ(s, SERVER_MAGIC);
	server_ref(s);
	atomic_fetch_add(&s->n_txns, 1);
	enum server_state state = server_word_state(atomic_load(&s->word));
	if (state != SERVER_DRAIN && state != SERVER_MAINT && state != SERVER_DOWN)
		return true;
	pool_txn_end(s);
	return false;
}

void pool_txn_end(struct server *s)
{
	CHECK_OBJ(s, SERVER_MAGIC);
	uint32_t before = atomic_fetch_sub(&s->n_txns, 1);

	ASSERT(before > 0);
	server_unref(s);
}

/* ---- explaining ---- */

static const char *why(enum fit fit, const struct server *s, bool busy_used)
{
	switch (fit) {
	case FIT_OK:
		return server_state_names[server_state(s)];
	case FIT_BUSY:
		return busy_used ? "busy; nothing better is usable" : "busy: used last";
	case FIT_FULL:
	case FIT_BUSY_FULL:
		return "at max_connections, none idle";
	case FIT_INCAPABLE:
		return "lacks an extension that the message needs";
	case FIT_TOO_BIG:
		return "the message is larger than its SIZE";
	case FIT_TRIED:
		return "already tried for this transaction";
	case FIT_NO_WEIGHT:
		return "weight 0";
	case FIT_UNUSABLE:
	case FIT_COUNT:
		break;
	}
	return server_state_names[server_state(s)];
}

void pool_explain(const struct pool *p, const struct pick_query *q, pool_candidate_fn *fn, void *arg)
{
	CHECK_OBJ(p, POOL_MAGIC);
	struct survey sv;

	survey(p, q, &sv);
	bool busy_used = sv.count[FIT_OK] == 0 && sv.count[FIT_FULL] == 0;
	for (size_t at = 0; at < p->n_servers; at++) {
		unsigned i = p->order[at];
		const struct server *s = p->servers[i];
		if (at >= sv.n_active) {
			fn(s, false, "its priority group is not needed", arg);
			continue;
		}
		bool in = sv.fits[i] == FIT_OK || (sv.fits[i] == FIT_BUSY && busy_used);
		fn(s, in, why(sv.fits[i], s, busy_used), arg);
	}
}

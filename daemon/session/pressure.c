/* SPDX-License-Identifier: Apache-2.0
 * Sessions that hold a server's slot without using it end early while others wait for one.
 *
 * The hard thing is to tell a client that does nothing from one that we, or the server, keep waiting: silence counts
 * from the newest octet that we sent, and content only while we take it.
 */
#include "daemon/session/pressure.h"

#include "daemon/session/txn.h"

/* A pool somebody waits for. */
struct shortage {
	const struct pool *pool;
	uint64_t least; /* load of who waits; 0 = nobody: nobody holds less */
	unsigned waiting;
};

static void look_at_pool(struct shortage *sh, const struct pool *p)
{
	if (sh->pool == p)
		return;
	*sh = (struct shortage) { .pool = p, .waiting = pool_waiting(p) };
	if (sh->waiting == 0)
		return;
	sh->least = pool_waiting_least(p);
}

/* Since when the client has been silent, at its own turn to speak. */
static int64_t silent_ms(struct txn *t, int64_t now)
{
	const struct stream *st = &t->s->front.st;

	if (t->quiet_out != st->bytes_out || t->quiet_since_ms == 0) {
		t->quiet_out = st->bytes_out;
		t->quiet_since_ms = now;
	}
	return now - t->quiet_since_ms;
}

static bool sends_by_drops(const struct txn *t, int64_t now)
{
	uint64_t rate = t->s->lv->config->caps.min_data_rate;
	int64_t window = now - t->rate_since_ms;

	return !t->s->front.st.paused && rate != UNLIMITED && window >= PRESSURE_MS &&
	       t->rate_bytes * 1000 / (uint64_t)window < rate;
}

static bool stands_still(struct txn *t, int64_t now)
{
	switch ((enum front_state)t->s->front.state) {
	case FRONT_COMMAND:
		return t->n_unanswered == 0 && silent_ms(t, now) >= PRESSURE_MS;
	case FRONT_BODY:
	case FRONT_CHUNK:
		return t->state == TXN_BODY && sends_by_drops(t, now);
	default:
		return false; /* others are due to speak */
	}
}

/* Somebody who holds fewer slots waits for the one of t. */
static bool is_wanted(const struct txn *t, struct shortage *sh)
{
	if (t == NULL || t->back == NULL || t->load == NULL)
		return false;
	look_at_pool(sh, t->pool);
	return sh->waiting > 0 &&
	       sh->least / POOL_LOAD_HELD < atomic_load_explicit(t->load, memory_order_relaxed) / POOL_LOAD_HELD;
}

static void end_idlers(struct worker *w)
{
	struct shortage sh = { 0 };
	int64_t now = loop_now_ms(w->loop);
	struct list *tmp;
	struct session *s;

	LIST_FOR_EACH(s, tmp, &w->sessions, link) {
		if (!is_wanted(s->txn, &sh) || !stands_still(s->txn, now))
			continue;
		sh.waiting--;
		session_close(s, CLOSE_WANTED);
	}
}

void pressure_look(struct worker *w)
{
	if (pool_anybody_waits())
		end_idlers(w);
}

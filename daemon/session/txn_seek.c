/* SPDX-License-Identifier: Apache-2.0
 * A transaction's way to a server: picking one, waiting for a slot, borrowing a connection, giving both back.
 *
 * The hard thing is that a slot is awaited behind others and that a server may be claimed without a connection: each
 * way out gives back exactly what was taken.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/session/identity.h"
#include "daemon/session/txn_server.h"

static void on_waited(void *arg);
static void on_timer(void *arg);

void txn_server_init(struct txn *t)
{
	t->waiter = (struct pool_waiter) { .loop = t->s->w->loop, .fn = on_waited, .arg = t };
	list_init(&t->waiter.link);
	timer_init(&t->timer, on_timer, t);
	t->replay_whole = true;
}

/* ---- giving the server back ---- */

/* What the transaction has, among what its client has. */
static void set_load(struct txn *t, uint64_t share)
{
	if (t->load == NULL && t->s->counted != NULL)
		t->waiter.load = t->load = clients_load(t->s->counted);
	if (t->load == NULL || t->load_share == share)
		return;
	atomic_fetch_add_explicit(t->load, share - t->load_share, memory_order_relaxed);
	t->load_share = share;
}

static void stop_waiting(struct txn *t)
{
	if (!t->waiting)
		return;
	t->waiting = false;
	set_load(t, 0);
	t->wait_us += loop_now_us(t->s->w->loop) - t->wait_since_us;
	timer_stop(&t->timer);
	pool_wait_cancel(&t->waiter);
}

void txn_leave_client(struct txn *t)
{
	stop_waiting(t); /* or others would go on reading the client's load */
	if (t->load == NULL)
		return;
	set_load(t, 0);
	t->load = NULL;
	t->waiter.load = NULL;
}

void txn_leave_server(struct txn *t)
{
	if (t->server == NULL)
		return;
	if (t->load != NULL)
		set_load(t, 0);
	pool_txn_end(t->server);
	t->server = NULL;
}

void txn_release_back(struct txn *t)
{
	struct back *b = t->back;

	stop_waiting(t);
	t->back = NULL;
	if (b != NULL && b->any_reply) /* it answered, and nothing failed: whatever it said, it works */
		server_report(t->pool, t->server, SERVER_SAW_SUCCESS, loop_now_ms(t->s->w->loop));
	if (b != NULL && b->state == BACK_READY && !b->body_open && b->due_n == 0 && t->mail_state == RCPT_UNSENT &&
	    t->xforward.n == 0)
		back_return(b);
	else if (b != NULL)
		back_abandon(b);
	txn_leave_server(t);
}

/* ---- seeking ---- */

static void give_up(struct txn *t, unsigned code, const char *enhanced, const char *text, enum txn_cause cause)
{
	session_reject(t->s, cause == CAUSE_SIZE ? REJECT_SIZE : REJECT_NO_SERVER);
	t->last_code = code;
	txn_decide(t, code, enhanced, text, cause);
}

/* There is no other server after all: what is said is what happened, not that nobody is left. */
static void give_up_retry(struct txn *t)
{
	txn_count_retry(t, false);
	txn_final_failure(t, &t->failure, false);
}

/* Waited long enough, or may not wait at all: servers at their limit count as not usable, so a reserve may. */
static void without_full(struct txn *t)
{
	if (t->skip_full) {
		give_up(t, 451, "4.3.2", "all servers are at their limit, try again", CAUSE_NO_SERVER);
		return;
	}
	t->skip_full = true;
	txn_seek(t);
}

static void wait_for_slot(struct txn *t)
{
	t->state = TXN_SEEKING;
	set_load(t, 0);
	if (t->skip_full || !pool_wait(t->pool, &t->waiter)) {
		without_full(t);
		return;
	}
	t->waiting = true;
	set_load(t, 1);
	if (t->wait_since_us == 0 || t->timer.deadline == 0) {
		t->wait_since_us = loop_now_us(t->s->w->loop);
		timer_set_in(t->s->w->loop, &t->timer, t->pool->config->queue_timeout_ms);
	}
}

static void on_waited(void *arg)
{
	struct txn *t = arg;

	CHECK_OBJ(t, TXN_MAGIC);
	t->waiting = false;
	set_load(t, 0);
	t->wait_us += loop_now_us(t->s->w->loop) - t->wait_since_us;
	t->wait_since_us = loop_now_us(t->s->w->loop);
	if (t->waiter.evicted)
		without_full(t);
	else
		txn_seek(t);
	if (!t->waiting && t->timer.fn != NULL)
		timer_stop(&t->timer);
}

static void on_timer(void *arg)
{
	struct txn *t = arg;

	CHECK_OBJ(t, TXN_MAGIC);
	stop_waiting(t);
	without_full(t);
}

/* A connection to t->server. */
void txn_borrow(struct txn *t)
{
	bool ready;

	t->server_name = arena_strdup(t->arena, t->server->name);
	txn_forget_reply(t); /* another server's */
	t->back = back_borrow(t->s->w, t->pool, t->server, t, t->fresh_only, &ready);
	t->fresh_only = false;
	if (t->back == NULL) {
		/* Its free connections belong to other workers: one of them is asked for, and its slot waited for. */
		engine_shed_idle(t->s->w->engine, t->s->w, t->server);
		txn_leave_server(t);
		wait_for_slot(t);
		return;
	}
	set_load(t, POOL_LOAD_HELD);
	t->state = TXN_SEEKING;
	if (ready)
		txn_on_ready(t);
}

/* The session's login at this pool went with its connection: no other server knows it. */
bool txn_lost_login(const struct txn *t)
{
	return t->s->login_lost && strcmp(t->s->login_pool, t->pool->config->name) == 0;
}

/* The server at which the session has logged in decides about it, or nobody. False: it has not logged in at this pool,
 * whose servers may all be asked. */
static bool seek_login(struct txn *t)
{
	struct session *s = t->s;

	if (s->login_pool == NULL || strcmp(s->login_pool, t->pool->config->name) != 0)
		return false;
	if (t->retrying) { /* it cannot do what the envelope needs */
		give_up_retry(t);
		return true;
	}
	struct server *server = back_pinned_server(s, t->pool);
	if (server == NULL || !pool_claim(server)) {
		give_up(t, 451, "4.4.2", "the server you logged in at has gone, log in again", CAUSE_BACKEND_LOST);
		return true;
	}
	t->server = server;
	txn_borrow(t);
	return true;
}

void txn_seek(struct txn *t)
{
	if (seek_login(t))
		return;
	struct pick_query q = { .hash = t->balance_hash,
				.need_exts = t->need_exts,
				.need_size = t->mail.has_size ? t->mail.size : 0,
				.n_tried = t->n_tried,
				.now_ms = loop_now_ms(t->s->w->loop) };

	q.skip_full = t->skip_full;
	if (identity_pins(&t->pool->config->identity))
		q.prefer = back_pinned_server(t->s, t->pool);
	memcpy(q.tried, t->tried, sizeof(q.tried));
	enum pick pick = pool_pick(t->pool, &q, &t->server);
	if (t->retrying && pick != PICK_OK && pick != PICK_FULL) {
		give_up_retry(t);
		return;
	}
	if (t->retrying)
		txn_count_retry(t, true);
	switch (pick) {
	case PICK_OK:
		txn_borrow(t);
		return;
	case PICK_FULL:
		wait_for_slot(t);
		return;
	case PICK_INCAPABLE:
		give_up(t, 451, "4.3.0", "no server can take this message now, try again", CAUSE_NO_SERVER);
		return;
	case PICK_TOO_BIG:
		give_up(t, 552, "5.3.4", "message too big for the servers", CAUSE_SIZE);
		return;
	case PICK_NONE:
		break;
	}
	if (t->skip_full)
		give_up(t, 451, "4.3.2", "all servers are at their limit, try again", CAUSE_NO_SERVER);
	else
		give_up(t, 451, "4.4.1", "no server is available, try again", CAUSE_NO_SERVER);
}

/* SPDX-License-Identifier: Apache-2.0
 * The core's inputs, taken apart and given to its parts.
 *
 * The hard thing is which messages to believe: only those of this view, in their sender's order without a gap. A
 * missing one makes all that follows of that view worthless here; the only cure is a new view.
 */
#include "cluster/core/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/core/core_private.h"

enum { SOFT_MS = 1000, RESYNC_MS = 2000 };

/* ---- life ---- */

struct core *core_new(const struct core_config *config, const struct core_env *env)
{
	struct core *c;

	ASSERT(config->id != 0);
	NEW_OBJ(c, CORE_MAGIC);
	c->env = *env;
	c->config = *config;
	c->config.meta = c->config.answers = (struct str) { NULL, 0 };
	c->trusted = true;
	lanes_init(&c->lanes);
	list_init(&c->own);
	list_init(&c->view.proposals);
	ops_init(&c->ledger.ops);
	if (config->meta.n > 0 && !writes_meta_decode(c, config->meta))
		c->trusted = false;
	if (config->damaged || !ops_decode(&c->ledger.ops, config->answers))
		c->trusted = false;
	ledger_load(c);
	c->committed = c->committed < c->ledger.last ? c->committed : c->ledger.last;
	c->applied = c->committed;
	c->promising = c->promised;
	c->applied_generation = c->adopted >> 32;
	return c;
}

void core_free(struct core *c)
{
	if (c == NULL)
		return;
	CHECK_OBJ(c, CORE_MAGIC);
	view_close(c);
	lanes_fini(&c->lanes);
	own_fini(c);
	ledger_fini(c);
	sbuf_wipe(&c->soft);
	sbuf_fini(&c->soft);
	FREE_OBJ(c);
}

void core_event_text(struct core *c, enum core_event event, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->env.event(c->env.arg, event, text);
}

void core_set_state(struct core *c)
{
	static const char *const names[] = { "OFFLINE", "SYNC", "MINORITY", "ACTIVE" };
	enum core_state s = CORE_SYNC;

	if (!c->view.open)
		s = CORE_OFFLINE;
	else if (c->view.following && c->view.active)
		s = CORE_ACTIVE;
	else if (c->view.minority)
		s = CORE_MINORITY;
	if (s == c->state)
		return;
	c->state = s;
	core_event_text(c, CORE_EVENT_STATE, "%s", names[s]);
	if (s != CORE_ACTIVE)
		own_view_gone(c);
}

struct member *core_member(struct core *c, uint32_t id)
{
	for (size_t i = 0; i < c->view.n; i++)
		if (c->view.members[i].id == id)
			return &c->view.members[i];
	return NULL;
}

/* Nothing of this view counts any more; asks for another. */
void core_lose_view(struct core *c, const char *why)
{
	struct view *v = &c->view;

	if (v->lost)
		return;
	order_clear(c);
	v->lost = true;
	v->following = v->active = v->minority = false;
	lanes_reset(&c->lanes);
	c->resync_ms = c->now_ms;
	core_event_text(c, CORE_EVENT_RESYNC, "%s", why);
	core_set_state(c);
	c->env.resync(c->env.arg);
}

/* ---- inputs ---- */

void core_view(struct core *c, struct core_view_id id, const uint32_t *members, size_t n)
{
	CHECK_OBJ(c, CORE_MAGIC);
	ASSERT(n > 0 && n <= CORE_MEMBERS_MAX);
	view_close(c);
	c->view.open = true;
	c->view.id = id;
	c->view.since_ms = c->now_ms;
	c->view.n = n;
	for (size_t i = 0; i < n; i++)
		c->view.members[i].id = members[i];
	core_set_state(c);
	if (!c->writes.busy)
		view_begin(c);
}

void core_disconnected(struct core *c)
{
	CHECK_OBJ(c, CORE_MAGIC);
	view_close(c);
	core_set_state(c);
}

/* It may hold keys: no copy of an earlier one stays in freed memory. */
static void keep_soft(struct sbuf *to, struct str bytes)
{
	sbuf_wipe(to);
	sbuf_reserve(to, CORE_SOFT_MAX);
	sbuf_add(to, bytes.p, bytes.n);
}

static void on_soft(struct member *m, struct str body)
{
	if (body.n <= CORE_SOFT_MAX)
		keep_soft(&m->soft, body);
	else
		sbuf_wipe(&m->soft);
}

static void on_message(struct core *c, struct member *m, const struct wire_head *h, struct str body)
{
	switch (h->kind) {
	case WIRE_STATE:
		view_on_state(c, m, body);
		break;
	case WIRE_START:
		view_on_start(c, m, h->epoch);
		break;
	case WIRE_PROMISED:
		view_on_promised(c, m, h->epoch, body);
		break;
	case WIRE_ACK:
		commit_on_ack(c, m, h->epoch, body);
		break;
	case WIRE_SOFT:
		on_soft(m, body);
		break;
	case WIRE_SUFFIX:
		adopt_on_suffix(c, m, h->epoch, body);
		break;
	case WIRE_PROPOSE:
		order_on_propose(c, m, body);
		break;
	case WIRE_ORDER:
		order_on_order(c, m, h->epoch, body);
		break;
	case WIRE_ANSWER:
		order_on_answer(c, m, h->epoch, body);
		break;
	default:
		break;
	}
}

static bool same_view(struct core_view_id a, struct core_view_id b)
{
	return a.ring == b.ring && a.lowest == b.lowest;
}

static void deliver_part(struct core *c, struct member *m, const struct wire_head *h, struct str part)
{
	struct str body = part;

	if (m->has_state && !quorum_speaks(c, &m->state) && h->kind != WIRE_STATE)
		return;
	if (h->kind < WIRE_FIRST_BULK) {
		on_message(c, m, h, body);
		return;
	}
	switch (joining_add(&m->joining, h, part, &body)) {
	case JOINED_BAD:
		core_lose_view(c, "a member's message does not fit together");
		break;
	case JOINED_WHOLE:
		on_message(c, m, h, body);
		sbuf_reset(&m->joining.body);
		break;
	case JOINED_MORE:
		break;
	}
}

void core_deliver(struct core *c, uint32_t sender, struct str bytes)
{
	struct wire_head h;
	struct str part;

	CHECK_OBJ(c, CORE_MAGIC);
	if (!c->view.open || c->view.lost)
		return;
	struct member *m = core_member(c, sender);
	if (wire_other_version(bytes)) {
		/* Its next message that can be read shows a gap, if this one was only damaged. */
		if (m != NULL && !m->foreign)
			core_event_text(c, CORE_EVENT_INCOMPATIBLE, "member %u: another version", sender);
		if (m != NULL)
			m->foreign = true;
		return;
	}
	bool good = wire_unframe(bytes, &h, &part) && h.sender == sender;
	if (!good) {
		core_event_text(c, CORE_EVENT_BAD_MESSAGE, "a message of member %u cannot be read", sender);
		core_lose_view(c, "a message cannot be read");
		return;
	}
	if (m == NULL)
		return;
	if (!same_view(h.view, c->view.id)) {
		if (PLANTED(PLANT_STALE_VIEW))
			deliver_part(c, m, &h, part);
		return;
	}
	if (h.sequence != m->sequence + 1) {
		core_lose_view(c, "a member's messages have a gap");
		return;
	}
	m->sequence = h.sequence;
	if (sender == c->config.id)
		c->lanes.in_flight--;
	deliver_part(c, m, &h, part);
	lanes_flush(c);
}

static void send_soft(struct core *c)
{
	struct sbuf body = { 0 };

	c->soft_ms = c->now_ms;
	c->soft_new = false;
	sbuf_add(&body, c->soft.p, c->soft.n);
	lanes_send(c, WIRE_SOFT, c->view.epoch, &body);
}

void core_tick(struct core *c, uint64_t now_ms)
{
	CHECK_OBJ(c, CORE_MAGIC);
	c->now_ms = now_ms;
	own_tick(c);
	writes_tick(c);
	if (!c->view.open)
		return;
	if (c->view.lost) {
		/* The transport may have missed the wish, or the view it made. */
		if (now_ms - c->resync_ms >= RESYNC_MS) {
			c->resync_ms = now_ms;
			c->env.resync(c->env.arg);
		}
		return;
	}
	view_tick(c);
	if (c->view.lost)
		return;
	if (c->soft_new || now_ms - c->soft_ms >= SOFT_MS)
		send_soft(c);
	order_pending(c);
	lanes_flush(c);
}

int core_soft(struct core *c, struct str bytes)
{
	CHECK_OBJ(c, CORE_MAGIC);
	if (bytes.n > CORE_SOFT_MAX)
		return -EFBIG;
	keep_soft(&c->soft, bytes);
	c->soft_new = true;
	return 0;
}

int core_set_cluster(struct core *c, uint64_t cluster)
{
	CHECK_OBJ(c, CORE_MAGIC);
	if (c->view.n > 1)
		return -EBUSY;
	c->config.cluster = cluster;
	if (c->view.n == 1) /* what it said before of itself was of the same log */
		c->view.members[0].state.cluster = cluster;
	return 0;
}

/* ---- questions ---- */

enum core_state core_state(const struct core *c)
{
	CHECK_OBJ(c, CORE_MAGIC);
	return c->state;
}

uint64_t core_committed(const struct core *c)
{
	CHECK_OBJ(c, CORE_MAGIC);
	return c->committed;
}

uint64_t core_settled(const struct core *c)
{
	CHECK_OBJ(c, CORE_MAGIC);
	uint64_t settled = c->committed < c->ledger.stable_to ? c->committed : c->ledger.stable_to;

	/* What is known to be committed is applied in a view only: until then its entry is needed. */
	return settled < c->applied ? settled : c->applied;
}

uint64_t core_applied(const struct core *c)
{
	CHECK_OBJ(c, CORE_MAGIC);
	return c->applied;
}

size_t core_in_memory(const struct core *c)
{
	CHECK_OBJ(c, CORE_MAGIC);
	return c->ledger.n_tail;
}

uint64_t core_epoch(const struct core *c)
{
	CHECK_OBJ(c, CORE_MAGIC);
	return c->view.following ? c->view.epoch : c->adopted;
}

bool core_can_vote(const struct core *c)
{
	CHECK_OBJ(c, CORE_MAGIC);
	return c->trusted && quorum_able(c);
}

uint32_t core_donor(const struct core *c)
{
	CHECK_OBJ(c, CORE_MAGIC);
	return c->view.following ? c->view.donor : 0;
}

uint64_t core_find(const struct core *c, const char *operation, const char *idempotency_key)
{
	CHECK_OBJ(c, CORE_MAGIC);
	uint64_t position = ops_find(&c->ledger.ops, operation, idempotency_key);

	return position <= c->applied ? position : 0;
}

bool core_same_request(const struct core *c, const char *idempotency_key, const uint8_t request_hash[ENTRY_HASH_LEN])
{
	CHECK_OBJ(c, CORE_MAGIC);
	return ops_same_request(&c->ledger.ops, idempotency_key, request_hash);
}

struct str core_soft_of(const struct core *c, uint32_t id)
{
	CHECK_OBJ(c, CORE_MAGIC);
	for (size_t i = 0; i < c->view.n; i++)
		if (c->view.members[i].id == id)
			return (struct str) { c->view.members[i].soft.p, c->view.members[i].soft.n };
	return (struct str) { NULL, 0 };
}

void core_answers(const struct core *c, struct sbuf *out)
{
	CHECK_OBJ(c, CORE_MAGIC);
	ops_encode(&c->ledger.ops, core_settled(c), out);
}

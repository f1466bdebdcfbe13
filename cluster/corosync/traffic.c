/* SPDX-License-Identifier: Apache-2.0
 * What goes over the connection to corosync, and what comes.
 *
 * The hard thing is that corosync takes a message without saying whether it will go out. So every message has a number,
 * few are out at a time, and what shows that one was lost or that corosync hangs is only that it does not come back: a
 * gap in the numbers, or silence. While nothing comes back nothing more is sent, but for a rare sign of life: without
 * that, the loss of the last message would look like a hang for ever.
 */
#include "cluster/corosync/adapter.h"

#include <errno.h>

#include "cluster/corosync/frame.h"
#include "daemon/base/hash.h"

enum { AGAIN_MIN_MS = 2, AGAIN_MAX_MS = 100 };

unsigned adapter_in_flight(const struct adapter *a)
{
	return (unsigned)(a->sent - a->returned);
}

bool adapter_hung(const struct adapter *a)
{
	return a->status.waiting_since_ms != 0 && a->now - a->status.waiting_since_ms >= a->pace->hung;
}

/* ---- what comes ---- */

/* The view is over for senders; this node says what it sees next. */
static void view_changed(struct adapter *a, int64_t announce_in)
{
	boundary_closed(a->b);
	a->status.connected = false;
	a->announce_at = a->now + announce_in;
	adapter_say(a, WHY_NO_VIEW);
	/* Corosync lives, whatever became of the messages that are out. */
	if (a->status.waiting_since_ms != 0)
		a->status.waiting_since_ms = a->now;
}

static void on_group(void *arg, const struct ring_process *list, size_t n, bool nodes)
{
	struct adapter *a = arg;
	bool was_in = ring_contains(a->view.group, a->view.n_group, a->own);

	ring_view_group(&a->view, list, n, nodes);
	if (ring_contains(list, n, a->own))
		/* When nodes come or go the ring's name follows, and is better waited for. */
		view_changed(a, nodes ? a->pace->announce : 0);
	else if (was_in)
		a->lose = WHY_LEFT;
}

static void on_ring(void *arg, struct ring_id ring)
{
	struct adapter *a = arg;

	ring_view_ring(&a->view, ring);
	a->status.ring = ring;
	view_changed(a, 0);
}

/* A message of this connection came back. */
static void returned(struct adapter *a, uint64_t number)
{
	uint64_t k = number - a->base;

	if (k <= a->returned || k > a->sent)
		return;
	uint64_t missing = k - a->returned - 1;
	a->status.lost += missing;
	/* What was lost of an earlier view is missed by nobody. */
	if (missing > 0 && a->view.open && k - 1 >= a->view_first)
		a->lose = WHY_RESYNC;
	a->returned = k;
	a->status.returned_ms = a->now;
	a->status.waiting_since_ms = adapter_in_flight(a) > 0 ? a->now : 0;
	a->probe_at = 0;
}

static void announced(struct adapter *a, struct ring_process sender, struct str body)
{
	struct ring_announcement announcement;

	if (!frame_announcement_parse(body, &announcement))
		return;
	switch (ring_view_announced(&a->view, sender, &announcement)) {
	case RING_IGNORED:
		return;
	case RING_EXCLUDED:
		a->lose = WHY_SECOND;
		return;
	case RING_OPENED:
		boundary_view(a->b, &a->view);
		a->view_first = a->sent + 1;
		memset(a->astray, 0, sizeof(a->astray));
		a->told = true;
		a->tell_at = 0;
		a->retry_wait = a->pace->retry_min;
		a->status.connected = true;
		adapter_say(a, WHY_NOT);
		return;
	}
}

/* What a member sent in another view is for nobody here. Some of it is usual after a change, but no more than can be
 * out: who goes on so calls the same view by another name, and only a new one makes us agree. */
static bool of_this_view(struct adapter *a, int member, uint32_t tag)
{
	if (tag == ring_view_tag(&a->view))
		return true;
	if (a->view.open && ++a->astray[member] > IN_FLIGHT_MAX)
		a->lose = WHY_RESYNC;
	return false;
}

static void on_deliver(void *arg, struct ring_process sender, struct str bytes)
{
	struct adapter *a = arg;
	struct frame f;

	if (a->lose != WHY_NOT || !frame_parse(bytes, &f))
		return;
	if (sender.id == a->own.id && sender.pid == a->own.pid)
		returned(a, f.number);
	if (a->lose != WHY_NOT)
		return;
	if (f.kind == FRAME_ANNOUNCEMENT) {
		announced(a, sender, f.body);
		return;
	}
	int member = ring_view_member(&a->view, sender);
	if (member < 0 || !of_this_view(a, member, f.tag))
		return;
	if (f.kind == FRAME_DATA && f.body.n <= CORE_MESSAGE_MAX)
		boundary_message(a->b, sender.id, f.body);
}

void traffic_receive(struct adapter *a, bool room)
{
	a->drained = false;
	for (int i = 0; i < DISPATCH_MAX && room && a->state == JOINED; i++) {
		int rc = CALL(a, a->engine->dispatch(a->engine->arg));
		if (a->lose == WHY_RESYNC) {
			adapter_rejoin(a);
		} else if (a->lose != WHY_NOT) {
			adapter_lose(a, a->lose);
		} else if (rc == -EAGAIN) {
			a->drained = true;
			a->strays++;
			return;
		} else if (rc != 0) {
			adapter_lose(a, adapter_why(rc));
		}
		a->strays = 0;
		/* Something comes, so corosync lives: if nothing comes back, try whether a message was lost. */
		if (adapter_hung(a) && a->probe_at > a->now)
			a->probe_at = a->now;
		room = boundary_room(a->b, false);
	}
}

struct engine_events traffic_events(struct adapter *a)
{
	return (struct engine_events) { a, on_group, on_ring, on_deliver };
}

/* ---- what goes ---- */

/* 0, -EAGAIN, or the connection is lost. */
static int send_frame(struct adapter *a, enum frame_kind kind, struct str body)
{
	uint8_t head[FRAME_HEAD_LEN];

	frame_head(head,
		   &(struct frame) { .kind = kind, .tag = ring_view_tag(&a->view), .number = a->base + a->sent + 1 });
	int rc = CALL(a, a->engine->multicast(a->engine->arg, (struct str) { (char *)head, sizeof(head) }, body));
	if (rc == 0) {
		if (adapter_in_flight(a) == 0)
			a->status.waiting_since_ms = a->now;
		a->sent++;
		a->sent_at = a->now;
		a->again_at = 0;
		a->again_wait = 0;
		a->status.refused_since_ms = 0;
	} else if (rc == -EAGAIN) {
		a->again_wait = a->again_wait == 0 ? AGAIN_MIN_MS : a->again_wait * 2;
		if (a->again_wait > AGAIN_MAX_MS)
			a->again_wait = AGAIN_MAX_MS;
		a->again_at = a->now + a->again_wait;
		if (a->status.refused_since_ms == 0)
			a->status.refused_since_ms = a->now;
	} else {
		adapter_lose(a, adapter_why(rc));
	}
	return rc;
}

static void announce(struct adapter *a)
{
	uint8_t body[FRAME_ANNOUNCEMENT_MAX];
	struct ring_announcement announcement;

	a->announce_at = a->now + a->pace->announce;
	switch (ring_view_propose(&a->view, &announcement)) {
	case RING_PROPOSED:
		break;
	case RING_UNKNOWN:
		return;
	case RING_AMBIGUOUS:
		adapter_say(a, WHY_AMBIGUOUS);
		return;
	case RING_SECOND:
		adapter_lose(a, WHY_SECOND);
		return;
	case RING_TOO_MANY:
		adapter_say(a, WHY_MANY);
		return;
	}
	random_bytes(&announcement.nonce, sizeof(announcement.nonce));
	size_t n = frame_announcement(body, &announcement);
	if (send_frame(a, FRAME_ANNOUNCEMENT, (struct str) { (char *)body, n }) == -EAGAIN)
		a->announce_at = a->again_at;
}

static void send_waiting(struct adapter *a)
{
	const struct waiting *w;

	while (adapter_in_flight(a) < DATA_IN_FLIGHT_MAX && (w = boundary_next(a->b)) != NULL) {
		if (send_frame(a, FRAME_DATA, (struct str) { w->bytes, w->n }) != 0)
			return;
		boundary_sent(a->b);
	}
}

/* A sign of life, so that silence means something; a probe, when there is silence. */
static void send_heart(struct adapter *a)
{
	bool due = adapter_in_flight(a) == 0 ? a->now - a->sent_at >= a->pace->idle
					     : adapter_hung(a) && a->now >= a->probe_at;

	if (!due)
		return;
	a->probe_at = a->now + a->pace->probe;
	(void)send_frame(a, FRAME_HEART, (struct str) { "", 0 });
}

void traffic_transmit(struct adapter *a)
{
	if (adapter_hung(a) && a->drained && a->probe_at == 0)
		a->probe_at = a->now + a->pace->probe;
	if (a->again_at > a->now || adapter_in_flight(a) >= IN_FLIGHT_MAX)
		return;
	if (!adapter_hung(a) && !a->view.open && a->drained && a->now >= a->announce_at)
		announce(a);
	if (a->state == JOINED && a->again_at <= a->now && !adapter_hung(a) && a->view.open)
		send_waiting(a);
	if (a->state == JOINED && a->again_at <= a->now && adapter_in_flight(a) < IN_FLIGHT_MAX)
		send_heart(a);
}

int64_t traffic_due(const struct adapter *a, int64_t latest)
{
	int64_t at = latest;

	if (a->again_at > a->now)
		return a->again_at;
	if (!a->view.open && a->announce_at > a->now)
		sooner(&at, a->announce_at);
	if (adapter_in_flight(a) == 0)
		sooner(&at, a->sent_at + a->pace->idle);
	else if (!adapter_hung(a))
		sooner(&at, a->status.waiting_since_ms + a->pace->hung);
	if (a->probe_at > a->now)
		sooner(&at, a->probe_at);
	return at;
}

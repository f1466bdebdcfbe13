/* SPDX-License-Identifier: Apache-2.0
 * The thread that speaks to corosync: connects, joins, sends, hears, and notices when nothing comes back.
 *
 * The hard thing is that corosync takes a message without saying whether it will go out. So every message has a number,
 * few are out at a time, and what shows that one was lost or that corosync hangs is only that it does not come back: a
 * gap in the numbers, or silence. While nothing comes back nothing more is sent, but for a rare sign of life: without
 * that, the loss of the last message would look like a hang for ever.
 */
#include "cluster/corosync/corosync_private.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "cluster/corosync/frame.h"
#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"

enum state { CLOSED, JOINING, JOINED };
enum { AGAIN_MIN_MS = 2, AGAIN_MAX_MS = 100, POLL_MAX_MS = 1000, STRAY_MAX = 100, STRAY_MS = 10 };

static const char why_starting[] = "not connected yet";
static const char why_absent[] = "corosync does not run";
static const char why_access[] = "corosync does not let this user in: its uidgid.d names others";
static const char why_memory[] = "no room in /dev/shm for the connection to corosync";
static const char why_other_id[] = "corosync has another node id than this node";
static const char why_second[] = "another process of this node is in corosync's group";
static const char why_lost[] = "the connection to corosync is gone";
static const char why_resync[] = "joining again, since messages are missing";
static const char why_left[] = "corosync took this process out of the group";
static const char why_silent[] = "corosync gave nothing back for too long";
static const char why_backlog[] = "events were not taken for too long";
static const char why_joining[] = "joining the group";
static const char why_no_view[] = "members are agreeing on a view";
static const char why_many[] = "the group has more nodes than one cluster may have";
static const char why_ambiguous[] = "a node has two processes in the group";

struct adapter {
	struct boundary *b;
	const struct engine *engine;
	const struct pace *pace;
	const struct thread_start *start;
	enum state state;
	struct thread_status status;
	struct ring_view view;
	struct ring_process own;
	int fd;
	int64_t now;
	/* Numbers: of this connection, from 1; `base` tells frames of an earlier one with the same process id apart. */
	uint64_t base, sent, returned, view_first;
	int64_t sent_at, probe_at, announce_at, measure_at;
	int64_t again_at, again_wait;
	int64_t retry_at, retry_wait;
	int64_t full_since;
	bool told;       /* the control thread has a view */
	int64_t tell_at; /* a view that ended is told as disconnected then; 0 = not */
	bool drained;    /* nothing was left to read in this turn */
	unsigned strays;
	int called;       /* by CALL() */
	const char *lose; /* set where the connection cannot be closed: in the middle of a dispatch */
};

/* Whoever asks for the status sees how long a call takes. */
#define CALL(a, expression) (boundary_calls((a)->b), (a)->called = (expression), boundary_returned((a)->b), (a)->called)

static unsigned in_flight(const struct adapter *a)
{
	return (unsigned)(a->sent - a->returned);
}

static bool hung(const struct adapter *a)
{
	return a->status.waiting_since_ms != 0 && a->now - a->status.waiting_since_ms >= a->pace->hung;
}

static void say(struct adapter *a, const char *why)
{
	if (a->status.why == why)
		return;
	a->status.why = why;
	if (why[0] == '\0')
		log_msg(LOG_LEVEL_NOTICE, "corosync", "in a view of %zu nodes", a->view.n_now);
	else if (why != why_joining && why != why_no_view && why != why_starting)
		log_msg(LOG_LEVEL_WARNING, "corosync", "%s", why);
}

/* ---- the connection's end ---- */

/* The end is told first, since closing may hang. tell_at: when the control thread hears of it, if no view comes. */
static void lose(struct adapter *a, const char *why, int64_t retry_at, int64_t tell_at)
{
	say(a, why);
	boundary_closed(a->b);
	a->tell_at = a->told ? tell_at : 0;
	if (a->told && tell_at <= a->now) {
		boundary_disconnected(a->b);
		a->told = false;
		a->tell_at = 0;
	}
	a->status.lost += in_flight(a);
	a->sent = a->returned = 0;
	a->status.connected = false;
	a->status.in_flight = 0;
	a->status.waiting_since_ms = a->status.refused_since_ms = 0;
	a->lose = NULL;
	a->retry_at = retry_at;
	boundary_status(a->b, &a->status);
	if (a->state == CLOSED)
		return;
	a->state = CLOSED;
	boundary_calls(a->b);
	a->engine->close(a->engine->arg);
	boundary_returned(a->b);
}

static void lose_now(struct adapter *a, const char *why)
{
	int64_t wait = why == why_second ? a->pace->second : why == why_other_id ? a->pace->retry_max : a->retry_wait;

	if (a->retry_wait * 2 <= a->pace->retry_max)
		a->retry_wait *= 2;
	lose(a, why, a->now + wait, a->now);
}

static void rejoin(struct adapter *a)
{
	a->status.resyncs++;
	lose(a, why_resync, a->now + a->pace->join, a->now + a->pace->resync);
}

static const char *why_of(int rc)
{
	return rc == -EACCES ? why_access : rc == -ENOMEM ? why_memory : why_lost;
}

/* ---- what comes ---- */

/* The view is over for senders; this node says what it sees next. */
static void view_changed(struct adapter *a, int64_t announce_in)
{
	boundary_closed(a->b);
	a->status.connected = false;
	a->announce_at = a->now + announce_in;
	say(a, why_no_view);
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
		a->lose = why_left;
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
		a->lose = why_resync;
	a->returned = k;
	a->status.returned_ms = a->now;
	a->status.waiting_since_ms = in_flight(a) > 0 ? a->now : 0;
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
		a->lose = why_second;
		return;
	case RING_OPENED:
		boundary_view(a->b, &a->view);
		a->view_first = a->sent + 1;
		a->told = true;
		a->tell_at = 0;
		a->retry_wait = a->pace->retry_min;
		a->status.connected = true;
		say(a, "");
		return;
	}
}

static void on_deliver(void *arg, struct ring_process sender, struct str bytes)
{
	struct adapter *a = arg;
	enum frame_kind kind;
	uint64_t number;
	struct str body;

	if (a->lose != NULL || !frame_parse(bytes, &kind, &number, &body))
		return;
	if (sender.id == a->own.id && sender.pid == a->own.pid)
		returned(a, number);
	if (a->lose != NULL)
		return;
	if (kind == FRAME_ANNOUNCEMENT)
		announced(a, sender, body);
	else if (kind == FRAME_DATA && body.n <= CORE_MESSAGE_MAX && ring_view_hears(&a->view, sender))
		boundary_message(a->b, sender.id, body);
}

/* Reads until nothing is left, the control thread has enough, or others must have their turn. */
static void receive(struct adapter *a, bool room)
{
	a->drained = false;
	for (int i = 0; i < DISPATCH_MAX && room && a->state == JOINED; i++) {
		int rc = CALL(a, a->engine->dispatch(a->engine->arg));
		if (a->lose == why_resync) {
			rejoin(a);
		} else if (a->lose != NULL) {
			lose_now(a, a->lose);
		} else if (rc == -EAGAIN) {
			a->drained = true;
			a->strays++;
			return;
		} else if (rc != 0) {
			lose_now(a, why_of(rc));
		}
		a->strays = 0;
		/* Something comes, so corosync lives: if nothing comes back, try whether a message was lost. */
		if (hung(a) && a->probe_at > a->now)
			a->probe_at = a->now;
		room = boundary_room(a->b, false);
	}
}

/* ---- what goes ---- */

/* 0, -EAGAIN, or the connection is lost. */
static int send_frame(struct adapter *a, enum frame_kind kind, struct str body)
{
	uint8_t head[FRAME_HEAD_LEN];

	frame_head(head, kind, a->base + a->sent + 1);
	int rc = CALL(a, a->engine->multicast(a->engine->arg, (struct str) { (char *)head, sizeof(head) }, body));
	if (rc == 0) {
		if (in_flight(a) == 0)
			a->status.waiting_since_ms = a->now;
		a->sent++;
		a->sent_at = a->now;
		a->again_at = 0;
		a->again_wait = AGAIN_MIN_MS;
		a->status.refused_since_ms = 0;
	} else if (rc == -EAGAIN) {
		a->again_at = a->now + a->again_wait;
		a->again_wait = a->again_wait * 2 < AGAIN_MAX_MS ? a->again_wait * 2 : AGAIN_MAX_MS;
		if (a->status.refused_since_ms == 0)
			a->status.refused_since_ms = a->now;
	} else {
		lose_now(a, why_of(rc));
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
		say(a, why_ambiguous);
		return;
	case RING_SECOND:
		lose_now(a, why_second);
		return;
	case RING_TOO_MANY:
		say(a, why_many);
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

	while (in_flight(a) < DATA_IN_FLIGHT_MAX && (w = boundary_next(a->b)) != NULL) {
		if (send_frame(a, FRAME_DATA, (struct str) { w->bytes, w->n }) != 0)
			return;
		boundary_sent(a->b);
	}
}

/* A sign of life, so that silence means something; a probe, when there is silence. */
static void send_heart(struct adapter *a)
{
	bool due = in_flight(a) == 0 ? a->now - a->sent_at >= a->pace->idle : hung(a) && a->now >= a->probe_at;

	if (!due)
		return;
	a->probe_at = a->now + a->pace->probe;
	(void)send_frame(a, FRAME_HEART, (struct str) { "", 0 });
}

static void transmit(struct adapter *a)
{
	if (hung(a) && a->drained && a->probe_at == 0)
		a->probe_at = a->now + a->pace->probe;
	if (a->again_at > a->now || in_flight(a) >= IN_FLIGHT_MAX)
		return;
	if (!hung(a) && !a->view.open && a->drained && a->now >= a->announce_at)
		announce(a);
	if (a->state == JOINED && a->again_at <= a->now && !hung(a) && a->view.open)
		send_waiting(a);
	if (a->state == JOINED && a->again_at <= a->now && in_flight(a) < IN_FLIGHT_MAX)
		send_heart(a);
}

static void measure(struct adapter *a)
{
	struct corosync_ring ring;

	if (a->state != JOINED || hung(a) || a->now < a->measure_at)
		return;
	a->measure_at = a->now + a->pace->measure;
	if (CALL(a, a->engine->measure(a->engine->arg, a->own.id, &ring)) == 0)
		boundary_measured(a->b, &ring);
}

/* ---- the connection's beginning ---- */

static void open_connection(struct adapter *a)
{
	const struct engine_events events = { a, on_group, on_ring, on_deliver };
	uint32_t id = 0;
	int rc = CALL(a, a->engine->open(a->engine->arg, a->start->group, &events, &id));

	if (rc != 0) {
		lose_now(a, rc == -EACCES || rc == -ENOMEM ? why_of(rc) : why_absent);
		return;
	}
	a->state = JOINING;
	a->status.connections++;
	a->status.id = id;
	a->own = (struct ring_process) { id, (uint32_t)getpid() };
	a->fd = a->engine->fd(a->engine->arg);
	a->retry_at = a->now;
	if (a->start->id != 0 && id != a->start->id)
		lose_now(a, why_other_id);
	else if (a->fd < 0)
		lose_now(a, why_lost);
}

static void forget(struct adapter *a)
{
	uint32_t nonce;

	random_bytes(&nonce, sizeof(nonce));
	a->base = (uint64_t)nonce << 32;
	a->sent = a->returned = 0;
	a->view_first = 1;
	a->sent_at = a->measure_at = a->now;
	a->probe_at = a->again_at = a->strays = 0;
	a->again_wait = AGAIN_MIN_MS;
	a->announce_at = a->now;
	ring_view_init(&a->view, a->own);
}

/* Who is there already is asked before joining: a join that is taken back would cost everybody two views. */
static void join(struct adapter *a)
{
	struct ring_process list[RING_PROCESSES_MAX];
	size_t n = 0;
	int rc = CALL(a, a->engine->group(a->engine->arg, list, &n));

	if (rc == 0 && ring_second(list, n, a->own)) {
		say(a, why_second);
		a->retry_at = a->now + a->pace->second;
		return;
	}
	if (rc == 0)
		rc = CALL(a, a->engine->join(a->engine->arg));
	if (rc == 0) {
		forget(a);
		a->state = JOINED;
		say(a, why_no_view);
	} else if (rc == -EAGAIN) {
		/* A ring is being formed, or corosync has not seen this process leave yet. */
		say(a, why_joining);
		a->retry_at = a->now + a->pace->join;
	} else {
		lose_now(a, why_of(rc));
	}
}

static void connect_steps(struct adapter *a)
{
	if (a->state == CLOSED && a->now >= a->retry_at && boundary_room(a->b, true))
		open_connection(a);
	if (a->state == JOINING && a->now >= a->retry_at)
		join(a);
	if (a->state != JOINED && a->tell_at != 0 && a->now >= a->tell_at) {
		boundary_disconnected(a->b);
		a->told = false;
		a->tell_at = 0;
	}
}

/* ---- turns ---- */

static bool room_for_events(struct adapter *a)
{
	bool room = boundary_room(a->b, false);

	if (room && a->full_since != 0 && a->status.waiting_since_ms != 0)
		a->status.waiting_since_ms = a->now; /* what came back was not read */
	if (!room && a->full_since == 0)
		a->full_since = a->now;
	if (room)
		a->full_since = 0;
	else
		a->status.waiting_since_ms = a->status.waiting_since_ms == 0 ? 0 : a->now;
	return room;
}

static void turn(struct adapter *a)
{
	a->now = clock_mono_ms();
	connect_steps(a);
	if (a->state == JOINED) {
		bool room = room_for_events(a);
		receive(a, room);
		a->now = clock_mono_ms();
		if (a->state == JOINED && !room && a->now - a->full_since >= a->pace->backlog)
			lose_now(a, why_backlog);
	}
	if (a->state == JOINED && a->drained && hung(a) && a->now - a->status.waiting_since_ms >= a->pace->give_up)
		lose_now(a, why_silent);
	if (a->state == JOINED)
		transmit(a);
	measure(a);
	a->status.in_flight = in_flight(a);
	boundary_status(a->b, &a->status);
}

static void sooner(int64_t *at, int64_t other)
{
	if (other < *at)
		*at = other;
}

/* When there is something to send, if nothing happens before. */
static int64_t send_at(const struct adapter *a)
{
	int64_t at = a->now + POLL_MAX_MS;

	if (a->again_at > a->now)
		return a->again_at;
	if (!a->view.open && a->announce_at > a->now)
		sooner(&at, a->announce_at);
	if (in_flight(a) == 0)
		sooner(&at, a->sent_at + a->pace->idle);
	else if (!hung(a))
		sooner(&at, a->status.waiting_since_ms + a->pace->hung);
	if (a->probe_at > a->now)
		sooner(&at, a->probe_at);
	return at;
}

static int timeout(const struct adapter *a)
{
	int64_t at = a->now + POLL_MAX_MS;

	if (a->state == JOINED && a->full_since == 0 && !a->drained)
		return 0;
	if (a->state == JOINED)
		sooner(&at, a->full_since == 0 ? send_at(a) : a->full_since + a->pace->backlog);
	else if (a->retry_at > a->now)
		sooner(&at, a->retry_at);
	if (a->tell_at > a->now)
		sooner(&at, a->tell_at);
	return at > a->now ? (int)(at - a->now) : 1;
}

static void wait_for_something(struct adapter *a)
{
	bool listen = a->state == JOINED && a->full_since == 0;
	int ms = timeout(a);
	struct pollfd fds[2] = { { boundary_wake_fd(a->b), POLLIN, 0 }, { listen ? a->fd : -1, POLLIN, 0 } };

	/* A descriptor that says there is something, while there is nothing, must not make this thread spin. */
	if (a->strays > STRAY_MAX) {
		fds[1].fd = -1;
		ms = ms < STRAY_MS ? ms : STRAY_MS;
		a->strays = 0;
	}
	if (poll(fds, ARRAY_LEN(fds), ms) < 0)
		ASSERT(errno == EINTR);
	if (!(fds[1].revents & POLLIN) && (fds[1].revents & (POLLHUP | POLLERR | POLLNVAL)))
		lose_now(a, why_lost);
	if (!(fds[1].revents & POLLIN))
		a->strays = 0;
	boundary_woken(a->b);
}

void thread_run(const struct thread_start *start)
{
	struct adapter a = { .b = start->boundary,
			     .engine = &start->engine,
			     .pace = &start->pace,
			     .start = start,
			     .status = { .why = why_starting },
			     .fd = -1,
			     .retry_wait = start->pace.retry_min };

	for (;;) {
		struct commands commands = boundary_commands(a.b);
		if (commands.stop)
			break;
		if (commands.resync && a.state == JOINED)
			rejoin(&a);
		turn(&a);
		wait_for_something(&a);
	}
	if (a.state != CLOSED)
		a.engine->close(a.engine->arg);
}

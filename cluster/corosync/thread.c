/* SPDX-License-Identifier: Apache-2.0
 * The thread that speaks to corosync: its turns, and the connection's beginning and end.
 *
 * The hard thing is that every call may hang. So what others must know is told before a call and not after it, and what
 * is due is worked out anew in each turn, from a clock that may have jumped.
 */
#include "cluster/corosync/adapter.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"
#include "daemon/base/watchdog.h"

enum { POLL_MAX_MS = 1000, STRAY_MAX = 100, STRAY_MS = 10 };

static const char *const texts[WHY_COUNT] = {
	[WHY_STARTING] = "not connected yet",
	[WHY_ABSENT] = "corosync does not run",
	[WHY_ACCESS] = "corosync does not let this user in: its uidgid.d names others",
	[WHY_MEMORY] = "no room in /dev/shm for the connection to corosync",
	[WHY_OTHER_ID] = "corosync has another node id than this node",
	[WHY_SECOND] = "another process of this node is in corosync's group",
	[WHY_LOST] = "the connection to corosync is gone",
	[WHY_RESYNC] = "joining again, since messages are missing",
	[WHY_LEFT] = "corosync took this process out of the group",
	[WHY_SILENT] = "corosync gave nothing back for too long",
	[WHY_BACKLOG] = "events were not taken for too long",
	[WHY_JOINING] = "joining the group",
	[WHY_NO_VIEW] = "members are agreeing on a view",
	[WHY_MANY] = "the group has more nodes than one cluster may have",
	[WHY_AMBIGUOUS] = "a node has two processes in the group",
};

void adapter_say(struct adapter *a, enum why why)
{
	if (a->why == why)
		return;
	a->why = why;
	a->status.why = why == WHY_NOT ? "" : texts[why];
	if (why == WHY_NOT)
		log_msg(LOG_LEVEL_NOTICE, "corosync", "in a view; nodes: %zu", a->view.n_now);
	else if (why != WHY_JOINING && why != WHY_NO_VIEW)
		log_msg(LOG_LEVEL_WARNING, "corosync", "%s", texts[why]);
}

/* ---- the connection's end ---- */

static void close_connection(struct adapter *a)
{
	if (a->state == CLOSED)
		return;
	a->state = CLOSED;
	boundary_calls(a->b);
	a->engine->close(a->engine->arg);
	boundary_returned(a->b);
}

/* The end is told first, since closing may hang. tell_at: when the control thread hears of it, if no view comes. */
static void lose(struct adapter *a, enum why why, int64_t retry_at, int64_t tell_at)
{
	adapter_say(a, why);
	boundary_closed(a->b);
	a->tell_at = a->told ? tell_at : 0;
	if (a->told && tell_at <= a->now) {
		boundary_disconnected(a->b);
		a->told = false;
		a->tell_at = 0;
	}
	a->status.lost += adapter_in_flight(a);
	a->sent = a->returned = 0;
	a->status.connected = false;
	a->status.in_flight = 0;
	a->status.refused_since_ms = 0;
	a->lose = WHY_NOT;
	a->retry_at = retry_at;
	boundary_status(a->b, &a->status); /* since when it hung too, as long as closing takes */
	close_connection(a);
	a->status.waiting_since_ms = 0;
}

void adapter_lose(struct adapter *a, enum why why)
{
	int64_t wait = why == WHY_SECOND ? a->pace->second : why == WHY_OTHER_ID ? a->pace->retry_max : a->retry_wait;

	if (a->retry_wait * 2 <= a->pace->retry_max)
		a->retry_wait *= 2;
	lose(a, why, a->now + wait, a->now);
}

void adapter_rejoin(struct adapter *a)
{
	a->status.resyncs++;
	lose(a, WHY_RESYNC, a->now + a->pace->join, a->now + a->pace->resync);
}

enum why adapter_why(int rc)
{
	return rc == -EACCES ? WHY_ACCESS : rc == -ENOMEM ? WHY_MEMORY : WHY_LOST;
}

static void measure(struct adapter *a)
{
	struct corosync_ring ring;

	if (a->state != JOINED || adapter_hung(a) || a->now < a->measure_at)
		return;
	a->measure_at = a->now + a->pace->measure;
	if (CALL(a, a->engine->measure(a->engine->arg, a->own.id, &ring)) == 0)
		boundary_measured(a->b, &ring);
}

/* ---- the connection's beginning ---- */

static void open_connection(struct adapter *a)
{
	const struct engine_events events = traffic_events(a);
	uint32_t id = 0;
	int rc = CALL(a, a->engine->open(a->engine->arg, a->start->group, &events, &id));

	if (rc != 0) {
		a->status.id = 0; /* what is not there is started, by whoever looks after it */
		adapter_lose(a, rc == -EACCES || rc == -ENOMEM ? adapter_why(rc) : WHY_ABSENT);
		return;
	}
	a->state = JOINING;
	a->status.connections++;
	a->status.id = id;
	a->own = (struct ring_process) { id, (uint32_t)getpid() };
	a->fd = a->engine->fd(a->engine->arg);
	a->retry_at = a->now;
	if (a->start->id != 0 && id != a->start->id)
		adapter_lose(a, WHY_OTHER_ID);
	else if (a->fd < 0)
		adapter_lose(a, WHY_LOST);
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
	a->again_wait = 0;
	a->announce_at = a->now;
	a->full_since = 0;
	ring_view_init(&a->view, a->own);
}

/* Who is there already is asked before joining: a join that is taken back would cost everybody two views. */
static void join(struct adapter *a)
{
	struct ring_process list[RING_PROCESSES_MAX];
	size_t n = 0;
	int rc = CALL(a, a->engine->group(a->engine->arg, list, &n));

	if (rc == 0 && ring_second(list, n, a->own)) {
		adapter_say(a, WHY_SECOND);
		a->retry_at = a->now + a->pace->second;
		return;
	}
	if (rc == 0)
		rc = CALL(a, a->engine->join(a->engine->arg));
	if (rc == 0) {
		forget(a);
		a->state = JOINED;
		adapter_say(a, WHY_NO_VIEW);
	} else if (rc == -EAGAIN) {
		/* A ring is being formed, or corosync has not seen this process leave yet. */
		adapter_say(a, WHY_JOINING);
		a->retry_at = a->now + a->pace->join;
	} else {
		adapter_lose(a, adapter_why(rc));
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
		traffic_receive(a, room);
		a->now = clock_mono_ms();
		if (a->state == JOINED && !room && a->now - a->full_since >= a->pace->backlog)
			adapter_lose(a, WHY_BACKLOG);
	}
	if (a->state == JOINED && a->drained && adapter_hung(a) &&
	    a->now - a->status.waiting_since_ms >= a->pace->give_up)
		adapter_lose(a, WHY_SILENT);
	if (a->state == JOINED)
		traffic_transmit(a);
	measure(a);
	a->status.in_flight = adapter_in_flight(a);
	boundary_status(a->b, &a->status);
}

static int timeout(const struct adapter *a)
{
	int64_t at = a->now + POLL_MAX_MS;

	if (a->state == JOINED && a->full_since == 0 && !a->drained)
		return 0;
	if (a->state == JOINED)
		sooner(&at, a->full_since == 0 ? traffic_due(a, at) : a->full_since + a->pace->backlog);
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
		adapter_lose(a, WHY_LOST);
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
			     .status = { .why = texts[WHY_STARTING] },
			     .why = WHY_STARTING,
			     .lose = WHY_NOT,
			     .fd = -1,
			     .retry_wait = start->pace.retry_min };

	watchdog_enter("cluster");
	for (;;) {
		watchdog_beat();
		struct commands commands = boundary_commands(a.b);
		if (commands.stop)
			break;
		if (commands.resync && a.state == JOINED)
			adapter_rejoin(&a);
		turn(&a);
		wait_for_something(&a);
	}
	close_connection(&a);
	watchdog_exit();
}

/* SPDX-License-Identifier: Apache-2.0
 * Requests to postroad-ha.
 *
 * The hard thing: postroad-ha may end at any moment, and then a request is never answered. So each has a deadline, and
 * all are over with the connection.
 */
#include "daemon/cluster/ha_link.h"

#include <event2/event.h>
#include <stdlib.h>

#include "cluster/vip/ha_client.h"
#include "daemon/base/clock.h"

#define HA_LINK_MAGIC 0x48414c4bu

enum { ANSWER_MS = 30000, REQUESTS_MAX = 32 };

struct asked {
	uint32_t ticket; /* 0 = free */
	int64_t until_ms;
	ha_answer_fn *fn;
	void *arg;
};

struct ha_link {
	uint32_t magic;
	struct loop *loop;
	struct ha_client *client;
	struct event *event;
	int fd;
	struct timer tick;
	uint32_t tickets;
	struct asked asked[REQUESTS_MAX];
};

static void answer(struct asked *a, const struct ha_message *m)
{
	ha_answer_fn *fn = a->fn;
	void *arg = a->arg;

	a->ticket = 0;
	fn(m, arg);
}

static void on_answer(const struct ha_message *m, void *arg)
{
	struct ha_link *l = arg;

	CHECK_OBJ(l, HA_LINK_MAGIC);
	for (size_t i = 0; i < REQUESTS_MAX && m->type != HA_PROBED && m->type != HA_FLOWS; i++)
		if (l->asked[i].ticket != 0 && l->asked[i].ticket == m->outcome.ticket)
			answer(&l->asked[i], m);
}

static void end_all(struct ha_link *l, int64_t now)
{
	for (size_t i = 0; i < REQUESTS_MAX; i++)
		if (l->asked[i].ticket != 0 && now >= l->asked[i].until_ms)
			answer(&l->asked[i], NULL);
}

static void on_connected(bool yes, const char *why, void *arg)
{
	struct ha_link *l = arg;

	UNUSED(why);
	CHECK_OBJ(l, HA_LINK_MAGIC);
	if (!yes)
		end_all(l, INT64_MAX);
}

static void watch(struct ha_link *l);

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ha_link *l = arg;

	UNUSED(fd);
	UNUSED(what);
	CHECK_OBJ(l, HA_LINK_MAGIC);
	ha_client_dispatch(l->client, clock_mono_ms());
	watch(l);
}

/* The descriptor may be another one after each call. */
static void watch(struct ha_link *l)
{
	int fd = ha_client_fd(l->client);

	if (fd == l->fd)
		return;
	if (l->event != NULL)
		event_free(l->event);
	l->event = NULL;
	l->fd = fd;
	if (fd < 0)
		return;
	l->event = event_new(loop_base(l->loop), fd, EV_READ | EV_PERSIST, on_readable, l);
	ASSERT(l->event != NULL && event_add(l->event, NULL) == 0);
}

static void on_tick(void *arg)
{
	struct ha_link *l = arg;
	int64_t now = clock_mono_ms();

	CHECK_OBJ(l, HA_LINK_MAGIC);
	ha_client_beat(l->client);
	(void)ha_client_tick(l->client, now);
	end_all(l, now);
	watch(l);
	timer_set_in(l->loop, &l->tick, HA_BEAT_MS);
}

struct ha_link *ha_link_new(struct loop *loop, const char *run_dir, const char *node)
{
	struct ha_client_events events = { .connected = on_connected, .answer = on_answer };
	struct ha_link *l;

	NEW_OBJ(l, HA_LINK_MAGIC);
	l->loop = loop;
	l->fd = -1;
	events.arg = l;
	l->client = ha_client_new(run_dir, node, &events);
	timer_init(&l->tick, on_tick, l);
	on_tick(l);
	return l;
}

void ha_link_free(struct ha_link *l)
{
	if (l == NULL)
		return;
	CHECK_OBJ(l, HA_LINK_MAGIC);
	timer_stop(&l->tick);
	end_all(l, INT64_MAX);
	if (l->event != NULL)
		event_free(l->event);
	ha_client_free(l->client);
	FREE_OBJ(l);
}

bool ha_link_request(void *link, struct ha_message *m, ha_answer_fn *fn, void *arg)
{
	struct ha_link *l = link;
	struct asked *a = NULL;

	CHECK_OBJ(l, HA_LINK_MAGIC);
	for (size_t i = 0; i < REQUESTS_MAX && a == NULL; i++)
		if (l->asked[i].ticket == 0)
			a = &l->asked[i];
	if (a == NULL)
		return false;
	if (++l->tickets == 0)
		l->tickets = 1;
	if (m->type == HA_COROSYNC)
		m->corosync.ticket = l->tickets;
	if (ha_client_request(l->client, m) != NULL)
		return false;
	*a = (struct asked) { .ticket = l->tickets, .until_ms = clock_mono_ms() + ANSWER_MS, .fn = fn, .arg = arg };
	watch(l);
	return true;
}

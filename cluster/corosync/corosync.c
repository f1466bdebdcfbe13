/* SPDX-License-Identifier: Apache-2.0
 * The adapter as the control thread sees it.
 *
 * The control thread may be behind: it acts on the view it was told last, while the next is open already. What it sends
 * then belongs to nothing, so each view has a number (its generation) by which that is noticed.
 */
#include "cluster/corosync/corosync_private.h"

#include <errno.h>
#include <stdlib.h>

#define COROSYNC_MAGIC 0x434f5259u

struct corosync {
	uint32_t magic;
	struct boundary *boundary;
	struct transport_events events;
	struct transport transport;
	uint64_t generation; /* of the view that was told last; 0 = none */
};

const struct pace pace_usual = { .idle = 1000,
				 .hung = 2000,
				 .probe = 8000,
				 .give_up = 60000,
				 .backlog = 10000,
				 .announce = 1000,
				 .join = 20,
				 .retry_min = 100,
				 .retry_max = 2000,
				 .second = 2000,
				 .resync = 2000,
				 .measure = 2000,
				 .stop = 1000 };

/* ---- the transport ---- */

static int transport_multicast(void *self, struct str bytes)
{
	struct corosync *c = self;

	CHECK_OBJ(c, COROSYNC_MAGIC);
	if (bytes.n > CORE_MESSAGE_MAX)
		return -EMSGSIZE;
	return c->generation == 0 ? -ENOTCONN : boundary_send(c->boundary, c->generation, bytes);
}

static void transport_resync(void *self)
{
	struct corosync *c = self;

	CHECK_OBJ(c, COROSYNC_MAGIC);
	if (c->generation != 0)
		boundary_resync(c->boundary, c->generation);
}

const struct transport *corosync_transport(struct corosync *c)
{
	CHECK_OBJ(c, COROSYNC_MAGIC);
	return &c->transport;
}

/* ---- life ---- */

struct corosync *corosync_start_with(const struct corosync_options *options, const struct transport_events *events,
				     const struct engine *engine, const struct pace *pace, char **ret_why)
{
	const char *group = options->group != NULL ? options->group : "postroad";
	struct thread_start start = { .engine = *engine, .pace = *pace, .id = options->id };
	struct corosync *c;
	size_t n = strlen(group);

	if (n == 0 || n >= sizeof(start.group)) {
		*ret_why = xasprintf("the group of corosync has a name of 1 to %zu bytes, not of %zu",
				     sizeof(start.group) - 1, n);
		engine->free(engine->arg);
		return NULL;
	}
	memcpy(start.group, group, n + 1);
	NEW_OBJ(c, COROSYNC_MAGIC);
	c->events = *events;
	c->transport = (struct transport) { c, transport_multicast, transport_resync };
	c->boundary = boundary_new(&start);
	int rc = boundary_run(c->boundary);
	if (rc == 0)
		return c;
	*ret_why = xasprintf("the thread that speaks to corosync does not start: %s", strerror(-rc));
	boundary_unref(c->boundary);
	FREE_OBJ(c);
	return NULL;
}

struct corosync *corosync_start(const struct corosync_options *options, const struct transport_events *events,
				char **ret_why)
{
	struct engine engine = cpg_engine();

	return corosync_start_with(options, events, &engine, &pace_usual, ret_why);
}

void corosync_stop(struct corosync *c)
{
	if (c == NULL)
		return;
	CHECK_OBJ(c, COROSYNC_MAGIC);
	boundary_stop(c->boundary);
	FREE_OBJ(c);
}

/* ---- events ---- */

int corosync_fd(const struct corosync *c)
{
	CHECK_OBJ(c, COROSYNC_MAGIC);
	return boundary_ready_fd(c->boundary);
}

static void tell(struct corosync *c, const struct queue_event *e)
{
	switch (e->kind) {
	case QUEUE_VIEW:
		c->generation = e->generation;
		c->events.view(c->events.arg, e->view, e->of.members, e->n);
		return;
	case QUEUE_MESSAGE:
		c->events.deliver(c->events.arg, e->sender, (struct str) { e->of.bytes, e->n });
		return;
	case QUEUE_DISCONNECTED:
		c->generation = 0;
		c->events.disconnected(c->events.arg);
		return;
	}
}

void corosync_dispatch(struct corosync *c)
{
	CHECK_OBJ(c, COROSYNC_MAGIC);
	for (int i = 0; i < DISPATCH_MAX; i++) {
		struct queue_event *e = boundary_take(c->boundary);
		if (e == NULL)
			return;
		tell(c, e);
		queue_event_free(e);
	}
}

void corosync_status(struct corosync *c, struct corosync_status *ret)
{
	CHECK_OBJ(c, COROSYNC_MAGIC);
	boundary_ask(c->boundary, ret);
}

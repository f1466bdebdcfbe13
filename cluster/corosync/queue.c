/* SPDX-License-Identifier: Apache-2.0
 * A bounded queue of events.
 *
 * It never drops: who fills it asks queue_full() before it reads the next message.
 */
#include "cluster/corosync/queue.h"

#include <stdlib.h>
#include <string.h>

void queue_init(struct queue *q)
{
	*q = (struct queue) { .n = 0 };
	list_init(&q->events);
}

void queue_fini(struct queue *q)
{
	for (struct queue_event *e; (e = queue_take(q)) != NULL;)
		queue_event_free(e);
}

void queue_event_free(struct queue_event *e)
{
	if (e->kind == QUEUE_MESSAGE)
		explicit_bzero(e->of.bytes, e->n);
	free(e);
}

static struct queue_event *append(struct queue *q, enum queue_kind kind, size_t bytes)
{
	size_t size = offsetof(struct queue_event, of) + bytes;
	struct queue_event *e = xcalloc(1, size < sizeof(*e) ? sizeof(*e) : size);

	e->kind = kind;
	e->n = bytes;
	list_append(&q->events, &e->link);
	q->n++;
	q->bytes += bytes;
	return e;
}

void queue_message(struct queue *q, uint32_t sender, struct str bytes)
{
	struct queue_event *e = append(q, QUEUE_MESSAGE, bytes.n);

	e->sender = sender;
	if (bytes.n > 0)
		memcpy(e->of.bytes, bytes.p, bytes.n);
}

void queue_view(struct queue *q, struct core_view_id id, uint64_t generation, const uint32_t *members, size_t n)
{
	struct queue_event *e = append(q, QUEUE_VIEW, 0);

	ASSERT(n <= CORE_MEMBERS_MAX);
	e->view = id;
	e->generation = generation;
	e->n = n;
	memcpy(e->of.members, members, n * sizeof(*members));
}

void queue_disconnected(struct queue *q)
{
	(void)append(q, QUEUE_DISCONNECTED, 0);
}

bool queue_full(const struct queue *q)
{
	return q->n >= QUEUE_EVENTS_MAX || q->bytes >= QUEUE_BYTES_MAX;
}

struct queue_event *queue_take(struct queue *q)
{
	if (list_empty(&q->events))
		return NULL;

	struct queue_event *e = LIST_FIRST(&q->events, struct queue_event, link);
	list_remove(&e->link);
	q->n--;
	if (e->kind == QUEUE_MESSAGE)
		q->bytes -= e->n;
	return e;
}

/* SPDX-License-Identifier: Apache-2.0
 * Events on their way to the control thread, in order and bounded. Not locked; private to this room.
 */
#ifndef POSTROAD_CLUSTER_COROSYNC_QUEUE_H
#define POSTROAD_CLUSTER_COROSYNC_QUEUE_H

#include "cluster/core/core.h"
#include "daemon/base/list.h"

/* From here on nothing more is read from corosync, which keeps it. One view and one end may come on top. */
enum { QUEUE_EVENTS_MAX = 256, QUEUE_BYTES_MAX = 4 << 20 };

enum queue_kind { QUEUE_VIEW, QUEUE_MESSAGE, QUEUE_DISCONNECTED };

struct queue_event {
	struct list link; /* private */
	enum queue_kind kind;
	struct core_view_id view;
	uint64_t generation; /* of a view */
	uint32_t sender;     /* of a message */
	size_t n;            /* bytes of a message, members of a view */
	union {
		uint32_t members[CORE_MEMBERS_MAX];
		char bytes[1];
	} of;
};

struct queue {
	struct list events;
	size_t n, bytes;
};

void queue_init(struct queue *q);
void queue_fini(struct queue *q);
void queue_message(struct queue *q, uint32_t sender, struct str bytes);
void queue_view(struct queue *q, struct core_view_id id, uint64_t generation, const uint32_t *members, size_t n);
void queue_disconnected(struct queue *q);
bool queue_full(const struct queue *q);
/* The oldest, the caller's to free; NULL = none. */
struct queue_event *queue_take(struct queue *q);
/* Overwrites a message: it may hold keys. */
void queue_event_free(struct queue_event *e);

#endif

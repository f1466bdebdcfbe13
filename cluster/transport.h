/* SPDX-License-Identifier: Apache-2.0
 * What the store asks of the network between nodes: an ordered multicast with membership. The adapter is
 * cluster/corosync; a store of one node has none.
 *
 * All calls and all events are on the control thread; an adapter with a thread of its own hands its events over through
 * a descriptor that the control thread watches.
 */
#ifndef POSTROAD_CLUSTER_TRANSPORT_H
#define POSTROAD_CLUSTER_TRANSPORT_H

#include "cluster/core/core.h"

/* Told in order: a view, then the messages of that view, then the next view or the end of the connection. */
struct transport_events {
	void *arg;
	/* Who can hear each other now, this node among them; members in any order. */
	void (*view)(void *arg, struct core_view_id view, const uint32_t *members, size_t n);
	/* A message in the order of the view, own ones too. Bytes are the adapter's, until the call returns. */
	void (*deliver)(void *arg, uint32_t sender, struct str bytes);
	/* Nothing is sent or heard until the next view. */
	void (*disconnected)(void *arg);
};

struct transport {
	void *self;
	/* Sends to all members of the view, at most CORE_MESSAGE_MAX bytes, which are copied. 0 = will be sent while
	 * the view lasts, as far as anybody can know; -EAGAIN: not now; -ENOTCONN. Never blocks. */
	int (*multicast)(void *self, struct str bytes);
	/* Leave and join again: a new view comes. */
	void (*resync)(void *self);
};

#endif

/* SPDX-License-Identifier: Apache-2.0
 * One turn of the loop: who waits for which descriptor, and until when at most. Filled anew for each turn.
 */
#ifndef POSTROAD_AGENTS_HA_TURN_H
#define POSTROAD_AGENTS_HA_TURN_H

#include <poll.h>

#include "daemon/base/obj.h"

enum { TURN_MAX = 64 };

typedef void turn_fn(void *arg);

struct turn {
	int64_t until; /* monotonic ms */
	size_t n;
	struct pollfd fds[TURN_MAX];
	turn_fn *fn[TURN_MAX];
	void *arg[TURN_MAX];
};

/* No turn lasts longer than max_ms. */
void turn_begin(struct turn *t, int64_t now_ms, int64_t max_ms);
/* fn(arg) when fd can be read, or has an error. fd < 0 is left out. fn must not free the arg of another. */
void turn_wait_for(struct turn *t, int fd, turn_fn *fn, void *arg);
/* The turn ends at when_ms at the latest; 0 = no such time. */
void turn_end_at(struct turn *t, int64_t when_ms);
/* Waits, then calls. */
void turn_run(struct turn *t);

#endif

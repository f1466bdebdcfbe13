/* SPDX-License-Identifier: Apache-2.0
 * One turn of the loop: poll(2), then the callbacks.
 *
 * The hard thing is left out: as each turn asks anew who waits, nothing is ever registered that has gone.
 */
#include "agents/ha/turn.h"

#include "daemon/base/clock.h"

void turn_begin(struct turn *t, int64_t now_ms, int64_t max_ms)
{
	t->n = 0;
	t->until = now_ms + max_ms;
}

void turn_wait_for(struct turn *t, int fd, turn_fn *fn, void *arg)
{
	if (fd < 0)
		return;
	ASSERT(t->n < TURN_MAX);
	t->fds[t->n] = (struct pollfd) { .fd = fd, .events = POLLIN };
	t->fn[t->n] = fn;
	t->arg[t->n++] = arg;
}

void turn_end_at(struct turn *t, int64_t when_ms)
{
	if (when_ms != 0 && when_ms < t->until)
		t->until = when_ms;
}

void turn_run(struct turn *t)
{
	int64_t wait = t->until - clock_mono_ms();

	if (poll(t->fds, t->n, wait > 0 ? (int)wait : 0) <= 0)
		return;
	for (size_t i = 0; i < t->n; i++)
		if (t->fds[i].revents != 0)
			t->fn[i](t->arg[i]);
}

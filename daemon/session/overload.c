/* SPDX-License-Identifier: Apache-2.0
 * Whether this node has more to do than it can.
 *
 * The hard thing is the other node: if it took over what is too much here, it would be too much there, and here not any
 * more. So being overloaded lasts long enough that both say it, and addresses stay where they are.
 */
#include "daemon/session/overload.h"

#include <stdio.h>
#include <string.h>

static void since(int64_t *at, bool so, int64_t now_ms)
{
	if (!so)
		*at = 0;
	else if (*at == 0)
		*at = now_ms;
}

static bool is_full(const struct overload *o, const struct engine_load *l)
{
	bool was_full = o->full_since != 0 && strcmp(o->full, l->listener) == 0;

	if (l->listener[0] == '\0' || l->cap == 0)
		return false;
	return l->connections >= (was_full ? l->cap - l->cap * (100 - OVERLOAD_FULL_PCT) / 100 : l->cap);
}

const char *overload_look(struct overload *o, const struct engine_load *l, int64_t now_ms)
{
	bool full = is_full(o, l);

	if (now_ms - o->looked_ms > OVERLOAD_GAP_MS)
		o->late_since = o->full_since = 0;
	o->looked_ms = now_ms;
	since(&o->late_since, l->lag_ms >= OVERLOAD_LAG_MS, now_ms);
	since(&o->full_since, full, now_ms);
	memcpy(o->full, l->listener, sizeof(o->full));
	if (o->late_since != 0 && now_ms - o->late_since >= OVERLOAD_AFTER_MS) {
		o->last_ms = now_ms;
		snprintf(o->text, sizeof(o->text), "a worker is late by %d ms or more", OVERLOAD_LAG_MS);
	}
	if (o->full_since != 0 && now_ms - o->full_since >= OVERLOAD_AFTER_MS) {
		o->last_ms = now_ms;
		snprintf(o->text, sizeof(o->text), "listener %s has its %llu connections", l->listener,
			 (unsigned long long)l->cap);
	}
	if (o->last_ms != 0 && now_ms - o->last_ms >= OVERLOAD_OVER_MS)
		o->last_ms = 0;
	return o->last_ms != 0 ? o->text : NULL;
}

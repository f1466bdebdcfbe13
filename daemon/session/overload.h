/* SPDX-License-Identifier: Apache-2.0
 * Whether this node has more to do than it can. Pure: from what was measured, and when.
 *
 * It is for others that may take over, so it is said late and taken back later: addresses that follow load to and fro
 * would cut sessions at each move.
 */
#ifndef POSTROAD_SESSION_OVERLOAD_H
#define POSTROAD_SESSION_OVERLOAD_H

#include "daemon/base/obj.h"

enum {
	OVERLOAD_LAG_MS = 250,     /* a worker that comes so late to a timer */
	OVERLOAD_FULL_PCT = 90,    /* a listener that had reached its cap is full until it has less than this of it */
	OVERLOAD_AFTER_MS = 10000, /* so long in all looks: it is said */
	OVERLOAD_OVER_MS = 300000, /* so long in none: it is over */
	OVERLOAD_GAP_MS = 3000     /* looks further apart do not follow one another */
};

/* What engine_load() measures. */
struct engine_load {
	int64_t lag_ms;    /* of the worker that was latest */
	char listener[64]; /* the fullest one; "" = none has a cap */
	uint64_t connections, cap;
};

/* Zero at the beginning. */
struct overload {
	int64_t looked_ms, late_since, full_since, last_ms; /* last_ms: when it was last too much; 0 = never, or over */
	char full[64];                                      /* the listener that is full */
	char text[128];
};

/* One look; now_ms is monotonic and not 0. Why this node is overloaded, valid until the next look; or NULL. The text
 * has no figures that change from look to look: it is a warning that stands. */
const char *overload_look(struct overload *o, const struct engine_load *load, int64_t now_ms);

#endif

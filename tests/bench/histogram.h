/* SPDX-License-Identifier: Apache-2.0
 * A histogram of microseconds with a bounded relative error (1/64), in fixed memory.
 */
#ifndef POSTROAD_TESTS_BENCH_HISTOGRAM_H
#define POSTROAD_TESTS_BENCH_HISTOGRAM_H

#include <stdio.h>

#include "daemon/base/obj.h"

#define HISTOGRAM_SLOTS 2048

struct histogram {
	uint64_t count;
	int64_t max;
	uint32_t slots[HISTOGRAM_SLOTS];
};

void histogram_add(struct histogram *h, int64_t us);
/* The value that `fraction` of all do not exceed (upper edge of its slot, never above the maximum); 0 when empty. */
int64_t histogram_quantile(const struct histogram *h, double fraction);
/* {"count": …, "p50": …, "p90": …, "p99": …, "p999": …, "max": …} in microseconds. */
void histogram_print(const struct histogram *h, FILE *out);

#endif

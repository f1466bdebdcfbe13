/* SPDX-License-Identifier: Apache-2.0
 * Reports as a test wants them.
 */
#ifndef POSTROAD_TESTS_REPORT_FIXTURE_H
#define POSTROAD_TESTS_REPORT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/report/view.h"

/* Of node n<id>, started at 1000 s, ready. */
static inline struct node_report report_of(uint32_t id, uint64_t sequence)
{
	struct node_report r = { .id = id,
				 .version = "1.0",
				 .features_low = 1,
				 .features_high = 1,
				 .started_ms = 1000000,
				 .sequence = sequence,
				 .wall_ms = 5000000,
				 .state = REPORT_READY,
				 .ready = true,
				 .revision = 7,
				 .has_hash = true };

	snprintf(r.node, sizeof(r.node), "n%u", id);
	memset(r.hash, 7, sizeof(r.hash));
	return r;
}

static inline void report_add_vip(struct node_report *r, const char *name, bool kernel)
{
	struct report_vip *v = &r->vips[r->n_vips++];

	*v = (struct report_vip) { .up = true,
				   .kernel = kernel,
				   .state = kernel ? REPORT_VIP_MASTER : REPORT_VIP_BACKUP };
	snprintf(v->name, sizeof(v->name), "%s", name);
}

static inline void report_add_key(struct node_report *r, uint64_t serial, uint32_t maker)
{
	struct ticket_key_entry *k = &r->keys.list[r->keys.n++];

	*k = (struct ticket_key_entry) { .serial = serial, .maker = maker, .age_s = 60 };
	memset(k->bytes, (int)(serial * 16 + maker), sizeof(k->bytes));
}

#endif

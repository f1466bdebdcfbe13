/* SPDX-License-Identifier: Apache-2.0
 * A node's report from bytes. What decodes must encode to bytes that decode to the same, and a table that hears it must
 * be able to say what is wrong.
 */
#include <stdlib.h>

#include "cluster/report/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_alarm(const char *key, const char *text, void *arg)
{
	UNUSED(arg);
	ASSERT(*key != '\0' && *text != '\0');
}

static void hear(const struct node_report *r, struct str in)
{
	const struct report_member members[] = { { .id = r->id == 1 ? 2 : 1, .name = "own" },
						 { .id = r->id, .name = "peer" } };
	struct report_view *v = report_view_new();

	report_view_members(v, members[0].id, members, 2, 0);
	ASSERT(report_view_heard(v, r->id, in, 0, 0) == 0);
	for (int64_t now = 0; now < 20000; now += 5000)
		report_view_alarms(v, now, on_alarm, NULL);
	report_view_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = { (const char *)data, size };
	struct sbuf once = { 0 }, twice = { 0 };
	struct node_report r, again;

	if (!report_decode(in, &r))
		return 0;
	report_encode(&r, &once);
	ASSERT(report_decode((struct str) { once.p, once.n }, &again));
	report_encode(&again, &twice);
	ASSERT(again.n_verdicts == r.n_verdicts && again.n_vips == r.n_vips && again.partial == r.partial);
	ASSERT(str_eq((struct str) { once.p, once.n }, (struct str) { twice.p, twice.n }));
	hear(&r, in);
	report_fini(&r);
	report_fini(&again);
	report_wipe(&once);
	report_wipe(&twice);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * What became of a write whose answer could not be known in time.
 */
#include "daemon/api/api_private.h"

static const char *const state_names[] = {
	[OPERATION_UNHEARD] = "unheard",   [OPERATION_PENDING] = "pending", [OPERATION_COMMITTED] = "committed",
	[OPERATION_NOT_MADE] = "not-made", [OPERATION_UNKNOWN] = "unknown",
};

void res_operations_get(struct call *c)
{
	struct store_operation o = store_operation_find(c->api->env.store, c->params[0]);
	json_t *revision = o.revision == 0 ? json_null() : json_integer((json_int_t)o.revision);
	json_t *position = o.position == 0 ? json_null() : json_integer((json_int_t)o.position);

	if (o.state != OPERATION_UNHEARD) {
		call_json(c, 200,
			  json_pack("{s:s, s:s, s:o, s:o}", "operation", c->params[0], "state", state_names[o.state],
				    "revision", revision, "position", position));
		return;
	}
	json_decref(revision);
	json_decref(position);
	call_problem(c, PROBLEM_NOT_FOUND, NULL,
		     "nothing is known here of this operation: it was not made, or not yet, or more than a day ago");
}

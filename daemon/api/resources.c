/* SPDX-License-Identifier: Apache-2.0
 * The table of resources and the search in it.
 *
 * A literal segment stands above a {name} in the table where both could match ("revisions" before "{section}"): first
 * match wins.
 */
#include <stdio.h>

#include "daemon/api/api_private.h"

#define JSON_TYPE "application/json"
#define PATCH_TYPES "application/merge-patch+json,application/json"

const struct resource resources[] = {
#define RESOURCE(m, p, r, f, q, b, s)                                                                                  \
	{ .method = EVHTTP_REQ_##m,                                                                                    \
	  .method_name = #m,                                                                                           \
	  .pattern = p,                                                                                                \
	  .role = r,                                                                                                   \
	  .fn = f,                                                                                                     \
	  .operation = #f,                                                                                             \
	  .query = q,                                                                                                  \
	  .body = b,                                                                                                   \
	  .summary = s },
#include "daemon/api/resources.tbl.h"
#undef RESOURCE
};
const size_t resource_count = ARRAY_LEN(resources);

static void allow_add(char *allow, size_t cap, const char *method)
{
	size_t n = strlen(allow);

	snprintf(allow + n, cap - n, "%s%s", n == 0 ? "" : ", ", method);
}

const struct resource *resource_find(enum evhttp_cmd_type method, const struct path *p,
				     const char *params[PATH_PARAMS_MAX], char *ret_allow, size_t allow_cap)
{
	const char *pattern = NULL;

	ret_allow[0] = '\0';
	if (method == EVHTTP_REQ_HEAD)
		method = EVHTTP_REQ_GET;
	for (size_t i = 0; i < resource_count; i++) {
		const struct resource *r = &resources[i];
		/* Rows of one pattern stand together; another pattern that would match too is not looked at. */
		if (pattern != NULL && strcmp(pattern, r->pattern) != 0)
			break;
		if (pattern == NULL && !path_match(p, r->pattern, params))
			continue;
		pattern = r->pattern;
		if (r->method == method)
			return r;
		allow_add(ret_allow, allow_cap, r->method_name);
		if (r->method == EVHTTP_REQ_GET)
			allow_add(ret_allow, allow_cap, "HEAD");
	}
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0
 * Problem documents (RFC 9457): every kind of refusal, and its rendering. Pure.
 */
#ifndef POSTROAD_API_PROBLEM_H
#define POSTROAD_API_PROBLEM_H

#include <jansson.h>

#include "daemon/base/errors.h"

enum problem {
#define PROBLEM(ID, status, name, title) PROBLEM_##ID,
#include "daemon/api/problem.tbl.h"
#undef PROBLEM
	PROBLEM_COUNT
};

struct problem_row {
	int status;
	const char *name; /* the last part of its type */
	const char *title;
};
extern const struct problem_row problem_rows[PROBLEM_COUNT];

#define PROBLEM_TYPE_PREFIX "urn:postroad:problem:"

/* A new document; errors may be NULL, instance is the path asked for. */
json_t *problem_json(enum problem p, const char *detail, const char *instance, const struct errors *errors);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * What a request names: target, path, query, entity tags. Pure: bytes in, views and verdicts out.
 */
#ifndef POSTROAD_API_PATH_H
#define POSTROAD_API_PATH_H

#include "daemon/base/str.h"

#define PATH_SEGMENTS_MAX 12
#define PATH_BYTES_MAX 2048
#define PATH_PARAMS_MAX 4
#define QUERY_PAIRS_MAX 16
#define QUERY_BYTES_MAX 2048

/* Splits a request target (RFC 9112 3.2: origin-form or absolute-form) into path and query, still encoded. The query's
 * .p is NULL when there is none. */
bool path_target_split(struct str target, struct str *ret_path, struct str *ret_query) MUST_CHECK;

/* A path's segments, percent-decoded one by one, so that an encoded slash stays inside its segment. "/" has none. */
struct path {
	size_t n;
	const char *segments[PATH_SEGMENTS_MAX];
	char text[PATH_BYTES_MAX];
};

/* False: not a path, too long, a bad escape, a control character. */
bool path_parse(struct str raw, struct path *ret) MUST_CHECK;
/* Compares with "/api/v1/pools/{pool}"; what stands at each {…} goes to params, in order. */
bool path_match(const struct path *p, const char *pattern, const char *params[PATH_PARAMS_MAX]);

struct query {
	size_t n;
	struct query_pair {
		const char *key, *value;
	} pairs[QUERY_PAIRS_MAX];
	char text[QUERY_BYTES_MAX];
};

/* "a=b&c" (value of c: ""). False: too much of it, a bad escape, a key given twice. */
bool query_parse(struct str raw, struct query *ret) MUST_CHECK;
/* NULL = not given. */
const char *query_get(const struct query *q, const char *key);
/* The first key that is not in the comma-separated list, or NULL. */
const char *query_unknown(const struct query *q, const char *allowed);

enum etag_verdict {
	ETAG_ABSENT, /* no such header */
	ETAG_MATCHES,
	ETAG_DIFFERS,
	ETAG_MALFORMED
};

/* If-Match and If-None-Match (RFC 9110 13.1): is `current` (with its quotes; NULL = nothing is there) in the header's
 * list? "*" is any that exists. Weak tags match only where weak_ok (If-None-Match). */
enum etag_verdict etag_compare(const char *header, const char *current, bool weak_ok);

/* The token of "Authorization: Bearer TOKEN" (RFC 6750 2.1); .p NULL = not of that form. */
struct str bearer_token(const char *header);

#endif

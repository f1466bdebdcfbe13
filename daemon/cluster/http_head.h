/* SPDX-License-Identifier: Apache-2.0
 * Heads of the few HTTP/1.1 messages that nodes exchange (RFC 9112): a POST with a length, an answer with a length.
 * Pure.
 */
#ifndef POSTROAD_CLUSTER_HTTP_HEAD_H
#define POSTROAD_CLUSTER_HTTP_HEAD_H

#include "daemon/base/str.h"

enum {
	HTTP_HEAD_MAX = 2048, /* bytes */
	HTTP_HEAD_LINES_MAX = 32,
	HTTP_HEAD_LENGTH_MAX = 99999999,
};

struct http_head {
	struct str path; /* of a request: into the bytes that were parsed */
	int status;      /* of an answer: 100 to 599 */
	size_t length;   /* Content-Length */
};

/* Bytes of the head with its empty line; 0 = it is not whole yet; -1 = it is none, longer than HTTP_HEAD_MAX, without a
 * length, or one with a body of unknown length. Other fields are passed over. */
int http_head_request(struct str bytes, struct http_head *ret) MUST_CHECK;
int http_head_answer(struct str bytes, struct http_head *ret) MUST_CHECK;
/* Append one. */
void http_head_put_request(struct sbuf *out, const char *path, size_t length);
void http_head_put_answer(struct sbuf *out, int status, size_t length);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Heads of HTTP messages between nodes.
 *
 * The hard thing is to say no: whatever leaves two readings of where a message ends (two lengths, a transfer coding, a
 * folded line, a bare LF) is no head at all. Both ends are ours, so nothing needs to be put up with.
 */
#include "daemon/cluster/http_head.h"

#include <stdio.h>

/* One line without its CRLF. False: none is whole; a bare CR or LF, or a NUL, stays in it and is found there. */
static bool next_line(struct str *rest, struct str *ret)
{
	const char *end = memmem(rest->p, rest->n, "\r\n", 2);

	if (end == NULL)
		return false;
	*ret = (struct str) { rest->p, (size_t)(end - rest->p) };
	rest->p += ret->n + 2;
	rest->n -= ret->n + 2;
	return true;
}

static bool is_text(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
			return false;
	return true;
}

static bool number(struct str s, size_t max, size_t *ret)
{
	size_t n = 0;

	if (s.n == 0 || s.n > 8)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		n = 10 * n + (size_t)(s.p[i] - '0');
	}
	*ret = n;
	return n <= max;
}

/* RFC 9110 5.6.2: a name without spaces, and nothing folded. */
static bool field(struct str line, struct str *ret_name, struct str *ret_value)
{
	const char *colon = memchr(line.p, ':', line.n);

	if (colon == NULL || colon == line.p || !is_text(line))
		return false;
	*ret_name = (struct str) { line.p, (size_t)(colon - line.p) };
	*ret_value = (struct str) { colon + 1, line.n - ret_name->n - 1 };
	while (ret_value->n > 0 && *ret_value->p == ' ') {
		ret_value->p++;
		ret_value->n--;
	}
	return memchr(ret_name->p, ' ', ret_name->n) == NULL && memchr(ret_name->p, '\t', ret_name->n) == NULL;
}

/* The lines below the first; *rest begins behind it. 1 = whole, 0 = not yet, -1. */
static int fields(struct str *rest, size_t *ret_length)
{
	struct str line, name, value;
	bool has_length = false;

	for (int lines = 0; next_line(rest, &line); lines++) {
		if (line.n == 0)
			return has_length ? 1 : -1;
		if (lines == HTTP_HEAD_LINES_MAX || !field(line, &name, &value))
			return -1;
		if (str_ieq(name, STR("Transfer-Encoding")))
			return -1;
		if (!str_ieq(name, STR("Content-Length")))
			continue;
		if (has_length || !number(value, HTTP_HEAD_LENGTH_MAX, ret_length))
			return -1;
		has_length = true;
	}
	return 0;
}

static bool starts(struct str *s, const char *with)
{
	size_t n = strlen(with);

	if (s->n < n || memcmp(s->p, with, n) != 0)
		return false;
	s->p += n;
	s->n -= n;
	return true;
}

static bool request_line(struct str line, struct http_head *ret)
{
	static const char version[] = " HTTP/1.1";
	const size_t tail = sizeof(version) - 1;

	if (!is_text(line) || !starts(&line, "POST ") || line.n <= tail ||
	    memcmp(line.p + line.n - tail, version, tail) != 0)
		return false;
	ret->path = (struct str) { line.p, line.n - tail };
	return ret->path.p[0] == '/' && memchr(ret->path.p, ' ', ret->path.n) == NULL;
}

static bool status_line(struct str line, struct http_head *ret)
{
	size_t status = 0;

	if (!is_text(line) || !starts(&line, "HTTP/1.1 ") || line.n < 3 ||
	    !number((struct str) { line.p, 3 }, 599, &status) || (line.n > 3 && line.p[3] != ' '))
		return false;
	ret->status = (int)status;
	return status >= 100;
}

static int parse(struct str bytes, bool (*first)(struct str, struct http_head *), struct http_head *ret)
{
	struct str rest = bytes, line;
	int rc = 0;

	*ret = (struct http_head) { 0 };
	if (rest.n > HTTP_HEAD_MAX)
		rest.n = HTTP_HEAD_MAX;
	size_t seen = rest.n;
	if (next_line(&rest, &line))
		rc = first(line, ret) ? fields(&rest, &ret->length) : -1;
	if (rc == 0 && bytes.n >= HTTP_HEAD_MAX)
		rc = -1;
	return rc == 1 ? (int)(seen - rest.n) : rc;
}

int http_head_request(struct str bytes, struct http_head *ret)
{
	return parse(bytes, request_line, ret);
}

int http_head_answer(struct str bytes, struct http_head *ret)
{
	return parse(bytes, status_line, ret);
}

void http_head_put_request(struct sbuf *out, const char *path, size_t length)
{
	sbuf_printf(out,
		    "POST %s HTTP/1.1\r\nHost: postroad\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
		    "Connection: close\r\n\r\n",
		    path, length);
}

void http_head_put_answer(struct sbuf *out, int status, size_t length)
{
	sbuf_printf(out, "HTTP/1.1 %d Answer\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
		    status, status == 200 ? "application/json" : "text/plain; charset=utf-8", length);
}

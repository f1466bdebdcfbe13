/* SPDX-License-Identifier: Apache-2.0
 * The record postroad-sink keeps with --store: one line per message, with a digest of exactly the bytes that arrived.
 *
 * The digest covers the message as its sender meant it: dot-stuffing undone, the end mark left out. What must never
 * leave the balancer (a bare CR or LF, a NUL) is noted beside it, because a digest does not show it.
 */
#include "tests/bench/sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { AT_LINE_START, AFTER_DOT, AFTER_DOT_CR, IN_LINE, AFTER_CR };

void store_fini(struct store *s)
{
	EVP_MD_CTX_free(s->digest);
	s->digest = NULL;
	sbuf_fini(&s->envelope);
}

void store_mail(struct store *s, const char *path)
{
	sbuf_reset(&s->envelope);
	sbuf_printf(&s->envelope, " from=%.*s to=", (int)strcspn(path, " "), path);
}

void store_rcpt(struct store *s, const char *path)
{
	bool first = s->envelope.n > 0 && s->envelope.p[s->envelope.n - 1] == '=';

	sbuf_printf(&s->envelope, "%s%.*s", first ? "" : ",", (int)strcspn(path, " "), path);
}

void store_data(struct store *s)
{
	if (s->digest == NULL)
		s->digest = EVP_MD_CTX_new();
	EVP_DigestInit_ex(s->digest, EVP_sha256(), NULL);
	s->bytes = 0;
	s->n_head = 0;
	s->state = AT_LINE_START;
	s->bare_newline = s->nul = false;
}

static void content(struct store *s, const char *p, size_t n)
{
	size_t room = sizeof(s->head) - s->n_head;

	EVP_DigestUpdate(s->digest, p, n);
	s->bytes += n;
	if (room > 0) {
		memcpy(s->head + s->n_head, p, n < room ? n : room);
		s->n_head += n < room ? n : room;
	}
}

/* One byte in; writes the content bytes it releases (at most two) to out and returns how many. */
static size_t unstuff(struct store *s, char ch, char *out)
{
	size_t n = 0;

	if (s->state == AT_LINE_START && ch == '.') {
		s->state = AFTER_DOT;
		return 0;
	}
	if (s->state == AFTER_DOT && ch == '\r') {
		s->state = AFTER_DOT_CR;
		return 0;
	}
	if (s->state == AFTER_DOT_CR) {
		if (ch == '\n')
			return 0; /* the end mark */
		out[n++] = '\r';
		s->bare_newline = true;
	}
	if ((s->state == AFTER_CR) != (ch == '\n'))
		s->bare_newline = true;
	if (ch == '\0')
		s->nul = true;
	out[n++] = ch;
	if (s->state == AFTER_CR && ch == '\n')
		s->state = AT_LINE_START;
	else
		s->state = ch == '\r' ? AFTER_CR : IN_LINE;
	return n;
}

void store_feed(struct store *s, const char *p, size_t n)
{
	char clean[8192];
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		used += unstuff(s, p[i], clean + used);
		if (used > sizeof(clean) - 2) {
			content(s, clean, used);
			used = 0;
		}
	}
	content(s, clean, used);
}

/* The value of a header field near the begin of the message; empty when there is none. */
static struct str find_field(const struct store *s, const char *name)
{
	size_t len = strlen(name);

	for (size_t at = 0; at + len < s->n_head;) {
		const char *p = s->head + at;
		const char *end = memchr(p, '\r', s->n_head - at);

		if (end == NULL || end == p)
			break;
		if ((size_t)(end - p) >= len && memcmp(p, name, len) == 0)
			return (struct str) { p + len, (size_t)(end - p) - len };
		at = (size_t)(end - s->head) + 2;
	}
	return (struct str) { "-", 1 };
}

void store_message(struct store *s)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned n_sum = 0;
	struct sbuf line = { 0 };
	struct str id = find_field(s, "X-Postroad-Id: ");

	EVP_DigestFinal_ex(s->digest, sum, &n_sum);
	sbuf_printf(&line, "id=%.*s bytes=%lu sha256=", STR_ARG(id), (unsigned long)s->bytes);
	for (unsigned i = 0; i < n_sum; i++)
		sbuf_printf(&line, "%02x", sum[i]);
	sbuf_printf(&line, " clean=%s", s->bare_newline || s->nul ? "no" : "yes");
	sbuf_add(&line, s->envelope.p, s->envelope.n);
	if (s->client[0] != '\0')
		sbuf_printf(&line, " client=%s", s->client);
	sbuf_putc(&line, '\n');
	/* One write: O_APPEND keeps lines of several threads whole. */
	if (write(options.store_fd, line.p, line.n) != (ssize_t)line.n || (options.fsync && fsync(options.store_fd))) {
		perror("postroad-sink: --store");
		exit(1);
	}
	sbuf_fini(&line);
}

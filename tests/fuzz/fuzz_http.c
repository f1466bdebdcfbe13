/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: what a request names. The input is a target, a header line of entity tags and one of authorization, separated
 * by line feeds. Invariants: what was decoded holds no control character and no NUL but its end; a decoded path encoded
 * anew names the same segments; a table row found for it fills as many parameters as its pattern has; every tag of a
 * list that is accepted matches itself; the same input split off at any place is read within its bytes (the sanitizer's
 * business).
 */
#include <stdlib.h>

#include "daemon/api/api_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s)
{
	for (; *s != '\0'; s++)
		ASSERT((unsigned char)*s >= ' ' && *s != 0x7f);
}

static void check_again(const struct path *p)
{
	static struct path again;
	struct sbuf text = { 0 };

	for (size_t i = 0; i < p->n; i++) {
		sbuf_putc(&text, '/');
		for (const char *c = p->segments[i]; *c != '\0'; c++)
			sbuf_printf(&text, "%%%02x", (unsigned char)*c);
	}
	if (p->n == 0)
		sbuf_putc(&text, '/');
	if (text.n < PATH_BYTES_MAX) {
		ASSERT(path_parse((struct str) { text.p, text.n }, &again));
		/* "/" alone has no segment, and one empty segment is written the same. */
		ASSERT(again.n == p->n || (p->n == 1 && p->segments[0][0] == '\0'));
		for (size_t i = 0; i < again.n; i++)
			ASSERT(strcmp(again.segments[i], p->segments[i]) == 0);
	}
	sbuf_fini(&text);
}

static void check_resource(const struct path *p)
{
	const char *params[PATH_PARAMS_MAX] = { 0 };
	char allow[96];
	const struct resource *r = resource_find(EVHTTP_REQ_GET, p, params, allow, sizeof(allow));
	size_t n = 0;

	for (const char *c = r == NULL ? "" : r->pattern; *c != '\0'; c++)
		n += *c == '{';
	for (size_t i = 0; i < n; i++)
		ASSERT(params[i] != NULL && params[i][0] != '\0');
}

static void check_target(struct str target)
{
	static struct path p;
	static struct query q;
	struct str path, query;

	if (!path_target_split(target, &path, &query))
		return;
	ASSERT(path.p >= target.p && path.p + path.n <= target.p + target.n);
	if (path_parse(path, &p)) {
		for (size_t i = 0; i < p.n; i++)
			check_text(p.segments[i]);
		check_again(&p);
		check_resource(&p);
	}
	if (!query_parse(query, &q))
		return;
	for (size_t i = 0; i < q.n; i++) {
		check_text(q.pairs[i].key);
		check_text(q.pairs[i].value);
		ASSERT(query_get(&q, q.pairs[i].key) == q.pairs[i].value);
		ASSERT(strchr(q.pairs[i].key, ',') != NULL || query_unknown(&q, q.pairs[i].key) != q.pairs[i].key);
	}
}

static void check_tags(const char *header)
{
	enum etag_verdict none = etag_compare(header, NULL, true), strong = etag_compare(header, "\"a\"", false),
			  weak = etag_compare(header, "\"a\"", true);

	ASSERT(none == ETAG_DIFFERS || none == ETAG_MALFORMED);
	ASSERT((none == ETAG_MALFORMED) == (strong == ETAG_MALFORMED) &&
	       (strong == ETAG_MALFORMED) == (weak == ETAG_MALFORMED));
	ASSERT(strong != ETAG_MATCHES || weak == ETAG_MATCHES);
	struct str token = bearer_token(header);
	for (size_t i = 0; i < token.n; i++)
		ASSERT((unsigned char)token.p[i] > ' ' && (unsigned char)token.p[i] < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *lf = size == 0 ? NULL : memchr(data, '\n', size);
	size_t n = lf == NULL ? size : (size_t)(lf - data);
	char *target = malloc(n == 0 ? 1 : n);

	ASSERT(target != NULL);
	if (n > 0)
		memcpy(target, data, n);
	check_target((struct str) { target, n });
	free(target);
	if (lf != NULL) {
		char *header = xstrndup((const char *)lf + 1, size - n - 1);
		check_tags(header);
		free(header);
	}
	return 0;
}

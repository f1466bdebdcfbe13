/* SPDX-License-Identifier: Apache-2.0
 * What a request names.
 *
 * Every byte here was chosen by a client that may not have shown a token yet, so nothing allocates and every length is
 * bounded. An escape that decodes to a control character is refused: such a name cannot exist and would only end in a
 * log.
 */
#include "daemon/api/path.h"

#include <strings.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

/* Decodes into out (at least raw.n + 1 bytes), NUL-terminated. Returns the length, or -1. */
static ptrdiff_t percent_decode(struct str raw, bool plus_is_space, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < raw.n; i++) {
		unsigned char c = (unsigned char)raw.p[i];
		if (c == '%') {
			int high = i + 2 < raw.n ? hex_value(raw.p[i + 1]) : -1;
			int low = i + 2 < raw.n ? hex_value(raw.p[i + 2]) : -1;
			if (high < 0 || low < 0)
				return -1;
			c = (unsigned char)(high * 16 + low);
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		if (is_control(c))
			return -1;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return (ptrdiff_t)n;
}

/* ---- target and path ---- */

/* "http://host/path" to "/path": RFC 9112 3.2.2 wants it accepted. */
static bool skip_authority(struct str *target)
{
	static const char *const schemes[] = { "http://", "https://" };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		size_t n = strlen(schemes[i]);
		if (target->n <= n || strncasecmp(target->p, schemes[i], n) != 0)
			continue;
		const char *slash = memchr(target->p + n, '/', target->n - n);
		if (slash == NULL)
			return false;
		target->n -= (size_t)(slash - target->p);
		target->p = slash;
		return true;
	}
	return false;
}

bool path_target_split(struct str target, struct str *ret_path, struct str *ret_query)
{
	if (target.n == 0 || (target.p[0] != '/' && !skip_authority(&target)))
		return false;
	if (memchr(target.p, '#', target.n) != NULL)
		return false;
	const char *mark = memchr(target.p, '?', target.n);
	if (mark == NULL) {
		*ret_path = target;
		*ret_query = (struct str) { 0 };
		return true;
	}
	size_t n = (size_t)(mark - target.p);
	*ret_path = (struct str) { target.p, n };
	*ret_query = (struct str) { mark + 1, target.n - n - 1 };
	return true;
}

bool path_parse(struct str raw, struct path *ret)
{
	size_t used = 0;

	ret->n = 0;
	if (raw.n == 0 || raw.p[0] != '/' || raw.n >= sizeof(ret->text))
		return false;
	for (size_t at = 1; raw.n > 1 && at <= raw.n;) {
		const char *slash = at < raw.n ? memchr(raw.p + at, '/', raw.n - at) : NULL;
		size_t end = slash == NULL ? raw.n : (size_t)(slash - raw.p);
		if (ret->n == PATH_SEGMENTS_MAX)
			return false;
		/* Each segment takes at most its encoded length and a NUL where its slash stood. */
		ptrdiff_t n = percent_decode((struct str) { raw.p + at, end - at }, false, ret->text + used);
		if (n < 0)
			return false;
		ret->segments[ret->n++] = ret->text + used;
		used += (size_t)n + 1;
		at = end + 1;
	}
	return true;
}

bool path_match(const struct path *p, const char *pattern, const char *params[PATH_PARAMS_MAX])
{
	size_t n_params = 0, i = 0;
	const char *at = pattern + 1; /* each pattern starts with a slash */

	while (*at != '\0') {
		size_t n = strcspn(at, "/");
		if (i == p->n)
			return false;
		if (at[0] == '{') {
			ASSERT(n_params < PATH_PARAMS_MAX);
			if (p->segments[i][0] == '\0')
				return false;
			params[n_params++] = p->segments[i];
		} else if (strlen(p->segments[i]) != n || memcmp(p->segments[i], at, n) != 0) {
			return false;
		}
		i++;
		at += n;
		if (*at == '/')
			at++;
	}
	return i == p->n;
}

/* ---- query ---- */

static bool query_add(struct query *q, struct str pair, size_t *used)
{
	const char *equals = memchr(pair.p, '=', pair.n);
	size_t key_n = equals == NULL ? pair.n : (size_t)(equals - pair.p);
	struct str value = { pair.p + key_n + 1, equals == NULL ? 0 : pair.n - key_n - 1 };
	char *out = q->text + *used;

	if (q->n == QUERY_PAIRS_MAX || key_n == 0)
		return false;
	ptrdiff_t n = percent_decode((struct str) { pair.p, key_n }, true, out);
	if (n < 0 || query_get(q, out) != NULL)
		return false;
	struct query_pair *added = &q->pairs[q->n];
	added->key = out;
	*used += (size_t)n + 1;
	if (equals == NULL) {
		added->value = "";
	} else {
		added->value = q->text + *used;
		n = percent_decode(value, true, q->text + *used);
		if (n < 0)
			return false;
		*used += (size_t)n + 1;
	}
	q->n++;
	return true;
}

bool query_parse(struct str raw, struct query *ret)
{
	size_t used = 0, at = 0;

	ret->n = 0;
	/* Two NULs for each pair at most where '=' and '&' stood, and one for the last. */
	if (raw.n + 2 > sizeof(ret->text))
		return false;
	while (at < raw.n) {
		const char *amp = memchr(raw.p + at, '&', raw.n - at);
		size_t end = amp == NULL ? raw.n : (size_t)(amp - raw.p);
		if (end > at && !query_add(ret, (struct str) { raw.p + at, end - at }, &used))
			return false;
		at = end + 1;
	}
	return true;
}

const char *query_get(const struct query *q, const char *key)
{
	for (size_t i = 0; i < q->n; i++)
		if (strcmp(q->pairs[i].key, key) == 0)
			return q->pairs[i].value;
	return NULL;
}

static bool in_list(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; *at != '\0';) {
		size_t len = strcspn(at, ",");
		if (len == n && memcmp(at, word, n) == 0)
			return true;
		at += len;
		if (*at == ',')
			at++;
	}
	return false;
}

const char *query_unknown(const struct query *q, const char *allowed)
{
	for (size_t i = 0; i < q->n; i++)
		if (!in_list(allowed, q->pairs[i].key))
			return q->pairs[i].key;
	return NULL;
}

/* ---- entity tags ---- */

static const char *skip_space(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

/* One entity-tag (RFC 9110 8.8.3) at *at; moves behind it. */
static bool tag_next(const char **at, bool *ret_weak, struct str *ret_tag)
{
	const char *p = *at;

	*ret_weak = p[0] == 'W' && p[1] == '/';
	if (*ret_weak)
		p += 2;
	if (*p != '"')
		return false;
	const char *end = p + 1;
	while ((unsigned char)*end > 0x20 && *end != '"' && *end != 0x7f)
		end++;
	if (*end != '"')
		return false;
	*ret_tag = (struct str) { p, (size_t)(end + 1 - p) };
	*at = end + 1;
	return true;
}

enum etag_verdict etag_compare(const char *header, const char *current, bool weak_ok)
{
	enum etag_verdict verdict = ETAG_DIFFERS;

	if (header == NULL)
		return ETAG_ABSENT;
	const char *at = skip_space(header);
	if (*at == '*')
		return *skip_space(at + 1) != '\0' ? ETAG_MALFORMED : current != NULL ? ETAG_MATCHES : ETAG_DIFFERS;
	for (;;) {
		bool weak;
		struct str tag;
		if (!tag_next(&at, &weak, &tag))
			return ETAG_MALFORMED;
		if (current != NULL && (!weak || weak_ok) && str_eq(tag, str_from(current)))
			verdict = ETAG_MATCHES;
		at = skip_space(at);
		if (*at == '\0')
			return verdict;
		if (*at != ',')
			return ETAG_MALFORMED;
		at = skip_space(at + 1);
	}
}

/* ---- authorization ---- */

struct str bearer_token(const char *header)
{
	if (header == NULL || strncasecmp(header, "Bearer ", 7) != 0)
		return (struct str) { 0 };
	const char *p = skip_space(header + 7);
	size_t n = strlen(p);
	while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
		n--;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)p[i] <= 0x20 || (unsigned char)p[i] >= 0x7f)
			return (struct str) { 0 };
	return n == 0 ? (struct str) { 0 } : (struct str) { p, n };
}

/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: proxy_parse() and proxy_encode(). Invariants: a verdict other than MORE on a prefix is the verdict on the
 * whole; exactly the header is taken, and all views lie in it; what was read and is sent again is read as the same, as
 * far as it fits. The first byte chooses where the prefix ends.
 */
#include <stdlib.h>

#include "daemon/smtp/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_view(struct str v, const char *p, size_t len)
{
	ASSERT(v.p == NULL ? v.n == 0 : v.p >= p && v.p + v.n <= p + len);
}

static void check_header(const struct proxy_header *h, const char *p, size_t len)
{
	const struct str views[] = { h->alpn,   h->authority,  h->unique_id,   h->netns,      h->ssl.version,
				     h->ssl.cn, h->ssl.cipher, h->ssl.sig_alg, h->ssl.key_alg };

	for (size_t i = 0; i < ARRAY_LEN(views); i++)
		check_view(views[i], p, len);
	ASSERT(h->version == 1 || h->version == 2);
	ASSERT(len <= (h->version == 1 ? PROXY_V1_MAX : PROXY_RECEIVE_MAX));
	ASSERT((h->kind == PROXY_TCP) == (h->src.sa.sa_family != 0));
	ASSERT((h->kind == PROXY_TCP) == (h->dst.sa.sa_family != 0));
	ASSERT(h->version == 2 || (h->kind != PROXY_LOCAL && !h->crc && !h->ssl.given));
	ASSERT(h->unique_id.n <= PROXY_UNIQUE_ID_MAX);
}

static void check_text(struct str sent, struct str again)
{
	ASSERT(again.n == 0 || str_eq(sent, again));
}

static void send_again(struct proxy_header *h, unsigned version)
{
	char out[PROXY_SEND_MAX];
	struct proxy_header again;
	const char *why;
	size_t len;

	h->version = version;
	size_t n = proxy_encode(h, out);
	ASSERT(n > 0 && n <= (version == 1 ? PROXY_V1_MAX : PROXY_SEND_MAX));
	ASSERT(proxy_parse(out, n, &again, &len, &why) == SMTP_PARSE_OK && len == n);
	ASSERT(again.version == version);
	if (h->kind == PROXY_TCP)
		ASSERT(again.kind == PROXY_TCP && addr_eq(&h->src, &again.src) && addr_eq(&h->dst, &again.dst));
	else
		ASSERT(again.kind == (version == 2 && h->kind == PROXY_LOCAL ? PROXY_LOCAL : PROXY_UNKNOWN));
	if (version == 1)
		return;
	ASSERT(again.crc == h->crc && again.ssl.given == h->ssl.given && again.ssl.client == h->ssl.client);
	ASSERT(proxy_ssl_verified(&again.ssl) == proxy_ssl_verified(&h->ssl));
	check_text(h->alpn, again.alpn);
	check_text(h->authority, again.authority);
	check_text(h->unique_id, again.unique_id);
	check_text(h->ssl.cn, again.ssl.cn);
	check_text(h->ssl.key_alg, again.ssl.key_alg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	const char *p = (const char *)data + 1, *why = NULL;
	size_t n = size - 1, cut = n * data[0] / 256, len = 0, again = 0;
	struct proxy_header h, other;

	enum smtp_parse part = proxy_parse(p, cut, &other, &again, &why);
	ASSERT(part != SMTP_PARSE_BAD || why != NULL);
	enum smtp_parse whole = proxy_parse(p, n, &h, &len, &why);
	ASSERT(part == SMTP_PARSE_MORE || part == whole);
	ASSERT(part != SMTP_PARSE_OK || again == len);
	ASSERT(whole != SMTP_PARSE_MORE || n < PROXY_RECEIVE_MAX);
	if (whole != SMTP_PARSE_OK)
		return 0;
	ASSERT(len <= n);
	check_header(&h, p, len);
	ASSERT(proxy_parse(p, len, &other, &again, &why) == SMTP_PARSE_OK && again == len);
	ASSERT(proxy_parse(p, len - 1, &other, &again, &why) == SMTP_PARSE_MORE);
	send_again(&h, 1);
	send_again(&h, 2);
	h.crc = true;
	send_again(&h, 2);
	return 0;
}

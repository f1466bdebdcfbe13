/* SPDX-License-Identifier: Apache-2.0
 * The PROXY protocol, sent.
 *
 * The hard thing: a header is bounded, what it tells is not. TLVs go out whole or not at all, the ones that matter most
 * first; the checksum's place is kept in front of them, as it is known last.
 */
#include "daemon/smtp/proxy_private.h"

#include <stdio.h>

/* ---- CRC32c ---- */

static uint32_t crc_byte(uint32_t crc, unsigned char c)
{
	crc ^= c;
	for (unsigned bit = 0; bit < 8; bit++)
		crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1));
	return crc;
}

uint32_t proxy_crc32c(const char *p, size_t n, size_t hole)
{
	uint32_t crc = 0xffffffffu;

	for (size_t i = 0; i < n; i++)
		crc = crc_byte(crc, i >= hole && i - hole < 4 ? 0 : (unsigned char)p[i]);
	return ~crc;
}

/* ---- TLVs ---- */

struct writer {
	char *out;
	size_t n;
};

static void put_u16(struct writer *w, unsigned v)
{
	w->out[w->n++] = (char)(v >> 8);
	w->out[w->n++] = (char)v;
}

static void put_u32(struct writer *w, uint32_t v)
{
	put_u16(w, v >> 16);
	put_u16(w, v & 0xffff);
}

/* Opens a TLV that has room for `size` bytes of value; false = it has not. */
static bool put_head(struct writer *w, uint8_t type, size_t size)
{
	if (size > PROXY_SEND_MAX || w->n + PROXY_TLV_HEAD + size > PROXY_SEND_MAX)
		return false;
	w->out[w->n++] = (char)type;
	put_u16(w, (unsigned)size);
	return true;
}

static void put_text(struct writer *w, uint8_t type, struct str value)
{
	if (value.n == 0 || !put_head(w, type, value.n))
		return;
	memcpy(w->out + w->n, value.p, value.n);
	w->n += value.n;
}

static void put_ssl(struct writer *w, const struct proxy_ssl *ssl)
{
	size_t at = w->n;

	if (!ssl->given || !put_head(w, PROXY_TLV_SSL, PROXY_SSL_HEAD))
		return;
	w->out[w->n++] = (char)ssl->client;
	bool certified = (ssl->client & (PROXY_SSL_CERT_CONN | PROXY_SSL_CERT_SESS)) != 0;
	put_u32(w, ssl->verify == 0 && !certified ? 1 : ssl->verify);
	put_text(w, PROXY_TLV_SSL_VERSION, ssl->version);
	put_text(w, PROXY_TLV_SSL_CIPHER, ssl->cipher);
	put_text(w, PROXY_TLV_SSL_CN, ssl->cn);
	put_text(w, PROXY_TLV_SSL_SIG_ALG, ssl->sig_alg);
	put_text(w, PROXY_TLV_SSL_KEY_ALG, ssl->key_alg);
	put_u16(&(struct writer) { w->out, at + 1 }, (unsigned)(w->n - at - PROXY_TLV_HEAD));
}

static struct str no_longer_than(struct str s, size_t max)
{
	return s.n <= max ? s : (struct str) { NULL, 0 };
}

static void put_tlvs(struct writer *w, const struct proxy_header *h)
{
	put_text(w, PROXY_TLV_UNIQUE_ID, no_longer_than(h->unique_id, PROXY_UNIQUE_ID_MAX));
	put_ssl(w, &h->ssl);
	put_text(w, PROXY_TLV_AUTHORITY, h->authority);
	put_text(w, PROXY_TLV_ALPN, h->alpn);
	put_text(w, PROXY_TLV_NETNS, h->netns);
}

/* ---- addresses ---- */

static void map(struct addr *a)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = a->in.sin_port };

	if (a->sa.sa_family != AF_INET)
		return;
	memset(in6.sin6_addr.s6_addr + 10, 0xff, 2);
	memcpy(in6.sin6_addr.s6_addr + 12, &a->in.sin_addr, 4);
	a->in6 = in6;
}

/* The two ends in one family, or none: 0. */
static int same_family(const struct proxy_header *h, struct addr ends[2])
{
	ends[0] = h->src;
	ends[1] = h->dst;
	addr_unmap(&ends[0]);
	addr_unmap(&ends[1]);
	if (ends[0].sa.sa_family == 0 || ends[1].sa.sa_family == 0)
		return 0;
	if (ends[0].sa.sa_family != ends[1].sa.sa_family) {
		map(&ends[0]);
		map(&ends[1]);
	}
	return ends[0].sa.sa_family;
}

static void put_addrs(struct writer *w, int family, const struct addr ends[2])
{
	for (unsigned i = 0; i < 2; i++) {
		const void *ip = family == AF_INET ? (const void *)&ends[i].in.sin_addr : &ends[i].in6.sin6_addr;
		size_t size = family == AF_INET ? 4 : 16;
		memcpy(w->out + w->n, ip, size);
		w->n += size;
	}
	put_u16(w, addr_port(&ends[0]));
	put_u16(w, addr_port(&ends[1]));
}

/* ---- the two versions ---- */

static size_t encode_v1(const struct proxy_header *h, char *out)
{
	char src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX];
	struct addr ends[2];
	int family = h->kind == PROXY_TCP || h->kind == PROXY_LOCAL ? same_family(h, ends) : 0;

	if (family == 0)
		return (size_t)snprintf(out, PROXY_SEND_MAX, "PROXY UNKNOWN\r\n");
	addr_format_ip(&ends[0], src);
	addr_format_ip(&ends[1], dst);
	return (size_t)snprintf(out, PROXY_SEND_MAX, "PROXY TCP%d %s %s %u %u\r\n", family == AF_INET ? 4 : 6, src, dst,
				addr_port(&ends[0]), addr_port(&ends[1]));
}

static size_t encode_v2(const struct proxy_header *h, char *out)
{
	struct writer w = { out, 0 };
	struct addr ends[2];
	int family = h->kind == PROXY_TCP ? same_family(h, ends) : 0;
	struct str sign = PROXY_V2_SIGNATURE;
	size_t crc = 0;

	memcpy(out, sign.p, sign.n);
	out[12] = h->kind == PROXY_LOCAL ? 0x20 : 0x21;
	out[13] = family == 0 ? 0x00 : family == AF_INET ? 0x11 : 0x21;
	w.n = PROXY_V2_HEAD;
	if (family != 0)
		put_addrs(&w, family, ends);
	if (h->crc && put_head(&w, PROXY_TLV_CRC32C, 4)) {
		crc = w.n;
		put_u32(&w, 0);
	}
	put_tlvs(&w, h);
	put_u16(&(struct writer) { out, 14 }, (unsigned)(w.n - PROXY_V2_HEAD));
	if (crc != 0)
		put_u32(&(struct writer) { out, crc }, proxy_crc32c(out, w.n, crc));
	return w.n;
}

size_t proxy_encode(const struct proxy_header *h, char out[PROXY_SEND_MAX])
{
	return h->version == 1 ? encode_v1(h, out) : encode_v2(h, out);
}

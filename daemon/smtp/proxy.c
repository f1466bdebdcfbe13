/* SPDX-License-Identifier: Apache-2.0
 * The PROXY protocol, received: both versions, told apart by their first byte.
 *
 * The hard thing: what follows the header may be anything, so exactly the header is taken; and bytes come in pieces, so
 * nothing is judged that a further byte could turn into something else. Lengths inside the header are the sender's
 * claims: each is checked against what is there before it is followed.
 */
#include "daemon/smtp/proxy_private.h"

#include "daemon/smtp/chars.h"

static enum smtp_parse bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return SMTP_PARSE_BAD;
}

/* ---- version 1: a line ---- */

#define V1_WORD STR("PROXY ")

/* Takes what stands before the next space; the space is gone too. The last field has none behind it. */
static struct str take_field(struct str *rest)
{
	const char *space = rest->n > 0 ? memchr(rest->p, ' ', rest->n) : NULL;
	struct str field = { rest->p, space != NULL ? (size_t)(space - rest->p) : rest->n };

	*rest = smtp_skip(*rest, field.n + (space != NULL));
	return field;
}

static bool read_ip(struct str text, int family, struct addr *ret)
{
	char z[ADDR_TEXT_MAX];

	if (text.n == 0 || text.n >= sizeof(z) || memchr(text.p, '\0', text.n) != NULL)
		return false;
	memcpy(z, text.p, text.n);
	z[text.n] = '\0';
	return addr_parse_ip(z, ret) && ret->sa.sa_family == family;
}

/* Decimal, 0 to 65535, without leading zeros (2.1). */
static bool read_port(struct str text, struct addr *io)
{
	uint64_t port;

	if (!smtp_u64(text, &port) || port > 65535 || (text.n > 1 && text.p[0] == '0'))
		return false;
	addr_set_port(io, (unsigned)port);
	return true;
}

/* The line behind "PROXY " and before its CRLF. NULL = well-formed. */
static const char *read_v1(struct str line, struct proxy_header *h)
{
	struct str protocol = take_field(&line);
	bool v6 = str_eq(protocol, STR("TCP6"));
	int family = v6 ? AF_INET6 : AF_INET;

	if (str_eq(protocol, STR("UNKNOWN"))) /* whatever follows is to be ignored */
		return NULL;
	if (!v6 && !str_eq(protocol, STR("TCP4")))
		return "unknown protocol in PROXY line";
	struct str src = take_field(&line), dst = take_field(&line), src_port = take_field(&line);
	if (!read_ip(src, family, &h->src) || !read_ip(dst, family, &h->dst))
		return "malformed address in PROXY line";
	if (!read_port(src_port, &h->src) || !read_port(line, &h->dst))
		return "malformed port in PROXY line";
	h->kind = PROXY_TCP;
	return NULL;
}

static enum smtp_parse parse_v1(struct str in, struct proxy_header *h, size_t *ret_len, const char **ret_why)
{
	struct str word = V1_WORD;
	size_t common = in.n < word.n ? in.n : word.n, limit = in.n < PROXY_V1_MAX ? in.n : PROXY_V1_MAX;

	if (memcmp(in.p, word.p, common) != 0)
		return bad(ret_why, "no PROXY header");
	const char *end = memchr(in.p, '\n', limit), *cr = memchr(in.p, '\r', limit);
	if (cr != NULL && (size_t)(cr - in.p) + 1 < limit && cr[1] != '\n')
		return bad(ret_why, "bare CR in PROXY line");
	if (end != NULL && (cr == NULL || cr > end))
		return bad(ret_why, "bare LF in PROXY line");
	if (end == NULL)
		return limit == PROXY_V1_MAX ? bad(ret_why, "PROXY line too long") : SMTP_PARSE_MORE;
	h->version = 1;
	const char *wrong = read_v1((struct str) { in.p + word.n, (size_t)(cr - in.p) - word.n }, h);
	if (wrong != NULL)
		return bad(ret_why, wrong);
	*ret_len = (size_t)(end - in.p) + 1;
	return SMTP_PARSE_OK;
}

/* ---- version 2: TLVs ---- */

static unsigned u16(const char *p)
{
	return (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

static uint32_t u32(const char *p)
{
	return (uint32_t)u16(p) << 16 | u16(p + 2);
}

struct tlv {
	uint8_t type;
	struct str value;
};

/* Takes one off *rest; false = what is there is none. */
static bool take_tlv(struct str *rest, struct tlv *ret)
{
	if (rest->n < PROXY_TLV_HEAD || rest->n - PROXY_TLV_HEAD < u16(rest->p + 1))
		return false;
	*ret = (struct tlv) { (uint8_t)rest->p[0], { rest->p + PROXY_TLV_HEAD, u16(rest->p + 1) } };
	*rest = smtp_skip(*rest, PROXY_TLV_HEAD + ret->value.n);
	return true;
}

static struct str *ssl_field(struct proxy_ssl *ssl, uint8_t type)
{
	switch (type) {
	case PROXY_TLV_SSL_VERSION:
		return &ssl->version;
	case PROXY_TLV_SSL_CN:
		return &ssl->cn;
	case PROXY_TLV_SSL_CIPHER:
		return &ssl->cipher;
	case PROXY_TLV_SSL_SIG_ALG:
		return &ssl->sig_alg;
	case PROXY_TLV_SSL_KEY_ALG:
		return &ssl->key_alg;
	default:
		return NULL;
	}
}

static struct str *text_field(struct proxy_header *h, uint8_t type)
{
	switch (type) {
	case PROXY_TLV_ALPN:
		return &h->alpn;
	case PROXY_TLV_AUTHORITY:
		return &h->authority;
	case PROXY_TLV_UNIQUE_ID:
		return &h->unique_id;
	case PROXY_TLV_NETNS:
		return &h->netns;
	default:
		return NULL;
	}
}

/* A field is set once: of two names nobody could say which one is meant. */
static const char *set_once(struct str *field, struct str value)
{
	if (field == NULL)
		return NULL;
	if (field->p != NULL)
		return "TLV given twice";
	*field = value;
	return NULL;
}

static const char *read_ssl(struct str v, struct proxy_ssl *ssl)
{
	const char *wrong = NULL;
	struct tlv sub;

	if (ssl->given)
		return "TLV given twice";
	if (v.n < PROXY_SSL_HEAD)
		return "malformed SSL TLV";
	ssl->given = true;
	ssl->client = (uint8_t)v.p[0];
	ssl->verify = u32(v.p + 1);
	for (v = smtp_skip(v, PROXY_SSL_HEAD); v.n > 0 && wrong == NULL;) {
		if (!take_tlv(&v, &sub))
			return "malformed SSL TLV";
		wrong = set_once(ssl_field(ssl, sub.type), sub.value);
	}
	return wrong;
}

/* *ret_crc: where the checksum stands, NULL = none. */
static const char *read_tlvs(struct str tlvs, struct proxy_header *h, const char **ret_crc)
{
	const char *wrong = NULL;
	struct tlv t;

	*ret_crc = NULL;
	while (tlvs.n > 0 && wrong == NULL) {
		if (!take_tlv(&tlvs, &t))
			return "malformed TLV";
		if (t.type == PROXY_TLV_CRC32C && (t.value.n != 4 || *ret_crc != NULL))
			return "malformed checksum TLV";
		if (t.type == PROXY_TLV_CRC32C)
			*ret_crc = t.value.p;
		else if (t.type == PROXY_TLV_UNIQUE_ID && t.value.n > PROXY_UNIQUE_ID_MAX)
			return "unique id too long";
		else if (t.type == PROXY_TLV_SSL)
			wrong = read_ssl(t.value, &h->ssl);
		else
			wrong = set_once(text_field(h, t.type), t.value);
	}
	return wrong;
}

/* ---- version 2: the head ---- */

static void set_addr(struct addr *a, int family, const char *ip, const char *port)
{
	a->sa.sa_family = (sa_family_t)family;
	if (family == AF_INET)
		memcpy(&a->in.sin_addr, ip, 4);
	else
		memcpy(&a->in6.sin6_addr, ip, 16);
	addr_set_port(a, u16(port));
}

static void read_addrs(const char *p, int family, struct proxy_header *h)
{
	size_t size = family == AF_INET ? 4 : 16;

	set_addr(&h->src, family, p, p + 2 * size);
	set_addr(&h->dst, family, p + size, p + 2 * size + 2);
	h->kind = PROXY_TCP;
}

/* How many bytes of addresses a family has; -1: where addresses end is not known. */
static int addrs_len(uint8_t family)
{
	static const struct {
		uint8_t family;
		int len;
	} rows[] = {
		{ 0x00, 0 },
		{ 0x11, PROXY_INET_LEN },
		{ 0x12, PROXY_INET_LEN },
		{ 0x21, PROXY_INET6_LEN },
		{ 0x22, PROXY_INET6_LEN },
		{ 0x31, PROXY_UNIX_LEN },
		{ 0x32, PROXY_UNIX_LEN },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].family == family)
			return rows[i].len;
	return -1;
}

/* The block behind the head. With UNSPEC it is to be ignored, but senders put TLVs there: they are taken if they are
 * some, and no harm is done if they are none (2.2). */
static const char *read_block(struct str block, uint8_t family, struct proxy_header *h, const char **ret_crc)
{
	const struct proxy_header before = *h;
	int len = addrs_len(family);

	if (len < 0)
		return NULL;
	if (block.n < (size_t)len)
		return "PROXY header too short for its addresses";
	if (family == 0x11 || family == 0x21)
		read_addrs(block.p, family == 0x11 ? AF_INET : AF_INET6, h);
	else if (family == 0x31)
		h->kind = PROXY_UNIX;
	const char *wrong = read_tlvs(smtp_skip(block, (size_t)len), h, ret_crc);
	if (wrong == NULL || family != 0)
		return wrong;
	*h = before;
	*ret_crc = NULL;
	return NULL;
}

/* What the first bytes tell, as soon as they are there. */
static const char *judge_head(struct str in)
{
	struct str sign = PROXY_V2_SIGNATURE;

	if (memcmp(in.p, sign.p, in.n < sign.n ? in.n : sign.n) != 0)
		return "no PROXY header";
	if (in.n > 12 && ((unsigned char)in.p[12] & 0xf0) != 0x20)
		return "unknown PROXY version";
	if (in.n > 12 && (in.p[12] & 0x0f) > 1)
		return "unknown PROXY command";
	bool relayed = in.n > 12 && (in.p[12] & 0x0f) == 1; /* the family of LOCAL is to be ignored */
	if (in.n > 13 && relayed && ((unsigned char)in.p[13] >> 4 > 3 || (in.p[13] & 0x0f) > 2))
		return "unknown PROXY address family";
	if (in.n >= PROXY_V2_HEAD && PROXY_V2_HEAD + u16(in.p + 14) > PROXY_RECEIVE_MAX)
		return "PROXY header too long";
	return NULL;
}

static enum smtp_parse parse_v2(struct str in, struct proxy_header *h, size_t *ret_len, const char **ret_why)
{
	const char *crc = NULL, *wrong = judge_head(in);

	if (wrong != NULL)
		return bad(ret_why, wrong);
	if (in.n < PROXY_V2_HEAD || in.n - PROXY_V2_HEAD < u16(in.p + 14))
		return SMTP_PARSE_MORE;
	in.n = PROXY_V2_HEAD + u16(in.p + 14);
	uint8_t family = (uint8_t)in.p[13];
	h->version = 2;
	h->kind = in.p[12] == 0x20 ? PROXY_LOCAL : PROXY_UNKNOWN;
	if (h->kind != PROXY_LOCAL || family == 0)
		wrong = read_block(smtp_skip(in, PROXY_V2_HEAD), family, h, &crc);
	if (wrong != NULL)
		return bad(ret_why, wrong);
	if (crc != NULL && proxy_crc32c(in.p, in.n, (size_t)(crc - in.p)) != u32(crc))
		return bad(ret_why, "wrong checksum in PROXY header");
	h->crc = crc != NULL;
	*ret_len = in.n;
	return SMTP_PARSE_OK;
}

enum smtp_parse proxy_parse(const char *p, size_t n, struct proxy_header *ret, size_t *ret_len, const char **ret_why)
{
	struct proxy_header h = { 0 };
	struct str in = { p, n };

	if (n == 0)
		return SMTP_PARSE_MORE;
	enum smtp_parse found = p[0] == '\r' ? parse_v2(in, &h, ret_len, ret_why) : parse_v1(in, &h, ret_len, ret_why);
	addr_unmap(&h.src);
	addr_unmap(&h.dst);
	if (found == SMTP_PARSE_OK)
		*ret = h;
	return found;
}

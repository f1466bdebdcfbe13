/* SPDX-License-Identifier: Apache-2.0
 * The PROXY protocol, whole and byte by byte. Headers are of three makes: bytes set down from the specification, what
 * HAProxy 2.6 sent, and our own, which have to be read again as they were meant.
 */
#include "daemon/smtp/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define S(lit)                                                                                                         \
	{                                                                                                              \
		(lit), sizeof(lit) - 1                                                                                 \
	}
#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define V4_ADDRS "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x00\x19" /* 192.0.2.1:56324 to 198.51.100.2:25 */
#define V6_SRC "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define V6_DST "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x25"
#define V4_IN_V6 "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x02"
#define PORTS "\xdc\x04\x00\x19"
#define ZERO36 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define ZERO216 ZERO36 ZERO36 ZERO36 ZERO36 ZERO36 ZERO36

/* Parses p[0..n) with bytes of something else behind it, and every shorter piece: MORE until the whole is there. */
static void parse_good(const char *p, size_t n, struct proxy_header *ret)
{
	const char *why = NULL;
	size_t len = 0;
	char *more = xmalloc(n + 7);

	memcpy(more, p, n);
	memcpy(more + n, "EHLO x\n", 7);
	for (size_t i = 0; i < n; i++) {
		char *piece = xmalloc(i + 1); /* of its own, so that a sanitizer sees a byte too many */
		memcpy(piece, p, i);
		assert_int_equal(proxy_parse(piece, i, ret, &len, &why), SMTP_PARSE_MORE);
		free(piece);
	}
	assert_int_equal(proxy_parse(more, n + 7, ret, &len, &why), SMTP_PARSE_OK);
	assert_int_equal(len, n);
	free(more);
	assert_int_equal(proxy_parse(p, n, ret, &len, &why), SMTP_PARSE_OK);
	assert_int_equal(len, n);
}

/* BAD as a whole, and never OK on the way; once BAD, it stays so. */
static void parse_bad(const char *p, size_t n)
{
	bool was_bad = false;

	for (size_t i = 0; i <= n; i++) {
		struct proxy_header h;
		const char *why = NULL;
		size_t len;
		enum smtp_parse found = proxy_parse(p, i, &h, &len, &why);
		assert_int_not_equal(found, SMTP_PARSE_OK);
		assert_true(!was_bad || found == SMTP_PARSE_BAD);
		was_bad = found == SMTP_PARSE_BAD;
		assert_true(!was_bad || why != NULL);
	}
	assert_true(was_bad);
}

static void assert_addr(const struct addr *a, const char *want)
{
	char text[ADDR_TEXT_MAX];

	if (want == NULL)
		assert_int_equal(a->sa.sa_family, 0);
	else
		assert_string_equal(addr_format(a, text), want);
}

static void good_headers_are_read(void **state)
{
	static const struct {
		struct str in;
		unsigned version;
		enum proxy_kind kind;
		const char *src, *dst;
	} rows[] = {
		{ S("PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n"), 1, PROXY_TCP, "192.0.2.1:56324",
		  "198.51.100.2:25" },
		{ S("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), 1, PROXY_TCP,
		  "255.255.255.255:65535", "255.255.255.255:65535" },
		{ S("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), 1, PROXY_TCP, "0.0.0.0:0", "0.0.0.0:0" },
		{ S("PROXY TCP6 2001:DB8::1 2001:db8:0:0::25 56324 25\r\n"), 1, PROXY_TCP, "[2001:db8::1]:56324",
		  "[2001:db8::25]:25" },
		{ S("PROXY TCP6 2001:db8::1 ::ffff:198.51.100.2 56324 25\r\n"), 1, PROXY_TCP, "[2001:db8::1]:56324",
		  "198.51.100.2:25" },
		{ S("PROXY UNKNOWN\r\n"), 1, PROXY_UNKNOWN, NULL, NULL },
		{ S("PROXY UNKNOWN \x80 what ever\r\n"), 1, PROXY_UNKNOWN, NULL, NULL },
		{ S("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		    "65535 "
		    "65535\r\n"),
		  1, PROXY_UNKNOWN, NULL, NULL },
		{ S(SIG "\x21\x11\x00\x0c" V4_ADDRS), 2, PROXY_TCP, "192.0.2.1:56324", "198.51.100.2:25" },
		{ S(SIG "\x21\x21\x00\x24" V6_SRC V6_DST PORTS), 2, PROXY_TCP, "[2001:db8::1]:56324",
		  "[2001:db8::25]:25" },
		{ S(SIG "\x21\x21\x00\x24" V6_SRC V4_IN_V6 PORTS), 2, PROXY_TCP, "[2001:db8::1]:56324",
		  "198.51.100.2:25" },
		{ S(SIG "\x20\x00\x00\x00"), 2, PROXY_LOCAL, NULL, NULL },
		{ S(SIG "\x20\x11\x00\x0c" V4_ADDRS), 2, PROXY_LOCAL, NULL, NULL },
		{ S(SIG "\x20\xff\x00\x03\xff\xff\xff"), 2, PROXY_LOCAL, NULL, NULL },
		{ S(SIG "\x20\x00\x00\x03\xff\xff\xff"), 2, PROXY_LOCAL, NULL, NULL },
		{ S(SIG "\x21\x00\x00\x00"), 2, PROXY_UNKNOWN, NULL, NULL },
		{ S(SIG "\x21\x00\x00\x05\x01\x02\x03\x04\x05"), 2, PROXY_UNKNOWN, NULL, NULL },
		{ S(SIG "\x21\x10\x00\x01z"), 2, PROXY_UNKNOWN, NULL, NULL },
		{ S(SIG "\x21\x01\x00\x01z"), 2, PROXY_UNKNOWN, NULL, NULL },
		{ S(SIG "\x21\x12\x00\x0c" V4_ADDRS), 2, PROXY_UNKNOWN, NULL, NULL },
		{ S(SIG "\x21\x31\x00\xd8" ZERO216), 2, PROXY_UNIX, NULL, NULL },
		{ S(SIG "\x21\x32\x00\xd8" ZERO216), 2, PROXY_UNKNOWN, NULL, NULL },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct proxy_header h;
		parse_good(rows[i].in.p, rows[i].in.n, &h);
		assert_int_equal(h.version, rows[i].version);
		assert_int_equal(h.kind, rows[i].kind);
		assert_addr(&h.src, rows[i].src);
		assert_addr(&h.dst, rows[i].dst);
		assert_false(h.crc || h.ssl.given);
	}
}

static void what_is_no_header_is_refused(void **state)
{
	static const struct str rows[] = {
		S("EHLO x\r\n"),
		S("\nPROXY UNKNOWN\r\n"),
		S("proxy UNKNOWN\r\n"),
		S("PROXYUNKNOWN\r\n"),
		S("PROXY UNKNOWN\n"),
		S("PROXY UNKNOWN\r\r\n"),
		S("PROXY UNKNOWN x\ry\r\n"),
		S("PROXY UNKNOWNX\r\n"),
		S("PROXY \r\n"),
		S("PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n"),
		S("PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n"),
		S("PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n"),
		S("PROXY TCP4\r\n"),
		S("PROXY TCP4 192.0.2.1\r\n"),
		S("PROXY TCP4 192.0.2.1 198.51.100.2\r\n"),
		S("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n"),
		S("PROXY TCP4 192.0.2.1 198.51.100.2 1 \r\n"),
		S("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n"),
		S("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n"),
		S("PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n"),
		S("PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n"),
		S("PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n"),
		S("PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n"),
		S("PROXY TCP4 192.0.2.1 198.51.100.2 -1 2\r\n"),
		S("PROXY TCP4 192.0.2.1 198.51.100.2 1 x\r\n"),
		S("PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n"),
		S("PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n"),
		S("PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2\r\n"),
		S("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"),
		S("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n"),
		S("PROXY TCP6 2001:db8::1%lo 2001:db8::2 1 2\r\n"),
		/* 108 bytes with the CRLF */
		S("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
		  "65535x\r\n"),
		S("\r\nEHLO x\r\n"),
		S("\r\n\r\n\0\r\nQUIT\r"),
		S(SIG "\x11\x11\x00\x0c" V4_ADDRS),
		S(SIG "\x31\x11\x00\x0c" V4_ADDRS),
		S(SIG "\x22\x11\x00\x0c" V4_ADDRS),
		S(SIG "\x2f\x00\x00\x00"),
		S(SIG "\x21\x41\x00\x0c" V4_ADDRS),
		S(SIG "\x21\x13\x00\x0c" V4_ADDRS),
		S(SIG "\x21\x03\x00\x00"),
		S(SIG "\x21\x11\x00\x0b" V4_ADDRS),
		S(SIG "\x21\x21\x00\x23" V6_SRC V6_DST PORTS),
		S(SIG "\x21\x12\x00\x00"),
		S(SIG "\x21\x31\x00\xd7" ZERO216),
		S(SIG "\x21\x11\x0f\xf1"), /* 4097 bytes */
		S(SIG "\x20\x00\xff\xff"),
		S(SIG "\x21\x11\x00\x0d" V4_ADDRS "\x04"),
		S(SIG "\x21\x11\x00\x0e" V4_ADDRS "\x04\x00"),
		S(SIG "\x21\x11\x00\x0f" V4_ADDRS "\x04\x00\x01"),
		S(SIG "\x21\x11\x00\x12" V4_ADDRS "\x03\x00\x03zzz"),
		S(SIG "\x21\x11\x00\x13" V4_ADDRS "\x03\x00\x04\x7f\xab\x4a\xb3"),
		S(SIG "\x21\x11\x00\x13" V4_ADDRS "\x03\x00\x04\0\0\0\0"),
		S(SIG "\x20\x00\x00\x07\x03\x00\x04zzzz"),
		S(SIG "\x21\x11\x00\x14" V4_ADDRS "\x05\x00\x01x\x05\x00\x01y"),
		S(SIG "\x21\x11\x00\x12" V4_ADDRS "\x05\x00\x00\x05\x00\x00"),
		S(SIG "\x21\x11\x00\x13" V4_ADDRS "\x20\x00\x04\x01\x00\x00\x00"),
		S(SIG "\x21\x11\x00\x17" V4_ADDRS "\x20\x00\x08\x01\0\0\0\0\x22\x00\x01"),
		S(SIG "\x21\x11\x00\x1c" V4_ADDRS "\x20\x00\x0d\x01\0\0\0\0\x22\x00\x01x\x22\x00\x01y"),
		S(SIG "\x21\x11\x00\x1c" V4_ADDRS "\x20\x00\x05\x01\0\0\0\0\x20\x00\x05\x01\0\0\0\0"),
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		parse_bad(rows[i].p, rows[i].n);
}

static void the_largest_header_is_read_and_a_larger_one_is_not(void **state)
{
	char in[PROXY_RECEIVE_MAX + 1] = SIG "\x21\x11\x0f\xf0" V4_ADDRS "\xe1\x0f\xe1";
	struct proxy_header h;

	UNUSED(state);
	parse_good(in, PROXY_RECEIVE_MAX, &h);
	in[15]++;
	in[30]++;
	parse_bad(in, PROXY_RECEIVE_MAX + 1);
}

static void a_unique_id_has_128_bytes_at_most(void **state)
{
	char in[16 + 12 + 3 + 129] = SIG "\x21\x11\x00\x8f" V4_ADDRS "\x05\x00\x80";
	struct proxy_header h;

	UNUSED(state);
	parse_good(in, sizeof(in) - 1, &h);
	assert_int_equal(h.unique_id.n, 128);
	in[15]++;
	in[30]++;
	parse_bad(in, sizeof(in));
}

/* ---- TLVs ---- */

static void every_tlv_is_read_where_it_stands(void **state)
{
	static const char in[] = SIG "\x21\x21\x00\x77" V6_SRC V6_DST PORTS "\x04\x00\x03pad"
				     "\x01\x00\x02h2"
				     "\x02\x00\x07mx.test"
				     "\x05\x00\x04id-1"
				     "\x20\x00\x26\x07\0\0\0\0"
				     "\x21\x00\x07TLSv1.3\x22\x00\x0b"
				     "client.test\x23\x00\x06"
				     "AES256"
				     "\x30\x00\x04"
				     "blue"
				     "\x03\x00\x04\x7c\xeb\x77\xa2";
	struct proxy_header h;

	UNUSED(state);
	parse_good(in, sizeof(in) - 1, &h);
	assert_true(h.crc);
	assert_true(str_eq(h.alpn, STR("h2")) && str_eq(h.authority, STR("mx.test")));
	assert_true(str_eq(h.unique_id, STR("id-1")) && str_eq(h.netns, STR("blue")));
	assert_true(h.ssl.given && h.ssl.client == 7 && h.ssl.verify == 0 && proxy_ssl_verified(&h.ssl));
	assert_true(str_eq(h.ssl.version, STR("TLSv1.3")) && str_eq(h.ssl.cn, STR("client.test")));
	assert_true(str_eq(h.ssl.cipher, STR("AES256")));
}

static void any_flipped_bit_under_a_checksum_is_noticed(void **state)
{
	static const char good[] = SIG "\x21\x11\x00\x17" V4_ADDRS "\x03\x00\x04\0\0\0\0"
				       "\x02\x00\x01x";
	char in[PROXY_SEND_MAX];
	struct proxy_header h, other;
	const char *why;
	size_t len, n = sizeof(good) - 1;

	UNUSED(state);
	assert_int_equal(proxy_parse(good, n, &h, &len, &why), SMTP_PARSE_BAD);
	h = (struct proxy_header) { .version = 2, .kind = PROXY_TCP, .crc = true, .authority = STR("x") };
	assert_true(addr_parse("192.0.2.1:56324", 0, &h.src) && addr_parse("198.51.100.2:25", 0, &h.dst));
	assert_int_equal(proxy_encode(&h, in), n);
	assert_memory_equal(in, good, 16 + 12 + 3);
	for (size_t bit = 16 * 8; bit < n * 8; bit++) {
		in[bit / 8] = (char)(in[bit / 8] ^ (1 << bit % 8));
		enum smtp_parse found = proxy_parse(in, n, &other, &len, &why);
		/* A type or a length that is another hides the checksum itself; never is a wrong one taken for right.
		 */
		assert_true(found == SMTP_PARSE_BAD || !other.crc);
		in[bit / 8] = (char)(in[bit / 8] ^ (1 << bit % 8));
	}
	assert_int_equal(proxy_parse(in, n, &other, &len, &why), SMTP_PARSE_OK);
}

static void a_certificate_counts_only_when_one_was_shown(void **state)
{
	UNUSED(state);
	assert_false(proxy_ssl_verified(&(struct proxy_ssl) { .given = true, .client = PROXY_SSL_TLS }));
	assert_false(proxy_ssl_verified(&(struct proxy_ssl) { .client = 7 }));
	assert_false(proxy_ssl_verified(&(struct proxy_ssl) { .given = true, .client = 7, .verify = 1 }));
	assert_true(proxy_ssl_verified(&(struct proxy_ssl) { .given = true, .client = 5 }));
	assert_true(proxy_ssl_verified(&(struct proxy_ssl) { .given = true, .client = 3 }));
}

/* What HAProxy 2.6 sent over loopback with send-proxy, send-proxy-v2, and its options. */
static void headers_of_haproxy_are_read(void **state)
{
	static const char v1[] = "PROXY TCP4 127.0.0.1 127.0.0.1 40898 53735\r\n";
	static const char v2[] = SIG "!\x11\x00\x0c\x7f\0\0\x01\x7f\0\0\x01\xc3,\xa8G";
	static const char id[] = SIG "!\x11\x00\x1f\x7f\0\0\x01\x7f\0\0\x01\xc6&\x95m\x03\x00\x04\xf2+\x85k\x05\x00\t"
				     "abc-18222";
	static const char ssl[] = SIG "!\x11\x00`\x7f\0\0\x01\x7f\0\0\x01\xd6\xfe\xbf_\x03\x00\x04/O\xe0\r"
				      "\x02\x00\x11mail.example.test \x00"
				      "6\x07\0\0\0\0!\x00\x07TLSv1.3\"\x00\x0b"
				      "client.test#\x00\x16TLS_AES_256_GCM_SHA384";
	struct proxy_header h;

	UNUSED(state);
	parse_good(v1, sizeof(v1) - 1, &h);
	assert_addr(&h.src, "127.0.0.1:40898");
	parse_good(v2, sizeof(v2) - 1, &h);
	assert_addr(&h.src, "127.0.0.1:49964");
	assert_addr(&h.dst, "127.0.0.1:43079");
	parse_good(id, sizeof(id) - 1, &h);
	assert_true(h.crc && str_eq(h.unique_id, STR("abc-18222")));
	parse_good(ssl, sizeof(ssl) - 1, &h);
	assert_true(h.crc && str_eq(h.authority, STR("mail.example.test")) && proxy_ssl_verified(&h.ssl));
	assert_true(str_eq(h.ssl.version, STR("TLSv1.3")) && str_eq(h.ssl.cn, STR("client.test")));
	assert_true(str_eq(h.ssl.cipher, STR("TLS_AES_256_GCM_SHA384")));
}

/* ---- sent ---- */

static struct proxy_header header_of(unsigned version, enum proxy_kind kind, const char *src, const char *dst)
{
	struct proxy_header h = { .version = version, .kind = kind };

	assert_true(src == NULL || addr_parse(src, 0, &h.src));
	assert_true(dst == NULL || addr_parse(dst, 0, &h.dst));
	return h;
}

static void headers_are_written_as_the_specification_has_them(void **state)
{
	static const struct {
		unsigned version;
		enum proxy_kind kind;
		const char *src, *dst;
		struct str want;
	} rows[] = {
		{ 1, PROXY_TCP, "192.0.2.1:56324", "198.51.100.2:25",
		  S("PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n") },
		{ 1, PROXY_TCP, "[2001:db8::1]:56324", "[2001:db8::25]:25",
		  S("PROXY TCP6 2001:db8::1 2001:db8::25 56324 25\r\n") },
		{ 1, PROXY_TCP, "[2001:db8::1]:56324", "198.51.100.2:25",
		  S("PROXY TCP6 2001:db8::1 ::ffff:198.51.100.2 56324 25\r\n") },
		{ 1, PROXY_TCP, "[::ffff:192.0.2.1]:56324", "198.51.100.2:25",
		  S("PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n") },
		{ 1, PROXY_TCP, "192.0.2.1:1", NULL, S("PROXY UNKNOWN\r\n") },
		{ 1, PROXY_LOCAL, "192.0.2.1:1", "192.0.2.2:2", S("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n") },
		{ 1, PROXY_LOCAL, NULL, NULL, S("PROXY UNKNOWN\r\n") },
		{ 1, PROXY_UNKNOWN, "192.0.2.1:1", "192.0.2.2:2", S("PROXY UNKNOWN\r\n") },
		{ 2, PROXY_TCP, "192.0.2.1:56324", "198.51.100.2:25", S(SIG "\x21\x11\x00\x0c" V4_ADDRS) },
		{ 2, PROXY_TCP, "[2001:db8::1]:56324", "[2001:db8::25]:25",
		  S(SIG "\x21\x21\x00\x24" V6_SRC V6_DST PORTS) },
		{ 2, PROXY_TCP, "[2001:db8::1]:56324", "198.51.100.2:25",
		  S(SIG "\x21\x21\x00\x24" V6_SRC V4_IN_V6 PORTS) },
		{ 2, PROXY_TCP, NULL, "198.51.100.2:25", S(SIG "\x21\x00\x00\x00") },
		{ 2, PROXY_UNKNOWN, "192.0.2.1:1", "192.0.2.2:2", S(SIG "\x21\x00\x00\x00") },
		{ 2, PROXY_UNIX, NULL, NULL, S(SIG "\x21\x00\x00\x00") },
		{ 2, PROXY_LOCAL, "192.0.2.1:1", "192.0.2.2:2", S(SIG "\x20\x00\x00\x00") },
	};

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct proxy_header h = header_of(rows[i].version, rows[i].kind, rows[i].src, rows[i].dst);
		char out[PROXY_SEND_MAX];
		assert_int_equal(proxy_encode(&h, out), rows[i].want.n);
		assert_memory_equal(out, rows[i].want.p, rows[i].want.n);
	}
}

static void a_checksum_is_the_one_computed_elsewhere(void **state)
{
	static const char want[] = SIG "\x21\x11\x00\x13" V4_ADDRS "\x03\x00\x04\x7f\xab\x4a\xb2";
	struct proxy_header h = header_of(2, PROXY_TCP, "192.0.2.1:56324", "198.51.100.2:25");
	char out[PROXY_SEND_MAX];

	UNUSED(state);
	h.crc = true;
	assert_int_equal(proxy_encode(&h, out), sizeof(want) - 1);
	assert_memory_equal(out, want, sizeof(want) - 1);
}

static void assert_same(const struct proxy_header *a, const struct proxy_header *b)
{
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->src.sa.sa_family, b->src.sa.sa_family);
	assert_true(a->src.sa.sa_family == 0 || (addr_eq(&a->src, &b->src) && addr_eq(&a->dst, &b->dst)));
	assert_true(str_eq(a->alpn, b->alpn) && str_eq(a->authority, b->authority) && str_eq(a->netns, b->netns));
	assert_true(str_eq(a->unique_id, b->unique_id));
	assert_true(a->crc == b->crc && a->ssl.given == b->ssl.given && a->ssl.client == b->ssl.client);
	assert_true(a->ssl.verify == b->ssl.verify && str_eq(a->ssl.version, b->ssl.version));
	assert_true(str_eq(a->ssl.cn, b->ssl.cn) && str_eq(a->ssl.cipher, b->ssl.cipher));
	assert_true(str_eq(a->ssl.sig_alg, b->ssl.sig_alg) && str_eq(a->ssl.key_alg, b->ssl.key_alg));
}

static void what_was_sent_is_read_again(void **state)
{
	static const char *const ends[][2] = { { "192.0.2.1:5", "192.0.2.2:25" },
					       { "[2001:db8::1]:5", "[2001:db8::2]:25" },
					       { "[2001:db8::1]:5", "192.0.2.2:25" },
					       { "192.0.2.1:5", "[2001:db8::2]:25" } };

	UNUSED(state);
	for (unsigned i = 0; i < 4 * 32; i++) {
		struct proxy_header h = header_of(2, PROXY_TCP, ends[i % 4][0], ends[i % 4][1]), again;
		unsigned with = i / 4;
		h.crc = with & 1;
		h.authority = with & 2 ? STR("a.test") : (struct str) { NULL, 0 };
		h.unique_id = with & 4 ? STR("id\xff\0x") : (struct str) { NULL, 0 };
		h.alpn = with & 8 ? STR("smtp") : (struct str) { NULL, 0 };
		h.netns = with & 8 ? STR("n") : (struct str) { NULL, 0 };
		if (with & 16)
			h.ssl = (struct proxy_ssl) { true,       PROXY_SSL_TLS | PROXY_SSL_CERT_SESS,
						     0x01020304, STR("TLSv1.2"),
						     STR("cn"),  STR("AES"),
						     STR("RSA"), STR("EC") };
		char out[PROXY_SEND_MAX];
		size_t n = proxy_encode(&h, out);
		parse_good(out, n, &again);
		assert_same(&h, &again);
	}
}

static void what_does_not_fit_is_left_out_whole(void **state)
{
	static char big[600];
	struct proxy_header h = header_of(2, PROXY_TCP, "[2001:db8::1]:5", "192.0.2.2:25"), again;
	char out[PROXY_SEND_MAX];

	UNUSED(state);
	h.crc = true;
	h.ssl = (struct proxy_ssl) { .given = true, .client = 7 };
	for (size_t size = 1; size <= sizeof(big); size++) {
		h.authority = h.ssl.cn = h.unique_id = (struct str) { big, size };
		size_t n = proxy_encode(&h, out);
		assert_true(n <= PROXY_SEND_MAX);
		parse_good(out, n, &again);
		assert_true(again.crc && again.ssl.given && again.ssl.client == 7);
		assert_true(again.unique_id.n == (size <= PROXY_UNIQUE_ID_MAX ? size : 0));
		assert_true(again.ssl.cn.n == size || again.ssl.cn.n == 0);
		assert_true(again.authority.n == size || again.authority.n == 0);
	}
	h.authority = h.unique_id = (struct str) { NULL, 0 };
	h.ssl.cn = (struct str) { big, PROXY_SEND_MAX - 16 - 36 - 7 - 8 - 3 };
	assert_int_equal(proxy_encode(&h, out), PROXY_SEND_MAX);
	h.ssl.cn.n++;
	assert_int_equal(proxy_encode(&h, out), 16 + 36 + 7 + 8);
}

static void no_certificate_is_never_told_as_verified(void **state)
{
	struct proxy_header h = header_of(2, PROXY_TCP, "192.0.2.1:5", "192.0.2.2:25"), again;
	char out[PROXY_SEND_MAX];

	UNUSED(state);
	h.ssl = (struct proxy_ssl) { .given = true, .client = PROXY_SSL_TLS };
	parse_good(out, proxy_encode(&h, out), &again);
	assert_true(again.ssl.verify != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_headers_are_read),
		cmocka_unit_test(what_is_no_header_is_refused),
		cmocka_unit_test(the_largest_header_is_read_and_a_larger_one_is_not),
		cmocka_unit_test(a_unique_id_has_128_bytes_at_most),
		cmocka_unit_test(every_tlv_is_read_where_it_stands),
		cmocka_unit_test(any_flipped_bit_under_a_checksum_is_noticed),
		cmocka_unit_test(a_certificate_counts_only_when_one_was_shown),
		cmocka_unit_test(headers_of_haproxy_are_read),
		cmocka_unit_test(headers_are_written_as_the_specification_has_them),
		cmocka_unit_test(a_checksum_is_the_one_computed_elsewhere),
		cmocka_unit_test(what_was_sent_is_read_again),
		cmocka_unit_test(what_does_not_fit_is_left_out_whole),
		cmocka_unit_test(no_certificate_is_never_told_as_verified),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

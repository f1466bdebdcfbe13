/* SPDX-License-Identifier: Apache-2.0
 * Private to this room: what the two directions of the PROXY protocol share.
 */
#ifndef POSTROAD_SMTP_PROXY_PRIVATE_H
#define POSTROAD_SMTP_PROXY_PRIVATE_H

#include "daemon/smtp/proxy.h"

#define PROXY_V2_HEAD 16
#define PROXY_V2_SIGNATURE STR("\r\n\r\n\0\r\nQUIT\n")
#define PROXY_TLV_HEAD 3
#define PROXY_SSL_HEAD 5
#define PROXY_INET_LEN 12
#define PROXY_INET6_LEN 36
#define PROXY_UNIX_LEN 216

enum {
	PROXY_TLV_ALPN = 0x01,
	PROXY_TLV_AUTHORITY = 0x02,
	PROXY_TLV_CRC32C = 0x03,
	PROXY_TLV_NOOP = 0x04,
	PROXY_TLV_UNIQUE_ID = 0x05,
	PROXY_TLV_SSL = 0x20,
	PROXY_TLV_SSL_VERSION = 0x21,
	PROXY_TLV_SSL_CN = 0x22,
	PROXY_TLV_SSL_CIPHER = 0x23,
	PROXY_TLV_SSL_SIG_ALG = 0x24,
	PROXY_TLV_SSL_KEY_ALG = 0x25,
	PROXY_TLV_NETNS = 0x30,
};

/* CRC32c (RFC 9260 appendix A) of p[0..n) with the four bytes at `hole` taken for zeros; n = no hole. */
uint32_t proxy_crc32c(const char *p, size_t n, size_t hole);

#endif

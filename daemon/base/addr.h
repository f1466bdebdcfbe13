/* SPDX-License-Identifier: Apache-2.0
 * Socket addresses and networks, IPv4 and IPv6.
 */
#ifndef POSTROAD_BASE_ADDR_H
#define POSTROAD_BASE_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "daemon/base/obj.h"

/* An IP address with a port. family 0 = none. */
struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
};

#define ADDR_TEXT_MAX 64 /* "[…]:65535" with its NUL */

/* "192.0.2.1:25", "[2001:db8::1]:25"; with default_port > 0 the port may be absent. False = not of that form. */
bool addr_parse(const char *text, unsigned default_port, struct addr *ret) MUST_CHECK;
/* An address without a port: "192.0.2.1", "2001:db8::1". */
bool addr_parse_ip(const char *text, struct addr *ret) MUST_CHECK;
/* "192.0.2.1:25" or "[2001:db8::1]:25" into out[ADDR_TEXT_MAX]; returns out. */
const char *addr_format(const struct addr *a, char *out);
/* Without port and brackets. */
const char *addr_format_ip(const struct addr *a, char *out);
socklen_t addr_len(const struct addr *a);
unsigned addr_port(const struct addr *a);
void addr_set_port(struct addr *a, unsigned port);
/* Same family, address and port. */
bool addr_eq(const struct addr *a, const struct addr *b);
bool addr_eq_ip(const struct addr *a, const struct addr *b);
bool addr_is_loopback(const struct addr *a);
bool addr_is_any(const struct addr *a);
/* A v4-mapped IPv6 address (::ffff:a.b.c.d) becomes plain IPv4, so that networks match what people write. */
void addr_unmap(struct addr *a);
/* Clears all but the first `bits` of the address and the port: the key under which clients are counted. */
void addr_mask(struct addr *a, unsigned bits);

/* A network: address and prefix length. */
struct cidr {
	struct addr base;
	unsigned bits;
};

/* "10.0.0.0/8", "2001:db8::/32", or a bare address (/32, /128). Host bits must be zero. On failure *ret_why says why.
 */
bool cidr_parse(const char *text, struct cidr *ret, const char **ret_why) MUST_CHECK;
bool cidr_match(const struct cidr *net, const struct addr *a);
bool cidr_match_any(const struct cidr *nets, size_t n, const struct addr *a);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Socket addresses and networks, IPv4 and IPv6.
 */
#include "daemon/base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_port(const char *p, unsigned *ret)
{
	char *end;

	if (*p < '0' || *p > '9')
		return false;
	unsigned long v = strtoul(p, &end, 10);
	if (*end != '\0' || v == 0 || v > 65535)
		return false;
	*ret = (unsigned)v;
	return true;
}

bool addr_parse_ip(const char *text, struct addr *ret)
{
	struct addr a;

	memset(&a, 0, sizeof(a));
	if (inet_pton(AF_INET, text, &a.in.sin_addr) == 1) {
		a.in.sin_family = AF_INET;
	} else if (inet_pton(AF_INET6, text, &a.in6.sin6_addr) == 1) {
		a.in6.sin6_family = AF_INET6;
	} else {
		return false;
	}
	*ret = a;
	return true;
}

/* Splits "host:port" or "[host]:port"; port text is NULL where there is none. */
static bool split(const char *text, char host[ADDR_TEXT_MAX], const char **ret_port)
{
	const char *end, *colon;
	size_t n;

	if (*text == '[') {
		text++;
		end = strchr(text, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return false;
		*ret_port = end[1] == ':' ? end + 2 : NULL;
	} else {
		colon = strchr(text, ':');
		bool bare_v6 = colon != NULL && strchr(colon + 1, ':') != NULL;
		end = colon == NULL || bare_v6 ? text + strlen(text) : colon;
		*ret_port = *end == ':' ? end + 1 : NULL;
	}
	n = (size_t)(end - text);
	if (n == 0 || n >= ADDR_TEXT_MAX)
		return false;
	memcpy(host, text, n);
	host[n] = '\0';
	return true;
}

bool addr_parse(const char *text, unsigned default_port, struct addr *ret)
{
	char host[ADDR_TEXT_MAX];
	const char *port_text;
	unsigned port = default_port;
	struct addr a;

	if (!split(text, host, &port_text))
		return false;
	if (port_text != NULL && !parse_port(port_text, &port))
		return false;
	if (port == 0 || !addr_parse_ip(host, &a) || (*text == '[' && a.sa.sa_family != AF_INET6))
		return false;
	addr_set_port(&a, port);
	*ret = a;
	return true;
}

const char *addr_format_ip(const struct addr *a, char *out)
{
	const void *src = a->sa.sa_family == AF_INET6 ? (const void *)&a->in6.sin6_addr : (const void *)&a->in.sin_addr;

	if (a->sa.sa_family == 0 || inet_ntop(a->sa.sa_family, src, out, ADDR_TEXT_MAX) == NULL)
		strcpy(out, "-");
	return out;
}

const char *addr_format(const struct addr *a, char *out)
{
	char ip[ADDR_TEXT_MAX];

	addr_format_ip(a, ip);
	snprintf(out, ADDR_TEXT_MAX, a->sa.sa_family == AF_INET6 ? "[%.46s]:%u" : "%.46s:%u", ip, addr_port(a));
	return out;
}

socklen_t addr_len(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in);
}

unsigned addr_port(const struct addr *a)
{
	return ntohs(a->sa.sa_family == AF_INET6 ? a->in6.sin6_port : a->in.sin_port);
}

void addr_set_port(struct addr *a, unsigned port)
{
	if (a->sa.sa_family == AF_INET6)
		a->in6.sin6_port = htons((uint16_t)port);
	else
		a->in.sin_port = htons((uint16_t)port);
}

/* The address bytes, in network order. */
static const uint8_t *bytes_of(const struct addr *a, unsigned *ret_bits)
{
	*ret_bits = a->sa.sa_family == AF_INET6 ? 128 : 32;
	return a->sa.sa_family == AF_INET6 ? (const uint8_t *)&a->in6.sin6_addr : (const uint8_t *)&a->in.sin_addr;
}

bool addr_eq_ip(const struct addr *a, const struct addr *b)
{
	unsigned bits_a, bits_b;
	const uint8_t *pa = bytes_of(a, &bits_a), *pb = bytes_of(b, &bits_b);

	return a->sa.sa_family == b->sa.sa_family && memcmp(pa, pb, bits_a / 8) == 0;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	return addr_eq_ip(a, b) && addr_port(a) == addr_port(b);
}

bool addr_is_loopback(const struct addr *a)
{
	unsigned bits;
	const uint8_t *p = bytes_of(a, &bits);

	if (a->sa.sa_family == AF_INET)
		return p[0] == 127;
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

bool addr_is_any(const struct addr *a)
{
	unsigned bits;
	const uint8_t *p = bytes_of(a, &bits);

	for (unsigned i = 0; i < bits / 8; i++)
		if (p[i] != 0)
			return false;
	return true;
}

void addr_unmap(struct addr *a)
{
	if (a->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = a->in6.sin6_port };
	memcpy(&in.sin_addr, a->in6.sin6_addr.s6_addr + 12, 4);
	memset(a, 0, sizeof(*a));
	a->in = in;
}

static void mask_bytes(uint8_t *p, unsigned total, unsigned bits)
{
	for (unsigned i = 0; i < total / 8; i++) {
		unsigned keep = bits > i * 8 ? bits - i * 8 : 0;
		if (keep < 8)
			p[i] &= (uint8_t)(0xff00u >> keep);
	}
}

void addr_mask(struct addr *a, unsigned bits)
{
	if (a->sa.sa_family == AF_INET6)
		mask_bytes(a->in6.sin6_addr.s6_addr, 128, bits);
	else
		mask_bytes((uint8_t *)&a->in.sin_addr, 32, bits);
	addr_set_port(a, 0);
}

bool cidr_parse(const char *text, struct cidr *ret, const char **ret_why)
{
	char host[ADDR_TEXT_MAX];
	const char *slash = strchr(text, '/');
	size_t n = slash == NULL ? strlen(text) : (size_t)(slash - text);
	struct cidr c = { 0 };
	char *end;

	*ret_why = "not an IP address or network";
	if (n == 0 || n >= sizeof(host))
		return false;
	memcpy(host, text, n);
	host[n] = '\0';
	if (!addr_parse_ip(host, &c.base))
		return false;
	unsigned max = c.base.sa.sa_family == AF_INET6 ? 128 : 32;
	c.bits = max;
	if (slash != NULL) {
		unsigned long v = strtoul(slash + 1, &end, 10);
		*ret_why = "the prefix length is out of range";
		if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || v > max)
			return false;
		c.bits = (unsigned)v;
	}
	struct addr masked = c.base;
	addr_mask(&masked, c.bits);
	*ret_why = "bits are set behind the prefix";
	if (!addr_eq_ip(&masked, &c.base))
		return false;
	*ret = c;
	return true;
}

bool cidr_match(const struct cidr *net, const struct addr *a)
{
	struct addr masked = *a;

	if (net->base.sa.sa_family != a->sa.sa_family)
		return false;
	addr_mask(&masked, net->bits);
	return addr_eq_ip(&masked, &net->base);
}

bool cidr_match_any(const struct cidr *nets, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (cidr_match(&nets[i], a))
			return true;
	return false;
}

/* SPDX-License-Identifier: Apache-2.0
 * XCLIENT, received.
 *
 * The hard thing: the values come from a peer we trust, but were chosen by a client nobody trusts. They are decoded
 * first and judged then, since it is the decoded form that goes into headers, logs and further commands; and a command
 * counts whole or not at all.
 */
#include "daemon/smtp/xclient.h"

#include <stdio.h>

#include "daemon/smtp/chars.h"
#include "daemon/smtp/path.h"

/* ---- values, decoded ---- */

/* Into out[XCLIENT_VALUE_MAX + 1]. */
static bool keep(struct str v, bool good, char *out)
{
	if (!good)
		return false;
	memcpy(out, v.p, v.n);
	out[v.n] = '\0';
	return true;
}

static bool read_name(struct str v, struct xclient *x)
{
	bool good = smtp_all(v, smtp_is_domain) && !smtp_has_8bit(v) && smtp_labels_valid(v, SMTP_LABEL_MAX);

	return keep(v, good, x->name);
}

static bool read_helo(struct str v, struct xclient *x)
{
	return keep(v, smtp_helo_valid(v), x->helo);
}

static bool is_login(unsigned char c)
{
	return c > ' ' && c != 0x7f;
}

static bool read_login(struct str v, struct xclient *x)
{
	return keep(v, smtp_all(v, is_login) && smtp_utf8_valid(v), x->login);
}

static bool read_proto(struct str v, struct xclient *x)
{
	x->esmtp = str_ieq(v, STR("ESMTP"));
	return x->esmtp || str_ieq(v, STR("SMTP"));
}

static bool read_ip(struct str v, struct addr *ret)
{
	char z[ADDR_TEXT_MAX];
	struct str prefix = STR("IPV6:"), head = { v.p, prefix.n };
	bool v6 = v.n > prefix.n && str_ieq(head, prefix);

	if (v6)
		v = smtp_skip(v, prefix.n);
	if (v.n >= sizeof(z) || memchr(v.p, '\0', v.n) != NULL)
		return false;
	memcpy(z, v.p, v.n);
	z[v.n] = '\0';
	if (!addr_parse_ip(z, ret) || ret->sa.sa_family != (v6 ? AF_INET6 : AF_INET))
		return false;
	addr_unmap(ret);
	return true;
}

static bool read_addr(struct str v, struct xclient *x)
{
	return read_ip(v, &x->addr);
}

static bool read_destaddr(struct str v, struct xclient *x)
{
	return read_ip(v, &x->destaddr);
}

static bool read_number(struct str v, unsigned *ret)
{
	uint64_t port;

	if (!smtp_u64(v, &port) || port == 0 || port > 65535)
		return false;
	*ret = (unsigned)port;
	return true;
}

static bool read_port(struct str v, struct xclient *x)
{
	return read_number(v, &x->port);
}

static bool read_destport(struct str v, struct xclient *x)
{
	return read_number(v, &x->destport);
}

/* In the order of smtp_xattr_names. */
static const struct row {
	bool (*read)(struct str value, struct xclient *x);
	size_t at, size; /* of the field that holds the value */
	const char *syntax;
} rows[] = {
#define FIELD(name) offsetof(struct xclient, name), sizeof(((struct xclient *)NULL)->name)
	{ read_name, FIELD(name), "NAME is no host name" },
	{ read_addr, FIELD(addr), "ADDR is no address" },
	{ read_port, FIELD(port), "PORT is no port" },
	{ read_proto, FIELD(esmtp), "PROTO is SMTP or ESMTP" },
	{ read_helo, FIELD(helo), "HELO is no host name" },
	{ read_login, FIELD(login), "malformed LOGIN" },
	{ read_destaddr, FIELD(destaddr), "DESTADDR is no address" },
	{ read_destport, FIELD(destport), "DESTPORT is no port" },
#undef FIELD
};

/* ---- the walk ---- */

static bool refuse(struct smtp_refusal *why, const char *text)
{
	*why = (struct smtp_refusal) { 501, "5.5.4", text };
	return false;
}

/* The decoded value, maybe a word in brackets. */
static bool set_value(unsigned i, struct str value, struct xclient *x)
{
	bool temporary = str_ieq(value, STR("[TEMPUNAVAIL]"));
	unsigned bit = 1u << i;

	memset((char *)x + rows[i].at, 0, rows[i].size);
	x->given &= ~bit;
	x->unavailable &= ~bit;
	x->tempunavail &= ~bit;
	if (temporary || str_ieq(value, STR("[UNAVAILABLE]"))) {
		x->unavailable |= bit;
		x->tempunavail |= temporary ? bit : 0;
		return true;
	}
	x->given |= bit;
	return rows[i].read(value, x);
}

/* Index of the attribute, or the number of rows. */
static unsigned find_row(struct str name, unsigned announced)
{
	unsigned i = 0;

	while (i < ARRAY_LEN(rows) && !(announced & 1u << i && str_ieq(name, str_from(smtp_xattr_names[i]))))
		i++;
	return i;
}

/* One "NAME=value". */
static bool read_attr(struct str word, unsigned announced, unsigned *seen, struct xclient *x, struct smtp_refusal *why)
{
	char text[XCLIENT_VALUE_MAX];
	const char *equals = memchr(word.p, '=', word.n);
	size_t n;

	if (equals == NULL)
		return refuse(why, "syntax: XCLIENT attribute=value ...");
	struct str name = { word.p, (size_t)(equals - word.p) };
	unsigned i = find_row(name, announced);
	if (i == ARRAY_LEN(rows))
		return refuse(why, "unknown XCLIENT attribute");
	if ((*seen & 1u << i) != 0)
		return refuse(why, "attribute given twice");
	*seen |= 1u << i;
	if (!smtp_xtext_decode(smtp_skip(word, name.n + 1), text, sizeof(text), &n) || n == 0)
		return refuse(why, "attribute value is not xtext, or empty, or too long");
	if (!set_value(i, (struct str) { text, n }, x))
		return refuse(why, rows[i].syntax);
	return true;
}

bool xclient_parse(struct str args, unsigned announced, struct xclient *io, struct smtp_refusal *ret_why)
{
	struct xclient x = *io;
	unsigned seen = 0;

	args = smtp_trim(args);
	if (args.n == 0)
		return refuse(ret_why, "syntax: XCLIENT attribute=value ...");
	while (args.n > 0)
		if (!read_attr(smtp_word(&args), announced, &seen, &x, ret_why))
			return false;
	*io = x;
	return true;
}

/* ---- its effect ---- */

static void apply(const struct xclient *x, unsigned ip_bit, unsigned port_bit, struct addr *io)
{
	bool dest = ip_bit == SMTP_XATTR_DESTADDR;
	unsigned port = addr_port(io);

	if (x->unavailable & ip_bit) {
		memset(io, 0, sizeof(*io));
		return;
	}
	if (x->given & ip_bit)
		*io = dest ? x->destaddr : x->addr;
	if (x->given & port_bit)
		port = dest ? x->destport : x->port;
	else if ((x->given & ip_bit) || (x->unavailable & port_bit))
		port = 0; /* the connection's port is another host's */
	addr_set_port(io, port);
}

void xclient_ends(const struct xclient *x, struct addr *io_src, struct addr *io_dst)
{
	apply(x, SMTP_XATTR_ADDR, SMTP_XATTR_PORT, io_src);
	apply(x, SMTP_XATTR_DESTADDR, SMTP_XATTR_DESTPORT, io_dst);
}

size_t xclient_announce(unsigned attrs, char out[XCLIENT_KEYWORD_MAX])
{
	size_t n = (size_t)snprintf(out, XCLIENT_KEYWORD_MAX, "XCLIENT");

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		if ((attrs & 1u << i) != 0)
			n += (size_t)snprintf(out + n, XCLIENT_KEYWORD_MAX - n, " %s", smtp_xattr_names[i]);
	return n;
}

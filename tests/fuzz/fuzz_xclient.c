/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: XCLIENT in both directions. Invariants: what is refused changes nothing; what is accepted is safe text, and
 * sent on is read as the same; whatever a client chose, the commands are well-formed lines within the limit, with NAME
 * and ADDR in the last. An even first byte feeds the reader with lines, an odd one the writer with values parted by
 * NUL.
 */
#include <stdlib.h>

#include "daemon/smtp/xclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str take(struct str *rest, char end)
{
	const char *at = rest->n > 0 ? memchr(rest->p, end, rest->n) : NULL;
	struct str piece = { rest->p, at != NULL ? (size_t)(at - rest->p) : rest->n };
	size_t len = piece.n + (at != NULL);

	*rest = (struct str) { rest->p + len, rest->n - len };
	return piece;
}

static void check_safe(const char *text)
{
	for (const char *c = text; *c != '\0'; c++)
		ASSERT((unsigned char)*c > ' ' && *c != 0x7f);
}

/* One line of commands, and its attributes into *x where a server takes them. */
static bool check_line(struct str line, const char *verb, bool last, struct xclient *x)
{
	struct smtp_refusal why;
	struct str rest = line;
	struct str word = take(&rest, ' ');

	ASSERT(str_eq(word, str_from(verb)) && rest.n > 0);
	for (size_t i = 0; i < line.n; i++)
		ASSERT(line.p[i] >= ' ' && line.p[i] < 0x7f);
	for (struct str attrs = rest; attrs.n > 0;) {
		word = take(&attrs, ' ');
		struct str value = word, name = take(&value, '=');
		ASSERT(smtp_xtext_valid(value) && value.n > 0);
		ASSERT((str_eq(name, STR("NAME")) || str_eq(name, STR("ADDR"))) <= last);
	}
	return xclient_parse(rest, SMTP_XCLIENT_ATTRS, x, &why);
}

/* True when a server took all of it. */
static bool check_commands(const struct sbuf *out, unsigned count, const char *verb, struct xclient *x)
{
	struct str rest = { out->p, out->n }, line;
	bool taken = true;
	size_t len;

	for (unsigned i = 1; rest.n > 0; i++) {
		ASSERT(smtp_line(rest.p, rest.n, XCLIENT_LINE_MAX, &len, &line) == SMTP_LINE_OK);
		taken = check_line(line, verb, i == count, x) && taken;
		ASSERT(i <= count);
		rest = (struct str) { rest.p + len, rest.n - len };
		ASSERT((rest.n == 0) == (i == count));
	}
	return taken;
}

static void send_on(const struct xclient *x)
{
	struct xclient_client c = { .src = x->addr,
				    .dst = x->destaddr,
				    .name = str_from(x->name),
				    .helo = str_from(x->helo),
				    .login = str_from(x->login),
				    .esmtp = x->esmtp };
	struct xclient again = { 0 };
	struct sbuf out = { 0 };

	if (c.src.sa.sa_family != 0)
		addr_set_port(&c.src, x->port);
	unsigned count = xclient_commands(&out, x->given | SMTP_XATTR_OFFERED, &c);
	ASSERT(check_commands(&out, count, "XCLIENT", &again));
	ASSERT((again.given & ~x->given) == 0 && (again.unavailable & ~x->given) == 0);
	ASSERT(strcmp(again.name, x->name) == 0 && again.esmtp == x->esmtp);
	ASSERT(strcmp(again.helo, x->helo) == 0 || (again.unavailable & SMTP_XATTR_HELO) != 0);
	ASSERT(strcmp(again.login, x->login) == 0 || (again.given & SMTP_XATTR_LOGIN) == 0);
	ASSERT(memcmp(&again.addr, &x->addr, sizeof(x->addr)) == 0);
	ASSERT(memcmp(&again.destaddr, &x->destaddr, sizeof(x->destaddr)) == 0);
	sbuf_fini(&out);
}

static void read_lines(struct str in, unsigned announced)
{
	struct xclient x = { 0 }, before;
	struct smtp_refusal why;

	while (in.n > 0) {
		struct str line = take(&in, '\n');
		before = x;
		if (!xclient_parse(line, announced, &x, &why)) {
			ASSERT(why.code == 501 && why.text != NULL);
			ASSERT(memcmp(&x, &before, sizeof(x)) == 0);
			continue;
		}
		ASSERT((x.given & x.unavailable) == 0 && (x.tempunavail & ~x.unavailable) == 0);
		ASSERT(((x.given | x.unavailable) & ~(announced & SMTP_XCLIENT_ATTRS)) == 0);
		check_safe(x.name);
		check_safe(x.helo);
		check_safe(x.login);
		send_on(&x);
	}
}

static void write_values(struct str in, unsigned attrs)
{
	struct xclient_client c = { .esmtp = attrs & 1, .local = attrs & 2, .name_tempfail = attrs & 4 };
	struct xclient x = { 0 };
	struct sbuf out = { 0 };

	c.name = take(&in, '\0');
	c.helo = take(&in, '\0');
	c.login = take(&in, '\0');
	c.ident = take(&in, '\0');
	c.dst.sa.sa_family = AF_INET6;
	memcpy(&c.dst.in6.sin6_addr, in.p, in.n < 16 ? in.n : 16);
	unsigned count = xclient_commands(&out, attrs, &c);
	(void)check_commands(&out, count, "XCLIENT", &x); /* a strict server may refuse a name, it cannot misread one */
	sbuf_reset(&out);
	count = xforward_commands(&out, attrs, &c);
	(void)check_commands(&out, count, "XFORWARD", &x);
	sbuf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;
	struct str in = { (const char *)data + 3, size - 3 };
	unsigned attrs = (unsigned)data[1] | (unsigned)data[2] << 8;

	if (data[0] & 1)
		write_values(in, attrs);
	else
		read_lines(in, attrs);
	return 0;
}

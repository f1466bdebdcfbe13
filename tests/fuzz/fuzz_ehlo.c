/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: smtp_ehlo_parse(). Invariants: only known bits; case does not matter; the host name lies in the first line; a
 * capability line put in front takes nothing away; limits written are read again.
 */
#include <stdlib.h>

#include "daemon/smtp/smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_ehlo(const char *p, size_t n, struct smtp_ehlo *ret)
{
	struct smtp_reply r;
	size_t len;
	const char *why;

	if (smtp_reply_parse(p, n, &r, &len, &why) != SMTP_PARSE_OK)
		return false;
	smtp_ehlo_parse(&r, ret);
	ASSERT((ret->exts >> SMTP_EXT_COUNT) == 0);
	ASSERT(ret->auth >> SMTP_AUTH_COUNT == 0 && (ret->auth == 0 || (ret->exts & SMTP_EXT_AUTH) != 0));
	ASSERT((ret->xclient & ~(SMTP_XCLIENT_ATTRS | SMTP_XATTR_OFFERED)) == 0);
	ASSERT((ret->xforward & ~(SMTP_XFORWARD_ATTRS | SMTP_XATTR_OFFERED)) == 0);
	ASSERT(ret->size == 0 || (ret->exts & SMTP_EXT_SIZE) != 0);
	ASSERT(ret->hostname.n == 0 || memchr(p, '\n', len) == NULL ||
	       ret->hostname.p + ret->hostname.n < (const char *)memchr(p, '\n', len));
	return true;
}

/* What is written is read again as it was. */
static void check_limits(const struct smtp_ehlo *e)
{
	struct smtp_limits again = { 0 };
	char text[SMTP_LIMITS_MAX];
	size_t n = smtp_limits_write(&e->limits, text);

	ASSERT(n < sizeof(text) && n == strlen(text));
	ASSERT(n == 0 || memcmp(text, "LIMITS ", 7) == 0);
	if (n > 0)
		smtp_limits_read((struct str) { text + 7, n - 7 }, &again);
	ASSERT(memcmp(&again, &e->limits, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_ehlo a, b;
	struct sbuf text = { 0 };

	if (!read_ehlo((const char *)data, size, &a))
		return 0;
	sbuf_add(&text, data, size);
	ascii_lower(text.p, text.n);
	ASSERT(read_ehlo(text.p, text.n, &b));
	ASSERT(a.exts == b.exts && a.size == b.size && a.xclient == b.xclient && a.xforward == b.xforward);
	ASSERT(a.auth == b.auth && a.requiretls == b.requiretls && a.has_limits == b.has_limits);
	ASSERT(memcmp(&a.limits, &b.limits, sizeof(a.limits)) == 0);
	check_limits(&a);
	sbuf_reset(&text);
	sbuf_printf(&text, "%.3s-host\r\n%.3s-XCLIENT ADDR\r\n", (const char *)data, (const char *)data);
	sbuf_add(&text, data, size);
	if (read_ehlo(text.p, text.n, &b)) /* else too long now */
		ASSERT((b.xclient & SMTP_XATTR_ADDR) != 0 && (a.exts & ~b.exts) == 0 &&
		       (a.xforward & ~b.xforward) == 0 && (a.xclient & ~b.xclient) == 0);
	sbuf_fini(&text);
	return 0;
}

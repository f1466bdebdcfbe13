/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: smtp_ehlo_parse(). Invariants: only known bits; case does not matter; the host name lies in the first line; a
 * capability line put in front takes nothing away.
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
	ASSERT(ret->size == 0 || (ret->exts & SMTP_EXT_SIZE) != 0);
	ASSERT(ret->hostname.n == 0 || memchr(p, '\n', len) == NULL ||
	       ret->hostname.p + ret->hostname.n < (const char *)memchr(p, '\n', len));
	return true;
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
	sbuf_reset(&text);
	sbuf_printf(&text, "%.3s-host\r\n%.3s-XCLIENT ADDR\r\n", (const char *)data, (const char *)data);
	sbuf_add(&text, data, size);
	if (read_ehlo(text.p, text.n, &b)) /* else too long now */
		ASSERT(b.xclient && (a.exts & ~b.exts) == 0 && b.xforward >= a.xforward);
	sbuf_fini(&text);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * Counting Received fields in a header that passes by, for loop detection (RFC 5321 6.3).
 *
 * Fed in pieces of any size; all it remembers is where in a line it stands and how much of the name matched.
 */
#include "daemon/smtp/smtp.h"

enum { AT_NAME, AFTER_NAME, REST_OF_LINE, CR_AT_START, PAST_HEADER };

static const char field_name[] = "received";
#define FIELD_NAME_LEN (sizeof(field_name) - 1)

static void at_name(struct smtp_hops *h, char c)
{
	bool at_start = h->matched == 0;

	if (c == '\n') {
		h->state = at_start ? PAST_HEADER : AT_NAME;
		h->matched = 0;
	} else if (at_start && c == '\r') {
		h->state = CR_AT_START;
	} else if ((c | 0x20) == field_name[h->matched]) {
		h->matched++;
		h->state = h->matched == FIELD_NAME_LEN ? AFTER_NAME : AT_NAME;
	} else {
		h->state = REST_OF_LINE;
	}
}

/* "Received :" is obsolete and legal (RFC 5322 4.5). */
static void after_name(struct smtp_hops *h, char c)
{
	if (c == ':')
		h->count++;
	if (c == '\n') {
		h->state = AT_NAME;
		h->matched = 0;
	} else if (c != ' ' && c != '\t') {
		h->state = REST_OF_LINE;
	}
}

/* Skips to the next line; returns where it begins. */
static size_t rest_of_line(struct smtp_hops *h, const char *p, size_t n, size_t i)
{
	const char *lf = memchr(p + i, '\n', n - i);

	if (lf == NULL)
		return n;
	h->state = AT_NAME;
	h->matched = 0;
	return (size_t)(lf - p) + 1;
}

void smtp_hops_feed(struct smtp_hops *h, const char *p, size_t n)
{
	for (size_t i = 0; i < n && h->state != PAST_HEADER;) {
		switch (h->state) {
		case AT_NAME:
			at_name(h, p[i++]);
			break;
		case AFTER_NAME:
			after_name(h, p[i++]);
			break;
		case CR_AT_START:
			h->state = p[i] == '\n' ? PAST_HEADER : REST_OF_LINE;
			break;
		default:
			i = rest_of_line(h, p, n, i);
			break;
		}
	}
}

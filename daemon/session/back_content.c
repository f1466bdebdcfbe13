/* SPDX-License-Identifier: Apache-2.0
 * Content towards a server: by DATA as it comes, or by BDAT (RFC 3030) in chunks of our own.
 *
 * The hard thing is that a server may take over from one that differs in CHUNKING, with content so far that ends
 * anywhere. So stuffing is undone here, by a scanner that begins with the connection's part in the message and reads
 * all of it, and not before, where the bytes are kept. It also proves at the end that what left was whole lines.
 *
 * Chunks: those of the client are not mirrored. A client that drips would make tiny ones, and each costs the server a
 * reply (RFC 3030 4.2); so octets are gathered to CHUNK_MIN at least, and what is left at the end leaves with LAST: a
 * small message is one chunk and costs one round trip.
 */
#include "daemon/session/back_content.h"

#include <stdio.h>

#include "daemon/session/back_private.h"

#define SEND_DIRECT (16 * 1024) /* below it, gathering into one write costs less than a write of its own */
#define CHUNK_MIN (16 * 1024)   /* of chunks before the last */
#define CHUNK_DUES 8            /* replies to chunks outstanding at most */

_Static_assert(CHUNK_DUES <= BACK_DUES, "the queue has room");

static void write_out(struct back *b, const char *p, size_t n)
{
	if (n < SEND_DIRECT)
		stream_put(&b->st, p, n);
	else
		stream_send(&b->st, p, n);
}

void back_content_ask(struct back *b)
{
	b->chunked = false;
	back_command(b, DUE_DATA, NULL, "DATA\r\n", 6);
}

/* ---- chunks ---- */

void back_content_chunked(struct back *b)
{
	ASSERT(b->due_n == 0 && b->exts & SMTP_EXT_CHUNKING);
	b->chunked = true;
	b->body_open = true;
	sbuf_fini(&b->gathered); /* of a message that was given up there is nothing: its connection has ended */
	smtp_eod_init_pair(&b->unstuff, true, SMTP_BY_DATA, SMTP_BY_BDAT);
}

static void gather(const char *p, size_t n, void *arg)
{
	struct back *b = arg;

	sbuf_add(&b->gathered, p, n);
}

static void send_chunk(struct back *b, enum due_kind kind)
{
	char line[48];
	int n = snprintf(line, sizeof(line), "BDAT %zu%s\r\n", b->gathered.n, kind == DUE_DOT ? " LAST" : "");

	back_command(b, kind, NULL, line, (size_t)n);
	write_out(b, b->gathered.p, b->gathered.n);
	sbuf_fini(&b->gathered);
}

/* Without PIPELINING a chunk is sent only when nothing is due. */
static bool may_send_chunk(const struct back *b)
{
	return b->due_n == 0 || (b->due_n < CHUNK_DUES && b->exts & SMTP_EXT_PIPELINING);
}

/* ---- either way ---- */

void back_content_put(struct back *b, const char *p, size_t n)
{
	ASSERT(b->body_open);
	if (!b->chunked) {
		write_out(b, p, n);
		return;
	}
	size_t used = smtp_eod_feed(&b->unstuff, p, n, gather, b);
	ASSERT(used == n && !b->unstuff.done); /* what is put never holds the end of data */
}

void back_content_push(struct back *b)
{
	if (b->chunked && b->gathered.n >= CHUNK_MIN && may_send_chunk(b))
		send_chunk(b, DUE_CHUNK);
}

bool back_content_takes(struct back *b)
{
	if (b->chunked && b->gathered.n >= CHUNK_MIN && !may_send_chunk(b))
		return false;
	if (stream_queued(&b->st) < STREAM_HIGH_WATER)
		return true;
	stream_notify_drained(&b->st);
	return false;
}

bool back_content_may_end(const struct back *b)
{
	return b->due_n == 0;
}

void back_content_end(struct back *b)
{
	ASSERT(b->body_open && back_content_may_end(b));
	if (!b->chunked) {
		back_command(b, DUE_DOT, NULL, ".\r\n", 3);
		return;
	}
	size_t used = smtp_eod_feed(&b->unstuff, ".\r\n", 3, gather, b);
	ASSERT(used == 3 && b->unstuff.done); /* it stood at the start of a line: nothing is held back */
	send_chunk(b, DUE_DOT);
}

/* SPDX-License-Identifier: Apache-2.0
 * BDAT (RFC 3030): its arguments, and what becomes of a chunk.
 *
 * The hard thing is to stay in step: the octets behind a BDAT are there whether or not it can be obeyed, and taken for
 * commands they are a hole. So a refused chunk is a chunk, its size read before all else; and once one chunk of a
 * message was dropped all that follow are, or a message with a hole in it would be delivered.
 */
#include "daemon/smtp/bdat.h"

#include "daemon/smtp/chars.h"

/* ---- the command ---- */

enum smtp_bdat_parse smtp_bdat_parse(struct str args, struct smtp_bdat *ret)
{
	struct str rest = smtp_trim(args);

	*ret = (struct smtp_bdat) { 0 };
	if (!smtp_u64(smtp_word(&rest), &ret->size))
		return SMTP_BDAT_LOST;
	ret->last = str_ieq(rest, STR("LAST"));
	return rest.n == 0 || ret->last ? SMTP_BDAT_OK : SMTP_BDAT_BAD;
}

/* ---- the chunks of a transaction ---- */

static const struct smtp_refusal no_size = { 501, "5.5.4", "BDAT needs a size" };
static const struct smtp_refusal bad_syntax = { 501, "5.5.4", "behind the size of BDAT only LAST may stand" };
static const struct smtp_refusal after_refused = { 503, "5.5.1",
						   "no more chunks in this transaction, RSET or MAIL first" };
static const struct smtp_refusal out_of_place[] = {
	[SMTP_CHUNK_NO_MAIL] = { 503, "5.5.1", "MAIL first" },
	[SMTP_CHUNK_NO_RCPT] = { 503, "5.5.1", "RCPT first" },
	[SMTP_CHUNK_NOBODY] = { 554, "5.5.1", "no valid recipients" }, /* RFC 2920 3.1, as for DATA */
	[SMTP_CHUNK_IN_PLACE] = { 0 },
};

void smtp_chunks_reset(struct smtp_chunks *c)
{
	ASSERT(!c->open);
	*c = (struct smtp_chunks) { 0 };
}

/* What speaks against a chunk, code 0 = nothing. */
static struct smtp_refusal objection(const struct smtp_chunks *c, enum smtp_bdat_parse parsed,
				     enum smtp_chunk_place place)
{
	if (parsed == SMTP_BDAT_LOST)
		return no_size;
	if (c->refused)
		return after_refused;
	return parsed == SMTP_BDAT_BAD ? bad_syntax : out_of_place[place];
}

enum smtp_chunk_step smtp_chunks_begin(struct smtp_chunks *c, struct str args, enum smtp_chunk_place place)
{
	struct smtp_bdat b;
	enum smtp_bdat_parse parsed = smtp_bdat_parse(args, &b);

	ASSERT(!c->open);
	c->why = objection(c, parsed, place);
	c->any = true;
	c->refused = c->why.code != 0;
	if (parsed == SMTP_BDAT_LOST)
		return SMTP_CHUNK_CLOSE;
	c->open = true;
	c->left = b.size;
	c->last = b.last;
	return c->refused ? SMTP_CHUNK_DROP : SMTP_CHUNK_TAKE;
}

size_t smtp_chunks_take(struct smtp_chunks *c, size_t n)
{
	size_t used = c->left < n ? (size_t)c->left : n;

	ASSERT(c->open);
	c->left -= used;
	return used;
}

void smtp_chunks_fail(struct smtp_chunks *c, const struct smtp_refusal *why)
{
	if (c->open && c->why.code == 0)
		c->why = *why;
	c->refused = true;
}

enum smtp_chunk_reply smtp_chunks_end(struct smtp_chunks *c)
{
	ASSERT(smtp_chunks_complete(c));
	c->open = false;
	if (c->why.code != 0)
		return SMTP_CHUNK_REPLY_WHY;
	c->refused = c->last;
	return c->last ? SMTP_CHUNK_REPLY_FINAL : SMTP_CHUNK_REPLY_OK;
}

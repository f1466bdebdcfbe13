/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: a session's BDAT commands with their octets, and content between each pair of DATA and BDAT. Invariants: every
 * octet belongs to a chunk or to a command, never to both; content, however cut into chunks and pieces, becomes what a
 * model without a state says; what leaves is canonical. The first byte chooses the pair, the setting and how many cuts
 * follow, a byte each.
 */
#include "daemon/smtp/bdat.h"
#include "tests/fuzz/eod_fuzz.h"
#include "tests/lib/eod_pair_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- a dialogue ---- */

static void drop_chunk(struct smtp_chunks *c, struct str *text, bool refused)
{
	uint64_t owed = c->left;
	size_t had = text->n, used = smtp_chunks_take(c, text->n);

	ASSERT(used == (owed < had ? owed : had) && c->left == owed - used);
	text->p += used;
	text->n -= used;
	if (!smtp_chunks_complete(c))
		return; /* the dialogue ends in the middle of it */
	bool last = c->last;
	enum smtp_chunk_reply reply = smtp_chunks_end(c);
	ASSERT((reply == SMTP_CHUNK_REPLY_WHY) == refused);
	ASSERT((reply == SMTP_CHUNK_REPLY_FINAL) == (last && !refused));
}

static void dialogue(struct str text)
{
	struct smtp_chunks c = { 0 };
	struct smtp_command cmd;
	struct str line;
	size_t len;

	while (text.n > 0 && !c.open) {
		enum smtp_line_status status = smtp_line(text.p, text.n, SMTP_LINE_MAX, &len, &line);
		if (status == SMTP_LINE_MORE)
			return;
		text.p += len;
		text.n -= len;
		smtp_command_parse(line, &cmd);
		if (cmd.verb == SMTP_MAIL || cmd.verb == SMTP_RSET)
			smtp_chunks_reset(&c);
		if (cmd.verb != SMTP_BDAT)
			continue;
		enum smtp_chunk_place place = (enum smtp_chunk_place)(len % 4);
		bool was_refused = c.refused;
		enum smtp_chunk_step step = smtp_chunks_begin(&c, cmd.args, place);
		ASSERT(step != SMTP_CHUNK_TAKE || (!was_refused && place == SMTP_CHUNK_IN_PLACE));
		ASSERT((step == SMTP_CHUNK_TAKE) == (c.why.code == 0));
		if (step == SMTP_CHUNK_CLOSE)
			return;
		drop_chunk(&c, &text, step == SMTP_CHUNK_DROP);
	}
}

/* ---- content ---- */

static void agree(const struct smtp_eod *e, const struct eod_sink *out, struct eod_model m)
{
	ASSERT(eod_agrees(e, out, &m));
	ASSERT(!m.done || eod_pair_is_canonical(&m, (enum smtp_by)e->to));
	free(m.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size - 1 < data[0] / 8)
		return 0;
	enum smtp_by from = data[0] & 1 ? SMTP_BY_BDAT : SMTP_BY_DATA, to = data[0] & 2 ? SMTP_BY_BDAT : SMTP_BY_DATA;
	struct str cuts = { (const char *)data + 1, data[0] / 8 };
	struct str text = { cuts.p + cuts.n, size - 1 - cuts.n };
	struct eod_sink out = eod_fuzz_sink(text.n);
	struct smtp_eod e;

	dialogue(text);
	smtp_eod_init_pair(&e, (data[0] & 4) == 0, from, to);
	size_t used = eod_fuzz_feed(&e, &out, text, cuts);
	struct eod_model m = eod_pair_model(text.p, text.n, from, to, false);
	ASSERT(used == m.consumed);
	agree(&e, &out, m);
	if (from == SMTP_BY_BDAT) {
		smtp_eod_finish(&e, eod_collect, &out);
		agree(&e, &out, eod_pair_model(text.p, text.n, from, to, true));
	}
	free(out.text);
	return 0;
}

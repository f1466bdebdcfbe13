/* SPDX-License-Identifier: Apache-2.0
 * What nodes say to each other before they trust each other: heads of messages, envelopes, questions, answers. What
 * parses must come out the same when it is written and read again, and a head is the same whole or cut.
 */
#include <stdlib.h>

#include "daemon/cluster/http_head.h"
#include "daemon/cluster/join_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_head(struct str in, int (*parse)(struct str bytes, struct http_head *ret))
{
	struct http_head whole, cut;
	int n = parse(in, &whole);

	ASSERT(n <= (int)in.n && n <= HTTP_HEAD_MAX);
	if (n <= 0)
		return;
	ASSERT(parse((struct str) { in.p, (size_t)n }, &cut) == n && cut.length == whole.length);
	ASSERT(parse((struct str) { in.p, (size_t)n - 1 }, &cut) <= 0);
}

static void try_question(struct str in)
{
	struct join_question q, again;
	struct sbuf a = { 0 }, b = { 0 };
	const char *why = NULL;

	if (!join_question_parse(in, &q, &why)) {
		ASSERT(why != NULL);
		return;
	}
	ASSERT(members_name_valid(q.node.name));
	join_question_encode(&q, &a);
	ASSERT(join_question_parse((struct str) { a.p, a.n }, &again, &why));
	join_question_encode(&again, &b);
	ASSERT(str_eq((struct str) { a.p, a.n }, (struct str) { b.p, b.n }));
	join_question_fini(&q);
	join_question_fini(&again);
	sbuf_fini(&a);
	sbuf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = { (const char *)data, size };
	struct join_envelope e;
	struct join_answer a;
	const char *why = NULL;

	try_head(in, http_head_request);
	try_head(in, http_head_answer);
	try_question(in);
	if (join_envelope_parse(in, &e, &why)) {
		try_question((struct str) { e.question, e.question_n });
		join_envelope_fini(&e);
	}
	if (join_answer_parse(in, &a, &why)) {
		ASSERT(members_find(a.table, a.id) != NULL);
		join_answer_fini(&a);
	}
	return 0;
}

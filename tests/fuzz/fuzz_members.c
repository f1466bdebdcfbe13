/* SPDX-License-Identifier: Apache-2.0
 * The table of nodes from bytes. What decodes must encode to bytes that decode to the same; its corosync.conf must be
 * one that can be written, and every node must get an answer to what is to be done. Every input is tried once more as
 * the JSON behind a head that is right.
 */
#include <stdlib.h>

#include "cluster/members/change.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct members *t)
{
	struct corosync_conf c = { .keyfile = "/key" };
	struct members_seen seen[MEMBERS_MAX];
	struct members_view view = { .quorate = true, .now = 1e9, .n = t->n, .seen = seen };
	struct members_action a;
	struct members_refusal why;

	for (size_t i = 0; i < t->n; i++)
		seen[i] = (struct members_seen) { .id = t->list[i].id,
						  .instance = t->list[i].instance,
						  .present = true,
						  .synced = true,
						  .staged = t->change.generation,
						  .installed = t->generation,
						  .active = t->generation };
	members_corosync_conf(t, t->generation, &c);
	(void)corosync_conf_check(&c);
	for (size_t i = 0; i < t->n; i++) {
		view.self = t->list[i].id;
		if (t->change.kind != MEMBERS_NONE)
			members_file_hash(t, t->change.generation, seen[i].staged_hash);
		members_next(t, &view, &a);
		if (a.what >= MEMBERS_DO_COMPLETE)
			members_free(members_take(t, &view, &a, &why));
	}
}

static void try_decode(struct str in)
{
	struct sbuf once = { 0 }, twice = { 0 };
	char *why = NULL;
	struct members *t = members_decode(in, &why), *back;

	ASSERT((t == NULL) == (why != NULL));
	free(why);
	if (t == NULL)
		return;
	if (!t->bare) {
		members_encode(t, &once);
		back = members_decode((struct str) { once.p, once.n }, &why);
		ASSERT(back != NULL || once.n > MEMBERS_DOCUMENT_MAX);
		if (back != NULL) {
			members_encode(back, &twice);
			ASSERT(str_eq((struct str) { once.p, once.n }, (struct str) { twice.p, twice.n }));
		}
		free(why);
		members_free(back);
		use(t);
	}
	members_free(t);
	sbuf_fini(&once);
	sbuf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct voters head = { .n = 3 };
	struct sbuf whole = { 0 };

	try_decode((struct str) { (const char *)data, size });
	for (size_t i = 0; i < head.n; i++)
		head.list[i] = (struct voter) {
			.id = (uint32_t)i + 1, .instance = 101 + i, .votes = 1, .name = { 'n', (char)('1' + i), '\0' }
		};
	voters_encode(&head, &whole);
	sbuf_putc(&whole, '\n');
	sbuf_add(&whole, data, size);
	try_decode((struct str) { whole.p, whole.n });
	sbuf_fini(&whole);
	return 0;
}

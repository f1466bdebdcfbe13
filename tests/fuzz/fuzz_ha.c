/* SPDX-License-Identifier: Apache-2.0
 * Messages to and from postroad-ha. What decodes must encode to the same bytes, and the names in a table must be such
 * as mean nothing in a file of keepalived. Every input is tried once more with a right head in front.
 */
#include <stdlib.h>

#include "cluster/vip/ha_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ha_message *message;

static void check_names(const struct ha_table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		ASSERT(ha_name_ok(t->vips[i].name));
		ASSERT(strpbrk(t->vips[i].interface, " \t\r\n\"'{}/#!$`\\") == NULL && t->vips[i].interface[0] != '\0');
	}
}

static void try_decode(struct str in)
{
	struct sbuf again = { 0 };

	if (ha_decode(in, message) != NULL)
		return;
	if (message->type == HA_TABLE)
		check_names(&message->table);
	ASSERT(ha_encode(message, &again) == NULL);
	ASSERT(str_eq((struct str) { again.p, again.n }, in));
	sbuf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sbuf framed = { 0 };

	if (message == NULL)
		message = xcalloc(1, sizeof(*message));
	try_decode((struct str) { (const char *)data, size });
	if (size < 1 || size > HA_MESSAGE_MAX - HA_HEAD_LEN)
		return 0;
	/* The first byte is the type. */
	size_t n = HA_HEAD_LEN + size - 1;
	const uint8_t head[HA_HEAD_LEN] = {
		HA_VERSION, data[0], 0, 0, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16)
	};
	sbuf_add(&framed, head, sizeof(head));
	sbuf_add(&framed, data + 1, size - 1);
	try_decode((struct str) { framed.p, framed.n });
	sbuf_fini(&framed);
	return 0;
}

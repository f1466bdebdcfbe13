/* SPDX-License-Identifier: Apache-2.0
 * Connections of others, put in order by whose they are.
 *
 * The hard thing: the kernel lists them mixed, each with a time of its own, and what goes out together is of one owner
 * and one time. In the order of the list every other connection would be a message.
 */
#include <stdlib.h>
#include <string.h>

#include "agents/ha/flows/flows_private.h"

static int by_node(const void *a, const void *b)
{
	const struct flow_passed *x = a, *y = b;
	size_t n, m;
	const void *p = flows_bytes(&x->node, &n), *q = flows_bytes(&y->node, &m);

	return n != m ? (n < m ? -1 : 1) : memcmp(p, q, n);
}

int flows_compare(const void *a, const void *b)
{
	const struct flow *x = a, *y = b;
	const struct addr *const left[] = { &x->local, &x->remote }, *const right[] = { &y->local, &y->remote };

	for (size_t i = 0; i < ARRAY_LEN(left); i++) {
		size_t n, m;
		const void *p = flows_bytes(left[i], &n), *q = flows_bytes(right[i], &m);
		int r = n != m ? (n < m ? -1 : 1) : memcmp(p, q, n);
		r = r != 0 ? r : (int)addr_port(left[i]) - (int)addr_port(right[i]);
		if (r != 0)
			return r;
	}
	return 0;
}

void flows_group(struct flow_passed *list, size_t n)
{
	size_t end;

	if (n == 0)
		return;
	qsort(list, n, sizeof(*list), by_node);
	for (size_t at = 0; at < n; at = end) {
		unsigned longest = 0;
		for (end = at; end < n && by_node(&list[at], &list[end]) == 0; end++)
			longest = list[end].seconds > longest ? list[end].seconds : longest;
		for (size_t i = at; i < end; i++)
			list[i].seconds = longest;
	}
}

/* SPDX-License-Identifier: Apache-2.0
 * Arena: a singly linked list of blocks, allocation moves a cursor in the newest.
 */
#include "daemon/base/arena.h"

#include <stdlib.h>
#include <string.h>

struct block {
	struct block *older;
	size_t used, cap;
	_Alignas(16) char bytes[];
};

struct arena {
	size_t block_size, total;
	struct block *newest;
};

static struct block *block_add(struct arena *a, size_t cap)
{
	struct block *b = xmalloc(sizeof(*b) + cap);

	b->older = a->newest;
	b->used = 0;
	b->cap = cap;
	a->newest = b;
	a->total += sizeof(*b) + cap;
	return b;
}

struct arena *arena_new(size_t block)
{
	struct arena *a = xcalloc(1, sizeof(*a));

	a->block_size = block;
	return a;
}

void arena_free(struct arena *a)
{
	if (a == NULL)
		return;
	while (a->newest != NULL) {
		struct block *b = a->newest;
		a->newest = b->older;
		free(b);
	}
	free(a);
}

void *arena_alloc(struct arena *a, size_t size)
{
	struct block *b = a->newest;

	size = (size + 15) & ~(size_t)15;
	if (b == NULL || b->cap - b->used < size)
		b = block_add(a, size > a->block_size ? size : a->block_size);
	void *p = b->bytes + b->used;
	b->used += size;
	memset(p, 0, size);
	return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);

	if (n > 0)
		memcpy(p, s, n);
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

size_t arena_size(const struct arena *a)
{
	return a->total;
}

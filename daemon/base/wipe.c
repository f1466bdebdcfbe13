/* SPDX-License-Identifier: Apache-2.0
 * Memory that may hold secrets, given back empty.
 *
 * The hard thing: who frees does not know how long the block is; the allocator does.
 */
#include "daemon/base/wipe.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void wipe_block(void *p)
{
	if (p != NULL)
		explicit_bzero(p, malloc_usable_size(p));
}

void wipe_free(void *p)
{
	wipe_block(p);
	free(p);
}

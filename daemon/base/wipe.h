/* SPDX-License-Identifier: Apache-2.0
 * Memory that may hold secrets, given back empty.
 */
#ifndef POSTROAD_BASE_WIPE_H
#define POSTROAD_BASE_WIPE_H

/* Zeroes all of a block that malloc(), calloc() or realloc() gave. NULL is fine. */
void wipe_block(void *p);
/* As free(), zeroed before. For libraries that take a function to free with. */
void wipe_free(void *p);

#endif

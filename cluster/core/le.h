/* SPDX-License-Identifier: Apache-2.0
 * Numbers as little-endian bytes: the one byte order of disk and wire.
 *
 * Byte by byte, so that neither the machine's order nor the alignment of p matters.
 */
#ifndef POSTROAD_CLUSTER_CORE_LE_H
#define POSTROAD_CLUSTER_CORE_LE_H

#include <stdint.h>

/* The lowest n bytes of v (n <= 8) go to p[0..n-1]; what does not fit is cut off. */
static inline void le_put(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* The number in p[0..n-1], n <= 8. */
static inline uint64_t le_get(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

#endif

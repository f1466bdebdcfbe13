/* SPDX-License-Identifier: Apache-2.0
 * Private to this room: where the next CR, LF or NUL is, and how far text is clean. Every byte of every message passes
 * through here.
 *
 * scan_special() looks at 16 bytes at a time where SSE2 is part of the instruction set, at 8 elsewhere; scan_clean() at
 * 128 where the processor has AVX2, at 64 with SSE2, and is no help elsewhere. All that the compiler can make is made,
 * so that a test compares them.
 */
#ifndef POSTROAD_SMTP_SCAN_H
#define POSTROAD_SMTP_SCAN_H

#include "daemon/base/str.h"

static inline bool scan_is_special(char c)
{
	return c == '\r' || c == '\n' || c == '\0';
}

static inline size_t scan_bytes(const char *p, size_t n, size_t i)
{
	while (i < n && !scan_is_special(p[i]))
		i++;
	return i;
}

/* Non-zero if any byte of v equals c. */
static inline uint64_t scan_word_has(uint64_t v, unsigned char c)
{
	const uint64_t ones = 0x0101010101010101ULL, tops = 0x8080808080808080ULL;

	v ^= ones * c;
	return (v - ones) & ~v & tops;
}

/* Index of the first CR, LF or NUL in p[0..n), n if there is none. */
static inline size_t scan_special_portable(const char *p, size_t n)
{
	size_t i = 0;

	for (uint64_t v; n - i >= sizeof(v); i += sizeof(v)) {
		memcpy(&v, p + i, sizeof(v));
		if ((scan_word_has(v, '\r') | scan_word_has(v, '\n') | scan_word_has(v, '\0')) != 0)
			break;
	}
	return scan_bytes(p, n, i);
}

#ifdef __SSE2__
#include <emmintrin.h>

static inline size_t scan_special(const char *p, size_t n)
{
	const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n'), nul = _mm_setzero_si128();
	size_t i = 0;

	for (; n - i >= 16; i += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
		__m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf));
		int mask = _mm_movemask_epi8(_mm_or_si128(hit, _mm_cmpeq_epi8(v, nul)));
		if (mask != 0)
			return i + (size_t)__builtin_ctz((unsigned)mask);
	}
	return scan_bytes(p, n, i);
}
#else
static inline size_t scan_special(const char *p, size_t n)
{
	return scan_special_portable(p, n);
}
#endif

/* How far p[i..n) is certainly clean: whole CRLF lines without a NUL, none of them behind the first begins with a dot.
 * Returns an index in [i, n] that is not inside a line end nor behind one; i if nothing can be said. Asks for i >= 1
 * and for p[i - 1] to be no CR, or to be one that p[i] completes. */
size_t scan_clean(const char *p, size_t n, size_t i);

#ifdef __SSE2__
size_t scan_clean_sse2(const char *p, size_t n, size_t i);
size_t scan_clean_avx2(const char *p, size_t n, size_t i); /* only where __builtin_cpu_supports("avx2") */
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Clean text, a block at a time: the part of the scan that nearly every byte of a message takes.
 *
 * A branch per line end is what a plain scan pays most for: mail's lines are of all lengths, so the processor guesses
 * wrong at each. Here nothing asks where a line ends. A block is compared with itself moved by one byte: an LF stands
 * exactly where the byte before is a CR, no dot follows an LF, no byte is NUL. What passes needs no other look; a block
 * that does not is left to the states in eod.c, byte by byte.
 */
#include "daemon/smtp/scan.h"

#ifdef __SSE2__
#include <immintrin.h>

/* The last line end in a clean block may be followed by a dot, or be half a line end: it is not this block's to judge.
 */
static size_t before_line_end(const char *p, size_t i)
{
	if (p[i - 1] == '\n')
		return i - 2;
	return p[i - 1] == '\r' ? i - 1 : i;
}

static inline __m128i unclean_sse2(const char *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i before = _mm_loadu_si128((const __m128i *)(const void *)(p - 1));
	__m128i lf = _mm_set1_epi8('\n');
	__m128i ends = _mm_xor_si128(_mm_cmpeq_epi8(v, lf), _mm_cmpeq_epi8(before, _mm_set1_epi8('\r')));
	__m128i dots = _mm_and_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('.')), _mm_cmpeq_epi8(before, lf));

	return _mm_or_si128(_mm_or_si128(ends, dots), _mm_cmpeq_epi8(v, _mm_setzero_si128()));
}

size_t scan_clean_sse2(const char *p, size_t n, size_t i)
{
	size_t start = i;

	for (; n - i >= 64; i += 64) {
		__m128i front = _mm_or_si128(unclean_sse2(p + i), unclean_sse2(p + i + 16));
		__m128i rear = _mm_or_si128(unclean_sse2(p + i + 32), unclean_sse2(p + i + 48));
		if (_mm_movemask_epi8(_mm_or_si128(front, rear)) != 0)
			break;
	}
	return i == start ? i : before_line_end(p, i);
}

__attribute__((target("avx2"))) static inline __m256i unclean_avx2(const char *p)
{
	__m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
	__m256i before = _mm256_loadu_si256((const __m256i *)(const void *)(p - 1));
	__m256i lf = _mm256_set1_epi8('\n');
	__m256i ends = _mm256_xor_si256(_mm256_cmpeq_epi8(v, lf), _mm256_cmpeq_epi8(before, _mm256_set1_epi8('\r')));
	__m256i dots = _mm256_and_si256(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('.')), _mm256_cmpeq_epi8(before, lf));

	return _mm256_or_si256(_mm256_or_si256(ends, dots), _mm256_cmpeq_epi8(v, _mm256_setzero_si256()));
}

__attribute__((target("avx2"))) size_t scan_clean_avx2(const char *p, size_t n, size_t i)
{
	size_t start = i;

	for (; n - i >= 128; i += 128) {
		__m256i front = _mm256_or_si256(unclean_avx2(p + i), unclean_avx2(p + i + 32));
		__m256i rear = _mm256_or_si256(unclean_avx2(p + i + 64), unclean_avx2(p + i + 96));
		__m256i bad = _mm256_or_si256(front, rear);
		if (!_mm256_testz_si256(bad, bad))
			break;
	}
	return i == start ? i : before_line_end(p, i);
}

size_t scan_clean(const char *p, size_t n, size_t i)
{
	return __builtin_cpu_supports("avx2") ? scan_clean_avx2(p, n, i) : scan_clean_sse2(p, n, i);
}
#else
size_t scan_clean(const char *p, size_t n, size_t i)
{
	(void)p, (void)n;
	return i;
}
#endif

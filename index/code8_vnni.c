/* code8_vnni.c: int8 products with AVX-512 VNNI. Built with AVX-512 F and VNNI. */
#include <immintrin.h>

static inline __m128i quarters(__m512i v);
#define VEC __m512i
#define WIDTH 64
#define LOAD(p) _mm512_loadu_si512(p)
#define ZERO_VEC _mm512_setzero_si512()
#define JOIN(row, q, sum) _mm512_dpbusd_epi32(sum, row, q)
#define FOLD(v) quarters(v)
#include "index/code8_body.h"

static inline __m128i quarters(__m512i v)
{
	__m256i h = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
	return _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

const struct code8_kernel code8_vnni = { "vnni", dots };

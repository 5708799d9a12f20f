/* code8_avxvnni.c: int8 products with AVX-VNNI over 256 bits: what processors have that came after AVX2 and are without
 * AVX-512. Built with AVX2 and AVX-VNNI. */
#include <immintrin.h>

static inline __m128i halves(__m256i v);
#define VEC __m256i
#define WIDTH 32
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define ZERO_VEC _mm256_setzero_si256()
#define JOIN(row, q, sum) _mm256_dpbusd_avx_epi32(sum, row, q)
#define FOLD(v) halves(v)
#include "index/code8_body.h"

static inline __m128i halves(__m256i v)
{
	return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

const struct code8_kernel code8_avxvnni = { "avxvnni", dots };

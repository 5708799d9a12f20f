/* pq4_avx512.c: sums over 4-bit codes with AVX-512, four parts at a time. Built with AVX-512 F and BW. */
#include <immintrin.h>

static inline __m256i fold(__m512i a, __m512i b);
#define VEC __m512i
#define PARTS 4
#define LOAD(p) _mm512_loadu_si512(p)
#define ZERO_VEC _mm512_setzero_si512()
#define LOW _mm512_set1_epi8(15)
#define AND _mm512_and_si512
#define SHUFFLE _mm512_shuffle_epi8
#define ADD16 _mm512_add_epi16
#define SUB16 _mm512_sub_epi16
#define RIGHT16 _mm512_srli_epi16
#define LEFT16 _mm512_slli_epi16
#define FOLD fold
#include "index/pq4_body.h"

static inline __m256i halves(__m512i v)
{
	return _mm256_add_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
}

static inline __m256i fold(__m512i a, __m512i b)
{
	__m256i x = halves(a), y = halves(b);
	return _mm256_add_epi16(_mm256_permute2x128_si256(x, y, 0x20), _mm256_permute2x128_si256(x, y, 0x31));
}

const struct pq4_kernel pq4_avx512 = { "avx512", scan };

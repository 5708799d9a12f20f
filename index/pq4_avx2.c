/* pq4_avx2.c: sums over 4-bit codes with AVX2, two parts at a time. Built with AVX2. */
#include <immintrin.h>

static inline __m256i fold(__m256i a, __m256i b);
#define VEC __m256i
#define PARTS 2
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define ZERO_VEC _mm256_setzero_si256()
#define LOW _mm256_set1_epi8(15)
#define AND _mm256_and_si256
#define SHUFFLE _mm256_shuffle_epi8
#define ADD16 _mm256_add_epi16
#define SUB16 _mm256_sub_epi16
#define RIGHT16 _mm256_srli_epi16
#define LEFT16 _mm256_slli_epi16
#define FOLD fold
#include "index/pq4_body.h"

static inline __m256i fold(__m256i a, __m256i b)
{
	return _mm256_add_epi16(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

const struct pq4_kernel pq4_avx2 = { "avx2", scan };

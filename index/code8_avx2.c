/* code8_avx2.c: int8 products with AVX2. VPMADDUBSW adds two products in 16 bits and would saturate at 255 * 127 twice,
 * so the bytes are taken back to -127 … 127 and multiplied as |c| by the query with c's sign: 2 * 127 * 127 fits. What
 * the 128 would have added is added apart, so that the integers are those of every kernel. Built with AVX2. */
#include <immintrin.h>

static inline __m256i fold_signs(__m256i row, __m256i q, __m256i sum);
static inline __m128i halves(__m256i v);
#define VEC __m256i
#define WIDTH 32
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define ZERO_VEC _mm256_setzero_si256()
#define JOIN(row, q, sum) fold_signs(row, q, sum)
#define FOLD(v) halves(v)
#include "index/code8_body.h"

static inline __m256i fold_signs(__m256i row, __m256i q, __m256i sum)
{
	__m256i c = _mm256_xor_si256(row, _mm256_set1_epi8((char)0x80)), ones = _mm256_set1_epi16(1);
	__m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(c), _mm256_sign_epi8(q, c));
	return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
}

static inline __m128i halves(__m256i v)
{
	return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

static void dots_shifted(const int8_t *q, const uint8_t *rows, size_t stride, const uint32_t *at, size_t n, size_t len,
	int32_t *out)
{
	int32_t shift = 0;
	for (size_t j = 0; j < len; j++) shift += 128 * q[j];
	dots(q, rows, stride, at, n, len, out);
	for (size_t i = 0; i < n; i++) out[i] += shift;
}

const struct code8_kernel code8_avx2 = { "avx2", dots_shifted };

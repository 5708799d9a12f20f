/* gemm8_avx2.c: the kernels of gemm8_body.h with AVX2. VPMADDUBSW multiplies unsigned by signed bytes and adds pairs in
 * 16 bits with saturation, so an activation q goes in as |q|, with its sign moved to the weight: two products of at most
 * 128 * 127 stay under 2^15. Built with AVX2, FMA and -ffp-contract=off. */
#include "nn/gemm8_body.h"

enum { BLOCK_ROWS = 4 };

/* One panel; rows: a constant once inlined. */
INLINE void block(const uint8_t *a, size_t lda, int rows, const int8_t *b, size_t k, int32_t *c, size_t ldc)
{
	const __m256i ones = _mm256_set1_epi16(1), flip = _mm256_set1_epi8((char)GEMM8_ZERO);
	__m256i sum[BLOCK_ROWS][2];
	UNROLL
	for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
	for (size_t i = 0; i < k; i += 4) {
		const __m256i *w = (const __m256i *)(b + i * GEMM8_LANES);
		__m256i w0 = _mm256_loadu_si256(w), w1 = _mm256_loadu_si256(w + 1);
		UNROLL
		for (int r = 0; r < rows; r++) {
			int32_t four;
			memcpy(&four, a + (size_t)r * lda + i, 4);
			__m256i x = _mm256_xor_si256(_mm256_set1_epi32(four), flip), size = _mm256_abs_epi8(x);
			__m256i m0 = _mm256_maddubs_epi16(size, _mm256_sign_epi8(w0, x));
			__m256i m1 = _mm256_maddubs_epi16(size, _mm256_sign_epi8(w1, x));
			sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(m0, ones));
			sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(m1, ones));
		}
	}
	UNROLL
	for (int r = 0; r < rows; r++) {
		_mm256_storeu_si256((__m256i *)(c + (size_t)r * ldc), sum[r][0]);
		_mm256_storeu_si256((__m256i *)(c + (size_t)r * ldc + 8), sum[r][1]);
	}
}

/* The sums need no start here: q itself is multiplied, not q + 128. */
static void dot(const uint8_t *a, size_t lda, size_t rows, const int8_t *b, const int32_t *start, size_t panels, size_t k,
	int32_t *c, size_t ldc)
{
	(void)start;
	for (size_t p = 0; p < panels; p++, b += GEMM8_LANES * k, c += GEMM8_LANES) {
		size_t r = 0;
		for (; r + BLOCK_ROWS <= rows; r += BLOCK_ROWS) block(a + r * lda, lda, BLOCK_ROWS, b, k, c + r * ldc, ldc);
		switch (rows - r) {
		case 3: block(a + r * lda, lda, 3, b, k, c + r * ldc, ldc); break;
		case 2: block(a + r * lda, lda, 2, b, k, c + r * ldc, ldc); break;
		case 1: block(a + r * lda, lda, 1, b, k, c + r * ldc, ldc); break;
		default: break;
		}
	}
}

static void nothing(void)
{
}

const struct gemm8 gemm8_avx2 = { "avx2", nothing, nothing, quant, norm, linear, attend };

/* gemm8_avxvnni.c: the kernels of gemm8_body.h with AVX2 and AVX-VNNI, VPDPBUSD over 256 bits: what processors have that
 * came after AVX2 and are without AVX-512. Five rows by one panel keep their sums in registers: enough for the latency
 * of ten products. Built with AVX2, FMA, AVX-VNNI and -ffp-contract=off. */
#include "nn/gemm8_body.h"

enum { BLOCK_ROWS = 5 };

/* One panel; rows: a constant once inlined. */
INLINE void block(const uint8_t *a, size_t lda, int rows, const int8_t *b, const int32_t *start, size_t k, int32_t *c,
	size_t ldc)
{
	__m256i sum[BLOCK_ROWS][2];
	UNROLL
	for (int r = 0; r < rows; r++) {
		sum[r][0] = _mm256_loadu_si256((const __m256i *)start);
		sum[r][1] = _mm256_loadu_si256((const __m256i *)start + 1);
	}
	for (size_t i = 0; i < k; i += 4) {
		const __m256i *w = (const __m256i *)(b + i * GEMM8_LANES);
		__m256i w0 = _mm256_loadu_si256(w), w1 = _mm256_loadu_si256(w + 1);
		UNROLL
		for (int r = 0; r < rows; r++) {
			int32_t four;
			memcpy(&four, a + (size_t)r * lda + i, 4);
			__m256i x = _mm256_set1_epi32(four);
			sum[r][0] = _mm256_dpbusd_avx_epi32(sum[r][0], x, w0);
			sum[r][1] = _mm256_dpbusd_avx_epi32(sum[r][1], x, w1);
		}
	}
	UNROLL
	for (int r = 0; r < rows; r++) {
		_mm256_storeu_si256((__m256i *)(c + (size_t)r * ldc), sum[r][0]);
		_mm256_storeu_si256((__m256i *)(c + (size_t)r * ldc + 8), sum[r][1]);
	}
}

static void dot(const uint8_t *a, size_t lda, size_t rows, const int8_t *b, const int32_t *start, size_t panels, size_t k,
	int32_t *c, size_t ldc)
{
	for (size_t p = 0; p < panels; p++, b += GEMM8_LANES * k, c += GEMM8_LANES, start += GEMM8_LANES) {
		size_t r = 0;
		for (; r + BLOCK_ROWS <= rows; r += BLOCK_ROWS) block(a + r * lda, lda, BLOCK_ROWS, b, start, k, c + r * ldc, ldc);
		switch (rows - r) {
		case 4: block(a + r * lda, lda, 4, b, start, k, c + r * ldc, ldc); break;
		case 3: block(a + r * lda, lda, 3, b, start, k, c + r * ldc, ldc); break;
		case 2: block(a + r * lda, lda, 2, b, start, k, c + r * ldc, ldc); break;
		case 1: block(a + r * lda, lda, 1, b, start, k, c + r * ldc, ldc); break;
		default: break;
		}
	}
}

static void nothing(void)
{
}

const struct gemm8 gemm8_avxvnni = { "avxvnni", nothing, nothing, quant, norm, linear, attend };

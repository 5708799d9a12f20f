/* gemm8_vnni.c: the kernels of gemm8_body.h with AVX-512 VNNI (VPDPBUSD: four bytes, unsigned by signed, into an
 * int32). A block of six rows by four panels keeps its sums in registers: 24 sums, 4 weights, 1 activation. Built with
 * AVX-512 F, BW, VL, DQ and VNNI and -ffp-contract=off; gemm8_choose sees to it that nothing here runs on a CPU without
 * them. */
#include "nn/gemm8_body.h"

enum { BLOCK_ROWS = 6, BLOCK_PANELS = 4 };

/* rows, panels: constants once inlined. */
INLINE void block(const uint8_t *a, size_t lda, int rows, const int8_t *b, const int32_t *start, int panels, size_t k,
	int32_t *c, size_t ldc)
{
	__m512i sum[BLOCK_ROWS][BLOCK_PANELS];
	UNROLL
	for (int p = 0; p < panels; p++)
		UNROLL
		for (int r = 0; r < rows; r++) sum[r][p] = _mm512_loadu_si512(start + p * GEMM8_LANES);
	for (size_t i = 0; i < k; i += 4) {
		__m512i w[BLOCK_PANELS];
		UNROLL
		for (int p = 0; p < panels; p++) w[p] = _mm512_loadu_si512(b + ((size_t)p * k + i) * GEMM8_LANES);
		UNROLL
		for (int r = 0; r < rows; r++) {
			int32_t four;
			memcpy(&four, a + (size_t)r * lda + i, 4);
			__m512i x = _mm512_set1_epi32(four);
			UNROLL
			for (int p = 0; p < panels; p++) sum[r][p] = _mm512_dpbusd_epi32(sum[r][p], x, w[p]);
		}
	}
	UNROLL
	for (int r = 0; r < rows; r++)
		UNROLL
		for (int p = 0; p < panels; p++) _mm512_storeu_si512(c + (size_t)r * ldc + p * GEMM8_LANES, sum[r][p]);
}

INLINE void rows_of(const uint8_t *a, size_t lda, size_t rows, const int8_t *b, const int32_t *start, int panels, size_t k,
	int32_t *c, size_t ldc)
{
	size_t r = 0;
	for (; r + BLOCK_ROWS <= rows; r += BLOCK_ROWS)
		block(a + r * lda, lda, BLOCK_ROWS, b, start, panels, k, c + r * ldc, ldc);
	switch (rows - r) {
	case 5: block(a + r * lda, lda, 5, b, start, panels, k, c + r * ldc, ldc); break;
	case 4: block(a + r * lda, lda, 4, b, start, panels, k, c + r * ldc, ldc); break;
	case 3: block(a + r * lda, lda, 3, b, start, panels, k, c + r * ldc, ldc); break;
	case 2: block(a + r * lda, lda, 2, b, start, panels, k, c + r * ldc, ldc); break;
	case 1: block(a + r * lda, lda, 1, b, start, panels, k, c + r * ldc, ldc); break;
	default: break;
	}
}

static void dot(const uint8_t *a, size_t lda, size_t rows, const int8_t *b, const int32_t *start, size_t panels, size_t k,
	int32_t *c, size_t ldc)
{
	size_t p = 0;
	for (; p + BLOCK_PANELS <= panels; p += BLOCK_PANELS)
		rows_of(a, lda, rows, b + p * GEMM8_LANES * k, start + p * GEMM8_LANES, BLOCK_PANELS, k, c + p * GEMM8_LANES, ldc);
	for (; p + 2 <= panels; p += 2)
		rows_of(a, lda, rows, b + p * GEMM8_LANES * k, start + p * GEMM8_LANES, 2, k, c + p * GEMM8_LANES, ldc);
	if (p < panels)
		rows_of(a, lda, rows, b + p * GEMM8_LANES * k, start + p * GEMM8_LANES, 1, k, c + p * GEMM8_LANES, ldc);
}

static void nothing(void)
{
}

const struct gemm8 gemm8_vnni = { "vnni", nothing, nothing, quant, norm, linear, attend };

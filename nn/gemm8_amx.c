/* gemm8_amx.c: the kernels of gemm8_body.h with AMX tiles: 16 rows of activations by 64 k, times 64 k by a panel of 16
 * outputs, into 16x16 int32. Two tiles of rows by two panels at a time, four tiles of sums; a text of 16 rows or fewer
 * goes one by four. Rows behind the last are read and their sums written, and nobody looks. All else is as with
 * AVX-512 VNNI, and built like it. */
#include "nn/amx.h"
#define DOT_K GEMM8_K
#include "nn/gemm8_body.h"

enum { TILE_ROWS = AMX_ROWS };

INLINE void two_by_two(const uint8_t *a, size_t lda, const int8_t *b, const int32_t *start, size_t k, int32_t *c, size_t ldc)
{
	const int8_t *b1 = b + k * GEMM8_LANES;
	amx_load(0, start, 0);
	amx_load(1, start + GEMM8_LANES, 0);
	amx_load(2, start, 0);
	amx_load(3, start + GEMM8_LANES, 0);
	for (size_t i = 0; i < k; i += GEMM8_K) {
		amx_load(4, a + i, lda);
		amx_load(6, b + i * GEMM8_LANES, GEMM8_K);
		amx_load(7, b1 + i * GEMM8_LANES, GEMM8_K);
		amx_load(5, a + TILE_ROWS * lda + i, lda);
		amx_dot_us(0, 4, 6);
		amx_dot_us(1, 4, 7);
		amx_dot_us(2, 5, 6);
		amx_dot_us(3, 5, 7);
	}
	amx_store(0, c, ldc * 4);
	amx_store(1, c + GEMM8_LANES, ldc * 4);
	amx_store(2, c + TILE_ROWS * ldc, ldc * 4);
	amx_store(3, c + TILE_ROWS * ldc + GEMM8_LANES, ldc * 4);
}

INLINE void two_by_one(const uint8_t *a, size_t lda, const int8_t *b, const int32_t *start, size_t k, int32_t *c, size_t ldc)
{
	amx_load(0, start, 0);
	amx_load(2, start, 0);
	for (size_t i = 0; i < k; i += GEMM8_K) {
		amx_load(4, a + i, lda);
		amx_load(6, b + i * GEMM8_LANES, GEMM8_K);
		amx_load(5, a + TILE_ROWS * lda + i, lda);
		amx_dot_us(0, 4, 6);
		amx_dot_us(2, 5, 6);
	}
	amx_store(0, c, ldc * 4);
	amx_store(2, c + TILE_ROWS * ldc, ldc * 4);
}

INLINE void one_by_four(const uint8_t *a, size_t lda, const int8_t *b, const int32_t *start, size_t k, int32_t *c,
	size_t ldc)
{
	const int8_t *b1 = b + k * GEMM8_LANES, *b2 = b1 + k * GEMM8_LANES, *b3 = b2 + k * GEMM8_LANES;
	amx_load(0, start, 0);
	amx_load(1, start + GEMM8_LANES, 0);
	amx_load(2, start + 2 * GEMM8_LANES, 0);
	amx_load(3, start + 3 * GEMM8_LANES, 0);
	for (size_t i = 0; i < k; i += GEMM8_K) {
		amx_load(4, a + i, lda);
		amx_load(5, b + i * GEMM8_LANES, GEMM8_K);
		amx_load(6, b1 + i * GEMM8_LANES, GEMM8_K);
		amx_load(7, b2 + i * GEMM8_LANES, GEMM8_K);
		amx_dot_us(0, 4, 5);
		amx_load(5, b3 + i * GEMM8_LANES, GEMM8_K);
		amx_dot_us(1, 4, 6);
		amx_dot_us(2, 4, 7);
		amx_dot_us(3, 4, 5);
	}
	amx_store(0, c, ldc * 4);
	amx_store(1, c + GEMM8_LANES, ldc * 4);
	amx_store(2, c + 2 * GEMM8_LANES, ldc * 4);
	amx_store(3, c + 3 * GEMM8_LANES, ldc * 4);
}

INLINE void one_by_one(const uint8_t *a, size_t lda, const int8_t *b, const int32_t *start, size_t k, int32_t *c, size_t ldc)
{
	amx_load(0, start, 0);
	for (size_t i = 0; i < k; i += GEMM8_K) {
		amx_load(4, a + i, lda);
		amx_load(5, b + i * GEMM8_LANES, GEMM8_K);
		amx_dot_us(0, 4, 5);
	}
	amx_store(0, c, ldc * 4);
}

/* Two tiles of rows, or one when rows is TILE_ROWS or less; rows is at most GEMM8_ROWS. */
static void dot(const uint8_t *a, size_t lda, size_t rows, const int8_t *b, const int32_t *start, size_t panels, size_t k,
	int32_t *c, size_t ldc)
{
	size_t p = 0, panel = GEMM8_LANES * k;
	if (rows > TILE_ROWS) {
		for (; p + 2 <= panels; p += 2)
			two_by_two(a, lda, b + p * panel, start + p * GEMM8_LANES, k, c + p * GEMM8_LANES, ldc);
		if (p < panels) two_by_one(a, lda, b + p * panel, start + p * GEMM8_LANES, k, c + p * GEMM8_LANES, ldc);
		return;
	}
	for (; p + 4 <= panels; p += 4)
		one_by_four(a, lda, b + p * panel, start + p * GEMM8_LANES, k, c + p * GEMM8_LANES, ldc);
	for (; p < panels; p++) one_by_one(a, lda, b + p * panel, start + p * GEMM8_LANES, k, c + p * GEMM8_LANES, ldc);
}

const struct gemm8 gemm8_amx = { "amx", amx_enter, amx_leave, quant, norm, linear, attend };

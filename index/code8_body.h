/* code8_body.h: the loop of the vector kernels: four rows at a time, so that four chains of sums hide the products'
 * latency, while rows further on are fetched: in a graph they lie anywhere. FAISS asks for one at a time. Who includes it defines VEC, WIDTH (bytes),
 * LOAD, ZERO_VEC, JOIN (row, query, sum -> sum) and FOLD (VEC -> four int32 to be added). */
#include <immintrin.h>
#include "index/code8.h"

enum { ROWS = 4, LINE = 64 };
#define UNROLL _Pragma("GCC unroll 4")

static inline void fetch(const uint8_t *row, size_t len)
{
	for (size_t j = 0; j < len; j += LINE) _mm_prefetch((const char *)row + j, _MM_HINT_T0);
}

/* Four sums of four each, as four. */
static inline __m128i fold4(__m128i a, __m128i b, __m128i c, __m128i d)
{
	return _mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d));
}

static inline int32_t whole(__m128i v)
{
	v = _mm_hadd_epi32(v, v);
	return _mm_cvtsi128_si32(_mm_hadd_epi32(v, v));
}

static void dots(const int8_t *q, const uint8_t *rows, size_t stride, const uint32_t *at, size_t n, size_t len,
	int32_t *out)
{
	for (size_t i = 0; i < n && i < ROWS; i++) fetch(rows + at[i] * stride, len + sizeof(struct code8_tail));
	if (n == 1) {
		const uint8_t *row = rows + at[0] * stride;
		VEC a = ZERO_VEC, b = ZERO_VEC;
		for (size_t j = 0; j < len; j += LINE) {
			a = JOIN(LOAD(row + j), LOAD(q + j), a);
			if (WIDTH < LINE) b = JOIN(LOAD(row + j + WIDTH % LINE), LOAD(q + j + WIDTH % LINE), b);
		}
		*out = whole(_mm_add_epi32(FOLD(a), FOLD(b)));
		return;
	}
	for (size_t i = 0; i < n; i += ROWS) {
		const uint8_t *row[ROWS];
		VEC sum[ROWS];
		int32_t four[ROWS];
		UNROLL
		for (size_t r = 0; r < ROWS; r++) {
			row[r] = rows + at[i + r < n ? i + r : n - 1] * stride;
			if (i + ROWS + r < n) fetch(rows + at[i + ROWS + r] * stride, len + sizeof(struct code8_tail));
			sum[r] = ZERO_VEC;
		}
		for (size_t j = 0; j < len; j += WIDTH) {
			VEC x = LOAD(q + j);
			UNROLL
			for (size_t r = 0; r < ROWS; r++) sum[r] = JOIN(LOAD(row[r] + j), x, sum[r]);
		}
		_mm_storeu_si128((__m128i *)four, fold4(FOLD(sum[0]), FOLD(sum[1]), FOLD(sum[2]), FOLD(sum[3])));
		for (size_t r = 0; r < ROWS && i + r < n; r++) out[i + r] = four[r];
	}
}

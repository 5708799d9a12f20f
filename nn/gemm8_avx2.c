/* gemm8_avx2.c: the kernels of gemm8_body.h with AVX2. VPMADDUBSW multiplies unsigned bytes (activations, q + 128) by
 * signed ones (weights) and adds pairs in 16 bits with saturation. A step, four k of a panel, is plain if no pair of its
 * weights can saturate: if what is positive of both adds up to 128 at most, and what is negative. Of trained weights with
 * a scale an output two steps in three are. The weights of the other steps are widened to 16 bits, even k and odd k apart
 * for VPMADDWD. The steps of a part of k are sorted into both kinds once for all rows. Built with AVX2, FMA and
 * -ffp-contract=off. */
#define LINEAR_ROWS 64 /* for steps are sorted anew for each of them */
#include "nn/gemm8_body.h"

enum { BLOCK_ROWS = 4, PART_K = 512, STEP_K = 4, STEP_BYTES = STEP_K * GEMM8_LANES, PART_STEPS = PART_K / STEP_K,
	WIDE_BYTES = 2 * PART_K };

/* A part of a panel. */
struct steps {
	size_t plain, wide;                                    /* how many of each kind */
	uint16_t plain_at[PART_STEPS], wide_at[PART_STEPS];    /* which */
	_Alignas(32) __m256i weights[PART_STEPS][4];           /* of wide ones: even k of 8 outputs, of the other 8; odd k */
};

INLINE __m256i pair_sizes(__m256i w)
{
	return _mm256_abs_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), w));
}

/* Writes each step to both kinds, and counts it in one: a branch would be guessed wrong each third time. */
static void steps_sort(struct steps *s, const int8_t *b, size_t k)
{
	s->plain = s->wide = 0;
	for (size_t i = 0; i < k / STEP_K; i++) {
		const __m256i *w = (const __m256i *)(b + i * STEP_BYTES);
		__m256i w0 = _mm256_loadu_si256(w), w1 = _mm256_loadu_si256(w + 1), *to = s->weights[s->wide];
		__m256i bad = _mm256_cmpgt_epi16(_mm256_max_epi16(pair_sizes(w0), pair_sizes(w1)), _mm256_set1_epi16(128));
		int plain = _mm256_testz_si256(bad, bad);
		to[0] = _mm256_srai_epi16(_mm256_slli_epi16(w0, 8), 8);
		to[1] = _mm256_srai_epi16(_mm256_slli_epi16(w1, 8), 8);
		to[2] = _mm256_srai_epi16(w0, 8);
		to[3] = _mm256_srai_epi16(w1, 8);
		s->plain_at[s->plain] = s->wide_at[s->wide] = (uint16_t)i;
		s->plain += (size_t)plain;
		s->wide += (size_t)!plain;
	}
}

INLINE __m256i spread(const uint8_t *a)
{
	int32_t four;
	memcpy(&four, a, sizeof four);
	return _mm256_set1_epi32(four);
}

/* Rows of a part of k for wide steps: each four bytes to 16 bits, even ones, then odd ones. */
static void rows_widen(const uint8_t *a, size_t lda, size_t rows, size_t k, uint8_t *to)
{
	const __m256i even = _mm256_set1_epi16(255);
	for (size_t r = 0; r < rows; r++, a += lda, to += WIDE_BYTES)
		for (size_t i = 0; i < k; i += 32) {
			__m256i q = _mm256_permute4x64_epi64(_mm256_loadu_si256((const __m256i *)(a + i)), 0xd8);
			__m256i q0 = _mm256_and_si256(q, even), q1 = _mm256_srli_epi16(q, 8);
			_mm256_storeu_si256((__m256i *)(to + 2 * i), _mm256_unpacklo_epi32(q0, q1));
			_mm256_storeu_si256((__m256i *)(to + 2 * i + 32), _mm256_unpackhi_epi32(q0, q1));
		}
}

/* Adds a part of k to the sums c of one panel; wide: the rows, widened; rows: a constant once inlined. */
INLINE void block(const uint8_t *a, size_t lda, const uint8_t *wide, int rows, const int8_t *b, const struct steps *s,
	int32_t *c, size_t ldc)
{
	const __m256i ones = _mm256_set1_epi16(1);
	__m256i sum[BLOCK_ROWS][2];
	UNROLL
	for (int r = 0; r < rows; r++) {
		sum[r][0] = _mm256_loadu_si256((const __m256i *)(c + (size_t)r * ldc));
		sum[r][1] = _mm256_loadu_si256((const __m256i *)(c + (size_t)r * ldc + 8));
	}
	for (size_t i = 0; i < s->plain; i++) {
		const __m256i *w = (const __m256i *)(b + (size_t)s->plain_at[i] * STEP_BYTES);
		const uint8_t *x = a + (size_t)s->plain_at[i] * STEP_K;
		__m256i w0 = _mm256_loadu_si256(w), w1 = _mm256_loadu_si256(w + 1);
		UNROLL
		for (int r = 0; r < rows; r++) {
			__m256i q = spread(x + (size_t)r * lda);
			sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(_mm256_maddubs_epi16(q, w0), ones));
			sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(_mm256_maddubs_epi16(q, w1), ones));
		}
	}
	for (size_t i = 0; i < s->wide; i++) {
		const uint8_t *x = wide + (size_t)s->wide_at[i] * 2 * STEP_K;
		__m256i w0 = s->weights[i][0], w1 = s->weights[i][1], w2 = s->weights[i][2], w3 = s->weights[i][3];
		UNROLL
		for (int r = 0; r < rows; r++) {
			__m256i q0 = spread(x + r * WIDE_BYTES), q1 = spread(x + r * WIDE_BYTES + STEP_K);
			sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(q0, w0));
			sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(q0, w1));
			sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(q1, w2));
			sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(q1, w3));
		}
	}
	UNROLL
	for (int r = 0; r < rows; r++) {
		_mm256_storeu_si256((__m256i *)(c + (size_t)r * ldc), sum[r][0]);
		_mm256_storeu_si256((__m256i *)(c + (size_t)r * ldc + 8), sum[r][1]);
	}
}

static void part_dot(const uint8_t *a, size_t lda, const uint8_t *wide, size_t rows, const int8_t *b,
	const struct steps *s, int32_t *c, size_t ldc)
{
	for (; rows >= BLOCK_ROWS; rows -= BLOCK_ROWS, a += BLOCK_ROWS * lda, wide += BLOCK_ROWS * WIDE_BYTES,
		c += BLOCK_ROWS * ldc)
		block(a, lda, wide, BLOCK_ROWS, b, s, c, ldc);
	switch (rows) {
	case 3: block(a, lda, wide, 3, b, s, c, ldc); break;
	case 2: block(a, lda, wide, 2, b, s, c, ldc); break;
	case 1: block(a, lda, wide, 1, b, s, c, ldc); break;
	default: break;
	}
}

static void dot(const uint8_t *a, size_t lda, size_t rows, const int8_t *b, const int32_t *start, size_t panels, size_t k,
	int32_t *c, size_t ldc)
{
	struct steps s;
	_Alignas(32) uint8_t wide[LINEAR_ROWS * WIDE_BYTES];
	for (size_t r = 0; r < rows; r++) memcpy(c + r * ldc, start, panels * GEMM8_LANES * sizeof *c);
	for (size_t i = 0; i < k; i += PART_K) {
		size_t n = k - i < PART_K ? k - i : PART_K;
		rows_widen(a + i, lda, rows, n, wide);
		for (size_t p = 0; p < panels; p++) {
			const int8_t *part = b + (p * k + i) * GEMM8_LANES;
			steps_sort(&s, part, n);
			part_dot(a + i, lda, wide, rows, part, &s, c + p * GEMM8_LANES, ldc);
		}
	}
}

static void nothing(void)
{
}

const struct gemm8 gemm8_avx2 = { "avx2", nothing, nothing, quant, norm, linear, attend };

/* ops_avx2.c: the kernels of ops_simd.h over 8 floats: the floor of the machines Footnote runs on. Built with
 * -mavx2 -mfma -mf16c -ffp-contract=off; ops.c sees to it that nothing here runs on a CPU without them. */
#include <immintrin.h>
#include "nn/ops_inside.h"

#define V __m256
#define LANES 8
#define V_TOKENS 3 /* 3x4 sums, 3 weights and a token: 16 registers */
#define v_zero() _mm256_setzero_ps()
#define v_set1(f) _mm256_set1_ps(f)
#define v_load(p) _mm256_loadu_ps(p)
#define v_store(p, v) _mm256_storeu_ps(p, v)
#define v_f16(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define v_bf16(p) _mm256_castsi256_ps(_mm256_slli_epi32( \
	_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))), 16))
#define v_i8(p) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p))))
#define v_add(a, b) _mm256_add_ps(a, b)
#define v_sub(a, b) _mm256_sub_ps(a, b)
#define v_mul(a, b) _mm256_mul_ps(a, b)
#define v_div(a, b) _mm256_div_ps(a, b)
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define v_fnma(a, b, c) _mm256_fnmadd_ps(a, b, c)
#define v_min(a, b) _mm256_min_ps(a, b) /* the second when one is NaN */
#define v_max(a, b) _mm256_max_ps(a, b)
#define v_round(a) _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_pow2(n) _mm256_castsi256_ps( \
	_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23))

/* The sums of four vectors. */
static inline __m128 v_sum4(__m256 a, __m256 b, __m256 c, __m256 d)
{
	__m256 s = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
	return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

static inline float v_top(__m256 v) /* the largest */
{
	__m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
	s = _mm_max_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

#include "nn/ops_simd.h"
#include "nn/attend_simd.h"

#define FEW_TOKENS 1
#define B __m256i
#define b_load(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define b_set8(c) _mm256_set1_epi8(c)
#define b_and(a, b) _mm256_and_si256(a, b)
#define b_or_masked(a, b, mask) _mm256_or_si256(a, _mm256_and_si256(b, mask))
#define b_right(a, n) _mm256_srli_epi16(a, n)
#define b_left(a, n) _mm256_slli_epi16(a, n)
#define b_float(a) _mm256_cvtepi32_ps(a)
#define v_u8(p) _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p))))

/* Four activations to all lanes. */
INLINE __m256i spread(const int8_t *q)
{
	int32_t four;
	memcpy(&four, q, sizeof four);
	return _mm256_set1_epi32(four);
}

/* VPMADDUBSW adds two products in 16 bits, so as many steps are added there as fit: 2 * 127 * (15, 31, 63) each.
 * Weights of 8 bits do not fit even once; with their sign put upon the activation, 2 * 127 * 128 does. */
INLINE __m256i b_dot(const __m256i *w, const int8_t *q, int steps, int zero_log2, int bits, int32_t minus)
{
	const __m256i ones = _mm256_set1_epi16(1), flip = _mm256_set1_epi8((char)128);
	const int fit = bits == 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
	__m256i sum = _mm256_set1_epi32(zero_log2 && bits != 8 ? minus * (1 << zero_log2) : 0);
	UNROLL for (int s = 0; s < steps; s += fit) {
		__m256i part = _mm256_setzero_si256();
		UNROLL for (int i = 0; i < fit; i++) {
			__m256i x = spread(q + 4 * (s + i)), a = w[s + i];
			if (bits == 8) {
				a = _mm256_xor_si256(a, flip);
				x = _mm256_sign_epi8(x, a);
				a = _mm256_abs_epi8(a);
			}
			part = _mm256_add_epi16(part, _mm256_maddubs_epi16(a, x));
		}
		sum = _mm256_add_epi32(sum, _mm256_madd_epi16(part, ones));
	}
	return sum;
}

#include "nn/ops_packed.h"

/* 32 floats to int8, and their sum's two halves. */
INLINE void act_group(const float *x, struct act_group *g)
{
	const __m256i magnitude = _mm256_set1_epi32(0x7fffffff), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
	__m256i m = _mm256_setzero_si256(), i[4], q, s;
	__m128i top;
	float max, inv;
	/* as integers, magnitudes of floats have their own order, and NaN is above all */
	UNROLL for (int j = 0; j < 4; j++) m = _mm256_max_epi32(m, _mm256_and_si256(b_load(x + 8 * j), magnitude));
	top = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
	top = _mm_max_epi32(top, _mm_shuffle_epi32(top, 0x4e));
	top = _mm_max_epi32(top, _mm_shuffle_epi32(top, 0xb1));
	max = _mm_cvtss_f32(_mm_castsi128_ps(top));
	memset(g, 0, sizeof *g);
	g->scale = max < 0x1p-100f ? 0 : max / 127;
	if (max >= 0x1p-100f && max <= FLT_MAX) {
		inv = 127 / max;
		UNROLL for (int j = 0; j < 4; j++) i[j] = _mm256_cvtps_epi32(v_mul(v_load(x + 8 * j), v_set1(inv)));
		q = _mm256_packs_epi16(_mm256_packs_epi32(i[0], i[1]), _mm256_packs_epi32(i[2], i[3]));
		q = _mm256_permutevar8x32_epi32(q, order);
		_mm256_storeu_si256((__m256i *)(void *)g->q, q);
		s = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q), _mm256_set1_epi16(-1));
		s = _mm256_hadd_epi32(s, s);
		s = _mm256_hadd_epi32(s, s);
		g->minus[0] = _mm256_extract_epi32(s, 0);
		g->minus[1] = _mm256_extract_epi32(s, 4);
		g->minus[2] = g->minus[0] + g->minus[1];
	}
	g->sum = g->scale * (float)-g->minus[2];
}

void avx2_act(const float *x, size_t k, void *out)
{
	struct act_group *g = out;
	for (size_t i = 0; i < k; i += PACK_GROUP) act_group(x + i, g++);
}

void avx2_prompt_act(const float *x, size_t from, size_t count, size_t k, size_t t, void *acts)
{
	avx2_act(x, count, (struct act_group *)acts + (t * k + from) / PACK_GROUP);
}

void avx2_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y, size_t ldy,
	void *scratch)
{
	packed_mul(p, panel0, panel1, acts, n, y, ldy, scratch);
}

const struct ops ops_avx2 = { "avx2", simd_matmul, simd_norm, simd_silu_mul, simd_gelu_mul, simd_attend,
	simd_halves, ops_plain_act_bytes, avx2_act, avx2_mul, plain_prompt_bytes, avx2_prompt_act, avx2_mul,
	simd_attend };

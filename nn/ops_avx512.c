/* ops_avx512.c: the kernels of ops_simd.h over 16 floats. Built with AVX-512 F, BW, VL and DQ and
 * -ffp-contract=off; ops.c sees to it that nothing here runs on a CPU without them. Its two tables differ in their
 * integer products: without VNNI, 16 lanes gain nothing there over ops_avx2.c. */
#include <immintrin.h>
#include "nn/ops_inside.h"

#define V __m512
#define LANES 16
#define V_TOKENS 6 /* 6x4 sums, 4 weights and a token: 29 of 32 registers */
#define v_zero() _mm512_setzero_ps()
#define v_set1(f) _mm512_set1_ps(f)
#define v_load(p) _mm512_loadu_ps(p)
#define v_store(p, v) _mm512_storeu_ps(p, v)
#define v_f16(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define v_bf16(p) _mm512_castsi512_ps(_mm512_slli_epi32( \
	_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p))), 16))
#define v_add(a, b) _mm512_add_ps(a, b)
#define v_sub(a, b) _mm512_sub_ps(a, b)
#define v_mul(a, b) _mm512_mul_ps(a, b)
#define v_div(a, b) _mm512_div_ps(a, b)
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define v_min(a, b) _mm512_min_ps(a, b) /* the second when one is NaN */
#define v_max(a, b) _mm512_max_ps(a, b)
#define v_round(a) _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_top(a) _mm512_reduce_max_ps(a)
#define v_pow2(n) _mm512_castsi512_ps( \
	_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23))

/* The sums of four vectors. */
static inline __m128 v_sum4(__m512 a, __m512 b, __m512 c, __m512 d)
{
	__m256 a8 = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
	__m256 b8 = _mm256_add_ps(_mm512_castps512_ps256(b), _mm512_extractf32x8_ps(b, 1));
	__m256 c8 = _mm256_add_ps(_mm512_castps512_ps256(c), _mm512_extractf32x8_ps(c, 1));
	__m256 d8 = _mm256_add_ps(_mm512_castps512_ps256(d), _mm512_extractf32x8_ps(d, 1));
	__m256 s = _mm256_hadd_ps(_mm256_hadd_ps(a8, b8), _mm256_hadd_ps(c8, d8));
	return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

#include "nn/ops_simd.h"
#include "nn/attend_simd.h"

static void amx_prompt_attend(const struct ops_attend *a, void *scratch)
{
	if (!amx_attend(a, scratch)) simd_attend(a, scratch);
}

const struct ops ops_avx512 = { "avx512", simd_matmul, simd_norm, simd_silu_mul, simd_gelu_mul, simd_attend,
	simd_halves, ops_plain_act_bytes, avx2_act, avx2_mul, plain_prompt_bytes, avx2_prompt_act, avx2_mul,
	simd_attend };
const struct ops ops_vnni = { "vnni", simd_matmul, simd_norm, simd_silu_mul, simd_gelu_mul, simd_attend,
	simd_halves, ops_plain_act_bytes, avx2_act, vnni_mul, plain_prompt_bytes, avx2_prompt_act, vnni_mul,
	simd_attend };
const struct ops ops_amx = { "amx", simd_matmul, simd_norm, simd_silu_mul, simd_gelu_mul, simd_attend,
	simd_halves, ops_plain_act_bytes, avx2_act, vnni_mul, amx_prompt_bytes, amx_prompt_act, amx_prompt_mul,
	amx_prompt_attend };

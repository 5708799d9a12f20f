/* ops_vnni.c: the integer products of ops_packed.h over 16 rows, with VPDPBUSD, which multiplies four bytes without
 * sign by four with sign and adds the products to 32 bits, all exactly. Built with AVX-512 F, BW, VL, DQ, VNNI and
 * -ffp-contract=off; ops.c sees to it that nothing here runs on a CPU without them. */
#include <immintrin.h>
#include <string.h>
#include "nn/ops_inside.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define V __m512
#define LANES 16
#define FEW_TOKENS 8
#define v_zero() _mm512_setzero_ps()
#define v_set1(f) _mm512_set1_ps(f)
#define v_load(p) _mm512_loadu_ps(p)
#define v_store(p, v) _mm512_storeu_ps(p, v)
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define v_fnma(a, b, c) _mm512_fnmadd_ps(a, b, c)
#include "nn/ops_unpack512.h"
#define b_float(a) _mm512_cvtepi32_ps(a)

INLINE __m512i b_first(int zero_log2, int32_t minus)
{
	return zero_log2 ? _mm512_slli_epi32(_mm512_set1_epi32(minus), (unsigned)zero_log2) : _mm512_setzero_si512();
}

INLINE __m512i b_step(__m512i sum, __m512i w, const int8_t *q)
{
	int32_t four;
	memcpy(&four, q, sizeof four);
	return _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(four));
}

#include "nn/ops_packed.h"

void vnni_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y, size_t ldy,
	void *scratch)
{
	packed_mul(p, panel0, panel1, acts, n, y, ldy, scratch);
}

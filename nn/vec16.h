/* vec16.h: of nn/ alone. Sixteen floats or 32-bit integers as one value: a zmm register where the file is built with
 * AVX-512, two ymm registers where it is not. Every operation gives the same bits in both, so that a body written over
 * them (nn/gemm8_body.h) is one numerics on every CPU. Needs AVX2 and FMA at least. */
#ifndef NN_VEC16_H
#define NN_VEC16_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16") /* loops of fixed, small counts, whose arrays must become registers */

#ifdef __AVX512F__

typedef __m512 v16;
typedef __m512i i16;

INLINE v16 v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, v16 v) { _mm512_storeu_ps(p, v); }
INLINE v16 v_set1(float f) { return _mm512_set1_ps(f); }
INLINE v16 v_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
INLINE v16 v_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
INLINE v16 v_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
INLINE v16 v_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
INLINE v16 v_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
INLINE v16 v_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
INLINE v16 v_abs(v16 a) { return _mm512_abs_ps(a); }
/* Lanes from n on become those of fill; n may be over 16. */
INLINE v16 v_keep(v16 v, size_t n, v16 fill)
{
	return _mm512_mask_mov_ps(v, (__mmask16)(n >= 16 ? 0 : 0xffffu << n), fill);
}
INLINE v16 v_of(i16 a) { return _mm512_cvtepi32_ps(a); }
INLINE i16 i_of(v16 a) { return _mm512_cvtps_epi32(a); } /* to nearest, ties to even */
INLINE i16 i_bits(v16 a) { return _mm512_castps_si512(a); }
INLINE v16 v_bits(i16 a) { return _mm512_castsi512_ps(a); }
INLINE i16 i_load(const int32_t *p) { return _mm512_loadu_si512(p); }
INLINE void i_store(void *p, i16 a) { _mm512_storeu_si512(p, a); }
INLINE i16 i_set1(int32_t n) { return _mm512_set1_epi32(n); }
INLINE i16 i_add(i16 a, i16 b) { return _mm512_add_epi32(a, b); }
INLINE i16 i_sub(i16 a, i16 b) { return _mm512_sub_epi32(a, b); }
INLINE i16 i_and(i16 a, i16 b) { return _mm512_and_si512(a, b); }
INLINE i16 i_or(i16 a, i16 b) { return _mm512_or_si512(a, b); }
#define i_shl(a, n) _mm512_slli_epi32(a, n)
#define i_sra(a, n) _mm512_srai_epi32(a, n)
INLINE void i_store_u8(uint8_t *p, i16 a) { _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a)); } /* 0 to 255 */
/* The 64 bytes of a, b, c and d (each 0 to 255), stored; sum plus some of them in each lane. */
INLINE i16 i_store_u8x4(uint8_t *p, i16 a, i16 b, i16 c, i16 d, i16 sum)
{
	const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	__m512i all = _mm512_packus_epi16(_mm512_packus_epi32(a, b), _mm512_packus_epi32(c, d));
	_mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, all));
	return _mm512_add_epi32(sum, _mm512_sad_epu8(all, _mm512_setzero_si512()));
}
INLINE __m256 v_half_sum(v16 v) { return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)); }
INLINE __m256 v_half_max(v16 v) { return _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)); }
INLINE int32_t i_sum(i16 a) { return _mm512_reduce_add_epi32(a); }

#else

typedef struct { __m256 lo, hi; } v16;
typedef struct { __m256i lo, hi; } i16;

INLINE v16 v_load(const float *p) { return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
INLINE void v_store(float *p, v16 v) { _mm256_storeu_ps(p, v.lo), _mm256_storeu_ps(p + 8, v.hi); }
INLINE v16 v_set1(float f) { return (v16){_mm256_set1_ps(f), _mm256_set1_ps(f)}; }
INLINE v16 v_add(v16 a, v16 b) { return (v16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
INLINE v16 v_sub(v16 a, v16 b) { return (v16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
INLINE v16 v_mul(v16 a, v16 b) { return (v16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
INLINE v16 v_fma(v16 a, v16 b, v16 c)
{
	return (v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
INLINE v16 v_min(v16 a, v16 b) { return (v16){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
INLINE v16 v_max(v16 a, v16 b) { return (v16){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
INLINE v16 v_abs(v16 a)
{
	__m256 sign = _mm256_set1_ps(-0.0f);
	return (v16){_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
/* Lanes from n on become those of fill; n may be over 16. */
INLINE v16 v_keep(v16 v, size_t n, v16 fill)
{
	__m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), end = _mm256_set1_epi32((int)(n < 16 ? n : 16));
	__m256 lo = _mm256_castsi256_ps(_mm256_cmpgt_epi32(end, at));
	__m256 hi = _mm256_castsi256_ps(_mm256_cmpgt_epi32(end, _mm256_add_epi32(at, _mm256_set1_epi32(8))));
	return (v16){_mm256_blendv_ps(fill.lo, v.lo, lo), _mm256_blendv_ps(fill.hi, v.hi, hi)};
}
INLINE v16 v_of(i16 a) { return (v16){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
INLINE i16 i_of(v16 a) { return (i16){_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; } /* to nearest, to even */
INLINE i16 i_bits(v16 a) { return (i16){_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
INLINE v16 v_bits(i16 a) { return (v16){_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
INLINE i16 i_load(const int32_t *p)
{
	return (i16){_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 8))};
}
INLINE void i_store(void *p, i16 a)
{
	_mm256_storeu_si256((__m256i *)p, a.lo), _mm256_storeu_si256((__m256i *)p + 1, a.hi);
}
INLINE i16 i_set1(int32_t n) { return (i16){_mm256_set1_epi32(n), _mm256_set1_epi32(n)}; }
INLINE i16 i_add(i16 a, i16 b) { return (i16){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
INLINE i16 i_sub(i16 a, i16 b) { return (i16){_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)}; }
INLINE i16 i_and(i16 a, i16 b) { return (i16){_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)}; }
INLINE i16 i_or(i16 a, i16 b) { return (i16){_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
INLINE i16 i_shl(i16 a, int n) { return (i16){_mm256_slli_epi32(a.lo, n), _mm256_slli_epi32(a.hi, n)}; }
INLINE i16 i_sra(i16 a, int n) { return (i16){_mm256_srai_epi32(a.lo, n), _mm256_srai_epi32(a.hi, n)}; }
INLINE void i_store_u8(uint8_t *p, i16 a) /* 0 to 255 */
{
	__m256i w = _mm256_permute4x64_epi64(_mm256_packus_epi32(a.lo, a.hi), 0xd8);
	_mm_storeu_si128((__m128i *)p, _mm_packus_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1)));
}
/* The 64 bytes of a, b, c and d (each 0 to 255), stored; sum plus some of them in each lane. */
INLINE i16 i_store_u8x4(uint8_t *p, i16 a, i16 b, i16 c, i16 d, i16 sum)
{
	i_store_u8(p, a), i_store_u8(p + 16, b), i_store_u8(p + 32, c), i_store_u8(p + 48, d);
	return i_add(sum, i_add(i_add(a, b), i_add(c, d)));
}
INLINE __m256 v_half_sum(v16 v) { return _mm256_add_ps(v.lo, v.hi); }
INLINE __m256 v_half_max(v16 v) { return _mm256_max_ps(v.lo, v.hi); }
INLINE int32_t i_sum(i16 a)
{
	__m256i s = _mm256_add_epi32(a.lo, a.hi);
	__m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
	t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1)));
}

#endif

/* Lane l and l+8, then l and l+4, l and l+2, l and l+1. */
INLINE float v_sum(v16 v)
{
	__m256 h = v_half_sum(v);
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE float v_top(v16 v)
{
	__m256 h = v_half_max(v);
	__m128 s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
	s = _mm_max_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

#endif

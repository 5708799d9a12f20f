/* ops_unpack512.h: what ops_unpack.h asks of a vector, with AVX-512. ops_vnni.c and ops_amx.c include it before that;
 * it is no interface. */
#include <immintrin.h>

#define v_f16(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define v_u8(p) _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define v_i8(p) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define v_mul(a, b) _mm512_mul_ps(a, b)
#define B __m512i
#define b_load(p) _mm512_loadu_si512(p)
#define b_set8(c) _mm512_set1_epi8(c)
#define b_and(a, b) _mm512_and_si512(a, b)
#define b_or_masked(a, b, mask) _mm512_ternarylogic_epi32(a, b, mask, 0xf8) /* a | (b & mask) */
#define b_right(a, n) _mm512_srli_epi16(a, n)
#define b_left(a, n) _mm512_slli_epi16(a, n)

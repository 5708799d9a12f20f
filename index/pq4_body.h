/* pq4_body.h: the loop of the kernels over 4-bit codes. A table of 16 bytes is one lane of a register and a shuffle looks
 * 16 codes up. The bytes of two neighbouring vectors are added as one number of 16 bits, which is what the one gives plus
 * 256 times what the other does; the other is added apart too, and taken off in the end: an addition a byte is spared.
 * Who includes it defines VEC, PARTS (lanes of it), LOAD, ZERO_VEC, LOW (15 in each byte), AND, SHUFFLE, ADD16, SUB16,
 * RIGHT16, LEFT16 and FOLD (VEC, VEC -> __m256i: the sum of the lanes of one, then of the other). */
#include <immintrin.h>
#include "index/pq4.h"

static size_t scan(const uint8_t *blocks, size_t from, size_t n, size_t parts, const uint8_t *table, uint16_t least,
	const uint32_t *mask, uint32_t *at, uint16_t *sum)
{
	__m256i floor = _mm256_set1_epi16((short)least);
	size_t got = 0;
	for (size_t b = 0; b * PQ4_BLOCK < n; b++) {
		uint32_t hits = pq4_live(mask, b, from, n);
		const uint8_t *codes = blocks + b * PQ4_CODES * parts;
		VEC near = ZERO_VEC, near_odd = near, far = near, far_odd = near; /* vectors 0 … 15 and 16 … 31 */
		__m256i even, odd, first, second, reached;
		uint16_t sums[PQ4_BLOCK];
		if (!hits) continue;
		for (size_t p = 0; p < parts; p += PARTS) {
			VEC both = LOAD(codes + PQ4_CODES * p), t = LOAD(table + PQ4_CODES * p);
			VEC x = SHUFFLE(t, AND(both, LOW)), y = SHUFFLE(t, AND(RIGHT16(both, 4), LOW));
			near = ADD16(near, x);
			near_odd = ADD16(near_odd, RIGHT16(x, 8));
			far = ADD16(far, y);
			far_odd = ADD16(far_odd, RIGHT16(y, 8));
		}
		even = FOLD(SUB16(near, LEFT16(near_odd, 8)), SUB16(far, LEFT16(far_odd, 8)));
		odd = FOLD(near_odd, far_odd);
		first = _mm256_unpacklo_epi16(even, odd);   /* of each half the first eight */
		second = _mm256_unpackhi_epi16(even, odd);
		reached = _mm256_packs_epi16(_mm256_cmpeq_epi16(_mm256_max_epu16(first, floor), first),
			_mm256_cmpeq_epi16(_mm256_max_epu16(second, floor), second));
		hits &= (uint32_t)_mm256_movemask_epi8(reached);
		if (!hits) continue;
		_mm256_storeu_si256((__m256i *)sums, _mm256_permute2x128_si256(first, second, 0x20));
		_mm256_storeu_si256((__m256i *)(sums + 16), _mm256_permute2x128_si256(first, second, 0x31));
		got = pq4_emit(hits, sums, b, got, at, sum);
	}
	return got;
}

/* ops_unpack.h: a group of a panel (nn/pack.h) in registers: its weights as bytes, its scales as floats, for LANES rows.
 * Written once over vectors; the files that include it define V, B, LANES, INLINE, UNROLL and the v_* and b_*
 * operations. It is no interface. The type is a constant wherever these are expanded. */
#include "nn/pack.h"
#include "nn/quant.h"

enum { STEPS = 8, HALF_BYTES = 2 * PACK_ROWS, K_GROUPS = 8, K_SCALES_AT = 2 * HALF_BYTES, K_HEAD = 320 };

INLINE size_t group_bytes(uint32_t type)
{
	switch (type) {
	case QUANT_Q8_0: return 512;
	case QUANT_Q6_K: return 384;
	case QUANT_Q5_0: case QUANT_Q5_1: case QUANT_Q5_K: return 320;
	default: return 256;
	}
}

INLINE int has_min(uint32_t type)
{
	return type == QUANT_Q4_1 || type == QUANT_Q5_1 || type == QUANT_Q4_K || type == QUANT_Q5_K;
}

INLINE int is_k(uint32_t type)
{
	return type == QUANT_Q4_K || type == QUANT_Q5_K || type == QUANT_Q6_K;
}

/* The 8 steps of a group as bytes. */
INLINE void steps_of(uint32_t type, const uint8_t *group, B *w)
{
	const B low = b_set8(15), fifth = b_set8(16), upper = b_set8(0x30);
	if (type == QUANT_Q8_0) {
		UNROLL for (int s = 0; s < STEPS; s++) w[s] = b_load(group + s * PACK_VECTOR);
		return;
	}
	UNROLL for (int v = 0; v < 4; v++) {
		B both = b_load(group + v * PACK_VECTOR);
		w[v] = b_and(both, low);
		w[v + 4] = b_and(b_right(both, 4), low);
	}
	/* shifts are of 16 bits: what crosses a byte is masked */
	if (type == QUANT_Q6_K)
		UNROLL for (int v = 0; v < 2; v++) {
			B bits = b_load(group + PACK_BITS_AT + v * PACK_VECTOR);
			w[4 * v] = b_or_masked(w[4 * v], b_left(bits, 4), upper);
			w[4 * v + 1] = b_or_masked(w[4 * v + 1], b_left(bits, 2), upper);
			w[4 * v + 2] = b_or_masked(w[4 * v + 2], bits, upper);
			w[4 * v + 3] = b_or_masked(w[4 * v + 3], b_right(bits, 2), upper);
		}
	else if (group_bytes(type) == 320) {
		B bits = b_load(group + PACK_BITS_AT);
		UNROLL for (int s = 0; s < STEPS; s++)
			w[s] = b_or_masked(w[s], s < 4 ? b_left(bits, 4 - s) : b_right(bits, s - 4), fifth);
	}
}

struct scales { V w[2], min; };

/* Of group g of a unit, for the LANES rows from row0. */
INLINE struct scales scales_of(uint32_t type, const uint8_t *head, size_t g, size_t row0)
{
	struct scales s;
	const uint8_t *bytes = head + K_SCALES_AT + g * 2 * PACK_ROWS + row0;
	head += 2 * row0;
	if (type == QUANT_Q6_K) {
		V d = v_f16(head);
		s.w[0] = v_mul(d, v_i8(bytes));
		s.w[1] = v_mul(d, v_i8(bytes + PACK_ROWS));
		s.min = d;
	} else if (is_k(type)) {
		s.w[0] = s.w[1] = v_mul(v_f16(head), v_u8(bytes));
		s.min = v_mul(v_f16(head + HALF_BYTES), v_u8(bytes + PACK_ROWS));
	} else {
		s.w[0] = s.w[1] = v_f16(head + (has_min(type) ? 0 : g * HALF_BYTES));
		s.min = v_f16(head + HALF_BYTES);
	}
	return s;
}

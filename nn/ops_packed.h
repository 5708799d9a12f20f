/* ops_packed.h: the body of the integer products (nn/ops.h), written once over vectors of LANES rows: 8, half of a
 * step of a panel, or 16. ops_avx2.c and ops_vnni.c define V, B, LANES, INLINE, UNROLL and the v_* and b_*
 * operations and include this; it is no interface.
 *
 * One token (decoding) goes once through a panel as it lies in memory, its sums in registers. Several tokens go
 * through it together: a group is unpacked to registers once, and every token takes its turn with it; their sums
 * rest in scratch, small enough for the first-level cache. The operations of a sum are the same in both. The type is
 * a constant wherever these are expanded, so that what it does not need is not there. */
#include "nn/pack.h"
#include "nn/quant.h"

enum { PARTS = PACK_ROWS / LANES, STEPS = 8, HALF_BYTES = 2 * PACK_ROWS, K_GROUPS = 8,
	K_SCALES_AT = 2 * HALF_BYTES, K_HEAD = 320, AHEAD = 4096 };

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

/* acc after one more group. */
INLINE V add_group(uint32_t type, const B *w, const struct scales *s, const struct act_group *x, V acc)
{
	V scale = v_set1(x->scale);
	switch (type) {
	case QUANT_Q6_K:
		acc = v_fma(b_float(b_dot(w, x->q, 4, 5, 6, x->minus[0])), v_mul(s->w[0], scale), acc);
		return v_fma(b_float(b_dot(w + 4, x->q + 16, 4, 5, 6, x->minus[1])), v_mul(s->w[1], scale), acc);
	case QUANT_Q4_0: return v_fma(b_float(b_dot(w, x->q, 8, 3, 4, x->minus[2])), v_mul(s->w[0], scale), acc);
	case QUANT_Q5_0: return v_fma(b_float(b_dot(w, x->q, 8, 4, 5, x->minus[2])), v_mul(s->w[0], scale), acc);
	case QUANT_Q8_0: return v_fma(b_float(b_dot(w, x->q, 8, 7, 8, x->minus[2])), v_mul(s->w[0], scale), acc);
	case QUANT_Q4_1: case QUANT_Q5_1: case QUANT_Q4_K: case QUANT_Q5_K:
		acc = v_fma(b_float(b_dot(w, x->q, 8, 0, type == QUANT_Q4_1 || type == QUANT_Q4_K ? 4 : 5, 0)),
			v_mul(s->w[0], scale), acc);
		/* m of the K formats is subtracted, that of the others added */
		return is_k(type) ? v_fnma(s->min, v_set1(x->sum), acc) : v_fma(s->min, v_set1(x->sum), acc);
	}
	return acc;
}

INLINE void panel_one(uint32_t type, const uint8_t *at, size_t groups, const struct act_group *x, float *y)
{
	const size_t unit = is_k(type) ? K_GROUPS : has_min(type) ? 1 : 2, bytes = group_bytes(type);
	V acc[PARTS];
	UNROLL for (int h = 0; h < PARTS; h++) acc[h] = v_zero();
	for (size_t g = 0; g < groups; g += unit) {
		const uint8_t *head = at;
		at += is_k(type) ? K_HEAD : PACK_VECTOR;
		for (size_t i = 0; i < unit && g + i < groups; i++, at += bytes, x++) {
			for (size_t b = 0; b < bytes; b += PACK_VECTOR) _mm_prefetch((const char *)at + b + AHEAD, _MM_HINT_T0);
			UNROLL for (size_t h = 0; h < PARTS; h++) {
				B w[STEPS];
				struct scales s = scales_of(type, head, i, h * LANES);
				steps_of(type, at + h * 4 * LANES, w);
				acc[h] = add_group(type, w, &s, x, acc[h]);
			}
		}
	}
	UNROLL for (int h = 0; h < PARTS; h++) v_store(y + h * LANES, acc[h]);
}

/* acc: (n, PACK_ROWS). */
INLINE void panel_many(uint32_t type, const uint8_t *at, size_t groups, const struct act_group *x, size_t n, float *acc)
{
	const size_t unit = is_k(type) ? K_GROUPS : has_min(type) ? 1 : 2;
	memset(acc, 0, n * PACK_ROWS * sizeof *acc);
	for (size_t g = 0; g < groups; g += unit) {
		const uint8_t *head = at;
		at += is_k(type) ? K_HEAD : PACK_VECTOR;
		for (size_t i = 0; i < unit && g + i < groups; i++, at += group_bytes(type))
			for (size_t h = 0; h < PARTS; h++) {
				const struct act_group *xt = x + g + i;
				float *a = acc + h * LANES;
				B w[STEPS];
				struct scales s = scales_of(type, head, i, h * LANES);
				steps_of(type, at + h * 4 * LANES, w);
				for (size_t t = 0; t < n; t++, xt += groups, a += PACK_ROWS)
					v_store(a, add_group(type, w, &s, xt, v_load(a)));
			}
	}
}

INLINE void mul_type(uint32_t type, const struct packed *p, size_t panel0, size_t panel1, const struct act_group *x,
	size_t n, float *y, size_t ldy, float *acc)
{
	const size_t groups = p->k / PACK_GROUP;
	for (size_t panel = panel0; panel < panel1; panel++) {
		const uint8_t *at = p->data + panel * p->panel_bytes;
		size_t row = panel * PACK_ROWS, rows = p->rows - row < PACK_ROWS ? p->rows - row : PACK_ROWS;
		for (size_t t = 0; t < n; t += OPS_TOKENS) {
			size_t m = n - t < OPS_TOKENS ? n - t : OPS_TOKENS;
			if (m == 1) panel_one(type, at, groups, x + t * groups, acc);
			else panel_many(type, at, groups, x + t * groups, m, acc);
			for (size_t i = 0; i < m; i++) memcpy(y + (t + i) * ldy + row, acc + i * PACK_ROWS, rows * sizeof *acc);
		}
	}
}

static void packed_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y,
	size_t ldy, void *scratch)
{
	const struct act_group *x = acts;
	switch (p->type) {
	case QUANT_Q4_0: mul_type(QUANT_Q4_0, p, panel0, panel1, x, n, y, ldy, scratch); break;
	case QUANT_Q4_1: mul_type(QUANT_Q4_1, p, panel0, panel1, x, n, y, ldy, scratch); break;
	case QUANT_Q5_0: mul_type(QUANT_Q5_0, p, panel0, panel1, x, n, y, ldy, scratch); break;
	case QUANT_Q5_1: mul_type(QUANT_Q5_1, p, panel0, panel1, x, n, y, ldy, scratch); break;
	case QUANT_Q8_0: mul_type(QUANT_Q8_0, p, panel0, panel1, x, n, y, ldy, scratch); break;
	case QUANT_Q4_K: mul_type(QUANT_Q4_K, p, panel0, panel1, x, n, y, ldy, scratch); break;
	case QUANT_Q5_K: mul_type(QUANT_Q5_K, p, panel0, panel1, x, n, y, ldy, scratch); break;
	case QUANT_Q6_K: mul_type(QUANT_Q6_K, p, panel0, panel1, x, n, y, ldy, scratch); break;
	}
}

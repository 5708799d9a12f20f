/* ops_packed.h: the body of the integer products (nn/ops.h), written once over vectors of LANES rows: 8, half of a
 * step of a panel, or 16. ops_avx2.c and ops_vnni.c define V, B, LANES, INLINE, UNROLL and the v_* and b_*
 * operations and include this; it is no interface.
 *
 * Tokens go through a panel in blocks, as it lies in memory; a group is unpacked to registers once and every token of
 * the block takes its turn with it. Blocks of up to FEW_TOKENS have their sums in registers. With 32 registers that is
 * every block, 8 tokens being enough to hide the unpacking; with 16 it is a single token, and the sums of the up
 * to OPS_TOKENS of a larger block rest in scratch, small enough for the first-level cache. The operations of a sum are
 * the same in all. The type is a constant wherever these are expanded, so that what it does not need is not there. */
#include "nn/ops_unpack.h"

enum { PARTS = PACK_ROWS / LANES, NEAR = 1024, FAR = 6144 };

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

/* Asks for what comes behind these bytes: first into the second-level cache, which takes more requests at a time than
 * the first level does, then from there. The hardware sees the stream too, but ends at every page of 4 KB. */
INLINE void ahead_of(const uint8_t *at, size_t bytes)
{
	for (size_t b = 0; b < bytes; b += PACK_VECTOR) {
		_mm_prefetch((const char *)at + b + FAR, _MM_HINT_T1);
		_mm_prefetch((const char *)at + b + NEAR, _MM_HINT_T0);
	}
}

/* n is a constant. y: (n, PACK_ROWS). */
INLINE void panel_few(uint32_t type, size_t n, const uint8_t *at, size_t groups, const struct act_group *x, float *y)
{
	const size_t unit = is_k(type) ? K_GROUPS : has_min(type) ? 1 : 2, bytes = group_bytes(type),
		head_bytes = is_k(type) ? K_HEAD : PACK_VECTOR;
	V acc[FEW_TOKENS][PARTS];
	UNROLL for (size_t t = 0; t < n; t++)
		UNROLL for (int h = 0; h < PARTS; h++) acc[t][h] = v_zero();
	for (size_t g = 0; g < groups; g += unit) {
		const uint8_t *head = at;
		ahead_of(at, head_bytes);
		at += head_bytes;
		for (size_t i = 0; i < unit && g + i < groups; i++, at += bytes, x++) {
			ahead_of(at, bytes);
			UNROLL for (size_t h = 0; h < PARTS; h++) {
				B w[STEPS];
				struct scales s = scales_of(type, head, i, h * LANES);
				steps_of(type, at + h * 4 * LANES, w);
				UNROLL for (size_t t = 0; t < n; t++)
					acc[t][h] = add_group(type, w, &s, x + t * groups, acc[t][h]);
			}
		}
	}
	UNROLL for (size_t t = 0; t < n; t++)
		UNROLL for (int h = 0; h < PARTS; h++) v_store(y + t * PACK_ROWS + h * LANES, acc[t][h]);
}

#if FEW_TOKENS > 1
enum { BLOCK_TOKENS = FEW_TOKENS };

INLINE void panel_block(uint32_t type, const uint8_t *at, size_t groups, const struct act_group *x, size_t n, float *acc)
{
	switch (n) {
	case 1: panel_few(type, 1, at, groups, x, acc); break;
	case 2: panel_few(type, 2, at, groups, x, acc); break;
	case 3: panel_few(type, 3, at, groups, x, acc); break;
	case 4: panel_few(type, 4, at, groups, x, acc); break;
	case 5: panel_few(type, 5, at, groups, x, acc); break;
	case 6: panel_few(type, 6, at, groups, x, acc); break;
	case 7: panel_few(type, 7, at, groups, x, acc); break;
	default: panel_few(type, FEW_TOKENS, at, groups, x, acc); break;
	}
}
#else
enum { BLOCK_TOKENS = OPS_TOKENS };

/* acc: (n, PACK_ROWS). */
INLINE void panel_many(uint32_t type, const uint8_t *at, size_t groups, const struct act_group *x, size_t n, float *acc)
{
	const size_t unit = is_k(type) ? K_GROUPS : has_min(type) ? 1 : 2, bytes = group_bytes(type),
		head_bytes = is_k(type) ? K_HEAD : PACK_VECTOR;
	memset(acc, 0, n * PACK_ROWS * sizeof *acc);
	for (size_t g = 0; g < groups; g += unit) {
		const uint8_t *head = at;
		ahead_of(at, head_bytes);
		at += head_bytes;
		for (size_t i = 0; i < unit && g + i < groups; i++, at += bytes) {
			ahead_of(at, bytes);
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
}

INLINE void panel_block(uint32_t type, const uint8_t *at, size_t groups, const struct act_group *x, size_t n, float *acc)
{
	if (n == 1) panel_few(type, 1, at, groups, x, acc);
	else panel_many(type, at, groups, x, n, acc);
}
#endif

INLINE void mul_type(uint32_t type, const struct packed *p, size_t panel0, size_t panel1, const struct act_group *x,
	size_t n, float *y, size_t ldy, float *acc)
{
	const size_t groups = p->k / PACK_GROUP;
	for (size_t panel = panel0; panel < panel1; panel++) {
		const uint8_t *at = p->data + panel * p->panel_bytes;
		size_t row = panel * PACK_ROWS, rows = p->rows - row < PACK_ROWS ? p->rows - row : PACK_ROWS;
		for (size_t t = 0; t < n; t += BLOCK_TOKENS) {
			size_t m = n - t < BLOCK_TOKENS ? n - t : BLOCK_TOKENS;
			panel_block(type, at, groups, x + t * groups, m, acc);
			for (size_t i = 0; i < m; i++)
				memcpy(y + (t + i) * ldy + row - panel0 * PACK_ROWS, acc + i * PACK_ROWS, rows * sizeof *acc);
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

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

/* Products of a group's weights with a token's activations: of the first 16 and the others for Q6_K, else of all. */
struct dots { B of[2]; };

INLINE int halves(uint32_t type)
{
	return type == QUANT_Q6_K ? 2 : 1;
}

INLINE int bits_of(uint32_t type)
{
	switch (type) {
	case QUANT_Q8_0: return 8;
	case QUANT_Q6_K: return 6;
	default: return group_bytes(type) == 320 ? 5 : 4;
	}
}

INLINE int zero_log2_of(uint32_t type)           /* 0: zero is 0 */
{
	return has_min(type) ? 0 : bits_of(type) - 1;
}

INLINE int32_t minus_of(uint32_t type, const struct act_group *x, int half)
{
	return type == QUANT_Q6_K ? x->minus[half] : has_min(type) ? 0 : x->minus[2];
}

/* acc after one more group. */
INLINE V add_dots(uint32_t type, const struct dots *d, const struct scales *s, const struct act_group *x, V acc)
{
	V scale = v_set1(x->scale);
	UNROLL for (int h = 0; h < halves(type); h++) acc = v_fma(b_float(d->of[h]), v_mul(s->w[h], scale), acc);
	if (!has_min(type)) return acc;
	/* m of the K formats is subtracted, that of the others added */
	return is_k(type) ? v_fnma(s->min, v_set1(x->sum), acc) : v_fma(s->min, v_set1(x->sum), acc);
}

#if FEW_TOKENS == 1
INLINE struct dots dots_of(uint32_t type, const B *w, const struct act_group *x)
{
	struct dots d;
	UNROLL for (int h = 0; h < halves(type); h++)
		d.of[h] = b_dot(w + 4 * h, x->q + 16 * h, STEPS / halves(type), zero_log2_of(type), bits_of(type), minus_of(type, x, h));
	return d;
}
#endif

/* Asks for what comes behind these bytes: first into the second-level cache, which takes more requests at a time than
 * the first level does, then from there. The hardware sees the stream too, but ends at every page of 4 KB. */
INLINE void ahead_of(const uint8_t *at, size_t bytes)
{
	for (size_t b = 0; b < bytes; b += PACK_VECTOR) {
		_mm_prefetch((const char *)at + b + FAR, _MM_HINT_T1);
		_mm_prefetch((const char *)at + b + NEAR, _MM_HINT_T0);
	}
}

/* Of n tokens, `groups` apart. Step by step for all of them: a sum's steps wait for each other, tokens' do not. */
INLINE void dots_of_few(uint32_t type, size_t n, const B *w, const struct act_group *x, size_t groups, struct dots *d)
{
#if FEW_TOKENS == 1
	(void)n;
	(void)groups;
	d[0] = dots_of(type, w, x);
#else
	UNROLL for (size_t t = 0; t < n; t++)
		UNROLL for (int h = 0; h < halves(type); h++) d[t].of[h] = b_first(zero_log2_of(type), minus_of(type, x + t * groups, h));
	UNROLL for (int s = 0; s < STEPS; s++)
		UNROLL for (size_t t = 0; t < n; t++) {
			const int h = halves(type) == 2 ? s / 4 : 0;
			d[t].of[h] = b_step(d[t].of[h], w[s], (x + t * groups)->q + 4 * s);
		}
#endif
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
				struct dots d[FEW_TOKENS];
				dots_of_few(type, n, w, x, groups, d);
				UNROLL for (size_t t = 0; t < n; t++)
					acc[t][h] = add_dots(type, &d[t], &s, x + t * groups, acc[t][h]);
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
				for (size_t t = 0; t < n; t++, xt += groups, a += PACK_ROWS) {
					struct dots d = dots_of(type, w, xt);
					v_store(a, add_dots(type, &d, &s, xt, v_load(a)));
				}
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

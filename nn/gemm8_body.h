/* gemm8_body.h: the kernels of gemm8.h, written once over sixteen lanes (nn/vec16.h) around one product of integers.
 * gemm8_avx2.c, gemm8_vnni.c and gemm8_amx.c include this and define `dot`; it is no interface.
 *
 *     dot(a, lda, rows, b, start, panels, k, c, ldc):
 *         c[r*ldc + i] = sum over k of (a[r*lda + k] - 128) * b[i][k],   r < rows, i < 16 panels
 *
 * a bytes, b panels as in struct gemm8_matrix with start = -128 * sum of b[i]; k a multiple of DOT_K, lda any. c has room
 * for the next multiple of GEMM8_ROWS rows. Sums of int32 wrap on the way and are right at the end.
 *
 * A linear layer goes four panels by LINEAR_ROWS rows at a time, so that the sums (8 KB or 16), the panels and the rows stay
 * in the first-level cache, and ends each with its own scale, bias and activation. */
#include <math.h>
#include <string.h>
#include "nn/gemm8.h"
#include "nn/gemm8_inside.h"
#include "nn/vec16.h"

static void dot(const uint8_t *a, size_t lda, size_t rows, const int8_t *b, const int32_t *start, size_t panels, size_t k,
	int32_t *c, size_t ldc);

/* A file may want others: rows that a product takes at a time, and what its k is a multiple of. */
#ifndef LINEAR_ROWS
#define LINEAR_ROWS GEMM8_ROWS
#endif
#ifndef DOT_K
#define DOT_K 32
#endif
enum { STEP = 4, STEP_LANES = STEP * GEMM8_LANES };

/* ---- rows ---- */

INLINE void put_u8(uint8_t *q, v16 x, v16 by)
{
	i_store_u8(q, i_add(i_of(v_mul(x, by)), i_set1(GEMM8_ZERO)));
}

INLINE void quant_by(const float *x, size_t n16, float top, size_t k, uint8_t *q, float *scale)
{
	float inverse;
	gemm8_scales(top, scale, &inverse);
	v16 by = v_set1(inverse);
	for (size_t i = 0; i < n16; i += GEMM8_LANES) put_u8(q + i, v_load(x + i), by);
	if (k > n16) memset(q + n16, GEMM8_ZERO, k - n16);
}

static void quant(const float *x, size_t count, size_t n16, size_t k, uint8_t *q, float *scales)
{
	for (size_t c = 0; c < count; c++, x += n16, q += k) {
		v16 top = v_abs(v_load(x)), odd = top; /* two chains: a maximum waits for the one before */
		size_t i = GEMM8_LANES;
		for (; i + 2 * GEMM8_LANES <= n16; i += 2 * GEMM8_LANES) {
			top = v_max(top, v_abs(v_load(x + i)));
			odd = v_max(odd, v_abs(v_load(x + i + GEMM8_LANES)));
		}
		if (i < n16) top = v_max(top, v_abs(v_load(x + i)));
		quant_by(x, n16, v_top(v_max(top, odd)), k, q, &scales[c]);
	}
}

static void norm(float *x, const float *add, size_t dim, const struct gemm8_norm *n, size_t k, uint8_t *q, float *scale)
{
	const v16 zero = v_set1(0);
	v16 sum = zero, top = zero;
	size_t n16 = gemm8_pad(dim, GEMM8_LANES);
	for (size_t i = 0; i < n16; i += GEMM8_LANES) {
		v16 v = v_load(x + i);
		if (add) {
			v = v_add(v, v_load(add + i));
			v_store(x + i, v);
		}
		sum = v_add(sum, v);
	}
	v16 mean = v_set1(v_sum(sum) / (float)dim);
	sum = zero;
	for (size_t i = 0; i < n16; i += GEMM8_LANES) {
		v16 v = v_keep(v_sub(v_load(x + i), mean), dim - i, zero);
		sum = v_fma(v, v, sum);
	}
	v16 by = v_set1(1 / sqrtf(v_sum(sum) / (float)dim + n->eps));
	for (size_t i = 0; i < n16; i += GEMM8_LANES) {
		v16 v = v_mul(v_sub(v_load(x + i), mean), by);
		v = v_fma(v, v_load(n->gamma + i), v_load(n->beta + i));
		v_store(x + i, v);
		top = v_max(top, v_abs(v));
	}
	quant_by(x, n16, v_top(top), k, q, scale);
}

/* ---- linear layers ---- */

INLINE v16 gelu(v16 x, const float *p)
{
	v16 edge = v_set1(GEMM8_GELU_EDGE), t = v_max(v_min(x, edge), v_sub(v_set1(0), edge));
	v16 s = v_mul(t, t), sum = v_set1(p[0]);
	UNROLL
	for (int i = 1; i < GEMM8_GELU_TERMS; i++) sum = v_fma(sum, s, v_set1(p[i]));
	return v_mul(x, v_max(v_fma(t, sum, v_set1(0.5f)), v_set1(0)));
}

INLINE v16 activate(v16 v, enum gemm8_act act)
{
	switch (act) {
	case GEMM8_GELU: return gelu(v, gemm8_gelu_erf);
	case GEMM8_GELU_TANH: return gelu(v, gemm8_gelu_tanh);
	case GEMM8_RELU: return v_max(v, v_set1(0));
	default: return v;
	}
}

/* Sums c (rows, STEP_LANES) of panels from p on to y. */
INLINE void finish(const struct gemm8_matrix *w, size_t p, size_t panels, const int32_t *c, const float *scales,
	size_t rows, enum gemm8_act act, float *y, size_t ldy)
{
	const float *scale = w->scale + p * GEMM8_LANES, *bias = w->bias + p * GEMM8_LANES;
	for (size_t r = 0; r < rows; r++) {
		v16 unit = v_set1(scales[r]);
		for (size_t j = 0; j < panels * GEMM8_LANES; j += GEMM8_LANES) {
			v16 v = v_fma(v_of(i_load(c + r * STEP_LANES + j)), v_mul(unit, v_load(scale + j)), v_load(bias + j));
			v_store(y + r * ldy + p * GEMM8_LANES + j, activate(v, act));
		}
	}
}

static void linear(const struct gemm8_matrix *w, size_t p0, size_t p1, const uint8_t *a, const float *scales, size_t rows,
	enum gemm8_act act, float *y, size_t ldy)
{
	_Alignas(64) int32_t c[LINEAR_ROWS * STEP_LANES];
	for (size_t p = p0; p < p1; p += STEP) {
		size_t panels = p1 - p < STEP ? p1 - p : STEP;
		for (size_t r = 0; r < rows; r += LINEAR_ROWS) {
			size_t m = rows - r < LINEAR_ROWS ? rows - r : LINEAR_ROWS;
			dot(a + r * w->k, w->k, m, w->data + p * GEMM8_LANES * w->k, w->start + p * GEMM8_LANES, panels, w->k, c,
				STEP_LANES);
			switch (act) { /* each with a loop of its own */
			case GEMM8_NONE: finish(w, p, panels, c, scales + r, m, GEMM8_NONE, y + r * ldy, ldy); break;
			case GEMM8_GELU: finish(w, p, panels, c, scales + r, m, GEMM8_GELU, y + r * ldy, ldy); break;
			case GEMM8_GELU_TANH: finish(w, p, panels, c, scales + r, m, GEMM8_GELU_TANH, y + r * ldy, ldy); break;
			case GEMM8_RELU: finish(w, p, panels, c, scales + r, m, GEMM8_RELU, y + r * ldy, ldy); break;
			}
		}
	}
}

/* ---- attention ---- */

/* Keys become panels of 16, as weights are. */
static void keys_pack(const struct gemm8_head *h, const struct gemm8_attend *s)
{
	const uint32_t flip = GEMM8_ZERO * 0x01010101u;
	memset(s->keys, 0, s->rows16 * s->dk);
	for (size_t r = 0; r < h->rows; r++) {
		int8_t *panel = s->keys + r / GEMM8_LANES * GEMM8_LANES * s->dk + r % GEMM8_LANES * 4;
		const uint8_t *key = h->k + r * h->ld8;
		for (size_t i = 0; i < s->dv; i += 4) {
			uint32_t four;
			memcpy(&four, key + i, 4);
			four ^= flip;
			memcpy(panel + i * GEMM8_LANES, &four, 4);
		}
		s->key_scale[r] = h->k_scale[r * h->lds];
	}
	for (size_t r = 0; r < s->rows16; r += GEMM8_LANES) {
		i16 sum = i_set1(0);
		for (size_t i = 0; i < s->dv; i += 4) {
			i16 four = i_load((const int32_t *)(const void *)(s->keys + r * s->dk + i * GEMM8_LANES));
			sum = i_add(sum, i_add(i_sra(i_shl(four, 24), 24), i_sra(i_shl(four, 16), 24)));
			sum = i_add(sum, i_add(i_sra(i_shl(four, 8), 24), i_sra(four, 24)));
		}
		i_store(s->key_start + r, i_sub(i_set1(0), i_shl(sum, 7)));
	}
	for (size_t r = h->rows; r < s->rows16; r++) s->key_scale[r] = 0;
}

INLINE i16 value_int(const struct gemm8_head *h, size_t r, size_t at, v16 by)
{
	return r < h->rows ? i_of(v_mul(v_load(h->v + r * h->ldv + at), by)) : i_set1(0);
}

/* Values: a column of the head is an output, the rows of the text are k. */
static void values_pack(const struct gemm8_head *h, const struct gemm8_attend *s)
{
	const i16 byte = i_set1(255);
	for (size_t at = 0; at < s->dv; at += GEMM8_LANES) {
		int8_t *panel = s->values + at * s->rows64;
		_Alignas(64) float top[GEMM8_LANES], by[GEMM8_LANES];
		v16 max = v_set1(0);
		i16 total = i_set1(0);
		for (size_t r = 0; r < h->rows; r++) max = v_max(max, v_abs(v_load(h->v + r * h->ldv + at)));
		v_store(top, max);
		for (size_t i = 0; i < GEMM8_LANES; i++) gemm8_scales(top[i], &s->value_scale[at + i], &by[i]);
		max = v_load(by);
		for (size_t r = 0; r < s->rows64; r += 4) {
			i16 a = value_int(h, r, at, max), b = value_int(h, r + 1, at, max);
			i16 c = value_int(h, r + 2, at, max), d = value_int(h, r + 3, at, max);
			total = i_add(total, i_add(i_add(a, b), i_add(c, d)));
			a = i_or(i_and(a, byte), i_shl(i_and(b, byte), 8));
			c = i_or(i_shl(i_and(c, byte), 16), i_shl(d, 24));
			i_store(panel + r * GEMM8_LANES, i_or(a, c));
		}
		i_store(s->value_start + at, i_sub(i_set1(0), i_shl(total, 7)));
	}
}

/* 2^t for t from -126 to 126: 2^round(t) comes by adding to the exponent, the rest by a polynomial. */
INLINE v16 exp2_of(v16 t)
{
	const v16 magic = v_set1(12582912.0f); /* 3 * 2^22: the integer lands in the low bits */
	v16 n = v_add(t, magic), f = v_sub(t, v_sub(n, magic)), p = v_set1(gemm8_exp2[0]);
	UNROLL
	for (int i = 1; i < GEMM8_EXP2_TERMS; i++) p = v_fma(p, f, v_set1(gemm8_exp2[i]));
	return v_bits(i_add(i_bits(p), i_shl(i_bits(n), 23)));
}

INLINE i16 weights_of(const float *scores, v16 scale, v16 base)
{
	return i_of(exp2_of(v_max(v_fma(v_load(scores), scale, base), v_set1(GEMM8_EXP2_LEAST))));
}

/* Sums c (rows16) of one query to weights p (rows64); the sum of the weights. */
static int32_t softmax(const struct gemm8_attend *s, size_t n, int32_t *c, float by, uint8_t *p)
{
	float *scores = (float *)c;
	v16 top = v_set1(-INFINITY);
	i16 sum = i_set1(0);
	size_t i = 0;
	for (; i + GEMM8_LANES <= n; i += GEMM8_LANES) {
		v16 v = v_mul(v_of(i_load(c + i)), v_load(s->key_scale + i));
		v_store(scores + i, v);
		top = v_max(top, v);
	}
	if (i < n) { /* keys that are not there weigh nothing */
		v16 v = v_keep(v_mul(v_of(i_load(c + i)), v_load(s->key_scale + i)), n - i, v_set1(-INFINITY));
		v_store(scores + i, v);
		top = v_max(top, v);
	}
	v16 scale = v_set1(by), base = v_set1(GEMM8_LOG2_255 - v_top(top) * by);
	for (i = 0; i + 4 * GEMM8_LANES <= s->rows16; i += 4 * GEMM8_LANES) {
		i16 a = weights_of(scores + i, scale, base), b = weights_of(scores + i + GEMM8_LANES, scale, base);
		i16 d = weights_of(scores + i + 2 * GEMM8_LANES, scale, base);
		sum = i_store_u8x4(p + i, a, b, d, weights_of(scores + i + 3 * GEMM8_LANES, scale, base), sum);
	}
	for (; i < n; i += GEMM8_LANES) {
		i16 a = weights_of(scores + i, scale, base);
		sum = i_add(sum, a);
		i_store_u8(p + i, a);
	}
	return i_sum(sum);
}

static void attend(const struct gemm8_head *h, void *scratch)
{
	struct gemm8_attend s;
	float by[GEMM8_ROWS];
	int32_t sum[GEMM8_ROWS];
	float unit = GEMM8_LOG2_E / sqrtf((float)h->dim);
	gemm8_attend_lay(&s, h->rows, h->dim, scratch);
	s.dk = gemm8_pad(h->dim, DOT_K);
	keys_pack(h, &s);
	values_pack(h, &s);
	for (size_t i = 0; i < GEMM8_ROWS; i++) memset(s.weights + i * s.ldw + s.rows16, 0, s.rows64 - s.rows16);
	for (size_t r = 0; r < h->rows; r += GEMM8_ROWS) {
		size_t m = h->rows - r < GEMM8_ROWS ? h->rows - r : GEMM8_ROWS;
		for (size_t i = 0; i < m; i++) by[i] = h->q_scale[(r + i) * h->lds] * unit;
		dot(h->q + r * h->ld8, h->ld8, m, s.keys, s.key_start, s.rows16 / GEMM8_LANES, s.dk, s.sums, s.lds);
		for (size_t i = 0; i < m; i++)
			sum[i] = softmax(&s, h->rows, s.sums + i * s.lds, by[i], s.weights + i * s.ldw);
		dot(s.weights, s.ldw, m, s.values, s.value_start, s.dv / GEMM8_LANES, s.rows64, s.sums, s.dv);
		for (size_t at = 0; at < s.dv; at += GEMM8_LANES) {
			v16 scale = v_load(s.value_scale + at);
			i16 start = i_load(s.value_start + at);
			for (size_t i = 0; i < m; i++) {
				v16 v = v_of(i_sub(i_load(s.sums + i * s.dv + at), start));
				v_store(h->out + (r + i) * h->ldo + at, v_mul(v, v_mul(scale, v_set1(1 / (float)sum[i]))));
			}
		}
	}
}

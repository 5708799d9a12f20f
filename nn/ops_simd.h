/* ops_simd.h: the bodies of the vector kernels, written once over a vector of LANES floats. ops_avx2.c and ops_avx512.c
 * define V, LANES and the v_* operations and include this; it is no interface.
 *
 * One rule keeps every kernel batch-invariant: an output element of matmul has one vector of LANES running sums; lane l
 * takes the terms l, l+LANES, l+2*LANES … in that order with one FMA each, and v_sum4 adds the lanes at the end in a
 * fixed tree. So the two ways through matmul agree to the bit: a single token (decoding) multiplies four rows at a
 * time straight from the file's weights; several tokens (a prompt) widen a tile of rows to floats, small enough for
 * the first-level cache, and multiply it with all tokens in blocks of 4 rows by V_TOKENS tokens whose sums stay in
 * registers; between tiles along k the sums rest in scratch. */
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include "nn/ops.h"
#include "nn/quant.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8") /* loops of fixed, small counts, whose arrays must become registers */

/* Asks for `bytes` bytes at offset `at` of four rows. Rows are too short for the hardware to notice a stream, and a
 * weight is read once a token, from memory: without this a decoding core waits half of its time. */
INLINE void fetch(const uint8_t *const row[4], size_t at, size_t bytes)
{
	UNROLL for (int r = 0; r < 4; r++)
		for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)row[r] + at + i, _MM_HINT_T0);
}

/* For each type of LOAD: dot4_T, four rows by one token, and unpack_T, weights of one row to floats. */
#define FLOAT_KERNELS(T, LOAD, BYTES) \
static void dot4_##T(const uint8_t *const row[4], size_t k, size_t ahead, const float *x, float *y) \
{ \
	V acc[4] = { v_zero(), v_zero(), v_zero(), v_zero() }; \
	for (size_t i = 0; i < k; i += LANES) { \
		fetch(row, i * BYTES + ahead, LANES * BYTES); \
		UNROLL for (int r = 0; r < 4; r++) acc[r] = v_fma(LOAD(row[r] + i * BYTES), v_load(x + i), acc[r]); \
	} \
	_mm_storeu_ps(y, v_sum4(acc[0], acc[1], acc[2], acc[3])); \
} \
static void unpack_##T(const uint8_t *row, size_t k, float *out) \
{ \
	for (size_t i = 0; i < k; i += LANES) v_store(out + i, LOAD(row + i * BYTES)); \
}
#define load_f32(p) v_load((const float *)(const void *)(p))
FLOAT_KERNELS(f32, load_f32, 4)
FLOAT_KERNELS(f16, v_f16, 2)
FLOAT_KERNELS(bf16, v_bf16, 2)

struct kernels {
	void (*dot4)(const uint8_t *const row[4], size_t k, size_t ahead, const float *x, float *y);
	void (*unpack)(const uint8_t *row, size_t k, float *out);
};

static struct kernels kernels_of(uint32_t type)
{
	switch (type) {
	case QUANT_F16: return (struct kernels){ dot4_f16, unpack_f16 };
	case QUANT_BF16: return (struct kernels){ dot4_bf16, unpack_bf16 };
	default: return (struct kernels){ dot4_f32, unpack_f32 };
	}
}

/* One token: four rows at a time; a last group that is not full repeats its last row. */
static void matvec(struct kernels kn, const struct matrix *w, size_t r0, size_t r1, const float *x, float *y)
{
	for (size_t r = r0; r < r1; r += 4) {
		const uint8_t *row[4];
		float out[4];
		size_t n = r1 - r < 4 ? r1 - r : 4;
		for (size_t i = 0; i < 4; i++) row[i] = w->data + (r + (i < n ? i : n - 1)) * w->row_bytes;
		kn.dot4(row, w->k, 4 * w->row_bytes, x, out);
		memcpy(y + r, out, n * sizeof *out);
	}
}

/* Adds k terms to the sums of 4 rows (w, OPS_TILE_K apart) by `tokens` tokens (x, ldx apart); acc: (token, row)
 * vectors. */
INLINE void block(const float *w, const float *x, size_t ldx, size_t k, float *acc, int tokens)
{
	V sum[V_TOKENS][4];
	UNROLL for (int t = 0; t < tokens; t++)
		UNROLL for (int r = 0; r < 4; r++) sum[t][r] = v_load(acc + (t * OPS_TILE_ROWS + r) * LANES);
	for (size_t i = 0; i < k; i += LANES) {
		V w0 = v_load(w + i), w1 = v_load(w + OPS_TILE_K + i);
		V w2 = v_load(w + 2 * OPS_TILE_K + i), w3 = v_load(w + 3 * OPS_TILE_K + i);
		UNROLL for (int t = 0; t < tokens; t++) {
			V xv = v_load(x + (size_t)t * ldx + i);
			sum[t][0] = v_fma(w0, xv, sum[t][0]);
			sum[t][1] = v_fma(w1, xv, sum[t][1]);
			sum[t][2] = v_fma(w2, xv, sum[t][2]);
			sum[t][3] = v_fma(w3, xv, sum[t][3]);
		}
	}
	UNROLL for (int t = 0; t < tokens; t++)
		UNROLL for (int r = 0; r < 4; r++) v_store(acc + (t * OPS_TILE_ROWS + r) * LANES, sum[t][r]);
}

static void tile_block(const float *w, size_t rows, const float *x, size_t ldx, size_t n, size_t k, float *acc)
{
	for (size_t t = 0; t < n; t += V_TOKENS)
		for (size_t r = 0; r < rows; r += 4) {
			const float *wr = w + r * OPS_TILE_K, *xt = x + t * ldx;
			float *a = acc + (t * OPS_TILE_ROWS + r) * LANES;
			switch (n - t < V_TOKENS ? n - t : V_TOKENS) {
			case 1: block(wr, xt, ldx, k, a, 1); break;
			case 2: block(wr, xt, ldx, k, a, 2); break;
#if V_TOKENS > 3
			case 3: block(wr, xt, ldx, k, a, 3); break;
			case 4: block(wr, xt, ldx, k, a, 4); break;
			case 5: block(wr, xt, ldx, k, a, 5); break;
#endif
			default: block(wr, xt, ldx, k, a, V_TOKENS); break;
			}
		}
}

/* rows <= OPS_TILE_ROWS rows from r by n tokens. */
static void tile(struct kernels kn, const struct matrix *w, size_t r, size_t rows, const float *x, size_t ldx, size_t n,
	float *y, size_t ldy, float *scratch)
{
	float *acc = scratch + OPS_TILE_ROWS * OPS_TILE_K, out[4];
	size_t weight_bytes = quant_block_bytes(w->type), full = (rows + 3) / 4 * 4;
	memset(acc, 0, n * OPS_TILE_ROWS * LANES * sizeof *acc);
	for (size_t at = 0; at < w->k; at += OPS_TILE_K) {
		size_t k = w->k - at < OPS_TILE_K ? w->k - at : OPS_TILE_K;
		for (size_t i = 0; i < rows; i++)
			kn.unpack(w->data + (r + i) * w->row_bytes + at * weight_bytes, k, scratch + i * OPS_TILE_K);
		for (size_t i = rows; i < full; i++) memset(scratch + i * OPS_TILE_K, 0, k * sizeof *scratch);
		tile_block(scratch, full, x + at, ldx, n, k, acc);
	}
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < rows; i += 4) {
			const float *a = acc + (t * OPS_TILE_ROWS + i) * LANES;
			_mm_storeu_ps(out, v_sum4(v_load(a), v_load(a + LANES), v_load(a + 2 * LANES), v_load(a + 3 * LANES)));
			memcpy(y + t * ldy + r + i, out, (rows - i < 4 ? rows - i : 4) * sizeof *out);
		}
}

static void simd_matmul(const struct matrix *w, size_t r0, size_t r1, const float *x, size_t ldx, size_t n, float *y,
	size_t ldy, float *scratch)
{
	struct kernels kn = kernels_of(w->type);
	if (n == 1) {
		matvec(kn, w, r0, r1, x, y);
		return;
	}
	for (size_t r = r0; r < r1; r += OPS_TILE_ROWS)
		tile(kn, w, r, r1 - r < OPS_TILE_ROWS ? r1 - r : OPS_TILE_ROWS, x, ldx, n, y, ldy, scratch);
}

INLINE float sum_lanes(V v)
{
	return _mm_cvtss_f32(v_sum4(v, v_zero(), v_zero(), v_zero()));
}

static void simd_norm(const float *x, const float *w, size_t n, float eps, float *y)
{
	V sum = v_zero(), inv;
	for (size_t i = 0; i < n; i += LANES) sum = v_fma(v_load(x + i), v_load(x + i), sum);
	inv = v_set1(1 / sqrtf(sum_lanes(sum) / (float)n + eps));
	for (size_t i = 0; i < n; i += LANES) v_store(y + i, v_mul(v_mul(v_load(x + i), inv), v_load(w + i)));
}

/* exp(x): x = n ln 2 + r, |r| <= ln 2 / 2, and a polynomial of degree 6 for e^r (Cephes expf, Moshier); about 2 ulp.
 * Below -87 the result is near FLT_MIN instead of smaller; above 88 it is held at e^88. NaN stays NaN. */
INLINE V v_exp(V x)
{
	V n, r, p;
	x = v_max(v_set1(-87.0f), v_min(v_set1(88.0f), x));
	n = v_round(v_mul(x, v_set1(1.44269504088896341f)));
	r = v_fma(n, v_set1(-0.693359375f), x);
	r = v_fma(n, v_set1(2.12194440e-4f), r);
	p = v_fma(v_set1(1.9875691500e-4f), r, v_set1(1.3981999507e-3f));
	p = v_fma(p, r, v_set1(8.3334519073e-3f));
	p = v_fma(p, r, v_set1(4.1665795894e-2f));
	p = v_fma(p, r, v_set1(1.6666665459e-1f));
	p = v_fma(p, r, v_set1(5.0000001201e-1f));
	p = v_add(v_fma(v_mul(r, r), p, r), v_set1(1.0f));
	return v_mul(p, v_pow2(n));
}

static void simd_silu_mul(const float *gate, const float *up, size_t n, float *out)
{
	const V one = v_set1(1.0f), zero = v_zero();
	for (size_t i = 0; i < n; i += LANES) {
		V g = v_load(gate + i);
		v_store(out + i, v_mul(v_div(g, v_add(one, v_exp(v_sub(zero, g)))), v_load(up + i)));
	}
}

/* (1 + tanh(u)) / 2 is 1 / (1 + exp(-2u)). */
static void simd_gelu_mul(const float *gate, const float *up, size_t n, float *out)
{
	const V one = v_set1(1.0f), linear = v_set1(-2 * 0.79788456080286536f), cubic = v_set1(-2 * 0.79788456080286536f *
		0.044715f);
	for (size_t i = 0; i < n; i += LANES) {
		V g = v_load(gate + i), u = v_mul(g, v_fma(v_mul(g, g), cubic, linear));
		v_store(out + i, v_mul(v_div(g, v_add(one, v_exp(u))), v_load(up + i)));
	}
}

static void simd_halves(const float *x, size_t n, uint16_t *out)
{
	for (size_t i = 0; i < n; i += 8)
		_mm_storeu_si128((__m128i *)(void *)(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
}

/* gemm8_plain.c: the specification of gemm8.h in plain loops. Slow; what the tests hold the other tables to, bit for
 * bit. Built without contraction: a product and a sum are one rounding where fmaf says so, and nowhere else. */
#include <math.h>
#include <string.h>
#include "nn/gemm8.h"
#include "nn/gemm8_inside.h"

static void nothing(void)
{
}

static float lanes_sum(float *lane)
{
	for (int half = GEMM8_LANES / 2; half > 0; half /= 2)
		for (int l = 0; l < half; l++) lane[l] += lane[l + half];
	return lane[0];
}

static void quant_one(const float *x, size_t n16, size_t k, uint8_t *q, float *scale)
{
	float top = 0, by;
	for (size_t i = 0; i < n16; i++) top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
	gemm8_scales(top, scale, &by);
	memset(q, GEMM8_ZERO, k);
	for (size_t i = 0; i < n16; i++) q[i] = (uint8_t)(lrintf(x[i] * by) + GEMM8_ZERO);
}

static void quant(const float *x, size_t count, size_t n16, size_t k, uint8_t *q, float *scales)
{
	for (size_t i = 0; i < count; i++) quant_one(x + i * n16, n16, k, q + i * k, &scales[i]);
}

static void norm(float *x, const float *add, size_t dim, const struct gemm8_norm *n, size_t k, uint8_t *q, float *scale)
{
	float lane[GEMM8_LANES] = {0}, mean, by;
	for (size_t i = 0; i < dim; i++) {
		if (add) x[i] += add[i];
		lane[i % GEMM8_LANES] += x[i];
	}
	mean = lanes_sum(lane) / (float)dim;
	memset(lane, 0, sizeof lane);
	for (size_t i = 0; i < dim; i++) lane[i % GEMM8_LANES] = fmaf(x[i] - mean, x[i] - mean, lane[i % GEMM8_LANES]);
	by = 1 / sqrtf(lanes_sum(lane) / (float)dim + n->eps);
	for (size_t i = 0; i < dim; i++) x[i] = fmaf((x[i] - mean) * by, n->gamma[i], n->beta[i]);
	quant_one(x, gemm8_pad(dim, GEMM8_LANES), k, q, scale);
}

static float gelu(float x, const float *p)
{
	float t = x < GEMM8_GELU_EDGE ? x : GEMM8_GELU_EDGE, s, sum = p[0];
	t = t > -GEMM8_GELU_EDGE ? t : -GEMM8_GELU_EDGE;
	s = t * t;
	for (int i = 1; i < GEMM8_GELU_TERMS; i++) sum = fmaf(sum, s, p[i]);
	sum = fmaf(t, sum, 0.5f);
	return x * (sum > 0 ? sum : 0);
}

static float activate(float x, enum gemm8_act act)
{
	switch (act) {
	case GEMM8_GELU: return gelu(x, gemm8_gelu_erf);
	case GEMM8_GELU_TANH: return gelu(x, gemm8_gelu_tanh);
	case GEMM8_RELU: return x > 0 ? x : 0;
	default: return x;
	}
}

/* Byte of weight j of output i. */
static int weight(const int8_t *panels, size_t k, size_t i, size_t j)
{
	return panels[i / GEMM8_LANES * GEMM8_LANES * k + j / 4 * GEMM8_K + i % GEMM8_LANES * 4 + j % 4];
}

static void linear(const struct gemm8_matrix *w, size_t p0, size_t p1, const uint8_t *a, const float *scales, size_t rows,
	enum gemm8_act act, float *y, size_t ldy)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t i = p0 * GEMM8_LANES; i < p1 * GEMM8_LANES; i++) {
			int32_t sum = 0;
			for (size_t j = 0; j < w->k; j++) sum += (a[r * w->k + j] - GEMM8_ZERO) * weight(w->data, w->k, i, j);
			y[r * ldy + i] = activate(fmaf((float)sum, scales[r] * w->scale[i], w->bias[i]), act);
		}
}

/* 2^t: the power of the nearest integer, and a polynomial for the rest. */
static float exp2_of(float t)
{
	float n = rintf(t), f = t - n, p = gemm8_exp2[0];
	for (int i = 1; i < GEMM8_EXP2_TERMS; i++) p = fmaf(p, f, gemm8_exp2[i]);
	return ldexpf(p, (int)n);
}

/* Weights of one query's scores. */
static int32_t softmax(const float *scores, size_t n, float by, uint8_t *weights)
{
	float top = scores[0], base;
	int32_t sum = 0;
	for (size_t i = 1; i < n; i++) top = scores[i] > top ? scores[i] : top;
	base = GEMM8_LOG2_255 - top * by;
	for (size_t i = 0; i < n; i++) {
		float t = fmaf(scores[i], by, base);
		weights[i] = (uint8_t)lrintf(exp2_of(t > GEMM8_EXP2_LEAST ? t : GEMM8_EXP2_LEAST));
		sum += weights[i];
	}
	return sum;
}

/* The scratch is laid out as for the other tables; values (rows, dv) and sums, as floats, are used in a plainer way. */
static void attend(const struct gemm8_head *h, void *scratch)
{
	struct gemm8_attend s;
	gemm8_attend_lay(&s, h->rows, h->dim, scratch);
	for (size_t i = 0; i < s.dv; i++) {
		float top = 0, by;
		for (size_t r = 0; r < h->rows; r++) top = fmaxf(top, fabsf(h->v[r * h->ldv + i]));
		gemm8_scales(top, &s.value_scale[i], &by);
		for (size_t r = 0; r < h->rows; r++) s.values[r * s.dv + i] = (int8_t)lrintf(h->v[r * h->ldv + i] * by);
	}
	for (size_t r = 0; r < h->rows; r++) {
		float *scores = (float *)s.sums;
		for (size_t t = 0; t < h->rows; t++) {
			int32_t sum = 0;
			for (size_t i = 0; i < s.dv; i++)
				sum += (h->q[r * h->ld8 + i] - GEMM8_ZERO) * (h->k[t * h->ld8 + i] - GEMM8_ZERO);
			scores[t] = (float)sum * h->k_scale[t * h->lds];
		}
		int32_t total = softmax(scores, h->rows, h->q_scale[r * h->lds] * (GEMM8_LOG2_E / sqrtf((float)h->dim)), s.weights);
		for (size_t i = 0; i < s.dv; i++) {
			int32_t sum = 0;
			for (size_t t = 0; t < h->rows; t++) sum += s.weights[t] * s.values[t * s.dv + i];
			h->out[r * h->ldo + i] = (float)sum * (s.value_scale[i] * (1 / (float)total));
		}
	}
}

const struct gemm8 gemm8_plain = { "plain", nothing, nothing, quant, norm, linear, attend };

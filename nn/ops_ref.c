/* ops_ref.c: the specification of every kernel, in plain loops with sums in double. Slow on purpose. */
#include <math.h>
#include "nn/ops.h"
#include "nn/quant.h"

static void ref_matmul(const struct matrix *w, size_t r0, size_t r1, const float *x, size_t ldx, size_t n, float *y,
	size_t ldy, float *scratch)
{
	for (size_t r = r0; r < r1; r++) {
		quant_row(w->type, w->data + r * w->row_bytes, w->k, scratch);
		for (size_t t = 0; t < n; t++) {
			double sum = 0;
			for (size_t i = 0; i < w->k; i++) sum += (double)scratch[i] * (double)x[t * ldx + i];
			y[t * ldy + r] = (float)sum;
		}
	}
}

static void ref_norm(const float *x, const float *w, size_t n, float eps, float *y)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
	double inv = 1 / sqrt(sum / (double)n + (double)eps);
	for (size_t i = 0; i < n; i++) y[i] = (float)((double)x[i] * inv) * w[i];
}

static void ref_silu_mul(const float *gate, const float *up, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++) out[i] = (float)((double)gate[i] / (1 + exp(-(double)gate[i]))) * up[i];
}

static void ref_gelu_mul(const float *gate, const float *up, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++) {
		double g = (double)gate[i];
		out[i] = (float)(g / 2 * (1 + tanh(0.79788456080286535588 * (g + 0.044715 * g * g * g)))) * up[i];
	}
}

static void ref_attend(const float *q, const float *k, const float *v, size_t n, size_t head_dim, float scale,
	float *scores, float *out)
{
	double max = -INFINITY, sum = 0;
	for (size_t j = 0; j < n; j++) {
		double dot = 0;
		for (size_t i = 0; i < head_dim; i++) dot += (double)q[i] * (double)k[j * head_dim + i];
		scores[j] = (float)(dot * (double)scale);
		if ((double)scores[j] > max) max = (double)scores[j];
	}
	for (size_t j = 0; j < n; j++) {
		scores[j] = (float)exp((double)scores[j] - max);
		sum += (double)scores[j];
	}
	for (size_t i = 0; i < head_dim; i++) {
		double acc = 0;
		for (size_t j = 0; j < n; j++) acc += (double)scores[j] * (double)v[j * head_dim + i];
		out[i] = (float)(acc / sum);
	}
}

const struct ops ops_ref = { "ref", ref_matmul, ref_norm, ref_silu_mul, ref_gelu_mul, ref_attend };

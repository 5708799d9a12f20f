/* ops_ref.c: the specification of every kernel, in plain loops with sums in double. Slow on purpose. */
#include <float.h>
#include <math.h>
#include <string.h>
#include "nn/ops.h"
#include "nn/ops_inside.h"
#include "nn/pack.h"
#include "nn/quant.h"

/* Sums whose additions do not wait for each other: tests run whole models through this. */
enum { SIDE_BY_SIDE = 8 };

static void ref_matmul(const struct matrix *w, size_t r0, size_t r1, const float *x, size_t ldx, size_t n, float *y,
	size_t ldy, float *scratch)
{
	for (size_t r = r0; r < r1; r++) {
		quant_row(w->type, w->data + r * w->row_bytes, w->k, scratch);
		for (size_t t = 0; t < n; t++) {
			double sum[SIDE_BY_SIDE] = { 0 };
			for (size_t i = 0; i < w->k; i += SIDE_BY_SIDE)
				for (size_t j = 0; j < SIDE_BY_SIDE; j++)
					sum[j] += (double)scratch[i + j] * (double)x[t * ldx + i + j];
			for (size_t j = 1; j < SIDE_BY_SIDE; j++) sum[0] += sum[j];
			y[t * ldy + r] = (float)sum[0];
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

/* The key of a position; its value lies kv->len * head_dim further. */
static const uint16_t *ref_row(const struct ops_pages *kv, size_t pos, size_t head_dim)
{
	return kv->base + kv->page[pos / kv->len] * kv->stride + pos % kv->len * head_dim;
}

/* One query over n positions from `first` on. scores: n floats. */
static void ref_query(const float *q, const struct ops_pages *kv, size_t first, size_t n, size_t head_dim, float scale,
	float *scores, float *out)
{
	double max = -INFINITY, sum = 0;
	for (size_t j = 0; j < n; j++) {
		const uint16_t *k = ref_row(kv, first + j, head_dim);
		double dot = 0;
		for (size_t i = 0; i < head_dim; i++) dot += (double)q[i] * (double)quant_half(k[i]);
		scores[j] = (float)(dot * (double)scale);
		if ((double)scores[j] > max) max = (double)scores[j];
	}
	for (size_t j = 0; j < n; j++) {
		scores[j] = (float)exp((double)scores[j] - max);
		sum += (double)scores[j];
	}
	for (size_t i = 0; i < head_dim; i++) {
		double acc = 0;
		for (size_t j = 0; j < n; j++)
			acc += (double)scores[j] * (double)quant_half(ref_row(kv, first + j, head_dim)[kv->len * head_dim + i]);
		out[i] = (float)(acc / sum);
	}
}

static void ref_attend(const struct ops_attend *a, void *scratch)
{
	for (size_t t = 0; t < a->tokens; t++) {
		size_t n = a->pos + t + 1, first = a->window && n > a->window ? n - a->window : 0;
		for (size_t h = 0; h < a->heads; h++)
			ref_query(a->q + t * a->ldq + h * a->head_dim, a->kv, first, n - first, a->head_dim, a->scale, scratch,
				a->out + t * a->ldo + h * a->head_dim);
	}
}

static uint16_t ref_half(float f)
{
	uint32_t x, sign, m, rest, half;
	int e;
	memcpy(&x, &f, sizeof x);
	sign = x >> 16 & 0x8000;
	e = (int)(x >> 23 & 255) - 127;
	m = x & 0x7fffff;
	if (e == 128) return (uint16_t)(sign | 0x7c00 | (m ? 0x200 | m >> 13 : 0)); /* infinity; NaN, made quiet */
	if (e < -25) return (uint16_t)sign;
	if (e < -14) {                                  /* a subnormal half: multiples of 2^-24 */
		m |= 0x800000;
		half = m >> (-1 - e);
		rest = m << (33 + e);                   /* what is cut off, at the top of 32 bits */
	} else {
		half = (uint32_t)(e + 15) << 10 | m >> 13;
		rest = m << 19;
	}
	half += rest > 0x80000000u || (rest == 0x80000000u && (half & 1)); /* a carry goes into the exponent, as it should */
	return (uint16_t)(sign | (half > 0x7c00 ? 0x7c00 : half));
}

static void ref_halves(const float *x, size_t n, uint16_t *out)
{
	for (size_t i = 0; i < n; i++) out[i] = ref_half(x[i]);
}

size_t ops_plain_act_bytes(size_t k)
{
	return k / PACK_GROUP * sizeof(struct act_group);
}

void ops_plain_act(const float *x, size_t k, void *out)
{
	struct act_group *g = out;
	for (; k; k -= PACK_GROUP, x += PACK_GROUP, g++) {
		float max = 0;
		for (int i = 0; i < PACK_GROUP; i++)
			if (!(fabsf(x[i]) <= max) && !isnan(max)) max = fabsf(x[i]);
		memset(g, 0, sizeof *g);
		g->scale = max < 0x1p-100f ? 0 : max / 127;
		if (max >= 0x1p-100f && max <= FLT_MAX)
			for (int i = 0; i < PACK_GROUP; i++) {
				g->q[i] = (int8_t)lrintf(x[i] * (127 / max));
				g->minus[i / 16] -= g->q[i];
			}
		g->minus[2] = g->minus[0] + g->minus[1];
		g->sum = g->scale * (float)-g->minus[2];
	}
}

static float plain_dot(const struct packed *p, size_t panel, size_t row, const struct act_group *x)
{
	const int parts = p->type == QUANT_Q6_K ? 2 : 1;        /* of a group, each with its scale */
	struct pack_form form = pack_form(p->type);
	struct pack_group g;
	float acc = 0;
	for (size_t i = 0; i < p->k / PACK_GROUP; i++) {
		pack_group(p, panel, i, &g);
		for (int part = 0; part < parts; part++) {
			int isum = 0;
			for (int j = part * 16; j < (part + 1) * PACK_GROUP / parts; j++) isum += (g.q[row][j] - g.zero) * x[i].q[j];
			acc = fmaf((float)isum, g.scale[part][row] * x[i].scale, acc);
		}
		if (form.has_min) acc = fmaf(-g.min[row], x[i].sum, acc);
	}
	return acc;
}

void ops_plain_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y,
	size_t ldy, void *scratch)
{
	const struct act_group *x = acts;
	(void)scratch;
	for (size_t t = 0; t < n; t++)
		for (size_t r = panel0 * PACK_ROWS; r < panel1 * PACK_ROWS && r < p->rows; r++)
			y[t * ldy + r - panel0 * PACK_ROWS] = plain_dot(p, r / PACK_ROWS, r % PACK_ROWS, x + t * (p->k / PACK_GROUP));
}

size_t plain_prompt_bytes(size_t k, size_t n)
{
	return n * ops_plain_act_bytes(k);
}

static float flush(float f)
{
	return fabsf(f) < FLT_MIN ? copysignf(0, f) : f;
}

static uint16_t plain_bf16(float f)
{
	uint32_t x;
	f = flush(f);
	memcpy(&x, &f, sizeof x);
	if (isnan(f)) return (uint16_t)(x >> 16 | 0x40);
	return (uint16_t)((x + 0x7fff + (x >> 16 & 1)) >> 16);
}

/* Where x[i] of token t lies: tiles of 16 tokens by 32 k, those of 16 tokens together. */
static size_t prompt_at(size_t k, size_t t, size_t i)
{
	enum { TOKENS = 16 };
	return (t / TOKENS * (k / PACK_GROUP) + i / PACK_GROUP) * TOKENS * PACK_GROUP + t % TOKENS * PACK_GROUP + i % PACK_GROUP;
}

void ops_plain_prompt_act(const float *x, size_t from, size_t count, size_t k, size_t t, void *acts)
{
	for (size_t i = 0; i < count; i++) ((uint16_t *)acts)[prompt_at(k, t, from + i)] = plain_bf16(x[i]);
}

static float plain_weight(const struct packed *p, const struct pack_group *g, size_t row, int i)
{
	const float magic = p->type == QUANT_Q8_0 ? 32768 : 128, scale = g->scale[i / 16][row];
	return quant_bf16(plain_bf16(fmaf(magic + g->q[row][i], scale, fmaf(-(magic + (float)g->zero), scale, -g->min[row]))));
}

static float plain_prompt_dot(const struct packed *p, size_t panel, size_t row, const uint16_t *acts, size_t t)
{
	struct pack_group g;
	float acc = 0;
	for (size_t k = 0; k < p->k; k += PACK_GROUP) {
		float sum[2] = { 0, 0 };
		pack_group(p, panel, k / PACK_GROUP, &g);
		for (int i = 0; i < PACK_GROUP; i++)
			sum[i % 2] = flush(fmaf(quant_bf16(acts[prompt_at(p->k, t, k + (size_t)i)]), plain_weight(p, &g, row, i), sum[i % 2]));
		acc = flush(acc + flush(sum[0] + sum[1]));
	}
	return acc;
}

void ops_plain_prompt_mul(const struct packed *p, size_t panel0, size_t panel1, const void *acts, size_t n, float *y,
	size_t ldy, void *scratch)
{
	(void)scratch;
	for (size_t t = 0; t < n; t++)
		for (size_t r = panel0 * PACK_ROWS; r < panel1 * PACK_ROWS && r < p->rows; r++)
			y[t * ldy + r - panel0 * PACK_ROWS] = plain_prompt_dot(p, r / PACK_ROWS, r % PACK_ROWS, acts, t);
}

const struct ops ops_ref = { "ref", ref_matmul, ref_norm, ref_silu_mul, ref_gelu_mul, ref_attend, ref_halves,
	NULL, NULL, NULL, NULL, NULL, NULL, ref_attend };

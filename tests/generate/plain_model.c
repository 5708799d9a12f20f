/* plain_model.c: owns the plain forward passes: one function an architecture, over a few helpers. Everything is
 * computed for all positions at once, layer by layer; only weights are rounded, as the file has them. */
#include "tests/generate/plain_model.h"
#include <math.h>
#include "base/mem.h"
#include "nn/quant.h"
#include "tests/test.h"

struct plain {
	const struct gguf *g;
	const struct model_spec *s;
	size_t n, layer;
	double *x;                       /* (n, dim) */
};

static double *zeros(size_t n)
{
	double *p = mem_calloc(n, sizeof *p);
	CHECK(p);
	return p;
}

static double *weights(const struct gguf *g, const char *name, size_t *k, size_t *rows)
{
	const struct gguf_tensor *t = gguf_tensor(g, name);
	double *w;
	float *f;
	CHECK_MSG(t != NULL, "no tensor %s", name);
	*k = t->dim[0];
	*rows = t->dim[1];
	w = zeros(*k * *rows);
	f = mem_alloc(*k * sizeof *f);
	for (size_t r = 0; r < *rows; r++) {
		quant_row(t->type, t->data + r * quant_row_bytes(t->type, *k), *k, f);
		for (size_t i = 0; i < *k; i++) w[r * *k + i] = (double)f[i];
	}
	mem_free(f);
	return w;
}

static double *layer_weights(const struct plain *p, const char *name, size_t *k, size_t *rows)
{
	char full[96];
	snprintf(full, sizeof full, "blk.%zu.%s", p->layer, name);
	return weights(p->g, full, k, rows);
}

/* (n, rows) = in (n, k) times the matrix, plus the bias when there is one. */
static double *times(const struct plain *p, const char *matrix, const char *bias, const double *in)
{
	size_t k, rows, m, one;
	double *w = layer_weights(p, matrix, &k, &rows), *b = bias ? layer_weights(p, bias, &m, &one) : NULL;
	double *out = zeros(p->n * rows);
	for (size_t t = 0; t < p->n; t++)
		for (size_t r = 0; r < rows; r++) {
			double sum = b ? b[r] : 0;
			for (size_t i = 0; i < k; i++) sum += w[r * k + i] * in[t * k + i];
			out[t * rows + r] = sum;
		}
	mem_free(w);
	mem_free(b);
	return out;
}

/* Root mean square norm of `count` runs of m numbers. */
static double *normed(const double *in, const double *w, size_t count, size_t m)
{
	double *out = zeros(count * m);
	for (size_t r = 0; r < count; r++) {
		double sum = 0;
		for (size_t i = 0; i < m; i++) sum += in[r * m + i] * in[r * m + i];
		for (size_t i = 0; i < m; i++) out[r * m + i] = in[r * m + i] / sqrt(sum / (double)m + 1e-6) * w[i];
	}
	return out;
}

/* The same with a layer's weights, over runs as long as they are. */
static double *layer_normed(const struct plain *p, const char *name, const double *in, size_t total)
{
	size_t m, one;
	double *w = layer_weights(p, name, &m, &one), *out = normed(in, w, total / m, m);
	mem_free(w);
	return out;
}

static void replace(double **old, double *new)
{
	mem_free(*old);
	*old = new;
}

/* Turns pairs (i, i + half) or neighbours of every head; factors divide the frequencies, or NULL. */
static void turn(const struct plain *p, double *x, size_t heads, double base, double linear, const double *factors,
	int neighbours)
{
	size_t hd = p->s->head_dim, half = hd / 2;
	for (size_t t = 0; t < p->n; t++)
		for (size_t h = 0; h < heads; h++)
			for (size_t i = 0; i < half; i++) {
				double angle = (double)t * pow(base, -(double)i / (double)half) / linear / (factors ? factors[i] : 1);
				double *a = x + (t * heads + h) * hd + (neighbours ? 2 * i : i), *b = neighbours ? a + 1 : a + half;
				double re = *a * cos(angle) - *b * sin(angle), im = *a * sin(angle) + *b * cos(angle);
				*a = re;
				*b = im;
			}
}

/* The nearest IEEE half, ties to even: keys and values rest as halves. */
static double half_of(double x)
{
	int e;
	if (x == 0) return x;
	frexp(x, &e);
	if (e < -13) e = -13;
	return ldexp(nearbyint(ldexp(x, 11 - e)), e - 11);
}

/* Causal attention of grouped queries; position t sees the last `window` positions up to itself. */
static double *attention(const struct plain *p, const double *q, const double *k, const double *v, size_t window,
	double scale)
{
	size_t hd = p->s->head_dim, heads = p->s->heads, kvs = p->s->kv_heads;
	double *out = zeros(p->n * heads * hd), *prob = zeros(p->n);
	for (size_t t = 0; t < p->n; t++)
		for (size_t h = 0; h < heads; h++) {
			size_t g = h * kvs / heads;
			double sum = 0;
			for (size_t j = 0; j <= t; j++) {
				double dot = 0;
				for (size_t i = 0; i < hd; i++) dot += q[(t * heads + h) * hd + i] * half_of(k[(j * kvs + g) * hd + i]);
				prob[j] = t - j < window ? exp(dot * scale) : 0;
				sum += prob[j];
			}
			for (size_t j = 0; j <= t; j++)
				for (size_t i = 0; i < hd; i++)
					out[(t * heads + h) * hd + i] += prob[j] / sum * half_of(v[(j * kvs + g) * hd + i]);
		}
	mem_free(prob);
	return out;
}

static double silu(double x) { return x / (1 + exp(-x)); }
static double gelu(double x) { return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

static double *feed_forward(const struct plain *p, const double *in, double (*act)(double))
{
	double *gate = times(p, "ffn_gate.weight", NULL, in), *up = times(p, "ffn_up.weight", NULL, in), *out;
	for (size_t i = 0; i < p->n * p->s->ff; i++) gate[i] = act(gate[i]) * up[i];
	out = times(p, "ffn_down.weight", NULL, gate);
	mem_free(gate);
	mem_free(up);
	return out;
}

static void add_in(const struct plain *p, double *y)
{
	for (size_t i = 0; i < p->n * p->s->dim; i++) p->x[i] += y[i];
	mem_free(y);
}

/* LLaMA (Touvron et al. 2023); factors as in Llama 3.1. */
static void layer_llama(struct plain *p)
{
	size_t k, one, dims = p->n * p->s->dim;
	double base = p->s->rope_base != 0 ? (double)p->s->rope_base : 10000, linear = p->s->rope_linear != 0 ?
		(double)p->s->rope_linear : 1;
	double *factors = p->s->rope_factors ? weights(p->g, "rope_freqs.weight", &k, &one) : NULL;
	double *h = layer_normed(p, "attn_norm.weight", p->x, dims), *q = times(p, "attn_q.weight", NULL, h),
		*key = times(p, "attn_k.weight", NULL, h), *v = times(p, "attn_v.weight", NULL, h);
	turn(p, q, p->s->heads, base, linear, factors, 1);
	turn(p, key, p->s->kv_heads, base, linear, factors, 1);
	replace(&h, attention(p, q, key, v, p->n, 1 / sqrt((double)p->s->head_dim)));
	add_in(p, times(p, "attn_output.weight", NULL, h));
	replace(&h, layer_normed(p, "ffn_norm.weight", p->x, dims));
	add_in(p, feed_forward(p, h, silu));
	mem_free(h), mem_free(q), mem_free(key), mem_free(v), mem_free(factors);
}

/* Qwen2 (technical report 2024): biases on q, k, v. Qwen3 (2025): none, but norms of every head of q and k. */
static void layer_qwen(struct plain *p)
{
	int three = strcmp(p->s->arch, "qwen3") == 0;
	size_t dims = p->n * p->s->dim, hd = p->s->head_dim;
	double base = p->s->rope_base != 0 ? (double)p->s->rope_base : 10000;
	double *h = layer_normed(p, "attn_norm.weight", p->x, dims),
		*q = times(p, "attn_q.weight", three ? NULL : "attn_q.bias", h),
		*k = times(p, "attn_k.weight", three ? NULL : "attn_k.bias", h),
		*v = times(p, "attn_v.weight", three ? NULL : "attn_v.bias", h);
	if (three) {
		replace(&q, layer_normed(p, "attn_q_norm.weight", q, p->n * p->s->heads * hd));
		replace(&k, layer_normed(p, "attn_k_norm.weight", k, p->n * p->s->kv_heads * hd));
	}
	turn(p, q, p->s->heads, base, 1, NULL, 0);
	turn(p, k, p->s->kv_heads, base, 1, NULL, 0);
	replace(&h, attention(p, q, k, v, p->n, 1 / sqrt((double)hd)));
	add_in(p, times(p, "attn_output.weight", NULL, h));
	replace(&h, layer_normed(p, "ffn_norm.weight", p->x, dims));
	add_in(p, feed_forward(p, h, silu));
	mem_free(h), mem_free(q), mem_free(k), mem_free(v);
}

/* Gemma 3 (technical report 2025): norms before and after, five layers with a window to a global one. */
static void layer_gemma3(struct plain *p)
{
	size_t dims = p->n * p->s->dim, hd = p->s->head_dim, pattern = p->s->pattern ? p->s->pattern : 6;
	int global = (p->layer + 1) % pattern == 0;
	double base = global ? (double)p->s->rope_base : 10000, linear = global && p->s->rope_linear != 0 ?
		(double)p->s->rope_linear : 1;
	double *h = layer_normed(p, "attn_norm.weight", p->x, dims), *q = times(p, "attn_q.weight", NULL, h),
		*k = times(p, "attn_k.weight", NULL, h), *v = times(p, "attn_v.weight", NULL, h);
	replace(&q, layer_normed(p, "attn_q_norm.weight", q, p->n * p->s->heads * hd));
	replace(&k, layer_normed(p, "attn_k_norm.weight", k, p->n * p->s->kv_heads * hd));
	turn(p, q, p->s->heads, base, linear, NULL, 0);
	turn(p, k, p->s->kv_heads, base, linear, NULL, 0);
	replace(&h, attention(p, q, k, v, global ? p->n : p->s->window, 1 / sqrt((double)hd)));
	replace(&h, times(p, "attn_output.weight", NULL, h));
	add_in(p, layer_normed(p, "post_attention_norm.weight", h, dims));
	replace(&h, layer_normed(p, "ffn_norm.weight", p->x, dims));
	replace(&h, feed_forward(p, h, gelu));
	add_in(p, layer_normed(p, "post_ffw_norm.weight", h, dims));
	mem_free(h), mem_free(q), mem_free(k), mem_free(v);
}

void plain_logits(const struct gguf *g, const struct model_spec *s, const int32_t *ids, size_t n, double *out)
{
	struct plain p = { .g = g, .s = s, .n = n, .x = zeros(n * s->dim) };
	int gemma = strcmp(s->arch, "gemma3") == 0;
	void (*layer)(struct plain *) = gemma ? layer_gemma3 : strcmp(s->arch, "llama") == 0 ? layer_llama : layer_qwen;
	size_t k, rows, m, one;
	double *table = weights(g, "token_embd.weight", &k, &rows), *head, *w, *h;
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < k; i++)
			p.x[t * k + i] = table[(size_t)ids[t] * k + i] * (gemma ? sqrt((double)k) : 1);
	for (p.layer = 0; p.layer < s->layers; p.layer++) layer(&p);
	w = weights(g, "output_norm.weight", &m, &one);
	h = normed(p.x, w, n, m);
	head = s->untied ? weights(g, "output.weight", &k, &rows) : table;
	for (size_t t = 0; t < n; t++)
		for (size_t r = 0; r < rows; r++) {
			double sum = 0;
			for (size_t i = 0; i < k; i++) sum += head[r * k + i] * h[t * k + i];
			out[t * rows + r] = sum;
		}
	if (s->untied) mem_free(head);
	mem_free(table), mem_free(w), mem_free(h), mem_free(p.x);
}

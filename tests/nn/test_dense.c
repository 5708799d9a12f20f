/* test_dense.c: each building block against plain loops in double, over odd sizes, alone and with a team. */
#include <math.h>
#include <stdint.h>
#include "base/mem.h"
#include "nn/dense.h"
#include "tests/test.h"

static uint32_t seed = 1;

/* Values from -1 to 1. */
static float value(void)
{
	seed = seed * 1664525u + 1013904223u;
	return (float)(seed >> 8) / (float)(1 << 23) - 1;
}

static float *values(size_t n)
{
	float *x = mem_alloc((n ? n : 1) * sizeof *x);
	CHECK(x != NULL);
	for (size_t i = 0; i < n; i++) x[i] = value();
	return x;
}

static void close_to(float got, double want, double tolerance, const char *what)
{
	CHECK_MSG(fabs(got - want) <= tolerance, "%s: got %.9g, want %.9g", what, got, want);
}

static double act_ref(enum dense_act act, double x)
{
	switch (act) {
	case DENSE_GELU: return 0.5 * x * (1 + erf(x / sqrt(2)));
	case DENSE_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
	case DENSE_RELU: return x > 0 ? x : 0;
	default: return x;
	}
}

TEST(dense_activations_match_their_formulas)
{
	for (enum dense_act act = DENSE_NONE; act <= DENSE_RELU; act++)
		for (double x = -12; x <= 12; x += 0.0037) {
			float y[11];
			for (int i = 0; i < 11; i++) y[i] = (float)x;
			dense_activate(act, y, 11);
			close_to(y[0], act_ref(act, (float)x), 5e-7 * (1 + fabs(x)), "activation");
			CHECK(y[0] == y[7] && y[7] == y[8] && y[8] == y[10]); /* the tail is as the rest */
		}
}

TEST(dense_activations_stand_edge_values)
{
	float x[] = {0, -0.0f, 100, -100, 1e30f, -1e30f, 1e-40f, 3e38f, -3e38f};
	for (enum dense_act act = DENSE_GELU; act <= DENSE_RELU; act++)
		for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
			float y = x[i];
			dense_activate(act, &y, 1);
			CHECK_MSG(isfinite(y) && fabs(y - (x[i] > 0 ? x[i] : 0)) <= 1e-6 * (1 + fabs(y)), "act %d of %g: %g", act, x[i], y);
		}
}

TEST(dense_softmax_matches_reference)
{
	static const size_t sizes[] = {1, 2, 7, 8, 9, 31, 256, 513};
	for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
		size_t n = sizes[k], ld = n + 3;
		float *x = values(3 * ld), *y = values(3 * ld);
		for (size_t i = 0; i < 3 * ld; i++) x[i] = y[i] = 40 * x[i];
		dense_softmax(y, 3, n, ld);
		for (size_t r = 0; r < 3; r++) {
			double max = -1e9, sum = 0;
			for (size_t i = 0; i < n; i++) max = fmax(max, x[r * ld + i]);
			for (size_t i = 0; i < n; i++) sum += exp(x[r * ld + i] - max);
			for (size_t i = 0; i < n; i++) close_to(y[r * ld + i], exp(x[r * ld + i] - max) / sum, 1e-6, "softmax");
			for (size_t i = n; i < ld; i++) CHECK(y[r * ld + i] == x[r * ld + i]);
		}
		mem_free(x);
		mem_free(y);
	}
}

static void linear_case(struct team *t, size_t rows, size_t in, size_t out, int with_bias, enum dense_act act)
{
	float *x = values(rows * in), *w = values(out * in), *b = values(out), *y = values(rows * out);
	dense_linear(t, x, rows, in, w, with_bias ? b : NULL, out, act, y);
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < out; c++) {
			double sum = with_bias ? b[c] : 0, size = 1;
			for (size_t i = 0; i < in; i++) sum += (double)x[r * in + i] * w[c * in + i];
			for (size_t i = 0; i < in; i++) size += fabs((double)x[r * in + i] * w[c * in + i]);
			close_to(y[r * out + c], act_ref(act, sum), 3e-7 * size, "linear"); /* a few roundings of the sum of sizes */
		}
	mem_free(x);
	mem_free(w);
	mem_free(b);
	mem_free(y);
}

TEST(dense_linear_matches_reference)
{
	struct team *three = team_new(3);
	CHECK(three != NULL);
	for (int k = 0; k < 2; k++) {
		struct team *t = k ? three : NULL;
		linear_case(t, 1, 1, 1, 1, DENSE_NONE);
		linear_case(t, 1, 33, 500, 1, DENSE_GELU);
		linear_case(t, 7, 17, 5, 0, DENSE_NONE);
		linear_case(t, 100, 64, 97, 1, DENSE_RELU);
		linear_case(t, 50, 19, 301, 1, DENSE_GELU_TANH);
		linear_case(t, 0, 8, 8, 1, DENSE_GELU);
	}
	team_free(three);
}

TEST(dense_add_norm_matches_reference)
{
	static const size_t dims[] = {1, 3, 8, 13, 384, 389};
	struct team *three = team_new(3);
	CHECK(three != NULL);
	for (size_t k = 0; k < 2 * sizeof dims / sizeof dims[0]; k++) {
		size_t dim = dims[k / 2], rows = 5;
		int adds = k % 2 == 0;
		float *x = values(rows * dim), *a = values(rows * dim), *g = values(dim), *b = values(dim), *y = values(rows * dim);
		for (size_t i = 0; i < rows * dim; i++) y[i] = x[i] += 50; /* a mean far from 0 must not cost the variance */
		dense_add_norm(k % 3 ? three : NULL, y, adds ? a : NULL, rows, dim, g, b, 1e-3f);
		for (size_t r = 0; r < rows; r++) {
			double mean = 0, var = 0;
			for (size_t i = 0; i < dim; i++) mean += (x[r * dim + i] + (adds ? a[r * dim + i] : 0)) / (double)dim;
			for (size_t i = 0; i < dim; i++) var += pow(x[r * dim + i] + (adds ? a[r * dim + i] : 0) - mean, 2) / (double)dim;
			for (size_t i = 0; i < dim; i++)
				close_to(y[r * dim + i], (x[r * dim + i] + (adds ? a[r * dim + i] : 0) - mean) / sqrt(var + 1e-3) * g[i] + b[i],
					1e-4, "layer norm");
		}
		mem_free(x);
		mem_free(a);
		mem_free(g);
		mem_free(b);
		mem_free(y);
	}
	team_free(three);
}

TEST(dense_attention_matches_reference)
{
	static const size_t starts[] = {0, 1, 6, 306, 308};
	enum { TEXTS = 4, HEADS = 3, DIM = 5, WIDTH = HEADS * DIM };
	for (int threads = 1; threads <= 3; threads += 2) {
		struct team *t = team_new(threads);
		CHECK(t != NULL);
		float *qkv = values(starts[TEXTS] * 3 * WIDTH), *out = values(starts[TEXTS] * WIDTH);
		float *scratch = values(dense_attention_scratch(300, t));
		dense_attention(t, qkv, starts, TEXTS, HEADS, DIM, scratch, out);
		for (size_t text = 0; text < TEXTS; text++)
			for (size_t r = starts[text]; r < starts[text + 1]; r++)
				for (size_t h = 0; h < HEADS; h++) {
					double sum = 0, want[DIM] = {0};
					for (size_t s = starts[text]; s < starts[text + 1]; s++) {
						double dot = 0;
						for (size_t d = 0; d < DIM; d++)
							dot += (double)qkv[r * 3 * WIDTH + h * DIM + d] * qkv[s * 3 * WIDTH + WIDTH + h * DIM + d];
						dot = exp(dot / sqrt(DIM));
						sum += dot;
						for (size_t d = 0; d < DIM; d++) want[d] += dot * qkv[s * 3 * WIDTH + 2 * WIDTH + h * DIM + d];
					}
					for (size_t d = 0; d < DIM; d++) close_to(out[r * WIDTH + h * DIM + d], want[d] / sum, 2e-6, "attention");
				}
		mem_free(qkv);
		mem_free(out);
		mem_free(scratch);
		team_free(t);
	}
}

/* test_gpu_encode.c: an encoder's kernels against plain loops, over sizes that fill tiles and such that do not; and that what a
 * text gets has the same bits wherever it lies and whatever lies beside it. */
#include <math.h>
#include "base/mem.h"
#include "nn/gpu.h"
#include "nn/quant.h"
#include "tests/nn/on_device.h"
#include "tests/test.h"

enum { TEXTS_MAX = 8 };
static struct err e;
static uint32_t seed = 12345;

static float number(void)
{
	seed = seed * 1664525u + 1013904223u;
	return (float)(int32_t)seed / 2147483648.0f;
}

/* The nearest half, ties to even: of what is no subnormal half. */
static uint16_t half_of(float x)
{
	uint32_t bits, sign, rest;
	memcpy(&bits, &x, sizeof bits);
	sign = bits >> 16 & 0x8000;
	bits &= 0x7fffffff;
	if (bits < 113u << 23) return (uint16_t)sign;
	rest = bits & 0x1fff;
	bits = (bits >> 13) - (112u << 10);
	return (uint16_t)(sign | (bits + (rest > 0x1000 || (rest == 0x1000 && (bits & 1)))));
}

static uint16_t *halves_random(size_t rows, size_t n, size_t ld, float scale)
{
	uint16_t *p = mem_calloc(rows * ld + 1, sizeof *p);
	CHECK(p != NULL);
	for (size_t r = 0; r < rows; r++)
		for (size_t i = 0; i < n; i++) p[r * ld + i] = half_of(scale * number());
	return p;
}

static float *floats_random(size_t n, float scale)
{
	float *p = mem_calloc(n + 1, sizeof *p);
	CHECK(p != NULL);
	for (size_t i = 0; i < n; i++) p[i] = scale * number();
	return p;
}

static void near_half(const char *what, size_t r, size_t i, uint16_t got, double want, double off)
{
	double x = (double)quant_half(got);
	CHECK_MSG(fabs(x - want) <= fabs(want) / 1024 + off, "%s: row %zu, %zu: %.6f, want %.6f", what, r, i, x, want);
}

/* ---- norm ---- */

static void norm_check(const double *x, const float *gamma, const float *beta, size_t dim, double eps, size_t row, const uint16_t *got)
{
	double mean = 0, squares = 0;
	for (size_t i = 0; i < dim; i++) mean += x[i];
	mean /= (double)dim;
	for (size_t i = 0; i < dim; i++) squares += (x[i] - mean) * (x[i] - mean) / (double)dim;
	for (size_t i = 0; i < dim; i++)
		near_half("norm", row, i, got[i], fmin(fmax((x[i] - mean) / sqrt(squares + eps) * gamma[i] + beta[i], -65504), 65504), 1e-5);
}

static void norm_try(size_t n, size_t dim, int embed)
{
	enum { WORDS = 9, PLACES = 5, ONE_AND_A_HALF = 0x3e00, QUARTER = 0x3400 };
	const size_t ld = (dim + GPU_PAD - 1) / GPU_PAD * GPU_PAD;
	struct gpu *g = device_open();
	uint16_t *words = halves_random(WORDS, dim, dim, 3), *places = halves_random(PLACES, dim, dim, 1);
	uint16_t *x = halves_random(n, dim, ld, 2), *y = halves_random(n, dim, ld, 1), *got;
	float *gamma = floats_random(dim, 2), *beta = floats_random(dim, 1);
	int32_t ids[64], at[64];
	double *want = mem_calloc(dim, sizeof *want);
	for (size_t r = 0; r < n; r++) ids[r] = (int32_t)(r * 7 % WORDS), at[r] = (int32_t)(r * 3 % PLACES);
	gamma[0] = 1e30f; /* more than a half holds */
	for (size_t i = 0; n > 1 && i < dim; i++) x[(n - 1) * ld + i] = ONE_AND_A_HALF, y[(n - 1) * ld + i] = QUARTER; /* of no deviation */
	struct gpu_encode_norm c = {.x = device(g, x, n * ld * 2), .gamma = device(g, gamma, dim * 4), .beta = device(g, beta, dim * 4),
		.eps = 1e-5f, .n = n, .dim = dim, .ld = ld};
	if (embed) {
		c.words = device(g, words, WORDS * dim * 2);
		c.places = device(g, places, PLACES * dim * 2);
		c.ids = device(g, ids, n * 4);
		c.at = device(g, at, n * 4);
	} else c.y = device(g, y, n * ld * 2);
	test_gpu()->encode_norm(g, &c);
	got = host(g, c.x, n * ld * 2);
	for (size_t r = 0; r < n; r++) {
		const uint16_t *a = embed ? words + (size_t)ids[r] * dim : x + r * ld, *b = embed ? places + (size_t)at[r] * dim : y + r * ld;
		for (size_t i = 0; i < dim; i++) want[i] = (double)quant_half(a[i]) + quant_half(b[i]);
		norm_check(want, gamma, beta, dim, 1e-5, r, got + r * ld);
		for (size_t i = dim; i < ld; i++) CHECK_INT(got[r * ld + i], 0);
	}
	test_gpu()->close(g);
	mem_free(words), mem_free(places), mem_free(x), mem_free(y), mem_free(got), mem_free(gamma), mem_free(beta), mem_free(want);
}

TEST(gpu_encode_norm)
{
	norm_try(1, 8, 0);
	norm_try(5, 384, 0);
	norm_try(6, 70, 1);
	norm_try(9, 384, 1);
	norm_try(2, GPU_ENCODE_DIM, 0);
}

/* ---- linear ---- */

static double activated(enum gpu_act act, double x)
{
	if (act == GPU_GELU) return x / 2 * (1 + erf(x / sqrt(2)));
	if (act == GPU_GELU_TANH) return x / 2 * (1 + tanh(sqrt(2 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
	return act == GPU_RELU && x < 0 ? 0 : x;
}

/* The product of n rows, and of row `alone` by itself. */
static void linear_try(size_t n, size_t k, size_t outputs, enum gpu_act act, size_t alone)
{
	struct gpu *g = device_open();
	uint16_t *x = halves_random(n, k, k, 1), *w = halves_random(outputs, k, k, 0.5f), *got, *one;
	float *bias = floats_random(outputs, 1);
	bias[1] = 1e5f; /* more than a half holds */
	struct gpu_matrix weights;
	struct gpu_encode_linear c = {.w = &weights, .x = device(g, x, n * k * 2), .bias = device(g, bias, outputs * 4),
		.y = device(g, NULL, n * outputs * 2), .n = n, .act = act};
	CHECK_OK(test_gpu()->encode_load(g, w, outputs, k, &weights, &e), e);
	test_gpu()->encode_linear(g, &c);
	got = host(g, c.y, n * outputs * 2);
	for (size_t r = 0; r < n; r++)
		for (size_t o = 0; o < outputs; o++) {
			double sum = (double)bias[o];
			for (size_t i = 0; i < k; i++) sum += (double)quant_half(x[r * k + i]) * quant_half(w[o * k + i]);
			near_half("linear", r, o, got[r * outputs + o], fmin(activated(act, sum), 65504), 1e-5 * sqrt((double)k));
		}
	c.x += alone * k;
	c.n = 1;
	test_gpu()->encode_linear(g, &c);
	one = host(g, c.y, outputs * 2);
	CHECK_MSG(memcmp(one, got + alone * outputs, outputs * 2) == 0, "row %zu of %zu: alone and among others differ", alone, n);
	test_gpu()->close(g);
	mem_free(x), mem_free(w), mem_free(bias), mem_free(got), mem_free(one);
}

TEST(gpu_encode_linear)
{
	linear_try(1, 64, 64, GPU_PLAIN, 0);
	linear_try(17, 192, 128, GPU_GELU, 16);
	linear_try(64, 64, 192, GPU_GELU_TANH, 63);
	linear_try(65, 128, 64, GPU_RELU, 64);
	linear_try(300, 64, 192, GPU_GELU, 290);
}

/* As many outputs as give every multiprocessor a tile of 128 x 128. */
TEST(gpu_encode_linear_fills_device)
{
	linear_try(130, 64, 64 * (device_sms() + 1), GPU_GELU, 129);
}

/* ---- attention ---- */

/* Tiles of texts that begin at starts[]. */
static size_t tiles_make(const size_t *starts, size_t texts, int32_t *tiles)
{
	size_t n = 0;
	for (size_t i = 0; i < texts; i++)
		for (size_t r = starts[i]; r < starts[i + 1]; r += GPU_TILE, n++) {
			tiles[3 * n] = (int32_t)r;
			tiles[3 * n + 1] = (int32_t)starts[i];
			tiles[3 * n + 2] = (int32_t)starts[i + 1];
		}
	return n;
}

static void attend_run(struct gpu *g, struct gpu_encode_attend c, const size_t *starts, size_t texts)
{
	int32_t tiles[3 * 64];
	c.tiles_n = tiles_make(starts, texts, tiles);
	CHECK(c.tiles_n <= 64);
	c.tiles = device(g, tiles, c.tiles_n * 3 * sizeof *tiles);
	test_gpu()->encode_attend(g, &c);
}

static void attended_check(const struct gpu_encode_attend *c, const uint16_t *qkv, size_t row, size_t head, size_t from, size_t to,
	const uint16_t *got)
{
	const size_t d = c->head_dim, width = c->heads * d;
	const uint16_t *q = qkv + row * c->ld + head * d;
	double p[512], most = -INFINITY, sum = 0;
	for (size_t r = from; r < to; r++) {
		p[r - from] = 0;
		for (size_t i = 0; i < d; i++) p[r - from] += (double)quant_half(q[i]) * quant_half(qkv[r * c->ld + width + head * d + i]) * c->scale;
		most = fmax(most, p[r - from]);
	}
	for (size_t r = from; r < to; r++) sum += p[r - from] = exp(p[r - from] - most);
	for (size_t i = 0; i < d; i++) {
		double want = 0;
		for (size_t r = from; r < to; r++) want += p[r - from] / sum * quant_half(qkv[r * c->ld + 2 * width + head * d + i]);
		near_half("attend", row, head * d + i, got[row * c->ldo + head * d + i], want, 1.5e-3);
	}
}

/* Texts of these lengths, packed; then each alone, from row 0. */
static void attend_try(size_t heads, size_t head_dim, const size_t *lengths, size_t texts)
{
	size_t starts[TEXTS_MAX + 1] = {0}, ld = (3 * heads * head_dim + GPU_PAD - 1) / GPU_PAD * GPU_PAD, ldo = heads * head_dim + GPU_PAD;
	for (size_t i = 0; i < texts; i++) starts[i + 1] = starts[i] + lengths[i];
	size_t rows = starts[texts];
	struct gpu *g = device_open();
	uint16_t *qkv = halves_random(rows, 3 * heads * head_dim, ld, 3), *got;
	struct gpu_encode_attend c = {.qkv = device(g, qkv, rows * ld * 2), .ld = ld, .out = device(g, NULL, rows * ldo * 2), .ldo = ldo,
		.heads = heads, .head_dim = head_dim, .scale = 1 / sqrtf((float)head_dim)};
	attend_run(g, c, starts, texts);
	got = host(g, c.out, rows * ldo * 2);
	for (size_t i = 0; i < texts; i++)
		for (size_t r = starts[i]; r < starts[i + 1]; r++)
			for (size_t h = 0; h < heads; h++) attended_check(&c, qkv, r, h, starts[i], starts[i + 1], got);
	for (size_t i = 0; i < texts; i++) {
		size_t alone[] = {0, lengths[i]};
		struct gpu_encode_attend one = c;
		one.qkv = device(g, qkv + starts[i] * ld, lengths[i] * ld * 2);
		one.out = device(g, NULL, lengths[i] * ldo * 2);
		attend_run(g, one, alone, 1);
		uint16_t *by_itself = host(g, one.out, lengths[i] * ldo * 2);
		CHECK_MSG(memcmp(by_itself, got + starts[i] * ldo, lengths[i] * ldo * 2) == 0, "text %zu: alone and among others differ", i);
		mem_free(by_itself);
	}
	test_gpu()->close(g);
	mem_free(qkv), mem_free(got);
}

TEST(gpu_encode_attend)
{
	attend_try(2, 32, (const size_t[]){1, 17, 64, 2, 65}, 5);
	attend_try(1, 16, (const size_t[]){16, 130, 3}, 3);
	attend_try(3, 64, (const size_t[]){5, 63, 66}, 3);
	attend_try(1, 128, (const size_t[]){70, 15}, 2);
}

/* ---- pooling ---- */

static void pool_try(int first, int normalise)
{
	enum { DIM = 70, LD = 128, TEXTS = 3 };
	const int32_t starts[TEXTS + 1] = {0, 1, 20, 22};
	struct gpu *g = device_open();
	uint16_t *x = halves_random(22, DIM, LD, 2);
	for (size_t i = 0; i < 2 * LD; i++) x[20 * LD + i] = 0;
	struct gpu_encode_pool c = {.x = device(g, x, 22 * LD * 2), .ld = LD, .starts = device(g, starts, sizeof starts),
		.out = device(g, NULL, TEXTS * DIM * 4), .texts = TEXTS, .dim = DIM, .first = first, .normalise = normalise};
	test_gpu()->encode_pool(g, &c);
	float *got = host(g, c.out, TEXTS * DIM * 4);
	for (size_t t = 0; t < TEXTS; t++) {
		double want[DIM] = {0}, squares = 0;
		size_t from = (size_t)starts[t], to = first ? from + 1 : (size_t)starts[t + 1];
		for (size_t i = 0; i < DIM; i++) {
			for (size_t r = from; r < to; r++) want[i] += (double)quant_half(x[r * LD + i]) / (double)(to - from);
			squares += want[i] * want[i];
		}
		for (size_t i = 0; i < DIM; i++) {
			double v = !normalise ? want[i] : squares > 0 ? want[i] / sqrt(squares) : 0;
			CHECK_MSG(fabs((double)got[t * DIM + i] - v) < 1e-6, "text %zu, %zu: %.8f, want %.8f", t, i, (double)got[t * DIM + i], v);
		}
	}
	test_gpu()->close(g);
	mem_free(x), mem_free(got);
}

TEST(gpu_encode_pool)
{
	for (int i = 0; i < 4; i++) pool_try(i & 1, i >> 1);
}

/* test_gpu_plain.c: the GPU's kernels that are no matrix product, against plain loops: over odd sizes and edge values, and the same
 * bits for a row whoever shares its call. */
#include <math.h>
#include "base/mem.h"
#include "nn/gpu.h"
#include "nn/ops.h"
#include "nn/quant.h"
#include "tests/gguf_fill.h"
#include "tests/nn/on_device.h"
#include "tests/nn/random.h"
#include "tests/test.h"

static void check_add_normed(size_t n, size_t dim)
{
	struct gpu *g = device_open();
	float *x = mem_calloc(n * dim, 4), *y = mem_calloc(n * dim, 4), *w = mem_calloc(dim, 4), *norm = mem_calloc(dim, 4),
		*got = mem_calloc(n * dim, 4), *one = mem_calloc(dim, 4);
	for (size_t i = 0; i < n * dim; i++) x[i] = random_float(), y[i] = random_float() * (float)(1 + i / dim);
	for (size_t i = 0; i < dim; i++) w[i] = random_float();
	float *dx = device(g, x, n * dim * 4), *dy = device(g, y, n * dim * 4), *dw = device(g, w, dim * 4);
	test_gpu()->add_normed(g, dx, dy, dw, n, dim, 1e-6f);
	out(g, got, dx, n * dim * 4);
	for (size_t t = 0; t < n; t++) {
		ops_ref.norm(y + t * dim, w, dim, 1e-6f, norm);
		for (size_t i = 0; i < dim; i++)
			CHECK_MSG(fabsf(got[t * dim + i] - x[t * dim + i] - norm[i]) < 3e-6f, "%zu x %zu: row %zu, %zu: %g", n, dim, t, i,
				(double)got[t * dim + i]);
		test_gpu()->copy_in(g, dx, x + t * dim, dim * 4);
		test_gpu()->add_normed(g, dx, dy + t * dim, dw, 1, dim, 1e-6f);
		out(g, one, dx, dim * 4);
		CHECK(memcmp(one, got + t * dim, dim * 4) == 0);
	}
	void *const all[] = { x, y, w, norm, got, one };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
	test_gpu()->close(g);
}

TEST(gpu_add_normed)
{
	check_add_normed(1, 16);
	check_add_normed(5, 896);
	check_add_normed(3, 1000);
	check_add_normed(17, 272);
}

/* --- rows of the token table --- */

/* The file's weights, to the bit, for every type; rows over panels' ends, ids that repeat, and none. */
static void check_embed(uint32_t type, size_t rows, size_t k, float scale)
{
	enum { N = 9 };
	const size_t row_bytes = quant_row_bytes(type, k);
	uint8_t *data = mem_aligned(64, rows * row_bytes);
	const struct matrix w = { type, rows, k, data, row_bytes };
	const int32_t ids[N] = { 0, (int32_t)rows - 1, -1, (int32_t)rows / 2, 7 % (int32_t)rows, 8 % (int32_t)rows, 0, 15 % (int32_t)rows,
		16 % (int32_t)rows };
	struct gpu *g = device_open();
	struct gpu_matrix m;
	struct err e;
	float *x = mem_calloc(N * k, 4), *row = mem_calloc(k, 4);
	random_blocks(type, k, rows, rows * k / quant_block_weights(type), data);
	CHECK_OK(test_gpu()->matrix_load(g, &w, &m, &e), e);
	float *dx = device(g, NULL, N * k * 4);
	test_gpu()->embed(g, &m, device(g, ids, sizeof ids), N, scale, dx);
	out(g, x, dx, N * k * 4);
	for (size_t t = 0; t < N; t++) {
		if (ids[t] < 0) memset(row, 0, k * 4);
		else quant_row(type, w.data + (size_t)ids[t] * w.row_bytes, k, row);
		for (size_t i = 0; i < k; i++)
			CHECK_MSG(x[t * k + i] == scale * row[i], "%s %zu x %zu: row %d, weight %zu: %g, want %g", quant_name(type), rows, k, ids[t],
				i, (double)x[t * k + i], (double)(scale * row[i]));
	}
	mem_free(x);
	mem_free(row);
	mem_free(data);
	test_gpu()->close(g);
}

TEST(gpu_embed)
{
	static const uint32_t types[] = { QUANT_F32, QUANT_F16, QUANT_BF16, QUANT_Q8_0, QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0, QUANT_Q5_1,
		QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K };
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		const size_t block = quant_block_weights(types[i]), least = block < 32 ? 32 : block;
		check_embed(types[i], 37, least * 3, 1);
		check_embed(types[i], 1, least, 0.3f);
		check_embed(types[i], 16, least * 2, 30);
	}
}

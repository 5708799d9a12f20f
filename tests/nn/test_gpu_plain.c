/* test_gpu_plain.c: the GPU's kernels that are no matrix product, against plain loops. */
#include <math.h>
#include <stdlib.h>
#include "base/mem.h"
#include "nn/gpu.h"
#include "nn/ops.h"
#include "nn/quant.h"
#include "tests/test.h"

#define T test_gpu()
static uint64_t rng = 88172645463325252u;

static uint32_t random_bits(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 24);
}

static float random_float(void)
{
	return (float)((int32_t)random_bits() >> 8) / (float)(1 << 23);
}

static struct gpu *opened(void)
{
	struct gpu *g;
	struct err e;
	CHECK_OK(T->open(&g, 0, &e), e);
	return g;
}

static void *device(struct gpu *g, const void *from, size_t bytes)
{
	void *p;
	struct err e;
	CHECK_OK(T->alloc(g, bytes, "a test", &p, &e), e);
	if (from) T->copy_in(g, p, from, bytes);
	return p;
}

static void out(struct gpu *g, void *to, const void *device, size_t bytes)
{
	struct err e;
	T->copy_out(g, to, device, bytes);
	CHECK_OK(T->sync(g, &e), e);
}

static void check_add_normed(size_t n, size_t dim)
{
	struct gpu *g = opened();
	float *x = mem_calloc(n * dim, 4), *y = mem_calloc(n * dim, 4), *w = mem_calloc(dim, 4), *norm = mem_calloc(dim, 4),
		*got = mem_calloc(n * dim, 4), *one = mem_calloc(dim, 4);
	for (size_t i = 0; i < n * dim; i++) x[i] = random_float(), y[i] = random_float() * (float)(1 + i / dim);
	for (size_t i = 0; i < dim; i++) w[i] = random_float();
	float *dx = device(g, x, n * dim * 4), *dy = device(g, y, n * dim * 4), *dw = device(g, w, dim * 4);
	T->add_normed(g, dx, dy, dw, n, dim, 1e-6f);
	out(g, got, dx, n * dim * 4);
	for (size_t t = 0; t < n; t++) {
		ops_ref.norm(y + t * dim, w, dim, 1e-6f, norm);
		for (size_t i = 0; i < dim; i++)
			CHECK_MSG(fabsf(got[t * dim + i] - x[t * dim + i] - norm[i]) < 3e-6f, "%zu x %zu: row %zu, %zu: %g", n, dim, t, i,
				(double)got[t * dim + i]);
		T->copy_in(g, dx, x + t * dim, dim * 4);
		T->add_normed(g, dx, dy + t * dim, dw, 1, dim, 1e-6f);
		out(g, one, dx, dim * 4);
		CHECK(memcmp(one, got + t * dim, dim * 4) == 0);
	}
	void *const all[] = { x, y, w, norm, got, one };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
	T->close(g);
}

TEST(gpu_add_normed)
{
	check_add_normed(1, 16);
	check_add_normed(5, 896);
	check_add_normed(3, 1000);
	check_add_normed(17, 272);
}

/* test_code8.c: int8 codes: every kernel the CPU has against the plain one, the bound against the true product, on odd
 * sizes and extreme components. */
#include <float.h>
#include <math.h>
#include "base/mem.h"
#include "index/code8.h"
#include "index/flat.h"
#include "tests/index/help.h"
#include "tests/test.h"

enum { N = 37, DIM_TOP = 400 };

static const int dims[] = { 1, 2, 7, 31, 32, 63, 64, 65, 127, 128, 200, 384, 399 };

TEST(code8_kernels_agree)
{
	static const char *const names[] = { "avx2", "avxvnni", "vnni" };
	uint8_t *rows = mem_alloc(N * 448);
	int8_t q[448];
	uint32_t at[N], s = 1;
	int32_t want[N], got[N];
	int seen = 0;
	CHECK(rows);
	for (size_t len = 64; len <= 448; len += 64) {
		for (size_t i = 0; i < N * len; i++) rows[i] = i % 5 ? (uint8_t)((s = s * 1664525 + 1013904223) >> 24) : i % 2 ? 255 : 1;
		for (size_t i = 0; i < len; i++) q[i] = i % 7 ? (int8_t)((s = s * 1664525 + 1013904223) >> 24) : i % 2 ? 127 : -127;
		for (size_t i = 0; i < len; i++) q[i] = q[i] == -128 ? -127 : q[i];
		for (size_t i = 0; i < N * len; i++) rows[i] = rows[i] ? rows[i] : 1; /* a code is -127 … 127 */
		for (size_t n = 1; n <= N; n++) {
			for (size_t i = 0; i < n; i++) at[i] = (uint32_t)((i * 11) % N);
			code8_plain.dots(q, rows, len, at, n, len, want);
			for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
				const struct code8_kernel *kernel;
				struct err e;
				if (code8_choose(&kernel, names[k], &e)) {
					CHECK_INT(e.status, E_UNSUPPORTED);
					continue;
				}
				seen++;
				kernel->dots(q, rows, len, at, n, len, got);
				for (size_t i = 0; i < n; i++) CHECK_INT(got[i], want[i]);
			}
		}
	}
	CHECK(seen > 0);
	mem_free(rows);
}

TEST(code8_choose_knows_its_names)
{
	const struct code8_kernel *kernel;
	struct err e;
	CHECK_OK(code8_choose(&kernel, NULL, &e), e);
	CHECK_OK(code8_choose(&kernel, "plain", &e), e);
	CHECK_INT(code8_choose(&kernel, "sse", &e), E_USAGE);
	CHECK(strstr(e.msg, "sse"));
}

/* A row and a query of a kind: unit vectors, huge, tiny, one large component, zeros, equal. */
static void fill(int kind, uint64_t seed, float *x, int dim)
{
	help_unit(seed, x, dim);
	for (int i = 0; i < dim; i++) {
		if (kind == 1) x[i] *= 1e18f;
		if (kind == 2) x[i] *= 1e-30f;
		if (kind == 3) x[i] = i == (int)(seed % (uint64_t)dim) ? 1000.0f : x[i];
		if (kind == 4) x[i] = 0;
		if (kind == 5) x[i] = 0.25f;
		if (kind == 6) x[i] *= 1e-42f;
		if (kind == 7) x[i] *= 1e37f;
	}
}

TEST(code8_bound_holds)
{
	float x[DIM_TOP], y[DIM_TOP], near, off, nearer, nearer_off;
	uint8_t *row = mem_alloc(code8_size(DIM_TOP));
	uint32_t zero = 0;
	CHECK(row);
	for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
		for (int kind = 0; kind < 64; kind++)
			for (uint64_t seed = 1; seed < 20; seed++) {
				struct code8_query q;
				struct err e;
				double truth = 0, got;
				fill(kind / 8, seed, x, dims[d]);
				fill(kind % 8, seed + 100, y, dims[d]);
				code8_encode(row, y, (uint32_t)dims[d]);
				CHECK_OK(code8_query_init(&q, x, (uint32_t)dims[d], &e), e);
				code8_near(&q, row, code8_size((uint32_t)dims[d]), &zero, 1, &near, &off);
				code8_nearer(&q, row, &nearer, &nearer_off);
				code8_query_clear(&q);
				CHECK(kind != 0 || dims[d] < 32 || nearer_off < 0.7f * off);
				got = flat_dot(x, y, (size_t)dims[d]);
				for (int i = 0; i < dims[d]; i++) truth += (double)x[i] * y[i];
				CHECK(!(fabs((double)near - truth) > off));
				CHECK(!(fabs((double)near - got) > off));
				CHECK(!(fabs((double)nearer - truth) > nearer_off) && !(fabs((double)nearer - got) > nearer_off));
				CHECK(kind != 0 || dims[d] != 384 || off < 0.03f); /* and is of use */
			}
	mem_free(row);
}

TEST(code8_row_as_a_query)
{
	float x[DIM_TOP], zeros[DIM_TOP] = { 0 }, near;
	uint32_t first = 0;
	for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
		uint32_t dim = (uint32_t)dims[d];
		size_t len = code8_pad(dim), size = code8_size(dim);
		uint8_t *rows = mem_alloc(2 * size);
		struct code8_tail t[2];
		struct code8_query q;
		struct err e;
		double sum = 0;
		CHECK(rows);
		CHECK_OK(code8_query_init(&q, zeros, dim, &e), e);
		for (size_t r = 0; r < 2; r++) {
			help_unit(2 * d + r + 1, x, dims[d]);
			code8_encode(rows + r * size, x, dim);
			memcpy(&t[r], rows + r * size + len, sizeof t[r]);
		}
		for (uint32_t i = 0; i < dim; i++) sum += (rows[i] - 128) * (rows[size + i] - 128);
		code8_query_row(&q, rows + size);
		code8_near(&q, rows, size, &first, 1, &near, NULL);
		CHECK(near == (float)((double)t[1].scale * t[0].scale * sum));
		code8_query_clear(&q);
		mem_free(rows);
	}
}

/* test_gpu_scan.c: the scan of codes against a plain loop and a sort: sizes that fill runs of rows and such that do not, filters,
 * equal products, more asked for than there are. */
#include <math.h>
#include <stdlib.h>
#include "base/mem.h"
#include "nn/gpu.h"
#include "tests/nn/on_device.h"
#include "tests/test.h"

static uint32_t seed = 99;

static uint32_t bits(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

struct data {
	size_t rows, len, n;
	uint8_t *codes;
	float *scales, *query_scales;
	int8_t *queries;
	int32_t *shifts;
	uint32_t *among;                /* NULL: all */
};

/* different: of as many rows the rest are copies. */
static struct data data_make(size_t rows, size_t len, size_t n, int filter, size_t different)
{
	struct data d = {rows, len, n, mem_alloc(rows * len), mem_alloc(rows * sizeof(float)), mem_alloc(n * sizeof(float)), mem_alloc(n * len),
		mem_calloc(n, sizeof(int32_t)), filter ? mem_calloc(rows / 32 + 1, sizeof(uint32_t)) : NULL};
	CHECK(d.codes && d.scales && d.query_scales && d.queries && d.shifts);
	for (size_t r = 0; r < rows; r++) {
		if (r >= different) {
			memcpy(d.codes + r * len, d.codes + r % different * len, len);
			d.scales[r] = d.scales[r % different];
			continue;
		}
		for (size_t i = 0; i < len; i++) d.codes[r * len + i] = (uint8_t)(1 + bits() % 255);
		d.scales[r] = 0.001f + (float)(bits() % 1000) * 1e-6f;
	}
	for (size_t q = 0; q < n; q++) {
		d.query_scales[q] = 0.01f;
		for (size_t i = 0; i < len; i++) {
			d.queries[q * len + i] = (int8_t)((int)(bits() % 255) - 127);
			d.shifts[q] += 128 * d.queries[q * len + i];
		}
	}
	for (size_t r = 0; filter && r < rows; r++)
		if (bits() % 8 == 0) d.among[r / 32] |= 1u << r % 32;
	return d;
}

static void data_clear(struct data *d)
{
	mem_free(d->codes), mem_free(d->scales), mem_free(d->query_scales), mem_free(d->queries), mem_free(d->shifts), mem_free(d->among);
}

struct hit { float near; uint32_t row; };

static int by_near(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;
	if (isnan(x->near) != isnan(y->near)) return isnan(x->near) ? -1 : 1;
	if (!isnan(x->near) && x->near != y->near) return x->near > y->near ? -1 : 1;
	return x->row < y->row ? -1 : 1;
}

static size_t hits_make(const struct data *d, size_t q, struct hit *out)
{
	size_t n = 0;
	for (size_t r = 0; r < d->rows; r++) {
		int32_t sum = 0;
		if (d->among && !(d->among[r / 32] >> r % 32 & 1)) continue;
		for (size_t i = 0; i < d->len; i++) sum += d->codes[r * d->len + i] * d->queries[q * d->len + i];
		out[n++] = (struct hit){(float)((double)d->query_scales[q] * (double)d->scales[r] * (sum - d->shifts[q])), (uint32_t)r};
	}
	qsort(out, n, sizeof *out, by_near);
	return n;
}

static void scan_try(struct data d, size_t k)
{
	struct gpu *g = device_open();
	struct gpu_scan c = {.codes = device(g, d.codes, d.rows * d.len), .scales = device(g, d.scales, d.rows * 4),
		.among = d.among ? device(g, d.among, (d.rows / 32 + 1) * 4) : NULL, .queries = device(g, d.queries, d.n * d.len),
		.query_scales = device(g, d.query_scales, d.n * 4), .shifts = device(g, d.shifts, d.n * 4), .rows = d.rows, .len = d.len, .n = d.n,
		.k = k, .scratch = device(g, NULL, test_gpu()->scan_bytes(d.rows, d.n, k)), .best = device(g, NULL, d.n * k * 4),
		.near = device(g, NULL, d.n * k * 4), .got = device(g, NULL, d.n * 4)};
	test_gpu()->scan(g, &c);
	uint32_t *best = host(g, c.best, d.n * k * 4), *got = host(g, c.got, d.n * 4);
	float *near = host(g, c.near, d.n * k * 4);
	struct hit *want = mem_alloc(d.rows * sizeof *want);
	for (size_t q = 0; q < d.n; q++) {
		size_t all = hits_make(&d, q, want);
		CHECK_INT(got[q], all < k ? all : k);
		for (size_t i = 0; i < got[q]; i++)
			CHECK_MSG(best[q * k + i] == want[i].row && (near[q * k + i] == want[i].near || (isnan(near[q * k + i]) && isnan(want[i].near))), "query %zu, hit %zu: row %u (%g), want %u (%g)", q, i,
				best[q * k + i], (double)near[q * k + i], want[i].row, (double)want[i].near);
	}
	test_gpu()->close(g);
	mem_free(best), mem_free(got), mem_free(near), mem_free(want);
	data_clear(&d);
}

TEST(gpu_scan_finds_the_best)
{
	scan_try(data_make(1, 64, 1, 0, 1), 1);
	scan_try(data_make(256, 64, 3, 0, 256), 10);
	scan_try(data_make(2000, 128, 1, 0, 2000), 100);
	scan_try(data_make(5000, 64, 17, 0, 5000), 5);
	scan_try(data_make(1500, 192, 2, 0, 1500), GPU_SCAN_BEST);
}

TEST(gpu_scan_takes_what_counts)
{
	scan_try(data_make(3000, 64, 2, 1, 3000), 7);
	scan_try(data_make(700, 128, 1, 1, 700), 600); /* fewer count */
}

TEST(gpu_scan_of_equals_takes_the_first)
{
	scan_try(data_make(4000, 64, 1, 0, 1), 300);
	scan_try(data_make(3000, 64, 2, 1, 5), 40);
	scan_try(data_make(4000, 64, 1, 0, 1), 3); /* in more runs than are asked for */
	scan_try(data_make(4000, 64, 1, 0, 1), 1);
}

/* Zeros are equal whatever their sign; a product that is no number comes first. */
TEST(gpu_scan_of_zeros_and_no_numbers)
{
	struct data d = data_make(700, 64, 2, 0, 700);
	for (size_t r = 0; r < 700; r++) {
		if (r % 2) d.scales[r] = -d.scales[r];
		if (r % 3 == 0) memset(d.codes + r * 64, 128, 64);
	}
	memset(d.queries + 64, 0, 64);
	d.shifts[1] = 0;
	d.scales[123] = d.scales[500] = NAN;
	scan_try(d, 300);
}

TEST(gpu_scan_of_nothing)
{
	struct data d = data_make(600, 64, 1, 1, 600);
	memset(d.among, 0, (600 / 32 + 1) * sizeof *d.among);
	scan_try(d, 5);
}

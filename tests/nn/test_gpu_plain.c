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

/* --- rotary positions --- */

struct rope_case { size_t n, heads, kv_heads, hd, half; int apart, normed; };
struct rope_data {
	struct rope_case c;
	size_t positions, slots, pages, page_halves, head_halves, q_n, kv_n, store_n;
	float *q, *k, *v, *q_norm, *k_norm, *cos, *sin;
	uint16_t *store;
	uint32_t *page;
	int32_t *pos, *slot;
};

static float *random_floats(size_t n)
{
	float *f = mem_calloc(n, sizeof *f);
	for (size_t i = 0; i < n; i++) f[i] = random_float();
	return f;
}

/* Two layers a page, the second is written; two slots with pages in disorder; one row is padding. */
static struct rope_data rope_make(struct rope_case c)
{
	struct rope_data d = { .c = c, .positions = 100, .slots = 2, .pages = 9, .head_halves = c.kv_heads * 2 * GPU_PAGE * c.hd,
		.q_n = c.n * c.heads * c.hd, .kv_n = c.n * c.kv_heads * c.hd };
	d.page_halves = 2 * d.head_halves;
	d.store_n = d.pages * d.page_halves;
	d.q = random_floats(d.q_n);
	d.k = random_floats(d.kv_n);
	d.v = random_floats(d.kv_n);
	d.q_norm = random_floats(c.hd);
	d.k_norm = random_floats(c.hd);
	d.cos = random_floats(d.positions * c.half);
	d.sin = random_floats(d.positions * c.half);
	d.store = mem_calloc(d.store_n, sizeof *d.store);
	memset(d.store, 0x5a, d.store_n * sizeof *d.store);
	d.page = mem_calloc(d.slots * 4, sizeof *d.page);
	for (size_t i = 0; i < d.slots * 4; i++) d.page[i] = (uint32_t)(d.pages - 1 - i);
	d.pos = mem_calloc(c.n, sizeof *d.pos);
	d.slot = mem_calloc(c.n, sizeof *d.slot);
	for (size_t t = 0; t < c.n; t++) {
		d.pos[t] = t == 2 ? -1 : (int32_t)(97 - 31 * (t / 2 % 4) + t / 8 % 3);
		d.slot[t] = (int32_t)(t % 2);
	}
	return d;
}

static void rope_free(struct rope_data *d)
{
	void *const all[] = { d->q, d->k, d->v, d->q_norm, d->k_norm, d->cos, d->sin, d->store, d->page, d->pos, d->slot };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

/* Rows from … from + n of q, k and v on the device; what comes of it is put to q, k and store. */
static void rope_run(const struct rope_data *d, size_t from, size_t n, float *q, float *k, uint16_t *store)
{
	const size_t ql = d->c.heads * d->c.hd, kl = d->c.kv_heads * d->c.hd;
	struct gpu *g = device_open();
	struct gpu_rope r = { .q = device(g, d->q + from * ql, n * ql * 4), .k = device(g, d->k + from * kl, n * kl * 4),
		.v = device(g, d->v + from * kl, n * kl * 4), .heads = d->c.heads, .kv_heads = d->c.kv_heads, .head_dim = d->c.hd,
		.eps = 1e-6f, .cos = device(g, d->cos, d->positions * d->c.half * 4), .sin = device(g, d->sin, d->positions * d->c.half * 4),
		.half = d->c.half, .apart = d->c.apart, .store = device(g, d->store, d->store_n * 2), .page_halves = d->page_halves,
		.head_halves = d->head_halves };
	struct gpu_rows rows = { .pos = device(g, d->pos + from, n * 4), .slot = device(g, d->slot + from, n * 4),
		.pages = device(g, d->page, d->slots * 16), .ld_pages = 4, .n = n };
	if (d->c.normed) {
		r.q_norm = device(g, d->q_norm, d->c.hd * 4);
		r.k_norm = device(g, d->k_norm, d->c.hd * 4);
	}
	test_gpu()->rope(g, &r, &rows);
	out(g, q, r.q, n * ql * 4);
	out(g, k, r.k, n * kl * 4);
	out(g, store, r.store, d->store_n * 2);
	test_gpu()->close(g);
}

/* generate/rope.c's turn of one head, in double, after the norm of ops.h. */
static void head_want(const struct rope_data *d, const float *x, const float *norm, int32_t pos, float *want)
{
	const size_t hd = d->c.hd, half = d->c.half;
	memcpy(want, x, hd * sizeof *x);
	if (norm) ops_ref.norm(x, norm, hd, 1e-6f, want);
	for (size_t i = 0; i < half; i++) {
		const size_t one = d->c.apart ? i : 2 * i, two = d->c.apart ? i + half : 2 * i + 1;
		const double a = (double)want[one], b = (double)want[two], co = (double)d->cos[(size_t)pos * half + i],
			si = (double)d->sin[(size_t)pos * half + i];
		want[one] = (float)(a * co - b * si);
		want[two] = (float)(a * si + b * co);
	}
}

static int near(const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(fabsf(a[i] - b[i]) <= 4e-6f * (1 + fabsf(b[i])))) return 0;
	return 1;
}

static void check_rope(struct rope_case c)
{
	struct rope_data d = rope_make(c);
	const size_t hd = c.hd, ql = c.heads * hd, kl = c.kv_heads * hd;
	float *q = mem_calloc(d.q_n, 4), *k = mem_calloc(d.kv_n, 4), *q1 = mem_calloc(ql, 4), *k1 = mem_calloc(kl, 4), want[256];
	uint16_t *store = mem_calloc(d.store_n, 2), *store1 = mem_calloc(d.store_n, 2), *all = mem_calloc(d.store_n, 2), halves[256];
	rope_run(&d, 0, c.n, q, k, store);
	memcpy(all, d.store, d.store_n * 2);
	for (size_t t = 0; t < c.n; t++) {
		if (d.pos[t] < 0) continue;
		for (size_t h = 0; h < c.heads; h++) {
			head_want(&d, d.q + t * ql + h * hd, c.normed ? d.q_norm : NULL, d.pos[t], want);
			CHECK_MSG(near(q + t * ql + h * hd, want, hd), "row %zu, head %zu of queries", t, h);
		}
		for (size_t h = 0; h < c.kv_heads; h++) {
			const size_t at = d.page[(size_t)d.slot[t] * 4 + (size_t)d.pos[t] / GPU_PAGE] * d.page_halves + d.head_halves +
				h * 2 * GPU_PAGE * hd + (size_t)d.pos[t] % GPU_PAGE * hd;
			head_want(&d, d.k + t * kl + h * hd, c.normed ? d.k_norm : NULL, d.pos[t], want);
			CHECK_MSG(near(k + t * kl + h * hd, want, hd), "row %zu, head %zu of keys", t, h);
			ops_ref.halves(k + t * kl + h * hd, hd, halves);
			memcpy(all + at, halves, hd * 2);
			ops_ref.halves(d.v + t * kl + h * hd, hd, halves);
			memcpy(all + at + GPU_PAGE * hd, halves, hd * 2);
		}
		if (t % 3) continue;
		rope_run(&d, t, 1, q1, k1, store1);
		CHECK(memcmp(q1, q + t * ql, ql * 4) == 0 && memcmp(k1, k + t * kl, kl * 4) == 0);
	}
	CHECK(memcmp(all, store, d.store_n * 2) == 0);  /* every half that belongs there, and no other */
	void *const free[] = { q, k, q1, k1, store, store1, all };
	for (size_t i = 0; i < sizeof free / sizeof *free; i++) mem_free(free[i]);
	rope_free(&d);
}

TEST(gpu_rope)
{
	check_rope((struct rope_case){ 1, 1, 1, 16, 8, 1, 0 });
	check_rope((struct rope_case){ 5, 7, 1, 64, 32, 1, 1 });
	check_rope((struct rope_case){ 17, 4, 2, 128, 64, 0, 0 });
	check_rope((struct rope_case){ 9, 3, 3, 80, 16, 1, 1 });      /* part of a head turns */
	check_rope((struct rope_case){ 4, 4, 1, 256, 128, 1, 1 });
	check_rope((struct rope_case){ 3, 2, 2, 48, 20, 0, 1 });
}

/* --- the best token --- */

static int32_t best_want(const float *logits, size_t vocab, const uint32_t *allowed)
{
	int32_t best = -1;
	for (size_t i = 0; i < vocab; i++)
		if (!isnan(logits[i]) && (!allowed || allowed[i / 32] >> i % 32 & 1) && (best < 0 || logits[i] > logits[best])) best = (int32_t)i;
	return best;
}

/* kind 0: plain; 1: few values, so that many are the best; 2: among NaNs and infinities; 3: all the lowest; 4: zeros of both
 * signs; 5: all NaN. */
static float best_logit(size_t kind)
{
	const uint32_t r = random_bits();
	switch (kind) {
	case 1: return (float)(r % 5) - 7;
	case 2: return r % 3 == 0 ? NAN : r % 7 == 0 ? -INFINITY : r % 11 == 0 && r % 97 == 0 ? INFINITY : -random_float();
	case 3: return -INFINITY;
	case 4: return r % 2 ? 0.0f : -0.0f;
	case 5: return r % 2 ? NAN : -NAN;
	default: return random_float() * 30;
	}
}

static void check_best(size_t vocab, size_t n)
{
	const size_t words = (vocab + 31) / 32, ld = words + 2;
	struct gpu *g = device_open();
	float *logits = mem_calloc(n * vocab, 4);
	uint32_t *allowed = mem_calloc(n * ld, 4);
	int32_t *ids = mem_calloc(n, 4);
	for (size_t i = 0; i < n * vocab; i++) logits[i] = best_logit((i / vocab + vocab) % 6);
	for (size_t i = 0; i < n * ld; i++) allowed[i] = i / ld % 4 == 3 ? 0 : random_bits() & random_bits() & random_bits();
	float *dl = device(g, logits, n * vocab * 4);
	uint32_t *da = device(g, allowed, n * ld * 4);
	int32_t *di = device(g, NULL, n * 4);
	for (int masked = 0; masked < 2; masked++) {
		test_gpu()->best(g, dl, vocab, n, masked ? da : NULL, ld, di);
		out(g, ids, di, n * 4);
		for (size_t t = 0; t < n; t++) {
			int32_t want = best_want(logits + t * vocab, vocab, masked ? allowed + t * ld : NULL);
			CHECK_MSG(ids[t] == want, "vocabulary %zu, row %zu of %zu, masked %d: got %d, want %d", vocab, t, n, masked, ids[t], want);
		}
	}
	mem_free(logits);
	mem_free(allowed);
	mem_free(ids);
	test_gpu()->close(g);
}

TEST(gpu_best)
{
	static const size_t vocab[] = { 1, 2, 31, 33, 255, 1000, 4096, 4097, 20001 };
	for (size_t i = 0; i < sizeof vocab / sizeof *vocab; i++) {
		check_best(vocab[i], 1);
		check_best(vocab[i], 7);
	}
	check_best(300003, 1);
	check_best(77, 130);
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

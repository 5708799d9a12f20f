/* test_gpu_rope.c: heads of queries, keys and values on a GPU: norms, turns, and where they go. The kernel of its own against plain loops;
 * then products that finish their heads themselves, which give what products and that kernel give, to the bit. */
#include <math.h>
#include "base/mem.h"
#include "nn/gpu.h"
#include "nn/ops.h"
#include "nn/quant.h"
#include "tests/gguf_fill.h"
#include "tests/nn/on_device.h"
#include "tests/nn/random.h"
#include "tests/test.h"

struct rope_case { size_t n, heads, kv_heads, hd, half; int normed; };
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

/* Two layers a page, the second is written; two slots with pages in disorder; some rows are padding. */
static struct rope_data rope_make(struct rope_case c)
{
	struct rope_data d = { .c = c, .positions = 128, .slots = 2, .pages = 9, .head_halves = c.kv_heads * 2 * GPU_PAGE * c.hd,
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
		d.pos[t] = t % 11 == 2 ? -1 : (int32_t)((t / 2 * 37 + 101) % d.positions);      /* of a slot each once */
		d.slot[t] = (int32_t)(t % 2);
	}
	return d;
}

static void rope_free(struct rope_data *d)
{
	void *const all[] = { d->q, d->k, d->v, d->q_norm, d->k_norm, d->cos, d->sin, d->store, d->page, d->pos, d->slot };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

/* What of it lies on a device. */
static struct gpu_rope rope_on(struct gpu *g, const struct rope_data *d)
{
	struct gpu_rope r = { .heads = d->c.heads, .kv_heads = d->c.kv_heads, .head_dim = d->c.hd, .eps = 1e-6f,
		.cos = device(g, d->cos, d->positions * d->c.half * 4), .sin = device(g, d->sin, d->positions * d->c.half * 4),
		.half = d->c.half, .store = device(g, d->store, d->store_n * 2), .page_halves = d->page_halves, .head_halves = d->head_halves };
	if (!d->c.normed) return r;
	r.q_norm = device(g, d->q_norm, d->c.hd * 4);
	r.k_norm = device(g, d->k_norm, d->c.hd * 4);
	return r;
}

static struct gpu_rows rows_on(struct gpu *g, const struct rope_data *d, size_t from, size_t n)
{
	return (struct gpu_rows){ .pos = device(g, d->pos + from, n * 4), .slot = device(g, d->slot + from, n * 4),
		.pages = device(g, d->page, d->slots * 16), .ld_pages = 4, .n = n };
}

/* Rows from … from + n of q, k and v on the device; what comes of it is put to q and store. */
static void rope_run(const struct rope_data *d, size_t from, size_t n, float *q, uint16_t *store)
{
	const size_t ql = d->c.heads * d->c.hd, kl = d->c.kv_heads * d->c.hd;
	struct gpu *g = device_open();
	struct gpu_rope r = rope_on(g, d);
	const struct gpu_rows rows = rows_on(g, d, from, n);
	r.q = device(g, d->q + from * ql, n * ql * 4);
	r.k = device(g, d->k + from * kl, n * kl * 4);
	r.v = device(g, d->v + from * kl, n * kl * 4);
	test_gpu()->rope(g, &r, &rows);
	out(g, q, r.q, n * ql * 4);
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
		const size_t one = 2 * i, two = one + 1;
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

static int halves_near(const uint16_t *halves, const float *b, size_t n)
{
	float a[256];
	quant_row(QUANT_F16, (const uint8_t *)halves, n, a);
	for (size_t i = 0; i < n; i++)
		if (!(fabsf(a[i] - b[i]) <= 5e-4f * fabsf(b[i]) + 5e-6f)) return 0;
	return 1;
}

/* Where a row's keys of a head begin in the store; values are GPU_PAGE * hd on. */
static size_t place_of(const struct rope_data *d, size_t t, size_t head)
{
	const size_t page = d->page[(size_t)d->slot[t] * 4 + (size_t)d->pos[t] / GPU_PAGE];
	return page * d->page_halves + d->head_halves + (head * 2 * GPU_PAGE + (size_t)d->pos[t] % GPU_PAGE) * d->c.hd;
}

static void check_rope(struct rope_case c)
{
	struct rope_data d = rope_make(c);
	const size_t hd = c.hd, ql = c.heads * hd, kl = c.kv_heads * hd;
	float *q = mem_calloc(d.q_n, 4), *q1 = mem_calloc(ql, 4), want[256];
	uint16_t *store = mem_calloc(d.store_n, 2), *store1 = mem_calloc(d.store_n, 2), *all = mem_calloc(d.store_n, 2);
	rope_run(&d, 0, c.n, q, store);
	memcpy(all, d.store, d.store_n * 2);
	for (size_t t = 0; t < c.n; t++) {
		if (d.pos[t] < 0) continue;
		for (size_t h = 0; h < c.heads; h++) {
			head_want(&d, d.q + t * ql + h * hd, c.normed ? d.q_norm : NULL, d.pos[t], want);
			CHECK_MSG(near(q + t * ql + h * hd, want, hd), "row %zu, head %zu of queries", t, h);
		}
		if (t % 3 == 0) rope_run(&d, t, 1, q1, store1);
		if (t % 3 == 0) CHECK(memcmp(q1, q + t * ql, ql * 4) == 0);
		for (size_t h = 0; h < c.kv_heads; h++) {
			const size_t at = place_of(&d, t, h);
			head_want(&d, d.k + t * kl + h * hd, c.normed ? d.k_norm : NULL, d.pos[t], want);
			CHECK_MSG(halves_near(store + at, want, hd), "row %zu, head %zu of keys", t, h);
			memcpy(all + at, store + at, hd * 2);
			ops_ref.halves(d.v + t * kl + h * hd, hd, all + at + GPU_PAGE * hd);
			if (t % 3 == 0)
				CHECK(memcmp(store1 + at, store + at, hd * 2) == 0 && memcmp(store1 + at + GPU_PAGE * hd, store + at + GPU_PAGE * hd, hd * 2) == 0);
		}
	}
	CHECK(memcmp(all, store, d.store_n * 2) == 0);  /* every half that belongs there, and no other */
	void *const free[] = { q, q1, store, store1, all };
	for (size_t i = 0; i < sizeof free / sizeof *free; i++) mem_free(free[i]);
	rope_free(&d);
}

TEST(gpu_rope)
{
	check_rope((struct rope_case){ 1, 1, 1, 16, 8, 0 });
	check_rope((struct rope_case){ 5, 7, 1, 64, 32, 1 });
	check_rope((struct rope_case){ 17, 4, 2, 128, 64, 0 });
	check_rope((struct rope_case){ 9, 3, 3, 80, 16, 1 });      /* part of a head turns */
	check_rope((struct rope_case){ 4, 4, 1, 256, 128, 1 });
	check_rope((struct rope_case){ 3, 2, 2, 48, 20, 1 });
}

/* --- products that finish their heads --- */

struct chain { struct gpu *g; struct gpu_matrix w[3]; float *x, *norm, *bias; size_t k; int biased; };

static struct gpu_matrix matrix_on(struct gpu *g, uint32_t type, size_t rows, size_t k)
{
	struct matrix w = { type, rows, k, NULL, quant_row_bytes(type, k) };
	uint8_t *data = mem_aligned(64, rows * w.row_bytes);
	struct gpu_matrix m;
	struct err e;
	random_blocks(type, k, random_bits(), rows * k / quant_block_weights(type), data);
	w.data = data;
	CHECK_OK(test_gpu()->matrix_load(g, &w, &m, &e), e);
	mem_free(data);
	return m;
}

static struct chain chain_make(struct gpu *g, const struct rope_case *c, const uint32_t type[3], int biased)
{
	const size_t rows[3] = { c->heads * c->hd, c->kv_heads * c->hd, c->kv_heads * c->hd };
	struct chain h = { .g = g, .k = 256, .biased = biased };
	float *x = random_floats(c->n * h.k), *norm = random_floats(h.k), *bias = random_floats(rows[0]);
	for (int i = 0; i < 3; i++) h.w[i] = matrix_on(g, type[i], rows[i], h.k);
	h.x = device(g, x, c->n * h.k * 4);
	h.norm = device(g, norm, h.k * 4);
	h.bias = device(g, bias, rows[0] * 4);
	mem_free(x);
	mem_free(norm);
	mem_free(bias);
	return h;
}

/* Queries, keys and values of n rows from `from` on, to r's; all of it by the products, or rope() by itself. */
static void chain_run(const struct chain *h, const struct gpu_rope *r, const struct gpu_rows *rows, size_t from, int prompt, int by_itself)
{
	float *const y[3] = { r->q, (float *)(uintptr_t)r->k, (float *)(uintptr_t)r->v };
	struct gpu_linear link[3];
	for (int i = 0; i < 3; i++)
		link[i] = (struct gpu_linear){ .w = &h->w[i], .bias = h->biased ? h->bias : NULL, .y = y[i], .ldy = h->w[i].rows,
			.next = i < 2 ? &link[i + 1] : NULL };
	link[0].x = h->x + from * h->k, link[0].ldx = h->k, link[0].norm = h->norm, link[0].eps = 1e-6f;
	link[0].n = rows->n, link[0].prompt = prompt;
	if (!by_itself) link[0].rope = r, link[0].rows = rows;
	test_gpu()->linear(h->g, link);
	if (by_itself) test_gpu()->rope(h->g, r, rows);
}

/* All rows together and cut into calls of `cut`: each time the bits of products first, then rope(). */
static void check_fused(struct rope_case c, const uint32_t type[3], size_t cut, int prompt)
{
	struct rope_data d = rope_make(c);
	struct gpu *g = device_open();
	const struct chain h = chain_make(g, &c, type, (c.n + cut) % 2);
	const size_t ql = c.heads * c.hd, kl = c.kv_heads * c.hd;
	float *q[2];
	uint16_t *store[2];
	for (int fused = 0; fused < 2; fused++) {
		struct gpu_rope all = rope_on(g, &d);
		all.q = device(g, NULL, c.n * ql * 4);
		all.k = device(g, NULL, c.n * kl * 4);
		all.v = device(g, NULL, c.n * kl * 4);
		for (size_t at = 0, n; at < c.n; at += n) {
			struct gpu_rope r = all;
			struct gpu_rows rows;
			n = !fused || c.n - at < cut ? c.n - at : cut;
			rows = rows_on(g, &d, at, n);
			r.q += at * ql, r.k += at * kl, r.v += at * kl;
			chain_run(&h, &r, &rows, at, prompt, !fused);
		}
		q[fused] = host(g, all.q, c.n * ql * 4);
		store[fused] = host(g, all.store, d.store_n * 2);
	}
	for (size_t t = 0; t < c.n; t++)
		CHECK_MSG(d.pos[t] < 0 || memcmp(q[0] + t * ql, q[1] + t * ql, ql * 4) == 0,
			"%s %s %s: queries of row %zu of %zu, in calls of %zu", quant_name(type[0]), quant_name(type[1]), quant_name(type[2]), t, c.n, cut);
	CHECK_MSG(memcmp(store[0], store[1], d.store_n * 2) == 0, "%s %s %s: keys or values of %zu rows in calls of %zu", quant_name(type[0]),
		quant_name(type[1]), quant_name(type[2]), c.n, cut);
	CHECK(memcmp(store[0], d.store, d.store_n * 2) != 0);
	for (int i = 0; i < 2; i++) mem_free(q[i]), mem_free(store[i]);
	test_gpu()->close(g);
	rope_free(&d);
}

TEST(gpu_rope_by_products_of_every_type)
{
	static const uint32_t types[] = { QUANT_F32, QUANT_F16, QUANT_BF16, QUANT_Q8_0, QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0, QUANT_Q5_1,
		QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K };
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		const uint32_t type[3] = { types[i], types[i], types[i] };
		check_fused((struct rope_case){ 8, 3, 1, 32, 16, (int)i % 2 }, type, 8 - i % 4, 0);
		check_fused((struct rope_case){ 20, 2, 1, 32, 16, (int)(i + 1) % 2 }, type, 20 - i, 0);
	}
}

/* Products of two types take one launch where files have such, those of three several. */
TEST(gpu_rope_by_products_of_several_types)
{
	static const uint32_t two[][3] = { { QUANT_Q4_K, QUANT_Q4_K, QUANT_Q6_K }, { QUANT_Q5_K, QUANT_Q5_K, QUANT_Q6_K },
		{ QUANT_Q5_0, QUANT_Q5_0, QUANT_Q8_0 }, { QUANT_Q5_1, QUANT_Q8_0, QUANT_Q8_0 } }, all[3] = { QUANT_Q5_0, QUANT_Q8_0, QUANT_BF16 };
	for (int normed = 0; normed < 2; normed++) {
		for (size_t i = 0; i < sizeof two / sizeof *two; i++) check_fused((struct rope_case){ 5, 4, 2, 64, 32, normed }, two[i], 1 + i, 0);
		check_fused((struct rope_case){ 5, 1, 16, 16, 8, normed }, two[3], 3, 0);      /* all blocks but one have keys and values */
		check_fused((struct rope_case){ 16, 4, 2, 32, 16, normed }, two[0], 9, 0);
		check_fused((struct rope_case){ 9, 2, 2, 32, 16, normed }, all, 4, 0);
	}
}

/* One row to many: by narrow, by wide with its parts added up and without; heads of many sizes; part of a head turns; prompts. */
TEST(gpu_rope_by_products_of_every_size)
{
	static const uint32_t type[3] = { QUANT_Q8_0, QUANT_Q8_0, QUANT_Q8_0 };
	static const size_t n[] = { 1, 2, 4, 7, 8, 9, 16, 17, 64, 130 };
	for (size_t i = 0; i < sizeof n / sizeof *n; i++)
		for (int normed = 0; normed < 2; normed++) check_fused((struct rope_case){ n[i], 2, 1, 32, 16, normed }, type, n[i], 0);
	check_fused((struct rope_case){ 64, 12, 6, 64, 32, 0 }, type, 64, 0);
	for (int normed = 0; normed < 2; normed++) {
		check_fused((struct rope_case){ 6, 5, 5, 16, 8, normed }, type, 5, 0);
		check_fused((struct rope_case){ 6, 2, 1, 48, 20, normed }, type, 2, 0);
		check_fused((struct rope_case){ 13, 3, 1, 80, 16, normed }, type, 3, 0);
		check_fused((struct rope_case){ 4, 2, 2, 128, 64, normed }, type, 4, 0);
		check_fused((struct rope_case){ 12, 2, 1, 256, 128, normed }, type, 3, 0);
		check_fused((struct rope_case){ 40, 2, 1, 64, 32, normed }, type, 7, 1);
	}
}

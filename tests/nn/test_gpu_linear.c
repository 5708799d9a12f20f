/* test_gpu_linear.c: matrices on a GPU and the products with them, against sums in double of the file's weights: every type,
 * odd sizes, every finish; and the promise that a row's bits do not depend on who shares its call. */
#include <math.h>
#include <stdlib.h>
#include "base/mem.h"
#include "nn/gpu.h"
#include "nn/ops.h"
#include "nn/quant.h"
#include "tests/nn/on_device.h"
#include "tests/nn/random.h"
#include "tests/test.h"

static const uint32_t types[] = { QUANT_F32, QUANT_F16, QUANT_BF16, QUANT_Q8_0, QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0,
	QUANT_Q5_1, QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K };
enum { TYPES = sizeof types / sizeof *types };
static const double U = 0x1p-24; /* unit roundoff of float */

static float bf16_of(float f) /* to nearest, ties to even; finite */
{
	uint32_t x;
	memcpy(&x, &f, sizeof x);
	x = (x + 0x7fff + (x >> 16 & 1)) & 0xffff0000;
	memcpy(&f, &x, sizeof f);
	return f;
}

static int has_min(uint32_t type)
{
	return type == QUANT_Q4_1 || type == QUANT_Q5_1 || type == QUANT_Q4_K || type == QUANT_Q5_K;
}

static size_t unit_of(uint32_t type)
{
	return quant_block_weights(type) > OPS_ALIGN ? quant_block_weights(type) : OPS_ALIGN;
}

static struct matrix random_matrix(uint32_t type, size_t rows, size_t k)
{
	struct matrix w = { type, rows, k, NULL, quant_row_bytes(type, k) };
	size_t block = quant_block_bytes(type), n = rows * w.row_bytes;
	uint8_t *d = mem_aligned(64, n + 64);
	for (size_t i = 0; i < n; i++) d[i] = (uint8_t)random_bits();
	for (size_t at = 0; at < n; at += block) {
		uint16_t h[2] = { random_half(), random_half() };
		float f = random_float();
		if (type == QUANT_F32) memcpy(d + at, &f, 4);
		else if (type == QUANT_BF16) memcpy(d + at, (uint8_t *)&f + 2, 2);
		else if (type == QUANT_Q6_K) memcpy(d + at + 208, h, 2);
		else memcpy(d + at, h, has_min(type) ? 4 : 2);
	}
	w.data = d;
	return w;
}

static void matrix_drop(struct matrix *w)
{
	mem_free((void *)(uintptr_t)w->data);
}

/* What the tests know of a matrix: its weights as floats, and sizes of what they are sums of (scale * integer, and min). */
struct known {
	float *w, *size;
};

static struct known known_of(const struct matrix *m)
{
	struct known o = { mem_calloc(m->rows * m->k, sizeof(float)), mem_calloc(m->rows * m->k, sizeof(float)) };
	size_t block = quant_block_bytes(m->type), head = quant_block_weights(m->type) == 32 ? 4 : 16;
	uint8_t *row = mem_alloc(m->row_bytes);
	for (size_t r = 0; r < m->rows; r++) {
		float *w = o.w + r * m->k, *size = o.size + r * m->k;
		quant_row(m->type, m->data + r * m->row_bytes, m->k, w);
		if (has_min(m->type)) {         /* the row with every integer 0 is the mins */
			memcpy(row, m->data + r * m->row_bytes, m->row_bytes);
			for (size_t at = 0; at < m->row_bytes; at += block) memset(row + at + head, 0, block - head);
			quant_row(m->type, row, m->k, size);
		}
		for (size_t i = 0; i < m->k; i++) size[i] = fabsf(w[i] - size[i]) + fabsf(size[i]);
	}
	mem_free(row);
	return o;
}

static void known_drop(struct known *o)
{
	mem_free(o->w);
	mem_free(o->size);
}

/* A device with a matrix or two on it. */
struct rig {
	const struct gpu_table *t;
	struct gpu *g;
	struct matrix w[2];
	struct known known[2];
	struct gpu_matrix on[2];
	int two;
};

static struct rig rig_open(uint32_t type, size_t rows, size_t k, int two)
{
	struct rig r = { .t = test_gpu(), .two = two };
	struct err e;
	CHECK_OK(r.t->open(&r.g, 0, &e), e);
	for (int i = 0; i <= two; i++) {
		r.w[i] = random_matrix(type, rows, k);
		r.known[i] = known_of(&r.w[i]);
		CHECK_OK(r.t->matrix_load(r.g, &r.w[i], &r.on[i], &e), e);
		CHECK_INT(r.on[i].type, type);
		CHECK_INT(r.on[i].rows, rows);
		CHECK_INT(r.on[i].k, k);
	}
	return r;
}

static void rig_close(struct rig *r)
{
	for (int i = 0; i <= r->two; i++) {
		r->t->release(r->g, r->on[i].data);
		known_drop(&r->known[i]);
		matrix_drop(&r->w[i]);
	}
	r->t->close(r->g);
}

/* A call with host's pointers. y keeps what it has where nothing is stored. */
struct call {
	const float *bias, *norm, *x;
	size_t ldx, x_rows, ldy, n;
	const int32_t *pick;
	float *y;
	enum gpu_finish finish;
	int prompt;
};
static const float EPS = 1e-6f;

static void run(const struct rig *r, const struct call *c)
{
	size_t k = r->w[0].k, rows = r->w[0].rows;
	struct gpu_linear l = { .w = &r->on[0], .w2 = r->two ? &r->on[1] : NULL, .eps = EPS, .ldx = c->ldx, .ldy = c->ldy, .n = c->n,
		.finish = c->finish, .prompt = c->prompt };
	void *x = device(r->g, c->x, c->x_rows * c->ldx * sizeof(float)), *y = device(r->g, c->y, c->n * c->ldy * sizeof(float));
	void *bias = c->bias ? device(r->g, c->bias, rows * sizeof(float)) : NULL, *norm = c->norm ? device(r->g, c->norm, k * sizeof(float)) : NULL;
	void *pick = c->pick ? device(r->g, c->pick, c->n * sizeof(int32_t)) : NULL;
	l.x = x, l.y = y, l.bias = bias, l.norm = norm, l.pick = pick;
	r->t->linear(r->g, &l);
	out(r->g, c->y, y, c->n * c->ldy * sizeof(float));
	void *const all[] = { x, y, bias, norm, pick };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) r->t->release(r->g, all[i]);
}

/* The sum for one row, and how far off a GPU may be.
 * Decode: an activation is off by 2^-17 of itself (what rounding to 8 bits leaves, 2^-8, is rounded again); a term is added up in
 *   chains: of 128 numbers in a group and of k/128 in a segment, or of 6k/8 at most for the float formats. Each addition
 *   may cut, which is two roundings' worth.
 * Prompts: both factors are rounded to 8 bits, which is copied here; then a chain of k additions.
 * A norm: the sum of squares has k/256 + 16 additions, half of whose error comes through; and three roundings. In prompts that
 *   may turn the rounding to 8 bits: then x is the exact one here, and off by 2^-8. */
static double sum_of(const struct rig *r, int which, size_t row, const float *x, int prompt, int normed, double *tol)
{
	const size_t k = r->w[0].k;
	const float *w = r->known[which].w + row * k, *size = r->known[which].size + row * k;
	const int plain = quant_block_weights(r->w[0].type) == 1;
	double adds = prompt ? (double)k : plain ? 0.75 * (double)k + 16 : 128 + (double)k / 128 + 16, sum = 0, sizes = 0, tiny = 0;
	for (size_t i = 0; i < k; i++) {
		double xi = (double)(prompt && !normed ? bf16_of(x[i]) : x[i]), wi = (double)(prompt ? bf16_of(w[i]) : w[i]);
		sum += xi * wi;
		sizes += fabs(xi) * (prompt ? fabs(wi) : (double)size[i]);
		tiny += (double)size[i] * 0x1p-130;
	}
	*tol = tiny + sizes * ((prompt ? normed ? 0x1p-8 : 0 : 0x1p-17) + 2 * U * adds + (normed ? ((double)k / 256 + 24) * U : 0));
	return sum;
}

static double act(enum gpu_finish f, double g)
{
	return f == GPU_SILU_MUL ? g / (1 + exp(-g)) : g / 2 * (1 + tanh(0.79788456080286535588 * (g + 0.044715 * g * g * g)));
}

/* What row t should hold at `row`, which held `before`. */
static double want_of(const struct rig *r, const struct call *c, const float *x, size_t row, double before, double *tol)
{
	double tol2 = 0, a = sum_of(r, 0, row, x, c->prompt, c->norm != NULL, tol), b;
	if (c->bias) a += (double)c->bias[row], *tol += 2 * U * fabs(a);
	if (c->finish == GPU_STORE) return *tol += U * fabs(a), a;
	if (c->finish == GPU_ADD) return *tol += 2 * U * (fabs(a) + fabs(before)), a + before;
	b = sum_of(r, 1, row, x, c->prompt, c->norm != NULL, &tol2);
	/* the steepest of the two is 1.13; test_ops.c's own errors of them */
	double arg = fmin(1.6 * fabs(a) * (1 + 0.045 * a * a), 88), value = act(c->finish, a);
	*tol = 1.2 * *tol * (fabs(b) + tol2) + fabs(value) * tol2 + (16 + 4 * arg) * U * fabs(value * b) + fabs(a * b) * 0x1p-23 *
		(a < -5 ? 1 : 0) + 0x1p-126;
	return value * b;
}

/* One call against the sums; y's other places stay. */
static void check_call(const struct rig *r, struct call *c)
{
	const size_t k = r->w[0].k, rows = r->w[0].rows;
	float *before = mem_calloc(c->n * c->ldy, sizeof(float)), *x = mem_calloc(k, sizeof(float));
	for (size_t i = 0; i < c->n * c->ldy; i++) c->y[i] = before[i] = random_float();
	run(r, c);
	for (size_t t = 0; t < c->n; t++) {
		const int32_t from = c->pick ? c->pick[t] : (int32_t)t;
		if (from >= 0) memcpy(x, c->x + (size_t)from * c->ldx, k * sizeof(float));
		if (c->norm) ops_ref.norm(x, c->norm, k, EPS, x);
		for (size_t i = 0; i < c->ldy; i++) {
			const float got = c->y[t * c->ldy + i], old = before[t * c->ldy + i];
			double tol = 0, want = (double)old;
			if (from >= 0 && i < rows) want = want_of(r, c, x, i, (double)old, &tol);
			CHECK_MSG(fabs((double)got - want) <= tol, "%s %zux%zu n %zu prompt %d finish %d: row %zu token %zu: %g, want %g +- %g",
				quant_name(r->w[0].type), rows, k, c->n, c->prompt, (int)c->finish, i, t, (double)got, want, tol);
		}
	}
	mem_free(before);
	mem_free(x);
}

/* A call of n rows of n + 3, by turns with what a call may have. */
static void check_shape(uint32_t type, size_t rows, size_t k, size_t n, int prompt, unsigned turn)
{
	static const enum gpu_finish finishes[] = { GPU_STORE, GPU_SILU_MUL, GPU_ADD, GPU_GELU_MUL, GPU_STORE, GPU_ADD };
	const enum gpu_finish finish = finishes[turn % 6];
	struct rig r = rig_open(type, rows, k, finish == GPU_SILU_MUL || finish == GPU_GELU_MUL);
	struct call c = { .ldx = k + 4 * (turn % 3), .x_rows = n + 3, .ldy = rows + turn % 4, .n = n, .finish = finish,
		.prompt = prompt };
	float *x = mem_calloc(c.x_rows * c.ldx, sizeof(float)), *norm = mem_calloc(k, sizeof(float)), *bias = mem_calloc(rows, sizeof(float));
	int32_t *pick = mem_calloc(n, sizeof *pick);
	c.y = mem_calloc(n * c.ldy, sizeof(float));
	for (size_t i = 0; i < c.x_rows * c.ldx; i++) x[i] = random_float() * (i % 5 == 0 ? 30.0f : 1.0f) / sqrtf((float)k);
	for (size_t i = 0; i < k; i++) norm[i] = random_float();
	for (size_t i = 0; i < rows; i++) bias[i] = random_float();
	for (size_t i = 0; i < n; i++) pick[i] = random_bits() % 4 == 0 ? -1 : (int32_t)(random_bits() % c.x_rows);
	c.x = x;
	c.norm = turn % 2 ? NULL : norm;
	c.bias = !r.two && turn % 3 ? bias : NULL;
	c.pick = turn % 4 == 1 ? pick : NULL;
	check_call(&r, &c);
	void *const all[] = { x, norm, bias, pick, c.y };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
	rig_close(&r);
}

static void check_types(const size_t *n, size_t n_n, int prompt)
{
	static const size_t rows[] = { 1, 15, 16, 17, 40, 130 }, units[] = { 1, 2, 3, 5, 8 };
	unsigned turn = 0;
	for (size_t t = 0; t < TYPES; t++)
		for (size_t i = 0; i < n_n; i++)
			for (size_t u = 0; u < 2; u++, turn++)
				check_shape(types[t], rows[(turn + t) % 6], units[turn % 5] * unit_of(types[t]), n[i], prompt, turn + (unsigned)t);
}

TEST(gpu_linear_decode)
{
	static const size_t n[] = { 1, 2, 7, 8, 9, 17, 64 };
	check_types(n, sizeof n / sizeof *n, 0);
}

TEST(gpu_linear_prompt)
{
	static const size_t n[] = { 1, 31, 130 };
	check_types(n, sizeof n / sizeof *n, 1);
}

/* Every finish with every type, by both decode kernels and by that for prompts; odd groups of 32. */
TEST(gpu_linear_finishes)
{
	for (size_t t = 0; t < TYPES; t++)
		for (unsigned turn = 0; turn < 4; turn++) {
			check_shape(types[t], 20, unit_of(types[t]), 3, 0, turn);
			check_shape(types[t], 20, unit_of(types[t]), 11, 0, turn);
			check_shape(types[t], 20, unit_of(types[t]), 5, 1, turn);
		}
}

/* Long rows, many rows (a block has several panels, sums of segments are added in the kernel), matrices that work space takes
 * in pieces only, and activations of few rows that do not fit into shared memory. */
TEST(gpu_linear_large)
{
	check_shape(QUANT_Q4_K, 20, 2048, 1, 0, 0);
	check_shape(QUANT_BF16, 20, 2048, 3, 0, 1);
	check_shape(QUANT_Q8_0, 20, 2048, 8, 0, 2);
	check_shape(QUANT_F32, 33, 2048, 2, 0, 3);
	check_shape(QUANT_BF16, 700, 64, 2, 0, 4);
	check_shape(QUANT_Q6_K, 700, 256, 1, 0, 3);
	check_shape(QUANT_Q4_0, 700, 96, 70, 0, 1);
	check_shape(QUANT_Q5_K, 600, 256, 33, 0, 4);
	check_shape(QUANT_Q4_K, 40, 2048, 5, 1, 0);
	check_shape(QUANT_BF16, 700, 64, 200, 1, 1);
	check_shape(QUANT_Q8_0, 1000, 160, 70, 1, 4);
	check_shape(QUANT_F32, 300, 1024, 2, 0, 0);
	check_shape(QUANT_Q4_1, 1000, 1024, 5, 1, 4);
	check_shape(QUANT_Q6_K, 600, 1024, 3, 1, 3);
	check_shape(QUANT_F16, 5, 9216, 2, 0, 0);
	check_shape(QUANT_Q4_1, 5, 16384, 2, 0, 2);
}

/* Rows of a call one by one, in pairs, … : the same bits. */
static void check_bits(uint32_t type, size_t rows, size_t k, size_t n, int prompt, int two)
{
	static const size_t cuts[] = { 1, 2, 7, 8, 9, 17, 31, 64 };
	struct rig r = rig_open(type, rows, k, two);
	float *x = mem_calloc(n * k, sizeof(float)), *norm = mem_calloc(k, sizeof(float)), *all = mem_calloc(n * rows, sizeof(float)),
		*some = mem_calloc(n * rows, sizeof(float));
	for (size_t i = 0; i < n * k; i++) x[i] = random_float() * (i % 5 == 0 ? 100.0f : 1.0f);
	for (size_t i = 0; i < k; i++) norm[i] = random_float();
	struct call c = { .norm = norm, .x = x, .ldx = k, .x_rows = n, .ldy = rows, .n = n, .y = all, .prompt = prompt,
		.finish = two ? GPU_SILU_MUL : GPU_STORE };
	run(&r, &c);
	for (size_t i = 0, at = 0; i < sizeof cuts / sizeof *cuts && at < n; at += c.n, i++) {
		c.n = cuts[i] < n - at ? cuts[i] : n - at;
		c.x = x + at * k;
		c.x_rows = c.n;
		c.y = some;
		run(&r, &c);
		CHECK_MSG(memcmp(some, all + at * rows, c.n * rows * sizeof(float)) == 0,
			"%s %zux%zu prompt %d: %zu rows from %zu of %zu on have other bits than all of them", quant_name(type), rows, k, prompt, c.n,
			at, n);
	}
	void *const p[] = { x, norm, all, some };
	for (size_t i = 0; i < sizeof p / sizeof *p; i++) mem_free(p[i]);
	rig_close(&r);
}

TEST(gpu_linear_batch_invariant)
{
	for (size_t t = 0; t < TYPES; t++) check_bits(types[t], 33, unit_of(types[t]) == 256 ? 768 : 672, 45, 0, t % 2);
	check_bits(QUANT_Q4_K, 520, 256, 64, 0, 0);
	check_bits(QUANT_Q5_1, 300, 96, 40, 0, 1);
}

TEST(gpu_linear_prompt_cuts)
{
	for (size_t t = 0; t < TYPES; t++) check_bits(types[t], 33, unit_of(types[t]) == 256 ? 512 : 160, 130, 1, t % 2);
	check_bits(QUANT_BF16, 300, 64, 130, 1, 0);
}

/* As many rows as give every multiprocessor a block: from there on sums of segments are added in the kernel, and prompts go in tiles of
 * 128 x 128. Just there, and just below. */
TEST(gpu_linear_fills_device)
{
	const size_t sms = device_sms(), wide = 128 * sms, tiles = 64 * sms;
	check_shape(QUANT_BF16, wide + 5, 64, 12, 0, 0);
	check_shape(QUANT_Q4_K, wide - 100, 256, 64, 0, 2);
	check_shape(QUANT_Q8_0, wide - 128, 64, 64, 0, 4);
	check_shape(QUANT_Q6_K, tiles + 5, 256, 64, 0, 1);
	check_shape(QUANT_BF16, tiles + 5, 64, 130, 1, 0);
	check_shape(QUANT_Q4_K, tiles - 70, 256, 130, 1, 1);
	check_bits(QUANT_Q4_K, wide + 5, 256, 64, 0, 0);
	check_bits(QUANT_Q5_0, tiles + 5, 64, 64, 0, 1);
	check_bits(QUANT_BF16, tiles + 5, 64, 130, 1, 0);
	check_bits(QUANT_Q4_K, tiles + 5, 256, 130, 1, 1);
}

/* One 1 among zeros picks out a weight: quant_row's bits in decode, those rounded to 8 bits in a prompt. */
TEST(gpu_linear_weights_are_the_files)
{
	for (size_t t = 0; t < TYPES; t++) {
		const size_t k = unit_of(types[t]) == 256 ? 256 : 96, rows = 19;
		struct rig r = rig_open(types[t], rows, k, 0);
		float *x = mem_calloc(k * k, sizeof(float)), *y = mem_calloc(k * rows, sizeof(float));
		for (size_t i = 0; i < k; i++) x[i * k + i] = 1;
		for (int prompt = 0; prompt < 2; prompt++) {
			run(&r, &(struct call){ .x = x, .ldx = k, .x_rows = k, .ldy = rows, .n = k, .y = y, .prompt = prompt });
			for (size_t i = 0; i < k; i++)
				for (size_t row = 0; row < rows; row++) {
					float want = r.known[0].w[row * k + i];
					if (prompt) want = bf16_of(want);
					CHECK_MSG(y[i * rows + row] == want, "%s prompt %d row %zu weight %zu: %a, want %a", quant_name(types[t]), prompt,
						row, i, (double)y[i * rows + row], (double)want);
				}
		}
		mem_free(x);
		mem_free(y);
		rig_close(&r);
	}
}

/* The tolerance tells two parts of an activation from one: with activations rounded to 8 bits most sums are out of it. */
TEST(gpu_linear_tolerance_is_tight)
{
	for (size_t t = 0; t < TYPES; t++) {
		const size_t k = unit_of(types[t]) == 256 ? 256 : 64, rows = 64;
		struct rig r = rig_open(types[t], rows, k, 0);
		size_t out = 0;
		float x[256], cut[256];
		for (size_t i = 0; i < k; i++) x[i] = random_float(), cut[i] = bf16_of(x[i]);
		for (size_t row = 0; row < rows; row++) {
			double tol, unused, want = sum_of(&r, 0, row, x, 0, 0, &tol);
			out += fabs(sum_of(&r, 0, row, cut, 0, 0, &unused) - want) > tol;
		}
		CHECK_MSG(out > rows * 3 / 4, "%s: %zu of %zu", quant_name(types[t]), out, rows);
		rig_close(&r);
	}
}

/* A chain of products: the bits of its products one by one. Types that change, rows that fill no panel, finishes of their own. */
static void check_chain(const uint32_t type[4], size_t n, int prompt)
{
	enum { LINKS = 4, K = 512 };
	static const size_t rows[LINKS] = { 40, 17, 150, 16 };
	const struct gpu_table *t = test_gpu();
	struct gpu_linear link[LINKS];
	struct gpu_matrix on[LINKS];
	void *y[2][LINKS];
	float *host = mem_calloc(n * 150, sizeof(float)), *again = mem_calloc(n * 150, sizeof(float)), *x = mem_calloc((n + 1) * K, sizeof(float));
	struct rig r = { .t = t };
	struct err e;
	CHECK_OK(t->open(&r.g, 0, &e), e);
	for (size_t i = 0; i < (n + 1) * K; i++) x[i] = random_float();
	void *on_x = device(r.g, x, n * K * sizeof(float)), *norm = device(r.g, x + K, K * sizeof(float)), *bias = device(r.g, x, 150 * sizeof(float));
	for (size_t i = 0; i < LINKS; i++) {
		struct matrix w = random_matrix(type[i], rows[i], K);
		CHECK_OK(t->matrix_load(r.g, &w, &on[i], &e), e);
		matrix_drop(&w);
		for (size_t j = 0; j < n * rows[i]; j++) host[j] = random_float();
		for (int j = 0; j < 2; j++) y[j][i] = device(r.g, host, n * rows[i] * sizeof(float));
		link[i] = (struct gpu_linear){ .w = &on[i], .bias = i % 2 ? bias : NULL, .norm = norm, .eps = EPS, .x = on_x, .ldx = K, .y = y[0][i],
			.ldy = rows[i], .finish = i == 2 ? GPU_ADD : GPU_STORE, .n = n, .prompt = prompt };
		t->linear(r.g, &link[i]);
	}
	for (size_t i = 0; i < LINKS; i++) {
		link[i].y = y[1][i];
		link[i].next = i + 1 < LINKS ? &link[i + 1] : NULL;
		if (i) link[i].x = link[i].norm = NULL, link[i].n = 0;  /* not looked at */
	}
	t->linear(r.g, link);
	for (size_t i = 0; i < LINKS; i++) {
		t->copy_out(r.g, host, y[0][i], n * rows[i] * sizeof(float));
		t->copy_out(r.g, again, y[1][i], n * rows[i] * sizeof(float));
		CHECK_OK(t->sync(r.g, &e), e);
		CHECK_MSG(memcmp(host, again, n * rows[i] * sizeof(float)) == 0, "link %zu (%s) of a chain, n %zu, prompt %d: other bits than alone", i,
			quant_name(type[i]), n, prompt);
	}
	t->close(r.g);
	mem_free(host);
	mem_free(again);
	mem_free(x);
}

TEST(gpu_linear_chains)
{
	static const uint32_t mixed[] = { QUANT_Q4_K, QUANT_Q4_K, QUANT_Q6_K, QUANT_BF16 },
		same[] = { QUANT_Q8_0, QUANT_Q8_0, QUANT_Q8_0, QUANT_Q8_0 };
	static const size_t n[] = { 1, 3, 12, 40, 130 };
	for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
		check_chain(mixed, n[i], 0);
		check_chain(same, n[i], 0);
		check_chain(mixed, n[i], 1);
	}
}

TEST(gpu_linear_not_a_number)
{
	struct rig r = rig_open(QUANT_Q4_K, 20, 256, 0);
	float x[3 * 256], y[3 * 20];
	for (size_t i = 0; i < 3 * 256; i++) x[i] = random_float();
	x[256 + 77] = INFINITY;
	x[2 * 256 + 5] = NAN;
	for (int prompt = 0; prompt < 2; prompt++) {
		run(&r, &(struct call){ .x = x, .ldx = 256, .x_rows = 3, .ldy = 20, .n = 3, .y = y, .prompt = prompt });
		for (size_t i = 0; i < 20; i++) CHECK(isfinite(y[i]) && !isfinite(y[20 + i]) && isnan(y[40 + i]));
	}
	rig_close(&r);
}

static uint64_t held(const struct rig *r)
{
	struct gpu_info i;
	r->t->info(r->g, &i);
	return i.held;
}

/* What matrices and products with them take is what was told before. */
TEST(gpu_matrix_bytes)
{
	static const struct { uint32_t type; size_t rows, k; } sizes[] = { { QUANT_F32, 17, 2048 }, { QUANT_Q4_K, 5, 256 },
		{ QUANT_Q6_K, 33, 512 }, { QUANT_Q8_0, 16, 96 }, { QUANT_BF16, 40, 2048 } };
	struct rig r = { .t = test_gpu() };
	struct gpu_matrix on;
	struct err e;
	CHECK_OK(r.t->open(&r.g, 0, &e), e);
	const uint64_t begin = held(&r), work = r.t->work_bytes(r.g, 2048);
	CHECK_OK(r.t->work_make(r.g, 2048, &e), e);
	CHECK_INT(held(&r), begin + work);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct matrix w = random_matrix(sizes[i].type, sizes[i].rows, sizes[i].k);
		CHECK(r.t->matrix_bytes(&w) >= sizes[i].rows * quant_row_bytes(sizes[i].type, sizes[i].k));
		CHECK_OK(r.t->matrix_load(r.g, &w, &on, &e), e);
		CHECK_INT(on.bytes, r.t->matrix_bytes(&w));
		CHECK_INT(held(&r), begin + work + on.bytes);
		r.t->release(r.g, on.data);
		CHECK_INT(held(&r), begin + work);
		matrix_drop(&w);
	}
	r.t->close(r.g);
}

TEST(gpu_matrix_sizes)
{
	const struct gpu_table *t = test_gpu();
	struct gpu_info before, after;
	struct gpu_matrix m;
	struct gpu *g;
	struct err e;
	CHECK_OK(t->open(&g, 0, &e), e);
	for (size_t i = 0; i < TYPES; i++) {
		struct matrix w = random_matrix(types[i], 64, 1536);
		CHECK_OK(t->matrix_load(g, &w, &m, &e), e);
		const uint64_t file = w.rows * w.row_bytes;
		CHECK_MSG(m.bytes >= file && m.bytes * 100 <= file * 103, "%s: %zu bytes, %zu on the device", quant_name(types[i]),
			(size_t)file, (size_t)m.bytes);
		t->info(g, &before);
		t->release(g, m.data);
		t->info(g, &after);
		CHECK_INT(after.held, before.held - m.bytes);
		matrix_drop(&w);
	}
	CHECK_INT(t->matrix_load(g, &(struct matrix){ 10, 64, 256, NULL, 84 }, &m, &e), E_UNSUPPORTED);
	CHECK(strstr(e.msg, "Q2_K") && !m.data);
	CHECK_INT(t->matrix_load(g, &(struct matrix){ QUANT_F32, 4, 40, NULL, 160 }, &m, &e), E_UNSUPPORTED);
	t->close(g);
}

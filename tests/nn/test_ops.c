/* test_ops.c: every vector kernel against the plain loops, over odd sizes and edge values, and the promise that a
 * result does not depend on who shares its call. */
#include <math.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/ops.h"
#include "nn/pack.h"
#include "nn/quant.h"
#include "tests/nn/random.h"
#include "tests/test.h"

static const uint32_t types[] = { QUANT_F32, QUANT_F16, QUANT_BF16, QUANT_Q8_0, QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0,
	QUANT_Q5_1, QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K };
static const double U = 0x1p-24; /* unit roundoff of float */

static const struct ops *table(const char *name)
{
	const struct ops *o;
	struct err e;
	if (ops_choose(&o, name, &e) != OK) test_skip("%s", e.msg);
	return o;
}

static int two_scales(uint32_t type)
{
	return type == QUANT_Q4_1 || type == QUANT_Q5_1 || type == QUANT_Q4_K || type == QUANT_Q5_K;
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
		else memcpy(d + at, h, two_scales(type) ? 4 : 2);
	}
	w.data = d;
	return w;
}

/* Each lane's running sum takes k/8 terms and rounds once a term; the tree adds a few more; a weight is rounded
 * differently by at most two roundings of |d*q| + |m|, which is under four times the largest weight of the row. */
static void check_matmul(const struct ops *o, const struct matrix *w, size_t n)
{
	size_t k = w->k, ldx = k + 32, ldy = w->rows + 3;
	float *x = mem_aligned(64, n * ldx * 4), *y = mem_calloc(n * ldy, 4), *z = mem_calloc(n * ldy, 4),
		*one = mem_calloc(ldy, 4);
	float *scratch = mem_aligned(64, ops_scratch_floats(k) * 4), *row = mem_calloc(k, 4);
	for (size_t i = 0; i < n * ldx; i++) x[i] = random_float() * (i % 5 == 0 ? 100.0f : 1.0f);
	o->matmul(w, 0, w->rows, x, ldx, n, y, ldy, scratch);
	ops_ref.matmul(w, 0, w->rows, x, ldx, n, z, ldy, scratch);
	for (size_t r = 0; r < w->rows; r++) {
		double most = 0;
		quant_row(w->type, w->data + r * w->row_bytes, k, row);
		for (size_t i = 0; i < k; i++) most = fabs((double)row[i]) > most ? fabs((double)row[i]) : most;
		for (size_t t = 0; t < n; t++) {
			double terms = 0, tol;
			for (size_t i = 0; i < k; i++)
				terms += fabs((double)x[t * ldx + i]) * (fabs((double)row[i]) * (double)(k / 8 + 8) + 8 * most);
			tol = U * terms;
			CHECK_MSG(fabs((double)y[t * ldy + r] - (double)z[t * ldy + r]) <= tol,
				"%s %s %zux%zu n %zu: row %zu token %zu: %g, want %g +- %g",
				o->name, quant_name(w->type), w->rows, k, n, r, t, (double)y[t * ldy + r], (double)z[t * ldy + r], tol);
		}
	}
	for (size_t t = 0; t < n; t++) { /* alone, and in two parts of the rows: the same bits */
		size_t cut = w->rows > OPS_TILE_ROWS ? OPS_TILE_ROWS : w->rows;
		o->matmul(w, cut, w->rows, x + t * ldx, ldx, 1, one, ldy, scratch);
		o->matmul(w, 0, cut, x + t * ldx, ldx, 1, one, ldy, scratch);
		CHECK_MSG(memcmp(one, y + t * ldy, w->rows * 4) == 0, "%s %s: token %zu of %zu has other bits alone", o->name,
			quant_name(w->type), t, n);
	}
	float *const all[] = { x, y, z, one, scratch, row };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

static void check_table(const char *name)
{
	static const size_t rows[] = { 1, 3, 4, 5, 31, 32, 33, 70 }, units[] = { 1, 2, 3, 9 };
	static const size_t tokens[] = { 1, 2, 3, 4, 5, 6, 7, 13, 64 };
	const struct ops *o = table(name);
	for (size_t t = 0; t < sizeof types / sizeof *types; t++)
		for (size_t r = 0; r < sizeof rows / sizeof *rows && (o == &ops_ref || !pack_supported(types[t])); r++)
			for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
				size_t unit = quant_block_weights(types[t]) > OPS_ALIGN ? quant_block_weights(types[t]) : OPS_ALIGN;
				struct matrix w = random_matrix(types[t], rows[r], units[u] * unit);
				check_matmul(o, &w, tokens[(r * 4 + u + t) % (sizeof tokens / sizeof *tokens)]);
				mem_free((void *)(uintptr_t)w.data);
			}
}

/* Rows of the golden weights of float types: one token, then several, each of one 1 among zeros, which picks out a
 * weight. */
static void check_extremes(const char *name)
{
	const struct ops *o = table(name);
	struct buf file;
	struct err e;
	buf_init(&file, 1 << 20);
	CHECK_OK(file_read(test_data("golden/quant_blocks.bin"), &file, &e), e);
	for (size_t at = 0; at < file.len;) {
		uint32_t head[3];
		memcpy(head, file.data + at, sizeof head);
		size_t k = head[2] / OPS_ALIGN * OPS_ALIGN, n = 5;
		uint8_t *data = mem_aligned(64, (head[1] + 63) / 64 * 64);
		float *x = mem_calloc(n * k, 4), *want = mem_calloc(head[2], 4), y[5],
			*scratch = mem_aligned(64, ops_scratch_floats(k) * 4);
		memcpy(data, file.data + at + sizeof head, head[1]);
		memcpy(want, file.data + at + sizeof head + head[1], head[2] * sizeof *want);
		struct matrix w = { head[0], 1, k, data, quant_row_bytes(head[0], k) };
		for (size_t i = 0; i < k && !pack_supported(head[0]); i++) {
			for (size_t t = 0; t < n; t++) x[t * k + (i + 7 * t) % k] = 1;
			o->matmul(&w, 0, 1, x, k, i % 2 ? n : 1, y, 1, scratch);
			for (size_t t = 0; t < (i % 2 ? n : 1); t++) {
				float value = want[(i + 7 * t) % k];
				CHECK_MSG(y[t] == value, "%s %s weight %zu: %a, want %a", name,
					quant_name(head[0]), (i + 7 * t) % k, (double)y[t], (double)value);
			}
			for (size_t t = 0; t < n; t++) x[t * k + (i + 7 * t) % k] = 0;
		}
		float *const all[] = { x, want, scratch, (float *)(void *)data };
		for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
		at += sizeof head + head[1] + head[2] * sizeof(float);
	}
	buf_clear(&file);
}

TEST(ops_extremes_avx2) { check_extremes("avx2"); }
TEST(ops_extremes_avx512) { check_extremes("avx512"); }

TEST(ops_matmul_avx2) { check_table("avx2"); }
TEST(ops_matmul_avx512) { check_table("avx512"); }
TEST(ops_matmul_ref_alone) { check_table("ref"); }

static void check_norm(const struct ops *o)
{
	float x[1024], w[1024], y[1024], z[1024];
	for (size_t n = 32; n <= 1024; n += 32)
		for (int kind = 0; kind < 4; kind++) {
			static const float size[] = { 0, 1, 1e15f, 1e-18f };
			for (size_t i = 0; i < n; i++) x[i] = random_float() * size[kind], w[i] = random_float();
			o->norm(x, w, n, 1e-6f, y);
			ops_ref.norm(x, w, n, 1e-6f, z);
			for (size_t i = 0; i < n; i++) /* half the sum's relative error, and five roundings */
				CHECK_MSG(fabs((double)y[i] - (double)z[i]) <= (double)(n / 16 + 8) * U * fabs((double)z[i]) + 0x1p-149,
					"%s norm n %zu kind %d: %g, want %g", o->name, n, kind, (double)y[i], (double)z[i]);
		}
}

static void check_silu(const struct ops *o)
{
	static const float edge[] = { 0, -0.0f, 1, -1, 88, -88, 87.3f, -87.3f, 200, -200, 1e30f, -1e30f, 1e-30f, 0x1p-149f,
		0.5f, -0.34f };
	float g[64], u[64], y[64], z[64];
	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i < 64; i++)
			g[i] = i < 16 ? edge[i] : random_float() * 40, u[i] = round ? random_float() : 1;
		o->silu_mul(g, u, 64, y);
		ops_ref.silu_mul(g, u, 64, z);
		for (size_t i = 0; i < 64; i++) { /* exp is good to 4 U, three more roundings; under -87 next to 0 */
			double tiny = g[i] < -87 ? fabs((double)g[i]) * 2e-38 : 0x1p-149;
			CHECK_MSG(fabs((double)y[i] - (double)z[i]) <= 8 * U * fabs((double)z[i]) + tiny,
				"%s silu(%g): %g, want %g", o->name, (double)g[i], (double)y[i], (double)z[i]);
		}
	}
	g[0] = NAN;
	o->silu_mul(g, u, 64, y);
	CHECK(isnan(y[0]));
}

static void check_gelu(const struct ops *o)
{
	static const float edge[] = { 0, -0.0f, 1, -1, 9, -9, 9.9f, -9.9f, 200, -200, 1e30f, -1e30f, 1e-30f, 0x1p-149f,
		0.5f, -0.34f };
	float g[64], u[64], y[64], z[64];
	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i < 64; i++)
			g[i] = i < 16 ? edge[i] : random_float() * 6, u[i] = round ? random_float() : 1;
		o->gelu_mul(g, u, 64, y);
		ops_ref.gelu_mul(g, u, 64, z);
		for (size_t i = 0; i < 64; i++) { /* as silu, and exp's argument is off by 3 U of itself; 1 + tanh ends at 2^-53 */
			double x = fabs((double)g[i]), arg = fmin(1.6 * x * (1 + 0.045 * x * x), 88);
			double tiny = g[i] < -5 ? x * 0x1p-53 : 0x1p-148;
			CHECK_MSG(fabs((double)y[i] - (double)z[i]) <= (8 + 3 * arg) * U * fabs((double)z[i]) + tiny,
				"%s gelu(%g): %g, want %g", o->name, (double)g[i], (double)y[i], (double)z[i]);
		}
	}
	g[0] = NAN;
	o->gelu_mul(g, u, 64, y);
	CHECK(isnan(y[0]));
}

/* Pages that lie backwards and apart, with NaN wherever nothing must be read. */
static void check_attend(const struct ops *o, size_t first, size_t n, size_t hd, float spread)
{
	enum { PAGE = 8 };
	size_t pages = (first + n + PAGE - 1) / PAGE, stride = 3 * PAGE * hd, all_n = 2 * pages * stride;
	float *q = mem_calloc(hd, 4), *s = mem_aligned(64, ops_attend_floats(hd, n) * 4), *y = mem_calloc(hd, 4),
		*z = mem_calloc(hd, 4);
	float scale = 1 / sqrtf((float)hd);
	uint16_t *store = mem_calloc(all_n, 2);
	uint32_t *page = mem_calloc(pages, sizeof *page);
	struct ops_pages kv = { .base = store + PAGE * hd, .stride = stride, .len = PAGE, .page = page };
	double most = 0, size = 0;
	memset(store, 0xff, all_n * 2);
	for (size_t i = 0; i < hd; i++) q[i] = random_float() * spread, size += fabs((double)q[i]);
	for (size_t i = 0; i < pages; i++) page[i] = (uint32_t)(2 * (pages - 1 - i));
	for (size_t p = first; p < first + n; p++)
		for (size_t i = 0; i < 2 * hd; i++) {
			size_t at = PAGE * hd + page[p / PAGE] * stride + (p % PAGE + (i < hd ? 0 : PAGE)) * hd + i % hd;
			store[at] = random_half();
			if (i >= hd) most = fmax(most, fabs((double)quant_half(store[at])));
		}
	struct ops_attend a = { .q = q, .tokens = 1, .heads = 1, .head_dim = hd, .pos = first + n - 1, .window = n, .kv = &kv,
		.scale = scale, .out = y };
	o->attend(&a, s);
	a.out = z;
	ops_ref.attend(&a, s);
	/* a score is off by hd U sum|q k|, keys being up to 2, which exp turns into a relative error of each share; the sums add n/8
	 * and n roundings */
	double tol = most * U * (4 * (double)(hd + 8) * size * (double)scale + 2 * (double)n + 16);
	for (size_t i = 0; i < hd; i++)
		CHECK_MSG(fabs((double)y[i] - (double)z[i]) <= tol, "%s attend n %zu head %zu spread %g: %g, want %g +- %g",
			o->name, n, hd, (double)spread, (double)y[i], (double)z[i], tol);
	void *const all[] = { q, s, y, z, store, page };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

/* A piece of a call: tokens from t on, heads from h on. */
static struct ops_attend attend_piece(const struct ops_attend *a, size_t t, size_t tokens, size_t h, size_t heads,
	float *out)
{
	struct ops_attend b = *a;
	b.tokens = tokens;
	b.heads = heads;
	b.pos = a->pos + t;
	b.q = a->q + t * a->ldq + h * a->head_dim;
	b.out = out + t * a->ldo + h * a->head_dim;
	return b;
}

/* Attention of many queries together, and of the same ones in pieces: against sums in double, and the same bits. The
 * last token's key and value are beyond halves: nobody else's result shows it. */
static void check_attend_many(const struct ops *o, int prompt, size_t tokens, size_t heads, size_t hd, size_t pos,
	size_t window, float spread)
{
	enum { PAGE = 32 };
	void (*attend)(const struct ops_attend *, void *) = prompt ? o->prompt_attend : o->attend;
	size_t n = pos + tokens, pages = (n + PAGE - 1) / PAGE, stride = 2 * PAGE * hd, ld = heads * hd + 5;
	int amx = prompt && o == &ops_amx;
	float *q = mem_calloc(tokens * ld, 4), *y = mem_calloc(tokens * ld, 4), *z = mem_calloc(tokens * ld, 4),
		*part = mem_calloc(tokens * ld, 4);
	float *scratch = mem_aligned(64, ops_attend_floats(hd, n) * 4);
	uint16_t *store = mem_calloc(pages * stride, 2);
	uint32_t *page = mem_calloc(pages, sizeof *page);
	struct ops_pages kv = { .base = store, .stride = stride, .len = PAGE, .page = page };
	struct ops_attend a = { .q = q, .ldq = ld, .tokens = tokens, .heads = heads, .head_dim = hd, .pos = pos,
		.window = window, .kv = &kv, .scale = 1 / sqrtf((float)hd), .out = y, .ldo = ld };
	memset(store, 0xff, pages * stride * 2);
	for (size_t i = 0; i < tokens * ld; i++) q[i] = random_float() * spread;
	for (size_t i = 0; i < pages; i++) page[i] = (uint32_t)(pages - 1 - i);
	for (size_t p = window && pos + 1 > window && !amx ? pos + 1 - window : 0; p < n; p++)
		for (size_t i = 0; i < 2 * hd; i++)
			store[page[p / PAGE] * stride + (p % PAGE + (i < hd ? 0 : PAGE)) * hd + i % hd] = random_half();
	attend(&a, scratch);
	a.out = z;
	ops_ref.prompt_attend(&a, scratch);
	/* values are up to 2; a score is off by 2^-15 (plain floats: hd U) of sum |q k| scale, which is under 2 hd/2 spread
	 * scale, and a share's error is twice that; shares and values lose 2^-9 each */
	double score = (amx ? 0x1p-15 : ((double)hd + 8) * U) * (double)hd * (double)spread * (double)a.scale;
	double tol = 2 * (2 * score + (amx ? 0x1p-7 : 0) + ((double)n + 16) * U);
	for (size_t t = 0; t < tokens; t++)
		for (size_t i = 0; i < heads * hd; i++)
			CHECK_MSG(fabs((double)y[t * ld + i] - (double)z[t * ld + i]) <= tol,
				"%s attend %zu tokens from %zu, %zu x %zu, window %zu: %g, want %g +- %g", o->name, tokens, pos, heads,
				hd, window, (double)y[t * ld + i], (double)z[t * ld + i], tol);
	for (size_t t = 0, m; t < tokens; t += m) {
		size_t h = random_bits() % heads;
		m = 1 + random_bits() % 40;
		m = m < tokens - t ? m : tokens - t;
		struct ops_attend some = attend_piece(&a, t, m, 0, h, part), rest = attend_piece(&a, t, m, h, heads - h, part);
		if (h) attend(&some, scratch);
		attend(&rest, scratch);
	}
	for (size_t t = 0; t < tokens; t++)
		CHECK_MSG(memcmp(part + t * ld, y + t * ld, heads * hd * 4) == 0, "%s attend: other bits in pieces", o->name);
	if (!amx) {
		uint16_t *last = store + page[(n - 1) / PAGE] * stride + (n - 1) % PAGE * hd;
		for (size_t i = 0; i < hd; i++) last[i] = last[PAGE * hd + i] = i % 2 ? 0x7c00 : 0xfc00;
		a.out = part;
		attend(&a, scratch);
		for (size_t t = 0; t + 1 < tokens; t++)
			CHECK_MSG(memcmp(part + t * ld, y + t * ld, heads * hd * 4) == 0, "%s attend: another's key in token %zu", o->name, t);
	}
	void *const all[] = { q, y, z, part, scratch, store, page };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

static void check_attends(const char *name)
{
	static const struct { size_t tokens, heads, hd, pos, window; float spread; } c[] = { { 1, 1, 16, 0, 0, 1 },
		{ 5, 3, 64, 0, 0, 1 }, { 70, 3, 64, 0, 0, 30 }, { 130, 7, 64, 61, 0, 1 }, { 100, 6, 128, 200, 0, 3 },
		{ 33, 2, 48, 129, 40, 1 }, { 150, 1, 256, 70, 64, 1 }, { 20, 4, 80, 7, 3, 100 }, { 3, 1, 272, 5, 0, 1 }, { 260, 5, 128, 3, 0, 1 },
		{ 1, 7, 64, 127, 0, 1 }, { 1, 5, 48, 128, 0, 1 }, { 2, 4, 32, 190, 100, 1 } };
	const struct ops *o = table(name);
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		check_attend_many(o, 1, c[i].tokens, c[i].heads, c[i].hd, c[i].pos, c[i].window, c[i].spread);
		check_attend_many(o, 0, c[i].tokens, c[i].heads, c[i].hd, c[i].pos, c[i].window, c[i].spread);
	}
}

TEST(ops_attend_avx2) { check_attends("avx2"); }
TEST(ops_attend_avx512) { check_attends("avx512"); }
TEST(ops_attend_amx) { check_attends("amx"); }

/* Every half comes back, halfway cases go to even, and the tables agree to the bit. */
static void check_halves(const struct ops *o)
{
	float x[16];
	uint16_t got[16], want[16];
	for (uint32_t h = 0; h < 65536; h += 8) {
		for (uint32_t i = 0; i < 16; i++) {
			float a = quant_half((uint16_t)(h + i % 8)), b = quant_half((uint16_t)((h + i % 8 + 1) & 0xffff));
			x[i] = i < 8 ? a : (a + b) / 2;
		}
		o->halves(x, 16, got);
		ops_ref.halves(x, 16, want);
		CHECK_MSG(memcmp(got, want, sizeof got) == 0, "%s halves near %x", o->name, h);
		for (uint32_t i = 0; i < 8; i++) CHECK(isnan(x[i]) ? isnan(quant_half(got[i])) : got[i] == h + i);
		for (uint32_t i = 8; i < 16; i++) CHECK(isnan(x[i]) || (got[i] & 1) == 0);
	}
	for (int round = 0; round < 2000; round++) {
		for (size_t i = 0; i < 16; i++) x[i] = ldexpf(random_float(), round % 50 - 30);
		o->halves(x, 16, got);
		ops_ref.halves(x, 16, want);
		CHECK(memcmp(got, want, sizeof got) == 0);
	}
}

static void check_rest(const char *name)
{
	static const size_t n[] = { 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 100, 1001 }, heads[] = { 16, 48, 64, 80, 128 };
	const struct ops *o = table(name);
	check_norm(o);
	check_silu(o);
	check_gelu(o);
	check_halves(o);
	for (size_t i = 0; i < sizeof n / sizeof *n; i++)
		for (size_t h = 0; h < sizeof heads / sizeof *heads; h++) {
			check_attend(o, 0, n[i], heads[h], 1);
			check_attend(o, 13, n[i], heads[h], 0);
			check_attend(o, i % 9, n[i], heads[h], 500);
		}
}

TEST(ops_others_avx2) { check_rest("avx2"); }
TEST(ops_others_avx512) { check_rest("avx512"); }

static int same_bits(const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i]))) return 0;
	return 1;
}

/* Activations of all kinds: ordinary, ties, extremes of one sign or both (which with the largest weights fill what
 * holds the sums), zeros, ones too small, and in a few rows ones without measure. */
static void random_row(float *x, size_t k, uint32_t kind)
{
	for (size_t i = 0; i < k; i++) {
		uint32_t r = random_bits();
		switch (kind % 8) {
		case 0: x[i] = (float)(int)(r % 255) - 127 + (i % 32 == 0 ? 0 : 0.5f); break;
		case 1: x[i] = 1; break;
		case 2: x[i] = i % 2 ? -3 : 3; break;
		case 3: x[i] = r % 4 ? 0 : random_float(); break;
		case 4: x[i] = random_float() * (i / 32 % 2 ? 1e-33f : 1e38f); break;
		case 5: x[i] = r % 97 ? random_float() : kind & 8 ? INFINITY : -NAN; break;
		default: x[i] = random_float() * (i % 5 == 0 ? 100.0f : 1.0f);
		}
	}
}

/* The table's activations and products of the packed matrix, whole and cut in two: the plain loops' bits. */
static void check_packed_matrix(const struct ops *o, const struct matrix *w, size_t n)
{
	struct packed p = pack_shape(w->type, w->rows, w->k);
	size_t act = o->act_bytes(w->k), ldy = w->rows + 3, cut = p.panels / 2;
	uint8_t *data = mem_aligned(PACK_VECTOR, p.panels * p.panel_bytes), *acts = mem_aligned(64, (n * act + 63) / 64 * 64),
		*plain = mem_calloc(n, act);
	float *x = mem_calloc(w->k, 4), *y = mem_calloc(n * ldy, 4), *z = mem_calloc(n * ldy, 4),
		*scratch = mem_aligned(64, ops_scratch_floats(w->k) * 4);
	for (size_t i = 0; i < p.panels; i++) pack_panel(w, i, data + i * p.panel_bytes);
	p.data = data;
	CHECK_INT(act, ops_plain_act_bytes(w->k));
	for (size_t t = 0; t < n; t++) {
		random_row(x, w->k, random_bits() >> 8);
		o->act(x, w->k, acts + t * act);
		ops_plain_act(x, w->k, plain + t * act);
		CHECK_MSG(memcmp(acts + t * act, plain + t * act, act) == 0, "%s: other activations", o->name);
	}
	o->mul(&p, 0, cut, acts, n, y, ldy, scratch);
	o->mul(&p, cut, p.panels, acts, n, y + cut * PACK_ROWS, ldy, scratch);
	ops_plain_mul(&p, 0, p.panels, plain, n, z, ldy, NULL);
	CHECK_MSG(same_bits(y, z, n * ldy), "%s %s %zux%zu n %zu: other bits than the plain loops", o->name,
		quant_name(w->type), w->rows, w->k, n);
	void *const all[] = { data, acts, plain, x, y, z, scratch };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

/* kind 0: random; 1 and 2: every quant the largest, the smallest; 3: scales of every kind too. */
static struct matrix packed_case(uint32_t type, size_t rows, size_t k, int kind)
{
	struct matrix w = random_matrix(type, rows, k);
	uint8_t *d = (uint8_t *)(uintptr_t)w.data;
	size_t block = quant_block_bytes(type), head = two_scales(type) ? 4 : type == QUANT_Q6_K ? 0 : 2,
		tail = type == QUANT_Q6_K ? 2 : 0;
	for (size_t at = 0; at < rows * w.row_bytes; at += block) {
		if (kind == 3) for (size_t i = 0; i < block; i++) d[at + i] = (uint8_t)random_bits();
		else if (kind && type == QUANT_Q8_0) memset(d + at + head, kind == 1 ? 0x7f : 0x80, 32);
		else if (kind) memset(d + at + head, kind == 1 ? 0xff : 0, block - head - tail);
	}
	return w;
}

static void check_packed(const char *name)
{
	static const size_t rows[] = { 1, 15, 16, 17, 33, 70 }, blocks[] = { 1, 2, 3, 5 },
		tokens[] = { 1, 2, 3, 5, 8, 17, 64, 65 };
	const struct ops *o = table(name);
	size_t turn = 0;
	for (size_t t = 0; t < sizeof types / sizeof *types; t++)
		for (size_t r = 0; r < sizeof rows / sizeof *rows && pack_supported(types[t]); r++)
			for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
				for (int kind = 0; kind < 4; kind++, turn++) {
					struct matrix w = packed_case(types[t], rows[r], blocks[b] * quant_block_weights(types[t]), kind);
					check_packed_matrix(o, &w, kind == 0 ? tokens[turn / 4 % 8] : tokens[turn % 3]);
					mem_free((void *)(uintptr_t)w.data);
				}
}

/* The same for the products of prompts; each token alone too. */
static void check_prompt_matrix(const struct matrix *w, size_t n, uint32_t kinds)
{
	const struct ops *o = &ops_amx;
	struct packed p = pack_shape(w->type, w->rows, w->k);
	size_t bytes = o->prompt_bytes(w->k, n), cut = p.panels / 2, ldy = (p.panels + 2) * PACK_ROWS + 3,
		room = (n + OPS_PROMPT_TOKENS - 1) / OPS_PROMPT_TOKENS * OPS_PROMPT_TOKENS;
	uint8_t *data = mem_aligned(PACK_VECTOR, p.panels * p.panel_bytes), *acts = mem_aligned(64, bytes),
		*plain = mem_aligned(64, bytes);
	float *x = mem_calloc(n * w->k, 4), *y = mem_calloc(room * ldy, 4), *z = mem_calloc(n * ldy, 4),
		*one = mem_calloc(OPS_PROMPT_TOKENS * ldy, 4), *scratch = mem_aligned(64, ops_scratch_floats(w->k) * 4);
	for (size_t i = 0; i < p.panels; i++) pack_panel(w, i, data + i * p.panel_bytes);
	p.data = data;
	memset(acts, 0x7f, bytes);
	memset(plain, 0x7f, bytes);
	for (size_t t = 0; t < n; t++) {
		random_row(x + t * w->k, w->k, kinds ? random_bits() >> 8 : 7);
		size_t half = w->k / 2 / OPS_ALIGN * OPS_ALIGN;
		o->prompt_act(x + t * w->k, 0, half, w->k, t, acts);
		o->prompt_act(x + t * w->k + half, half, w->k - half, w->k, t, acts);
		ops_plain_prompt_act(x + t * w->k, 0, w->k, w->k, t, plain);
	}
	CHECK_MSG(memcmp(acts, plain, bytes) == 0, "%s: other activations", o->name);
	o->prompt_mul(&p, 0, cut, acts, n, y, ldy, scratch);
	o->prompt_mul(&p, cut, p.panels, acts, n, y + cut * PACK_ROWS, ldy, scratch);
	ops_plain_prompt_mul(&p, 0, p.panels, plain, n, z, ldy, NULL);
	for (size_t t = 0; t < n; t++)
		CHECK_MSG(same_bits(y + t * ldy, z + t * ldy, w->rows), "%s %s %zux%zu n %zu, token %zu: other bits than the plain loops",
			o->name, quant_name(w->type), w->rows, w->k, n, t);
	for (size_t t = 0; t < n; t += n / 3 + 1) {
		o->prompt_act(x + t * w->k, 0, w->k, w->k, 0, acts);
		o->prompt_mul(&p, 0, p.panels, acts, 1, one, ldy, scratch);
		CHECK(same_bits(one, y + t * ldy, w->rows));
	}
	void *const all[] = { data, acts, plain, x, y, z, one, scratch };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

TEST(ops_prompt_amx)
{
	static const struct { size_t rows, blocks, n; } shapes[] = { { 1, 1, 1 }, { 16, 2, 16 }, { 15, 3, 17 }, { 33, 5, 33 },
		{ 70, 4, 47 }, { 48, 7, 64 }, { 300, 1, 5 }, { 17, 2, 530 } };
	table("amx");
	for (size_t t = 0; t < sizeof types / sizeof *types; t++)
		for (size_t i = 0; i < sizeof shapes / sizeof *shapes && pack_supported(types[t]); i++)
			for (int kind = 0; kind < 4; kind++) {
				if (shapes[i].n > 100 && (kind || t % 3)) continue;
				struct matrix w = packed_case(types[t], shapes[i].rows, shapes[i].blocks * quant_block_weights(types[t]), kind);
				check_prompt_matrix(&w, shapes[i].n, kind == 0 && i % 2);
				mem_free((void *)(uintptr_t)w.data);
			}
	struct matrix w = random_matrix(QUANT_Q4_1, 40, 1600);       /* slabs along k, and a part that is shorter */
	check_prompt_matrix(&w, 50, 0);
	mem_free((void *)(uintptr_t)w.data);
}

TEST(ops_packed_avx2) { check_packed("avx2"); }
TEST(ops_packed_avx512) { check_packed("avx512"); }
TEST(ops_packed_vnni) { check_packed("vnni"); }

/* The plain loops themselves: against sums in double of the file's weights, within what rounding to int8 does. */
TEST(ops_packed_is_the_product)
{
	for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
		if (!pack_supported(types[t])) continue;
		size_t k = 512;
		struct matrix w = random_matrix(types[t], 20, k);
		struct packed p = pack_shape(w.type, w.rows, k);
		uint8_t *data = mem_aligned(PACK_VECTOR, p.panels * p.panel_bytes), *act = mem_alloc(ops_plain_act_bytes(k));
		float x[512], y[20], row[512];
		for (size_t i = 0; i < p.panels; i++) pack_panel(&w, i, data + i * p.panel_bytes);
		p.data = data;
		for (size_t i = 0; i < k; i++) x[i] = random_float() * (float)(1 + i / 32);
		ops_plain_act(x, k, act);
		ops_plain_mul(&p, 0, p.panels, act, 1, y, 20, NULL);
		for (size_t r = 0; r < 20; r++) {
			double want = 0, tol = 0;
			quant_row(w.type, w.data + r * w.row_bytes, k, row);
			for (size_t i = 0; i < k; i++) { /* half a step of its group, and the floats' own roundings */
				want += (double)row[i] * (double)x[i];
				tol += fabs((double)row[i]) * (double)(1 + i / 32) * (0.5 / 127 + 1e-4) + 1e-6;
			}
			CHECK_MSG(fabs((double)y[r] - want) <= tol, "%s row %zu: %g, want %g +- %g", quant_name(w.type), r, (double)y[r],
				want, tol);
		}
		mem_free(act);
		mem_free(data);
		mem_free((void *)(uintptr_t)w.data);
	}
}

TEST(ops_choose_by_name)
{
	const struct ops *o;
	struct err e;
	CHECK_OK(ops_choose(&o, "ref", &e), e);
	CHECK_STR(o->name, "ref");
	CHECK_INT(ops_choose(&o, "sse9", &e), E_USAGE);
	CHECK(strstr(e.msg, "sse9"));
}

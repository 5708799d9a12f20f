/* roofline.c: what this machine can do at most, and what the kernels reach of it. Usage: roofline [THREADS]
 *
 * Prints JSON lines: the best rate at which all threads together read a GiB of memory on huge pages; for each kind of
 * instruction the products and sums a second that a loop of nothing else reaches, in all threads; then for each table
 * of kernels the CPU has (nn/ops.h, nn/gemm8.h): packed weights from memory times one token and times eight, in bytes
 * a second; weights times 512 tokens of a prompt, and an encoder's layer, in operations a second. An operation is a
 * product or a sum. The best of several short runs counts: what other processes take away is no property of the machine.
 * Method: Williams, Waterman & Patterson 2009 (the roofline). */
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/team.h"
#include "nn/amx.h"
#include "nn/gemm8.h"
#include "nn/ops.h"
#include "nn/pack.h"
#include "nn/quant.h"

enum { RUNS = 9, READ_BYTES = 1 << 30, ROUNDS = 2000000, ROW_K = 1536, PROMPT_ROWS = 1536, PROMPT_TOKENS = 512,
	ITEM_PANELS = 16 /* of a prompt's products, as the decoder cuts them */, WEIGHT_BYTES = 512 << 20,
	ENCODER_ROWS = 4096, ENCODER_K = 384, ENCODER_OUT = 1536, FILL = 0x2c };

#define UNROLL _Pragma("GCC unroll 16") /* so that sums stay in registers */
#define HIDE(x) __asm__ volatile("" : "+x"(x)) /* the compiler may not tell that two are the same */

static struct team *team;
static volatile int64_t sink;              /* what loops compute is used */

static double best_ms(void (*fn)(void *ctx, int member, int size), void *ctx)
{
	double best = 1e30;
	for (int i = 0; i < RUNS; i++) {
		double start = clock_ms(), took;
		team_run(team, fn, ctx);
		took = clock_ms() - start;
		if (took < best) best = took;
	}
	return best;
}

/* ---- memory ---- */

/* Four lines at a time, `apart` bytes from each other: one stream, or four that memory serves side by side. */
__attribute__((target("avx512f"))) static void read512(const uint8_t *p, size_t n, size_t apart)
{
	__m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
	size_t step = apart == 64 ? 256 : 64, end = apart == 64 ? n : n / 4;
	for (size_t i = 0; i < end; i += step) {
		a = _mm512_or_si512(a, _mm512_load_si512(p + i));
		b = _mm512_or_si512(b, _mm512_load_si512(p + i + apart));
		c = _mm512_or_si512(c, _mm512_load_si512(p + i + 2 * apart));
		d = _mm512_or_si512(d, _mm512_load_si512(p + i + 3 * apart));
	}
	sink += _mm512_reduce_or_epi64(_mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d)));
}

__attribute__((target("avx2"))) static __m256i line256(const uint8_t *p)
{
	return _mm256_or_si256(_mm256_load_si256((const __m256i *)p), _mm256_load_si256((const __m256i *)(p + 32)));
}

__attribute__((target("avx2"))) static void read256(const uint8_t *p, size_t n, size_t apart)
{
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
	size_t step = apart == 64 ? 256 : 64, end = apart == 64 ? n : n / 4;
	for (size_t i = 0; i < end; i += step) {
		a = _mm256_or_si256(a, line256(p + i));
		b = _mm256_or_si256(b, line256(p + i + apart));
		c = _mm256_or_si256(c, line256(p + i + 2 * apart));
		d = _mm256_or_si256(d, line256(p + i + 3 * apart));
	}
	a = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
	sink += _mm256_extract_epi64(a, 0) + _mm256_extract_epi64(a, 1) + _mm256_extract_epi64(a, 2) +
		_mm256_extract_epi64(a, 3);
}

struct reading { const uint8_t *p; int streams; };

static void read_share(void *ctx, int member, int size)
{
	const struct reading *r = ctx;
	size_t share = READ_BYTES / (size_t)size / 256 * 256;
	(__builtin_cpu_supports("avx512f") ? read512 : read256)(r->p + (size_t)member * share, share, r->streams == 1 ? 64 : share / 4);
}

static double read_rate(const void *memory)
{
	double one = best_ms(read_share, &(struct reading){ memory, 1 }), four = best_ms(read_share, &(struct reading){ memory, 4 });
	return (double)READ_BYTES / (one < four ? one : four) * 1000;
}

/* ---- arithmetic: chains of sums that do not wait for each other ---- */

__attribute__((target("avx512f,avx512vnni"))) static void loop_vnni(void *ctx, int member, int size)
{
	__m512i c[12], a = _mm512_set1_epi32(member + 1), b = _mm512_set1_epi32(size);
	(void)ctx;
	UNROLL for (int i = 0; i < 12; i++) {
		c[i] = _mm512_setzero_si512();
		HIDE(c[i]);
	}
	for (int r = 0; r < ROUNDS; r++)
		UNROLL for (int i = 0; i < 12; i++) c[i] = _mm512_dpbusd_epi32(c[i], a, b);
	UNROLL for (int i = 1; i < 12; i++) c[0] = _mm512_add_epi32(c[0], c[i]);
	sink += _mm512_reduce_add_epi32(c[0]);
}

/* VPMADDUBSW, VPMADDWD, VPADDD: the sums of four int8 products, as kernels take them. */
__attribute__((target("avx2"))) static void loop_avx2(void *ctx, int member, int size)
{
	__m256i c[8], a = _mm256_set1_epi32(member + 1), b = _mm256_set1_epi32(size), one = _mm256_set1_epi16(1);
	(void)ctx;
	UNROLL for (int i = 0; i < 8; i++) {
		c[i] = _mm256_setzero_si256();
		HIDE(c[i]);
	}
	for (int r = 0; r < ROUNDS; r++) {
		UNROLL for (int i = 0; i < 8; i++) {
			HIDE(a);
			c[i] = _mm256_add_epi32(c[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), one));
		}
	}
	UNROLL for (int i = 1; i < 8; i++) c[0] = _mm256_add_epi32(c[0], c[i]);
	sink += _mm256_extract_epi32(c[0], 0);
}

__attribute__((target("avx512f"))) static void loop_fma512(void *ctx, int member, int size)
{
	__m512 c[12], a = _mm512_set1_ps((float)member * 1e-3f), b = _mm512_set1_ps(1 / (float)size);
	(void)ctx;
	UNROLL for (int i = 0; i < 12; i++) {
		c[i] = _mm512_setzero_ps();
		HIDE(c[i]);
	}
	for (int r = 0; r < ROUNDS; r++)
		UNROLL for (int i = 0; i < 12; i++) c[i] = _mm512_fmadd_ps(a, b, c[i]);
	UNROLL for (int i = 1; i < 12; i++) c[0] = _mm512_add_ps(c[0], c[i]);
	sink += (int64_t)_mm512_reduce_add_ps(c[0]);
}

__attribute__((target("avx2,fma"))) static void loop_fma256(void *ctx, int member, int size)
{
	__m256 c[12], a = _mm256_set1_ps((float)member * 1e-3f), b = _mm256_set1_ps(1 / (float)size);
	(void)ctx;
	UNROLL for (int i = 0; i < 12; i++) {
		c[i] = _mm256_setzero_ps();
		HIDE(c[i]);
	}
	for (int r = 0; r < ROUNDS; r++)
		UNROLL for (int i = 0; i < 12; i++) c[i] = _mm256_fmadd_ps(a, b, c[i]);
	UNROLL for (int i = 1; i < 12; i++) c[0] = _mm256_add_ps(c[0], c[i]);
	sink += (int64_t)_mm256_cvtss_f32(c[0]);
}

enum { TILE_ROUNDS = ROUNDS / 40 };
#define TILES(name, dot) \
	static void name(void *ctx, int member, int size) \
	{ \
		(void)ctx, (void)member, (void)size; \
		amx_enter(); \
		for (int r = 0; r < TILE_ROUNDS; r++) { \
			dot(0, 4, 6); \
			dot(1, 4, 7); \
			dot(2, 5, 6); \
			dot(3, 5, 7); \
		} \
		amx_leave(); \
	}
TILES(loop_amx8, amx_dot_us)
TILES(loop_amx16, amx_dot_bf16)

static void peaks(void)
{
	static const int yes = 1;
	const struct { const char *name; int there; void (*fn)(void *ctx, int member, int size); double ops; } all[] = {
		{ "AMX int8", amx_ok(), loop_amx8, TILE_ROUNDS * 4.0 * 16 * 16 * 64 * 2 },
		{ "AMX bf16", amx_ok(), loop_amx16, TILE_ROUNDS * 4.0 * 16 * 16 * 32 * 2 },
		{ "AVX-512 VNNI int8", __builtin_cpu_supports("avx512vnni"), loop_vnni, ROUNDS * 12.0 * 64 * 2 },
		{ "AVX2 int8", yes, loop_avx2, ROUNDS * 8.0 * 32 * 2 },
		{ "AVX-512 fp32", __builtin_cpu_supports("avx512f"), loop_fma512, ROUNDS * 12.0 * 16 * 2 },
		{ "AVX2 fp32", yes, loop_fma256, ROUNDS * 12.0 * 8 * 2 },
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i].there) printf("{\"peak\":\"%s\",\"ops_per_s\":%.4g}\n", all[i].name,
			all[i].ops * team_size(team) / best_ms(all[i].fn, NULL) * 1000);
}

/* ---- kernels ---- */

struct product {
	const struct ops *ops;
	struct packed w;
	size_t n;
	const void *acts;
	float *y;                                /* (n, rows), or of a prompt: */
	float *tiles;                            /* (members, PROMPT_TOKENS, TILE_LD) */
	float *scratch; size_t scratch_floats;
	int prompt;
};

enum { TILE_LD = ITEM_PANELS * PACK_ROWS + OPS_PROMPT_PAD, TILE_FLOATS = PROMPT_TOKENS * TILE_LD };

static void product_share(void *ctx, int member, int size)
{
	struct product *p = ctx;
	size_t from = p->w.panels * (size_t)member / (size_t)size, to = p->w.panels * ((size_t)member + 1) / (size_t)size;
	float *scratch = p->scratch + (size_t)member * p->scratch_floats, *tile = p->tiles + (size_t)member * TILE_FLOATS;
	if (!p->prompt) p->ops->mul(&p->w, from, to, p->acts, p->n, p->y + from * PACK_ROWS, p->w.panels * PACK_ROWS, scratch);
	else for (size_t i = from; i < to; i += ITEM_PANELS)
		p->ops->prompt_mul(&p->w, i, to - i < ITEM_PANELS ? to : i + ITEM_PANELS, p->acts, p->n, tile, TILE_LD, scratch);
}

static void *filled(size_t bytes)
{
	void *p = mem_huge(bytes);       /* as the engine's weights lie */
	if (p) memset(p, FILL, bytes);
	return p;
}

/* A product of weights of a type with n tokens by one table; 0: out of memory. */
static int product(const struct ops *ops, const char *type_name, uint32_t type, size_t rows, size_t n, int prompt)
{
	struct product p = { .ops = ops, .w = pack_shape(type, rows, ROW_K), .n = n, .prompt = prompt };
	size_t acts_bytes = prompt ? ops->prompt_bytes(ROW_K, n) : n * ops->act_bytes(ROW_K);
	void *weights = filled(p.w.panels * p.w.panel_bytes), *acts = filled(acts_bytes);
	float x[ROW_K];
	double ms;
	p.scratch_floats = (ops_scratch_floats(ROW_K) + 15) / 16 * 16;
	p.y = filled(prompt ? 1 : p.w.panels * PACK_ROWS * n * sizeof *p.y);
	p.tiles = filled(prompt ? (size_t)team_size(team) * TILE_FLOATS * sizeof *p.tiles : 1);
	p.scratch = filled((size_t)team_size(team) * p.scratch_floats * sizeof *p.scratch);
	if (!weights || !acts || !p.y || !p.tiles || !p.scratch) return 0;
	for (size_t i = 0; i < ROW_K; i++) x[i] = (float)(i % 7) - 3;
	for (size_t t = 0; t < n; t++) {
		if (prompt) ops->prompt_act(x, 0, ROW_K, ROW_K, t, acts);
		else ops->act(x, ROW_K, (uint8_t *)acts + t * ops->act_bytes(ROW_K));
	}
	p.w.data = weights;
	p.acts = acts;
	ms = best_ms(product_share, &p);
	printf("{\"kernel\":\"%s\",\"what\":\"%s\",\"type\":\"%s\",\"tokens\":%zu,\"bytes_per_s\":%.4g,\"ops_per_s\":%.4g}\n",
		ops->name, prompt ? "prompt" : "written", type_name, n, (double)(p.w.panels * p.w.panel_bytes) / ms * 1000,
		2.0 * (double)rows * ROW_K * (double)n / ms * 1000);
	mem_free(weights);
	mem_free(acts);
	mem_free(p.y);
	mem_free(p.tiles);
	mem_free(p.scratch);
	return 1;
}

struct layer {
	const struct gemm8 *g;
	struct gemm8_matrix w;
	uint8_t *a;
	float *scales, *y;
};

static void layer_share(void *ctx, int member, int size)
{
	struct layer *l = ctx;
	size_t from = ENCODER_ROWS * (size_t)member / (size_t)size, to = ENCODER_ROWS * ((size_t)member + 1) / (size_t)size;
	enum { TEXT = 256 };
	l->g->enter();
	for (size_t r = from; r < to; r += TEXT)
		l->g->linear(&l->w, 0, l->w.panels, l->a + r * l->w.k, l->scales + r, to - r < TEXT ? to - r : TEXT, GEMM8_GELU,
			l->y + r * ENCODER_OUT, ENCODER_OUT);
	l->g->leave();
}

static int encoder(const struct gemm8 *g)
{
	struct layer l = { .g = g };
	float *w = filled((size_t)ENCODER_K * ENCODER_OUT * sizeof *w), *bias = filled(ENCODER_OUT * sizeof *bias);
	int8_t *packed = filled(gemm8_bytes(ENCODER_OUT, ENCODER_K));
	struct err e;
	if (!w || !bias || !packed || gemm8_pack(&l.w, w, bias, ENCODER_OUT, ENCODER_K, packed, &e) != OK) return 0;
	l.a = filled((ENCODER_ROWS + GEMM8_ROWS) * l.w.k);
	l.scales = filled((ENCODER_ROWS + GEMM8_ROWS) * sizeof *l.scales);
	l.y = filled((size_t)(ENCODER_ROWS + GEMM8_ROWS) * ENCODER_OUT * sizeof *l.y);
	if (!l.a || !l.scales || !l.y) return 0;
	printf("{\"kernel\":\"%s\",\"what\":\"encoder\",\"type\":\"int8\",\"tokens\":%d,\"ops_per_s\":%.4g}\n",
		g->name, ENCODER_ROWS, 2.0 * ENCODER_ROWS * ENCODER_K * ENCODER_OUT / best_ms(layer_share, &l) * 1000);
	gemm8_clear(&l.w);
	mem_free(packed);
	mem_free(w);
	mem_free(bias);
	mem_free(l.a);
	mem_free(l.scales);
	mem_free(l.y);
	return 1;
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "amx", "vnni", "avx512", "avxvnni", "avx2" };
	static const struct { const char *name; uint32_t type; } types[] = {
		{ "Q4_K", QUANT_Q4_K }, { "Q6_K", QUANT_Q6_K }, { "Q5_0", QUANT_Q5_0 }, { "Q8_0", QUANT_Q8_0 } };
	int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2, ok = 1;
	void *memory = filled(READ_BYTES);
	setvbuf(stdout, NULL, _IOLBF, 0);
	__builtin_cpu_init();
	team = threads > 0 ? team_new(threads) : NULL;
	if (!team || !memory) {
		fprintf(stderr, "usage: roofline [THREADS]\n");
		return 2;
	}
	printf("{\"read_bytes_per_s\":%.4g,\"threads\":%d}\n", read_rate(memory), threads);
	mem_free(memory);
	peaks();
	for (size_t i = 0; i < sizeof names / sizeof *names && ok; i++) {
		const struct ops *ops;
		const struct gemm8 *g;
		if (ops_choose(&ops, names[i], NULL) == OK)
			for (size_t t = 0; t < sizeof types / sizeof *types && ok; t++) {
				size_t rows = (size_t)WEIGHT_BYTES / pack_shape(types[t].type, PACK_ROWS, ROW_K).panel_bytes * PACK_ROWS;
				ok = product(ops, types[t].name, types[t].type, rows, 1, 0) &&
					product(ops, types[t].name, types[t].type, rows, 8, 0) &&
					product(ops, types[t].name, types[t].type, PROMPT_ROWS, PROMPT_TOKENS, 1);
			}
		if (ok && gemm8_choose(&g, names[i], NULL) == OK) ok = encoder(g);
	}
	team_free(team);
	if (!ok) fprintf(stderr, "roofline: out of memory\n");
	return ok ? 0 : 1;
}

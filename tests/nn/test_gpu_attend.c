/* test_gpu_attend.c: a GPU's attention over pages against ops_ref, and the promise that a row has the same bits
 * whatever runs beside it and however its prompt was cut. What must not be read is NaN or no address. */
#include <math.h>
#include <stdlib.h>
#include "base/mem.h"
#include "nn/gpu.h"
#include "nn/ops.h"
#include "nn/quant.h"
#include "tests/nn/random.h"
#include "tests/test.h"

enum { LAYERS = 2, LAYER = 1, SEQS_MOST = 8, NOWHERE = 0x7fffffff, GUARD = 4096 };
static const double U = 0x1p-24;     /* unit roundoff of float; of halves it is 2^-11 */
static const float UNTOUCHED = 12345;

static float random_tenth(void) /* 10 bits and a sign: exact as a half */
{
	return (float)((int32_t)(random_bits() % 2047) - 1023) / 1024;
}

/* spread: a power of two; scale 0: 1/sqrt(dim) */
struct shape { size_t heads, kv_heads, dim, window; float spread, scale; };

struct seq { size_t first, n; };     /* rows at positions first … first+n-1 */

/* Keys and values of some sequences, in pages that lie shuffled; a row's query is told by its sequence and position. */
struct world {
	const struct gpu_table *t;
	struct gpu *g;
	struct shape s;
	struct seq seq[SEQS_MOST];
	size_t seqs, ld_pages, all_pages, page_halves, head_halves;
	uint32_t *pages, slot[SEQS_MOST];
	uint16_t *store;
	float *q[SEQS_MOST];         /* (n, heads*dim) */
	void *d_store, *d_pages;
	float *scratch; size_t scratch_n; /* of scratch_make; behind it lies a guard */
};

static void *device_copy(const struct world *w, const void *from, size_t bytes)
{
	struct err e;
	void *d;
	CHECK_OK(w->t->alloc(w->g, bytes, "a test", &d, &e), e);
	w->t->copy_in(w->g, d, from, bytes);
	return d;
}

static size_t row_first(const struct shape *s, size_t pos)
{
	return s->window && pos + 1 > s->window ? pos + 1 - s->window : 0;
}

/* A position's key (what 0) or value of a head. */
static uint16_t *world_half(const struct world *w, size_t seq, size_t pos, size_t kv_head, int what)
{
	uint32_t page = w->pages[w->slot[seq] * w->ld_pages + pos / GPU_PAGE];
	CHECK(page != NOWHERE);
	return w->store + page * w->page_halves + w->head_halves +
		((2 * kv_head + (size_t)what) * GPU_PAGE + pos % GPU_PAGE) * w->s.dim;
}

static void world_fill(struct world *w, size_t seq, int exact)
{
	const struct seq *s = &w->seq[seq];
	for (size_t pos = row_first(&w->s, s->first); pos < s->first + s->n; pos++)
		for (size_t h = 0; h < w->s.kv_heads; h++)
			for (size_t i = 0; i < 2 * w->s.dim; i++) {
				float f = random_tenth() * (i < w->s.dim ? 2 : 1);
				ops_ref.halves(&f, 1, world_half(w, seq, pos, h, i >= w->s.dim) + i % w->s.dim);
			}
	w->q[seq] = mem_calloc(s->n * w->s.heads * w->s.dim, sizeof(float));
	for (size_t i = 0; i < s->n * w->s.heads * w->s.dim; i++)
		w->q[seq][i] = (random_tenth() + (exact ? 0 : random_tenth() * 0x1p-9f)) * w->s.spread;
}

/* exact: queries are halves. */
static void world_make(struct world *w, const struct shape *s, const struct seq *seq, size_t seqs, int exact)
{
	uint32_t next = 0;
	struct err e;
	*w = (struct world){ .t = test_gpu(), .s = *s, .seqs = seqs };
	if (w->s.scale == 0) w->s.scale = 1 / sqrtf((float)s->dim);
	CHECK_OK(w->t->open(&w->g, 0, &e), e);
	for (size_t i = 0; i < seqs; i++) {
		size_t pages = (seq[i].first + seq[i].n + GPU_PAGE - 1) / GPU_PAGE;
		w->seq[i] = seq[i];
		w->slot[i] = (uint32_t)((5 * i + 3) % (SEQS_MOST + 1)); /* no two alike */
		if (pages > w->ld_pages) w->ld_pages = pages;
	}
	w->ld_pages += 3;
	w->all_pages = seqs * w->ld_pages + 2;
	w->head_halves = LAYER * s->kv_heads * 2 * GPU_PAGE * s->dim;
	w->page_halves = LAYERS * s->kv_heads * 2 * GPU_PAGE * s->dim;
	w->pages = mem_calloc((SEQS_MOST + 1) * w->ld_pages, sizeof *w->pages);
	w->store = mem_calloc(w->all_pages * w->page_halves, sizeof *w->store);
	memset(w->store, 0xff, w->all_pages * w->page_halves * sizeof *w->store);
	for (size_t i = 0; i < (SEQS_MOST + 1) * w->ld_pages; i++) w->pages[i] = NOWHERE;
	for (size_t p = w->ld_pages; p--;) /* sequences' pages among each other, backwards */
		for (size_t i = 0; i < seqs; i++)
			if (p >= row_first(s, seq[i].first) / GPU_PAGE && p * GPU_PAGE < seq[i].first + seq[i].n)
				w->pages[w->slot[i] * w->ld_pages + p] = ++next;
	for (size_t i = 0; i < seqs; i++) world_fill(w, i, exact);
	w->d_store = device_copy(w, w->store, w->all_pages * w->page_halves * sizeof *w->store);
	w->d_pages = device_copy(w, w->pages, (SEQS_MOST + 1) * w->ld_pages * sizeof *w->pages);
}

static void guard_check(const struct world *w)
{
	float guard[GUARD];
	struct err e;
	if (!w->scratch) return;
	w->t->copy_out(w->g, guard, w->scratch + w->scratch_n, sizeof guard);
	CHECK_OK(w->t->sync(w->g, &e), e);
	for (size_t i = 0; i < GUARD; i++) CHECK_MSG(guard[i] == UNTOUCHED, "more scratch than attend_floats says");
}

static void world_clear(struct world *w)
{
	guard_check(w);
	for (size_t i = 0; i < w->seqs; i++) mem_free(w->q[i]);
	mem_free(w->store);
	mem_free(w->pages);
	w->t->close(w->g);
}

struct place { int seq; size_t at; };   /* row `at` of a sequence; seq -1: padding */

/* One call: rows as `place` names them. out: (n, heads*dim) of the host. */
static void attend(const struct world *w, const struct place *place, size_t n, size_t keys_most, int prompt,
	void *scratch, float *out)
{
	size_t wide = w->s.heads * w->s.dim;
	int32_t *pos = mem_calloc(n, sizeof *pos), *slot = mem_calloc(n, sizeof *slot);
	float *q = mem_calloc(n * wide, sizeof *q);
	struct err e;
	for (size_t i = 0; i < n; i++) {
		const struct place *p = &place[i];
		pos[i] = p->seq < 0 ? -1 : (int32_t)(w->seq[p->seq].first + p->at);
		slot[i] = p->seq < 0 ? NOWHERE : (int32_t)w->slot[p->seq];
		for (size_t k = 0; k < wide; k++) {
			q[i * wide + k] = p->seq < 0 ? NAN : w->q[p->seq][p->at * wide + k];
			out[i * wide + k] = UNTOUCHED;
		}
	}
	struct gpu_rows rows = { .pos = device_copy(w, pos, n * sizeof *pos), .slot = device_copy(w, slot, n * sizeof *slot),
		.pages = w->d_pages, .ld_pages = w->ld_pages, .n = n };
	struct gpu_attend a = { .q = device_copy(w, q, n * wide * sizeof *q),
		.out = device_copy(w, out, n * wide * sizeof *out),
		.heads = w->s.heads, .kv_heads = w->s.kv_heads, .head_dim = w->s.dim, .window = w->s.window, .keys_most = keys_most,
		.scale = w->s.scale, .store = w->d_store, .page_halves = w->page_halves, .head_halves = w->head_halves,
		.scratch = scratch, .prompt = prompt };
	w->t->attend(w->g, &a, &rows);
	w->t->copy_out(w->g, out, a.out, n * wide * sizeof *out);
	CHECK_OK(w->t->sync(w->g, &e), e);
	void *device[] = { (void *)rows.pos, (void *)rows.slot, (void *)a.q, a.out }, *host[] = { pos, slot, q };
	for (size_t i = 0; i < sizeof device / sizeof *device; i++) w->t->release(w->g, device[i]);
	for (size_t i = 0; i < sizeof host / sizeof *host; i++) mem_free(host[i]);
}

static void *scratch_make(struct world *w, size_t n, size_t keys_most, int prompt)
{
	float guard[GUARD];
	struct err e;
	void *d;
	for (size_t i = 0; i < GUARD; i++) guard[i] = UNTOUCHED;
	w->scratch_n = w->t->attend_floats(n, w->s.heads, w->s.dim, keys_most, prompt);
	CHECK_OK(w->t->alloc(w->g, w->scratch_n * sizeof(float) + sizeof guard, "scratch", &d, &e), e);
	w->scratch = d;
	w->t->copy_in(w->g, w->scratch + w->scratch_n, guard, sizeof guard);
	return d;
}

/* One head of a row, with ops_ref, and how far off each element may be.
 * A score is off by (dim + 8) U of its sum |q k|, queries as two halves by 2^-22 more (for prompts they are exact
 * here), and so is a share, twice: by itself and by the sum that divides it. Shares lose 2^-22 as two halves, 2^-11 as
 * one, and what is under 2^-28 up to 2^-39; sums over n keys n U, exp2 and the scales to common tops some U. */
static void row_want(const struct world *w, struct place p, size_t head, int prompt, float *want, double *tol)
{
	const struct shape *s = &w->s;
	const size_t pos = w->seq[p.seq].first + p.at, first = row_first(s, pos), n = pos + 1 - first;
	const size_t kv = head / (s->heads / s->kv_heads);
	const float *q = w->q[p.seq] + (p.at * s->heads + head) * s->dim;
	float *scratch = mem_aligned(64, ops_attend_floats(s->dim, pos + 1) * sizeof *scratch);
	double *score = mem_calloc(n, sizeof *score), most = -INFINITY, size = 0, sum = 0;
	struct ops_pages pages = { .base = w->store + w->head_halves + kv * 2 * GPU_PAGE * s->dim, .stride = w->page_halves,
		.len = GPU_PAGE, .page = w->pages + w->slot[p.seq] * w->ld_pages };
	struct ops_attend a = { .q = q, .tokens = 1, .heads = 1, .head_dim = s->dim, .pos = pos, .window = s->window,
		.kv = &pages, .scale = s->scale, .out = want };
	ops_ref.attend(&a, scratch);
	for (size_t j = 0; j < n; j++) {
		const uint16_t *key = world_half(w, (size_t)p.seq, first + j, kv, 0);
		double of = 0;
		for (size_t i = 0; i < s->dim; i++) {
			double x = (double)q[i] * (double)quant_half(key[i]) * (double)s->scale;
			score[j] += x;
			of += fabs(x);
		}
		size = fmax(size, of);
		most = fmax(most, score[j]);
	}
	for (size_t j = 0; j < n; j++) sum += score[j] = exp(score[j] - most);
	for (size_t i = 0; i < s->dim; i++) {
		double mean = 0;
		for (size_t j = 0; j < n; j++)
			mean += score[j] / sum * fabs((double)quant_half(world_half(w, (size_t)p.seq, first + j, kv, 1)[i]));
		tol[i] = mean * (2 * size * ((double)(s->dim + 8) * U + (prompt ? 0 : 0x1p-22)) + (prompt ? 0x1p-11 : 0x1p-22) +
			(double)(n + 64) * U) + (double)n * 0x1p-39;
	}
	mem_free(score);
	mem_free(scratch);
}

static void rows_check(const struct world *w, const struct place *place, size_t n, int prompt, const float *out)
{
	const struct shape *s = &w->s;
	float want[256];
	double tol[256];
	for (size_t t = 0; t < n; t++)
		for (size_t h = 0; h < s->heads; h++) {
			const float *y = out + (t * s->heads + h) * s->dim;
			if (place[t].seq >= 0) row_want(w, place[t], h, prompt, want, tol);
			for (size_t i = 0; i < s->dim; i++) {
				if (place[t].seq < 0) CHECK_MSG(y[i] == UNTOUCHED, "padding: %g", (double)y[i]);
				else CHECK_MSG(fabs((double)y[i] - (double)want[i]) <= tol[i],
					"%s, %zu heads on %zu, dim %zu, window %zu: row %zu at %zu, head %zu, [%zu]: %.9g, want %.9g +- %g",
					prompt ? "prompt" : "decode", s->heads, s->kv_heads, s->dim, s->window, t,
					w->seq[place[t].seq].first + place[t].at, h, i, (double)y[i], (double)want[i], tol[i]);
			}
		}
}

/* Every row of every sequence in one call, padding between and behind them. */
static void check_all(const struct shape *s, const struct seq *seq, size_t seqs, int prompt, size_t more)
{
	struct world w;
	struct place place[GPU_ROWS];
	size_t n = 0, keys = 0;
	world_make(&w, s, seq, seqs, prompt);
	for (size_t i = 0; i < seqs; i++) {
		for (size_t t = 0; t < seq[i].n; t++) place[n++] = (struct place){ (int)i, t };
		if (i % 2) place[n++] = (struct place){ -1, 0 };
		if (seq[i].first + seq[i].n > keys) keys = seq[i].first + seq[i].n;
	}
	place[n++] = (struct place){ -1, 0 };
	float *out = mem_calloc(n * s->heads * s->dim, sizeof *out);
	attend(&w, place, n, keys + more, prompt, prompt && keys + more <= GPU_PROMPT_SPLIT ? NULL : scratch_make(&w, n, keys + more, prompt), out);
	rows_check(&w, place, n, prompt, out);
	mem_free(out);
	world_clear(&w);
}

TEST(gpu_attend_lengths)
{
	static const size_t keys[] = { 1, 2, 16, 17, 31, 32, 33, 127, 128, 129, 255, 256, 257, 700 };
	const struct shape s = { 3, 1, 64, 0, 2, 0 };
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		const struct seq one = { keys[i] - 1, 1 };
		check_all(&s, &one, 1, 0, i % 3 * 300);
	}
}

/* Several sequences, of rows of different lengths, and of several rows in a call. */
TEST(gpu_attend_shapes)
{
	static const struct shape s[] = { { 1, 1, 64, 0, 1, 0 }, { 12, 2, 128, 0, 4, 0 },
		{ 7, 1, 128, 0, 32, 0 }, { 9, 1, 64, 0, 1, 0 },
		{ 16, 1, 128, 0, 1, 0 }, { 4, 1, 256, 0, 2, 0 }, { 6, 3, 80, 0, 1, 0 }, { 2, 1, 96, 0, 1, 0 }, { 1, 1, 16, 0, 1, 0 },
		{ 5, 1, 48, 0, 1, 0 }, { 3, 3, 240, 0, 1, 0 },
		{ 2, 2, 64, 0, 0x1p20f, 0x1p-23f }, { 2, 2, 64, 0, 0x1p-30f, 0x1p27f }, { 2, 1, 64, 0, 0, 0 } };
	static const struct seq seq[] = { { 0, 1 }, { 299, 1 }, { 30, 4 }, { 127, 1 }, { 128, 1 } };
	for (size_t i = 0; i < sizeof s / sizeof *s; i++) check_all(&s[i], seq, 5, 0, 0);
}

TEST(gpu_attend_windows)
{
	static const size_t window[] = { 1, 2, 31, 32, 33, 128, 129, 200, 1000 };
	static const struct seq seq[] = { { 0, 1 }, { 31, 2 }, { 127, 2 }, { 300, 2 }, { 511, 1 } };
	for (size_t i = 0; i < sizeof window / sizeof *window; i++) {
		const struct shape s = { 6, 2, 64, window[i], 1, 0 };
		check_all(&s, seq, 5, 0, 0);
	}
}

/* Rows of several groups of runs: each whole, one short, one more, one run in the last; windows over the border of a group. */
TEST(gpu_attend_long)
{
	static const struct shape s[] = { { 3, 1, 64, 0, 2, 0 }, { 9, 1, 16, 0, 1, 0 }, { 2, 1, 32, 4200, 1, 0 } };
	static const struct seq seq[] = { { 4094, 4 }, { 8191, 2 }, { 8319, 2 }, { 63, 1 } };
	for (size_t i = 0; i < sizeof s / sizeof *s; i++) check_all(&s[i], seq, 4, 0, 0);
}

/* However many rows and keys there are, what scratch they take has a bound, unless a row alone passes it. */
TEST(gpu_attend_scratch)
{
	const struct gpu_table *t = test_gpu();
	const size_t heads = 32, dim = 128, most = 48 << 20, runs = 131072 / GPU_SPLIT;
	CHECK(t->attend_floats(GPU_ROWS, heads, dim, 131072, 0) * sizeof(float) <= most);
	CHECK(t->attend_floats(GPU_ROWS, heads, dim, 131072, 1) * sizeof(float) <= most);
	CHECK(t->attend_floats(1, heads, dim, 131072, 0) >= runs * heads * (dim + 2));
	CHECK(t->attend_floats(1, heads, dim, 1 << 24, 0) >= (1 << 24) / GPU_SPLIT * heads * (dim + 2));
	CHECK(t->attend_floats(2, heads, dim, 2048, 0) < most / 16 / sizeof(float));
	CHECK(t->attend_floats(GPU_ROWS, heads, dim, GPU_PROMPT_SPLIT, 1) < most / 16 / sizeof(float));
}

TEST(gpu_attend_prompt_shapes)
{
	static const struct shape s[] = { { 1, 1, 64, 0, 1, 0 }, { 6, 1, 128, 0, 4, 0 },
		{ 7, 1, 64, 0, 32, 0 }, { 16, 1, 64, 0, 1, 0 },
		{ 4, 2, 256, 0, 2, 0 }, { 3, 1, 80, 0, 1, 0 }, { 2, 1, 96, 0, 1, 0 }, { 1, 1, 16, 0, 1, 0 }, { 70, 1, 16, 0, 1, 0 },
		{ 2, 1, 240, 0, 1, 0 },
		{ 2, 2, 64, 0, 0x1p20f, 0x1p-23f }, { 2, 2, 64, 0, 0x1p-30f, 0x1p27f }, { 2, 1, 64, 0, 0, 0 } };
	static const struct seq seq[] = { { 0, 3 }, { 60, 7 }, { 31, 2 }, { 190, 5 } };
	for (size_t i = 0; i < sizeof s / sizeof *s; i++) check_all(&s[i], seq, 4, 1, 0);
}

TEST(gpu_attend_prompt_lengths)
{
	static const size_t n[] = { 1, 31, 32, 33, 63, 64, 65, 130 };
	const struct shape s = { 3, 1, 64, 0, 2, 0 };
	for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
		const struct seq one = { 0, n[i] };
		check_all(&s, &one, 1, 1, 0);
	}
	static const struct seq far[] = { { 254, 5 }, { 695, 6 } };
	check_all(&s, far, 2, 1, 0);
}

/* Prompts' rows of several runs, and beside them in a tile those of one. */
TEST(gpu_attend_prompt_long)
{
	static const struct shape s[] = { { 3, 1, 64, 0, 2, 0 }, { 2, 1, 240, 0, 1, 0 }, { 4, 2, 16, 2100, 1, 0 } };
	static const struct seq seq[] = { { 2040, 12 }, { 30, 3 }, { 6140, 8 } };
	for (size_t i = 0; i < sizeof s / sizeof *s; i++) check_all(&s[i], seq, 3, 1, i == 1 ? 9000 : 0);
}

TEST(gpu_attend_prompt_windows)
{
	static const size_t window[] = { 1, 2, 33, 64, 100, 1000 };
	static const struct seq seq[] = { { 0, 40 }, { 127, 20 }, { 300, 9 } };
	for (size_t i = 0; i < sizeof window / sizeof *window; i++) {
		const struct shape s = { 2, 1, i % 2 ? 64 : 128, window[i], 1, 0 };
		check_all(&s, seq, 3, 1, 0);
	}
}

/* Decoding: each row alone has the bits that it has among others, in whatever order, with a grid for more keys or of
 * blocks that have several runs each, and again with the same scratch. */
static void check_alone(const struct shape *s, const struct seq *seq, size_t seqs, size_t keys, const size_t *sizes, size_t sizes_n)
{
	enum { N = GPU_ROWS, REAL = 70 };
	const size_t wide = s->heads * s->dim;
	struct world w;
	struct place all[12], place[N];
	size_t n = 0;
	world_make(&w, s, seq, seqs, 0);
	void *scratch = scratch_make(&w, N, 5 * keys, 0);
	for (size_t i = 0; i < seqs; i++)
		for (size_t t = 0; t < seq[i].n; t++) all[n++] = (struct place){ (int)i, t };
	float *alone = mem_calloc(n * wide, sizeof *alone), *out = mem_calloc(N * wide, sizeof *out);
	for (size_t i = 0; i < n; i++) attend(&w, all + i, 1, keys, 0, scratch, alone + i * wide);
	rows_check(&w, all, n, 0, alone);
	for (size_t i = 0; i < sizes_n; i++) {
		const size_t every = sizes[i] > REAL ? sizes[i] / REAL * (keys > 4000 ? 7 : 1) : 1;
		size_t which[N];
		for (size_t t = 0; t < sizes[i]; t++) {
			which[t] = random_bits() % n;
			place[t] = t % 7 == 6 || t % every ? (struct place){ -1, 0 } : all[which[t]];
		}
		attend(&w, place, sizes[i], i == 1 ? 5 * keys : keys, 0, scratch, out);
		for (size_t t = 0; t < sizes[i]; t++)
			if (place[t].seq >= 0)
				CHECK_MSG(memcmp(out + t * wide, alone + which[t] * wide, wide * sizeof *out) == 0,
					"other bits: row %zu of %zu, sequence %d", t, sizes[i], place[t].seq);
	}
	mem_free(alone);
	mem_free(out);
	world_clear(&w);
}

TEST(gpu_attend_rows_alone)
{
	static const struct shape shapes[] = { { 6, 2, 64, 0, 2, 0 }, { 2, 1, 64, 150, 2, 0 } };
	static const struct seq seq[] = { { 0, 1 }, { 250, 7 }, { 130, 3 }, { 399, 1 } };
	static const size_t sizes[] = { 5, 17, 64, GPU_ROWS };
	for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) check_alone(&shapes[k], seq, 4, 400, sizes, 4);
}

/* The same of several groups, and of more rows than one launch has scratch for. */
TEST(gpu_attend_long_rows_alone)
{
	const struct shape s = { 16, 4, 64, 0, 2, 0 }, slides = { 2, 1, 16, 4500, 2, 0 };
	static const struct seq seq[] = { { 8300, 2 }, { 4096, 1 }, { 200, 1 } };
	static const size_t sizes[] = { 9, 3, GPU_ROWS };
	check_alone(&s, seq, 3, 8320, sizes, 3);
	check_alone(&slides, seq, 3, 8320, sizes, 2);
}

/* Prompts: the same bits in one call, and in pieces beside another sequence's rows and padding. */
static void check_cuts(const struct shape *s, size_t first, size_t tokens)
{
	const struct seq seq[] = { { first, tokens }, { 37, 60 } };
	const size_t wide = s->heads * s->dim;
	struct world w;
	struct place place[GPU_ROWS];
	world_make(&w, s, seq, 2, 1);
	float *whole = mem_calloc(tokens * wide, sizeof *whole), *out = mem_calloc(GPU_ROWS * wide, sizeof *out);
	void *scratch = first + tokens > GPU_PROMPT_SPLIT ? scratch_make(&w, GPU_ROWS, first + tokens, 1) : NULL;
	for (size_t t = 0; t < tokens; t++) place[t] = (struct place){ 0, t };
	attend(&w, place, tokens, first + tokens, 1, scratch, whole);
	rows_check(&w, place, tokens, 1, whole);
	for (size_t t = 0, m; t < tokens; t += m) {
		size_t n = 0, before = random_bits() % 50, pad = random_bits() % 3;
		m = 1 + random_bits() % 60;
		m = m < tokens - t ? m : tokens - t;
		for (size_t i = 0; i < before; i++) place[n++] = (struct place){ 1, i };
		for (size_t i = 0; i < pad; i++) place[n++] = (struct place){ -1, 0 };
		for (size_t i = 0; i < m; i++) place[n++] = (struct place){ 0, t + i };
		for (size_t i = before; i < 60; i++) place[n++] = (struct place){ 1, i };
		attend(&w, place, n, first + tokens, 1, scratch, out);
		CHECK_MSG(memcmp(out + (before + pad) * wide, whole + t * wide, m * wide * sizeof *out) == 0,
			"other bits: rows %zu … of %zu, %zu of another's before them", t, t + m, before);
	}
	mem_free(whole);
	mem_free(out);
	world_clear(&w);
}

TEST(gpu_attend_prompt_cuts)
{
	static const struct shape s[] = { { 6, 1, 64, 0, 2, 0 }, { 2, 2, 128, 50, 4, 0 }, { 3, 1, 256, 0, 1, 0 } };
	check_cuts(&s[0], 0, 150);
	check_cuts(&s[1], 33, 140);
	check_cuts(&s[2], 70, 40);
}

/* Over the border of a run, where a call fills the device by itself and where a few rows are many blocks. */
TEST(gpu_attend_prompt_long_cuts)
{
	static const struct shape s[] = { { 4, 4, 16, 0, 2, 0 }, { 6, 1, 64, 2060, 2, 0 } };
	check_cuts(&s[0], 4010, 150);
	check_cuts(&s[1], 4090, 40);
}

/* More rows of a prompt than one launch has scratch for. */
TEST(gpu_attend_prompt_launches)
{
	enum { N = GPU_ROWS, ROWS = 3 };
	const struct shape s = { 32, 1, 256, 0, 2, 0 };
	const struct seq seq = { 2046, ROWS };
	const size_t wide = s.heads * s.dim;
	struct world w;
	struct place place[N];
	world_make(&w, &s, &seq, 1, 1);
	void *scratch = scratch_make(&w, N, 2049, 1);
	float *out = mem_calloc(N * wide, sizeof *out), *few = mem_calloc(ROWS * wide, sizeof *few);
	for (size_t t = 0; t < N; t++) place[t] = t < N - ROWS ? (struct place){ -1, 0 } : (struct place){ 0, t - (N - ROWS) };
	attend(&w, place + N - ROWS, ROWS, 2049, 1, scratch, few);
	attend(&w, place, N, 2049, 1, scratch, out);
	rows_check(&w, place + N - ROWS, ROWS, 1, few);
	CHECK(memcmp(out + (N - ROWS) * wide, few, ROWS * wide * sizeof *out) == 0);
	mem_free(out);
	mem_free(few);
	world_clear(&w);
}

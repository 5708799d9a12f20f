/* test_gpu_top.c: the likeliest tokens of rows of logits, against a sort in plain C: over odd vocabularies, ties, what is not finite,
 * and fewer logits than are asked for; and the same bits for a row whoever shares its call. */
#include <math.h>
#include <stdlib.h>
#include "nn/gpu.h"
#include "tests/nn/on_device.h"
#include "tests/nn/random.h"
#include "tests/test.h"

enum { KINDS = 8 };

/* kind 0: plain; 1: few values, so that many are equal; 2: among NaNs and infinities; 3: all the lowest; 4: zeros of both
 * signs; 5: all NaN; 6: in order, so that the best lie in few runs; 7: a few finite ones. */
static float logit_of(size_t kind, size_t i, size_t vocab)
{
	const uint32_t r = random_bits();
	switch (kind) {
	case 1: return (float)(r % 5) - 7;
	case 2: return r % 3 == 0 ? NAN : r % 7 == 0 ? -INFINITY : r % 11 == 0 ? INFINITY : random_float();
	case 3: return i % 2 ? -INFINITY : -3.4e38f;
	case 4: return r % 2 ? 0.0f : -0.0f;
	case 5: return r % 2 ? NAN : -NAN;
	case 6: return (float)i * 20 / (float)vocab;
	case 7: return i * 37 % vocab < 40 ? random_float() : -INFINITY;
	default: return random_float() * 15;
	}
}

static const float *row_now;
static int by_logit(const void *a, const void *b)
{
	const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
	if (row_now[x] != row_now[y]) return row_now[x] > row_now[y] ? -1 : 1;
	return x < y ? -1 : 1;
}

static void check_row(const float *logits, size_t vocab, int32_t most, float temperature, const struct gpu_best *got, const char *what)
{
	int32_t *ids = mem_calloc(vocab, sizeof *ids);
	size_t n = 0, want;
	double sum = 0;
	for (size_t i = 0; i < vocab; i++)
		if (isfinite(logits[i])) ids[n++] = (int32_t)i;
	row_now = logits;
	qsort(ids, n, sizeof *ids, by_logit);
	want = n < (size_t)most ? n : (size_t)most;
	CHECK_MSG(got->n == want, "%s: %u, want %zu", what, got->n, want);
	for (size_t i = 0; i < want; i++)
		CHECK_MSG(got->ids[i] == ids[i] && got->logits[i] == logits[ids[i]], "%s: place %zu is %d (%g), want %d (%g)", what, i, got->ids[i],
			(double)got->logits[i], ids[i], (double)logits[ids[i]]);
	/* NaN: a temperature makes an infinity of the largest */
	for (size_t i = 0; i < n && want > 0 && most > 1 && temperature > 0; i++)
		sum += exp((double)(logits[ids[i]] / temperature) - (double)(logits[ids[0]] / temperature));
	CHECK_MSG(isnan(sum) || fabs((double)got->sum - sum) <= GPU_TOP_SLACK * sum, "%s: sum %.9g, want %.9g", what, (double)got->sum, sum);
	mem_free(ids);
}

struct asked { struct gpu *g; float *logits; int32_t *most; float *temperature; struct gpu_best *best; void *scratch; };

static struct asked asked_of(const float *logits, const int32_t *most, const float *temperature, size_t vocab, size_t n)
{
	struct asked a = { .g = device_open() };
	a.logits = device(a.g, logits, n * vocab * sizeof *logits);
	a.most = device(a.g, most, n * sizeof *most);
	a.temperature = device(a.g, temperature, n * sizeof *temperature);
	a.best = device(a.g, NULL, n * sizeof *a.best);
	a.scratch = device(a.g, NULL, test_gpu()->top_bytes(vocab, n));
	return a;
}

static void ask(const struct asked *a, size_t vocab, size_t from, size_t n)
{
	const struct gpu_top c = { .logits = a->logits + from * vocab, .vocab = vocab, .n = n, .most = a->most + from,
		.temperature = a->temperature + from, .scratch = a->scratch, .best = a->best + from };
	test_gpu()->top(a->g, &c);
}

static void check_top(size_t vocab, size_t n)
{
	static const int32_t mosts[] = { GPU_TOP, 1, 2, 40, GPU_TOP, 0, 127 };
	static const float temperatures[] = { 1, 0, 0.7f, 2, 0.01f };
	float *logits = mem_calloc(n * vocab, 4), *temperature = mem_calloc(n, 4);
	int32_t *most = mem_calloc(n, 4);
	char what[96];
	for (size_t i = 0; i < n * vocab; i++) logits[i] = logit_of((i / vocab + vocab) % KINDS, i % vocab, vocab);
	for (size_t t = 0; t < n; t++) {
		most[t] = n == 1 ? GPU_TOP : mosts[t % 7];
		temperature[t] = temperatures[t % 5];
	}
	struct asked a = asked_of(logits, most, temperature, vocab, n);
	ask(&a, vocab, 0, n);
	struct gpu_best *got = host(a.g, a.best, n * sizeof *got), *again;
	for (size_t t = 0; t < n; t++) {
		snprintf(what, sizeof what, "vocabulary %zu, row %zu of %zu, kind %zu, %d at %g", vocab, t, n, (t + vocab) % KINDS, most[t],
			(double)temperature[t]);
		check_row(logits + t * vocab, vocab, most[t], temperature[t], &got[t], what);
	}
	for (size_t t = 0; t < n; t++) ask(&a, vocab, t, 1);
	again = host(a.g, a.best, n * sizeof *again);
	for (size_t t = 0; t < n; t++)
		CHECK_MSG(memcmp(&got[t].sum, &again[t].sum, sizeof got->sum) == 0 && got[t].n == again[t].n &&
			memcmp(got[t].ids, again[t].ids, got[t].n * sizeof *got->ids) == 0, "vocabulary %zu, row %zu: other bits alone", vocab, t);
	mem_free(got), mem_free(again), mem_free(logits), mem_free(temperature), mem_free(most);
	test_gpu()->close(a.g);
}

TEST(gpu_top)
{
	static const size_t vocab[] = { 1, 2, 31, 33, 63, 64, 65, 255, 1000, 2048, 2049, 4097 };
	for (size_t i = 0; i < sizeof vocab / sizeof *vocab; i++) {
		check_top(vocab[i], 1);
		check_top(vocab[i], 9);
	}
	check_top(20001, 8);
	check_top(77, 40);
}

TEST(gpu_top_of_a_large_vocabulary)
{
	for (size_t vocab = 151936; vocab < 151936 + 3; vocab++) check_top(vocab, 1);
	check_top(262145, 1);
}

/* Values at both ends of what weighs: the sum keeps its promise where almost all of it lies far below the largest. */
TEST(gpu_top_sums_what_is_far_below)
{
	enum { VOCAB = 150000 };
	static const float below[] = { 0, 5, 12, 40, 100, 500 };
	const int32_t most = GPU_TOP;
	const float temperature = 1;
	float *logits = mem_calloc(VOCAB, sizeof *logits);
	for (size_t k = 0; k < sizeof below / sizeof *below; k++) {
		for (size_t i = 0; i < VOCAB; i++) logits[i] = 300 - below[k] + random_float() / 4;
		logits[VOCAB / 3] = 301;
		struct asked a = asked_of(logits, &most, &temperature, VOCAB, 1);
		ask(&a, VOCAB, 0, 1);
		struct gpu_best *got = host(a.g, a.best, sizeof *got);
		check_row(logits, VOCAB, most, temperature, got, "far below");
		mem_free(got);
		test_gpu()->close(a.g);
	}
	mem_free(logits);
}

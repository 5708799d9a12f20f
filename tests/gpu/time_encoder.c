/* time_encoder.c: an encoder of MiniLM's sizes (Wang et al. 2020: 6 layers of 384) with random weights, timed on the table under test:
 * token ids in, vectors out, copies both ways among it. */
#include <stdlib.h>
#include "base/clock.h"
#include "base/mem.h"
#include "embed/encoder.h"
#include "tests/embed/encoder_make.h"
#include "tests/gpu/measure.h"
#include "tests/test.h"

enum { ROUNDS = 5 };

static void time_texts(struct encoder *m, const struct encoder_shape *s, size_t texts, size_t tokens)
{
	const size_t rows = texts * tokens, h = (size_t)s->hidden;
	int32_t *ids = mem_calloc(rows, sizeof *ids);
	size_t *starts = mem_calloc(texts + 1, sizeof *starts);
	float *out = mem_calloc(texts * h, sizeof *out);
	struct encoder_space *space;
	double best = 1e30, flops;
	struct err e;
	CHECK(ids && starts && out);
	for (size_t i = 0; i < rows; i++) ids[i] = (int32_t)(i * 7919 % (size_t)s->vocabulary);
	for (size_t i = 0; i <= texts; i++) starts[i] = i * tokens;
	CHECK_OK(encoder_space_open(&space, m, 1, 64, rows, &e), e);
	for (int round = -2; round < (real_sizes() ? ROUNDS : 1); round++) {
		double start = clock_ms(), took;
		CHECK_OK(encoder_vectors(space, ids, starts, texts, POOL_MEAN, 1, out, &e), e);
		took = clock_ms() - start;
		if (round >= 0 && took < best) best = took;
	}
	flops = (double)rows * (double)s->layers * (8.0 * (double)(h * h) + 4.0 * (double)h * (double)s->intermediate + 4.0 * (double)(tokens * h));
	figure("encoder", "\"texts\": %zu, \"tokens\": %zu, \"flops\": %.0f, \"us\": %.1f, \"tokens_per_s\": %.0f", texts, tokens, flops, best * 1000,
		(double)rows * 1000 / best);
	encoder_space_close(space);
	mem_free(ids);
	mem_free(starts);
	mem_free(out);
}

TEST(time_encoder)
{
	const int real = real_sizes();
	const struct encoder_shape s = { .hidden = real ? 384 : 64, .layers = real ? 6 : 1, .heads = real ? 12 : 4, .intermediate = real ? 1536 : 128,
		.vocabulary = real ? 30522 : 100, .positions = 512, .types = 2, .eps = 1e-12f, .act = DENSE_GELU };
	struct encoder *m = encoder_made(&s, NULL, &(struct encoder_how){ .gpu = test_gpu(), .must = 1 });
	time_texts(m, &s, 1, real ? 16 : 4);
	if (real) time_texts(m, &s, 64, 256);
	time_texts(m, &s, real ? 512 : 3, real ? 256 : 20);
	if (real) time_texts(m, &s, 2048, 32);
	encoder_close(m);
}

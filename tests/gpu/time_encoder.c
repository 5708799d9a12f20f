/* time_encoder.c: an encoder of MiniLM's sizes (Wang et al. 2020: 6 layers of 384) with random weights, timed on the table under test:
 * token ids in, vectors out, copies both ways among it. */
#include <math.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "embed/encoder.h"
#include "nn/safetensors.h"
#include "tests/gpu/measure.h"
#include "tests/test.h"

enum { ROUNDS = 5, FILE_MAX_BYTES = 1 << 28, HEAD_MAX_BYTES = 1 << 20 };

struct writing { struct buf head, data; };

static void put_tensor(struct writing *w, const char *name, size_t rows, size_t k, float mean, float sd)
{
	const size_t n = rows ? rows * k : k;
	float *v = mem_alloc(n * sizeof *v);
	char shape[64];
	CHECK(v != NULL);
	random_weights(3, name, n, sd, v);
	for (size_t i = 0; i < n; i++) v[i] += mean;
	if (rows) snprintf(shape, sizeof shape, "%zu,%zu", rows, k);
	else snprintf(shape, sizeof shape, "%zu", k);
	buf_printf(&w->head, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", w->head.len > 1 ? "," : "", name, shape,
		w->data.len, w->data.len + n * sizeof *v);
	buf_put(&w->data, v, n * sizeof *v);
	mem_free(v);
}

static void put_part(struct writing *w, const char *where, const char *part, size_t rows, size_t k)
{
	char name[128];
	snprintf(name, sizeof name, "%s%s.weight", where, part);
	put_tensor(w, name, rows, k, rows ? 0 : 1, rows ? 1 / sqrtf((float)k) : 0.1f);
	snprintf(name, sizeof name, "%s%s.bias", where, part);
	put_tensor(w, name, 0, rows ? rows : k, 0, 0.1f);
}

static void encoder_make(const struct encoder_shape *s, const char *path)
{
	const size_t h = (size_t)s->hidden, f = (size_t)s->intermediate;
	struct writing w;
	struct buf all;
	struct err e;
	char where[64];
	buf_init(&w.head, HEAD_MAX_BYTES);
	buf_init(&w.data, FILE_MAX_BYTES);
	buf_init(&all, FILE_MAX_BYTES);
	buf_putc(&w.head, '{');
	put_tensor(&w, "embeddings.word_embeddings.weight", (size_t)s->vocabulary, h, 0, 1);
	put_tensor(&w, "embeddings.position_embeddings.weight", (size_t)s->positions, h, 0, 0.3f);
	put_tensor(&w, "embeddings.token_type_embeddings.weight", (size_t)s->types, h, 0, 0.3f);
	put_part(&w, "embeddings.", "LayerNorm", 0, h);
	for (int i = 0; i < s->layers; i++) {
		static const char *const square[] = { "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense" };
		snprintf(where, sizeof where, "encoder.layer.%d.", i);
		for (int p = 0; p < 4; p++) put_part(&w, where, square[p], h, h);
		put_part(&w, where, "attention.output.LayerNorm", 0, h);
		put_part(&w, where, "intermediate.dense", f, h);
		put_part(&w, where, "output.dense", h, f);
		put_part(&w, where, "output.LayerNorm", 0, h);
	}
	buf_putc(&w.head, '}');
	while (w.head.len % 8) buf_putc(&w.head, ' ');
	buf_put(&all, &(uint64_t){ w.head.len }, 8);
	buf_put(&all, w.head.data, w.head.len);
	buf_put(&all, w.data.data, w.data.len);
	CHECK(!buf_failed(&all) && !buf_failed(&w.head) && !buf_failed(&w.data));
	CHECK_OK(file_write_atomic(path, all.data, all.len, &e), e);
	buf_clear(&w.head);
	buf_clear(&w.data);
	buf_clear(&all);
}

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
	const struct encoder_how how = { .gpu = test_gpu(), .must = 1 };
	struct safetensors *weights;
	struct encoder *m;
	char path[300];
	struct err e;
	snprintf(path, sizeof path, "%s/model.safetensors", test_dir());
	encoder_make(&s, path);
	CHECK_OK(safetensors_open(&weights, path, &e), e);
	CHECK_OK(encoder_open(&m, weights, &s, &how, "an encoder of MiniLM's sizes", &e), e);
	safetensors_close(weights);
	time_texts(m, &s, 1, real ? 16 : 4);
	if (real) time_texts(m, &s, 64, 256);
	time_texts(m, &s, real ? 512 : 3, real ? 256 : 20);
	if (real) time_texts(m, &s, 2048, 32);
	encoder_close(m);
}

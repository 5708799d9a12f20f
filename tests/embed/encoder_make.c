/* encoder_make.c: encoder_make.h. */
#include "tests/embed/encoder_make.h"
#include <math.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/safetensors.h"
#include "tests/gguf_make.h"
#include "tests/test.h"

enum { FILE_MAX_BYTES = 1 << 28, HEAD_MAX_BYTES = 1 << 20 };

struct writing { struct buf head, data; };

static void put_tensor(struct writing *w, const char *name, size_t rows, size_t k, float mean, float sd, float most)
{
	const size_t n = rows ? rows * k : k;
	float *v = mem_alloc(n * sizeof *v);
	char shape[64];
	CHECK(v != NULL);
	random_weights(3, name, n, sd, v);
	for (size_t i = 0; i < n; i++) v[i] = fminf(fmaxf(v[i] + mean, -most), most);
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
	put_tensor(w, name, rows, k, rows ? 0 : 1, rows ? 1 / sqrtf((float)k) : 0.1f, INFINITY);
	snprintf(name, sizeof name, "%s%s.bias", where, part);
	put_tensor(w, name, 0, rows ? rows : k, 0, 0.1f, INFINITY);
}

static void encoder_write(const struct encoder_shape *s, const struct encoder_words *words, const char *path)
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
	put_tensor(&w, "embeddings.word_embeddings.weight", (size_t)s->vocabulary, h, 0, words->sd, words->most);
	put_tensor(&w, "embeddings.position_embeddings.weight", (size_t)s->positions, h, 0, 0.3f, INFINITY);
	put_tensor(&w, "embeddings.token_type_embeddings.weight", (size_t)s->types, h, 0, 0.3f, INFINITY);
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

struct encoder *encoder_made(const struct encoder_shape *s, const struct encoder_words *words, const struct encoder_how *how)
{
	struct safetensors *weights;
	struct encoder *m;
	char path[300];
	struct err e;
	snprintf(path, sizeof path, "%s/model.safetensors", test_dir());
	encoder_write(s, words ? words : &(struct encoder_words){ 1, INFINITY }, path);
	CHECK_OK(safetensors_open(&weights, path, &e), e);
	CHECK_OK(encoder_open(&m, weights, s, how, "an encoder of random weights", &e), e);
	safetensors_close(weights);
	return m;
}

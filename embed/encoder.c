/* encoder.c: owns the weights, the activations and the thread team of one encoder.
 *
 * A run takes several texts as rows of one matrix, without padding: the linear layers, which are nearly all of the
 * work, see one long matrix; attention is told where each text starts. Query, key and value weights lie one after
 * the other so that one product makes all three. Post-norm layers as in BERT:
 *     x = norm(x + out(attention(qkv(x))));  x = norm(x + down(act(up(x))))
 *
 * Everything is allocated at open, for the most rows a run may have. Threads: the caller holds the lock. Failure: only
 * at open, which names the tensor; shapes are compared with config.json before anything of that size is allocated. */
#include "embed/encoder.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/team.h"
#include "nn/safetensors.h"

enum { ALIGN = 64, NAME_BYTES = 128 };

struct linear { float *w, *bias; };       /* (out, in), (out) */
struct norm { float *gamma, *beta; };     /* (hidden) */

struct layer {
	struct linear qkv, out, up, down;
	struct norm after_attention, after_feed;
};

struct encoder {
	struct encoder_shape s;
	size_t rows;
	struct team *team;
	float *words, *positions;              /* (vocabulary, hidden), (positions, hidden): the type's row is added in */
	struct norm embedding_norm;
	struct layer *layers;
	float *x, *y, *qkv, *feed, *scores;    /* activations: (rows, hidden) twice, (rows, 3 hidden), (rows, widest) */
};

/* What loading needs to know; `prefix` is what stands before "embeddings." and "encoder." */
struct load {
	const struct safetensors *file;
	const char *prefix;
	int gamma_beta;                        /* norms' tensors are called so */
	struct err *e;
};

static float *floats_new(size_t n)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, sizeof(float), &bytes) || bytes > SIZE_MAX - ALIGN) return NULL;
	return mem_aligned(ALIGN, (bytes + ALIGN - 1) / ALIGN * ALIGN);
}

/* Loads `parts` tensors of the same shape (rows, columns; columns 0: a vector) one after the other into a new *out.
 * Part i is called names[i] under layer `layer` (-1: no layer). */
static int tensors_load(struct load *l, int layer, const char *const *names, size_t parts, size_t rows, size_t columns,
	float **out)
{
	const struct safetensor *t[3];
	size_t shape[2] = {rows, columns}, each = rows * (columns ? columns : 1);
	char name[NAME_BYTES];
	int rc = OK;
	for (size_t i = 0; i < parts && rc == OK; i++) {
		if (layer < 0) snprintf(name, sizeof name, "%s%s", l->prefix, names[i]);
		else snprintf(name, sizeof name, "%sencoder.layer.%d.%s", l->prefix, layer, names[i]);
		rc = safetensors_expect(l->file, name, columns ? 2 : 1, shape, &t[i], l->e);
	}
	if (rc != OK) return rc;
	*out = floats_new(parts * each);
	if (!*out) return err_set(l->e, E_MEMORY, "tensor %s: %zu floats", name, parts * each);
	for (size_t i = 0; i < parts && rc == OK; i++) rc = safetensors_floats(l->file, t[i], *out + i * each, l->e);
	return rc;
}

static int tensor_load(struct load *l, int layer, const char *name, size_t rows, size_t columns, float **out)
{
	return tensors_load(l, layer, &name, 1, rows, columns, out);
}

static int linear_load(struct load *l, int layer, const char *name, int out, int in, struct linear *to)
{
	char w[NAME_BYTES], bias[NAME_BYTES];
	snprintf(w, sizeof w, "%s.weight", name);
	snprintf(bias, sizeof bias, "%s.bias", name);
	int rc = tensor_load(l, layer, w, (size_t)out, (size_t)in, &to->w);
	return rc == OK ? tensor_load(l, layer, bias, (size_t)out, 0, &to->bias) : rc;
}

/* The oldest files say gamma and beta where others say weight and bias. */
static int norm_load(struct load *l, int layer, const char *name, int dim, struct norm *to)
{
	char gamma[NAME_BYTES], beta[NAME_BYTES];
	snprintf(gamma, sizeof gamma, "%s.%s", name, l->gamma_beta ? "gamma" : "weight");
	snprintf(beta, sizeof beta, "%s.%s", name, l->gamma_beta ? "beta" : "bias");
	int rc = tensor_load(l, layer, gamma, (size_t)dim, 0, &to->gamma);
	return rc == OK ? tensor_load(l, layer, beta, (size_t)dim, 0, &to->beta) : rc;
}

static int layer_load(struct load *l, const struct encoder_shape *s, int i, struct layer *y)
{
	static const char *const qkv_w[] = {"attention.self.query.weight", "attention.self.key.weight",
		"attention.self.value.weight"};
	static const char *const qkv_bias[] = {"attention.self.query.bias", "attention.self.key.bias",
		"attention.self.value.bias"};
	size_t h = (size_t)s->hidden;
	int rc = tensors_load(l, i, qkv_w, 3, h, h, &y->qkv.w);
	if (rc == OK) rc = tensors_load(l, i, qkv_bias, 3, h, 0, &y->qkv.bias);
	if (rc == OK) rc = linear_load(l, i, "attention.output.dense", s->hidden, s->hidden, &y->out);
	if (rc == OK) rc = norm_load(l, i, "attention.output.LayerNorm", s->hidden, &y->after_attention);
	if (rc == OK) rc = linear_load(l, i, "intermediate.dense", s->intermediate, s->hidden, &y->up);
	if (rc == OK) rc = linear_load(l, i, "output.dense", s->hidden, s->intermediate, &y->down);
	if (rc == OK) rc = norm_load(l, i, "output.LayerNorm", s->hidden, &y->after_feed);
	return rc;
}

/* Every text is of type 0, so that row is added to the positions once, here. */
static int embeddings_load(struct encoder *m, struct load *l)
{
	const struct encoder_shape *s = &m->s;
	size_t h = (size_t)s->hidden;
	float *types = NULL;
	int rc = tensor_load(l, -1, "embeddings.word_embeddings.weight", (size_t)s->vocabulary, h, &m->words);
	if (rc == OK) rc = tensor_load(l, -1, "embeddings.position_embeddings.weight", (size_t)s->positions, h, &m->positions);
	if (rc == OK) rc = tensor_load(l, -1, "embeddings.token_type_embeddings.weight", (size_t)s->types, h, &types);
	if (rc == OK) rc = norm_load(l, -1, "embeddings.LayerNorm", s->hidden, &m->embedding_norm);
	for (size_t i = 0; rc == OK && i < (size_t)s->positions * h; i++) m->positions[i] += types[i % h];
	mem_free(types);
	return rc;
}

static int weights_load(struct encoder *m, const char *path, struct err *e)
{
	struct safetensors *file;
	int rc = safetensors_open(&file, path, e);
	if (rc != OK) return rc;
	static const char *const prefixes[] = {"bert.", "model.", "encoder.", "0.auto_model."};
	struct load l = {.file = file, .prefix = "", .e = e};
	char name[NAME_BYTES];
	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
		snprintf(name, sizeof name, "%sembeddings.word_embeddings.weight", prefixes[i]);
		if (safetensors_find(file, name)) l.prefix = prefixes[i];
	}
	snprintf(name, sizeof name, "%sembeddings.LayerNorm.gamma", l.prefix);
	l.gamma_beta = safetensors_find(file, name) != NULL;
	rc = embeddings_load(m, &l);
	for (int i = 0; i < m->s.layers && rc == OK; i++) rc = layer_load(&l, &m->s, i, &m->layers[i]);
	safetensors_close(file);
	return rc;
}

int encoder_open(struct encoder **out, const char *weights_path, const struct encoder_shape *shape, int threads,
	size_t rows, struct err *e)
{
	int rc;
	size_t h = (size_t)shape->hidden, feed = (size_t)shape->intermediate, wide = feed > h ? feed : h;
	size_t longest = rows < (size_t)shape->positions ? rows : (size_t)shape->positions;
	struct encoder *m = mem_calloc(1, sizeof *m);
	*out = NULL;
	if (!m) return err_set(e, E_MEMORY, "open %s", weights_path);
	m->s = *shape;
	m->rows = rows;
	m->layers = mem_calloc((size_t)shape->layers, sizeof *m->layers);
	m->team = team_new(threads);
	if (!m->layers || !m->team) {
		rc = err_set(e, E_MEMORY, "open %s: %d threads, %d layers", weights_path, threads, shape->layers);
		goto out;
	}
	rc = weights_load(m, weights_path, e);
	if (rc != OK) goto out;
	m->x = floats_new(rows * h);
	m->y = floats_new(rows * h);
	m->qkv = floats_new(rows * 3 * h);
	m->feed = floats_new(rows * wide);
	m->scores = floats_new(dense_attention_scratch(longest, m->team));
	if (!m->x || !m->y || !m->qkv || !m->feed || !m->scores)
		rc = err_set(e, E_MEMORY, "%s: activations of %zu tokens", weights_path, rows);
out:
	if (rc == OK) *out = m;
	else encoder_close(m);
	return rc;
}

static void linear_free(struct linear *l)
{
	mem_free(l->w);
	mem_free(l->bias);
}

static void norm_free(struct norm *n)
{
	mem_free(n->gamma);
	mem_free(n->beta);
}

void encoder_close(struct encoder *m)
{
	if (!m) return;
	for (int i = 0; m->layers && i < m->s.layers; i++) {
		struct layer *y = &m->layers[i];
		linear_free(&y->qkv);
		linear_free(&y->out);
		linear_free(&y->up);
		linear_free(&y->down);
		norm_free(&y->after_attention);
		norm_free(&y->after_feed);
	}
	mem_free(m->layers);
	norm_free(&m->embedding_norm);
	mem_free(m->words);
	mem_free(m->positions);
	mem_free(m->x);
	mem_free(m->y);
	mem_free(m->qkv);
	mem_free(m->feed);
	mem_free(m->scores);
	team_free(m->team);
	mem_free(m);
}

static void embed_rows(struct encoder *m, const int32_t *ids, const size_t *starts, size_t texts)
{
	size_t h = (size_t)m->s.hidden;
	for (size_t t = 0; t < texts; t++)
		for (size_t r = starts[t]; r < starts[t + 1]; r++) {
			const float *word = m->words + (size_t)ids[r] * h, *position = m->positions + (r - starts[t]) * h;
			for (size_t i = 0; i < h; i++) m->x[r * h + i] = word[i] + position[i];
		}
	dense_add_norm(m->team, m->x, NULL, starts[texts], h, m->embedding_norm.gamma, m->embedding_norm.beta, m->s.eps);
}

const float *encoder_run(struct encoder *m, const int32_t *ids, const size_t *starts, size_t texts)
{
	const struct encoder_shape *s = &m->s;
	size_t rows = starts[texts], h = (size_t)s->hidden, wide = (size_t)s->intermediate, heads = (size_t)s->heads;
	embed_rows(m, ids, starts, texts);
	for (int i = 0; i < s->layers; i++) {
		const struct layer *y = &m->layers[i];
		dense_linear(m->team, m->x, rows, h, y->qkv.w, y->qkv.bias, 3 * h, DENSE_NONE, m->qkv);
		dense_attention(m->team, m->qkv, starts, texts, heads, h / heads, m->scores, m->feed);
		dense_linear(m->team, m->feed, rows, h, y->out.w, y->out.bias, h, DENSE_NONE, m->y);
		dense_add_norm(m->team, m->x, m->y, rows, h, y->after_attention.gamma, y->after_attention.beta, s->eps);
		dense_linear(m->team, m->x, rows, h, y->up.w, y->up.bias, wide, s->act, m->feed);
		dense_linear(m->team, m->feed, rows, wide, y->down.w, y->down.bias, h, DENSE_NONE, m->y);
		dense_add_norm(m->team, m->x, m->y, rows, h, y->after_feed.gamma, y->after_feed.beta, s->eps);
	}
	return m->x;
}
